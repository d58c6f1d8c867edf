"""Batches whose texts are read in two views, parts of each dropped out at random.

Shapes: B pairs of a batch, S its distinct sequences, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tamis.models.head import output_layer
from tamis.terms.view import Vectors
from tamis.train.config import ViewsConfig
from tamis.train.reading import Read, Reading, inner_model, read_last


def read_views(config: ViewsConfig) -> Read:
    """Return what scores each text in two views, which are two places of each pair.

    ``read`` drops out the vectors that the output layer reads, after one pass of the trunk.
    ``inside`` makes two passes with the dropout modules of the model switched on, and one without
    and without a way back for the scores that are logged. In evaluation mode nothing is dropped
    out and there is one pass, so that both views are the scores that consumers get.
    """

    def read(model: nn.Module, batch: Mapping[str, Any]) -> Reading:
        base = inner_model(model)
        layer = output_layer(base)
        if config.where == "read" or not base.training:
            plain, vector_SD = _read_vectors(model, batch, layer=layer)
            views_2SD = nn.functional.dropout(
                torch.stack([vector_SD, vector_SD]), p=config.dropout, training=base.training
            )
        else:
            with torch.no_grad():
                plain = read_last(model, batch)
            with _dropout_inside(base, p=config.dropout):
                passes = [_read_vectors(model, batch, layer=layer) for _ in range(2)]
            views_2SD = torch.stack([vector_SD for _, vector_SD in passes])
        return _in_views(plain, layer(views_2SD)[..., 0], views_2SD=views_2SD, batch=batch)

    return read


def dropout_modules(model: nn.Module) -> list[nn.Dropout]:
    """Return the dropout modules of a model; layers of attention may have dropout of their own.

    Those of adapters are not the model's.
    """
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout)
        and not any(p.startswith("lora_") for p in name.split("."))
    ]


def _read_vectors(
    model: nn.Module, batch: Mapping[str, Any], *, layer: nn.Module
) -> tuple[Reading, Tensor]:
    """Return scores, and what the output layer read of each sequence, float32 [S, D]."""
    inputs: list[Tensor] = []
    # before the layer's own dropout, if any: what is read here goes through it in each view
    hook = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]), prepend=True)
    try:
        reading = read_last(model, batch)
    finally:
        hook.remove()
    return reading, _at_last_tokens(inputs, batch).float()


def _at_last_tokens(inputs: Sequence[Tensor], batch: Mapping[str, Any]) -> Tensor:
    """Return one vector a sequence: padded decoders score all tokens, and pick one afterwards."""
    if "tree" in batch:
        return inputs[0]
    length_S = batch["attention_mask"].sum(1)
    picked: list[Tensor] = []
    start = 0
    for block in inputs:
        rows = torch.arange(len(block), device=block.device)
        last = length_S[start : start + len(block)] - 1
        picked.append(block[rows, last] if block.ndim == 3 else block)
        start += len(block)
    return torch.cat(picked)


def _in_views(
    plain: Reading, score_2S: Tensor, *, views_2SD: Tensor, batch: Mapping[str, Any]
) -> Reading:
    chosen_B, rejected_B = batch["chosen"], batch["rejected"]
    pair_B = torch.arange(len(chosen_B), device=chosen_B.device)
    return Reading(
        chosen_P=score_2S[:, chosen_B].flatten(),
        rejected_P=score_2S[:, rejected_B].flatten(),
        chosen_B=plain.chosen_B,
        rejected_B=plain.rejected_B,
        pair_P=pair_B.repeat(2),
        view_P=torch.arange(2, device=chosen_B.device).repeat_interleave(len(chosen_B)),
        vectors=Vectors(views_2SD, chosen_B, rejected_B),
    )


@contextmanager
def _dropout_inside(model: nn.Module, *, p: float) -> Iterator[None]:
    modules = dropout_modules(model)
    before = [module.p for module in modules]
    for module in modules:
        module.p = p
    try:
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.p = was
