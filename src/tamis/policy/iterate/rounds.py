"""The loop of iterated RLHF: sample, adapt the reward model, optimise the policy, measure.

The policy moves away from what the reward model was trained on, so each round samples from the
policy of the round before and adapts the reward model to these samples without new labels (the
MetaRM step), then optimises the policy with it. Reference: MetaRM, arXiv 2405.00438; the paper does
not say whether reward model and policy restart in each round, so both are options of those who hand
in the phases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tamis.models.config import ModelConfig
from tamis.policy.iterate.points import START, RoundPoint
from tamis.policy.iterate.stopping import (
    Best,
    Reason,
    StopConfig,
    best_quality,
    best_round,
    stop_reasons,
)

Rewards = tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One round before it has begun.

    Attributes:
        number: from 0.
        folder: where its stages write, ``round-00`` and so on.
        policy: what is sampled from: the start policy, then that of the round before.
        rewards: the reward models of the round before; none in the first.
        best: name of the point with the best quality so far; the start where none is known.
    """

    number: int
    folder: Path
    policy: ModelConfig
    rewards: Rewards = ()
    best: str = START

    @property
    def name(self) -> str:
        """The name of its point: that of its folder."""
        return self.folder.name


@dataclass(frozen=True, slots=True)
class History:
    """What the rounds came to so far: points of the start policy and of each round, and verdicts.

    ``policies`` has one for each point; ``num_planned`` counts rounds, the start is none.
    """

    points: tuple[RoundPoint, ...]
    policies: tuple[ModelConfig, ...]
    reasons: tuple[Reason, ...]
    best: Best
    num_planned: int

    @property
    def is_over(self) -> bool:
        """Whether no further round will be run."""
        return bool(self.reasons) or len(self.points) > self.num_planned


@dataclass(frozen=True, slots=True)
class Phases:
    """What a round consists of. Each phase keeps what it made, and is free when it comes again.

    A loop that was killed calls all phases again, from the first round on, and goes on in the one
    where it was.

    Attributes:
        start: measures the policy that the loop starts from.
        sample: samples responses from the round's policy; their file.
        update: adapts the reward models to the responses; their checkpoints.
        improve: optimises the policy with the reward models; the new policy.
        measure: measures the new policy, with the reward models it was optimised with.
        tell: is told after the start and after every round.
    """

    start: Callable[[], RoundPoint]
    sample: Callable[[Round], Path]
    update: Callable[[Round, Path], Rewards]
    improve: Callable[[Round, Path, Rewards], ModelConfig]
    measure: Callable[[Round, ModelConfig, Rewards], RoundPoint]
    tell: Callable[[History], None]


def run_rounds(
    folder: Path, *, policy: ModelConfig, num_rounds: int, phases: Phases, stop: StopConfig
) -> History:
    """Run up to so many rounds, and return what they came to.

    Args:
        folder: the parent of the rounds' folders.
        policy: what the first round samples from.
        num_rounds: at most; the rules may stop the loop before.
        phases: what is done in a round.
        stop: thresholds of the rules.
    """
    points, policies = [phases.start()], [policy]
    rewards: Rewards = ()
    history = _history(points, policies, num_rounds=num_rounds, stop=stop)
    phases.tell(history)
    while not history.is_over:
        number = len(points) - 1
        best = points[best_quality(points)].name
        now = Round(number, folder / f"round-{number:02d}", policies[-1], rewards, best)
        responses = phases.sample(now)
        rewards = phases.update(now, responses)
        policies.append(phases.improve(now, responses, rewards))
        points.append(phases.measure(now, policies[-1], rewards))
        history = _history(points, policies, num_rounds=num_rounds, stop=stop)
        phases.tell(history)
    return history


def _history(
    points: list[RoundPoint], policies: list[ModelConfig], *, num_rounds: int, stop: StopConfig
) -> History:
    reasons = stop_reasons(points, config=stop)
    best = best_round(points, reasons=reasons)
    return History(tuple(points), tuple(policies), reasons, best, num_rounds)
