import pytest

from tamis.policy.iterate.stopping import (
    StopConfig,
    best_quality,
    best_round,
    idle_rules,
    noise,
    stop_reasons,
)
from tamis.types import Interval

START = {"quality": 0.5}


def rules(points, **config):
    return [reason.rule for reason in stop_reasons(points, config=StopConfig(**config))]


def test_a_healthy_run_goes_on(points):
    assert rules(points(START)) == []
    assert rules(points(START, {"quality": 0.6}, {"quality": 0.7})) == []


@pytest.mark.parametrize(
    ("rule", "own", "limit"),
    [
        ("kl", {"kl": 50.1}, {"kl": 50.2}),
        ("length", {"tokens": 41.0}, {"length_factor": 2.1}),
        ("length", {"tokens": 9.0}, {"length_factor": 2.3}),
        ("cut", {"finished_frac": 0.55}, {"finished_fall": 0.4}),
        ("repetition", {"repeated_frac": 0.31}, {"repeated_rise": 0.25}),
        ("diversity", {"distinct_2": 0.39}, {"distinct_factor": 0.4}),
        ("spread", {"spread_ratio": 2.1}, {"spread_factor": 2.2}),
        ("quality", {"quality": 0.4}, {"quality_patience": 2}),
    ],
)
def test_each_rule_stops_alone_at_its_own_limit(points, rule, own, limit):
    run = points(START, {"quality": 0.5, **own})
    assert rules(run) == [rule]
    assert rules(run, **limit) == []
    assert rules(run, **{next(iter(limit)): None}) == []


@pytest.mark.parametrize(
    "own", [{"kl": 50.0}, {"tokens": 40.0}, {"tokens": 10.0}, {"distinct_2": 0.4}]
)
def test_a_value_at_its_limit_is_allowed(points, own):
    assert rules(points(START, {"quality": 0.5, **own})) == []


def test_what_was_not_measured_stops_nothing(points):
    nothing = dict.fromkeys(("finished_frac", "repeated_frac", "distinct_2", "spread_ratio"))
    assert rules(points(nothing, nothing)) == []


def test_quality_within_noise_of_the_best_is_no_fall(points):
    # 0.05 to either side of both: sqrt(2) x 0.05 = 0.0707
    assert noise(Interval(0.6, 0.55, 0.65), Interval(0.5, 0.45, 0.55)) == pytest.approx(
        0.0707, 0.01
    )
    best = {"quality": 0.7}
    assert rules(points(START, best, {"quality": 0.64})) == []
    assert rules(points(START, best, {"quality": 0.62})) == ["quality"]
    # the best so far counts, not the round before
    assert rules(points(START, best, {"quality": 0.65}, {"quality": 0.62})) == ["quality"]


def test_gold_that_falls_beside_a_judge_stops_the_rounds(points):
    even = {"quality": 0.5, "win_rate": 0.5}
    fallen = points(START, even | {"gold_gain": -0.3})
    (reason,) = stop_reasons(fallen, config=StopConfig())
    assert reason.rule == "gold"
    assert reason.sentence.startswith("The gold reward of the last round is below that of the st")
    assert "-0.300 [-0.350, -0.250] after 0.000 [0.000, 0.000]" in reason.sentence
    assert rules(fallen, quality_patience=2) == rules(fallen, quality_patience=None) == []
    assert rules(points(START, even | {"gold_gain": -0.04})) == []
    later = points(START, even | {"gold_gain": 0.6}, even | {"gold_gain": 0.4})
    assert rules(later) == ["gold"]
    # without a judge gold is the quality, and one rule is enough
    gold = points({"quality": 0.0}, {"quality": -0.3, "gold_gain": -0.3})
    assert rules(gold) == ["quality"]


def test_rules_that_cannot_notice_anything_are_named(points):
    def idle(start, **config):
        (point,) = points(start)
        known = {"max_new_tokens": 64, "members": 2} | config.pop("known", {})
        return idle_rules(point, config=StopConfig(**config), **known)

    assert idle(START) == ()
    cut = START | {"tokens": 60.0, "finished_frac": 0.2}
    long, few = idle(cut)
    assert "have 60 tokens and are cut at 64, so they cannot become 2 times as long" in long
    assert "20% of the responses of the start policy end before that limit" in few
    assert idle(cut, length_factor=None, finished_fall=0.1) == ()
    assert "measure.judge" in idle({})[0]
    assert "disagree" in idle(START, known={"members": 1})[0]
    assert idle(START, known={"members": 1}, spread_factor=None) == ()


def test_a_proxy_that_rises_while_quality_falls_stops_the_rounds(points):
    def gain(value):
        return Interval(value, value - 0.1, value + 0.1, 10)

    best = {"quality": 0.7}
    near = {"quality": 0.68, "proxy_since_best": gain(0.5)}  # alone within noise of the best
    worse = {"quality": 0.67, "proxy_since_best": gain(1.0)}
    run = points(START, best, near, worse)
    assert rules(run) == ["proxy"]
    assert rules(run[:-1]) == []
    assert rules(run[:-1], proxy_patience=1) == ["proxy"]
    assert rules(run, proxy_patience=None) == []
    assert rules(points(START, best, near, {**worse, "quality": 0.7})) == []
    assert rules(points(START, best, near, {**worse, "proxy_since_best": gain(0.1)})) == []
    assert rules(points(START, best, near, {**worse, "proxy_since_best": None})) == []
    (reason,) = stop_reasons(run, config=StopConfig())
    assert "prefer the responses to those of round 0, and quality is below it" in reason.sentence
    assert "a gain of 1.000 [0.900, 1.100]" in reason.sentence
    assert "0.670 [0.620, 0.720] after 0.700 [0.650, 0.750]" in reason.sentence
    falling = [{"quality": 0.49, "proxy_since_best": gain(g)} for g in (1.0, 2.0)]
    assert rules(points(START, *falling)) == ["proxy"]


def test_no_round_is_kept_that_the_proxy_rule_names(points):
    gain = Interval(0.5, 0.4, 0.6, 10)
    run = points(
        START,
        {"quality": 0.7, "kl": 5.0},
        {"quality": 0.68, "kl": 4.0, "proxy_since_best": gain},
        {"quality": 0.67, "kl": 6.0, "proxy_since_best": gain},
    )
    reasons = stop_reasons(run, config=StopConfig())
    assert [(reason.rule, reason.rounds) for reason in reasons] == [("proxy", 2)]
    best = best_round(run, reasons=reasons)
    assert best.name == "round-00"
    assert best.sentence.endswith("; round 1 and round 2 are left out: proxy.")
    assert best_round(run[1:], reasons=reasons).place == 0


def test_gains_of_two_reward_models_are_not_compared(points):
    gain = Interval(0.0, -0.1, 0.1, 10)
    rising = {"proxy_since_best": gain}
    best = {"quality": 0.7, "proxy_gain": Interval(1.0, 0.9, 1.1, 10)}
    later = [
        {"quality": 0.68, "proxy_gain": Interval(g, g - 0.1, g + 0.1, 10), **rising}
        for g in (2.0, 3.0)
    ]
    assert rules(points(START, best, *later)) == []


def test_the_first_of_the_highest_quality_is_the_best(points):
    assert best_quality(points(START, {"quality": 0.7}, {"quality": 0.7})) == 1
    assert best_quality(points({}, {})) == 0
    assert best_quality(points({}, {"quality": 0.1})) == 1


def test_patience_waits_for_as_many_rounds_in_a_row(points):
    falling = [START, {"quality": 0.7}, {"quality": 0.6}]
    assert rules(points(*falling), quality_patience=2) == []
    assert rules(points(*falling, {"quality": 0.59}), quality_patience=2) == ["quality"]
    assert rules(points(*falling, {"quality": 0.69}), quality_patience=2) == []


def test_sentences_say_what_was_seen(points):
    run = points(START, {"quality": 0.7}, {"quality": 0.6, "kl": 61.0})
    quality, kl = (reason.sentence for reason in stop_reasons(run, config=StopConfig()))
    assert "that of round 0" in quality
    assert "0.600 [0.550, 0.650] after 0.700 [0.650, 0.750]" in quality
    assert "61.0 nats, above the limit of 50." in kl


def test_the_best_round_has_the_highest_quality_and_of_equal_ones_the_lower_kl(points):
    best = best_round(points(START, {"quality": 0.6}, {"quality": 0.8}, {"quality": 0.7}))
    assert (best.place, best.name) == (2, "round-01")
    assert "above the start policy by more than noise" in best.sentence
    equal = points(START, {"quality": 0.6, "kl": 9.0}, {"quality": 0.6, "kl": 2.0})
    assert best_round(equal).place == 2
    assert best_round(points(START, {"quality": 0.5})).place == 0


def test_of_rounds_within_noise_of_the_highest_the_one_with_the_lowest_kl_is_kept(points):
    # noise between 0.60 and 0.62 is 0.07
    near = points(START, {"quality": 0.6, "kl": 5.0}, {"quality": 0.62, "kl": 40.0})
    best = best_round(near)
    assert best.name == "round-00"
    assert "within noise of the highest, 0.620 [0.570, 0.670] of round 1" in best.sentence
    far = points(START, {"quality": 0.6, "kl": 5.0}, {"quality": 0.7, "kl": 40.0})
    assert best_round(far).name == "round-01"
    # below the start is not what is wanted, however near
    below = points(START, {"quality": 0.48, "kl": 5.0}, {"quality": 0.54, "kl": 40.0})
    assert best_round(below).name == "round-01"


def test_a_round_that_a_rule_objected_to_is_not_kept_and_the_rule_is_named(points):
    wild = {"kl": 400.0, "tokens": 200.0, "repeated_frac": 0.9, "distinct_2": 0.1}
    run = points(START, {"quality": 0.6}, {"quality": 0.9, **wild})
    best = best_round(run, reasons=stop_reasons(run, config=StopConfig()))
    assert best.name == "round-00"
    assert "round 1 is left out: kl, length, repetition, diversity" in best.sentence
    assert best_round(run).name == "round-01"
    first = points(START, {"quality": 0.9, **wild})
    kept = best_round(first, reasons=stop_reasons(first, config=StopConfig()))
    assert kept.name == "start"
    assert "round 0 is left out: kl, length, repetition, diversity" in kept.sentence


def test_the_start_is_kept_where_no_round_is_better_and_doubt_is_told(points):
    kept = best_round(points(START, {"quality": 0.4}))
    assert (kept.name, kept.sentence[:25]) == ("start", "The start policy is kept:")
    # an estimate of the KL may be below 0; of the same quality the start is kept all the same
    assert best_round(points(START, {"quality": 0.5, "kl": -0.01})).name == "start"
    doubtful = best_round(points(START, {"quality": 0.54}))
    assert doubtful.name == "round-00"
    assert "not above the start policy" in doubtful.sentence


def test_without_quality_the_last_round_is_kept_that_broke_no_rule(points):
    run = points({}, {}, {"kl": 99.0})
    reasons = stop_reasons(run, config=StopConfig())
    assert best_round(run, reasons=reasons).name == "round-00"
    assert best_round(run[:2]).name == "round-00"
    assert best_round(run[:1]).name == "start"
    assert "no quality was measured" in best_round(run[:2]).sentence
