"""The MetaRM step: the gradient of the pair loss is taken where responses are told apart more.

Shapes: Q pairs of responses to the same prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.modeling_layers import GradientCheckpointingLayer

from tamis.errors import ConfigError
from tamis.runs import read_json, write_json
from tamis.train.difference import difference_loss, spread
from tamis.train.meta_set import MetaParts, MetaSet
from tamis.train.objective import Batch, Objective, Outcome
from tamis.train.order import Indices
from tamis.train.reading import read_last
from tamis.train.shard import holds_shards, in_step

BEFORE, STEPS = "meta_before.json", "meta_steps.json"

MetaCollate = Callable[[Indices], Mapping[str, Any]]


@final
class MetaStep(TrainerCallback):
    """Moves the weights before the pairs of a step are computed, and back before they are updated.

    With J the difference loss (see `tamis.train.difference`) of the step's prompts and L the loss
    of its pairs, a step is

        theta' = theta + eta grad J(theta);  theta <- optimiser(theta, clipped grad L(theta'))

    or, with eta in outer steps, theta' = theta + eta lr clip(grad J / (sqrt(v) + eps), -1, 1), with
    the learning rate lr of the step, grad J clipped as grad L is, and AdamW's second moments v of
    grad L, corrected for their start at 0. At the first step they say nothing, and nothing is
    moved. AdamW moves each weight by about lr however small its gradient is, so that the published
    step, the bare gradient times eta = lr, is shorter by orders of magnitude and does next to
    nothing; the report says by how much. Measured in outer steps both steps have one metric, as
    they have for plain descent.

    It is first-order: nothing is differentiated twice. The trainable weights alone are moved; the
    optimiser, its state and the schedule see the original weights, which come back bit for bit.
    Dropout is off while responses are scored, so that no random number is drawn.
    Cost: forward and backward passes over the prompts; a copy of the trainable weights, beside it
    for a moment the gradient of J, and the activations of one micro-batch of responses.
    Reference: MetaRM, arXiv 2405.00438, algorithm 1, with AdamW in place of plain descent for the
    outer update; the paper does not say which optimiser it used. The inner step is plain ascent;
    that in the metric of the outer one is ours.
    """

    def __init__(
        self,
        meta: MetaSet,
        parts: MetaParts,
        *,
        collate: MetaCollate,
        eta: float,
        unit: Literal["gradient", "steps"] = "gradient",
    ) -> None:
        self._meta, self._parts = meta, parts
        self._collate, self._eta, self._unit = collate, eta, unit
        self._taken = _Taken()
        self._originals: list[tuple[Tensor, Tensor]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **given: Any
    ) -> None:
        """Note how far apart the untrained model scores the held-out responses, or go on."""
        if state.global_step:
            self._taken = _Taken(**read_json(_steps(args, state)))
        if state.global_step == 0 and self._parts.held_out:
            before = self.held_out_spread(given["model"], args)
            if state.is_world_process_zero:
                write_json(_before(args), before)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **given: Any
    ) -> None:
        """Move the weights along the gradient of J.

        Raises:
            ConfigError: the trained weights are hidden from it.
        """
        assert not self._originals, "the weights are moved already"
        groups = given["optimizer"].param_groups
        weights = [weight for group in groups for weight in group["params"]]
        size = self._parts.num_micro * args.world_size
        parts = self._parts.training[state.global_step * size : (state.global_step + 1) * size]
        gradients = self._gradients(given["model"], weights, parts=parts, args=args)
        if all(gradient is None for gradient in gradients):
            raise ConfigError(
                "objective.meta found no gradient of the trained weights; it works in one process, "
                "with DDP and with FSDP version 2"
            )
        moves: Iterable[Tensor | None]
        if self._unit == "gradient":
            moves = (None if gradient is None else self._eta * gradient for gradient in gradients)
        else:
            clipped = _clip(gradients, max_norm=args.max_grad_norm)
            moves = _as_outer(clipped, given["optimizer"], eta=self._eta)
        norms = []
        with torch.no_grad():
            for weight, move in zip(weights, moves, strict=True):
                if move is not None:
                    self._originals.append((weight, weight.detach().clone()))
                    weight.add_(move)
                    norms.append(torch.linalg.vector_norm(move))
        self._taken.note(_norm(norms), outer=_outer_step(groups))

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Put the original weights back: the gradients are there, and clipped."""
        with torch.no_grad():
            for weight, original in self._originals:
                weight.copy_(original)
        self._originals.clear()

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Check that no checkpoint holds weights that were moved, and keep what was taken."""
        assert not self._originals, "the weights are moved"
        if state.is_world_process_zero:
            write_json(_steps(args, state), asdict(self._taken))

    def held_out_spread(self, model: nn.Module, args: TrainingArguments) -> float:
        """Return the mean absolute difference of scores within held-out prompts; all call."""
        objective = _in_step(spread_objective, model)
        total = torch.zeros((), dtype=torch.float64)
        model.train(False)
        with torch.no_grad():
            for part in self._parts.held_out[args.process_index :: args.world_size]:
                batch = self._batch(part, model, num_prompts=self._parts.num_held_out)
                total += objective(model, batch).loss_B.double().sum().cpu()
        return float(_summed(total.to(args.device)))

    def report(self, model: nn.Module, args: TrainingArguments) -> dict[str, Any]:
        """Return what there is to say of the meta set and of what it did; all processes call."""
        report: dict[str, Any] = {
            "num_prompts": len(self._meta) - self._parts.num_held_out,
            "num_held_out": self._parts.num_held_out,
            "num_responses": self._meta.num_responses,
            "num_left_out": dict(self._meta.num_left_out),
            "num_cut": self._meta.num_cut,
            "inner_steps": self._taken.mean,
        }
        if self._parts.held_out:
            after = self.held_out_spread(model, args)
            before = read_json(_before(args)) if args.process_index == 0 else after
            report["held_out_spread"] = {"before": before, "after": after}
        return report

    def _gradients(
        self,
        model: nn.Module,
        weights: Sequence[nn.Parameter],
        *,
        parts: Sequence[Indices],
        args: TrainingArguments,
    ) -> list[Tensor | None]:
        """Return the gradient of J, over all micro-batches of all processes."""
        objective, is_sharded = _in_step(difference_objective, model), holds_shards(model)
        gradients: list[Tensor | None] = [None] * len(weights)
        num_prompts = sum(map(len, parts))
        _switch_dropout_off(model)
        for part in parts[args.process_index :: args.world_size]:
            batch = self._batch(part, model, num_prompts=num_prompts)
            loss = objective(model, batch).loss_B.sum()
            if is_sharded:  # its gradients are exchanged, and averaged, on the way back alone
                (loss * args.world_size).backward()
                continue
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            gradients = [_add(*both) for both in zip(gradients, found, strict=True)]
        if is_sharded:
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                weight.grad = None
            return gradients
        # what takes part in a step does so on all processes
        return [None if gradient is None else _summed(gradient) for gradient in gradients]

    def _batch(self, part: Indices, model: nn.Module, *, num_prompts: int) -> dict[str, Any]:
        device = next(model.parameters()).device
        return {**send_to_device(self._collate(part), device), "num_prompts": num_prompts}


@dataclass(slots=True)
class _Taken:
    """How long the inner steps were so far, in outer steps; those of a learning rate of 0 apart."""

    num: int = 0
    total: float = 0.0

    def note(self, length: float, *, outer: float) -> None:
        if outer:
            self.num += 1
            self.total += length / outer

    @property
    def mean(self) -> float | None:
        return self.total / self.num if self.num else None


def difference_objective(model: nn.Module, batch: Batch) -> Outcome:
    """Return the difference loss of a batch of `meta_batch`; its sum over all parts is J."""
    reading = read_last(model, batch)
    gap_Q = reading.chosen_B - reading.rejected_B
    loss_Q = difference_loss(gap_Q, count_Q=batch["count"], num_prompts=batch["num_prompts"])
    return Outcome(loss_Q, reading.chosen_B, reading.rejected_B)


def spread_objective(model: nn.Module, batch: Batch) -> Outcome:
    """Return the spread of a batch of `meta_batch`; its sum over all parts is the mean spread."""
    reading = read_last(model, batch)
    gap_Q = reading.chosen_B - reading.rejected_B
    spread_Q = spread(gap_Q, count_Q=batch["count"], num_prompts=batch["num_prompts"])
    return Outcome(spread_Q, reading.chosen_B, reading.rejected_B)


def _in_step(objective: Objective, model: nn.Module) -> Objective:
    return in_step(objective) if holds_shards(model) else objective


def _switch_dropout_off(model: nn.Module) -> None:
    """Let responses be scored as users of the model score them, and no random number be drawn.

    What recomputes activations does so in training mode alone; it has no dropout of its own. The
    Trainer sets the mode anew before the pairs.
    """
    model.train(False)
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


def _add(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _summed(value: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def _clip(gradients: Sequence[Tensor | None], *, max_norm: float) -> Iterator[Tensor | None]:
    """Yield gradients as the optimiser is given those of the pairs: of a norm of so much at most.

    As there, a ``max_norm`` of 0 leaves them as they are.
    """
    norm = _norm([gradient for gradient in gradients if gradient is not None])
    factor = max_norm / norm if norm > max_norm > 0 else 1.0
    return (None if gradient is None else factor * gradient for gradient in gradients)


def _as_outer(
    gradients: Iterable[Tensor | None], optimizer: torch.optim.Optimizer, *, eta: float
) -> Iterator[Tensor | None]:
    """Yield the moves along gradients in the metric of AdamW; none where it has not stepped yet.

    Raises:
        ConfigError: the optimiser has stepped and keeps no second moments.
    """
    places = [(group, weight) for group in optimizer.param_groups for weight in group["params"]]
    for (group, weight), gradient in zip(places, gradients, strict=True):
        state = optimizer.state.get(weight)
        if gradient is None or not state:
            yield None
            continue
        if "exp_avg_sq" not in state:
            raise ConfigError(
                "objective.meta.unit is steps, which needs AdamW's second moments, and "
                f"{type(optimizer).__name__} keeps none; choose unit gradient"
            )
        correction = 1.0 - group["betas"][1] ** float(state["step"])
        scale = (state["exp_avg_sq"] / correction).sqrt_().add_(group["eps"])
        yield (gradient / scale).clamp_(-1.0, 1.0).mul_(eta * float(group["lr"]))


def _norm(tensors: Sequence[Tensor]) -> float:
    """Return the norm of all tensors together, of all shards."""
    found = get_total_norm(tensors)
    return float(found.full_tensor() if isinstance(found, DTensor) else found)


def _outer_step(groups: Sequence[Mapping[str, Any]]) -> float:
    """Return how far all weights move together where each moves by its learning rate."""
    squares = (
        float(group["lr"]) ** 2 * sum(weight.numel() for weight in group["params"])
        for group in groups
    )
    return math.sqrt(sum(squares))


def _steps(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / STEPS


def _before(args: TrainingArguments) -> Path:
    return Path(str(args.output_dir)) / BEFORE
