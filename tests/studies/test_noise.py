import json
from dataclasses import replace

import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.studies.arms import AUTO, NAMES, ORACLE, RAW
from tamis.studies.cells import COMBINED, TUNED, VOTE, Ground, run_cell
from tamis.studies.noise import Site, noise_estimate, read_all, results_table, run_noise_bench
from tamis.studies.noise_figures import HEADS, Trial, training_rows, with_holm
from tamis.studies.noise_page import noise_sections
from tamis.studies.noises import Noise
from tamis.studies.outcome import Outcome
from tamis.studies.plan import StudyPlan, noises_of, plan_of
from tamis.studies.present import as_markdown, terminal_tables
from tamis.studies.tuned import FINE_TUNED, Tuner, tuned_outcome
from tamis.studies.wanted import verdicts
from tamis.train.config import TrainConfig

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def plan(vote):
    return StudyPlan(
        tier="quick",
        seeds=SEEDS,
        benches=("ukp",),
        models=("MiniLM",),
        shares=(0.3,),
        sparse=True,
        num_trusted=60,
        vote=vote,
    )


@pytest.fixture(scope="module")
def site(tiny_bert, tmp_path_factory):
    run = tmp_path_factory.mktemp("study")
    models = {
        "tiny": ModelConfig(path=tiny_bert),
        "again": ModelConfig(path=tiny_bert, num_layers=1),
    }
    return Site(run, None, models, lambda _: None)


@pytest.fixture(scope="module")
def report(plan, few, site):
    return run_noise_bench(plan, {"ukp": few}, site=site)


def test_the_report_holds_every_figure(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    noises = [
        "one person's vote",
        "clean labels",
        "flips, uniform 30%",
        "flips, towards the longer 30%",
        "flips, near-ties first 30%",
    ]
    assert [row["noise"] for row in report["noises"]] == noises
    found = [(row["noise"], row["arm"]) for row in report["training"]]
    assert found == [(noise, arm) for noise in noises for arm in NAMES]
    assert all(len(row["per_seed"]) == len(SEEDS) for row in report["training"])
    assert {row["weights"] for row in report["training"]} == {HEADS}
    judged = {row["noise"] for row in report["detection"]}
    assert judged == set(noises) - {"clean labels"}
    votes = [row for row in report["detection"] if row["noise"] == noises[0]]
    assert all(row["auroc"]["low"] <= row["auroc"]["value"] for row in votes)
    assert len(report["contrasts"]) == 4
    assert len(report["reliability"]) == 15
    methods = [row["method"] for row in report["calibration"] if row["noise"] == noises[0]]
    assert methods == ["trusted", "mixture"]


def test_differences_are_to_raw_labels(report):
    accuracy = {(row["noise"], row["arm"]): row["accuracy"]["value"] for row in report["training"]}
    for row in report["training"]:
        assert ("minus_raw" in row) == (row["arm"] != RAW)
        assert ("p_holm" in row) == (row["arm"] not in (RAW, ORACLE))
        if row["arm"] != RAW:
            expected = accuracy[row["noise"], row["arm"]] - accuracy[row["noise"], RAW]
            assert row["minus_raw"]["value"] == pytest.approx(expected)


def test_a_killed_bench_goes_on_and_ends_the_same(plan, few, site, report):
    cells = sorted((site.run / "cells").glob("*.npz"))
    assert len(cells) == 5 * len(SEEDS)
    kept = cells[0].stat().st_mtime_ns
    cells[1].unlink()
    assert run_noise_bench(plan, {"ukp": few}, site=site) == report
    assert cells[0].stat().st_mtime_ns == kept
    assert cells[1].is_file()


def test_other_settings_use_no_kept_cell(plan, few, site, report):
    other = plan.model_copy(update={"num_trusted": 70, "seeds": (0,), "shares": (), "sparse": True})
    found = run_noise_bench(other, {"ukp": few}, site=site)
    judged = found["calibration"][0]["num_judged"]
    assert judged == report["calibration"][0]["num_judged"] - 10 or judged < 440
    before = 5 * len(SEEDS)
    assert len(list((site.run / "cells").glob("*.npz"))) == before + 4


def test_every_seed_is_in_the_table_of_results(report):
    table = results_table(report)
    assert table.column_names == [
        "part",
        "bench",
        "noise",
        "weights",
        "name",
        "measure",
        "seed",
        "value",
    ]
    rows = [row for row in table.to_pylist() if row["part"] == "training"]
    assert len(rows) == len(report["training"]) * len(SEEDS)
    assert {row["seed"] for row in rows} == set(SEEDS)
    assert np.isfinite(table["value"].to_numpy()).all()


def test_the_page_shows_every_part_and_says_what_is_fine_tuned(report):
    sections = noise_sections(report)
    assert [section.anchor for section in sections] == [
        "noise",
        "noise-votes",
        "noise-chance",
        "noise-training",
        "noise-flips",
    ]
    written = as_markdown(sections, place="study-noise", images="images")
    for words in ("one person's vote", COMBINED, "PCRM, cosine", "confident learning: drop", HEADS):
        assert words in written.text
    assert len(written.pictures) == 3
    assert all(svg.startswith("<svg ") for svg in written.pictures.values())
    captions = [caption for caption, _, _ in terminal_tables(sections)]
    assert captions[0] == "Wanted and measured"
    assert any(HEADS in caption for caption in captions)


def some_outcome(rng, arms, *, raw=0.6):
    wrong_N = np.arange(50) < 10
    chances = {RAW: raw, ORACLE: 0.8, AUTO: 0.75}
    credit = {arm: (rng.random(600) < chances.get(arm, 0.6)).astype(float) for arm in arms}
    return Outcome(wrong_N, np.ones(50, bool), wrong_N, {}, credit, {})


@pytest.fixture
def made_up():
    rng = np.random.default_rng(0)
    outcomes = [some_outcome(rng, (RAW, ORACLE, AUTO, "margin")) for _ in range(3)]
    ids = np.arange(600)
    return Trial("ukp", Noise("uniform", 0.3), outcomes, ids[:50], ids)


def test_what_is_recovered_is_a_share_of_what_was_lost(made_up):
    rows = {row["arm"]: row for row in training_rows(made_up)}
    lost, won = rows[ORACLE]["minus_raw"]["value"], rows[AUTO]["minus_raw"]["value"]
    share = rows[AUTO]["recovered"]
    assert share["value"] == pytest.approx(won / lost)
    assert share["low"] < share["value"] < share["high"] < 1.2
    assert "recovered" not in rows[ORACLE]
    assert rows["margin"]["recovered"]["high"] < 0.5


def test_where_nothing_was_lost_nothing_is_recovered(made_up):
    rng = np.random.default_rng(1)
    same = replace(
        made_up, outcomes=[some_outcome(rng, (RAW, ORACLE, AUTO), raw=0.8) for _ in range(3)]
    )
    assert all(row.get("recovered") is None for row in training_rows(same))


def test_comparisons_are_corrected_together(made_up):
    rows = with_holm([*training_rows(made_up), *training_rows(made_up)])
    corrected = [row for row in rows if "p_holm" in row]
    assert [row["arm"] for row in corrected] == [AUTO, "margin"] * 2
    assert all(row["p_holm"] >= row["p"] for row in corrected)
    assert all(row["p_holm"] == pytest.approx(min(1, 4 * row["p"]), rel=1) for row in corrected)


def interval(value, *, width=0.02):
    return {"value": value, "low": value - width, "high": value + width}


def a_report(*, auroc=0.93, gap=0.03, recovered=0.7, clean=0.0, auto_p=1.0, error=0.02):
    where = {"bench": "ukp", "weights": HEADS}
    votes = where | {"noise": Noise("votes").title}
    clean_row = {"arm": AUTO, "noise": Noise("uniform").title, "minus_raw": interval(clean)}
    lost = {"arm": AUTO, "noise": Noise("uniform", 0.3).title, "minus_raw": interval(0.03)}
    return {
        "num_trusted": 200,
        "detection": [votes | {"name": COMBINED, "auroc": interval(auroc)}],
        "contrasts": [
            votes
            | {
                "contrast": f"{COMBINED} − Bradley-Terry on identities",
                "measure": "auroc",
                "difference": interval(gap),
            }
        ],
        "calibration": [
            votes | {"method": "trusted", "error": error, "skill": 0.2, "num_judged": 2500}
        ],
        "training": [
            where | clean_row | {"p_holm": auto_p},
            where | lost | {"p_holm": 1.0, "recovered": interval(recovered)},
        ],
    }


def test_all_figures_may_be_met():
    rows = verdicts(a_report())
    assert len(rows) == 7
    assert all(row["met"] for row in rows)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"auroc": 0.89}, "combined evidence, AUROC"),
        ({"gap": 0.01}, "Bradley-Terry on identities"),
        ({"recovered": 0.59}, "recovers"),
        ({"clean": -0.006}, "clean labels"),
        ({"clean": -0.004, "auto_p": 0.01}, "significantly worse"),
        ({"error": 0.051}, "calibration error"),
    ],
)
def test_each_figure_may_be_missed(changed, words):
    missed = [row["figure"] for row in verdicts(a_report(**changed)) if not row["met"]]
    assert len(missed) == 1
    assert words in missed[0]


def test_nothing_to_recover_is_a_figure_missed():
    report = a_report()
    report["training"][1]["recovered"] = None
    missed = [row for row in verdicts(report) if not row["met"]]
    assert [row["measured"] for row in missed] == [
        "true labels are not surely better than flipped ones"
    ]


def test_fine_tuned_rows_are_told_with_their_seeds_and_intervals(report):
    tuned = [row | {"weights": FINE_TUNED, "per_seed": [0.7]} for row in report["training"][:3]]
    sections = noise_sections(report | {"training": [*report["training"], *tuned]})
    written = as_markdown(sections, place="study-noise", images="images").text
    assert "but for the tables that say fine-tuned (1 of the seeds)" in written
    table = written.partition("All weights fine-tuned: what labels add")[2].partition("\n\n|")[2]
    lines = table.partition("\n\n")[0].splitlines()[2:]
    assert len(lines) == sum("minus_raw" in row for row in tuned) > 0
    assert all("| 1 |" in line and "points [" in line for line in lines)
    plain = as_markdown(noise_sections(report), place="study-noise", images="images").text
    assert "fine-tuned" not in plain


def test_quick_needs_no_folder_and_the_others_do(few):
    quick, default = plan_of("quick"), plan_of("default")
    assert (quick.benches, quick.models) == (("ukp",), ("MiniLM",))
    assert len(quick.seeds) == len(default.seeds) == 5
    assert [noise.title for noise in noises_of("humour", default)] == ["one person's vote"]
    assert len(noises_of("ukp", default)) == 14
    assert len(noises_of("hh", default)) == 13
    with pytest.raises(ConfigError, match="--data"):
        read_all(default.model_copy(update={"benches": ("humour",)}), data=None)
    assert "fine-tuning" not in noise_estimate({"ukp": few}, default)
    assert "fine-tuning" in noise_estimate({"ukp": few}, plan_of("full"))


def test_fine_tuned_models_learn_from_the_same_labels(bench, few, tiny_bert, tmp_path, vote):
    again = replace(few[1], id=few[0].id)  # the same texts were judged twice
    bench = replace(bench, train=[few[0], again, *few[2:440]], test=few[440:])
    ground = Ground.of(bench, vote=vote)
    cell = run_cell(ground, Noise("uniform", 0.3), vote=vote, seed=0, num_trusted=60)
    train = TrainConfig(batch_size=32, learning_rate=1e-3, max_steps=2)
    told = []
    tuner = Tuner(bench, ModelConfig(path=tiny_bert), tmp_path, {"pairs": "few"}, told.append)
    found = tuned_outcome(tuner, cell, train=train, seed=0)
    assert tuple(found.credit) == TUNED
    assert all(len(credit_M) == len(bench.test) for credit_M in found.credit.values())
    assert sum(told) == 3
    kept = sorted(tmp_path.iterdir())
    assert [path.suffix for path in kept] == [".npy"] * 3  # no scratch is left
    times = [path.stat().st_mtime_ns for path in kept]
    again = tuned_outcome(tuner, cell, train=train, seed=0)
    assert [path.stat().st_mtime_ns for path in kept] == times
    np.testing.assert_array_equal(again.credit[AUTO], found.credit[AUTO])
    clean = replace(cell, labels=dict.fromkeys(TUNED, cell.labels[RAW]))
    same = tuned_outcome(tuner, clean, train=train, seed=0)
    assert sorted(tmp_path.iterdir()) == kept  # the same labels train one model
    np.testing.assert_array_equal(same.credit[ORACLE], found.credit[RAW])
    rows = training_rows(
        Trial("ukp", Noise("uniform", 0.3), [found], np.arange(440), np.arange(200), FINE_TUNED)
    )
    assert {row["weights"] for row in rows} == {FINE_TUNED}
    assert VOTE not in found.suspicion
