import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.data import DataConfig, read_dropped, read_pairs
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.tables import read_verdicts
from tamis.errors import ConfigError, DataError
from tamis.evaluate.config import BenchmarkConfig
from tamis.models.config import ModelConfig
from tamis.recipes.evidence import IN_SAMPLE
from tamis.recipes.scoring import Scoring
from tamis.recipes.stages import (
    bench_stage,
    data_stage,
    denoise_stage,
    match,
    train_stage,
    training_pairs,
)
from tamis.runs import read_json
from tamis.train.config import TrainConfig
from tamis.vote.ballots import Ballots
from tamis.vote.table import read_strength, write_strength


def config(path, **settings):
    return DataConfig(path=str(path), **settings)


@pytest.fixture
def rows(tmp_path):
    """Writes rows to a file and returns its path."""

    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def row(chosen, rejected, **more):
    return {"prompt": "question", "chosen": chosen, "rejected": rejected, **more}


def test_data_without_a_model(tmp_path, preferences):
    result = data_stage(tmp_path, config=config(preferences, test_frac=0.3))
    assert result.fresh
    pairs = read_pairs(tmp_path / "data" / "pairs.parquet")
    test = read_pairs(tmp_path / "data" / "test_pairs.parquet")
    assert (len(pairs), read_dropped(tmp_path / "data" / "dropped.parquet")) == (60, [])
    assert test == [pair for pair in pairs if pair.split == "test"]
    assert training_pairs(tmp_path / "data" / "pairs.parquet") == [
        pair for pair in pairs if pair.split == "train"
    ]
    assert 0 < len(test) < 40
    report = read_json(tmp_path / "data" / "report.json")
    assert report["splits"] == {"train": 60 - len(test), "test": len(test)}
    assert (report["has_gold"], report["convention"]) == (True, "trl")
    assert report["length_check"] == "not done: no model given"
    assert not data_stage(tmp_path, config=config(preferences, test_frac=0.3)).fresh
    assert data_stage(tmp_path, config=config(preferences, test_frac=0.2)).fresh


def test_the_same_file_elsewhere_is_the_same_source(tmp_path, preferences):
    data_stage(tmp_path, config=config(preferences))
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(preferences.read_bytes())
    assert not data_stage(tmp_path, config=config(moved)).fresh
    moved.write_bytes(preferences.read_bytes() + b"\n")
    assert data_stage(tmp_path, config=config(moved)).fresh


def test_nothing_held_out_writes_no_test_pairs(tmp_path, preferences):
    data_stage(tmp_path, config=config(preferences))
    assert not (tmp_path / "data" / "test_pairs.parquet").exists()


def test_pairs_that_the_model_cannot_read_are_dropped_by_row(tmp_path, tiny_bert, rows):
    path = rows(row("good", "bad"), row("good " * 70, "bad"), row("better", "worse"))
    data_stage(tmp_path, config=config(path), model=ModelConfig(path=tiny_bert))
    assert len(read_pairs(tmp_path / "data" / "pairs.parquet")) == 2
    (dropped,) = read_dropped(tmp_path / "data" / "dropped.parquet")
    assert (dropped.row, dropped.kind) == (1, "over_length")
    report = read_json(tmp_path / "data" / "report.json")
    assert (report["dropped"], report["length_check"]) == ({"over_length": 1}, "done")


def test_a_model_that_reads_less_drops_more(tmp_path, tiny_bert, rows):
    path = rows(row("good", "bad"), row("good " * 30, "bad"))
    short = ModelConfig(path=tiny_bert, max_length=24)
    data_stage(tmp_path, config=config(path), model=ModelConfig(path=tiny_bert))
    assert len(read_pairs(tmp_path / "data" / "pairs.parquet")) == 2
    assert data_stage(tmp_path, config=config(path), model=short).fresh
    assert len(read_pairs(tmp_path / "data" / "pairs.parquet")) == 1


def test_bad_rows_leave_no_pairs_and_a_later_run_is_not_in_their_way(tmp_path, rows, preferences):
    with pytest.raises(DataError, match=r"rows\.jsonl: row 1"):
        data_stage(tmp_path, config=config(rows(row("good", "bad"), row("good", 3))))
    assert not list((tmp_path / "data").glob("*.parquet"))
    assert data_stage(tmp_path, config=config(preferences)).fresh


@pytest.fixture
def voted(tmp_path, preferences):
    """A run with data and a strength that knows the truth; returns its paths."""
    data_stage(tmp_path, config=config(preferences, test_frac=0.3))
    pairs = tmp_path / "data" / "pairs.parquet"
    training = training_pairs(pairs)
    gap_N = np.array([1.0 if pair.gold == 1.0 else -1.0 for pair in training])
    size_N = 1 + np.arange(len(training)) / 100
    strength = tmp_path / "vote" / "strength.parquet"
    votes_NK = (gap_N * size_N)[:, None] + np.array([0.1, -0.1])
    write_strength(strength, ids=[p.id for p in training], ballots=Ballots(None, votes_NK))
    return {"strength": strength, "pairs": pairs}


def test_denoise_repairs_what_the_vote_found(tmp_path, voted):
    policy = DenoiseConfig(policy="flip", below=0.0)
    assert denoise_stage(tmp_path, **voted, config=policy).fresh
    training = training_pairs(voted["pairs"])
    verdicts = read_verdicts(tmp_path / "denoise" / "verdicts.parquet")
    assert [v.id for v in verdicts] == [p.id for p in training]
    assert [v.target for v in verdicts] == [p.gold for p in training]
    num_wrong = sum(p.gold == 0 for p in training)
    assert num_wrong > 3
    report = read_json(tmp_path / "denoise" / "report.json")
    assert (report["num_flipped"], report["export"]["num_swapped"]) == (num_wrong, num_wrong)
    assert report["against_gold"]["wrong_after_frac"] == 0.0
    assert report["against_gold"]["num_broken"] == 0
    lines = (tmp_path / "denoise" / "export.jsonl").read_text().splitlines()
    exported = [json.loads(line) for line in lines]
    assert len(exported) == len(training)
    # every exported pair has the good answer first, as the truth says
    assert all(e["chosen"][0]["content"].startswith("good") for e in exported)
    assert all(e["rejected"][0]["content"].startswith("bad") for e in exported)
    assert not denoise_stage(tmp_path, **voted, config=policy).fresh


def test_denoise_estimates_which_labels_are_wrong(tmp_path, voted):
    auto = DenoiseConfig(policy="auto", trusted="gold")
    assert denoise_stage(tmp_path, **voted, config=auto).fresh
    training = training_pairs(voted["pairs"])
    table = pq.read_table(tmp_path / "denoise" / "wrong.parquet")
    assert table["id"].to_pylist() == [p.id for p in training]
    is_wrong = np.array([p.gold == 0 for p in training])
    p_wrong = table["p_wrong"].to_numpy()
    assert p_wrong[is_wrong].min() > p_wrong[~is_wrong].max()
    verdicts = read_verdicts(tmp_path / "denoise" / "verdicts.parquet")
    weight = np.array([v.weight for v in verdicts])
    assert weight[is_wrong].max() < weight[~is_wrong].min()
    wrong = read_json(tmp_path / "denoise" / "report.json")["wrong"]
    assert (wrong["method"], wrong["num_trusted"]) == ("trusted", len(training))


def test_other_trusted_labels_are_another_stage(tmp_path, voted):
    path = tmp_path / "trusted.parquet"
    training = training_pairs(voted["pairs"])
    columns = {"id": [p.id for p in training], "gold": [p.gold for p in training]}
    config = DenoiseConfig(policy="calibrated", trusted=str(path))
    with pytest.raises(ConfigError, match="expected gold, votes, or a Parquet file"):
        denoise_stage(tmp_path, **voted, config=config)
    pq.write_table(pa.table(columns), path)
    assert denoise_stage(tmp_path, **voted, config=config).fresh
    assert not denoise_stage(tmp_path, **voted, config=config).fresh
    pq.write_table(pa.table(columns).slice(1), path)
    assert denoise_stage(tmp_path, **voted, config=config).fresh


def test_votes_cast_in_sample_are_said_to_be(tmp_path, voted):
    policy = DenoiseConfig(policy="auto")
    denoise_stage(tmp_path, **voted, config=policy)
    honest = read_json(tmp_path / "denoise" / "report.json")["wrong"]["assumption"]
    table = read_strength(voted["strength"])
    inside = Ballots(np.array(table["votes"].to_pylist()), None)
    write_strength(voted["strength"], ids=table["id"].to_pylist(), ballots=inside)
    denoise_stage(tmp_path, **voted, config=policy)
    taken = read_json(tmp_path / "denoise" / "report.json")["wrong"]["assumption"]
    assert taken == honest + IN_SAMPLE


def test_a_file_called_gold_is_not_meant(tmp_path, voted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    policy = DenoiseConfig(policy="auto", trusted="gold")
    denoise_stage(tmp_path, **voted, config=policy)
    (tmp_path / "gold").write_text("of another kind")
    assert not denoise_stage(tmp_path, **voted, config=policy).fresh


def test_pairs_without_votes_or_verdicts_are_counted(tmp_path, voted, tiny_bert):
    table = read_strength(voted["strength"])
    pq.write_table(table.slice(3), voted["strength"])
    denoise_stage(tmp_path, **voted, config=DenoiseConfig(policy="keep"))
    report = read_json(tmp_path / "denoise" / "report.json")
    assert (report["num_pairs"], report["num_without_votes"]) == (table.num_rows - 3, 3)
    train_stage(
        tmp_path,
        pairs=voted["pairs"],
        verdicts=tmp_path / "denoise" / "verdicts.parquet",
        model=ModelConfig(path=tiny_bert),
        config=TrainConfig(max_steps=1, batch_size=4),
        seed=0,
    )
    report = read_json(tmp_path / "train" / "report.json")
    assert (report["num_pairs"], report["num_left_out"]) == (table.num_rows - 3, {"no_verdict": 3})


def test_a_slice_alone_is_exported(tmp_path, voted):
    config = DenoiseConfig(policy="keep", between=(0.5, 1.0), outside="drop")
    denoise_stage(tmp_path, **voted, config=config)
    verdicts = read_verdicts(tmp_path / "denoise" / "verdicts.parquet")
    kept = [v.id for v in verdicts if v.weight > 0]
    assert len(kept) == len(verdicts) - len(verdicts) // 2
    assert {v.reason for v in verdicts} == {"keep", "outside"}
    lines = (tmp_path / "denoise" / "export.jsonl").read_text().splitlines()
    assert len(lines) == len(kept)


def test_strict_refuses_what_other_trainers_would_ignore(tmp_path, voted):
    soft = DenoiseConfig(policy="soft")
    with pytest.raises(ConfigError, match=r"export\.jsonl: not written, since TRL"):
        denoise_stage(tmp_path, **voted, config=soft, strict=True)
    assert not list((tmp_path / "denoise").glob("*.parquet"))
    assert denoise_stage(tmp_path, **voted, config=soft).fresh
    hard = DenoiseConfig(policy="flip")
    assert denoise_stage(tmp_path, **voted, config=hard, strict=True).fresh


def test_an_unknown_policy_lists_the_known(tmp_path, voted):
    expected = r"unknown denoise 'flop'; expected one of auto, .* drop, flip, "
    with pytest.raises(ConfigError, match=expected):
        denoise_stage(tmp_path, **voted, config=DenoiseConfig(policy="flop"))


def test_strength_of_other_pairs_is_refused(tmp_path, voted, rows):
    data_stage(tmp_path / "other", config=config(rows(row("good", "bad"))))
    other = tmp_path / "other" / "data" / "pairs.parquet"
    with pytest.raises(DataError, match=r"strength\.parquet: id '\w+' is not among the 1 training"):
        denoise_stage(tmp_path, strength=voted["strength"], pairs=other, config=DenoiseConfig())


def test_everything_held_out_is_an_error(tmp_path, rows):
    data_stage(tmp_path, config=config(rows(row("good", "bad", split="test"))))
    with pytest.raises(DataError, match='no pair to train on: every pair is in the split "test"'):
        training_pairs(tmp_path / "data" / "pairs.parquet")


def test_match_keeps_the_order_of_the_ids(tmp_path, voted):
    training = training_pairs(voted["pairs"])
    ids = [p.id for p in training[4:1:-1]]
    assert match(training, ids, where=tmp_path) == training[4:1:-1]


def test_no_benchmark_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no benchmark to run"):
        bench_stage(tmp_path, scoring=Scoring(["longest"]), benchmarks=[], seed=0)


def test_a_missing_checkpoint_is_named(tmp_path):
    pairs = BenchmarkConfig(name="pairs", path=str(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="nothing: no such file or directory"):
        bench_stage(
            tmp_path, scoring=Scoring([str(tmp_path / "nothing")]), benchmarks=[pairs], seed=0
        )
