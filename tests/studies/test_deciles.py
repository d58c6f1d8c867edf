import json
from dataclasses import replace

import numpy as np
import pytest

from tamis.models.config import ModelConfig
from tamis.studies.cells import Ground
from tamis.studies.deciles import (
    DECILE,
    NUM_PARTS,
    STRONGEST,
    WEAKEST,
    all_parts,
    decile_estimate,
    decile_noises,
    parts_table,
    run_decile_study,
)
from tamis.studies.deciles import _one_seed as one_seed
from tamis.studies.deciles_page import decile_sections
from tamis.studies.noise import Site
from tamis.studies.noises import Noise
from tamis.studies.plan import StudyPlan
from tamis.studies.present import as_markdown


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


def test_the_weakest_tenth_holds_the_wrong_labels_and_teaches_the_least(bench, plan):
    found = one_seed(Ground.of(bench, vote=plan.vote), Noise("uniform", 0.3), plan=plan, seed=0)
    accuracy_H = found.credit_HM.mean(axis=1)
    assert (np.diff(found.strength_H[:NUM_PARTS]) > 0).all()
    assert found.wrong_H[0] > 0.5 > found.wrong_H[NUM_PARTS - 1]
    assert accuracy_H[0] < 0.5 < accuracy_H[NUM_PARTS - 1]
    everything = found.credit_HM[[2 * NUM_PARTS - 1, 3 * NUM_PARTS - 1]]
    np.testing.assert_array_equal(everything[0], everything[1])


def test_voters_and_heads_read_different_models(bench, plan):
    """Heads on features that say nothing reach chance, whatever the voters know."""
    noise = np.random.default_rng(0).normal(size=(len(bench.train) + len(bench.test), 3))
    parts = noise.astype(np.float32)[:440], noise.astype(np.float32)[440:]
    one = bench.joined()
    blind = replace(bench, features={"knows": one, "blind": parts})
    found = one_seed(Ground.of(blind, vote=plan.vote), Noise("uniform", 0.3), plan=plan, seed=0)
    assert found.wrong_H[0] > 0.5 > found.wrong_H[NUM_PARTS - 1]  # the voters sorted well
    assert 0.35 < found.credit_HM[2 * NUM_PARTS - 1].mean() < 0.65  # all pairs
    alone = replace(bench, features={"knows": one})
    seeing = one_seed(Ground.of(alone, vote=plan.vote), Noise("uniform", 0.3), plan=plan, seed=0)
    np.testing.assert_array_equal(seeing.strength_H, found.strength_H)
    assert seeing.credit_HM[2 * NUM_PARTS - 1].mean() > 0.7


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
    assert "about 1 minute" not in decile_estimate({"ukp": few * 100}, plan)
