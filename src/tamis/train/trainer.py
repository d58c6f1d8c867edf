"""One thin subclass of transformers' Trainer; what differs comes in as functions.

Shapes: B pairs of a micro-batch; 6 sums: of losses, of credits, of gaps without their sign, of
scores, of squared scores (both means of a pair's two sides), of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch import distributed as dist
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from tamis.errors import ConfigError
from tamis.runs import read_json, write_json
from tamis.runs.memory import Growth
from tamis.train.added import PLAIN, Added
from tamis.train.collate import Collate
from tamis.train.modules import keepers
from tamis.train.objective import Objective, Outcome
from tamis.train.order import Indices
from tamis.train.prioritised import pending
from tamis.train.shard import holds_shards, in_step, whole_state

COMPLETE = "complete.json"
TORCH_WRITER = "inline_container"  # which torch names where it could not write all


class PairTrainer(Trainer):
    """A Trainer whose items are whole micro-batches and whose loss is an objective on pairs.

    The loss of an optimiser step is the sum of the weighted pair losses divided by the number of
    its pairs, over all accumulated micro-batches of all processes, so that 1 x 8 equals 8 x 1. Each
    log entry holds of one step: the loss, the accuracy (ties count half), the mean gap without its
    sign (``mean_abs_delta``), and mean and standard deviation of the scores of all sides.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        objective: Objective,
        collate: Collate,
        parts: Sequence[Indices],
        held_out: Sequence[Indices] = (),
        patience: int | None = None,
        on_step: Callable[[int], None],
        added: Added = PLAIN,
    ) -> None:
        draws = added.draws
        stopping = [] if patience is None else [EarlyStoppingCallback(patience)]
        super().__init__(
            model=model,
            args=args,
            data_collator=collate if draws is None else pending(collate),
            train_dataset=list(parts) if draws is None else draws.places,
            eval_dataset=list(held_out) or None,
            # the watcher marks a checkpoint as complete after the others have written to it
            callbacks=[*keepers(model), *added.callbacks, _Watcher(on_step), *stopping],
        )
        self.add_callback(_HandsBack())
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # makes the Trainer count the pairs of a step
        self.is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled or holds_shards(model)
        self._objective = in_step(objective) if self.is_sharded else objective
        self._sums_6: Tensor | None = None
        self._collate, self._draws = collate, draws

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """Return the micro-batches of a step, and the number of its pairs on all processes."""
        samples, num_pairs = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._draws is None:
            return samples, num_pairs
        places = [int(sample["place"]) for sample in samples]
        drawn = self._draws.batches(places, collate=self._collate)
        return drawn, self._get_num_items_in_batch(drawn, device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return this micro-batch's share of the step's loss."""
        outcome = self._objective(model, inputs)
        num_pairs = len(outcome.loss_B) if num_items_in_batch is None else num_items_in_batch
        # gradients are averaged over processes afterwards, and num_pairs counts all of theirs
        loss = outcome.loss_B.sum() / num_pairs * self.accelerator.num_processes
        self._sums_6 = _add(self._sums_6, outcome)
        if self._draws is not None:
            self._draws.note(inputs, outcome)
        return (loss, {"delta": outcome.delta_B}) if return_outputs else loss

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ARG002
        ignore_keys: list[str] | None = None,  # noqa: ARG002
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return (and log) the figures of all held-out pairs, over all processes, exactly."""
        model = cast(nn.Module, self.model)
        model.train(False)
        sums_6: Tensor | None = None
        with torch.no_grad(), self.compute_loss_context_manager():
            for inputs in self.get_eval_dataloader():
                outcome = self._objective(model, self._prepare_inputs(inputs))
                sums_6 = _add(sums_6, outcome)
        figures = _figures(self.accelerator.reduce(sums_6, reduction="sum"))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def whole_state(self) -> dict[str, Tensor]:
        """Gather the weights of a sharded model on the main process; all processes call."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            state: dict[str, Tensor] = self.accelerator.get_state_dict(self.model_wrapped)
            return state
        return whole_state(cast(nn.Module, self.model))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint to resume from.

        Raises:
            ConfigError: the folder cannot be written, or is full.
        """
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            if isinstance(error, RuntimeError):
                if TORCH_WRITER not in reason:
                    raise
                reason = "a file is incomplete; is the disk full?"
            where = _checkpoint(self.args, self.state.global_step)
            raise ConfigError(f"cannot write {where}: {reason}") from error

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log exact figures of the step instead of averages of averages.

        Raises:
            ConfigError: the loss is not finite.
        """
        if "loss" in logs and self._sums_6 is not None:
            figures = _figures(self.accelerator.reduce(self._sums_6, reduction="sum"))
            self._sums_6 = None
            if not math.isfinite(figures["loss"]):
                raise ConfigError(
                    f"training diverged: the loss of step {self.state.global_step} is "
                    f"{figures['loss']}; try a learning_rate below {self.args.learning_rate:g}"
                )
            logs.update(figures)
        super().log(logs, start_time)


def last_complete(work: Path) -> str | None:
    """Return the newest Trainer checkpoint in ``work`` that was written to its end, or ``None``."""
    complete = [path.parent for path in work.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(complete, key=_step_of)) if complete else None


def stopped_at(checkpoint: str | None) -> int | None:
    """Return the step at which a run was over, if its last checkpoint says that it was."""
    if checkpoint is None:
        return None
    mark = read_json(Path(checkpoint) / COMPLETE)
    return int(mark["step"]) if mark["is_over"] else None


class _Watcher(TrainerCallback):
    """Advances the progress bar, and marks a checkpoint once all its files are there."""

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self._on_step = on_step

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        self._on_step(state.global_step)
        if state.best_global_step:  # the folder may have moved since
            best = _checkpoint(args, state.best_global_step)
            state.best_model_checkpoint = str(best) if best.is_dir() else None

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._on_step(1)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if args.world_size > 1:
            dist.barrier()  # every process writes a file of its own
        if state.is_world_process_zero:
            mark = {"step": state.global_step, "is_over": control.should_training_stop}
            write_json(_checkpoint(args, state.global_step) / COMPLETE, mark)


class _HandsBack(TrainerCallback):
    """Keeps memory from growing: every step has other sizes."""

    def __init__(self) -> None:
        self._growth = Growth()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._growth.check()


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{step}"


def _step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _add(sums_6: Tensor | None, outcome: Outcome) -> Tensor:
    with torch.no_grad():
        delta_B = outcome.delta_B
        chosen_B, rejected_B = outcome.chosen_B.double(), outcome.rejected_B.double()
        credit_B = (delta_B > 0).double() + 0.5 * (delta_B == 0).double()
        columns = (
            outcome.loss_B.double(),
            credit_B,
            delta_B.double().abs(),
            (chosen_B + rejected_B) / 2,
            (chosen_B.square() + rejected_B.square()) / 2,
            torch.ones_like(credit_B),
        )
        step_6 = torch.stack([column_B.sum() for column_B in columns])
        return step_6 if sums_6 is None else sums_6 + step_6


def _figures(sums_6: Tensor) -> dict[str, float]:
    *sums, num_pairs = sums_6.tolist()
    loss, accuracy, mean_abs_delta, mean, square = (value / num_pairs for value in sums)
    return {
        "loss": loss,
        "accuracy": accuracy,
        "mean_abs_delta": mean_abs_delta,
        "score_mean": mean,
        "score_std": math.sqrt(max(0.0, square - mean**2)),
    }
