import shutil

import pytest
import yaml

from tamis.cli.summary import run_tables
from tamis.recipes.files import load_recipe
from tamis.runs import read_json
from tamis.vote.table import read_strength


@pytest.fixture(scope="module")
def run(with_data, tmp_path_factory):
    """A copy of the run with data that the tests of this module go through in order."""
    path = tmp_path_factory.mktemp("flow") / "run"
    shutil.copytree(with_data, path)
    return path


def test_stage_by_stage_through_one_run_directory(tamis, run, tiny_bert):
    model = ("--model", tiny_bert)
    voters = ("--num-voters", "2", "--num-folds", "2", "--seed", "4")
    voted = tamis("vote", run, *model, *voters)
    assert voted.code == 0, voted.err
    assert "vote against the label, cross-fitted" in voted.out
    assert "1 of 2 voters give the order of all at Spearman" in voted.out
    assert f"written: {run}/vote" in voted.out
    assert len(read_strength(run / "vote" / "strength.parquet")["votes"][0]) == 2
    assert read_json(run / "vote" / "stage.json")["config"]["seed"] == 4
    again = tamis("vote", run, *model, *voters)
    assert f"already done: {run}/vote" in again.out

    denoised = tamis("denoise", run, "--policy", "drop", "--share", "0.25")
    assert denoised.code == 0, denoised.err
    assert "policy 'drop' acted on" in denoised.out
    assert "without trusted labels" in denoised.out
    assert "P(label wrong) takes for granted that labels were turned at random" in denoised.out
    num_dropped = read_json(run / "denoise" / "report.json")["num_dropped"]
    assert num_dropped > 5

    trained = tamis("train", run, *model, "--max-steps", "2", "--batch-size", "8")
    assert trained.code == 0, trained.err
    report = read_json(run / "train" / "report.json")
    assert report["num_left_out"] == {"weight_0": num_dropped}  # the verdicts of the run were used

    benched = tamis("bench", run)
    assert benched.code == 0, benched.err
    assert "length rule" in benched.out
    assert "on raw labels" not in benched.out
    reported = tamis("report", run)
    assert reported.code == 0, reported.err
    assert reported.out == f"report: {(run / 'report.html').resolve()}\n"
    assert (run / "report.html").is_file()


def test_options_stand_above_the_recipe(tamis, with_data, tmp_path, tiny_bert):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"out: {tmp_path / 'of_recipe'}\nmodel: {{path: {tiny_bert}}}\ndata: {{path: x}}\nseed: 7\n"
        "vote: {num_voters: 3, num_folds: 2, epochs: 1}\n"
    )
    pairs = with_data / "data" / "pairs.parquet"
    assert tamis("vote", pairs, "--recipe", recipe, "--num-folds", "3").code == 0
    record = read_json(tmp_path / "of_recipe" / "vote" / "stage.json")
    found = record["config"]["vote"]
    assert (found["num_voters"], found["num_folds"], found["epochs"]) == (3, 3, 1)
    assert record["config"]["seed"] == 7
    out = tmp_path / "of_option"
    options = ("--recipe", recipe, "--out", out, "--seed", "8", "--estimators", "in_sample")
    assert tamis("vote", pairs, *options).code == 0
    assert read_json(out / "vote" / "stage.json")["config"]["seed"] == 8
    assert read_json(out / "vote" / "report.json")["cross_fitted"] is None
    options = ("--recipe", recipe, "--out", out, "--num-voters", "4")
    more = ("--estimators", "out_of_bag,in_sample", "--estimators", "cross_fitted")
    voted = tamis("vote", pairs, *options, *more)
    assert "vote against the label, out-of-bag" in voted.out
    report = read_json(out / "vote" / "report.json")
    assert (report["headline"], report["out_of_bag"]["num_votes"]) == ("cross_fitted", 2)


def test_a_threshold_of_the_options_replaces_that_of_the_recipe(tamis, run, tmp_path, tiny_bert):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"out: x\nmodel: {{path: {tiny_bert}}}\ndata: {{path: x}}\n"
        "denoise: {policy: flip, share: 0.5}\n"
    )
    out = tmp_path / "out"
    result = tamis("denoise", run, "--recipe", recipe, "--below", "-1e9", "--out", out)
    assert result.code == 0, result.err
    report = read_json(out / "denoise" / "report.json")
    assert (report["num_flipped"], report["settings"]["below"]) == (0, -1e9)
    assert report["settings"]["share"] is None


def test_run_from_the_recipe_that_init_writes(tamis, tmp_path, preferences, tiny_bert):
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    assert tamis("init", recipe).out == f"recipe: {recipe}\n"
    content = yaml.safe_load(recipe.read_text())
    content["model"] = {"path": tiny_bert}
    content["data"] |= {"path": str(preferences), "test_frac": 0.3}
    content["vote"] |= {"num_voters": 2}
    content["train"] |= {"max_steps": 1}
    recipe.write_text(yaml.safe_dump(content))
    first = tamis("run", recipe, "--out", out)
    assert first.code == 0, first.err
    assert first.out.endswith(f"report: {out.resolve()}/report.html\n")
    assert "on raw labels" in first.out
    stages = ["data", "vote", "denoise", "train", "bench", "baseline train", "baseline bench"]
    stages.append("compare")
    done = [line for line in first.err.splitlines() if line.startswith("✓")]
    assert [line[2:18].strip() for line in done] == stages
    assert load_recipe(out / "recipe.yaml").out == str(out)
    second = tamis("run", recipe, "--out", out)
    assert second.err.count("already done") == len(stages)
    assert second.out == first.out

    # a bench on something else makes the comparison stale: it is neither shown nor stumbled over
    bench = tamis("bench", out, "--on", f"pairs={preferences}", "--limit", "9")
    assert bench.code == 0, bench.err
    tables = {title: (columns, rows) for title, columns, rows in run_tables(out)}
    columns, rows = tables["Benchmarks"]
    assert "on raw labels" not in " ".join(columns)
    assert [row[1] for row in rows] == ["9"]
