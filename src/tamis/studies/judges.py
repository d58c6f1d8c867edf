"""Judges of the studies: linear reward heads on a frozen trunk that no other model shares.

Shape legend: N pairs, L depths of the trunk, D dimensions of all depths, P prompts, K responses
to each, U distinct texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tamis.metrics import pair_credit
from tamis.models.config import ModelConfig
from tamis.models.features import pooled_features
from tamis.models.responses import encode_responses
from tamis.models.tokenise import encode_conversations, load_tokenizer
from tamis.runs.scratch import write_ragged
from tamis.studies.material import Features, Floats
from tamis.types import Conversation, Pair
from tamis.vote.config import VoteConfig
from tamis.vote.frozen import depth_scales, flatten, frozen_differences
from tamis.vote.heads import train_voter

HEAD = VoteConfig()  # epochs, step and penalty of a head, as in votes


class Answered(Protocol):
    """A prompt and responses to it."""

    @property
    def prompt(self) -> Conversation:
        """Ends before an answer."""

    @property
    def responses(self) -> tuple[Conversation, ...]:
        """In their order."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A linear Bradley-Terry head on mean-pooled features of a frozen trunk.

    Attributes:
        weights_D: of the head.
        scale_L: what the features of each depth are divided by.
        model: the trunk.
        cache: where features are kept.
        length_slope: what is taken from a reward for each unit of the logarithm of the length.
    """

    weights_D: Features
    scale_L: Floats
    model: ModelConfig
    cache: Path
    length_slope: float = 0.0

    def rewards(self, answers: Sequence[Answered]) -> Floats:
        """Return the reward of each response minus that of the prompt's first one, [P, K].

        All responses to a prompt are read with the same tokens of it, as both sides of a pair are;
        only where one does not fit without the prompt, each is cut by itself. Every prompt has K
        responses. Equal texts have equal rewards.
        """
        tokenizer = load_tokenizer(self.model)
        max_length = int(tokenizer.model_max_length)
        sequences = write_ragged(
            _read_as(tokenizer, answers, max_length=max_length), dtype=np.int32, folder=self.cache
        )
        reward_R = np.empty(len(sequences), np.float64)
        for texts in pooled_features(self.model, sequences, cache=self.cache):
            reward_U = self._of_features(texts.features_ULD)
            reward_R[texts.rows] = reward_U[texts.which]
        reward_PK = reward_R.reshape(len(answers), -1)
        reward_PK = reward_PK - self.length_slope * log_lengths(answers)
        return reward_PK - reward_PK[:, :1]

    def accuracy(self, pairs: Sequence[Pair]) -> float:
        """Return the share of pairs whose chosen side has the higher reward; a tie is a half."""
        return float(self.credit(pairs).mean())

    def credit(self, pairs: Sequence[Pair]) -> Floats:
        """Return 1 for each pair whose chosen side has the higher reward, 0.5 for a tie [N]."""
        diff_NLD = frozen_differences(pairs, model=self.model, cache=self.cache)
        log_N2 = np.array([[_log_length(p.chosen), _log_length(p.rejected)] for p in pairs])
        gap_N = self._of_features(diff_NLD) - self.length_slope * (log_N2[:, 0] - log_N2[:, 1])
        return pair_credit(gap_N)

    def _of_features(self, features_ULD: Features) -> Floats:
        flat_UD = flatten(features_ULD, scale_L=self.scale_L)
        return (flat_UD @ self.weights_D).astype(np.float64)


def fit_judge(
    pairs: Sequence[Pair], *, model: ModelConfig, cache: Path, seed: int, num: int | None = None
) -> Judge:
    """Train a judge on pairs in true orientation, or on the first ``num`` of them alone.

    The texts of all pairs are read either way: judges of the same pairs share what was read.

    Raises:
        ConfigError: the model cannot be loaded, or the cache cannot be written.
        DataError: there are no pairs, or the model reads both sides of all alike.
    """
    diff_NLD: NDArray[np.float32] = frozen_differences(pairs, model=model, cache=cache)[:num]
    scale_L = depth_scales(diff_NLD)
    (weights_D,) = train_voter(
        flatten(diff_NLD, scale_L=scale_L, folder=cache),
        trains_NH=np.ones((len(diff_NLD), 1), dtype=bool),
        config=HEAD,
        seed=seed,
        voter=0,
    )
    return Judge(weights_D, scale_L, model, cache)


def length_neutral(judge: Judge, answers: Sequence[Answered]) -> Judge:
    """Return a judge that likes the longer of two of these answers in half of the pairs.

    What length is worth to the judge is taken from its rewards: the median, over pairs of answers,
    of their difference in reward over that in the logarithm of their length. Ours; a mean would
    hang on the pairs of nearly equal length.

    Args:
        judge: any; what it took for length before is given up.
        answers: prompts with K responses each.
    """
    judge = replace(judge, length_slope=0.0)
    reward_PK, log_PK = judge.rewards(answers), log_lengths(answers)
    one, two = np.triu_indices(reward_PK.shape[1], k=1)
    longer_PM = log_PK[:, one] - log_PK[:, two]
    better_PM = reward_PK[:, one] - reward_PK[:, two]
    differ_PM = longer_PM != 0
    if not differ_PM.any():
        return judge
    slope = float(np.median(better_PM[differ_PM] / longer_PM[differ_PM]))
    return replace(judge, length_slope=slope)


def log_lengths(answers: Sequence[Answered]) -> Floats:
    """Return the natural logarithm of 1 + the characters of each response [P, K]."""
    rows = [[_log_length(response) for response in one.responses] for one in answers]
    return np.array(rows, np.float64)


def _log_length(answer: Conversation) -> float:
    return math.log1p(len(answer[-1].content))


def _read_as(
    tokenizer: PreTrainedTokenizerBase, answers: Sequence[Answered], *, max_length: int
) -> Iterator[tuple[int, ...]]:
    """Give the token ids of all responses, prompt by prompt."""
    items = [(one.prompt, one.responses) for one in answers]
    for one, encoded in zip(
        answers, encode_responses(tokenizer, items, max_length=max_length), strict=True
    ):
        if encoded.num_over_length:
            whole = [one.prompt + response for response in one.responses]
            yield from encode_conversations(tokenizer, whole, max_length=max_length)
        else:
            yield from encoded.sequences
