"""What a bench's and a comparison's ``report.json`` hold: a change of it is a change of `FORM`.

Whoever reads these files knows by their ``form`` what is in them, and a stage whose report has
another form is made anew. So: change `FORM` with these lists.
"""

import pytest
from contests import noisy, opened, write_benchmark

from tamis.evaluate import FORM, BenchmarkConfig, GapScores
from tamis.recipes.comparing import comparison_stage
from tamis.recipes.scoring import Scoring
from tamis.recipes.stages import bench_stage
from tamis.runs import Stage, read_json, write_json

BENCH = "benchmarks form scorers"
BENCHMARK = (
    "accuracy baselines beats_longest best_of ceiling clusters commit dropped figures fingerprint "
    "length length_rule name num_dropped num_groups num_items num_unread probability scores "
    "scores_why source subsets ties_frac title version warnings"
)
FIGURE = "baselines estimate name official tie title why"
COMPARISON = "bench benchmarks comparisons contestants form overall reference scorers"
STANDING = "accuracy num_items official ranks rules"
COMPARED = f"{STANDING} agreement clusters disagreements length_bias name num_groups subsets"
DIFFERENCE = "benchmark difference first kind mcnemar measure p_holm p_value second verdict"
AGREEMENT = "kendall kendall_intervals same same_intervals"
LENGTH = "balanced longer_right longer_wrong matched spearman why"


def keys(text):
    return sorted(text.split())


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    files = [write_benchmark(folder / f"{name}.jsonl", text=name, num_prompts=12) for name in "ab"]
    return [BenchmarkConfig(name="hhh", path=str(file)) for file in files]


def test_a_bench_has_the_keys_of_its_form(benchmarks, tmp_path):
    scoring = Scoring(["longest"])
    made = bench_stage(tmp_path, scoring=scoring, benchmarks=benchmarks[:1], seed=0)
    report = read_json(made.directory / "report.json")
    assert FORM == report["form"] == 2
    assert sorted(report) == keys(BENCH)
    (one,) = report["benchmarks"]
    assert sorted(one) == keys(BENCHMARK)
    assert {tuple(sorted(row)) for row in one["figures"]} == {tuple(keys(FIGURE))}


def test_a_comparison_has_the_keys_of_its_form(benchmarks, tmp_path):
    scorers = [noisy(name, skill=1.0) for name in ("one", "two")]
    made = comparison_stage(tmp_path, scorers=scorers, benchmarks=benchmarks)
    report = read_json(made.directory / "report.json")
    assert report["form"] == FORM
    assert sorted(report) == keys(COMPARISON)
    assert sorted(report["overall"]) == keys(STANDING)
    assert {tuple(sorted(item)) for item in report["benchmarks"]} == {tuple(keys(COMPARED))}
    assert {tuple(sorted(row)) for row in report["comparisons"]} == {tuple(keys(DIFFERENCE))}
    item = report["benchmarks"][0]
    assert sorted(item["agreement"]) == keys(AGREEMENT)
    assert sorted(item["length_bias"]["one"]) == keys(LENGTH)
    assert sorted(report["bench"]["one"][0]) == keys(BENCHMARK)


@pytest.mark.parametrize("which", ["bench", "comparison"])
def test_a_report_of_another_form_is_made_anew(benchmarks, tmp_path, which):
    def make():
        if which == "bench":
            scoring = Scoring(["longest"])
            return bench_stage(tmp_path, scoring=scoring, benchmarks=benchmarks[:1], seed=0)
        scorers = [noisy("one", skill=1.0)]
        return comparison_stage(tmp_path, scorers=scorers, benchmarks=benchmarks[:1])

    folder = make().directory
    assert not make().fresh
    record = read_json(folder / "stage.json")
    before = {key: value for key, value in record["config"].items() if key != "form"}
    old = Stage(folder, before, record["inputs"])
    assert old.key != record["key"]
    write_json(folder / "stage.json", {**record, "key": old.key, "config": before})
    assert make().fresh


def test_a_comparison_says_where_scores_are_those_of_pairs(benchmarks, tmp_path):
    from dataclasses import replace

    def score(pairs):
        return GapScores(*(getattr(noisy("j", skill=1.0).score(pairs), s) for s in SIDES))

    scorers = [replace(opened("judge", score), of_pairs=True), noisy("one", skill=1.0)]
    made = comparison_stage(tmp_path, scorers=scorers, benchmarks=benchmarks[:1])
    report = read_json(made.directory / "report.json")
    length = report["benchmarks"][0]["length_bias"]
    assert length["judge"]["spearman"] is None
    assert "compares pairs" in length["judge"]["why"]
    assert length["one"]["spearman"] is not None
    judged, other = (report["bench"][name][0] for name in ("judge", "one"))
    assert judged["scores"] is None
    assert "compares pairs" in judged["best_of"]["why"]
    assert other["best_of"]["points"]


SIDES = ("chosen_N", "rejected_N")
