"""Batches whose tokens are kept, with the states in which the trunk has read them.

Shapes: S distinct sequences of a batch, T tokens of a row, or of all, D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from tamis.terms.view import Tokens
from tamis.train.reading import Read, Reading, inner_model


def with_tokens(read: Read) -> Read:
    """Return a reading that also keeps the tokens of the batch, in the pass that it makes anyway.

    The model's rows must have been chosen to compute the states of all tokens (see `choose_rows`).
    """

    def reading(model: nn.Module, batch: Mapping[str, Any]) -> Reading:
        base = inner_model(model)
        states: list[Tensor] = []
        hook = base.base_model.register_forward_hook(
            lambda _, __, output: states.append(output.last_hidden_state)
        )
        try:
            found = read(model, batch)
        finally:
            hook.remove()
        ids, places = _layout(states, batch)
        tokens = Tokens(
            states_TD=torch.cat([block.flatten(0, 1) for block in states]),
            embeddings_VD=cast(nn.Embedding, base.get_input_embeddings()).weight,
            ids=ids,
            places=places,
            chosen_B=batch["chosen"].tolist(),
            rejected_B=batch["rejected"].tolist(),
            start_B=batch["prefix"].tolist(),
        )
        return replace(found, tokens=tokens)

    return reading


def _layout(
    states: Sequence[Tensor], batch: Mapping[str, Any]
) -> tuple[list[list[int]], Sequence[Sequence[int]]]:
    """Return the ids of each sequence, and where its tokens are when blocks are laid end to end."""
    if "tree" in batch:
        tree = batch["tree"]
        assert states[0].shape[1] == len(tree.token_ids)
        return [[tree.token_ids[place] for place in row] for row in tree.rows], tree.rows
    lengths = batch["attention_mask"].sum(1).tolist()
    rows = zip(batch["input_ids"].tolist(), lengths, strict=True)
    ids = [row[:length] for row, length in rows]
    places: list[range] = []
    end = 0
    for block in states:
        for length in lengths[len(places) :][: len(block)]:
            places.append(range(end, end + length))
            end += block.shape[1]
    return ids, places
