"""From responses of a policy and of the start policy to the point of a round.

Shape legend: P prompts, R responses, K reward models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.metrics import paired_difference
from tamis.policy.iterate.points import START, RoundPoint, ScoreCounts
from tamis.policy.likelihood import LogProbs
from tamis.policy.sampling.best_of import Rewards, by_prompt
from tamis.policy.sampling.responses import Sampled
from tamis.policy.watch import WatchPoint, watch_point
from tamis.types import Interval

Floats = NDArray[np.float64]

NOTHING = Interval(0.0, 0.0, 0.0)
HALF = Interval(0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Instruments:
    """What policies are measured with; every function keeps what it has computed, or is quick.

    Attributes:
        policy: log probabilities of responses under the policy.
        reference: the same under the start policy.
        proxy: the reward models of the round together; ``None`` for the start policy.
        members: each of them, where there are two or more.
        gold: what nothing is optimised with.
        win_rate: of the policy against the start policy, by the judge.
    """

    policy: LogProbs
    reference: LogProbs
    proxy: Rewards | None = None
    members: Sequence[Rewards] = ()
    gold: Rewards | None = None
    win_rate: Interval | None = None


def start_point(
    answers: Sequence[Sampled], *, reference: LogProbs, quality: Interval | None, seed: int
) -> RoundPoint:
    """Return the point of the start policy, from its responses to the held-out prompts.

    Args:
        answers: its responses.
        reference: their log probabilities under it.
        quality: what the start policy has by definition, or ``None`` where rounds have none.
        seed: of the intervals.

    Raises:
        DataError: see `watch_point`.
    """
    found = watch_point(answers, policy=None, reference=reference, proxy=None, seed=seed)
    return replace(_plain(START, found, kl=NOTHING), quality=quality)


def round_point(
    name: str,
    answers: Sequence[Sampled],
    start: Sequence[Sampled],
    *,
    best: Sequence[Sampled] | None = None,
    using: Instruments,
    seed: int,
) -> RoundPoint:
    """Return the point of a round.

    Scores are told as gains over the start policy's responses to the same prompts, by the same
    reward models; histograms of both have the same bins, and the scales in which reward models
    disagree are those of the start policy's responses.

    Args:
        name: of the round.
        answers: responses of the round's policy to the held-out prompts.
        start: those of the start policy to the same prompts.
        best: those of the policy of the best quality so far; ``None``: that is the start policy.
        using: what is measured with.
        seed: of the intervals.

    Raises:
        DataError: the prompts differ, or see `watch_point`.
    """
    if [one.prompt for one in answers] != [one.prompt for one in start]:
        raise DataError(
            f"{name}: {len(answers)} held-out prompts, and {len(start)} of the start policy; "
            "expected the same"
        )
    members = using.members if len(using.members) > 1 else None
    before = watch_point(
        start, policy=None, reference=None, proxy=using.proxy, members=members, seed=seed
    )
    found = watch_point(
        answers,
        policy=using.policy,
        reference=using.reference,
        proxy=using.proxy,
        members=members,
        start=before,
        seed=seed,
    )
    assert found.kl_k1 is not None, "both log probabilities are there"
    gold_gain = _gain(using.gold, answers, start, seed=seed)
    return replace(
        _plain(name, found, kl=found.kl_k1),
        quality=gold_gain if using.win_rate is None else using.win_rate,
        proxy_gain=_gain(using.proxy, answers, start, seed=seed),
        proxy_since_best=_gain(using.proxy, answers, start if best is None else best, seed=seed),
        gold_gain=gold_gain,
        win_rate=using.win_rate,
        spread_ratio=_spread_ratio(found, before=before),
        scores=_score_counts(found, before=before),
    )


def reward_gain(
    reward: Rewards, answers: Sequence[Sampled], start: Sequence[Sampled], *, seed: int
) -> Interval:
    """Return by how much responses are rewarded more than others to the same prompts.

    In standard deviations of the others' rewards (all prompts together); where these are all
    equal, in the unit of the reward. Prompts count alike, however many responses they have; the
    95% interval is over prompts.

    Args:
        reward: scores responses.
        answers: each prompt with a response at least.
        start: the same prompts with other responses.
        seed: of the interval.
    """
    new_R, old_R = reward(answers), reward(start)
    std = float(np.std(old_R)) or 1.0
    new_P, old_P = (
        np.array([values.mean() for values in by_prompt(values_R / std, asked)])
        for values_R, asked in ((new_R, answers), (old_R, start))
    )
    return paired_difference(new_P, old_P, clusters=np.arange(len(new_P)), seed=seed)


def _gain(
    reward: Rewards | None, answers: Sequence[Sampled], others: Sequence[Sampled], *, seed: int
) -> Interval | None:
    return None if reward is None else reward_gain(reward, answers, others, seed=seed)


def _plain(name: str, found: WatchPoint, *, kl: Interval) -> RoundPoint:
    return RoundPoint(
        name,
        kl=kl,
        tokens=(found.characters if found.tokens is None else found.tokens).mean,
        perplexity=_value(found.perplexity),
        finished_frac=_value(found.finished_frac),
        distinct_1=found.distinct_1,
        distinct_2=found.distinct_2,
        self_bleu=found.mean_self_bleu,
        repeated_frac=found.repeated_frac.value,
    )


def _spread_ratio(found: WatchPoint, *, before: WatchPoint) -> float | None:
    if found.spread is None or before.spread is None or before.spread.mean.value <= 0:
        return None
    return found.spread.mean.value / before.spread.mean.value


def _score_counts(found: WatchPoint, *, before: WatchPoint) -> ScoreCounts | None:
    if found.histogram is None or before.histogram is None:
        return None
    return ScoreCounts(found.histogram.edges, found.histogram.counts, before.histogram.counts)


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value
