import json
from dataclasses import replace

import numpy as np
import pytest
from made_scores import (
    ALL_SETS,
    CODE,
    HARD,
    HELD_OUT,
    HELPFUL,
    LEVELS,
    NUM_PAIRS,
    NUM_PROMPTS,
    NUM_RESPONSES,
    chance_run,
    made_clusters,
    made_levels,
    made_run,
    made_sets,
)

from tamis.errors import DataError
from tamis.metrics import holm
from tamis.studies.shift.arms import MEMBER, METARM, METARM_OUTER, PLAIN
from tamis.studies.shift.figures import build_report, results_table
from tamis.studies.shift.measures import (
    DATA_SET,
    IN,
    OUT,
    RANKING,
    SCORE,
    SPREAD,
    TEST_SET,
    Ground,
    accuracies,
)
from tamis.studies.shift.records import LONGER, SHORTER, Answers
from tamis.studies.shift.wanted import SHIFTED, verdicts
from tamis.studies.wanted import pick
from tamis.types import Message

SEEDS = (0, 1, 2, 3, 4)
SAME, BETTER = "same", "better"


def report_of(scores, *, seeds=SEEDS, recommended=METARM, levels=None):
    return build_report(
        made_sets(),
        made_clusters(),
        levels=made_levels() if levels is None else levels,
        scores=scores,
        seeds=seeds,
        recommended=recommended,
    )


def some_runs(seed, **chances):
    rng = np.random.default_rng(seed)
    return [chance_run(rng, **chances) for _ in SEEDS]


@pytest.fixture(scope="module")
def report():
    plain = some_runs(1, accuracy=0.5)
    right = {name: np.ones(NUM_PAIRS, bool) for name in ALL_SETS if name != HELD_OUT}
    better = [
        replace(run, gap=run.gap | {name: right_M * 1.0 for name, right_M in right.items()})
        for run in plain
    ]
    meta = some_runs(2, accuracy=0.55)
    scores = {PLAIN: plain, SAME: plain, BETTER: better, METARM_OUTER: meta}
    return report_of(scores, recommended=BETTER)


def test_accuracies_are_shares_of_right_pairs():
    three_in_four = {HELD_OUT: np.arange(NUM_PAIRS) % 4 > 0}
    half = {HELD_OUT: np.arange(NUM_PAIRS) % 2 > 0}
    runs = [made_run(right=three_in_four), made_run(right=half)]
    found = report_of({PLAIN: runs, METARM: runs}, seeds=(0, 1))["accuracy"]
    row = pick(found, arm=PLAIN, part=TEST_SET, name=HELD_OUT)
    assert row["per_seed"] == [0.75, 0.5]
    assert row["accuracy"]["value"] == 0.625
    assert row["accuracy"]["low"] < 0.625 < row["accuracy"]["high"]
    assert row["seed_std"] == pytest.approx(np.std([0.75, 0.5], ddof=1))
    assert pick(found, arm=PLAIN, part=SCORE, name=OUT)["accuracy"]["value"] == 1.0
    assert pick(found, arm=PLAIN, part=SCORE, name=IN)["accuracy"]["value"] == 0.625


def test_a_data_set_counts_once_however_many_test_sets_it_has():
    wrong = {name: np.zeros(NUM_PAIRS, bool) for name in HARD}
    found = report_of({PLAIN: [made_run(right=wrong)], METARM: [made_run()]}, seeds=(0,))
    values = {
        (row["part"], row["name"]): row["accuracy"]["value"]
        for row in found["accuracy"]
        if row["arm"] == PLAIN
    }
    assert values[DATA_SET, CODE] == 0.0
    assert values[DATA_SET, HELPFUL] == 1.0
    assert values[SCORE, OUT] == 0.5


@pytest.mark.parametrize("form", ["groups", "other numbers", "texts"])
def test_test_sets_that_share_prompts_are_resampled_together(form):
    group_M = np.arange(NUM_PAIRS) // 2
    clusters = made_clusters()
    for place, name in enumerate(HARD):
        if form == "other numbers":
            clusters[name] = (place + 1) * (NUM_PAIRS - group_M)
        elif form == "texts":
            clusters[name] = np.stack([2 * group_M, 2 * group_M + np.arange(NUM_PAIRS) % 2], axis=1)
    right_M = np.random.default_rng(0).random(NUM_PAIRS) < 0.7
    runs = [made_run(right=dict.fromkeys((HELPFUL, *HARD), right_M))]
    found = accuracies(Ground.of(made_sets(), clusters), runs)
    assert len(np.unique(Ground.of(made_sets(), clusters).clusters[HARD[0]])) == NUM_PAIRS // 2
    alone, together = found[TEST_SET, HARD[0]].over_items(), found[DATA_SET, CODE].over_items()
    assert together.low == pytest.approx(alone.low)
    assert together.high == pytest.approx(alone.high)
    both = found[SCORE, OUT].over_items()
    assert both.high - both.low < 0.85 * (alone.high - alone.low)


def test_an_arm_that_is_plain_training_differs_by_nothing(report):
    rows = [row for row in report["differences"] if row["arm"] == SAME]
    assert len(rows) == len(ALL_SETS) + 3 + 2
    assert {(row["difference"]["value"], row["p"], row["p_holm"]) for row in rows} == {(0, 1, 1)}
    assert {row["num_above"] for row in rows} == {0}
    on_levels = [row for row in report["shift"] if row["arm"] == SAME]
    assert len(on_levels) == 2 * len(LEVELS)
    assert {(row["minus_plain"]["value"], row["p_holm"]) for row in on_levels} == {(0, 1)}


def test_an_arm_that_is_right_everywhere_is_surely_better(report):
    row = pick(report["differences"], arm=BETTER, part=SCORE, name=OUT)
    plain = pick(report["accuracy"], arm=PLAIN, part=SCORE, name=OUT)["accuracy"]["value"]
    assert row["difference"]["value"] == pytest.approx(1 - plain)
    assert row["difference"]["low"] > 0.3
    assert row["p_holm"] < 1e-6
    assert row["num_above"] == len(SEEDS)
    assert pick(report["differences"], arm=BETTER, part=SCORE, name=IN)["p"] == 1


def test_holm_is_over_all_arms_for_each_score_apart(report):
    scopes = {(row["part"], row["name"]) for row in report["differences"]}
    assert {(SCORE, IN), (SCORE, OUT)} < scopes
    for part, name in scopes:
        rows = [r for r in report["differences"] if (r["part"], r["name"]) == (part, name)]
        assert [row["arm"] for row in rows] == [SAME, BETTER, METARM_OUTER]
        assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])
    for level in LEVELS:
        rows = [r for r in report["shift"] if (r["level"], r["measure"]) == (level, RANKING)]
        assert "p" not in rows[0]
        assert [row["p_holm"] for row in rows[1:]] == holm([row["p"] for row in rows[1:]])


def test_p_values_know_that_seeds_differ():
    plain = [made_run(right={HELPFUL: np.zeros(NUM_PAIRS, bool)})] * len(SEEDS)
    swings = [1, 1, 1, 0, 0]  # the same gain on all items, under some seeds alone
    runs = [made_run() if up else plain[0] for up in swings]
    found = report_of({PLAIN: plain, METARM: runs})["differences"]
    row = pick(found, arm=METARM, part=TEST_SET, name=HELPFUL)
    assert (row["difference"]["value"], row["num_above"]) == (0.6, 3)
    assert row["difference"]["low"] < 0.25
    assert row["p"] > 0.005


def test_spread_is_free_of_scale_and_relative_to_the_gap_in_distribution():
    plain = some_runs(3, accuracy=0.6)
    larger = [
        replace(
            run,
            gap={name: 10 * gap_M for name, gap_M in run.gap.items()},
            level={name: 10 * reward_PK for name, reward_PK in run.level.items()},
        )
        for run in plain
    ]
    flat = [
        replace(run, level={name: 0.1 * reward_PK for name, reward_PK in run.level.items()})
        for run in plain
    ]
    rows = report_of({PLAIN: plain, METARM: larger, "flat": flat})["shift"]
    wanted = {"level": SHIFTED, "measure": SPREAD}
    same, other = pick(rows, arm=METARM, **wanted), pick(rows, arm="flat", **wanted)
    assert same["per_seed"] == pytest.approx(pick(rows, arm=PLAIN, **wanted)["per_seed"])
    assert same["minus_plain"]["high"] == pytest.approx(0.0, abs=1e-12)
    assert other["value"]["value"] == pytest.approx(0.1 * same["value"]["value"])
    assert other["minus_plain"]["high"] < 0
    assert other["p_holm"] < 0.001


def test_spread_and_order_of_known_rewards():
    gold_PK = made_levels()[0].gold_PK
    runs = {
        PLAIN: made_run(level=gold_PK, scale=2.0),
        METARM: made_run(level=-gold_PK),
        "even": made_run(level=np.zeros_like(gold_PK)),
    }
    rows = report_of({arm: [run] for arm, run in runs.items()}, seeds=(0,))["shift"]

    def value(arm, measure):
        return pick(rows, arm=arm, level=LEVELS[0], measure=measure)["value"]["value"]

    mean_gap = (3 * 1 + 2 * 2 + 1 * 3) / 6  # of rewards 0, 1, 2, 3
    assert [value(arm, SPREAD) for arm in runs] == pytest.approx([mean_gap, mean_gap, 0.0])
    assert [value(arm, RANKING) for arm in runs] == [1.0, 0.0, 0.5]


def test_responses_of_equal_gold_reward_do_not_count():
    levels = made_levels()
    gold_PK = np.tile([0.0, 0.0, 0.0, 1.0], (NUM_PROMPTS, 1))
    levels[0] = replace(levels[0], gold_PK=gold_PK)
    reversed_but_for_the_last = np.tile([2.0, 1.0, 0.0, 3.0], (NUM_PROMPTS, 1))
    run = made_run(level=reversed_but_for_the_last)
    found = report_of({PLAIN: [run], METARM: [run]}, seeds=(0,), levels=levels)
    row = pick(found["shift"], arm=PLAIN, level=LEVELS[0], measure=RANKING)
    assert row["value"]["value"] == 1.0
    assert row["value"]["num_items"] == 3 * NUM_PROMPTS
    assert [note for note in found["notes"] if "72 of 144 pairs" in note]
    assert [note for note in found["notes"] if "With one seed" in note]


def test_rules_of_length_add_up(report):
    for part, name in {(row["part"], row["name"]) for row in report["baselines"]}:
        both = [
            pick(report["baselines"], rule=rule, part=part, name=name)["accuracy"]["value"]
            for rule in (LONGER, SHORTER)
        ]
        assert both == pytest.approx([0.25, 0.75])


def test_the_report_is_json_and_the_table_holds_every_value(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    table = results_table(report | {"seeds": list(SEEDS)})
    num_scopes, num_arms = len(ALL_SETS) + 3 + 2, 4
    assert table.num_rows == len(SEEDS) * num_arms * (num_scopes + 2 * len(LEVELS))
    found = pick(table.to_pylist(), arm=METARM_OUTER, name=SHIFTED, measure=SPREAD, seed=3)
    row = pick(report["shift"], arm=METARM_OUTER, level=SHIFTED, measure=SPREAD)
    assert found["value"] == row["per_seed"][3]
    assert len(row["per_seed"]) == len(SEEDS)


def test_goals_are_read_from_the_rows(report):
    any_method, recommended, spread, inside = report["verdicts"]
    assert any_method["met"]
    assert recommended["met"]
    assert f" of 3; best: {BETTER}, +" in any_method["measured"]
    assert recommended["figure"].startswith(f"recommended recipe, {BETTER}")
    assert "p (Holm) <0.001" in recommended["measured"]
    assert spread["figure"].startswith(f"{METARM_OUTER}: spread")
    row = pick(report["shift"], arm=METARM_OUTER, level=SHIFTED, measure=SPREAD)
    parts = f"{row['between_answers']:.2f} over {row['gap_in_distribution']:.2f}; plain "
    assert parts in spread["measured"]
    assert inside["met"]
    low = pick(report["differences"], arm=METARM_OUTER, part=SCORE, name=IN)["difference"]["low"]
    assert inside["measured"].endswith(f"at worst {100 * low:.1f}".replace("-", "−"))


def interval(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def rows_of(
    *, out=0.03, p_holm=0.01, inside=0.0, p_inside=1.0, spread=0.1, order=0.0, arms=(METARM_OUTER,)
):
    differences = []
    for arm in (*arms, "other"):
        one = {"arm": arm, "part": SCORE}
        differences += [
            one | {"name": OUT, "difference": interval(out), "p": p_holm / 2, "p_holm": p_holm},
            one | {"name": IN, "difference": interval(inside), "p": p_inside, "p_holm": 1.0},
        ]
    level = {"level": SHIFTED, "measure": SPREAD, "between_answers": 3.0}
    level["gap_in_distribution"] = 1.5
    shift = [level | {"arm": PLAIN}]
    for arm in arms:
        ranking = {"arm": arm, "level": SHIFTED, "measure": RANKING}
        shift.append(level | {"arm": arm, "minus_plain": interval(spread), "p": 0.5})
        shift.append(ranking | {"minus_plain": interval(order), "p": 0.5})
    return {"differences": differences, "shift": shift}


@pytest.mark.parametrize(
    ("changed", "met"),
    [
        ({}, [True, True, True, True]),
        ({"p_holm": 0.06}, [False, False, True, True]),
        ({"out": -0.03}, [False, False, True, True]),
        ({"inside": -0.02, "p_inside": 0.04}, [False, False, True, False]),
        ({"inside": -0.02, "p_inside": 0.06}, [True, True, True, True]),
        ({"spread": 0.005}, [True, True, False, True]),
        ({"order": -0.001}, [True, True, False, True]),
    ],
)
def test_each_goal_may_be_missed(changed, met):
    rows = verdicts(rows_of(**changed), recommended="other")
    assert [row["met"] for row in rows] == met


def test_a_study_without_metarm_has_no_goal_for_it():
    rows = rows_of()
    others = [row for row in rows["differences"] if row["arm"] == "other"]
    both = [*others, *({**row, "arm": "third"} for row in others)]
    assert len(verdicts({"differences": both, "shift": []}, recommended="other")) == 2


def test_a_recipe_that_is_alone_is_one_goal_and_not_two():
    others = [row for row in rows_of()["differences"] if row["arm"] == "other"]
    rows = verdicts({"differences": others, "shift": []}, recommended="other")
    assert [row["figure"].split(",")[0] for row in rows] == ["recommended recipe"]


def test_metarm_as_published_is_told_beside_and_is_no_goal():
    rows = verdicts(rows_of(arms=(METARM_OUTER, METARM)), recommended="other")
    assert len(rows) == 4
    assert all("; as published " in row["measured"] for row in rows[2:])
    alone = verdicts(rows_of(), recommended="other")
    assert not any("as published" in row["measured"] for row in alone)


def test_a_spread_comes_with_what_it_is_the_ratio_of():
    gold_PK = made_levels()[0].gold_PK
    runs = [made_run(level=gold_PK, scale=scale) for scale in (2.0, 4.0)]
    runs = [replace(run, gap=run.gap | {HELD_OUT: run.gap[HELD_OUT] / 2}) for run in runs]
    rows = report_of({PLAIN: runs, METARM: runs}, seeds=(0, 1))["shift"]
    row = pick(rows, arm=PLAIN, level=SHIFTED, measure=SPREAD)
    mean_gap = (3 * 1 + 2 * 2 + 1 * 3) / 6  # of rewards 0, 1, 2, 3
    assert row["between_answers"] == pytest.approx(3 * mean_gap)
    assert row["gap_in_distribution"] == pytest.approx(1.5)
    assert "between_answers" not in pick(rows, arm=PLAIN, level=SHIFTED, measure=RANKING)


def test_models_together_are_held_against_one_of_them():
    plain, member = some_runs(4, accuracy=0.4), some_runs(5, accuracy=0.6)
    right = {name: np.ones(NUM_PAIRS, bool) for name in ALL_SETS}
    warm = [made_run(right=right) for _ in SEEDS]
    found = report_of({PLAIN: plain, MEMBER: member, "warm": warm, METARM: plain})
    assert [(row["arm"], row["name"]) for row in found["averaging"]] == [
        ("warm", IN),
        ("warm", OUT),
    ]
    of_member = pick(found["accuracy"], arm=MEMBER, part=SCORE, name=OUT)["accuracy"]["value"]
    row = found["averaging"][1]
    assert row["difference"]["value"] == pytest.approx(1 - of_member)
    assert row["p_holm"] == row["p"] < 0.05
    assert report_of({PLAIN: plain, METARM: plain})["averaging"] == []


def test_what_length_alone_reaches_is_told_of_each_level():
    levels = made_levels()
    longer = [
        Answers(one.prompt, tuple((Message("assistant", "a" * (k + 1)),) for k in range(4)))
        for one in levels[0].answers
    ]
    levels[0] = replace(levels[0], answers=longer)
    run = made_run()
    found = report_of({PLAIN: [run], METARM: [run]}, seeds=(0,), levels=levels)["level_baselines"]
    assert len(found) == 2 * len(LEVELS)
    values = {(row["rule"], row["level"]): row["value"]["value"] for row in found}
    assert (values[LONGER, LEVELS[0]], values[SHORTER, LEVELS[0]]) == (1.0, 0.0)
    assert values[LONGER, LEVELS[1]] == 0.5  # all as long


def test_a_recommended_arm_that_is_not_part_of_it_has_no_goal():
    plain, other = some_runs(6, accuracy=0.4), some_runs(7, accuracy=0.6)
    found = report_of({PLAIN: plain, "warm": other}, recommended=METARM)
    assert [row["figure"].split()[0] for row in found["verdicts"]] == ["methods"]


def test_one_of_several_models_is_no_method():
    """It is plain training with other settings, however good it is."""
    plain, good = some_runs(8, accuracy=0.3), some_runs(9, accuracy=0.9)
    found = report_of({PLAIN: plain, MEMBER: good, "warm": plain, METARM: plain})
    rows = {row["arm"]: row for row in found["differences"] if row["name"] == OUT}
    assert rows[MEMBER]["p"] < 0.05
    assert "p_holm" not in rows[MEMBER]
    assert rows["warm"]["p_holm"] == min(2 * rows["warm"]["p"], 1.0)  # two methods
    assert found["verdicts"][0]["measured"].startswith("0 of 2;")
    assert all("p_holm" not in row for row in found["shift"] if row["arm"] == MEMBER)


def test_scores_that_do_not_fit_are_refused():
    run = made_run()
    short = replace(run, gap=run.gap | {HELPFUL: np.ones(3)})
    narrow = replace(run, level=run.level | {SHIFTED: np.ones((NUM_PROMPTS, NUM_RESPONSES - 1))})
    for bad in (short, narrow):
        with pytest.raises(DataError, match=r"arm metarm, seed 7, .*expected \("):
            report_of({PLAIN: [run], METARM: [bad]}, seeds=(7,))
    with pytest.raises(DataError, match="1 scores for 2 seeds"):
        report_of({PLAIN: [run], METARM: [run]}, seeds=(0, 1))
    for alone in ({PLAIN: [run]}, {METARM: [run], "warm": [run]}):
        with pytest.raises(DataError, match="expected plain, and others beside it"):
            report_of(alone, seeds=(0,))
    with pytest.raises(DataError, match=r"HHH: clusters of shape \(3,\) for 60 pairs"):
        Ground.of(made_sets(), made_clusters() | {HELPFUL: np.arange(3)})
    with pytest.raises(DataError, match="in and out of distribution"):
        Ground.of(made_sets()[1:], made_clusters())
    even = replace(made_levels()[0], gold_PK=np.zeros((NUM_PROMPTS, NUM_RESPONSES)))
    with pytest.raises(DataError, match="all gold rewards of each prompt are equal"):
        report_of({PLAIN: [run], METARM: [run]}, seeds=(0,), levels=[even])
    silent = made_run(scale=0.0)
    with pytest.raises(DataError, match="all gaps in distribution are 0"):
        report_of({PLAIN: [silent], METARM: [silent]}, seeds=(0,))
