"""AIHF for policies: demonstrations beside preferences.

Shapes: B pairs of a batch, N pairs of the data set, R texts that come with each, M of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from tamis.data.responses import check_responses, read_responses
from tamis.errors import DataError
from tamis.evaluate.scorers.texts import Text
from tamis.losses.bradley_terry import bradley_terry
from tamis.losses.linear import linear
from tamis.policy.align.demonstrations import matched_samples, read_demonstrations
from tamis.policy.align.view import Brought, PolicyNeed, PolicyView
from tamis.terms.view import KnownPairs, TermSettings, View

JUDGED = False  # a demonstration has nothing to do with the verdict on the pair it comes with
STREAM = 7


class Settings(TermSettings):
    """Settings of the term ``demonstrations``; the coefficient is the papers' weight w."""

    path: str = Field(
        "", description="demonstrations: prompts with an answer each; JSONL, Parquet, CSV or hub id"
    )
    form: Literal["linear", "logistic"] = Field(
        "linear", description="logistic: likelier than the policy's own samples; needs samples"
    )
    samples: str = Field(
        "", description="responses of the policy at the start, to compare demonstrations with"
    )
    reduction: Literal["mean", "sum"] = Field(
        "mean", description="without samples: over the tokens of a demonstration"
    )
    per_pair: int = Field(1, ge=1, le=16, description="demonstrations that come with each pair")

    @model_validator(mode="after")
    def _check_files(self) -> Settings:
        if not self.path:
            raise ValueError("path is missing: name the file of the demonstrations")
        if self.form == "logistic" and not self.samples:
            raise ValueError(
                "form is logistic with no samples; it compares demonstrations with samples of the "
                "policy, name them or choose form linear"
            )
        if self.samples and self.reduction == "sum":
            raise ValueError(
                "reduction is sum with samples, whose log ratios are sums in any case; leave one "
                "of the two out"
            )
        return self


def loss(view: View, *, settings: Settings) -> Tensor:
    """Return what the demonstrations cost that come with each pair, the mean over these.

        linear                -log p(demo), the mean over its tokens or (reduction sum) their sum
        linear, with samples  -gap
        logistic              -log sigmoid(gap)

        gap = beta (log ratio(demo) - log ratio(sample))

    Reference: AIHF (Li et al. 2024, arXiv 2406.06874), with the reward that a policy implies:
    preferences by DPO plus, times w, the likelihood of demonstrations. The gradient of the latter
    is linear in rewards: up on demonstrations, down on samples of the current policy, whose share
    is 0 on average, so that without samples it is the likelihood alone. With samples, which are
    those of the policy that training starts from, ``linear`` is that difference of implied rewards,
    beta times the log likelihood (at w 1 and beta 0.1 it weighs a tenth), and has no lower bound;
    ``logistic`` is its surrogate that comes to rest, the objective of SPIN (arXiv 2401.01335)
    beside DPO. Both weights are 1 by default, as in the authors' code; theirs are per token of a
    reward model. The mean over tokens is ours: a sum is hundreds of times the loss on a pair.

    Args:
        view: with the demonstrations' log probabilities, and where there are samples with theirs
            and the reference's.
        settings: ``form``, ``samples`` and ``reduction``.
    """
    seen = cast(PolicyView, view)
    assert seen.texts is not None
    texts = seen.texts
    if not settings.samples:
        cost_BR = -texts.log_prob_BR
        if settings.reduction == "mean":
            cost_BR = cost_BR / texts.length_BR.clamp(min=1)
        return cost_BR.mean(1)
    assert texts.reference_BR is not None
    ratio_BR = texts.log_prob_BR - texts.reference_BR
    demonstration_BR, sample_BR = ratio_BR[:, ::2], ratio_BR[:, 1::2]
    gap_BR = seen.beta * (demonstration_BR - sample_BR)
    return (linear(gap_BR) if settings.form == "linear" else bradley_terry(gap_BR)).mean(1)


def needs(settings: Settings) -> set[PolicyNeed]:
    """Return that the reference is read where there are samples."""
    return {"reference"} if settings.samples else set()


def reads(settings: Settings) -> dict[str, str]:
    """Return the files that are read, by the names of their settings."""
    files = {"path": settings.path, "samples": settings.samples}
    return {name: path for name, path in files.items() if path}


def brings(known: KnownPairs, *, settings: Settings, seed: int) -> Brought:
    """Return the demonstrations, each pair with the next of them in random order, over and over.

    Where there are samples, a demonstration comes with one for its prompt, drawn once.

    Raises:
        DataError: a file cannot be read, or no demonstration has a sample to compare with.
    """
    demonstrations = read_demonstrations(settings.path)
    rng = np.random.default_rng([seed, STREAM])
    report = {"num_demonstrations": len(demonstrations)}
    step, texts = 1, demonstrations
    if settings.samples:
        check_responses(settings.samples)
        texts = _with_samples(demonstrations, settings=settings, rng=rng)
        step = 2
        report["num_without_sample"] = len(demonstrations) - len(texts) // step
    turn_NR = _turns(len(texts) // step, (len(known.pairs), settings.per_pair), rng=rng)
    which_NR = (step * turn_NR[..., None] + np.arange(step)).reshape(len(turn_NR), -1)
    return Brought(texts, which_NR, report=report)


def _with_samples(
    demonstrations: Sequence[Text], *, settings: Settings, rng: np.random.Generator
) -> list[Text]:
    """Return demonstrations and samples in turn."""
    matched = matched_samples(demonstrations, read_responses(settings.samples))
    if not matched:
        raise DataError(
            f"{Path(settings.samples)}: no sample for the prompt of any demonstration in "
            f"{settings.path}; sample from the policy with the demonstrations' prompts"
        )
    texts: list[Text] = []
    for (prompt, answer), others in matched:
        texts += [(prompt, answer), (prompt, others[int(rng.integers(len(others)))])]
    return texts


def _turns(
    num_items: int, shape: tuple[int, int], *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return numbers of items, each as often as any other but for one."""
    num = shape[0] * shape[1]
    rounds = [rng.permutation(num_items) for _ in range(-(-num // num_items))]
    return np.concatenate(rounds)[:num].reshape(shape)
