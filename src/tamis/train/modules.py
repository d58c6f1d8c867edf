"""Parts of terms that are trained with a model and thrown away with the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerCallback, TrainerState, TrainingArguments

from tamis.errors import ConfigError

ATTRIBUTE = "term_modules"
STATE = "terms-{}.pt"  # of each process: what it queued is its own


class TermModules(nn.ModuleDict):
    """The modules of terms, by term."""


def attach(model: nn.Module, modules: Mapping[str, nn.Module], *, device: torch.device) -> None:
    """Make modules of terms part of a model, in place: trained, clipped and reduced with it."""
    if modules:
        named = {_key(name): module for name, module in modules.items()}
        setattr(model, ATTRIBUTE, TermModules(named).to(device))


def attached(model: nn.Module) -> TermModules | None:
    """Return what was attached to a model; it is found inside wrappers for several processes."""
    return next((part for part in model.modules() if isinstance(part, TermModules)), None)


def detach(model: nn.Module) -> None:
    """Take them away again, in place, so that the checkpoint is a reward model and no more."""
    if attached(model) is not None:
        delattr(model, ATTRIBUTE)


def module_of(model: nn.Module, term: str) -> nn.Module:
    """Return the module of a term."""
    modules = attached(model)
    assert modules is not None
    return modules[_key(term)]


def keepers(model: nn.Module) -> list[TrainerCallback]:
    """Return what keeps the state of the modules of a model, where it has any."""
    modules = attached(model)
    return [] if modules is None else [ModuleKeeper(modules)]


class ModuleKeeper(TrainerCallback):
    """Writes the state of modules to each checkpoint of the Trainer, and reads it on resumption.

    The Trainer writes them with a model that is trained as a whole, but not with adapters, and of
    several processes from the first alone.
    """

    def __init__(self, modules: TermModules) -> None:
        self._modules = modules

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        """Go on where the checkpoint was written."""
        if state.global_step:
            own, first = (_path(args, state, process=n) for n in (args.process_index, 0))
            # more processes than before: what was trained is the same, what was queued is not
            path = own if own.is_file() else first
            kept = torch.load(path, map_location="cpu", weights_only=True)
            now = self._modules.state_dict()
            self._modules.load_state_dict(
                {name: _spread_as(now[name], value) for name, value in kept.items()}
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Write this process's state beside the weights.

        Raises:
            ConfigError: the folder cannot be written, or is full.
        """
        path = _path(args, state, process=args.process_index)
        kept = {name: _whole(value) for name, value in self._modules.state_dict().items()}
        try:
            torch.save(kept, path)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"cannot write {path}: {reason}; is the disk full?") from error


def _whole(value: Tensor) -> Tensor:
    """Return a tensor with all its parts, if it is spread over processes; all of them call."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _spread_as(now: Tensor, value: Tensor) -> Tensor:
    """Return a whole tensor, spread over processes as another one is, if it is."""
    if not isinstance(now, DTensor):
        return value
    return distribute_tensor(value.to(now.device), now.device_mesh, now.placements)


def _path(args: TrainingArguments, state: TrainerState, *, process: int) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / STATE.format(process)


def _key(term: str) -> str:
    return term.replace(".", "/")  # a dot would part the name of a weight
