"""How likely a language model finds the answers of pairs.

Shapes: B pairs of a batch, N pairs of the data set, T tokens, Q tokens that are predicted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from tamis.models.config import ModelConfig
from tamis.models.encoded import CHUNK_PAIRS, distinct_sides
from tamis.models.language import (
    LanguageHead,
    language_head,
    load_language_head,
    next_log_probs,
)
from tamis.models.load import load_language_model, load_reward_model, to_accelerator
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import TreeForward
from tamis.models.rows.memory import use_memory
from tamis.models.rows.padded import length_batches, pad_right
from tamis.models.source import locate
from tamis.models.tokenise import EncodedPair
from tamis.runs import fingerprint, progress, write_array
from tamis.terms.view import KnownPairs, Tokens

Side = Literal["chosen", "rejected"]

BATCH_TOKENS = 4096


def answer_log_probs(
    tokens: Tokens, head: LanguageHead, *, side: Side, wanted_B: Sequence[bool] | None = None
) -> Tensor:
    """Return the log-probability of one side of each pair, given what it has in common [B].

    That is the sum over its tokens from the first that differs to the end token, in nats. A token
    that several pairs ask for is computed once.

    Args:
        tokens: of a batch.
        head: of the model that read it.
        side: which answers.
        wanted_B: for the other pairs nothing is computed and 0 returned; ``None``: all.
    """
    which_B = tokens.chosen_B if side == "chosen" else tokens.rejected_B
    pairs: list[int] = []
    states: list[int] = []
    targets: list[int] = []
    for pair, (text, common) in enumerate(zip(which_B, tokens.start_B, strict=True)):
        if wanted_B is None or wanted_B[pair]:
            first = max(common, 1)  # nothing predicts the first token of a text
            states += tokens.places[text][first - 1 : -1]
            targets += tokens.ids[text][first:]
            pairs += [pair] * (len(targets) - len(pairs))
    device, size = tokens.states_TD.device, len(tokens.embeddings_VD)
    code_Q = torch.tensor(states, dtype=torch.int64, device=device) * size
    code_Q = code_Q + torch.tensor(targets, dtype=torch.int64, device=device)
    code_U, place_Q = torch.unique(code_Q, return_inverse=True)
    log_prob_U = next_log_probs(
        head,
        tokens.states_TD.index_select(0, code_U // size),
        code_U % size,
        embeddings_VD=tokens.embeddings_VD,
    )
    pair_Q = torch.tensor(pairs, dtype=torch.int64, device=device)
    zero_B = torch.zeros(len(which_B), dtype=log_prob_U.dtype, device=device)
    return zero_B.index_add(0, pair_Q, log_prob_U[place_Q])


def reference_log_probs(
    known: KnownPairs, *, model: ModelConfig, head: ModelConfig | None = None
) -> NDArray[np.float32]:
    """Return what `answer_log_probs` is for both sides under a frozen language model, [N, 2].

    It is computed in the type of its weights, 512 pairs at a time, each of which is written to
    ``known.work`` when it is done, under a hash of the models and of the ids. What both answers
    begin with is read once where the model allows it, and layers that ``known.memory`` remembers
    are not run. The language model head is that of ``head`` where the model has none.

    Raises:
        ConfigError: the model cannot be loaded, is no decoder or has no language model head.
    """
    starts = range(0, len(known.encoded), CHUNK_PAIRS)
    model_key = " ".join(_model_key(one) for one in (model, head) if one is not None)
    scorer: tuple[PreTrainedModel, LanguageHead] | None = None
    parts: list[NDArray[np.float32]] = []
    with progress("reading answers", total=len(known.encoded)) as advance:
        for start in starts:
            pairs = known.encoded[start : start + CHUNK_PAIRS]
            path = known.work / f"log-probs-{_chunk_key(pairs, model_key)}.npy"
            if not path.is_file():
                scorer = scorer or _load(model, head, known=known)
                write_array(path, _of_chunk(*scorer, pairs))
            parts.append(np.load(path))
            advance(len(pairs))
    return np.concatenate(parts)


def _load(
    config: ModelConfig, head: ModelConfig | None, *, known: KnownPairs
) -> tuple[PreTrainedModel, LanguageHead]:
    if head is None:
        model = load_language_model(config)
        to_accelerator(model)
        language = language_head(model, path=config.path)
    else:  # of a reward model, whose trunk alone is read; nothing is padded with its pad token
        model = load_reward_model(config, seed=0, pad_token_id=0)
        to_accelerator(model)
        language = load_language_head(head).to(model.device)
    longest = max(max(len(pair.chosen), len(pair.rejected)) for pair in known.encoded)
    choose_rows(model, max_length=longest, states="all")
    if known.memory is not None:
        model.requires_grad_(requires_grad=False)
        use_memory(model, known.memory)
    return model, language


def _of_chunk(
    model: PreTrainedModel, head: LanguageHead, pairs: Sequence[EncodedPair]
) -> NDArray[np.float32]:
    found_N2 = np.empty((len(pairs), 2), np.float32)
    lengths = [len(pair.chosen) + len(pair.rejected) for pair in pairs]
    for batch in length_batches(lengths, batch_tokens=BATCH_TOKENS):
        with torch.no_grad():
            tokens = _read(model, [pairs[i] for i in batch])
            for column, side in enumerate(("chosen", "rejected")):
                log_prob_B = answer_log_probs(tokens, head, side=cast(Side, side))
                found_N2[batch, column] = log_prob_B.float().cpu().numpy()
    return found_N2


def _read(model: PreTrainedModel, pairs: Sequence[EncodedPair]) -> Tokens:
    """Run the trunk over pairs in the rows that were chosen for it."""
    forward = model.forward
    if not isinstance(forward, TreeForward):
        return read_padded(model, pairs)
    ids, chosen_B, rejected_B = distinct_sides(pairs)
    tree = forward.plan.tree(ids)
    return Tokens(
        states_TD=forward.all_states(tree),
        embeddings_VD=cast(nn.Embedding, model.get_input_embeddings()).weight,
        ids=ids,
        places=tree.rows,
        chosen_B=chosen_B.tolist(),
        rejected_B=rejected_B.tolist(),
        start_B=[pair.num_prefix for pair in pairs],
    )


def read_padded(model: PreTrainedModel, pairs: Sequence[EncodedPair]) -> Tokens:
    """Run the trunk of a model over pairs in padded rows."""
    ids, chosen_B, rejected_B = distinct_sides(pairs)
    # a token sees those before it alone, so any id will do as padding
    input_ids_ST, mask_ST = pad_right(ids, pad_id=0)
    states_STD = model.base_model(
        input_ids=input_ids_ST.to(model.device), attention_mask=mask_ST.to(model.device)
    ).last_hidden_state
    width = input_ids_ST.shape[1]
    return Tokens(
        states_TD=states_STD.flatten(0, 1),
        embeddings_VD=cast(nn.Embedding, model.get_input_embeddings()).weight,
        ids=ids,
        places=[range(row * width, row * width + len(text)) for row, text in enumerate(ids)],
        chosen_B=chosen_B.tolist(),
        rejected_B=rejected_B.tolist(),
        start_B=[pair.num_prefix for pair in pairs],
    )


def _model_key(config: ModelConfig) -> str:
    location = Path(locate(config.path))
    weights = fingerprint(location) if location.is_dir() else config.path
    return f"{weights} {config.num_layers} {config.dtype} {config.revision}"


def _chunk_key(pairs: Sequence[EncodedPair], model_key: str) -> str:
    digest = hashlib.sha256(model_key.encode())
    for pair in pairs:
        for ids in (pair.chosen, pair.rejected):
            digest.update(np.asarray(ids, np.int64).tobytes() + b"|")
        digest.update(f"{pair.num_prefix}".encode())
    return digest.hexdigest()[:24]
