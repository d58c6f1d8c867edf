"""What a training run reports."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from transformers import TrainerState

from tamis.train.assemble import Assembled
from tamis.train.config import TrainConfig
from tamis.train.dataset import TrainingSet, count_kinds
from tamis.train.parts import Split

CURVE_POINTS = 500
SCALE_FRAC = 0.1


def training_report(
    train: TrainConfig, data: TrainingSet, *, split: Split, state: TrainerState
) -> dict[str, Any]:
    """Return the JSON-safe report of a run that has ended in ``state``.

    ``num_cut`` pairs, held-out ones included, lost the beginning of their prompt, to fit.
    Its ``score_scale`` has the mean gap without its sign, and mean and standard deviation of the
    scores of all sides: over the last tenth of the steps, and over the held-out pairs at the kept
    step.
    """
    num_pairs, num_held_out = len(split.train_N), len(split.held_out_N)
    report: dict[str, Any] = {
        "num_pairs": num_pairs,
        "num_swapped": data.num_swapped,
        "num_cut": data.num_cut,
        "num_left_out": count_kinds(data.left_out),
        "left_out_rows": [
            {"row": item.row, "kind": item.kind, "detail": item.detail} for item in data.left_out
        ],
        "num_steps": state.global_step,
        "epochs": state.global_step / math.ceil(num_pairs / train.batch_size),
        "loss": _curve(state.log_history),
        "objective": {
            "loss": train.loss,
            **train.objective.model_dump(exclude={"meta": {"path"}}),
        },
        "score_scale": {"training": _scale(state.log_history)},
    }
    evaluations = [entry for entry in state.log_history if "eval_loss" in entry]
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
                for entry in evaluations
            ],
        }
        kept = [entry for entry in evaluations if entry["step"] == state.best_global_step]
        if kept:
            report["score_scale"]["held_out"] = _pooled(kept[:1], prefix="eval_")
    return report


def card_rows(made: Assembled, report: dict[str, Any], *, seed: int) -> dict[str, Any]:
    """Return what the model card says of a run: the steps are those of the kept weights."""
    steps = report.get("kept_step") or report["num_steps"]
    terms = ", ".join(made.columns)
    loss = f"{made.loss} and {terms}" if terms else made.loss
    return {"loss": loss, "pairs": report["num_pairs"], "steps": steps, "seed": seed}


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


def _scale(history: list[dict[str, float]]) -> dict[str, float]:
    """Return the scale of the scores over the last tenth of the steps."""
    steps = [entry for entry in history if "loss" in entry]
    last = steps[-math.ceil(SCALE_FRAC * len(steps)) :]
    return {"num_steps": len(last), **_pooled(last, prefix="")}


def _pooled(entries: list[dict[str, float]], *, prefix: str) -> dict[str, float]:
    """Return mean gap without its sign, and mean and deviation of scores, over log entries."""
    gap, mean, std = (
        np.array([entry[f"{prefix}{name}"] for entry in entries])
        for name in ("mean_abs_delta", "score_mean", "score_std")
    )
    return {
        "mean_abs_delta": float(gap.mean()),
        "score_mean": float(mean.mean()),
        "score_std": float(np.sqrt((std**2).mean() + mean.var())),
    }
