"""The vote stage with voters of every kind, and what a full vote is said to cost."""

import numpy as np
import pytest
import torch

from tamis.data import DataConfig
from tamis.errors import ConfigError, DataError
from tamis.models.config import ModelConfig
from tamis.recipes.stages import data_stage, training_pairs
from tamis.recipes.voters import full_cost
from tamis.recipes.voting import vote_stage
from tamis.runs import read_json
from tamis.train.config import TrainConfig
from tamis.vote.ballots import voter_halves, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.table import read_strength


def vote(run, *, model, notices, kind="full", seed=0, **settings):
    return vote_stage(
        run,
        pairs=run / "data" / "pairs.parquet",
        model=ModelConfig(path=str(model)),
        config=VoteConfig(kind=kind, **settings),
        train=TrainConfig(batch_size=8, max_steps=2),
        seed=seed,
        notice=notices.append,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU may take as many pairs as it likes")
def test_a_full_vote_on_many_pairs_is_refused_and_leaves_nothing(
    tmp_path, tiny_bert, make_preferences
):
    source = tmp_path / "pairs.jsonl"
    make_preferences(source, 1001)
    data_stage(tmp_path / "run", config=DataConfig(path=str(source)))
    with pytest.raises(ConfigError, match=r"1,001 pairs without an accelerator .* --allow-slow"):
        vote(tmp_path / "run", model=tiny_bert, notices=[])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data"]


@pytest.fixture(scope="module")
def with_pairs(tmp_path_factory, make_preferences):
    """Makes run directories that hold the same 24 pairs."""

    def make():
        run = tmp_path_factory.mktemp("vote")
        data_stage(run, config=DataConfig(path=str(make_preferences(run / "pairs.jsonl", 24))))
        return run

    return make


KINDS = [
    ("head", {"epochs": 2}),
    ("branch", {"branch": {"num_layers": 1, "rank": 2, "batch_size": 8}}),
    ("full", {}),
]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
@pytest.mark.parametrize("fold_by", ["pair", "group"])
def test_every_kind_of_voters_casts_out_of_bag_votes(with_pairs, llama, kind, settings, fold_by):
    run = with_pairs()
    shared = {"estimators": ("out_of_bag",), "num_voters": 2, "fold_by": fold_by}
    vote(run, model=llama.path, notices=[], kind=kind, **shared, **settings)
    table = read_strength(run / "vote" / "strength.parquet")
    pairs = training_pairs(run / "data" / "pairs.parquet")
    assert table["id"].to_pylist() == [pair.id for pair in pairs]
    trains_NK = voter_halves(pairs, config=VoteConfig(**shared), seed=0)
    for name, cast_NK in (("votes", ~trains_NK), ("in_sample_votes", trains_NK)):
        votes_NK = np.array(table[name].to_pylist(), dtype=float)
        assert (np.isfinite(votes_NK) == cast_NK).all()
    report = read_json(run / "vote" / "report.json")
    assert (report["kind"], report["headline"]) == (kind, "out_of_bag")
    assert report["out_of_bag"]["num_votes"] == report["in_sample"]["num_votes"] == 1


@pytest.mark.parametrize(
    ("settings", "cost"),
    [
        ({}, 3 * 2 * 12 + 48),  # two voters, each on half of 24 pairs, and on all to read
        ({"epochs": 2.0}, 3 * 4 * 12 + 48),
        ({"max_steps": 1}, 3 * 2 * 8 + 48),
        ({"max_steps": 2, "epochs": 2.0}, 3 * 2 * 16 + 48),
        ({"max_steps": 1000}, 3 * 2 * 12 + 48),
    ],
)
def test_a_full_vote_costs_the_steps_it_takes(with_pairs, settings, cost):
    pairs = training_pairs(with_pairs() / "data" / "pairs.parquet")
    config = VoteConfig(kind="full", num_voters=2, estimators=("out_of_bag",))
    members = voting_members(pairs, config=config, seed=0)
    assert full_cost(members, train=TrainConfig(batch_size=8, **settings)) == cost


def results(run):
    return [(run / "vote" / name).read_bytes() for name in ("strength.parquet", "report.json")]


def stamps(run):
    return {path.name: path.stat().st_mtime_ns for path in (run / "vote" / "members").glob("*.npy")}


@pytest.mark.parametrize(
    ("kind", "settings", "few", "many"),
    [
        ("head", {"epochs": 2, "num_folds": 2}, 2, 4),
        ("head", {"epochs": 2, "estimators": ("out_of_bag",)}, 10, 14),
        ("branch", {"branch": {"num_layers": 1, "rank": 2, "batch_size": 8}}, 10, 12),
        ("full", {"estimators": ("in_sample",)}, 1, 2),
    ],
)
def test_voters_that_are_added_give_the_vote_of_that_many(
    with_pairs, llama, kind, settings, few, many
):
    run, fresh, told = with_pairs(), with_pairs(), []
    asked = {"kind": kind, "model": llama.path, **settings}
    vote(run, notices=[], num_voters=few, **asked)
    of_few, before = results(run), stamps(run)
    vote(run, notices=told, num_voters=many, **asked)
    assert f"{few} of {many} voters have voted before" in told
    after = stamps(run)
    assert len(after) * few == len(before) * many
    assert before.items() <= after.items()  # nobody voted twice
    vote(fresh, notices=[], num_voters=many, **asked)
    assert results(run) == results(fresh)

    told.clear()
    vote(run, notices=told, num_voters=few, **asked)
    assert told == [f"{few} of {few} voters have voted before"]
    assert results(run) == of_few
    assert stamps(run) == after


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 3}, {"fold_by": "group"}, {"model": "other"}, {"pairs": 20}]
)
def test_another_vote_takes_nothing(with_pairs, llama, tiny_bert, make_preferences, change):
    run, fresh, told = with_pairs(), with_pairs(), []
    asked = {"kind": "head", "epochs": 2, "num_folds": 2, "model": llama.path}
    vote(run, notices=[], num_voters=2, **asked)
    if "pairs" in change:
        for place in (run, fresh):
            source = make_preferences(place / "pairs.jsonl", change["pairs"])
            data_stage(place, config=DataConfig(path=str(source)))
    elif "model" in change:
        asked["model"] = tiny_bert
    else:
        asked |= change
    vote(run, notices=told, num_voters=3, **asked)
    assert told == []
    vote(fresh, notices=[], num_voters=3, **asked)
    assert results(run) == results(fresh)
    assert len(stamps(run)) == 9


def test_a_vote_that_failed_keeps_what_was_cast(with_pairs, llama):
    """The second voter's votes are damaged: the first error names them, the vote is made good."""
    run, told = with_pairs(), []
    asked = {"kind": "head", "epochs": 2, "num_folds": 2, "model": llama.path}
    vote(run, notices=[], num_voters=2, **asked)
    expected = results(run)
    (damaged,) = (run / "vote" / "members").glob("in_sample-1-*.npy")
    damaged.write_bytes(b"")
    for name in ("strength.parquet", "report.json", "stage.json"):
        (run / "vote" / name).unlink()
    with pytest.raises(
        DataError, match=r"members/in_sample-1-\w+\.npy: expected .* remove the file"
    ):
        vote(run, notices=[], num_voters=2, **asked)
    damaged.unlink()
    vote(run, notices=told, num_voters=2, **asked)
    assert told == ["1 of 2 voters have voted before"]
    assert results(run) == expected
