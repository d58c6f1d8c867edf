"""Sections on single stages with a policy, from reports as the stages write them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from pages import Page

from tamis.evaluate.judging.matching import Comparison
from tamis.evaluate.judging.opinion import Opinion
from tamis.evaluate.judging.report import judge_report
from tamis.policy.sampling.best_of import best_of_points
from tamis.policy.sampling.responses import Sampled
from tamis.policy.watch import watch_point
from tamis.report import write_report
from tamis.types import Message


def interval(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "num_items": 5}


@pytest.fixture
def page(tmp_path):
    """Writes the report of a stage, and returns the page of the run and its twin."""

    def write(stage, report):
        folder = tmp_path / "run" / stage
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report))
        out = write_report(tmp_path / "run", out=tmp_path / "report.html")
        text = out.read_text("utf-8")
        Page(text)
        return " ".join(text.split()), json.loads(out.with_suffix(".json").read_text())

    return write


def sampled(*, gold):
    rng = np.random.default_rng(0)
    proxy = [rng.normal(size=4) for _ in range(6)]
    worth = [score_M / 2 for score_M in proxy] if gold else None
    points = best_of_points(proxy, gold=worth, seed=0)
    return {"curve": [asdict(point) for point in points], "best_of": {"n": 4, "num_pairs": 6}}


def test_the_best_of_n_is_drawn_against_kl_with_gold_where_there_is_one(page):
    text, twin = page("sample", sampled(gold=True))
    assert list(twin["sections"]) == ["best-of"]
    assert ">gain to the gold reward<" in text
    assert "The best of 4 is worth" in text
    assert [point["num"] for point in twin["sections"]["best-of"]["data"]["curve"]] == [1, 2, 4]
    text, _ = page("sample", sampled(gold=False))
    assert ">gain to the gold reward<" not in text


@pytest.mark.parametrize("scored", [False, True])
def test_samples_show_what_was_measured_of_them(page, scored):
    answers = [
        Sampled(
            (Message("user", f"Number {n}?"),),
            tuple((Message("assistant", f"{n} and {k} make {n + k}."),) for k in range(2)),
            (True, False),
            ((1,) * (n + 3), (1,) * 5),
        )
        for n in range(6)
    ]
    scores = (lambda _: np.arange(12.0)) if scored else None
    point = watch_point(answers, policy=None, reference=None, proxy=scores, gold=None, seed=0)
    text, twin = page("sample", {"watch": point.to_json()})
    assert list(twin["sections"]) == ["responses"]
    assert "12 responses to 6 prompts, 5 tokens long on average." in text
    assert twin["sections"]["responses"]["data"]["tokens"]["mean"]["value"] == 5.25
    for words in ("likeness of responses", "ended and was not cut", "50.0%"):
        assert words in text
    assert (">reward<" in text) is scored
    assert "vote of reward models" not in text


def test_alignment_shows_held_out_pairs_before_and_after(page):
    state = {"accuracy": interval(0.5), "log_prob_chosen": -20.0, "log_prob_rejected": -25.0}
    held_out = {
        "num_pairs": 9,
        "before": state,
        "after": {**state, "accuracy": interval(0.7)},
        "longest": interval(0.6),
        "shortest": interval(0.4),
    }
    curve = [
        {"step": n, "loss": 0.7 / n, "accuracy": 0.5, "log_prob_chosen": -20.0 - n, "margin": 0.0}
        | {"log_prob_rejected": -25.0 - n}
        for n in (1, 2, 3)
    ]
    report = {"num_pairs": 30, "num_steps": 3, "curve": curve, "held_out": held_out}
    text, twin = page("align", report)
    assert list(twin["sections"]) == ["alignment"]
    assert "orders 70.0% [60.0, 80.0] of 9 held-out pairs as labelled" in text
    assert "a rule of length 60.0%" in text
    for words in (">loss<", ">log probability, nats<", ">chosen<", ">rejected<"):
        assert words in text
    text, _ = page("align", {**report, "held_out": None, "curve": curve[:1]})
    assert "30 pairs, 3 steps." in text
    assert "<figure>" not in text


def test_the_judge_tells_outcomes_and_whether_place_decides(page):
    asked = (Message("user", "which?"),)
    comparisons = [
        Comparison(asked, (Message("assistant", f"a {n}"),), (Message("assistant", "b"),), n)
        for n in range(3)
    ]
    agreed = Opinion("first", "agreed", by_order=("first", "first"))
    opinions = [agreed, agreed, Opinion("tie", "inconsistent", by_order=("first", "second"))]
    text, twin = page("judge", judge_report(comparisons, opinions, seed=0))
    assert list(twin["sections"]) == ["judge"]
    assert "wins 83.3%" in text
    assert ">win</th>" in text
    assert "on which the two orders disagree: 33.3%" in text
    assert "1 prompts are few" in text
