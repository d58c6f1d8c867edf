import shutil

import pytest

from tamis.data import read_pairs
from tamis.denoise.tables import read_verdicts
from tamis.errors import ConfigError, DataError, TamisError
from tamis.evaluate.config import BenchmarkConfig
from tamis.recipes.files import load_recipe
from tamis.recipes.pipeline import run_recipe
from tamis.recipes.scoring import Scoring
from tamis.recipes.stages import bench_stage, training_pairs
from tamis.recipes.voting import vote_stage
from tamis.runs import Watcher, read_json
from tamis.train.config import AdapterConfig, TrainConfig
from tamis.vote.config import VoteConfig
from tamis.vote.table import read_strength

STAGES = [
    "data",
    "vote",
    "denoise",
    "train",
    "bench",
    "baseline train",
    "baseline bench",
    "compare",
]
TIMED = {"timing.json", "stage.json"}  # anywhere in a run
OF_THIS_RUN = {"recipe.yaml", "report.html", "report.json"}  # name the run directory and times


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_recipe):
    """A whole run, made once, and what its watcher was told."""
    out = tmp_path_factory.mktemp("finished") / "run"
    begun, fresh = [], {}
    watcher = Watcher(
        begun.append, lambda name, result: fresh.update({name: result.fresh}), begun.append
    )
    recipe = make_recipe(out)
    page = run_recipe(recipe, watcher=watcher)
    return recipe, out, page, begun, fresh


def files(run):
    return {p.relative_to(run).as_posix(): p for p in sorted(run.rglob("*")) if p.is_file()}


def test_every_stage_ran_once_in_order(finished):
    recipe, out, page, begun, fresh = finished
    assert begun == STAGES
    assert fresh == dict.fromkeys(STAGES, True)
    assert load_recipe(out / "recipe.yaml") == recipe
    assert page == out / "report.html"
    assert not [name for name in files(out) if "work/" in name or name.endswith(".tmp")]


def test_what_each_stage_wrote_fits_the_others(finished):
    _, out, *_ = finished
    pairs = training_pairs(out / "data" / "pairs.parquet")
    ids = [pair.id for pair in pairs]
    strength = read_strength(out / "vote" / "strength.parquet")
    assert strength["id"].to_pylist() == ids
    verdicts = read_verdicts(out / "denoise" / "verdicts.parquet")
    assert [verdict.id for verdict in verdicts] == ids
    assert sum(verdict.target == 0 for verdict in verdicts) == len(ids) // 10
    assert (out / "train" / "checkpoint" / "model.safetensors").is_file()
    test = read_pairs(out / "data" / "test_pairs.parquet")
    for bench in (out / "bench", out / "baseline" / "bench"):
        report = read_json(bench / "report.json")
        assert [b["name"] for b in report["benchmarks"]] == ["pairs"]
        assert report["benchmarks"][0]["num_items"] == len(test) > 0


def test_the_baseline_differs_in_its_labels_and_is_compared(finished):
    _, out, *_ = finished
    records = [read_json(p / "train" / "stage.json") for p in (out, out / "baseline")]
    assert records[0]["config"] == records[1]["config"]
    assert records[0]["inputs"].keys() - records[1]["inputs"].keys() == {"verdicts"}
    weights = [p / "train" / "checkpoint" / "model.safetensors" for p in (out, out / "baseline")]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    (row,) = read_json(out / "compare" / "report.json")["benchmarks"]
    accuracy = [
        read_json(p / "bench" / "report.json")["benchmarks"][0]["accuracy"]["value"]
        for p in (out, out / "baseline")
    ]
    assert [row["accuracy"]["value"], row["baseline"]["value"]] == accuracy
    assert row["difference"]["value"] == pytest.approx(accuracy[0] - accuracy[1])


def test_the_report_is_one_page_about_this_run(finished):
    _, out, page, *_ = finished
    text = page.read_text(encoding="utf-8")
    assert "<html" in text
    assert "</html>" in text
    assert "<script" not in text
    num_pairs = len(training_pairs(out / "data" / "pairs.parquet"))
    assert f"{num_pairs}" in text
    sections = read_json(out / "report.json")["sections"].keys()
    assert sections >= {"data", "strength", "denoise", "training", "benchmarks"}


def test_a_second_run_does_nothing(finished, log):
    recipe, out, page, *_ = finished
    before = {name: (p.stat().st_mtime_ns, p.read_bytes()) for name, p in files(out).items()}
    assert run_recipe(recipe, watcher=log.watcher()) == page
    assert log.fresh == dict.fromkeys(STAGES, False)
    after = {name: (p.stat().st_mtime_ns, p.read_bytes()) for name, p in files(out).items()}
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    rewritten = {name for name in after if after[name] != before[name]}
    assert rewritten <= OF_THIS_RUN


def test_two_runs_of_one_seed_are_equal(finished, make_recipe, tmp_path, log):
    _, out, *_ = finished
    again = tmp_path / "again"
    run_recipe(make_recipe(again), watcher=log.watcher())
    first, second = files(out), files(again)
    assert first.keys() == second.keys()
    differ = {name for name in first if first[name].read_bytes() != second[name].read_bytes()}
    assert {name for name in differ if name.rpartition("/")[2] not in TIMED} <= {
        *OF_THIS_RUN,
        "bench/report.json",
        "baseline/bench/report.json",
    }
    for name in ("bench/report.json", "baseline/bench/report.json"):
        one, two = (read_json(made[name])["benchmarks"] for made in (first, second))
        sources = {row.pop("source") for row in (*one, *two)}
        assert sources == {str(run / "data/test_pairs.parquet") for run in (out, again)}
        assert one == two
    for name in first:
        if name.endswith("stage.json"):
            one, two = (read_json(made[name]) for made in (first, second))
            for record in (one, two):
                del record["elapsed_s"]
                for output in ("timing.json", "report.json"):
                    record["outputs"].pop(output, None)
            assert one == two, name


def test_only_what_depends_on_a_change_runs_again(finished, make_recipe, log, tmp_path):
    _, out, *_ = finished
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    recipe = make_recipe(copy)
    changed = recipe.model_copy(
        update={"denoise": recipe.denoise.model_copy(update={"policy": "drop"})}
    )
    run_recipe(changed, watcher=log.watcher())
    assert log.fresh == {
        "data": False,
        "vote": False,
        "denoise": True,
        "train": True,
        "bench": True,
        "baseline train": False,
        "baseline bench": False,
        "compare": True,
    }


def test_a_missing_benchmark_file_is_named(finished, tmp_path):
    _, out, *_ = finished
    missing = BenchmarkConfig(name="pairs", path=str(tmp_path / "none.jsonl"))
    checkpoint = out / "train" / "checkpoint"
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        bench_stage(tmp_path, scoring=Scoring([str(checkpoint)]), benchmarks=[missing], seed=0)


def test_without_baseline_and_held_out_pairs_there_is_no_bench(make_recipe, tmp_path, log):
    recipe = make_recipe(tmp_path / "run")
    data = recipe.data.model_copy(update={"test_frac": 0.0})
    short = recipe.model_copy(update={"data": data, "baseline": False})
    run_recipe(short, watcher=log.watcher())
    assert log.begun == ["data", "vote", "denoise", "train"]


def test_a_bench_that_is_asked_for_no_more_is_not_compared(finished, make_recipe, log, tmp_path):
    _, out, *_ = finished
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    recipe = make_recipe(copy)
    data = recipe.data.model_copy(update={"test_frac": 0.0})
    run_recipe(recipe.model_copy(update={"data": data}), watcher=log.watcher())
    assert (copy / "bench" / "items.parquet").is_file()  # of the run before
    assert log.begun == ["data", "vote", "denoise", "train", "baseline train"]


@pytest.mark.parametrize(
    ("part", "changes", "problem"),
    [
        ("denoise", {"policy": "flop"}, "unknown denoise 'flop'; expected one of auto, "),
        ("denoise", {"trusted": "none.parquet"}, "trusted is none.parquet: expected gold, votes"),
        ("bench", {"name": "flop"}, "unknown benchmark 'flop'; expected one of "),
        ("bench", {"name": "hhh"}, "'hhh': it has no data set on the hub"),
        ("bench", {"name": "hhh", "path": "none.jsonl"}, "none.jsonl: no such file or directory"),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused_first(
    make_recipe, tmp_path, log, part, changes, problem
):
    recipe = make_recipe(tmp_path / "run")
    if part == "bench":
        wrong = recipe.model_copy(update={"bench": (BenchmarkConfig(**changes),)})
    else:
        wrong = recipe.model_copy(update={part: recipe.denoise.model_copy(update=changes)})
    with pytest.raises(TamisError) as caught:
        run_recipe(wrong, watcher=log.watcher())
    assert problem in str(caught.value)
    assert log.begun == []
    assert not (tmp_path / "run").exists()


def test_a_model_that_the_settings_do_not_fit_is_refused_first(make_recipe, tmp_path, log):
    recipe = make_recipe(tmp_path / "run")
    adapters = AdapterConfig(rank=2, top_layers=9)
    train = recipe.train.model_copy(update={"lora": adapters})
    with pytest.raises(ConfigError, match="top_layers is 9"):
        run_recipe(recipe.model_copy(update={"train": train}), watcher=log.watcher())
    elsewhere = recipe.model.model_copy(update={"path": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="none"):
        run_recipe(recipe.model_copy(update={"model": elsewhere}), watcher=log.watcher())
    assert log.begun == []
    assert not (tmp_path / "run").exists()


def test_a_benchmark_that_is_there_twice_is_refused_first(make_recipe, tmp_path, log, preferences):
    twice = BenchmarkConfig(name="pairs", path=str(preferences))
    recipe = make_recipe(tmp_path / "run").model_copy(update={"bench": (twice, twice)})
    with pytest.raises(ConfigError, match="is there twice; expected files with different names"):
        run_recipe(recipe, watcher=log.watcher())
    assert log.begun == []


def test_full_voters_vote_and_say_how_long_it_may_take(finished, make_recipe, tmp_path):
    _, out, *_ = finished
    pairs = out / "data" / "pairs.parquet"
    settings = VoteConfig(kind="full", num_voters=1, num_folds=2)
    told = []
    options = {
        "pairs": pairs,
        "model": make_recipe(out).model,
        "config": settings,
        "train": TrainConfig(max_steps=2, batch_size=8, learning_rate=1e-3),
        "seed": 0,
        "notice": told.append,
    }
    assert vote_stage(tmp_path, **options).fresh
    assert len(told) == 1
    num_pairs = len(training_pairs(pairs))
    assert f"full vote on {num_pairs} pairs: about " in told[0]
    table = read_strength(tmp_path / "vote" / "strength.parquet")
    assert table.num_rows == num_pairs
    assert {len(votes) for votes in table["votes"].to_pylist()} == {1}
    assert {p.name for p in (tmp_path / "vote").iterdir()} == {
        ".lock",
        "members",
        "report.json",
        "stage.json",
        "strength.parquet",
    }
