"""Averaging LoRA adapters: the mean of their updates, added to the base model.

The update of a layer is B times A. The mean of products is not the product of means, so A and B are
never averaged by themselves. Memory holds the base model, the adapters and one layer's update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tamis.errors import ConfigError
from tamis.merge.members import Member, base_config, brings_layers
from tamis.models.adapted import adapter_notes, own_tokenizer
from tamis.models.checkpoint import save_checkpoint
from tamis.models.load import load_reward_model
from tamis.models.source import loading, quiet
from tamis.models.start import start_of, template_digest
from tamis.models.tokenise import load_tokenizer, pad_id_of


def write_adapter_average(
    members: Sequence[Member],
    *,
    weights_K: Sequence[float],
    out: Path,
    base: str | None,
    card: Mapping[str, Any],
) -> None:
    """Write the weighted mean of K adapters, on their base model, as a checkpoint without adapters.

    Args:
        members: adapters, as `open_members` returned them.
        weights_K: one for each, at least 0 and not all 0.
        out: a directory; what is there is replaced.
        base: the model under the adapters, instead of the one that they name.
        card: more rows of the model card.

    Raises:
        ConfigError: the base cannot be loaded, is not the one that the adapters were trained on,
            has another chat template or vocabulary, or files cannot be read or written.
    """
    config = base_config(members[0], base=base)
    tokenizer = load_tokenizer(config)
    model = load_reward_model(
        config,
        seed=0,
        pad_token_id=pad_id_of(tokenizer),
        new_head="allowed" if brings_layers(members[0]) else "forbidden",
    )
    _check_base(model, tokenizer, member=members[0], path=config.path)
    for member in members:
        own_tokenizer(member.path, tokenizer, base=config.path)  # refuses another vocabulary
    model.config.update(adapter_notes(members[0].path))
    names = [f"member{number}" for number in range(len(members))]
    with loading(str(members[0].path)), quiet():
        adapted = PeftModel.from_pretrained(model, str(members[0].path), adapter_name=names[0])
    for name, member in list(zip(names, members, strict=True))[1:]:
        with loading(str(member.path)), quiet():
            adapted.load_adapter(str(member.path), adapter_name=name)
    total = sum(weights_K)
    shares = {name: weight / total for name, weight in zip(names, weights_K, strict=True) if weight}
    _average(adapted, shares)
    save_checkpoint(adapted.unload(), tokenizer, out, card=card, start=members[0].start)


def _check_base(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, member: Member, path: str
) -> None:
    """Compare the base with what the adapters say of it; their head may be new in it."""
    if member.start is None:
        return
    found = start_of(model, tokenizer, config=base_config(member, base=path))
    if found is not None and found.trunk != member.start.trunk:
        raise ConfigError(
            f"{path} is not the model that {member.path} was trained on (its weights differ): give "
            "the right one with --base, or merge whole checkpoints (those of 4-bit models have no "
            "other way)"
        )
    if template_digest(tokenizer) != member.start.template:
        raise ConfigError(
            f"{path} has another chat template than {member.path} was trained with: merge whole "
            "checkpoints instead"
        )


def _average(adapted: PeftModel, shares: Mapping[str, float]) -> None:
    """Add the mean of the updates to the layers, and put the mean of whole layers in their place.

    ``shares`` are of adapters by name, with a sum of 1.
    """
    with torch.no_grad():
        for module in adapted.modules():
            if isinstance(module, LoraLayer):
                layer: Any = module
                weight: Tensor = layer.get_base_layer().weight
                updates = (
                    layer.get_delta_weight(name).double() * share for name, share in shares.items()
                )
                weight.copy_((weight.double() + _sum(updates)).to(weight.dtype))
            elif isinstance(module, ModulesToSaveWrapper):
                _average_whole(module, shares)


def _average_whole(wrapper: ModulesToSaveWrapper, shares: Mapping[str, float]) -> None:
    parts: dict[str, nn.Module] = dict(wrapper.modules_to_save.items())
    states = {name: parts[name].state_dict() for name in shares}
    for key, example in next(iter(states.values())).items():
        mean = _sum(states[name][key].double() * share for name, share in shares.items())
        for part in parts.values():
            part.state_dict()[key].copy_(mean.to(example.dtype))


def _sum(parts: Any) -> Tensor:
    total: Tensor | None = None
    for part in parts:
        total = part if total is None else total.add_(part)
    if total is None:
        raise ConfigError("all weights are 0; expected one above 0")
    return total
