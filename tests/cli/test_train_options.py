"""Options of `tamis train` that lead into parts of the recipe."""

import importlib.util

import pytest

from tamis.runs import read_json


def test_options_reach_the_part_that_they_name(tamis, with_data, tmp_path, tiny_bert):
    (tmp_path / "recipe.yaml").write_text(
        f"out: {tmp_path / 'run'}\nmodel: {{path: {tiny_bert}}}\ndata: {{path: x.jsonl}}\n"
        "train: {batch_size: 4, lora: {rank: 2, alpha: 6}, compute: {micro_batch_size: 2}}\n"
    )
    options = ("--recipe", tmp_path / "recipe.yaml", "--max-steps", "2", "--out", tmp_path / "run")
    watch = ("--holdout-frac", "0.2", "--eval-every", "1", "--patience", "3")
    more = ("--lora-rank", "3", "--gradient-checkpointing", "--sampler", "length", *watch)
    pairs = with_data / "data" / "pairs.parquet"
    assert tamis("train", pairs, *options, *more).code == 0
    config = read_json(tmp_path / "run" / "train" / "stage.json")["config"]["train"]
    assert (config["lora"]["rank"], config["lora"]["alpha"]) == (3, 6)
    assert config["compute"]["micro_batch_size"] == 2
    assert config["compute"]["gradient_checkpointing"]
    assert config["sampler"] == "length"
    assert config["watch"] == {"holdout_frac": 0.2, "eval_every": 1, "patience": 3}
    report = read_json(tmp_path / "run" / "train" / "report.json")
    assert [point["step"] for point in report["held_out"]] == [1, 2]


def test_wrong_values_are_named_by_their_part(bad, with_data, tmp_path, tiny_bert):
    train = ("train", with_data, "--out", tmp_path, "--model", tiny_bert)
    assert bad(*train, "--lora-rank", "-1").startswith("options: key 'lora.rank' is -1: ")
    assert bad(*train, "--tracker", "paper").startswith(
        "options: key 'watch.trackers.0' is 'paper'"
    )
    assert bad(*train, "--patience", "2").startswith(
        "options: watch: patience and eval_every need "
    )
    (tmp_path / "recipe.yaml").write_text(
        "out: x\nmodel: {path: x}\ndata: {path: x.jsonl}\ntrain: {lora: {rnk: 2}}\n"
    )
    said = bad("train", with_data, "--recipe", tmp_path / "recipe.yaml")
    assert said.endswith("unknown key 'train.lora.rnk'; did you mean 'rank'?")


def test_a_missing_tracker_leaves_nothing_behind(bad, with_data, tmp_path, tiny_bert):
    if importlib.util.find_spec("trackio") is not None:
        pytest.skip("trackio is installed")
    run = tmp_path / "run"
    said = bad("train", with_data, "--out", run, "--model", tiny_bert, "--tracker", "trackio")
    assert said.startswith("tracker 'trackio' is not installed; try: pip install trackio")
    assert not run.exists()
