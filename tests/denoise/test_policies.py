"""Every policy, the user's included, keeps these rules; each published arm is what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import (
    Decision,
    Strength,
    margins,
    outside,
    suspects,
    to_verdicts,
)
from tamis.errors import ConfigError, DataError

POLICIES = plugins.available("denoise")
PUBLISHED = {
    "drop",
    "flip",
    "flip_margin",
    "flip_soft",
    "flip_soft_margin",
    "keep",
    "margin",
    "smooth",
    "soft",
    "soft_margin",
}
BY_WRONG = {"auto", "calibrated", "confidence"}
BY_STRENGTH = [policy for policy in POLICIES if policy not in BY_WRONG | {"smooth"}]
MEANS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=40)


def strength_of(means):
    mean_N = np.array(means, dtype=np.float64)
    wrong_N = 1 / (1 + np.exp(mean_N + 1))
    return Strength(mean_N, np.abs(mean_N) / 2, wrong_N)


def decide(policy, means, **settings):
    config = DenoiseConfig(policy=policy, **settings)
    return plugins.load("denoise", policy)(strength_of(means), config=config)


def settings():
    threshold = st.one_of(
        st.just({}),
        st.builds(lambda x: {"share": x}, st.floats(0, 1)),
        st.builds(lambda x: {"below": x}, st.floats(-20, 20)),
        st.builds(
            lambda a, b, outside: {"between": (min(a, b), max(a, b) + 0.01), "outside": outside},
            st.floats(0, 0.98),
            st.floats(0, 0.98),
            st.sampled_from(["keep", "drop"]),
        ),
    )
    return st.builds(
        lambda where, alpha, margin: {**where, "alpha": alpha, "margin": margin},
        threshold,
        st.floats(0, 0.5),
        st.sampled_from(["raw", "clipped"]),
    )


def test_the_published_policies_are_there():
    assert set(POLICIES) >= PUBLISHED


@pytest.mark.parametrize("policy", POLICIES)
@given(means=MEANS, given_settings=settings())
def test_every_policy_gives_valid_verdicts_and_never_edits_strength(policy, means, given_settings):
    strength = strength_of(means)
    before = strength.mean_N.copy(), strength.std_N.copy()
    strength.mean_N.setflags(write=False)
    strength.std_N.setflags(write=False)
    config = DenoiseConfig(policy=policy, **given_settings)
    decision = outside(
        plugins.load("denoise", policy)(strength, config=config), strength, config=config
    )
    again = outside(
        plugins.load("denoise", policy)(strength, config=config), strength, config=config
    )
    ids = [f"p{i}" for i in range(len(means))]
    verdicts = to_verdicts(ids, decision)
    assert [v.id for v in verdicts] == ids
    assert all(0 <= v.target <= 1 and v.weight >= 0 and np.isfinite(v.margin) for v in verdicts)
    assert verdicts == to_verdicts(ids, again)
    assert not np.shares_memory(decision.margin_N, strength.mean_N)
    np.testing.assert_array_equal(strength.mean_N, before[0])
    np.testing.assert_array_equal(strength.std_N, before[1])
    changed = [(v.target, v.margin, v.weight) != (1.0, 0.0, 1.0) for v in verdicts]
    named = [v.reason != "keep" for v in verdicts]
    assert all(name for name, change in zip(named, changed, strict=True) if change)


@pytest.mark.parametrize("policy", BY_STRENGTH)
def test_equal_strengths_are_taken_in_the_order_of_the_table(policy):
    first = decide(policy, [0.5] * 6, share=0.5)
    for decision in (first, decide(policy, [0.5] * 6, share=0.5)):
        touched = (decision.target_N < 1) | (decision.weight_N < 1)
        assert touched.tolist() in ([True] * 3 + [False] * 3, [False] * 6)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pair_of_high_strength_is_never_left_out_or_turned(policy):
    decision = decide(policy, [-3.0, -2.0, -1.0, *np.linspace(0.5, 5, 27)])
    if policy in BY_STRENGTH:
        assert (decision.target_N[3:] == 1).all()
        assert (decision.weight_N[3:] == 1).all()
    assert (decision.target_N[3:] > 0.5).all()
    assert (decision.weight_N[3:] > 0.5).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_stronger_pair_is_believed_no_less(policy):
    decision = decide(policy, np.linspace(-3, 3, 31))
    belief_N = decision.weight_N * (decision.target_N - 0.5)
    assert (np.diff(belief_N) >= -1e-12).all()


MU = [2.0, -0.5, 0.25, -3.0, 1.0]
ARMS = {
    "keep": ({}, [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
    "drop": ({"share": 0.4}, [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]),
    "flip": ({"share": 0.4}, [1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
    "soft": ({}, [1, 0.9, 1, 0.9, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
    "margin": ({}, [1, 1, 1, 1, 1], MU, [1, 1, 1, 1, 1]),
    "flip_margin": ({"share": 0.4}, [1, 0, 1, 0, 1], MU, [1, 1, 1, 1, 1]),
    "soft_margin": ({}, [1, 0.9, 1, 0.9, 1], MU, [1, 1, 1, 1, 1]),
    "flip_soft": ({"share": 0.4}, [1, 0.1, 1, 0.1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
    "flip_soft_margin": ({"share": 0.4}, [1, 0.1, 1, 0.1, 1], MU, [1, 1, 1, 1, 1]),
    "smooth": ({}, [0.9, 0.9, 0.9, 0.9, 0.9], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
}
CLIPPED = {
    "margin": [2.0, 0, 0.25, 0, 1.0],
    "flip_margin": [2.0, -0.5, 0.25, -3.0, 1.0],
    "soft_margin": [2.0, 0, 0.25, 0, 1.0],
}


def test_the_table_of_arms_has_them_all():
    assert ARMS.keys() == PUBLISHED


@pytest.mark.parametrize("policy", ARMS)
def test_each_arm_is_the_published_one(policy):
    where, target, margin, weight = ARMS[policy]
    decision = decide(policy, MU, **where)
    assert decision.target_N.tolist() == target
    assert decision.margin_N.tolist() == margin
    assert decision.weight_N.tolist() == weight


@pytest.mark.parametrize("policy", CLIPPED)
def test_a_clipped_margin_is_never_below_0_in_the_believed_direction(policy):
    decision = decide(policy, MU, **ARMS[policy][0], margin="clipped")
    assert decision.margin_N.tolist() == CLIPPED[policy]
    raw = decide(policy, MU, **ARMS[policy][0])
    assert decision.target_N.tolist() == raw.target_N.tolist()


def test_a_pair_flipped_against_a_positive_strength_has_no_clipped_margin():
    margin_N = margins(np.array([3.0, -3.0]), target_N=np.array([0.0, 0.0]), form="clipped")
    assert margin_N.tolist() == [0.0, -3.0]


def test_defaults_are_the_published_choices():
    means = np.linspace(-1, 3, 20)  # 5 below 0
    for policy, acted in (("flip", 2), ("drop", 2), ("soft", 5), ("margin", 20), ("keep", 0)):
        assert decide(policy, means).acted_N.sum() == acted, policy
    assert (decide("flip", means).target_N == 0).tolist() == [True] * 2 + [False] * 18
    assert decide("soft", means).target_N.min() == 0.9
    assert (decide("flip_margin", means).target_N == 0).sum() == 2
    assert (decide("soft_margin", means).target_N == 0.9).sum() == 5


def test_a_given_threshold_replaces_the_default():
    means = [-2.0, -1.0, 0.5, 3.0]
    assert decide("flip", means, below=0.6).target_N.tolist() == [0, 0, 0, 1]
    assert decide("soft", means, share=0.25, alpha=0.3).target_N.tolist() == [0.7, 1, 1, 1]
    assert decide("soft", means, share=1.0, alpha=0.2).target_N.tolist() == [0.8] * 4
    assert decide("drop", means, share=0.0).weight_N.tolist() == [1] * 4
    assert decide("drop", means, share=0.49).weight_N.tolist() == [0, 1, 1, 1]  # rounded down


@pytest.mark.parametrize(("num_pairs", "share", "num_marked"), [(100, 0.29, 29), (50, 0.58, 29)])
def test_a_share_is_not_cut_short_by_binary_numbers(num_pairs, share, num_marked):
    assert num_pairs * share < num_marked  # as computed
    strength = strength_of(np.arange(num_pairs))
    assert suspects(strength, config=DenoiseConfig(share=share)).sum() == num_marked
    above = suspects(strength, config=DenoiseConfig(between=(share, 1.0)))
    assert above.sum() == num_pairs - num_marked
    assert suspects(strength, config=DenoiseConfig(share=share - 1e-4)).sum() == num_marked - 1


def test_a_strength_at_the_threshold_is_not_below_it():
    config = DenoiseConfig(below=0.5)
    assert suspects(strength_of([0.5, 0.4999]), config=config).tolist() == [False, True]


def test_no_threshold_and_no_default_suspects_nobody():
    assert not suspects(strength_of([-5.0, 1.0]), config=DenoiseConfig()).any()


@pytest.mark.parametrize(
    "bad",
    [{"target_N": 1.5}, {"target_N": -0.1}, {"weight_N": -1.0}, {"margin_N": np.nan}],
    ids=str,
)
def test_a_policy_that_breaks_the_rules_is_named_by_pair(bad):
    columns = {"target_N": np.ones(3), "margin_N": np.zeros(3), "weight_N": np.ones(3)}
    ((name, value),) = bad.items()
    columns[name] = np.array([columns[name][0], value, columns[name][0]])
    decision = Decision(**columns, acted_N=np.zeros(3, dtype=bool), reason="mine")
    with pytest.raises(DataError, match="pair p1: the policy gave"):
        to_verdicts(["p0", "p1", "p2"], decision)


def test_a_slice_is_treated_alone():
    means = [5.0, 1.0, -2.0, 3.0, 0.5, 2.0, -1.0, 4.0, 0.0, -3.0]
    config = DenoiseConfig(between=(0.3, 0.5))  # the strengths 0.0 and 0.5
    inside = suspects(strength_of(means), config=config)
    assert np.flatnonzero(inside).tolist() == [4, 8]
    margin = decide("margin", means, between=(0.3, 0.5))
    assert margin.margin_N.tolist() == [0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0]
    assert margin.acted_N.tolist() == inside.tolist()
    both = decide("soft_margin", means, between=(0.9, 1.0))
    assert (both.target_N[0], both.margin_N[0]) == (0.9, 5.0)
    assert both.margin_N[1:].tolist() == [0] * 9
    assert decide("margin", means, share=0.2).margin_N.tolist() == means  # as published


def test_what_is_outside_of_a_slice_can_be_left_out():
    strength = strength_of([3.0, -1.0, 2.0, 0.0])
    config = DenoiseConfig(between=(0.0, 0.5), outside="drop", policy="flip")
    decision = outside(
        plugins.load("denoise", "flip")(strength, config=config), strength, config=config
    )
    assert decision.weight_N.tolist() == [0, 1, 0, 1]
    assert decision.target_N.tolist() == [1, 0, 1, 0]
    reasons = [verdict.reason for verdict in to_verdicts(list("abcd"), decision)]
    assert reasons == ["outside", "flip", "outside", "flip"]


def test_weights_have_the_mean_1_over_a_slice_too():
    wrong_N = np.array([0.4, 0.25, 0.0, 0.0])
    strength = Strength(np.array([-2.0, -1.0, 1.0, 2.0]), np.zeros(4), wrong_N)
    config = DenoiseConfig(policy="confidence", between=(0.0, 0.5), outside="drop")
    decision = plugins.load("denoise", "confidence")(strength, config=config)
    weight_N = outside(decision, strength, config=config).weight_N
    assert weight_N.tolist() == pytest.approx([0.2 / 0.35, 0.5 / 0.35, 0, 0])
    nothing = Decision(np.ones(4), np.zeros(4), np.array([0.0, 0, 1, 1]), wrong_N > 0, "mine")
    assert outside(nothing, strength, config=config).weight_N.tolist() == [0, 0, 0, 0]


def test_calibrated_targets_are_the_probability_that_the_label_is_right():
    strength = Strength(np.zeros(3), np.zeros(3), np.array([0.0, 0.25, 0.9]))
    decision = plugins.load("denoise", "calibrated")(strength, config=DenoiseConfig())
    assert decision.target_N.tolist() == [1.0, 0.75, pytest.approx(0.1)]
    assert decision.weight_N.tolist() == [1, 1, 1]


def test_confidence_weights_have_the_mean_1_over_what_is_left():
    strength = Strength(np.zeros(4), np.zeros(4), np.array([0.0, 0.25, 0.5, 0.9]))
    decision = plugins.load("denoise", "confidence")(strength, config=DenoiseConfig())
    assert decision.weight_N.tolist() == [pytest.approx(4 / 3), pytest.approx(2 / 3), 0, 0]
    assert (decision.target_N == 1).all()


@pytest.mark.parametrize("policy", sorted(BY_WRONG - {"auto"}))
def test_policies_that_need_an_estimate_say_so(policy):
    strength = Strength(np.zeros(2), np.zeros(2))
    with pytest.raises(ConfigError, match=r"reads P\(label wrong\), which could not be estimated"):
        plugins.load("denoise", policy)(strength, config=DenoiseConfig())


def test_auto_keeps_every_label_where_nothing_could_be_estimated():
    strength = Strength(np.array([-3.0, 2.0]), np.zeros(2))
    decision = plugins.load("denoise", "auto")(strength, config=DenoiseConfig())
    assert (decision.target_N == 1).all()
    assert (decision.weight_N == 1).all()
    assert not decision.acted_N.any()


def test_people_give_the_share_that_prefers_chosen():
    nan = np.nan
    people_N2 = np.array([[4.0, 1.0], [0.0, 3.0], [nan, nan], [2.5, 2.5]])
    strength = Strength(np.zeros(4), np.zeros(4), None, people_N2)
    decision = plugins.load("denoise", "people")(strength, config=DenoiseConfig())
    assert decision.target_N.tolist() == [pytest.approx(5 / 7), pytest.approx(1 / 5), 1, 0.5]
    assert decision.acted_N.tolist() == [True, True, False, True]
    # what reward models think is not asked
    sure = Strength(np.zeros(4), np.zeros(4), np.zeros(4), people_N2)
    again = plugins.load("denoise", "people")(sure, config=DenoiseConfig())
    assert again.target_N.tolist() == decision.target_N.tolist()
