"""The prioritised sampler: batches that are drawn when their step comes.

Shapes: N pairs that are trained on, B pairs of a step, b of them in a micro-batch; 3 numbers of a
pair: its gap, its target, its margin.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist
from transformers import TrainerCallback, TrainerState, TrainingArguments

from tamis.data import PairTable, select_pairs
from tamis.errors import ConfigError
from tamis.runs import write_bytes
from tamis.train.collate import Collate
from tamis.train.dataset import TrainingSet
from tamis.train.objective import Batch, Outcome
from tamis.train.order import Indices
from tamis.train.priorities import (
    Floats,
    beta_of_step,
    draw_probabilities,
    effective_size,
    importance_weights,
    residuals,
    stratified_draw,
)
from tamis.train.step_config import PriorityConfig
from tamis.types import Pair

FILE = "priorities.npz"
DRAW_STREAM = 7  # of random numbers, apart from those of other orders
MOST_POINTS = 100
NUMBERS = ("num_unique", "effective_frac", "beta", "wrong_frac")


@final
class Prioritised(TrainerCallback):
    """Draws the batch of each step by the residuals that were seen last, and notes the new ones.

    The batch of a step is a function of the seed, the step and the residuals, which every process
    knows of all pairs, so that all draw the same; each then computes its own part. A pair that was
    not seen yet has the highest priority. Residuals and counts are written into every checkpoint,
    and a run that goes on draws what it would have drawn.

    Cost: a few passes over N numbers a step; three numbers of 8 bytes a pair.

    The data set of the Trainer holds places, not pairs: which pairs stand there is decided when
    `batches` is asked, after all of the step before is over.
    """

    def __init__(
        self,
        data: TrainingSet,
        train_N: Indices,
        *,
        config: PriorityConfig,
        batch_size: int,
        num_steps: int,
        num_parts: int,
        seed: int,
        wrong_N: Floats,
    ) -> None:
        self._train_N, self._config = train_N, config
        self._size, self._seed = min(batch_size, len(train_N)), seed
        self._num_steps, self._num_parts = num_steps, num_parts
        self._wrong_N = wrong_N
        self._log_length_N = np.log(data.length_N[train_N])
        self._residual_N = np.full(len(train_N), config.most)
        self._num_draws_N = np.zeros(len(train_N), np.int64)
        self._history: list[tuple[float, ...]] = []
        self._drawn_B: Indices = np.arange(0)
        self._weight_B: NDArray[np.float32] = np.zeros(0, np.float32)
        self._noted: list[tuple[Tensor, Tensor]] = []

    @property
    def places(self) -> list[int]:
        """What the Trainer goes through: the parts of all steps, each process in turn."""
        return list(range(self._num_steps * self._num_parts))

    def batches(self, places: Sequence[int], *, collate: Collate) -> list[dict[str, Any]]:
        """Return the micro-batches at these places of one step, which is drawn now.

        ``weight`` is multiplied with the importance weights; ``position`` is where the pairs stand
        in the whole batch of the step.
        """
        self._draw(places[0] // self._num_parts)
        parts = np.array_split(np.arange(self._size), self._num_parts)
        made = []
        for place in places:
            position = parts[place % self._num_parts]
            batch = collate([self._train_N[self._drawn_B[position]]])
            batch["weight"] = batch["weight"] * torch.from_numpy(self._weight_B[position])
            batch["position"] = torch.from_numpy(position)
            made.append(batch)
        return made

    def note(self, batch: Batch, outcome: Outcome) -> None:
        """Keep the gaps of a micro-batch until the step is over."""
        values = (outcome.delta_B.detach(), batch["labels"], batch["margin"])
        self._noted.append((batch["position"], torch.stack([value.double() for value in values])))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        """Read what a checkpoint knows, where the run goes on from one."""
        if state.global_step == 0:
            return
        path = _file(args, state)
        try:
            with np.load(io.BytesIO(path.read_bytes())) as stored:
                self._residual_N, self._num_draws_N = stored["residual"], stored["num_draws"]
                self._history = [tuple(row) for row in stored["history"].tolist()]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ConfigError(
                f"cannot go on from {path.parent}: {path.name} is missing or damaged ({error}); "
                "remove the folder to go on from an earlier one"
            ) from error

    def on_step_end(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        """Take the residuals of the whole step, of all processes, as the pairs' new ones."""
        gap_3B = torch.zeros(3, self._size, dtype=torch.float64, device=args.device)
        for position_b, value_3b in self._noted:
            gap_3B[:, position_b] = value_3b
        self._noted.clear()
        if dist.is_initialized():
            dist.all_reduce(gap_3B)  # each pair of the batch is the part of one process
        delta_B, target_B, margin_B = gap_3B.cpu().numpy()
        self._residual_N[self._drawn_B] = residuals(delta_B, target_N=target_B, margin_N=margin_B)

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write what was learnt of the pairs beside the weights."""
        if state.is_world_process_zero:
            stream = io.BytesIO()
            np.savez(
                stream,
                residual=self._residual_N,
                num_draws=self._num_draws_N,
                history=np.array(self._history),
            )
            write_bytes(_file(args, state), stream.getvalue())

    def report(self, log_history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return what was drawn: in all, and over the steps beside the accuracy.

        ``num_unique`` pairs were seen up to a step; ``effective_frac`` of all pairs is the
        effective sample size; ``wrong_frac`` of the draws with a known gold label contradict it.
        ``accuracy`` is that on the drawn pairs, hard ones above all; ``held_out_accuracy`` that on
        held-out pairs, where there are any.
        """
        known_N = np.isfinite(self._wrong_N)
        num_known = int(self._num_draws_N[known_N].sum())
        report: dict[str, Any] = {
            "num_draws": int(self._num_draws_N.sum()),
            "num_unique": int((self._num_draws_N > 0).sum()),
            "num_pairs": len(self._train_N),
            "curve": _curve(self._history, log_history),
        }
        if num_known:
            wrong = float(self._num_draws_N[known_N] @ self._wrong_N[known_N])
            report["wrong_frac_of_draws"] = wrong / num_known
            report["wrong_frac_of_pairs"] = float(self._wrong_N[known_N].mean())
        return report

    def _draw(self, step: int) -> None:
        rng = np.random.default_rng([self._seed, step, DRAW_STREAM])
        probability_N = draw_probabilities(self._residual_N, config=self._config)
        beta = beta_of_step(
            self._config,
            step=step,
            num_steps=self._num_steps,
            probability_N=probability_N,
            feature_FN=(self._residual_N, self._log_length_N),
            rng=rng,
        )
        weight_N = importance_weights(probability_N, beta=beta)
        self._drawn_B = stratified_draw(probability_N, size=self._size, rng=rng)
        self._weight_B = weight_N[self._drawn_B].astype(np.float32)
        np.add.at(self._num_draws_N, self._drawn_B, 1)
        wrong_B = self._wrong_N[self._drawn_B]
        wrong_B = wrong_B[np.isfinite(wrong_B)]
        self._history.append(
            (
                float((self._num_draws_N > 0).sum()),
                effective_size(probability_N) / len(probability_N),
                beta,
                float(wrong_B.mean()) if len(wrong_B) else np.nan,
            )
        )


def pending(collate: Collate) -> Collate:
    """Return a collate function that hands places through, and collates pairs as before."""

    def handed(items: Sequence[Any]) -> dict[str, Any]:
        if isinstance(items[0], int):
            return {"place": torch.tensor(items)}
        return collate(items)

    return handed


def wrong_labels(pairs: Sequence[Pair], data: TrainingSet) -> Floats:
    """Return 1 where the side believed better is the worse one by gold, 0 where not, else NaN.

    Ties and pairs without gold are unknown. One number for each pair of ``data``.
    """
    chosen = select_pairs(pairs, data.source_N)
    if isinstance(chosen, PairTable):
        gold_N = chosen.column("gold").to_numpy().astype(np.float64)
    else:
        gold_N = np.array([np.nan if pair.gold is None else pair.gold for pair in chosen])
    is_known_N = np.isfinite(gold_N) & (gold_N != 0.5)
    return np.where(is_known_N, (gold_N < 0.5) != data.swapped_N, np.nan)


def _curve(
    history: Sequence[tuple[float, ...]], log_history: Sequence[Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Return the numbers at 100 steps at most, and at each evaluation."""
    trained = {entry["step"]: entry["accuracy"] for entry in log_history if "accuracy" in entry}
    held_out = {
        entry["step"]: entry["eval_accuracy"] for entry in log_history if "eval_accuracy" in entry
    }
    windows = np.array_split(np.arange(1, len(history) + 1), min(MOST_POINTS, len(history)))
    steps = {int(window[-1]): window for window in windows}
    curve = []
    for step in sorted(steps.keys() | {int(step) for step in held_out}):
        numbers = dict(zip(NUMBERS, history[step - 1], strict=True))
        point: dict[str, Any] = {"step": step, **numbers, "num_unique": int(numbers["num_unique"])}
        if not np.isfinite(point["wrong_frac"]):
            del point["wrong_frac"]
        if step in steps:
            point["accuracy"] = float(np.mean([trained[int(one)] for one in steps[step]]))
        if step in held_out:
            point["held_out_accuracy"] = held_out[step]
        curve.append(point)
    return curve


def _file(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / FILE
