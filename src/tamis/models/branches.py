"""Many reward models that share a frozen trunk and part in its top blocks.

Shapes: S sequences, T tokens, D hidden.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from peft import inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from tamis.errors import ConfigError, shorten
from tamis.models.adapter import linear_layers, lora_settings
from tamis.models.config import ModelConfig
from tamis.models.head import initial_weight
from tamis.models.load import load_reward_model, to_accelerator
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import TreeForward, trunk_layers
from tamis.models.rows.plan import RowPlan
from tamis.models.rows.tree import PrefixTree
from tamis.models.source import quiet


@dataclass(frozen=True, slots=True)
class Entered:
    """S sequences, laid out as a tree, as they enter the first block that differs."""

    sequences: Sequence[tuple[int, ...]]
    tree: PrefixTree
    hidden_1TD: Tensor


class Branches:
    """K reward models on one frozen decoder, each with a head and low-rank updates of top blocks.

    The trunk below runs once for all of them. The updates are LoRA on all linear layers of the
    blocks (alpha = 2 x rank), the head is a linear layer in float32 without a bias; both start
    from the branch's own seed.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        seeds: Sequence[int],
        num_layers: int,
        rank: int,
        pad_token_id: int,
        max_length: int,
    ) -> None:
        """Load the trunk and add the branches.

        Args:
            config: the base model.
            seeds: one a branch.
            num_layers: blocks at the top that branches update.
            rank: of the updates.
            pad_token_id: the tokenizer's.
            max_length: tokens of the longest sequence to come.

        Raises:
            ConfigError: the model cannot be loaded, is no decoder that takes shared rows, or has no
                block left below the branches.
        """
        model, plan = _trunk(config, pad_token_id=pad_token_id, max_length=max_length)
        layers = trunk_layers(model)
        if num_layers >= len(layers):
            raise ConfigError(
                f"branch voters update {num_layers} blocks, and {shorten(config.path)} has "
                f"{len(layers)}; choose fewer"
            )
        self._model, self._plan = model, plan
        self._forward = cast(TreeForward, model.forward)
        self._first = len(layers) - num_layers
        targets = linear_layers(model, within=layers[self._first :])
        size = int(model.config.get_text_config().hidden_size)
        self._parameters = [
            [
                *_adapter(model, targets, name=_name(number), rank=rank, seed=seed),
                nn.Parameter(initial_weight(size, seed=seed).to(model.device)),
            ]
            for number, seed in enumerate(seeds)
        ]
        self._adapted = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained, branch after branch, in an order that depends on the model alone."""
        return [parameter for branch in self._parameters for parameter in branch]

    def parameters_of(self, branch: int) -> list[nn.Parameter]:
        """What is trained of one branch, its head last."""
        return self._parameters[branch]

    def enter(self, sequences: Sequence[tuple[int, ...]]) -> Entered:
        """Run the trunk below the branches over all sequences, each common prefix once."""
        tree = self._plan.tree(sequences)
        return Entered(sequences, tree, self._forward.reach(tree, layer=self._first))

    def pick(self, entered: Entered, which: Sequence[int]) -> Entered:
        """Return some of the sequences that entered; the trunk does not run again."""
        sequences = [entered.sequences[number] for number in which]
        tree = self._plan.tree(sequences)
        source = [0] * len(tree.token_ids)
        for number, rows in zip(which, tree.rows, strict=True):
            for row, row_entered in zip(rows, entered.tree.rows[number], strict=True):
                source[row] = row_entered
        picked_T = torch.tensor(source, device=entered.hidden_1TD.device)
        return Entered(sequences, tree, entered.hidden_1TD.index_select(1, picked_T))

    def scores(self, branch: int, entered: Entered) -> Tensor:
        """Return a branch's rewards of the sequences that entered, float32 [S].

        Gradients reach the branch's parameters alone, unless they are switched off.
        """
        for layer in self._adapted:
            layer.set_adapter(_name(branch))
        states_SD = self._states(entered)
        return torch.mv(states_SD.float(), self._parameters[branch][-1])

    def _states(self, entered: Entered) -> Tensor:
        """Return what leaves the trunk at the read tokens, [S, D]."""
        tree, device = entered.tree, self._model.device
        run = self._forward.start(
            tree, device=device, first=self._first, entering_1TD=entered.hidden_1TD
        )
        input_ids = torch.tensor([tree.token_ids], device=device)
        position_ids = torch.tensor([tree.positions], device=device)
        return self._forward.read(run, input_ids=input_ids, position_ids=position_ids)


def _trunk(
    config: ModelConfig, *, pad_token_id: int, max_length: int
) -> tuple[PreTrainedModel, RowPlan]:
    """Load the model with frozen weights, prepared for shared rows."""
    model = load_reward_model(config, seed=0, pad_token_id=pad_token_id)
    to_accelerator(model)
    plan = choose_rows(model, max_length=max_length)
    if plan.kind != "shared":
        raise ConfigError(
            f"branch voters need a decoder that takes shared rows, and {shorten(config.path)} "
            f"gets {plan.why}; choose head or full voters"
        )
    cast(nn.Module, model).requires_grad_(False)
    return model, plan


def _adapter(
    model: PreTrainedModel, targets: list[str], *, name: str, rank: int, seed: int
) -> list[nn.Parameter]:
    """Add low-rank updates to some layers, in place, and return their weights."""
    settings = lora_settings(model, rank=rank, target_modules=targets)
    with torch.random.fork_rng(devices=[]), quiet(), warnings.catch_warnings():
        # several adapters in one model are the purpose
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        torch.manual_seed(seed)
        inject_adapter_in_model(settings, model, adapter_name=name)
    return [p for found, p in model.named_parameters() if f".{name}." in found]


def _name(branch: int) -> str:
    return f"branch{branch}"
