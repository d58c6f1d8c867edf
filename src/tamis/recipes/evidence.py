"""What speaks for and against each label, put together: evidence, and P(label wrong).

Shape legend: N pairs, F kinds of evidence, T pairs with a trusted label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tamis.data import pair_ids
from tamis.errors import ConfigError, DataError
from tamis.metrics import identity_strength, log_length_ratio, text_ids, texts_recur
from tamis.runs import read_parquet
from tamis.strength.combine import combined_evidence
from tamis.strength.folds import pair_folds
from tamis.strength.wrong import WrongLabels, wrong_by_mixture, wrong_by_trusted
from tamis.types import Pair
from tamis.vote.table import IDENTITY_L2, first_repeat

NUM_FOLDS, NUM_DRAWS = 5, 3
LEAST_PAIRS = 20
LEAST_PEOPLE = 3
STREAM = 8  # of random numbers; voter 8 has the same folds, and neither learns from what it judges

ASSUMPTIONS = {
    "trusted": "the trusted pairs were not chosen by whether their labels are wrong",
    "mixture": "labels were turned at random, by no rule that voters could learn from the others, "
    "and close pairs no more often than others; people err more on close pairs, and may all prefer "
    "the longer answer, for which this gives too low a share of wrong labels",
}
VAGUE = (
    "the evidence is too weak to tell how many labels are wrong: from {low:.0%} to {high:.0%} of "
    "them go with the votes equally well. P(label wrong), and what is decided by it, may be far "
    "off; some 200 trusted labels would tell"
)
IN_SAMPLE = "; and that the voters learnt no wrong label by heart, since their votes are in-sample"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The kinds of evidence on N labels, by name, and their log odds put together.

    Every kind is a gap in the orientation of the label: positive speaks for it.
    """

    kinds: dict[str, Floats]
    odds_N: Floats


def evidence_on(pairs: Sequence[Pair], *, mean_N: Floats, seed: int) -> Evidence:
    """Put together the vote, the other comparisons of the same texts, and the lengths.

    Repeated texts are judged by a Bradley-Terry model on their identities, cross-fitted by pair and
    averaged over three draws of folds; it is left out where texts do not recur. How many people
    voted for what is never evidence.

    Raises:
        DataError: fewer pairs than folds.
    """
    if len(pairs) < NUM_FOLDS:
        raise DataError(f"{len(pairs)} pairs, expected at least {NUM_FOLDS}")
    rng = np.random.default_rng([seed, STREAM])
    kinds = {"vote": mean_N, "length": log_length_ratio(pairs)}
    ids_N2 = text_ids(pairs)
    if texts_recur(ids_N2):
        draws = [
            identity_strength(
                ids_N2[:, 0],
                ids_N2[:, 1],
                folds_N=pair_folds(len(pairs), num_folds=NUM_FOLDS, rng=rng),
                l2=IDENTITY_L2,
            )
            for _ in range(NUM_DRAWS)
        ]
        kinds["identity"] = np.mean(draws, axis=0)
    folds_N = pair_folds(len(pairs), num_folds=NUM_FOLDS, rng=rng)
    odds_N = combined_evidence(np.stack(list(kinds.values()), axis=1), folds_N=folds_N)
    return Evidence(kinds, odds_N)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Evidence on N labels, and P(label wrong) from it."""

    evidence: Evidence
    wrong: WrongLabels

    def table(self, ids: Sequence[str]) -> pa.Table:
        """Return one row a pair: P(label wrong), the log odds, and every kind of evidence."""
        columns = {"id": pa.array(ids, pa.string()), "p_wrong": self.wrong.wrong_N}
        columns |= {"log_odds": self.evidence.odds_N, **self.evidence.kinds}
        return pa.table(columns)

    def report(self, *, in_sample: bool = False) -> dict[str, Any]:
        """Return the figures of the estimate, and what it takes for granted.

        ``in_sample`` says that voters voted on pairs that they were trained on.
        """
        assumption = ASSUMPTIONS[self.wrong.method] + (IN_SAMPLE if in_sample else "")
        low, high = self.wrong.rate_interval or (None, None)
        return {
            "method": self.wrong.method,
            "expected_wrong_frac": float(self.wrong.wrong_N.mean()),
            "noise_rate": self.wrong.noise_rate,
            "noise_rate_low": low,
            "noise_rate_high": high,
            "num_trusted": self.wrong.num_trusted,
            "evidence": list(self.evidence.kinds),
            "assumption": assumption,
            "warning": VAGUE.format(low=low, high=high) if self.wrong.is_vague else None,
        }


def estimate(
    pairs: Sequence[Pair], *, mean_N: Floats, trusted: str | None, seed: int
) -> Estimate | None:
    """Estimate P(label wrong) of all pairs; None where there are too few for it.

    Raises:
        DataError: too few trusted labels, or a file of them that cannot be used.
        ConfigError: ``trusted`` names nothing that there is.
    """
    if len(pairs) < LEAST_PAIRS and trusted is None:
        return None
    evidence = evidence_on(pairs, mean_N=mean_N, seed=seed)
    return Estimate(evidence, wrong_labels(pairs, evidence, trusted=trusted))


def wrong_labels(pairs: Sequence[Pair], evidence: Evidence, *, trusted: str | None) -> WrongLabels:
    """Estimate P(label wrong), on trusted labels where ``trusted`` names them.

    Args:
        pairs: N pairs in the orientation of their labels.
        evidence: on them.
        trusted: ``gold`` (the pairs' own), ``votes`` (the majority of at least 3 people), the path
            of a Parquet file with the columns ``id`` and ``gold`` (P(label right), such as a review
            writes), or None: a mixture that needs none.

    Raises:
        DataError: too few trusted labels, or a file that cannot be used.
        ConfigError: ``trusted`` names nothing that there is.
    """
    if trusted is None:
        return wrong_by_mixture(evidence.odds_N)
    right_N = _trusted(pairs, trusted)
    known = np.flatnonzero(np.isfinite(right_N) & (right_N != 0.5))
    try:
        return by_trusted(evidence, trusted=known, is_wrong_T=right_N[known] < 0.5)
    except DataError as error:
        raise DataError(f"trusted is {trusted}: {error}") from error


def by_trusted(
    evidence: Evidence, *, trusted: NDArray[np.int64], is_wrong_T: NDArray[np.bool_]
) -> WrongLabels:
    """Fit P(label wrong) of all pairs on those with these numbers, whose labels were checked.

    Raises:
        DataError: too few of them, or of wrong or right ones.
    """
    evidence_NF = np.stack(list(evidence.kinds.values()), axis=1)
    return wrong_by_trusted(
        evidence.odds_N, trusted=trusted, is_wrong_T=is_wrong_T, evidence_NF=evidence_NF
    )


def trusted_file(trusted: str | None) -> Path | None:
    """Return the file of trusted labels that is asked for; None where they are no file.

    Raises:
        ConfigError: there is no such file.
    """
    if trusted is None or trusted in ("gold", "votes"):
        return None
    path = Path(trusted)
    if not path.is_file():
        raise ConfigError(
            f"trusted is {path}: expected gold, votes, or a Parquet file with id and gold"
        )
    return path


def people_votes(pairs: Sequence[Pair]) -> Floats | None:
    """Return how many people preferred chosen and rejected, ties half each [N, 2]; None = nobody.

    Pairs without votes have NaN.
    """
    counts_N2 = np.full((len(pairs), 2), np.nan)
    for number, pair in enumerate(pairs):
        if pair.votes is not None:
            half = 0.5 * pair.votes.tie
            counts_N2[number] = pair.votes.chosen + half, pair.votes.rejected + half
    return counts_N2 if np.isfinite(counts_N2).any() else None


def _trusted(pairs: Sequence[Pair], trusted: str) -> Floats:
    """Return P(label right) of each pair as far as it is known, NaN elsewhere [N]."""
    if trusted == "gold":
        return np.array([np.nan if p.gold is None else p.gold for p in pairs], dtype=np.float64)
    if trusted == "votes":
        counts_N2 = people_votes(pairs)
        if counts_N2 is None:
            raise ConfigError("trusted is votes, and no pair has votes of people")
        total_N = counts_N2.sum(axis=1)
        enough_N = np.isfinite(total_N) & (total_N >= LEAST_PEOPLE)
        return np.where(enough_N, counts_N2[:, 0] / np.where(enough_N, total_N, 1.0), np.nan)
    path = trusted_file(trusted)
    assert path is not None  # it is neither gold nor votes
    return _from_file(pairs, path)


def _from_file(pairs: Sequence[Pair], path: Path) -> Floats:
    table = read_parquet(path, columns=["id", "gold"])
    try:
        gold = table["gold"].cast(pa.float64()).to_numpy()
        ids = table["id"].cast(pa.string()).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: expected texts in id and numbers in gold: {error}") from error
    broken = np.flatnonzero(~((gold >= 0) & (gold <= 1)))
    if len(broken):
        seen = table["gold"][int(broken[0])].as_py()
        raise DataError(f"{path}, row {broken[0]}: gold is {seen}; expected a number in [0, 1]")
    again = first_repeat(table["id"])
    if again is not None:
        name = table["id"][again].as_py()
        raise DataError(f"{path}, row {again}: id {name!r} stands there twice")
    found = pc.index_in(pair_ids(pairs), value_set=ids).to_numpy(zero_copy_only=False)
    known_N = np.isfinite(found)
    if not known_N.any():
        raise DataError(
            f"{path}: none of its {len(table)} ids is among the {len(pairs)} pairs; expected "
            "trusted labels of pairs that were voted on"
        )
    right_N = np.full(len(pairs), np.nan)
    right_N[known_N] = gold[found[known_N].astype(np.int64)]
    return right_N
