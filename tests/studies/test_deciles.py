import json
from dataclasses import replace

import numpy as np
import pytest

from tamis.models.config import ModelConfig
from tamis.studies.deciles import _by_heads as by_heads
from tamis.studies.deciles import (
    decile_estimate,
    decile_noises,
    parts_table,
    run_decile_study,
)
from tamis.studies.deciles_page import decile_sections
from tamis.studies.noise import Site
from tamis.studies.parts import DECILE, NUM_PARTS, STRONGEST, WEAKEST, all_parts
from tamis.studies.plan import StudyPlan
from tamis.studies.present import as_markdown
from tamis.studies.tuned import FINE_TUNED


@pytest.fixture(scope="module")
def plan(vote):
    return StudyPlan(tier="quick", seeds=(0, 1), benches=("ukp",), models=("MiniLM",), vote=vote)


@pytest.fixture(scope="module")
def report(plan, few, tiny_bert, tmp_path_factory):
    models = {"tiny": ModelConfig(path=tiny_bert)}
    site = Site(tmp_path_factory.mktemp("deciles"), None, models, lambda _: None)
    return run_decile_study(plan, {"ukp": few}, site=site)


def test_tenths_are_all_pairs_once_and_ends_grow_to_all():
    rank_N = np.random.default_rng(0).permutation(437)
    parts = all_parts()
    masks_NH = np.stack([part.mask(rank_N) for part in parts], axis=1)
    curves = np.array([part.curve for part in parts])
    assert (masks_NH[:, curves == DECILE].sum(axis=1) == 1).all()
    sizes = masks_NH[:, curves == DECILE].sum(axis=0)
    assert sizes.max() - sizes.min() <= 1
    for curve in (WEAKEST, STRONGEST):
        grown_NH = masks_NH[:, curves == curve]
        assert grown_NH.shape[1] == NUM_PARTS
        assert (np.diff(grown_NH.astype(int), axis=1) >= 0).all()
        assert grown_NH[:, -1].all()
    weakest, strongest = (np.flatnonzero(curves == curve)[0] for curve in (WEAKEST, STRONGEST))
    assert rank_N[masks_NH[:, weakest]].max() < rank_N[masks_NH[:, strongest]].min()


@pytest.fixture(scope="module")
def curves_of(plan):
    def flipped(bench):
        """Return the curves of the labels with 30% flips, under one seed."""
        one = plan.model_copy(update={"seeds": (0,)})
        return list(by_heads(bench, one))[1]

    return flipped


def test_the_weakest_tenth_holds_the_wrong_labels_and_teaches_the_least(bench, curves_of):
    found = curves_of(bench)
    accuracy_H = found.credit_SHM[0].mean(axis=1)
    wrong_H = found.sorted_S[0].wrong_fracs()
    assert (np.diff(found.sorted_S[0].strengths()[:NUM_PARTS]) > 0).all()
    assert wrong_H[0] > 0.5 > wrong_H[NUM_PARTS - 1]
    assert accuracy_H[0] < 0.5 < accuracy_H[NUM_PARTS - 1]
    # the weakest fifth teaches the opposite, so turned it teaches the truth; so do the strongest
    # three fifths as they are
    assert accuracy_H[NUM_PARTS + 1] < 0.5 < accuracy_H[2 * NUM_PARTS + 5]
    everything = found.credit_SHM[0, [2 * NUM_PARTS - 1, 3 * NUM_PARTS - 1]]
    np.testing.assert_array_equal(everything[0], everything[1])


def test_voters_and_heads_read_different_models(bench, curves_of):
    """Heads on features that say nothing reach chance, whatever the voters know."""
    noise = np.random.default_rng(0).normal(size=(len(bench.train) + len(bench.test), 3))
    parts = noise.astype(np.float32)[:440], noise.astype(np.float32)[440:]
    one = bench.joined()
    found = curves_of(replace(bench, features={"knows": one, "blind": parts}))
    wrong_H = found.sorted_S[0].wrong_fracs()
    assert wrong_H[0] > 0.5 > wrong_H[NUM_PARTS - 1]  # the voters sorted well
    assert 0.35 < found.credit_SHM[0, 2 * NUM_PARTS - 1].mean() < 0.65  # all pairs
    seeing = curves_of(replace(bench, features={"knows": one}))
    np.testing.assert_array_equal(seeing.sorted_S[0].mean_N, found.sorted_S[0].mean_N)
    assert seeing.credit_SHM[0, 2 * NUM_PARTS - 1].mean() > 0.7


def test_the_largest_tier_fine_tunes_a_model_on_every_tenth(plan, few, tiny_bert, tmp_path):
    """The tenths are sorted by voters that read the other model, and each trains its own pairs."""
    full = plan.model_copy(update={"seeds": (0,), "tuned_seeds": 1})
    models = {name: ModelConfig(path=tiny_bert) for name in ("learns", "votes")}
    site = Site(tmp_path, None, models, lambda _: None)
    found = run_decile_study(full, {"ukp": [*few[:100], *few[440:460]]}, site=site)
    rows = [row for row in found["parts"] if row["weights"] == FINE_TUNED]
    assert [row["curve"] for row in rows] == [DECILE] * NUM_PARTS
    assert {row["noise"] for row in rows} == {"one person's vote"}
    assert len(list((tmp_path / "cells").glob("*.npy"))) == NUM_PARTS
    (section,) = decile_sections(found)
    text = as_markdown([section], place="study-deciles", images="images").text
    assert "one person's vote, fine-tuned: the weakest tenth" in text
    again = run_decile_study(full, {"ukp": [*few[:100], *few[440:460]]}, site=site)
    assert again == found


def test_the_report_holds_every_part(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    noises = ["one person's vote", "flips, uniform 30%"]
    assert len(report["parts"]) == len(noises) * len(all_parts())
    assert [row["noise"] for row in report["shapes"]] == noises
    for row in report["shapes"]:
        tenths = [
            part["accuracy"]["value"]
            for part in report["parts"]
            if part["noise"] == row["noise"] and part["curve"] == DECILE
        ]
        assert row["best_decile"] == 1 + int(np.argmax(tenths))
        assert row["bottom_minus_chance"]["value"] == pytest.approx(tenths[0] - 0.5)
        assert row["top_minus_best"]["value"] == pytest.approx(tenths[-1] - max(tenths))
    table = parts_table(report)
    assert table.num_rows == len(report["parts"]) * 2
    assert set(table["curve"].to_pylist()) == {DECILE, WEAKEST, STRONGEST}


def test_the_page_shows_both_pictures(report):
    (section,) = decile_sections(report)
    written = as_markdown([section], place="study-deciles", images="images")
    assert list(written.pictures) == ["study-deciles-1.svg", "study-deciles-2.svg"]
    assert "the weakest tenth" in section.lead
    assert written.text.count("| 0% to 10% |") == 2


def test_labels_that_are_sorted():
    assert [noise.title for noise in decile_noises("hh")] == ["clean labels", "flips, uniform 30%"]
    assert [noise.title for noise in decile_noises("humour")] == ["one person's vote"]


def test_the_estimate_grows_with_pairs(few, plan):
    assert decile_estimate({"ukp": few}, plan) == "estimate on two cores: about 1 minute"
    assert "about 1 minute" not in decile_estimate({"ukp": few * 1000}, plan)
