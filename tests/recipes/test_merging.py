import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from members import make_member

from tamis.data import read_pairs, write_pairs
from tamis.errors import ConfigError, DataError
from tamis.evaluate.config import BenchmarkConfig
from tamis.merge.config import MergeConfig
from tamis.metrics.ensemble import Ensemble, recorded
from tamis.models.card import centring
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs
from tamis.recipes.merging import MergeInputs, has_gold, merge_stage
from tamis.recipes.scoring import Scoring
from tamis.recipes.stages import bench_stage, data_stage
from tamis.report import write_report
from tamis.runs import read_json, read_parquet


@pytest.fixture(scope="module")
def bert_members(tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    config = ModelConfig(path=tiny_bert)
    return [make_member(config, folder / f"m{seed}", seed=seed, scale=0.1) for seed in range(3)]


@pytest.fixture(scope="module")
def data(make_recipe, tmp_path_factory):
    """A data stage: pairs to train on with gold labels, and held-out ones."""
    run = tmp_path_factory.mktemp("data")
    data_stage(run, config=make_recipe(run).data)
    return run / "data"


@pytest.fixture(scope="module")
def finished(bert_members, data, tmp_path_factory):
    run = tmp_path_factory.mktemp("merged")
    merged = MergeInputs(
        bert_members, pairs=data / "test_pairs.parquet", trained_on=data / "pairs.parquet"
    )
    config = MergeConfig(method="greedy", curves="all")
    result = merge_stage(run, merged=merged, config=config, seed=0)
    return run, merged, config, result


def accuracy(path, pairs):
    scorer = load_scorer(str(path))
    found = score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
    delta_N = (found.chosen_N - found.rejected_N).astype(np.float64)
    return float(np.mean(0.5 * (1 + np.sign(delta_N))))


def test_the_report_says_what_the_checkpoints_do(finished, data):
    run, merged, *_ = finished
    pairs = list(read_pairs(data / "test_pairs.parquet"))
    report = read_json(run / "merge" / "report.json")
    found = report["accuracy"]
    expected = [accuracy(path, pairs) for path in merged.checkpoints]
    assert [row["value"] for row in found["members"]] == pytest.approx(expected)
    assert found["merge"]["value"] == pytest.approx(accuracy(run / "merge" / "checkpoint", pairs))
    assert found["merge"]["value"] >= max(expected)  # greedy, on the pairs it chose on
    assert report["steps"][0]["member"] == int(np.argmax(expected))
    assert {number for number, weight in enumerate(report["weights"]) if weight} == {
        step["member"] for step in report["steps"] if step["kept"]
    }
    assert report["start"] == "checked"


def test_an_average_records_the_mean_and_the_spread_of_its_own_scores(finished, data):
    checkpoint = finished[0] / "merge" / "checkpoint"
    pairs = list(read_pairs(data / "test_pairs.parquet"))
    scorer = load_scorer(str(checkpoint))
    found = score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
    both = np.concatenate([found.chosen_N, found.rejected_N])
    kept = read_json(checkpoint / "config.json")
    assert kept["mean"] == pytest.approx(both.mean(), abs=1e-5)
    assert kept["std"] == pytest.approx(both.std(), rel=1e-3)
    centred = recorded(kept["mean"], kept["std"])
    assert centred is not None  # so that an ensemble may standardise it
    assert centring(kept["mean"], kept["std"]) in (checkpoint / "README.md").read_text()


def test_the_ends_of_a_curve_are_the_members(finished):
    report = read_json(finished[0] / "merge" / "report.json")
    members = [row["value"] for row in report["accuracy"]["members"]]
    assert [(c["first"], c["second"]) for c in report["curves"]] == [(0, 1), (0, 2), (1, 2)]
    for curve in report["curves"]:
        ends = [members[curve["first"]], members[curve["second"]]]
        assert [curve["accuracies"][0], curve["accuracies"][-1]] == pytest.approx(ends)


def test_training_labels_that_are_known_to_be_wrong_are_reported_apart(finished, data):
    found = read_json(finished[0] / "merge" / "report.json")["memorisation"]
    golds = [p.gold for p in read_pairs(data / "pairs.parquet") if p.split != "test"]
    assert found["num_wrong"] == sum(gold == 0.0 for gold in golds) > 0
    assert found["num_right"] == sum(gold == 1.0 for gold in golds)
    names = [row["name"] for row in found["rows"]]
    assert names == ["0", "1", "2", "ensemble", "merge"]
    assert has_gold(data / "pairs.parquet")


def test_a_second_run_does_nothing_and_leaves_no_scratch(finished):
    run, merged, config, result = finished
    assert result.fresh
    assert not merge_stage(run, merged=merged, config=config, seed=0).fresh
    assert sorted(p.name for p in (run / "merge").iterdir()) == [
        ".lock",
        "checkpoint",
        "report.json",
        "stage.json",
    ]
    card = (run / "merge" / "checkpoint" / "README.md").read_text()
    assert "of 3 models, greedy" in card
    assert "accuracy on validation pairs" in card


def test_the_report_page_has_a_section(finished, tmp_path):
    run, *_ = finished
    page = write_report(run, out=tmp_path / "report.html")
    sections = read_json(page.with_suffix(".json"))["sections"]
    assert sections["merge"]["data"]["method"] == "greedy"
    text = page.read_text(encoding="utf-8")
    assert "mean of their scores" in text
    assert "members are not connected" not in text or sections["merge"]["data"]["warnings"]


def test_without_pairs_models_are_merged_and_not_measured(bert_members, tmp_path):
    merge_stage(
        tmp_path,
        merged=MergeInputs(bert_members[:2]),
        config=MergeConfig(weights=(3.0, 1.0)),
        seed=0,
    )
    report = read_json(tmp_path / "merge" / "report.json")
    assert report["weights"] == [3.0, 1.0]
    assert (report["accuracy"], report["diversity"], report["curves"]) == (None, None, [])
    assert write_report(tmp_path, out=tmp_path / "report.html").is_file()


def test_what_was_scored_before_a_kill_is_not_scored_again(bert_members, data, tmp_path):
    """The second try fails in its last step, after all scores; a third needs no member."""
    copies = [tmp_path / path.name for path in bert_members[:2]]
    for path, copy in zip(bert_members, copies, strict=False):
        shutil.copytree(path, copy)
    merged = MergeInputs(copies, pairs=data / "test_pairs.parquet", trained_on=tmp_path / "none")
    (tmp_path / "none").write_text("no parquet")
    with pytest.raises(DataError, match="none"):
        merge_stage(tmp_path / "run", merged=merged, config=MergeConfig(), seed=0)
    scores = tmp_path / "run" / "merge" / "work" / "scores"
    kept = {path.name: path.stat().st_mtime_ns for path in scores.iterdir()}
    # two members, their average (which is the middle), a quarter and three quarters of the way
    assert len(kept) == 5 + 1
    with pytest.raises(DataError, match="none"):
        merge_stage(tmp_path / "run", merged=merged, config=MergeConfig(), seed=0)
    assert {path.name: path.stat().st_mtime_ns for path in scores.iterdir()} == kept


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (MergeConfig(method="greedy"), "method greedy chooses members by their accuracy: give"),
        (MergeConfig(weights=(1.0,)), "1 weights for 2 checkpoints: expected one each"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path, config, problem):
    missing = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ConfigError, match=problem):
        merge_stage(tmp_path / "run", merged=MergeInputs(missing), config=config, seed=0)
    assert not (tmp_path / "run").exists()


def test_training_pairs_without_gold_are_refused(bert_members, data, tmp_path):
    rows = list(read_pairs(data / "pairs.parquet"))
    write_pairs(tmp_path / "bare.parquet", [replace(pair, gold=None) for pair in rows])
    merged = MergeInputs(
        bert_members[:2], pairs=data / "test_pairs.parquet", trained_on=tmp_path / "bare.parquet"
    )
    assert not has_gold(tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"bare\.parquet: no training pair has a gold label"):
        merge_stage(tmp_path / "run", merged=merged, config=MergeConfig(curves="none"), seed=0)


@pytest.mark.parametrize(
    ("ensemble", "combine"),
    [
        (None, lambda s: s.mean(0)),
        (Ensemble("raw_lower", penalty=2.0), lambda s: s.mean(0) - 2 * s.std(0)),
    ],
)
def test_a_bench_of_several_checkpoints_scores_them_together(
    bert_members, data, tmp_path, ensemble, combine
):
    benchmark = BenchmarkConfig(name="pairs", path=str(data / "test_pairs.parquet"))

    def items(run, paths, how=None):
        scoring = Scoring([str(path) for path in paths], ensemble=how)
        bench_stage(run, scoring=scoring, benchmarks=[benchmark], seed=0)
        return read_parquet(run / "bench" / "items.parquet")

    alone = [items(tmp_path / path.name, [path]) for path in bert_members]
    together = items(tmp_path / "all", bert_members, ensemble)
    for side in ("score_chosen", "score_rejected"):
        scores = np.stack([table[side].to_numpy() for table in alone])
        np.testing.assert_allclose(together[side].to_numpy(), combine(scores), atol=1e-6)
    report = json.loads((tmp_path / "all" / "bench" / "report.json").read_text())
    assert report["ensemble"]["num_models"] == 3
    assert report["ensemble"]["how"] == (ensemble.how if ensemble else "mean")
