"""What is watched while a policy is trained by reinforcement learning: one JSON line a step.

A line has ``kind`` ``step`` or ``held_out``. Lines are written as the run goes, so that the file
can be followed; a run that goes on after a kill drops the lines after its checkpoint first.

Shapes: N answers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tamis.errors import ConfigError
from tamis.metrics.bootstrap import cluster_bootstrap
from tamis.policy.rl.rewards import Floats, Noted, PolicyReward, diversity_of
from tamis.policy.rl.tokens import PERPLEXITY
from tamis.runs import write_json, write_text
from tamis.train.tracking import send_counts
from tamis.train.trainer import COMPLETE

WATCH = "watch.jsonl"
SCORES = "train/score/histogram"  # beside the mean and the standard deviation
BINS, REACH_STD = 20, 4.0

Line = dict[str, Any]


class Draws(TrainerCallback):
    """Makes what is drawn in a step depend on the seed and the step alone.

    So a run that was killed draws what it would have drawn, and looking at held-out prompts
    changes nothing of what is learnt.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        """Seed the first look at the held-out prompts."""
        self._draw(args, state, "held-out")

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        """Seed the answers of a step."""
        self._draw(args, state, "step")

    def on_log(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Seed the look at the held-out prompts, which follows the log of a step."""
        self._draw(args, state, "held-out")

    def _draw(self, args: TrainingArguments, state: TrainerState, what: str) -> None:
        text = f"{self._seed}/{state.global_step}/{args.process_index}/{what}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))


class Watch(TrainerCallback):
    """Writes the lines, advances the progress bar, and marks complete checkpoints."""

    def __init__(
        self, reward: PolicyReward, *, path: Path, on_step: Callable[[int], None], seed: int
    ) -> None:
        self._reward, self._path, self._on_step, self._seed = reward, path, on_step, seed
        self._edges: Floats | None = None
        self._others: Sequence[TrainerCallback] = ()

    def show_scores(self, callbacks: Sequence[TrainerCallback]) -> None:
        """Send histograms of scores to the trackers among the callbacks of the trainer."""
        self._others = callbacks

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        *_: Any,
        **__: Any,
    ) -> None:
        """Drop what an interrupted run wrote after its last checkpoint, or all without one."""
        self._on_step(state.global_step)
        if not state.is_world_process_zero:
            return
        last = state.global_step or -1  # what begins anew looks at held-out prompts again
        lines = [line for line in read_lines(self._path) if line["step"] <= last]
        write_text(self._path, "".join(map(_json_line, lines)))
        edges = next((line["score"]["edges"] for line in lines if line["kind"] == "step"), None)
        self._edges = None if edges is None else np.array(edges, np.float64)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Advance the bar."""
        self._on_step(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        *_: Any,
        logs: dict[str, Any] | None = None,
        **__: Any,
    ) -> None:
        """Write the line of a step.

        Raises:
            ConfigError: the loss is not finite.
        """
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise ConfigError(
                f"training diverged: the loss of step {state.global_step} is {logs['loss']}; try a "
                f"learning_rate below {args.learning_rate:g}"
            )
        noted = self._reward.take_trained()
        if noted is not None and self._edges is None:
            self._edges = bin_edges(noted.score_N)
        if state.is_world_process_zero:
            step = state.global_step
            line = _step_line(logs, noted, step=step, edges=self._edges)
            self._append(line)
            if line["score"] is not None:
                edges, counts = line["score"]["edges"], line["score"]["counts"]
                send_counts(self._others, SCORES, edges=edges, counts=counts, step=step)

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        *_: Any,
        metrics: dict[str, Any] | None = None,
        **__: Any,
    ) -> None:
        """Write the line of a look at the held-out prompts."""
        noted = self._reward.take_held_out()
        if noted is not None and state.is_world_process_zero:
            self._append(
                _held_out_line(metrics or {}, noted, step=state.global_step, seed=self._seed)
            )

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say that a checkpoint has been written to its end."""
        if args.world_size > 1:
            torch.distributed.barrier()  # every process writes a file of its own
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            mark = {"step": state.global_step, "is_over": control.should_training_stop}
            write_json(folder / COMPLETE, mark)

    def _append(self, line: Line) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_json_line(line))


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a watch; one that was half written when its run was killed is left out.

    Args:
        path: of the file, which may be missing.
    """
    if not path.is_file():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


def bin_edges(score_N: Floats) -> Floats:
    """Return the edges of the bins of a histogram, from the scores of the first step.

    20 bins, over 4 standard deviations on each side of the mean. They stay for the whole run;
    scores beyond them count in the outermost bins.

    >>> bin_edges(np.array([-1.0, 1.0]))[[0, 10, 20]].tolist()
    [-4.0, 0.0, 4.0]
    """
    mean, std = float(score_N.mean()), float(score_N.std()) or 1.0
    return np.linspace(mean - REACH_STD * std, mean + REACH_STD * std, BINS + 1)


def _step_line(
    logs: dict[str, Any], noted: Noted | None, *, step: int, edges: Floats | None
) -> Line:
    line: Line = {"kind": "step", "step": step, "loss": logs["loss"], **_common(logs, noted)}
    line |= {"learning_rate": logs.get("learning_rate"), "reward": None, "score": None}
    if noted is None or edges is None:  # further steps on answers that were noted before
        return line
    inside_N = np.clip(noted.score_N, edges[0], edges[-1])
    line["reward"] = {"mean": float(noted.reward_N.mean()), "std": float(noted.reward_N.std())}
    line["score"] = {
        "mean": float(noted.score_N.mean()),
        "std": float(noted.score_N.std()),
        "edges": edges.tolist(),
        "counts": np.histogram(inside_N, edges)[0].tolist(),
    }
    return line


def _held_out_line(metrics: dict[str, Any], noted: Noted, *, step: int, seed: int) -> Line:
    # processes share what cannot be divided by giving prompts twice
    once = noted.each_prompt_once()
    means = {"score": once.score_N, "gold": once.gold_N}
    intervals = {
        name: None
        if values_N is None
        else asdict(cluster_bootstrap(values_N, clusters=np.arange(len(values_N)), seed=seed))
        for name, values_N in means.items()
    }
    logs = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    each = {
        name: None if values_N is None else values_N.tolist() for name, values_N in means.items()
    }
    line: Line = {"kind": "held_out", "step": step, **_common(logs, once), **intervals}
    return line | {"by_prompt": {"number": once.number_N.tolist(), **each}}


def _common(logs: dict[str, Any], noted: Noted | None) -> Line:
    """Return what both kinds of lines have: lengths, diversity, what models say of tokens."""
    per_token, entropy = logs.get("kl"), logs.get("entropy")
    line: Line = {
        "num_answers": None,
        "tokens": None,
        "finished_frac": None,
        "distinct_1": None,
        "distinct_2": None,
        "repeated_frac": None,
        "self_bleu": None,
        "spread": None,
        "kl_per_token": per_token,
        "kl": None,
        "entropy": entropy,
        "perplexity": logs.get(PERPLEXITY),
    }
    if noted is None:
        return line
    tokens = float(noted.num_tokens_N.mean())
    return line | {
        "num_answers": len(noted.score_N),
        "tokens": {"mean": tokens, "std": float(noted.num_tokens_N.std())},
        "finished_frac": float(noted.finished_N.mean()),
        **diversity_of(noted.texts),
        "spread": None if noted.spread_N is None else float(noted.spread_N.mean()),
        "kl": None if per_token is None else per_token * tokens,
    }


def _json_line(line: Line) -> str:
    return f"{json.dumps(line, allow_nan=False)}\n"
