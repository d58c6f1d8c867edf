import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import DataError
from tamis.strength.halves import balanced_halves
from tamis.types import Message, Pair, Votes
from tamis.vote.ballots import Ballots
from tamis.vote.config import VoteConfig
from tamis.vote.table import STRENGTH_SCHEMA, read_strength, suspicions, vote_report, write_strength

CONFIG = VoteConfig(num_voters=3, num_folds=2)
INSIDE_NK = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 1.0, -1.0]])
OUTSIDE_NK = INSIDE_NK - 1.5


def test_strength_round_trips(tmp_path):
    path = tmp_path / "strength.parquet"
    write_strength(path, ids=["a", "b", "c"], ballots=Ballots(INSIDE_NK, OUTSIDE_NK))
    table = read_strength(path)
    assert table.schema.equals(STRENGTH_SCHEMA)
    assert table["id"].to_pylist() == ["a", "b", "c"]
    assert table["votes"].to_pylist() == OUTSIDE_NK.tolist()
    assert table["in_sample_votes"].to_pylist() == INSIDE_NK.tolist()
    assert table["mean"].to_pylist() == OUTSIDE_NK.mean(axis=1).tolist()
    assert table["std"].to_pylist() == OUTSIDE_NK.std(axis=1).tolist()
    assert table["agreement"].to_pylist() == pytest.approx([2 / 3, 0.0, 0.0])
    assert table["in_sample_mean"].to_pylist() == INSIDE_NK.mean(axis=1).tolist()
    assert table["in_sample_std"].to_pylist() == INSIDE_NK.std(axis=1).tolist()


@pytest.mark.parametrize("kind", ["in_sample", "cross_fitted"])
def test_votes_that_were_not_cast_are_null(tmp_path, kind):
    path = tmp_path / "strength.parquet"
    ballots = Ballots(INSIDE_NK, None) if kind == "in_sample" else Ballots(None, OUTSIDE_NK)
    write_strength(path, ids=["a", "b", "c"], ballots=ballots)
    table = read_strength(path)
    assert table["votes"].to_pylist() == ballots.headline_NK.tolist()
    assert table["in_sample_mean"].null_count == (0 if kind == "in_sample" else 3)
    assert table["in_sample_votes"].null_count == (0 if kind == "in_sample" else 3)
    assert table["out_of_bag_votes"].null_count == 3


@pytest.mark.parametrize(
    ("votes", "problem"),
    [([1.0, np.inf, 2.0], "a vote is not finite"), ([np.nan] * 3, "no vote was cast")],
)
def test_a_vote_that_is_no_number_is_not_written(tmp_path, votes, problem):
    with pytest.raises(DataError, match=problem):
        write_strength(tmp_path / "x", ids=["a"], ballots=Ballots(None, np.array([votes])))
    assert not list(tmp_path.iterdir())


def test_votes_held_back_are_null_in_the_table(tmp_path):
    path, nan = tmp_path / "strength.parquet", np.nan
    held_out_NK = np.array([[1.0, nan, 3.0, nan], [nan, -1.0, nan, -2.0]])
    seen_NK = np.array([[nan, 5.0, nan, 7.0], [2.0, nan, 2.0, nan]])
    write_strength(path, ids=["a", "b"], ballots=Ballots(seen_NK, None, held_out_NK))
    table = read_strength(path)
    votes = [[1.0, None, 3.0, None], [None, -1.0, None, -2.0]]
    assert table["votes"].to_pylist() == table["out_of_bag_votes"].to_pylist() == votes
    assert table["in_sample_votes"].to_pylist() == [[None, 5.0, None, 7.0], [2.0, None, 2.0, None]]
    assert table["mean"].to_pylist() == [2.0, -1.5]
    assert table["std"].to_pylist() == [1.0, 0.5]
    assert table["agreement"].to_pylist() == [1.0, 0.0]
    assert table["in_sample_mean"].to_pylist() == [6.0, 2.0]
    assert table["in_sample_std"].to_pylist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("mean", [0.0, float("nan"), 1.0], "row 1: mean is nan; expected a finite number"),
        ("std", [0.0, 1.0, None], "row 2: std is None; expected a finite number"),
        ("mean", ["high", "low", "low"], "a column is of another type than expected"),
        ("std", None, "column 'std' is missing"),
        ("id", ["a", "b", "a"], "row 2: id 'a' stands there twice"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, name, values, problem):
    path = tmp_path / "strength.parquet"
    write_strength(path, ids=["a", "b", "c"], ballots=Ballots(INSIDE_NK, OUTSIDE_NK))
    table = pq.read_table(path)
    table = table.drop_columns([name])
    if values is not None:
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    with pytest.raises(DataError) as caught:
        read_strength(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def answer(text):
    return (Message("assistant", text),)


def tournament(*, gold=True, votes=True):
    """Six texts of known order, each against each, with every fourth label wrong."""
    pairs = []
    for i in range(6):
        for j in range(i + 1, 6):
            better, worse = answer("x" * (i + 1)), answer("x" * (j + 1))  # the shorter is better
            wrong = len(pairs) % 4 == 3
            sides = (worse, better) if wrong else (better, worse)
            counts = Votes(1, 3) if wrong else Votes(3, 1)
            pairs.append(
                Pair(
                    f"p{len(pairs)}",
                    (),
                    *sides,
                    group=f"g{i % 3}",
                    gold=(0.0 if wrong else 1.0) if gold else None,
                    votes=counts if votes else None,
                )
            )
    return pairs


def ballots_that_know(pairs):
    right = np.array([len(p.rejected[0].content) - len(p.chosen[0].content) for p in pairs], float)
    votes_NK = right[:, None] + np.array([0.1, 0.0, -0.2])
    return Ballots(votes_NK + 10, votes_NK)


def report_of(pairs, **changes):
    config = CONFIG.model_copy(update=changes)
    return vote_report(pairs, ballots=ballots_that_know(pairs), config=config, seed=0)


@pytest.mark.parametrize("fold_by", ["pair", "group"])
def test_the_report_compares_with_the_truth(fold_by):
    pairs = tournament()
    report = report_of(pairs, fold_by=fold_by)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["num_pairs"], report["num_voters"], report["headline"]) == (
        15,
        3,
        "cross_fitted",
    )
    assert report["cross_fitted"]["negative_mean_frac"] == pytest.approx(3 / 15)
    assert report["in_sample"]["negative_mean_frac"] == 0.0
    assert report["cross_fitted"]["voter_correlation"] == pytest.approx(1.0)
    assert report["cross_fitted"]["mean_std"] == pytest.approx(np.std([0.1, 0.0, -0.2]))
    for truth in ("gold", "votes"):
        found = report["against"][truth]
        assert (found["num_known"], found["num_wrong"], found["wrong_frac"]) == (15, 3, 0.2)
        assert found["chance_average_precision"] == 0.2
        rows = {row["name"]: row for row in found["rows"]}
        assert list(rows) == [
            "cross-fitted vote",
            "in-sample vote",
            "always the longer",
            "Bradley-Terry on identities",
        ]
        assert rows["cross-fitted vote"]["auroc"]["value"] == 1.0
        assert rows["cross-fitted vote"]["average_precision"]["value"] == 1.0
        assert rows["always the longer"]["auroc"]["value"] == 0.0  # here the shorter is better
        interval = rows["cross-fitted vote"]["auroc"]
        assert interval["low"] <= interval["value"] <= interval["high"]


def test_fewer_groups_than_folds_do_not_stop_the_report():
    pairs = tournament()  # in three groups
    held_out_NK = ballots_that_know(pairs).cross_fitted_NK[:, :2]
    config = VoteConfig(num_voters=2, fold_by="group", estimators=("out_of_bag",))
    ballots = Ballots(None, None, held_out_NK)
    report = vote_report(pairs, ballots=ballots, config=config, seed=0)
    names = [row["name"] for row in report["against"]["gold"]["rows"]]
    assert names == ["out-of-bag vote", "always the longer", "Bradley-Terry on identities"]
    one = [replace(pair, group="one") for pair in pairs]
    scores = suspicions(one, ballots=ballots, config=config, seed=0)
    assert list(scores) == ["out-of-bag vote", "always the longer"]


@pytest.mark.parametrize(
    ("known", "compared"),
    [
        ({"gold": False, "votes": True}, {"votes"}),
        ({"gold": True, "votes": False}, {"gold"}),
        ({"gold": False, "votes": False}, set()),
    ],
)
def test_what_is_not_known_is_not_compared(known, compared):
    against = report_of(tournament(**known))["against"]
    assert {truth for truth, found in against.items() if found is not None} == compared


def test_labels_that_are_all_right_or_undecided_cannot_be_compared():
    pairs = [p for p in tournament() if p.gold == 1.0]
    assert report_of(pairs)["against"]["gold"] is None
    undecided = [
        Pair(p.id, (), p.chosen, p.rejected, gold=0.5, votes=Votes(2, 2)) for p in tournament()
    ]
    assert report_of(undecided)["against"] == {"gold": None, "votes": None}


def test_one_kind_of_votes_has_one_row():
    pairs = tournament()
    inside = Ballots(ballots_that_know(pairs).in_sample_NK, None)
    report = vote_report(pairs, ballots=inside, config=CONFIG, seed=0)
    assert (report["headline"], report["cross_fitted"]) == ("in_sample", None)
    names = [row["name"] for row in report["against"]["gold"]["rows"]]
    assert "in-sample vote" in names
    assert "cross-fitted vote" not in names


def test_out_of_bag_votes_have_a_side_and_a_row():
    pairs = tournament()
    knowing = ballots_that_know(pairs).cross_fitted_NK[:, :2]
    rng = np.random.default_rng(0)
    votes_NK = np.concatenate([knowing, knowing + rng.normal(size=knowing.shape) / 9], axis=1)
    trains_NK = rng.permuted(np.tile([True, True, False, False], (len(pairs), 1)), axis=1)
    held_out_NK, seen_NK = (np.where(mask, np.nan, votes_NK) for mask in (trains_NK, ~trains_NK))
    ballots = Ballots(seen_NK + 10, None, held_out_NK)
    config = VoteConfig(num_voters=4, num_folds=2, estimators=("out_of_bag",))
    report = vote_report(pairs, ballots=ballots, config=config, seed=0)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["headline"] == "out_of_bag"
    assert report["cross_fitted"] is None
    assert report["out_of_bag"]["num_votes"] == report["in_sample"]["num_votes"] == 2
    assert report["out_of_bag"]["negative_mean_frac"] == pytest.approx(3 / 15)
    assert report["in_sample"]["negative_mean_frac"] == 0.0
    assert 0.9 < report["out_of_bag"]["voter_correlation"] <= 1.0
    rows = {row["name"]: row for row in report["against"]["gold"]["rows"]}
    assert list(rows)[:2] == ["out-of-bag vote", "in-sample vote"]
    assert rows["out-of-bag vote"]["auroc"]["value"] == 1.0
    scores = suspicions(pairs, ballots=ballots, config=config, seed=0)
    expected = [-np.mean([v for v in row if not np.isnan(v)]) for row in held_out_NK]
    np.testing.assert_allclose(scores["out-of-bag vote"], expected)


def test_the_report_tells_how_the_vote_converges():
    pairs = tournament()
    found = report_of(pairs)["convergence"]  # three voters that order the pairs alike
    assert [step["num_voters"] for step in found["steps"]] == [1, 2, 3]
    assert found["steps"][0]["with_others"] == pytest.approx(1.0)
    assert found["two_votes"] == pytest.approx(1.0)
    assert (found["is_enough"], found["enough_at"], found["num_enough"]) == (True, 0.95, 1)
    assert found["sentence"].startswith("2 of 3 voters give the order of all at Spearman 1.000;")
    one_voter = Ballots(None, ballots_that_know(pairs).cross_fitted_NK[:, :1])
    assert vote_report(pairs, ballots=one_voter, config=CONFIG, seed=0)["convergence"] is None


@pytest.mark.parametrize(("num_voters", "expected"), [(2, None), (4, [1, 2, 4])])
def test_out_of_bag_voters_converge_over_the_pairs_that_they_share(num_voters, expected):
    pairs = tournament()
    rng = np.random.default_rng(0)
    votes_NK = ballots_that_know(pairs).cross_fitted_NK[:, :1] + rng.normal(size=(15, num_voters))
    trains_NK = balanced_halves(np.arange(15), num_voters=num_voters, rng=rng)
    ballots = Ballots(None, None, np.where(trains_NK, np.nan, votes_NK))
    config = VoteConfig(num_voters=num_voters, num_folds=2, estimators=("out_of_bag",))
    found = vote_report(pairs, ballots=ballots, config=config, seed=0)["convergence"]
    assert (found and [step["num_voters"] for step in found["steps"]]) == expected


def test_texts_that_never_recur_have_no_identities_to_count():
    pairs = [
        Pair(f"p{i}", (), answer(f"{i} " * 3), answer(f"{i}"), gold=float(i % 3 > 0))
        for i in range(8)
    ]
    ballots = ballots_that_know(pairs)
    scores = suspicions(pairs, ballots=ballots, config=CONFIG, seed=0)
    assert list(scores) == ["cross-fitted vote", "in-sample vote", "always the longer"]
    np.testing.assert_array_equal(
        scores["cross-fitted vote"], -ballots.cross_fitted_NK.mean(axis=1)
    )
