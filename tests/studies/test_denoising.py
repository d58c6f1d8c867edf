import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from tamis.recipes.files import load_recipe, save_recipe
from tamis.report.records import StudyReport
from tamis.studies.demo import demo_recipe
from tamis.studies.denoising import POLICIES, Material, StudyConfig, findings, run_study
from tamis.vote.config import VoteConfig

VOTE = VoteConfig(num_voters=2, num_folds=2, epochs=3, batch_size=64)
CONFIG = StudyConfig(seeds=(0, 1), flips=(0.0, 0.3), vote=VOTE)
ARMS = ["raw", "gold", *POLICIES]


def few_pairs(gold):
    """Some hundred pairs of three training and two test debates."""
    groups = {"train": {}, "test": {}}
    for pair in gold:
        groups[pair.split].setdefault(pair.group, []).append(pair)
    train = [p for group in sorted(groups["train"])[:3] for p in groups["train"][group][:130]]
    test = [p for group in sorted(groups["test"])[:2] for p in groups["test"][group][:100]]
    return train, test


@pytest.fixture(scope="module")
def material(gold):
    """Features that know the truth, with noise; a head needs right labels to find it."""
    train, test = few_pairs(gold)
    rng = np.random.default_rng(0)
    truth_D = np.array([1.0, -2.0, 0.5, 0.0, 0.0, 1.5])
    diff_ND = rng.normal(size=(len(train) + len(test), 6)) * 1.5
    diff_ND += 1.2 * truth_D / np.linalg.norm(truth_D)
    train_N = np.arange(len(diff_ND)) < len(train)
    return Material([*train, *test], diff_ND.astype(np.float32), train_N)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def report(material, told):
    return run_study(material, config=CONFIG, advance=told.append)


def test_the_report_holds_every_figure(report, told):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert sum(told) == 4  # seeds times noises
    assert report["seeds"] == [0, 1]
    assert (report["num_train_pairs"], report["num_test_pairs"]) == (390, 200)
    noises = list(report["noise_frac"])
    assert noises == ["real votes", "real votes + 30% flips"]
    assert [(row["noise"], row["labels"]) for row in report["arms"]] == [
        (noise, arm) for noise in noises for arm in ARMS
    ]
    assert [(row["noise"], row["contrast"]) for row in report["differences"]] == [
        (noise, f"{arm} - raw") for noise in noises for arm in ARMS if arm != "raw"
    ]
    assert [row["contrast"] for row in report["differences"] if row["is_denoised"]] == [
        f"{CONFIG.denoised} - raw"
    ] * 2
    names = {row["name"] for row in report["detection"]}
    assert names == {
        "vote, cross-fitted by pair",
        "vote, cross-fitted by debate",
        "vote, in-sample",
        "Bradley-Terry on identities",
        "vote, identities and length",
        "always the longer",
    }
    assert len(report["detection"]) == 2 * len(names)
    assert all(len(row["per_seed"]) == 2 for row in report["detection"] + report["arms"])
    assert [row["name"] for row in report["baselines"]] == ["always the longer"]


def test_the_report_is_the_one_that_the_page_reads(report):
    study = TypeAdapter(StudyReport).validate_python(report)
    assert study.num_seeds == 2


def test_noise_is_what_was_asked_for(report):
    real, more = report["noise_frac"].values()
    assert 0.08 < real < 0.2
    assert more == pytest.approx(0.3 + real - 2 * 0.3 * real, abs=0.03)
    for row in report["arms"]:
        if row["labels"] == "raw":
            assert row["wrong_frac"] == pytest.approx(report["noise_frac"][row["noise"]])
        if row["labels"] == "gold":
            assert row["wrong_frac"] == 0.0


def test_the_vote_finds_the_wrong_labels_and_repairs_them(report):
    found = {(row["arm"], row["name"]): row for row in report["detection"]}
    for noise in report["noise_frac"]:
        row = found[noise, "vote, cross-fitted by pair"]
        assert row["auroc"]["value"] > 0.7
        assert row["auroc"]["value"] == pytest.approx(np.mean(row["per_seed"]))
        assert row["chance_average_precision"] == pytest.approx(report["noise_frac"][noise])
    wrong = {(row["noise"], row["labels"]): row["wrong_frac"] for row in report["arms"]}
    assert (
        wrong["real votes + 30% flips", "drop below 0"]
        < 0.8 * wrong["real votes + 30% flips", "raw"]
    )


def test_arms_differ_in_labels_and_are_compared_on_the_same_pairs(report):
    accuracy = {(row["noise"], row["labels"]): row["accuracy"]["value"] for row in report["arms"]}
    assert accuracy["real votes + 30% flips", "gold"] > 0.7
    for row in report["differences"]:
        arm = row["contrast"].removesuffix(" - raw")
        expected = accuracy[row["noise"], arm] - accuracy[row["noise"], "raw"]
        assert row["difference"]["value"] == pytest.approx(expected)
    gold_at = {accuracy[noise, "gold"] for noise in report["noise_frac"]}
    assert max(gold_at) - min(gold_at) < 0.02  # gold labels know no noise


def test_a_study_is_the_same_twice(material, report):
    one_seed = CONFIG.model_copy(update={"seeds": (0,), "flips": (0.0,)})
    first, second = (run_study(material, config=one_seed) for _ in range(2))
    assert first == second
    per_seed = {row["labels"]: row["per_seed"][0] for row in first["arms"]}
    assert per_seed == {
        row["labels"]: row["per_seed"][0] for row in report["arms"] if row["noise"] == "real votes"
    }


def test_every_finding_of_the_report_is_about_its_figures(report):
    assert report["findings"] == findings(report)
    assert len(report["findings"]) == 2 + 4  # detection a noise; denoised and gold a noise
    assert all(sentence.endswith(".") for sentence in report["findings"])


def made_up(low, value, high, *, contrast="drop below 0 - raw", is_denoised=True):
    interval = {"value": value, "low": low, "high": high, "num_items": 9}
    row = {
        "noise": "real votes",
        "contrast": contrast,
        "is_denoised": is_denoised,
        "difference": interval,
    }
    return findings({"detection": [], "differences": [row]})


@pytest.mark.parametrize(
    ("interval", "verdict", "figures"),
    [
        ((0.01, 0.02, 0.03), "is more accurate than", "+2.0 points (95% interval +1.0 to +3.0)"),
        ((-0.03, -0.02, -0.01), "is less accurate than", "-2.0 points (95% interval -3.0 to -1.0)"),
        (
            (-0.01, 0.02, 0.05),
            "is not distinguishable in accuracy from",
            "+2.0 points (95% interval -1.0 to +5.0)",
        ),
        (
            (-0.05, -0.02, 0.01),
            "is not distinguishable in accuracy from",
            "-2.0 points (95% interval -5.0 to +1.0)",
        ),
        (
            (0.0, 0.02, 0.05),
            "is not distinguishable in accuracy from",
            "+2.0 points (95% interval +0.0 to +5.0)",
        ),
    ],
)
def test_findings_follow_the_figures_whichever_way_they_point(interval, verdict, figures):
    (sentence,) = made_up(*interval)
    assert sentence == (
        "On real votes, a model trained on labels denoised by “drop below 0” "
        f"{verdict} one trained on raw labels: {figures}."
    )


def test_findings_on_gold_labels_and_on_arms_beside():
    (sentence,) = made_up(0.1, 0.2, 0.3, contrast="gold - raw", is_denoised=False)
    assert "trained on gold labels is more accurate than one" in sentence
    assert made_up(0.1, 0.2, 0.3, contrast="flip 10% - raw", is_denoised=False) == []


def test_a_vote_that_finds_nothing_is_reported_as_such():
    row = {
        "arm": "real votes",
        "name": "vote, cross-fitted by pair",
        "auroc": {"value": 0.487},
        "average_precision": {"value": 0.131},
        "chance_average_precision": 0.14,
    }
    other = row | {"name": "vote, in-sample"}
    (sentence,) = findings({"detection": [row, other], "differences": []})
    assert "AUROC 0.487 (chance 0.5)" in sentence
    assert "average precision 0.131 (chance 0.140)" in sentence


def test_the_demo_is_a_recipe_that_can_be_read_back(tmp_path):
    recipe = demo_recipe(Path("runs/demo"), seed=3)
    save_recipe(tmp_path / "recipe.yaml", recipe)
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert recipe.denoise == POLICIES[StudyConfig().denoised]
    assert recipe.seed == 3
