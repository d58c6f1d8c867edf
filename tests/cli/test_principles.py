"""`tamis principles`, and `tamis bench --principle`."""

import json
import shutil

import pytest

from tamis.data import read_pairs
from tamis.runs import read_json

TOLD = "learned to read principles"


def test_pairs_become_examples_by_length(tamis, with_data, tmp_path):
    out = tmp_path / "run"
    command = ("principles", with_data, "--judge", "length", "--out", out)
    result = tamis(*command, "--passes", 2, "--label-noise", 0.2, "--only", "concise,detailed")
    assert result.code == 0, result.err
    assert "written:" in result.out
    report = read_json(out / "data" / "report.json")
    assert report["principles"]["num_noisy"] > 0
    assert [row["name"] for row in report["principles"]["by_principle"]] == ["concise", "detailed"]
    assert report["num_pairs"] == len(read_pairs(out / "data" / "pairs.parquet"))
    again = tamis(*command, "--passes", 2, "--label-noise", 0.2, "--only", "concise,detailed")
    assert "already done:" in again.out


def test_a_file_of_scores_is_a_judge(tamis, with_data, tmp_path):
    pairs = read_pairs(with_data / "data" / "pairs.parquet")
    path = tmp_path / "judged.jsonl"
    rows = [{"id": pair.id, "principle": "honest", "margin": 1.0} for pair in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "run"
    result = tamis(
        "principles", with_data, "--judge", path, "--out", out, "--layout", "answer_first"
    )
    assert result.code == 0, result.err
    shown = {pair.subset for pair in read_pairs(out / "data" / "pairs.parquet")}
    assert shown == {"honest", "not:honest"}


def test_what_is_missing_or_wrong_is_said(bad, with_data, tmp_path):
    out = tmp_path / "run"
    assert "give --out, another one" in bad("principles", with_data, "--judge", "length")
    assert "no judge: give --judge" in bad("principles", with_data, "--out", out)
    said = bad("principles", with_data, "--judge", "http://localhost:1/v1", "--out", out)
    assert "judge is endpoint; name its url and model" in said
    said = bad("principles", with_data, "--judge", "length", "--out", with_data)
    assert "stands where its examples would be written" in said
    said = bad("principles", with_data, "--judge", "length", "--only", "concice", "--out", out)
    assert "did you mean 'concise'" in said
    said = bad("principles", tmp_path / "none", "--judge", "length", "--out", out)
    assert said == f"{tmp_path / 'none'}: no such file or directory"
    said = bad("bench", with_data, "--on", "hhh=x", "--principle", "concice")
    assert "unknown principle 'concice'; did you mean 'concise'?" in said


def test_principles_of_ones_own_are_named_where_they_are_asked_for(bad, with_data, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("- {name: mine, wanted: [Be mine.], negated: [Be yours.]}\n")
    bench = ("bench", with_data, "--on", "hhh=x", "--principle", "mine")
    sample = ("sample", tmp_path / "none.jsonl", "--policy", "x", "--principle", "mine")
    for command in (bench, sample):
        assert "unknown principle 'mine'" in bad(*command)
        assert "unknown principle" not in bad(*command, "--principles", own)
        assert "sideways" in bad(*command, "--principles", own, "--layout", "sideways")
        assert f"{own}.no: no such file" in bad(*command, "--principles", f"{own}.no")


def test_a_recipe_names_the_judge(tamis, with_data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"out: {tmp_path / 'run'}\nmodel: {{path: x}}\ndata: {{path: x}}\n"
        "principles: {judge: length, passes: 1, endpoint: {workers: 2}}\n"
    )
    # the model of the recipe is not there
    result = tamis("principles", with_data, "--recipe", recipe)
    assert (result.code, "model 'x'" in result.err) == (2, True)


@pytest.mark.slow
def test_the_reward_follows_what_the_caller_names(tamis, with_data, tmp_path, llama):
    out = tmp_path / "run"
    shutil.copytree(with_data, tmp_path / "source")
    model = ("--model", llama.path)
    assert (
        tamis("principles", tmp_path / "source", "--judge", "length", "--out", out, *model).code
        == 0
    )
    trained = tamis("train", out, *model, "--max-steps", 2, "--batch-size", 4)
    assert trained.code == 0, trained.err
    on = f"pairs={tmp_path / 'source/data/test_pairs.parquet'}"
    bench = (
        "bench",
        out,
        "--on",
        on,
        "--principle",
        "not:concise",
        "--principle",
        "Be kind to all.",
    )
    result = tamis(*bench)
    assert result.code == 0, result.err
    said = read_json(out / "bench" / "report.json")["principles"]
    assert said[0].startswith("Write at length")
    assert said[1] == "Be kind to all."
    assert TOLD not in result.err
    held_out = tamis("bench", out)  # of its own run: they carry principles
    assert (held_out.code, TOLD in held_out.err) == (0, False)
    bare = tamis("bench", out, "--on", on)
    assert (bare.code, bare.err.count(TOLD)) == (0, 1)
    assert "--principle" in bare.err
