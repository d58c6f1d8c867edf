"""Weights spread over processes (FSDP2): sharding, passes in step, and gathering.

Shapes: B pairs of a micro-batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from tamis.models.rows.forward import trunk_layers
from tamis.train.build import RewardModel, base_of
from tamis.train.objective import Batch, Objective, Outcome


def shard(model: RewardModel) -> None:
    """Spread the weights of a model, in place, over all processes of the CPU.

    Each layer of the trunk is gathered when it is needed, and the rest with the whole model. For
    the Trainer it is then a model that came sharded, which it neither wraps nor saves on the way.
    (On accelerators the Trainer and accelerate shard, from the same settings.)
    """
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    inner = base_of(model)
    for layer in trunk_layers(inner):
        fully_shard(layer, mesh=mesh)
    fully_shard(cast(nn.Module, model), mesh=mesh, reshard_after_forward=True)
    inner._is_distributed_loading_by_transformers = True
    whole = [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)]
    assert not whole, f"not sharded: {whole}"


class KeepsGathered(TrainerCallback):
    """Has all but the layers of the trunk stay gathered from a forward pass to its way back.

    Terms read the head, the embeddings and what is trained beside the model after the pass.
    """

    def on_train_begin(self, *_: Any, **given: Any) -> None:
        """Set it, in place; what is not sharded has nothing to set."""
        model = given["model"]
        layers = {id(layer) for layer in trunk_layers(base_of(model))}
        for part in model.modules():
            if isinstance(part, FSDPModule) and id(part) not in layers:
                part.set_reshard_after_forward(False, recurse=False)


def holds_shards(model: nn.Module) -> bool:
    """Tell whether any weight is spread over processes."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Gather all weights of a sharded model on the main process; empty on the others."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast(dict[str, Tensor], get_model_state_dict(model, options=options))


def in_step(objective: Objective) -> Objective:
    """Return the objective with as many forward passes as the process that makes most of them.

    Each pass of a sharded model exchanges weights, and so does its way back: a process that made
    fewer would leave the others waiting. So before each pass the processes agree on making one;
    what is passed in addition has no share in the loss.
    """

    def together(model: nn.Module, batch: Batch) -> Outcome:
        device = next(model.parameters()).device
        inputs: list[tuple[Any, Any]] = []

        def announce(_: nn.Module, args: Any, kwargs: Any) -> None:
            inputs[:] = [(args, kwargs)]
            _anybody(True, device=device)

        watch = model.register_forward_pre_hook(announce, with_kwargs=True, prepend=True)
        try:
            outcome = objective(model, batch)
        finally:
            watch.remove()
        args, kwargs = inputs[0]
        loss_B = outcome.loss_B
        while _anybody(False, device=device):
            loss_B = loss_B + 0.0 * model(*args, **kwargs).logits.float().sum()
        return replace(outcome, loss_B=loss_B)

    return together


def _anybody(makes_a_pass: bool, *, device: torch.device) -> bool:
    """Tell whether any process makes another pass."""
    flag = torch.tensor(int(makes_a_pass), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)
