"""The vote's artefacts: ``strength.parquet`` and its report.

Shape legend: N pairs, K voters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.metrics.detection import detection
from tamis.metrics.identity import identity_strength, text_ids, texts_recur
from tamis.metrics.length import length_delta
from tamis.runs import read_parquet, write_parquet
from tamis.strength.convergence import ENOUGH, convergence, describe
from tamis.strength.summary import (
    mean_votes,
    negative_mean_frac,
    summarise,
    voter_correlation,
)
from tamis.types import Pair
from tamis.vote.ballots import Ballots, deal, held_out_units
from tamis.vote.config import Estimator, VoteConfig

IDENTITY_L2 = 1.0
CONVERGENCE_STREAM = (0, 0, 3)  # apart from those of folds, orders and halves

Floats = NDArray[np.float64]

STRENGTH_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("mean", pa.float64()),
        ("std", pa.float64()),
        ("agreement", pa.float64()),
        ("votes", pa.list_(pa.float64())),
        ("in_sample_mean", pa.float64()),
        ("in_sample_std", pa.float64()),
        ("in_sample_votes", pa.list_(pa.float64())),
        ("out_of_bag_votes", pa.list_(pa.float64())),
    ]
)

NAMES: dict[Estimator, str] = {
    "cross_fitted": "cross-fitted",
    "out_of_bag": "out-of-bag",
    "in_sample": "in-sample",
}


def write_strength(path: Path, *, ids: Sequence[str], ballots: Ballots) -> None:
    """Write one row a pair: the strength, and every vote it was made of.

    ``mean``, ``std``, ``agreement`` and ``votes`` are of the headline votes; the columns of
    in-sample and of out-of-bag votes are null where those were not cast. A list of votes has an
    entry a voter, null where that voter did not vote on the pair.

    Raises:
        DataError: a vote is infinite, or a pair has no vote.
    """
    headline = summarise(ballots.headline_NK)
    inside_NK = ballots.in_sample_NK
    inside = None if inside_NK is None else summarise(inside_NK)
    columns = [
        pa.array(ids, pa.string()),
        headline.mean_N,
        headline.std_N,
        headline.agreement_N,
        _lists(ballots.headline_NK),
        pa.nulls(len(ids), pa.float64()) if inside is None else inside.mean_N,
        pa.nulls(len(ids), pa.float64()) if inside is None else inside.std_N,
        _nullable_lists(inside_NK, num_pairs=len(ids)),
        _nullable_lists(ballots.out_of_bag_NK, num_pairs=len(ids)),
    ]
    table = pa.table(dict(zip(STRENGTH_SCHEMA.names, columns, strict=True)), STRENGTH_SCHEMA)
    write_parquet(path, table)


def read_strength(path: Path) -> pa.Table:
    """Read ``strength.parquet``.

    Raises:
        DataError: the file is missing, no Parquet, lacks a column or has one of another type,
            repeats an id, or holds a mean or std that is no finite number.
    """
    table = read_parquet(path, columns=list(STRENGTH_SCHEMA.names))
    try:
        table = table.cast(STRENGTH_SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: a column is of another type than expected: {error}") from error
    for name in ("mean", "std"):
        values_N = table[name].to_numpy()
        broken = np.flatnonzero(~np.isfinite(values_N))
        if len(broken):
            seen = table[name][int(broken[0])].as_py()
            raise DataError(f"{path}, row {broken[0]}: {name} is {seen}; expected a finite number")
    again = first_repeat(table["id"])
    if again is not None:
        raise DataError(
            f"{path}, row {again}: id {table['id'][again].as_py()!r} stands there twice"
        )
    return table


def first_repeat(values: pa.ChunkedArray) -> int | None:
    """Return the first row whose value stands in an earlier row; None where all differ.

    >>> first_repeat(pa.chunked_array([["a", "b"], ["c", "b"]]))
    3
    """
    flat = values.combine_chunks()
    first_N = pc.index_in(flat, value_set=flat).to_numpy(zero_copy_only=False)
    again = np.flatnonzero(first_N != np.arange(len(flat)))
    return int(again[0]) if len(again) else None


def vote_report(
    pairs: Sequence[Pair], *, ballots: Ballots, config: VoteConfig, seed: int
) -> dict[str, Any]:
    """Summarise a vote, and compare it with gold labels and with people's votes where known.

    ``num_votes`` of an estimator is how many voters voted on a pair, at least. ``convergence`` is
    that of the headline votes, None where there is nothing to compare.
    """
    return {
        "kind": config.kind,
        "num_voters": config.num_voters,
        "num_folds": config.num_folds,
        "fold_by": config.fold_by,
        "headline": ballots.headline,
        "num_pairs": len(pairs),
        **{estimator: _describe(ballots.of(estimator)) for estimator in NAMES},
        "convergence": _convergence(ballots, seed=seed),
        "against": _against(pairs, ballots=ballots, config=config, seed=seed),
    }


def suspicions(
    pairs: Sequence[Pair], *, ballots: Ballots, config: VoteConfig, seed: int
) -> dict[str, Floats]:
    """Return by name the scores (higher = more suspicious) that the report compares.

    Beside the votes: the rule that the longer answer is better, and a cross-fitted Bradley-Terry
    model on the identities of repeated texts, which knows nothing of what the texts say. Where
    there are fewer pairs or groups than folds, there are as many folds.
    """
    found = {}
    for estimator, name in NAMES.items():
        votes_NK = ballots.of(estimator)
        if votes_NK is not None:
            found[f"{name} vote"] = -mean_votes(votes_NK)
    found["always the longer"] = -np.asarray(length_delta(pairs), dtype=np.float64)
    ids_N2 = text_ids(pairs)
    units = held_out_units(pairs, config=config)
    num_folds = min(config.num_folds, len(np.unique(units)))
    if texts_recur(ids_N2) and num_folds > 1:
        folds_N = deal(units, num_folds=num_folds, rng=np.random.default_rng([seed, 7]))
        found["Bradley-Terry on identities"] = -identity_strength(
            ids_N2[:, 0], ids_N2[:, 1], folds_N=folds_N, l2=IDENTITY_L2
        )
    return found


def _lists(votes_NK: Floats) -> pa.Array:
    """Return one list a pair, with nulls for NaN."""
    num_pairs, num_voters = votes_NK.shape
    ends = pa.array(np.arange(num_pairs + 1, dtype=np.int32) * num_voters)
    values = np.ascontiguousarray(votes_NK).ravel()
    return pa.ListArray.from_arrays(ends, pa.array(values, mask=np.isnan(values)))


def _nullable_lists(votes_NK: Floats | None, *, num_pairs: int) -> pa.Array:
    if votes_NK is None:
        return pa.nulls(num_pairs, pa.list_(pa.float64()))
    return _lists(votes_NK)


def _describe(votes_NK: Floats | None) -> dict[str, Any] | None:
    if votes_NK is None:
        return None
    summary = summarise(votes_NK)
    return {
        "num_votes": int((~np.isnan(votes_NK)).sum(axis=1).min()),
        "negative_mean_frac": negative_mean_frac(votes_NK),
        "voter_correlation": voter_correlation(votes_NK),
        "mean": float(summary.mean_N.mean()),
        "std_of_means": float(summary.mean_N.std()),
        "mean_std": float(summary.std_N.mean()),
        "agreement": float(summary.agreement_N.mean()),
    }


def _convergence(ballots: Ballots, *, seed: int) -> dict[str, Any] | None:
    rng = np.random.default_rng([seed, *CONVERGENCE_STREAM])
    found = convergence(ballots.headline_NK, rng=rng)
    if found is None:
        return None
    return {
        **asdict(found),
        "steps": [asdict(step) for step in found.steps],
        "enough_at": ENOUGH,
        "is_enough": found.is_enough,
        "sentence": describe(found),
    }


def _gold_truth(pairs: Sequence[Pair]) -> Floats:
    return np.array(
        [np.nan if p.gold is None or p.gold == 0.5 else p.gold < 0.5 for p in pairs], float
    )


def _votes_truth(pairs: Sequence[Pair]) -> Floats:
    return np.array(
        [
            np.nan
            if p.votes is None or p.votes.chosen == p.votes.rejected
            else p.votes.rejected > p.votes.chosen
            for p in pairs
        ],
        float,
    )


def _against(
    pairs: Sequence[Pair], *, ballots: Ballots, config: VoteConfig, seed: int
) -> dict[str, Any]:
    """Compare the suspicions with each truth that calls some labels right and some wrong."""
    truths = {"gold": _gold_truth(pairs), "votes": _votes_truth(pairs)}
    usable = {
        name: wrong_N for name, wrong_N in truths.items() if np.isin([0.0, 1.0], wrong_N).all()
    }
    if not usable:
        return dict.fromkeys(truths)
    scores = suspicions(pairs, ballots=ballots, config=config, seed=seed)
    clusters = text_ids(pairs)
    compared = {
        name: _compare(scores, wrong_N, clusters=clusters, seed=seed)
        for name, wrong_N in usable.items()
    }
    return {name: compared.get(name) for name in truths}


def _compare(
    scores: Mapping[str, Floats], wrong_N: Floats, *, clusters: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """Tell how well each suspicion finds the labels that the truth calls wrong."""
    known_N = np.isfinite(wrong_N)
    is_wrong_N = wrong_N[known_N] == 1
    rows = []
    for name, suspicion_N in scores.items():
        found = detection(suspicion_N[known_N], is_wrong_N, clusters=clusters[known_N], seed=seed)
        rows.append(
            {
                "name": name,
                "auroc": asdict(found.auroc),
                "average_precision": asdict(found.average_precision),
            }
        )
    return {
        "num_known": int(known_N.sum()),
        "num_wrong": int(is_wrong_N.sum()),
        "wrong_frac": float(is_wrong_N.mean()),
        "chance_average_precision": float(is_wrong_N.mean()),
        "rows": rows,
    }
