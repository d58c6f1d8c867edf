"""The Trainer of weights that Tamis spreads over processes itself: its checkpoints lie in parts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tamis.train.trainer import PairTrainer

PARTS, SCHEDULE = "parts", "schedule.pt"
MODEL, OPTIMIZER = "model", "optimizer"


class ShardedTrainer(PairTrainer):
    """A `PairTrainer` of a model that came sharded (see `tamis.train.shard`).

    The Trainer refuses to checkpoint the optimiser of such a model, and is told to save the model
    alone (``save_only_model``). What belongs to it is saved with it here: each process writes and
    reads its own part of weights and optimiser, as torch's distributed checkpoints do.
    """

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write weights, optimiser, schedule and random states; all processes call."""
        folder = Path(output_dir or str(self.args.output_dir))
        state = {MODEL: get_model_state_dict(self._shards), OPTIMIZER: self._optimizer_state()}
        with warnings.catch_warnings():
            # a run that was killed at this step has left its parts
            warnings.filterwarnings("ignore", message="Detected an existing checkpoint")
            try:
                save(state, checkpoint_id=folder / PARTS)
            except CheckpointException as error:
                raise OSError(str(next(iter(error.failures.values()))[0])) from error
        if self.args.should_save:
            torch.save(self._schedule.state_dict(), folder / SCHEDULE)
        self._save_rng_state(str(folder))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        """Read the weights; the Trainer reads the random states where it left them."""
        shards = self._shards if model is None else model
        state: dict[str, Any] = {MODEL: get_model_state_dict(shards)}
        load(state, checkpoint_id=Path(resume_from_checkpoint) / PARTS)
        set_model_state_dict(shards, state[MODEL])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        state: dict[str, Any] = {OPTIMIZER: self._optimizer_state()}
        load(state, checkpoint_id=folder / PARTS)
        set_optimizer_state_dict(self._shards, self._inner_optimizer, state[OPTIMIZER])
        self._schedule.load_state_dict(torch.load(folder / SCHEDULE, weights_only=True))

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))

    @property
    def _shards(self) -> nn.Module:
        return cast(nn.Module, self.model)

    @property
    def _inner_optimizer(self) -> Optimizer:
        return cast(Optimizer, cast(AcceleratedOptimizer, self.optimizer).optimizer)

    @property
    def _schedule(self) -> LRScheduler:
        return cast(LRScheduler, self.lr_scheduler)

    def _optimizer_state(self) -> dict[str, Any]:
        return get_optimizer_state_dict(self._shards, self._inner_optimizer)
