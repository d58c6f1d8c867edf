"""Which members to average, from the best on (the greedy soup of Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A member that was tried: the accuracy of the average with it, and whether it was kept."""

    member: int
    accuracy: float
    kept: bool


def greedy(
    accuracies_K: Sequence[float], *, accuracy: Callable[[tuple[int, ...]], float]
) -> list[Step]:
    """Try members from the most accurate on; one stays where the average with it is no worse.

    The average of those that stay is at least as accurate as the best member, on these pairs.

    Args:
        accuracies_K: of each member alone, at least one; equal ones are tried in their order.
        accuracy: of the average of several members, by their numbers.

    Returns:
        What was tried, in order; the first is always kept.

    >>> [step.kept for step in greedy([0.6, 0.8], accuracy=lambda members: 0.7)]
    [True, False]
    """
    best, *others = sorted(range(len(accuracies_K)), key=lambda member: -accuracies_K[member])
    steps = [Step(best, accuracies_K[best], kept=True)]
    kept: tuple[int, ...] = (best,)
    reached = accuracies_K[best]
    for member in others:
        found = accuracy((*kept, member))
        steps.append(Step(member, found, kept=found >= reached))
        if found >= reached:
            kept, reached = (*kept, member), found
    return steps
