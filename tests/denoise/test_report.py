import json

import pytest

from tamis.denoise.config import DenoiseConfig
from tamis.denoise.report import denoise_report
from tamis.types import Message, Pair, Verdict

A, B = (Message("assistant", "a"),), (Message("assistant", "b"),)


def pair(name, gold):
    return Pair(name, (), A, B, gold=gold)


# label right / wrong / unknown / undecided, and what the policy does
PAIRS = [
    pair("right kept", 1.0),
    pair("right flipped", 0.9),
    pair("right dropped", 1.0),
    pair("wrong kept", 0.0),
    pair("wrong flipped", 0.2),
    pair("wrong dropped", 0.0),
    pair("wrong soft", 0.0),
    pair("unknown flipped", None),
    pair("even flipped", 0.5),
]


def verdict(name):
    if name.endswith("flipped"):
        return Verdict(name, target=0.0, reason="mine")
    if name.endswith("dropped"):
        return Verdict(name, weight=0.0, reason="mine")
    if name.endswith("soft"):
        return Verdict(name, target=0.9, reason="mine")
    return Verdict(name)


def test_what_was_done_and_what_it_did_to_wrong_labels():
    verdicts = [verdict(p.id) for p in PAIRS]
    report = denoise_report(PAIRS, verdicts, config=DenoiseConfig(policy="mine", share=0.3))
    assert json.loads(json.dumps(report)) == report
    assert report["policy"] == "mine"
    assert report["settings"] == {
        "share": 0.3,
        "below": None,
        "between": None,
        "outside": "keep",
        "alpha": 0.1,
        "margin": "raw",
        "trusted": None,
    }
    counts = {key: value for key, value in report.items() if key.startswith("num_")}
    assert counts == {
        "num_pairs": 9,
        "num_changed": 7,
        "num_dropped": 2,
        "num_flipped": 4,
        "num_softened": 1,
    }
    assert report["changed_frac"] == pytest.approx(7 / 9)
    assert report["mean_weight"] == pytest.approx(7 / 9)
    assert report["reasons"] == {"keep": 2, "mine": 7}
    # of 7 known, 5 are used: right kept, right flipped, wrong kept, wrong flipped, wrong soft
    assert report["against_gold"] == {
        "num_known": 7,
        "num_used": 5,
        "wrong_before_frac": pytest.approx(4 / 7),
        "wrong_after_frac": pytest.approx(3 / 5),
        "num_repaired": 1,
        "num_broken": 1,
        "num_wrong_dropped": 1,
        "num_right_dropped": 1,
    }


def test_a_pair_that_is_left_out_is_neither_flipped_nor_softened():
    turned = [
        Verdict(p.id, target=0.2, weight=weight)
        for p, weight in zip(PAIRS[:3], [1, 0, 2], strict=True)
    ]
    report = denoise_report(PAIRS[:3], turned, config=DenoiseConfig())
    assert [report[f"num_{what}"] for what in ("flipped", "softened", "dropped")] == [2, 2, 1]


def test_without_gold_labels_nothing_is_said_about_them():
    pairs = [pair("right kept", None), pair("wrong kept", 0.5)]
    report = denoise_report(pairs, [verdict(p.id) for p in pairs], config=DenoiseConfig())
    assert report["against_gold"] is None
