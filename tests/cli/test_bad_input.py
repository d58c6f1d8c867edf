"""Bad recipes, folders and files of other stages: one line, exit code 2."""

import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.cli import main
from tamis.errors import DataError

RECIPE = "out: {out}\nmodel: {{path: {model}}}\ndata: {{path: {data}}}\n"


@pytest.fixture
def recipe(tmp_path, preferences, tiny_bert):
    """Writes a recipe with some lines more, and returns its path."""

    def write(more=""):
        path = tmp_path / "recipe.yaml"
        values = {"out": tmp_path / "run", "model": tiny_bert, "data": preferences}
        path.write_text(RECIPE.format(**values) + more)
        return path

    return write


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("sede: 1\n", "unknown key 'sede'; did you mean 'seed'?"),
        ("train: {epoch: 1}\n", "unknown key 'train.epoch'; did you mean 'epochs'?"),
        ("vote: {num_voters: 0}\n", "key 'vote.num_voters' is 0: "),
        ("vote: [\n", "expected a YAML file: "),
        ("denoise: {share: 0.1, below: 0}\n", "denoise: give `share` or `below`, not both"),
    ],
)
@pytest.mark.parametrize("command", ["run", "data"])
def test_a_wrong_recipe(bad, recipe, tmp_path, preferences, command, more, said):
    path = recipe(more)
    given = (path,) if command == "run" else (preferences, "--recipe", path)
    assert bad(command, *given).startswith(f"{path}: {said}")
    assert not (tmp_path / "run").exists()


def test_a_missing_recipe(bad, tmp_path):
    path = tmp_path / "none.yaml"
    assert bad("run", path) == f"{path}: no such file; `tamis init` writes a recipe"


def test_a_run_directory_that_cannot_be_written(bad, preferences, recipe, tmp_path):
    file = tmp_path / "file"
    file.write_text("a file")
    said = f"{file}/run/data: cannot write there: Not a directory"
    assert bad("data", preferences, "--out", file / "run") == said
    said = f"cannot write {file}/run/recipe.yaml: Not a directory"
    assert bad("run", recipe(), "--out", file / "run") == said
    assert bad("init", file / "x.yaml").startswith(f"cannot write {file}/x.yaml: ")
    assert file.read_text() == "a file"


def test_a_folder_of_somebody_else_stays_as_it_is(bad, preferences, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("years of work")
    message = bad("data", preferences, "--out", tmp_path)
    assert message.startswith(f"{tmp_path}/data: expected an empty folder or an earlier data stage")
    assert [p.name for p in (tmp_path / "data").iterdir() if p.name != ".lock"] == ["thesis.tex"]


def test_init_replaces_nothing_unasked(bad, tamis, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("mine")
    said = f"{path} exists; choose another name, or --force to replace it"
    assert bad("init", path) == said
    assert path.read_text() == "mine"
    assert tamis("init", path, "--force").code == 0
    assert path.read_text().startswith("# A Tamis recipe.")


def test_a_directory_that_is_no_run(bad, tmp_path, tiny_bert):
    said = f"{tmp_path}: expected a run directory (it has no data/), or give --out"
    assert bad("vote", tmp_path, "--model", tiny_bert) == said
    assert bad("denoise", tmp_path) == said
    assert bad("train", tmp_path, "--model", tiny_bert) == said
    assert bad("bench", tmp_path, "--on", "hhh") == said
    out = tmp_path / "out"
    said = f"{tmp_path}/data/pairs.parquet: no such file or directory"
    assert bad("vote", tmp_path, "--model", tiny_bert, "--out", out) == said
    assert bad("report", tmp_path).startswith(
        f"{tmp_path}: nothing to report; expected the folders"
    )
    none = tmp_path / "none"
    assert bad("report", none) == f"{none}: expected a run directory"
    for command in ("vote", "denoise", "train", "bench", "review"):
        assert bad(command, none) == f"{none}: no such file or directory"
    assert not out.exists()


def test_missing_inputs_of_a_stage(bad, with_data, tmp_path, tiny_bert):
    out = ("--out", tmp_path / "run")
    none = tmp_path / "none.parquet"
    there = with_data / "data" / "pairs.parquet"
    for command in (("vote", none, "--model", tiny_bert), ("train", none, "--model", tiny_bert)):
        assert bad(*command, *out) == f"{none}: no such file or directory"
    assert bad("denoise", none, "--pairs", there, *out) == f"{none}: no such file or directory"
    model = ("--model", tiny_bert)
    assert bad("train", there, "--verdicts", none, *model, *out) == (
        f"{none}: no such file or directory"
    )
    assert bad("bench", none, "--on", "hhh", *out) == f"{none}: no such file or directory"
    strength = with_data / "vote" / "strength.parquet"
    assert bad("denoise", with_data) == f"{strength}: no such file or directory"
    assert not (tmp_path / "run").exists()


def test_no_model_and_no_run_directory(bad, with_data, preferences):
    assert bad("vote", with_data) == "no model: give --model or --recipe"
    assert bad("data", preferences) == "no run directory: give --out"


def test_files_of_another_kind(bad, with_data, preferences, tmp_path, tiny_bert):
    out, model = ("--out", tmp_path / "run"), ("--model", tiny_bert)
    there = with_data / "data" / "pairs.parquet"
    table = tmp_path / "table.parquet"
    pq.write_table(pa.table({"id": ["1"], "text": ["x"]}), table)
    is_no_parquet = f"{preferences}: expected a Parquet file: "
    lacks = "is missing; the file has ['id', 'text']"
    assert bad("vote", preferences, *model, *out).startswith(is_no_parquet)
    assert bad("vote", table, *model, *out) == f"{table}: column 'prompt' {lacks}"
    verdicts = ("train", there, *model, *out, "--verdicts")
    assert bad(*verdicts, preferences).startswith(is_no_parquet)
    assert bad(*verdicts, table) == f"{table}: column 'target' {lacks}"
    assert bad("denoise", table, "--pairs", there, *out) == f"{table}: column 'mean' {lacks}"
    left = {p.name for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert left <= {".lock", "key"}


def test_options_that_cannot_be(bad, with_data, tmp_path, tiny_bert):
    model = ("--model", tiny_bert)
    vote = ("vote", with_data, "--out", tmp_path, *model)
    assert bad(*vote, "--kind", "choir").startswith("options: key 'kind' is 'choir': ")
    assert bad(*vote, "--num-folds", "99").startswith("num_folds is 99 with ")
    assert bad(*vote, "--estimators", "both").startswith("options: key 'estimators.0' is 'both': ")
    said = "options: settings: num_voters is 3; out_of_bag votes need an even number, "
    assert bad(*vote, "--estimators", "out_of_bag", "--num-voters", "3").startswith(said)
    train = ("train", with_data, "--out", tmp_path, *model)
    assert bad(*train, "--loss", "hinge9").startswith("unknown loss 'hinge9'; expected one of ")
    assert bad(*train, "--epochs", "0").startswith("options: key 'epochs' is 0.0: ")
    denoise = ("denoise", with_data, "--out", tmp_path)
    said = "options: settings: give `share` or `below`, not both"
    assert bad(*denoise, "--share", "0.1", "--below", "0") == said


@pytest.fixture
def run_with_policy(with_data, tmp_path, monkeypatch):
    """A run directory with a vote, and a policy of the user's that does what it is told."""
    run = tmp_path / "run"
    shutil.copytree(with_data, run)
    pairs = pq.read_table(run / "data" / "pairs.parquet")
    training = pairs.filter(pa.compute.equal(pairs["split"], "train"))
    n = training.num_rows
    columns = {name: pa.array([1.0] * n) for name in ("mean", "std", "agreement")}
    columns |= {f"in_sample_{name}": pa.nulls(n, pa.float64()) for name in ("mean", "std")}
    columns |= {name: pa.array([[1.0]] * n) for name in ("votes", "in_sample_votes")}
    columns["out_of_bag_votes"] = columns["votes"]
    (run / "vote").mkdir()
    pq.write_table(pa.table({"id": training["id"], **columns}), run / "vote" / "strength.parquet")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "odd_policies").mkdir()

    def policy(name, raises):
        path = tmp_path / "odd_policies" / f"{name}.py"
        path.write_text(f"def decide(strength, *, config):\n    raise {raises}\n")
        return ("denoise", run, "--policy", f"odd_policies.{name}")

    yield policy
    for name in [name for name in sys.modules if name.split(".")[0] == "odd_policies"]:
        del sys.modules[name]


def test_a_defect_is_told_from_bad_input(tamis, run_with_policy):
    result = tamis(*run_with_policy("broken", "ZeroDivisionError('by zero')"))
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "error: internal error: ZeroDivisionError: by zero; --debug shows where\n"
    )


def test_an_interrupt_ends_with_130(tamis, run_with_policy):
    result = tamis(*run_with_policy("stopped", "KeyboardInterrupt"))
    assert (result.code, result.out) == (130, "")
    assert result.err == "error: interrupted; the same command goes on where it stopped\n"


def test_an_error_of_many_lines_is_one_line_without_markup(bad, run_with_policy):
    command = run_with_policy("long", "__import__('tamis.errors').errors.DataError('a[b]\\nc:x:')")
    assert bad(*command) == "a[b] c:x:"


def test_debug_shows_where(with_data, run_with_policy):
    with pytest.raises(ZeroDivisionError):
        main([str(a) for a in ("--debug", *run_with_policy("broken", "ZeroDivisionError"))])
    with pytest.raises(DataError, match="no such file"):
        main(["vote", "none.parquet", "--model", "x", "--out", "y", "--debug"])


def python_m_tamis(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tamis", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "40"},
    )


def test_in_a_process_of_its_own(tmp_path):
    path = tmp_path / "a_rather_long_name_of_a_file_that_is_longer_than_the_terminal_is_wide.yaml"
    path.write_text("out: x\nmodle: {}\n")
    wrong = python_m_tamis("run", path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        f"error: {path}: unknown key 'modle'; did you mean 'model'? (and 2 more)\n"
    )
    late = python_m_tamis("denoise", tmp_path / "none.parquet", "--out", tmp_path)  # loads PEFT
    assert late.stderr == f"error: {tmp_path / 'none.parquet'}: no such file or directory\n"
    traced = python_m_tamis("init", path, "--debug")
    assert traced.returncode == 1
    assert "Traceback (most recent call last):" in traced.stderr
    assert f"ConfigError: {path} exists" in traced.stderr
    done = python_m_tamis("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tamis ")
    unknown = python_m_tamis("vote", "--nmu-voters", "3")
    assert unknown.returncode == 2
    assert "Traceback" not in unknown.stderr
