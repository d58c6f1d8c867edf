"""What is known before a policy is aligned: the models, the pairs, and what terms read of them.

Shapes: N pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tamis.data import select_pairs
from tamis.errors import ConfigError, shorten
from tamis.evaluate.scorers.dpo import Answer, log_probs
from tamis.models.attention import use_fast_backward
from tamis.models.config import ModelConfig
from tamis.models.language import language_head
from tamis.models.load import to_accelerator
from tamis.models.tokenise import NO_LIMIT
from tamis.policy.align.assemble import Assembled
from tamis.policy.align.brought import EncodedTexts, encode_brought, with_reference
from tamis.policy.align.config import CORRECTED, AlignConfig
from tamis.policy.align.dataset import PolicySet, policy_set
from tamis.policy.align.implied import HeldOut, held_out_set, kept, read_held_out
from tamis.policy.align.view import Brought
from tamis.policy.load import load_policy
from tamis.terms.view import KnownPairs
from tamis.types import Pair, Verdict

FROZEN = "frozen"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Start:
    """The policy before its first step.

    Attributes:
        model: the policy.
        tokenizer: its own.
        reference: what log ratios are taken against; ``None``: the policy itself, as it is here.
        max_length: tokens of prompt and answer.
        config: which policy it is.
        in_bfloat16: whether it computes in bfloat16 while it is trained.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reference: PreTrainedModel | None
    max_length: int
    config: ModelConfig
    in_bfloat16: bool

    def reference_log_probs(self, answers: Sequence[Answer]) -> Floats:
        """Return the log probability of each answer under the reference, in nats.

        It is computed in the types in which the policy is trained, so that one that has not moved
        differs from its reference by the rounding of float32 alone.
        """
        model = self.model if self.reference is None else self.reference
        head = language_head(model, path=self.config.path)
        device = model.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.in_bfloat16):
            return log_probs(model, head, answers)


@dataclass(frozen=True, slots=True)
class Material:
    """What is known before training.

    Attributes:
        data: the pairs.
        columns: of terms, by term and name.
        brought: what terms brought, by term.
        texts: the same, encoded.
        held_out: pairs that are measured; ``None`` where there are none.
        before: what start and reference say of these, [N, 2] each.
    """

    data: PolicySet
    columns: Mapping[str, Mapping[str, NDArray[np.float32]]]
    brought: Mapping[str, Brought]
    texts: Mapping[str, EncodedTexts]
    held_out: HeldOut | None
    before: tuple[Floats, Floats] | None


def load_start(policy: ModelConfig, config: AlignConfig) -> Start:
    """Load the policy, and the reference where one is named.

    Raises:
        ConfigError: one of them cannot be loaded, or they have different vocabularies.
    """
    model, tokenizer = load_policy(policy)
    to_accelerator(model)
    use_fast_backward(model, alike=True)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    max_length = min(config.max_length, int(positions or NO_LIMIT))
    in_bfloat16 = config.fit.compute.autocast == "bfloat16"
    if config.reference is None:
        return Start(model, tokenizer, None, max_length, policy, in_bfloat16)
    changes = {"path": config.reference, "num_layers": None, "revision": None}
    reference, other = load_policy(policy.model_copy(update=changes))
    if other.get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"the reference {shorten(config.reference)} has another vocabulary than the policy "
            f"{shorten(policy.path)}; expected models of one family"
        )
    to_accelerator(reference)
    use_fast_backward(reference, alike=True)
    return Start(model, tokenizer, reference, max_length, policy, in_bfloat16)


def make_material(
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict],
    *,
    held_out: Sequence[Pair],
    start: Start,
    config: AlignConfig,
    assembled: Assembled,
    seed: int,
    work: Path,
) -> Material:
    """Turn and encode the pairs, and let terms read them; see `tamis.policy.align.fit.align`.

    What start and reference say is written to ``work`` when it is computed.
    """
    tokenizer, max_length = start.tokenizer, start.max_length
    data = policy_set(
        pairs,
        verdicts,
        tokenizer=tokenizer,
        max_length=max_length,
        smoothing=config.label_smoothing,
        work=work,
    )
    if config.loss == CORRECTED and (data.target_N != 1).any():
        raise ConfigError(
            f"loss is {CORRECTED}, which allows for wrong labels, and the verdicts have targets "
            "that are neither 0 nor 1 and allow for them already; choose soft, or other verdicts"
        )
    known = KnownPairs(
        encoded=data.encoded,
        pairs=select_pairs(pairs, data.source_N),
        swapped_N=data.swapped_N,
        work=work,
        model=start.config,
    )
    columns = {name: make(known, seed) for name, make in assembled.columns.items()}
    brought = {name: make(known, seed) for name, make in assembled.brings.items()}
    texts = {}
    for name, found in brought.items():
        columns[name] = {**columns.get(name, {}), **found.columns}
        encoded = encode_brought(found, tokenizer=tokenizer, max_length=max_length, work=work)
        if "reference" in assembled.needs[name]:
            folder = work / FROZEN / name
            encoded = with_reference(encoded, start.reference_log_probs, work=folder)
        texts[name] = encoded
    _check(columns, num_pairs=len(data.source_N))
    seen = held_out_set(held_out, tokenizer=tokenizer, max_length=max_length, seed=seed)
    before = None if seen is None else _before(start, seen, work=work / FROZEN)
    return Material(data, columns, brought, texts, seen, before)


def _check(columns: Mapping[str, Mapping[str, NDArray[np.float32]]], *, num_pairs: int) -> None:
    for term, named in columns.items():
        for name, value_N in named.items():
            if np.shape(value_N)[:1] != (num_pairs,) or not np.isfinite(value_N).all():
                raise ConfigError(
                    f"terms.{term}: its column {name!r} is not finite numbers for each of "
                    f"{num_pairs} pairs"
                )


def _before(start: Start, seen: HeldOut, *, work: Path) -> tuple[Floats, Floats]:
    def read(model: PreTrainedModel) -> Callable[[], Floats]:
        return lambda: read_held_out(seen, model, path=start.config.path)

    before_N2 = kept(work / "start.npy", read(start.model))
    if start.reference is None:
        return before_N2, before_N2
    return before_N2, kept(work / "reference.npy", read(start.reference))
