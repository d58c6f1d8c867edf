"""How far reviewers agree, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sklearn.metrics import cohen_kappa_score

from tamis.review.book import Verdicts


@dataclass(frozen=True, slots=True)
class Couple:
    """Two reviewers on the pairs that both judged.

    ``agreement_frac`` is the share of equal verdicts. ``kappa`` is Cohen's: 1 for full agreement, 0
    for what two reviewers with these habits would reach by chance; None where both said the same
    single thing throughout, so that chance alone explains everything.
    """

    first: str
    second: str
    num_pairs: int
    agreement_frac: float
    kappa: float | None


def couples(verdicts: Verdicts) -> list[Couple]:
    """Compare every two reviewers that judged a pair in common, by name.

    Reference: Cohen 1960, "A coefficient of agreement for nominal scales". The choices keep, flip,
    tie and drop count as four classes without an order.

    >>> said = {"p": {"Ada": "keep", "Bo": "keep"}, "q": {"Ada": "flip", "Bo": "keep"}}
    >>> [(c.num_pairs, c.agreement_frac, c.kappa) for c in couples(said)]
    [(2, 0.5, 0.0)]
    """
    names = sorted({name for said in verdicts.values() for name in said})
    found = []
    for first, second in combinations(names, 2):
        shared = [
            (said[first], said[second])
            for said in verdicts.values()
            if first in said and second in said
        ]
        if shared:
            equal = sum(one == other for one, other in shared) / len(shared)
            found.append(Couple(first, second, len(shared), equal, _kappa(shared)))
    return found


def mean_kappa(found: Sequence[Couple]) -> float | None:
    """Return the mean kappa over the couples that have one, each with the weight of its pairs."""
    known = [(couple.kappa, couple.num_pairs) for couple in found if couple.kappa is not None]
    total = sum(num_pairs for _, num_pairs in known)
    return sum(kappa * num_pairs for kappa, num_pairs in known) / total if total else None


def _kappa(shared: Sequence[tuple[str, str]]) -> float | None:
    first, second = zip(*shared, strict=True)
    if len({*first, *second}) == 1:
        return None
    return float(cohen_kappa_score(first, second))
