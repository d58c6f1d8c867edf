from dataclasses import replace

import numpy as np
import pytest

from tamis.studies.overoptimise.labels import Labeller
from tamis.studies.overoptimise.plan import OverPlan
from tamis.types import Message, Pair
from tamis.vote.config import VoteConfig

NUM = 80
VOTE = VoteConfig(num_voters=2, num_folds=2, epochs=3, estimators=("cross_fitted",))


def turn(text):
    return (Message("assistant", text),)


@pytest.fixture(scope="module")
def truth():
    question = (Message("user", "?"),)
    return [
        Pair(f"p{n}", question, turn(f"good {n}"), turn(f"bad {n}"), margin=1.0 + n)
        for n in range(NUM)
    ]


def labeller_of(truth, **changes):
    rng = np.random.default_rng(0)
    diff_ND = (rng.normal(size=(NUM, 6)) + 1.5 * (np.arange(6) < 2)).astype(np.float32)
    return Labeller(truth, diff_ND, OverPlan(vote=VOTE, **changes))


def is_turned(labels):
    return np.array([pair.chosen[0].content.startswith("bad") for pair in labels.pairs])


def test_a_quarter_of_the_labels_is_wrong_and_a_seed_says_which(truth):
    labeller = labeller_of(truth)
    first, again, other = (is_turned(labeller.labels("given", seed=seed)) for seed in (0, 0, 1))
    assert first.sum() == other.sum() == NUM // 4
    assert (first == again).all()
    assert (first != other).any()
    assert (first == labeller.drawn(0).wrong_N).all()
    assert not is_turned(labeller.labels("true", seed=0)).any()


def test_labels_go_wrong_where_the_worse_answer_is_much_longer(truth):
    talkative = [
        replace(pair, rejected=turn(f"bad {n} " + "la " * (40 * (n % 4 == 0))))
        for n, pair in enumerate(truth)
    ]
    turned = is_turned(labeller_of(talkative).labels("given", seed=0))
    assert turned[::4].sum() == turned.sum() == NUM // 4


def test_near_ties_go_wrong_first_where_this_is_asked(truth):
    labels = labeller_of(truth, noise="near").labels("given", seed=0)
    assert np.flatnonzero(is_turned(labels)).tolist() == list(range(NUM // 4))


def test_labels_are_blind(truth):
    """No pair says what gold thinks, and the verdicts follow from the labels alone."""
    labels = labeller_of(truth).labels("denoised", seed=0)
    assert {(pair.margin, pair.gold) for pair in labels.pairs} == {(None, None)}
    other = [replace(pair, margin=500.0 - pair.margin, gold=0.0) for pair in truth]
    assert labeller_of(other).labels("denoised", seed=0).verdicts == labels.verdicts
    assert [verdict.id for verdict in labels.verdicts] == [pair.id for pair in labels.pairs]


def test_denoising_takes_weight_from_wrong_labels(truth):
    labeller = labeller_of(truth)
    wrong_N = labeller.drawn(0).wrong_N
    assert labeller.labels("given", seed=0).weight_on(wrong_N) == 0.25
    assert labeller.labels("denoised", seed=0).weight_on(wrong_N) < 0.15


def test_labels_that_are_wrong_by_a_rule_are_found_where_some_are_checked():
    """Three quarters of the labels say "the longer", and the heads see lengths above all."""
    rng = np.random.default_rng(3)
    question, num = (Message("user", "?"),), 400
    length_N2 = rng.integers(5, 200, size=(num, 2))
    truth = [
        Pair(f"p{n}", question, turn(f"{n} " + "a" * first), turn(f"{n} " + "b" * second))
        for n, (first, second) in enumerate(length_N2.tolist())
    ]
    gap_N = np.log(length_N2[:, 0] / length_N2[:, 1])
    diff_ND = np.stack([gap_N, 0.5 + rng.normal(size=num)], axis=1).astype(np.float32)
    labeller = Labeller(truth, diff_ND, OverPlan(vote=VOTE))
    wrong_N = labeller.drawn(0).wrong_N
    alone, checked = (labeller.labels(kind, seed=0) for kind in ("denoised", "trusted"))
    assert alone.weight_on(wrong_N) > 0.24
    assert checked.weight_on(wrong_N) < 0.2
    assert checked.noise_rate == pytest.approx(0.25, abs=0.08)
    assert [pair.id for pair in checked.pairs] == [pair.id for pair in alone.pairs]
