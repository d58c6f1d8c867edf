"""What a training run reports."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from transformers import TrainerState

from tamis.train.config import TrainConfig
from tamis.train.dataset import TrainingSet, count_kinds

CURVE_POINTS = 500


def training_report(
    train: TrainConfig, data: TrainingSet, *, state: TrainerState, num_held_out: int
) -> dict[str, Any]:
    """Return the JSON-safe report of a run that has ended in ``state``."""
    num_pairs = len(data.encoded) - num_held_out
    report = {
        "num_pairs": num_pairs,
        "num_swapped": data.num_swapped,
        "num_left_out": count_kinds(data.left_out),
        "left_out_rows": [
            {"row": item.row, "kind": item.kind, "detail": item.detail} for item in data.left_out
        ],
        "num_steps": state.global_step,
        "epochs": state.global_step / math.ceil(num_pairs / train.batch_size),
        "loss": _curve(state.log_history),
    }
    if num_held_out:
        report |= {
            "num_held_out": num_held_out,
            "kept_step": state.best_global_step,
            "held_out": [
                {
                    "step": int(entry["step"]),
                    "loss": entry["eval_loss"],
                    "accuracy": entry["eval_accuracy"],
                }
                for entry in state.log_history
                if "eval_loss" in entry
            ],
        }
    return report


def card_rows(train: TrainConfig, report: dict[str, Any], *, seed: int) -> dict[str, Any]:
    """Return what the model card says of a run: the steps are those of the kept weights."""
    steps = report.get("kept_step") or report["num_steps"]
    return {"loss": train.loss, "pairs": report["num_pairs"], "steps": steps, "seed": seed}


def _curve(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return loss and accuracy over the steps, averaged where there are more than 500."""
    steps = [entry for entry in history if "loss" in entry]
    windows = np.array_split(np.arange(len(steps)), min(CURVE_POINTS, len(steps)))
    return [
        {
            "step": int(steps[window[-1]]["step"]),
            "loss": float(np.mean([steps[i]["loss"] for i in window])),
            "accuracy": float(np.mean([steps[i]["accuracy"] for i in window])),
        }
        for window in windows
    ]
