import json

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.metrics import holm
from tamis.studies.overoptimise.arms import (
    DENOISED,
    LENGTH,
    MEMBER,
    METARM,
    ORACLE,
    PCRM,
    RAW,
    WARM,
    arm_of,
)
from tamis.studies.overoptimise.curves import END, GOLD, LATE, LOST, PEAKS, PROXY
from tamis.studies.overoptimise.figures import best_of_report, results_table
from tamis.studies.overoptimise.looks import Look, rl_report
from tamis.studies.overoptimise.pools import standardised
from tamis.studies.wanted import pick

SEEDS, NUM_PROMPTS, NUM_ANSWERS = 3, 30, 32
NAMES = (RAW, DENOISED, METARM, PCRM, ORACLE, LENGTH)


@pytest.fixture(scope="module")
def pool():
    """Lengths, and what gold makes of them: enough is better than more."""
    length_PK = np.random.default_rng(0).normal(size=(NUM_PROMPTS, NUM_ANSWERS))
    return length_PK, standardised(-((length_PK - 0.8) ** 2))


@pytest.fixture(scope="module")
def scores(pool):
    length_PK, gold_PK = pool
    rng = np.random.default_rng(1)

    def of_seeds(proxy_PK, noise=0.1):
        return proxy_PK + noise * rng.normal(size=(SEEDS, *proxy_PK.shape))

    raw = of_seeds(length_PK)
    return {
        RAW: raw,
        DENOISED: of_seeds(gold_PK),
        METARM: raw,
        PCRM: of_seeds(-length_PK),
        ORACLE: of_seeds(gold_PK, noise=0.0),
        LENGTH: np.stack([length_PK] * SEEDS),
    }


@pytest.fixture(scope="module")
def report(pool, scores):
    return best_of_report([arm_of(name) for name in NAMES], scores, gold_PK=pool[1])


def test_every_arm_is_held_against_raw_on_the_same_answers(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    of_metarm = [row for row in report["figures"] if row["arm"] == METARM]
    same = [row for row in of_metarm if row["figure"] not in PEAKS]
    assert len(same) == len(of_metarm) - len(PEAKS)
    assert {(row["minus_raw"]["value"], row["p"], row["p_holm"]) for row in same} == {(0, 1, 1)}
    better = pick(report["figures"], arm=DENOISED, figure=END)
    raw = pick(report["figures"], arm=RAW, figure=END)
    gap = np.mean(better["per_seed"]) - np.mean(raw["per_seed"])
    assert better["minus_raw"]["value"] == pytest.approx(gap)
    assert better["minus_raw"]["low"] > 0
    assert better["num_above"] == SEEDS
    assert "minus_raw" not in raw


def test_what_is_no_mean_is_compared_with_nothing(report):
    for row in report["figures"]:
        assert ("minus_raw" in row) == (row["arm"] != RAW and row["figure"] not in PEAKS)
        if row["figure"] == LOST:
            assert 0 <= row["value"]["low"] <= row["value"]["high"]


def test_several_models_of_an_arm_are_averaged(pool, scores):
    gold_PK = pool[1]
    arms = [arm_of(RAW), arm_of(MEMBER)]
    both = np.stack([scores[RAW], scores[DENOISED]])
    found = best_of_report(arms, {RAW: scores[RAW], MEMBER: both}, gold_PK=gold_PK)
    alone = best_of_report(
        [arm_of(RAW), arm_of(DENOISED)], {n: scores[n] for n in (RAW, DENOISED)}, gold_PK=gold_PK
    )
    raw, denoised = (pick(alone["figures"], arm=arm, figure=END) for arm in (RAW, DENOISED))
    mean = np.mean([raw["per_seed"], denoised["per_seed"]], axis=0)
    assert pick(found["figures"], arm=MEMBER, figure=END)["per_seed"] == pytest.approx(mean)


def test_holm_is_over_the_remedies_alone(report):
    rows = [row for row in report["figures"] if row["figure"] == LATE]
    remedies = [row for row in rows if row["kind"] == "remedy"]
    assert [row["arm"] for row in remedies] == [DENOISED, METARM, PCRM]
    assert [row["p_holm"] for row in remedies] == holm([row["p"] for row in remedies])
    for row in rows:
        assert ("p_holm" in row) == (row["kind"] == "remedy")
        assert ("p_alone" in row) == (row["kind"] == "reference")


def test_points_are_curves_from_zero(report):
    for measure in (GOLD, PROXY):
        rows = [r for r in report["points"] if (r["arm"], r["measure"]) == (RAW, measure)]
        assert [row["n"] for row in rows] == report["sizes"] == [1, 2, 4, 8, 16, 32]
        assert rows[0]["value"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert report["kl"][1] == pytest.approx(np.log(2) - 0.5)
    gold = [row for row in report["points"] if (row["arm"], row["measure"]) == (ORACLE, GOLD)]
    assert [row["value"]["value"] for row in gold] == pytest.approx(report["ceiling"]["gold"])


def test_verdicts_follow_from_the_late_gain(report):
    found = {row["arm"]: row for row in report["verdicts"]}
    assert list(found) == [RAW, DENOISED, METARM, PCRM]
    assert found[DENOISED]["is_worth"]
    assert not found[PCRM]["is_worth"]
    assert found[RAW] == {"arm": RAW, "state": "over-optimised"}
    assert found[DENOISED]["state"] == "still gaining"
    assert (found[DENOISED]["late"], found[DENOISED]["delays"]) == ("higher", True)
    assert (found[METARM]["late"], found[METARM]["delays"]) == ("not told apart", False)
    assert (found[PCRM]["late"], found[PCRM]["delays"]) == ("lower", False)
    assert found[PCRM]["end"] == "lower"
    assert pick(report["figures"], arm=RAW, figure=LOST)["value"]["value"] > 0.3


def test_a_proxy_that_knows_nothing_delays_nothing(pool):
    """It loses nothing late, as it gains nothing before."""
    length_PK, gold_PK = pool
    chance = np.random.default_rng(3).normal(size=(SEEDS, *gold_PK.shape))
    scores = {RAW: np.stack([length_PK] * SEEDS), DENOISED: chance}
    found = best_of_report([arm_of(name) for name in scores], scores, gold_PK=gold_PK)
    verdict = pick(found["verdicts"], arm=DENOISED)
    assert verdict["late"] == "higher"
    assert (verdict["is_worth"], verdict["delays"]) == (False, False)


def test_where_raw_labels_are_not_over_optimised_nothing_is_delayed(pool):
    gold_PK = standardised(pool[0])
    weak = 0.3 * gold_PK + np.random.default_rng(3).normal(size=(SEEDS, *gold_PK.shape))
    scores = {RAW: weak, DENOISED: np.stack([gold_PK] * SEEDS)}
    found = best_of_report([arm_of(name) for name in scores], scores, gold_PK=gold_PK)
    verdict = pick(found["verdicts"], arm=DENOISED)
    assert (verdict["late"], verdict["is_worth"]) == ("higher", True)
    assert not verdict["delays"]


def test_models_together_are_held_against_one_of_them(pool):
    length_PK, gold_PK = pool
    scores = {
        RAW: np.stack([length_PK] * SEEDS),
        MEMBER: np.stack([length_PK] * SEEDS),
        WARM: np.stack([gold_PK] * SEEDS),
    }
    found = best_of_report([arm_of(name) for name in scores], scores, gold_PK=gold_PK)
    assert [(row["arm"], row["figure"]) for row in found["beside_member"]] == [
        (WARM, END),
        (WARM, LATE),
    ]
    own, one = (pick(found["figures"], arm=arm, figure=END)["per_seed"] for arm in (WARM, MEMBER))
    row = found["beside_member"][0]
    assert row["difference"]["value"] == pytest.approx(np.mean(own) - np.mean(one))


def test_seeds_that_differ_are_known(pool):
    """A gain under one seed of three is no gain."""
    length_PK, gold_PK = pool
    raw = np.stack([length_PK] * SEEDS)
    once = raw.copy()
    once[1] = gold_PK
    found = best_of_report(
        [arm_of(RAW), arm_of(DENOISED)], {RAW: raw, DENOISED: once}, gold_PK=gold_PK
    )
    row = pick(found["figures"], arm=DENOISED, figure=END)
    assert row["num_above"] == 1
    assert row["p_holm"] > 0.2
    assert pick(found["verdicts"], arm=DENOISED)["late"] == "not told apart"


def test_every_value_of_every_seed_is_a_row(report):
    looks = [look(0, 0.0, 0.0), look(5, 0.4, 0.1)]
    rl = rl_report({RAW: [looks] * SEEDS, DENOISED: [looks] * SEEDS}, gold_std=1.0)
    table = results_table({**report, "seeds": [0, 1, 2], **rl})
    num_points, num_figures = len(NAMES) * 2 * 6, len(report["figures"])
    assert table.num_rows == SEEDS * (num_points + num_figures + 4 * 3 + 2 * 2)
    assert set(table["part"].to_pylist()) == {"best of n", "curve", "rl", "rl at equal KL"}


def look(step, kl, gold, *, start=0.0):
    """Look at three prompts, which have a different reward before anything is learnt."""
    before = np.array([start, start + 5.0, start - 2.0])
    return Look(step, kl, (before + gold).tolist(), (before + 3 * step).tolist())


def test_looks_are_changes_since_the_first_in_the_unit_of_the_pool():
    runs = [[look(0, 0.0, 0.0, start=s), look(9, 0.5, g, start=s)] for s, g in ((1, 0.2), (2, 0.4))]
    rows = rl_report({RAW: runs}, gold_std=2.0)["rl"]
    last = pick(rows, arm=RAW, step=9)
    assert last["gold_per_seed"] == pytest.approx([0.1, 0.2])
    assert last["proxy_per_seed"] == pytest.approx([27.0, 27.0])
    assert last["kl_per_seed"] == [0.5, 0.5]


def test_policies_are_compared_at_equal_kl():
    fast = [look(0, 0.0, 0.0), look(4, 1.0, 1.0), look(8, 2.0, 0.0)]
    slow = [look(0, 0.0, 0.0), look(4, 0.5, 0.5), look(8, 1.0, 1.0)]
    found = rl_report({RAW: [fast] * 3, DENOISED: [slow] * 3}, gold_std=1.0)["rl_figures"]
    end, late = (pick(found, arm=DENOISED, figure=name) for name in (END, LATE))
    assert end["kl"] == 1.0
    assert end["minus_raw"]["value"] == pytest.approx(0.0)  # at equal steps: -0.5 and +1
    assert late["value"]["value"] == pytest.approx(0.5)
    assert pick(found, arm=RAW, figure=LATE)["value"]["value"] == pytest.approx(0.5)
    assert "minus_raw" not in pick(found, arm=RAW, figure=END)


def test_a_kl_is_that_of_the_first_time_it_is_reached():
    back = [look(0, 0.0, 0.0), look(4, 1.0, 1.0), look(8, 0.8, -5.0)]
    (end, _) = rl_report({RAW: [back]}, gold_std=1.0)["rl_figures"]
    assert end["kl"] == 1.0
    assert end["value"]["value"] == pytest.approx(1.0)


def test_scores_that_do_not_fit_are_refused(pool, scores):
    gold_PK = pool[1]
    with pytest.raises(DataError, match="expected raw among them"):
        best_of_report([arm_of(ORACLE)], scores, gold_PK=gold_PK)
    bad = {**scores, ORACLE: scores[ORACLE][:2]}
    with pytest.raises(DataError, match="arm oracle: scores of shape"):
        best_of_report([arm_of(RAW), arm_of(ORACLE)], bad, gold_PK=gold_PK)
