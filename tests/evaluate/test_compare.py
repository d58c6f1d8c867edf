"""Several scorers on the same items."""

import numpy as np
import pyarrow as pa
import pytest
from bench_items import make_items

from tamis.errors import ConfigError, DataError
from tamis.evaluate import compare_items, compare_scorers
from tamis.metrics import cluster_bootstrap, holm, mcnemar, paired_difference
from tamis.runs import read_json, write_json

RNG = np.random.default_rng(0)
NUM = 300


def scored(hit_frac, *, name="b", num=NUM, seed=0, **columns):
    """Items of which so many are right."""
    rng = np.random.default_rng(seed)
    gap_N = rng.exponential(size=num) * np.where(rng.random(num) < hit_frac, 1.0, -1.0)
    items = make_items(score_chosen=gap_N, **columns)
    return items.set_column(0, items.schema.field("benchmark"), pa.array([name] * num))


def lengths(num=NUM):
    return {
        "length_chosen": np.random.default_rng(9).integers(50, 300, num),
        "length_rejected": np.random.default_rng(8).integers(50, 250, num),
    }


@pytest.fixture(scope="module")
def three():
    """A good and two equal scorers on two benchmarks; the second one is small."""
    return {
        name: pa.concat_tables(
            [
                scored(hit, seed=seed, **lengths()),
                scored(hit, name="small", num=40, seed=seed + 10, subset=["x", "y"] * 20),
            ]
        )
        for name, hit, seed in (("good", 0.9, 1), ("poor", 0.6, 2), ("alike", 0.6, 3))
    }


@pytest.fixture(scope="module")
def report(three):
    return compare_scorers(three, seed=0)


def test_accuracies_are_those_of_a_bench(three, report):
    first, small = report["benchmarks"]
    assert [item["name"] for item in report["benchmarks"]] == ["b", "small"]
    for name, items in three.items():
        credit_N = items["credit"].to_numpy()[:NUM]
        expected = cluster_bootstrap(credit_N, clusters=np.arange(NUM), seed=0)
        found = first["accuracy"][name]
        assert found["value"] == expected.value
        # groups are numbered otherwise, so draws differ; the interval must not
        assert found["low"] == pytest.approx(expected.low, abs=0.02)
    assert first["rules"]["longest"]["value"] == pytest.approx(
        1 - first["rules"]["shortest"]["value"]
    )
    assert first["rules"]["random"] == 0.5
    assert [part["name"] for part in small["subsets"]] == ["x", "y"]
    assert small["subsets"][0]["num_items"] == 20
    assert first["subsets"] == []


def test_a_subset_of_few_prompts_is_resampled_like_the_whole():
    """Its texts recur; a bench, too, draws prompts, of which the benchmark has enough."""
    columns = {
        "subset": ["many"] * 60 + ["few"] * 30,
        "group": [f"p{n}" for n in range(60)] + [f"q{n // 10}" for n in range(30)],
        "text_rejected": list(range(1, 121, 2)) + [1000 + n // 10 for n in range(30)],
        "text_chosen": list(range(0, 120, 2)) + [2000 + n // 2 for n in range(30)],
    }
    items = scored(0.7, num=90, **columns)
    few = compare_scorers({"one": items}, seed=0)["benchmarks"][0]["subsets"][0]
    assert few["name"] == "few"
    part = items.slice(60)
    clusters = np.arange(30) // 10
    expected = cluster_bootstrap(part["credit"].to_numpy(), clusters=clusters, seed=0)
    assert few["accuracy"]["one"]["low"] == expected.low
    assert few["accuracy"]["one"]["high"] == expected.high


def test_the_mean_of_all_counts_benchmarks_alike(report):
    for name in report["scorers"]:
        each = [item["accuracy"][name]["value"] for item in report["benchmarks"]]
        assert report["overall"]["accuracy"][name]["value"] == pytest.approx(np.mean(each))
    assert report["overall"]["num_items"] == NUM + 40


def test_differences_are_paired_and_corrected_over_the_whole_report(three, report):
    rows = report["comparisons"]
    # three pairs and three rules of length on the mean and on each benchmark
    assert len(rows) == 3 * (3 + 3)
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p_value"] for row in rows]))
    (row,) = [r for r in rows if (r["benchmark"], r["first"], r["second"]) == ("b", "good", "poor")]
    good_N, poor_N = (three[name]["credit"].to_numpy()[:NUM] for name in ("good", "poor"))
    expected = paired_difference(good_N, poor_N, clusters=np.arange(NUM), seed=0)
    assert row["difference"]["value"] == pytest.approx(expected.value)
    assert row["difference"]["low"] == pytest.approx(expected.low, abs=0.02)
    assert row["mcnemar"]["p_value"] == mcnemar(good_N, poor_N).p_value
    assert row["mcnemar"]["p_holm"] >= row["mcnemar"]["p_value"]
    assert row["verdict"] == "better"
    (even,) = [
        r for r in rows if (r["benchmark"], r["first"], r["second"]) == ("b", "poor", "alike")
    ]
    assert even["verdict"] == "even"
    overall = [row for row in rows if row["benchmark"] == "mean of all"]
    assert all(row["mcnemar"] is None for row in overall)


def test_ranks_have_intervals(report):
    ranks = report["benchmarks"][0]["ranks"]
    assert ranks["good"] == {"value": 1.0, "low": 1.0, "high": 1.0, "num_items": NUM}
    assert (ranks["poor"]["low"], ranks["poor"]["high"]) == (2.0, 3.0)


def test_a_reference_is_compared_with_all_others(three):
    found = compare_scorers(three, reference="poor", seed=0)
    pairs = {(r["first"], r["second"]) for r in found["comparisons"] if r["kind"] == "scorers"}
    assert pairs == {("good", "poor"), ("alike", "poor")}
    rules = [row for row in found["comparisons"] if row["kind"] == "length"]
    assert len(rows_of(rules, "good")) == 3


def rows_of(rows, first):
    return [row for row in rows if row["first"] == first]


def test_true_nulls_are_called_different_seldom():
    found = 0
    for trial in range(20):
        tables = {str(n): scored(0.6, num=120, seed=1000 + 10 * trial + n) for n in range(3)}
        rows = compare_scorers(tables, seed=trial)["comparisons"]
        found += any(row["verdict"] != "even" for row in rows if row["kind"] == "scorers")
    assert found <= 3


def test_a_scorer_that_is_a_rule_of_length_shows_it():
    by_length = lengths()
    items = {
        "rule": make_items(
            score_chosen=by_length["length_chosen"].astype(float),
            score_rejected=by_length["length_rejected"].astype(float),
            **by_length,
        ),
        "other": scored(0.7, **by_length),
    }
    found = compare_scorers(items, seed=0)
    bias = found["benchmarks"][0]["length_bias"]["rule"]
    assert bias["spearman"]["value"] == pytest.approx(1.0)
    assert (bias["longer_right"]["value"], bias["longer_wrong"]["value"]) == (1.0, 0.0)
    assert bias["balanced"]["accuracy"]["value"] == pytest.approx(0.5)
    other = found["benchmarks"][0]["length_bias"]["other"]
    assert abs(other["spearman"]["value"]) < 0.3
    # it is no rival of itself, and the other one is compared with it already
    assert [row["kind"] for row in found["comparisons"]] == ["scorers"]
    some = {
        "rule": items["rule"],
        "other": items["other"],
        "third": scored(0.6, seed=5, **by_length),
    }
    rows = compare_scorers(some, reference="other", seed=0)["comparisons"]
    assert [row["first"] for row in rows if row["kind"] == "length"] == ["third"]
    assert found["overall"] is None


def test_a_constant_scorer_has_no_correlations():
    flat = make_items(score_chosen=np.zeros(NUM), **lengths())
    tables = {"flat": flat, "some": scored(0.5, **lengths())}
    found = compare_scorers(tables, seed=0)["benchmarks"][0]
    assert found["length_bias"]["flat"]["spearman"] is None
    assert found["agreement"]["kendall"][0] == [None, None]
    assert found["agreement"]["kendall"][1][1] == pytest.approx(1.0)
    assert found["agreement"]["same"][0] == [1.0, pytest.approx(0.5)]


def test_agreement_of_a_scorer_with_itself_and_with_its_inverse():
    one = scored(0.7)
    inverse = make_items(score_chosen=-one["score_chosen"].to_numpy())
    found = compare_scorers({"one": one, "inverse": inverse}, seed=0)["benchmarks"][0]["agreement"]
    assert found["same"] == [[1.0, 0.0], [0.0, 1.0]]
    high = 1 - 0.025 ** (1 / NUM)
    assert found["same_intervals"][0][1]["high"] == pytest.approx(high)
    assert np.array(found["kendall"]) == pytest.approx(np.array([[1, -1], [-1, 1]]))


def test_the_share_of_the_same_choice_has_its_interval():
    tables = {"one": scored(0.7), "other": scored(0.7, seed=4)}
    found = compare_scorers(tables, seed=0)["benchmarks"][0]["agreement"]
    same_N = 1 - np.abs(np.subtract(*(items["credit"].to_numpy() for items in tables.values())))
    expected = cluster_bootstrap(same_N, clusters=np.arange(NUM), seed=0)
    interval = found["same_intervals"][1][0]
    assert interval == found["same_intervals"][0][1]
    assert interval["value"] == found["same"][0][1] == pytest.approx(expected.value)
    # groups are numbered otherwise, so draws differ; the interval must not
    assert interval["low"] == pytest.approx(expected.low, abs=0.02)
    assert interval["high"] == pytest.approx(expected.high, abs=0.02)


def test_kendalls_tau_has_its_interval():
    rng = np.random.default_rng(2)
    one_N = rng.normal(size=NUM)
    other_N = 0.6 * one_N + 0.8 * rng.normal(size=NUM)
    tables = {
        "one": make_items(score_chosen=one_N),
        "other": make_items(score_chosen=other_N),
        "flat": make_items(score_chosen=np.zeros(NUM)),
    }
    found = compare_scorers(tables, seed=0)["benchmarks"][0]["agreement"]
    interval = found["kendall_intervals"][0][1]
    assert interval == found["kendall_intervals"][1][0]
    assert interval["value"] == pytest.approx(found["kendall"][0][1])
    assert interval["low"] < 2 / np.pi * np.arcsin(0.6) < interval["high"]
    # the error of tau of 300 such items is 0.03
    assert 0.09 < interval["high"] - interval["low"] < 0.15
    assert [row[place] for place, row in enumerate(found["kendall_intervals"])] == [None] * 3
    assert found["kendall_intervals"][2] == [None] * 3


def test_kendalls_tau_of_pairs_that_share_texts_resamples_texts():
    texts = [(a, b) for a in range(12) for b in range(a)]
    rng = np.random.default_rng(0)
    columns = {
        "group": ["one prompt"] * len(texts),
        "text_chosen": [a for a, _ in texts],
        "text_rejected": [b for _, b in texts],
    }
    one_N = rng.normal(size=len(texts))
    tables = {
        name: make_items(score_chosen=score_N, **columns)
        for name, score_N in (("one", one_N), ("other", one_N + rng.normal(size=len(texts))))
    }
    found = compare_scorers(tables, seed=0)["benchmarks"][0]
    assert found["clusters"] == "texts"
    interval = found["agreement"]["kendall_intervals"][1][0]
    assert -1.0 < interval["low"] < interval["value"] < interval["high"] < 1.0


def test_disagreements_are_the_widest_standardised_gaps_one_of_a_group():
    a_N, b_N = np.full(6, 1.0), np.array([100.0, 100, -400, -300, 100, 100])
    groups = ["p", "q", "r", "r", "s", "t"]
    tables = {
        "a": make_items(score_chosen=a_N, group=groups),
        "b": make_items(score_chosen=b_N, group=groups),
    }
    (row,) = compare_scorers(tables, seed=0)["benchmarks"][0]["disagreements"]
    scale = np.sqrt(np.square(b_N).mean())
    assert row["id"] == "i2"
    assert row["gaps"] == {"a": 1.0, "b": pytest.approx(-400 / scale)}
    assert row["spread"] == pytest.approx(1 + 400 / scale)


def test_a_difference_without_width_is_not_certain():
    clear = {"a": make_items(score_chosen=np.ones(4)), "b": make_items(score_chosen=-np.ones(4))}
    rows = compare_scorers(clear, seed=0)["comparisons"]
    assert rows[0]["difference"]["low"] == rows[0]["difference"]["high"] == 1.0
    # four pairs of four: 2 / 2^4
    assert rows[0]["p_value"] == pytest.approx(0.125)
    assert rows[0]["verdict"] == "even"
    accuracy = compare_scorers(clear, seed=0)["benchmarks"][0]["accuracy"]
    assert accuracy["a"]["low"] == pytest.approx(1 - accuracy["b"]["high"])
    assert accuracy["a"]["low"] == pytest.approx(0.025 ** (1 / 4))


def test_the_report_is_json_and_depends_on_the_seed_alone(three, report, tmp_path):
    write_json(tmp_path / "report.json", report)
    assert read_json(tmp_path / "report.json") == report
    assert compare_scorers(three, seed=0) == report


def test_what_cannot_be_compared_is_refused(three):
    with pytest.raises(ConfigError, match="no scorer"):
        compare_scorers({}, seed=0)
    with pytest.raises(ConfigError, match="'x' is none of good, poor, alike"):
        compare_scorers(three, reference="x", seed=0)
    with pytest.raises(DataError, match="short and good have scores of different items"):
        compare_scorers({"good": three["good"], "short": three["poor"].slice(1)}, seed=0)


def test_two_scorers_are_compared_as_before():
    gold, inverted = make_items(score_chosen=np.ones(6)), make_items(score_chosen=-np.ones(6))
    (row,) = compare_items(gold, inverted, seed=0)["benchmarks"]
    assert row["accuracy"]["value"] == row["difference"]["value"] == 1.0
    assert row["baseline"]["value"] == 0.0
    with pytest.raises(DataError, match="different items"):
        compare_items(gold, inverted.slice(1), seed=0)
