"""Points of rounds, from responses that were written by hand and rules that score them."""

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.policy.iterate.measuring import (
    HALF,
    NOTHING,
    Instruments,
    reward_gain,
    round_point,
    start_point,
)
from tamis.policy.iterate.points import START
from tamis.policy.sampling.responses import Sampled
from tamis.types import Interval, Message

PROMPTS = ("one", "two", "three")


def answered(*texts: tuple[str, ...]) -> list[Sampled]:
    return [
        Sampled(
            (Message("user", prompt),),
            tuple((Message("assistant", text),) for text in own),
            tuple(True for _ in own),
            tuple(tuple(range(len(text.split()))) for text in own),
        )
        for prompt, own in zip(PROMPTS, texts, strict=False)
    ]


BEFORE = answered(("a b", "c d e"), ("f g",), ("h i j k",))
AFTER = answered(("a b c d", "c d e f g"), ("f g h i",), ("h i j k l m",))


def words(answers):
    return np.array([float(len(r[0].content.split())) for one in answers for r in one.responses])


def log_probs(each):
    """Log probabilities of ``each`` a token."""
    return lambda answers: [np.full(len(ids), each) for one in answers for ids in one.ids]


def point(**own):
    using = Instruments(log_probs(-1.0), log_probs(-1.5), **own)
    return round_point("round-00", AFTER, BEFORE, using=using, seed=0)


def test_the_start_has_no_divergence_and_the_quality_it_is_given():
    found = start_point(BEFORE, reference=log_probs(-1.0), quality=HALF, seed=0)
    assert (found.name, found.kl, found.quality) == (START, NOTHING, HALF)
    assert found.tokens.value == pytest.approx(11 / 4)
    assert found.perplexity == pytest.approx(np.e)
    assert found.proxy_gain is found.scores is None


def test_the_divergence_is_that_of_a_whole_response():
    found = point()
    # 4 + 5 + 4 + 6 tokens in 4 responses, half a nat each
    assert found.kl.value == pytest.approx(0.5 * 19 / 4)
    assert found.perplexity == pytest.approx(np.exp(1.5))
    assert found.finished_frac == 1.0
    assert found.quality is found.proxy_gain is found.gold_gain is None


def test_gains_are_in_standard_deviations_of_the_start_and_prompts_count_alike():
    # per prompt: (4.5 - 2.5), (4 - 2), (6 - 4)
    std = np.std([2.0, 3.0, 2.0, 4.0])
    gain = reward_gain(words, AFTER, BEFORE, seed=0)
    assert gain.value == pytest.approx(2.0 / std)
    assert gain.low == pytest.approx(gain.high)
    scaled = reward_gain(lambda answers: 100 - 7 * words(answers), AFTER, BEFORE, seed=0)
    assert scaled.value == pytest.approx(-gain.value)


def test_equal_rewards_at_the_start_leave_the_unit_as_it_is():
    same = answered(("a",), ("b",), ("c",))
    other = answered(("a a",), ("b b b",), ("c c c c",))
    assert reward_gain(words, other, same, seed=0).value == pytest.approx(2.0)


def test_the_judge_goes_before_the_gold_reward():
    rate = Interval(0.7, 0.6, 0.8, 3)
    both = point(gold=words, win_rate=rate)
    assert both.quality == both.win_rate == rate
    assert both.gold_gain.value > 0
    gold = point(gold=words)
    assert gold.quality == gold.gold_gain
    assert point(proxy=words).quality is None


def test_the_gain_since_the_best_is_over_its_responses():
    assert point(proxy=words).proxy_since_best == point(proxy=words).proxy_gain  # the start
    assert point().proxy_since_best is None
    using = Instruments(log_probs(-1.0), log_probs(-1.5), proxy=words)
    between = answered(("a b", "c"), ("f",), ("h i",))
    found = round_point("round-01", AFTER, BEFORE, best=between, using=using, seed=0)
    assert found.proxy_gain == point(proxy=words).proxy_gain
    assert found.proxy_since_best == reward_gain(words, AFTER, between, seed=0)
    assert found.proxy_since_best != found.proxy_gain


def test_histograms_of_both_have_the_same_bins():
    scores = point(proxy=words).scores
    assert sum(scores.counts) == sum(scores.start_counts) == 4
    assert len(scores.edges) == len(scores.counts) + 1
    middle = np.convolve(scores.edges, [0.5, 0.5], "valid")
    assert middle @ scores.counts > middle @ scores.start_counts


def test_disagreement_is_told_beside_that_about_the_start():
    def other(answers):
        return np.array([float(len(r[0].content)) ** 2 for one in answers for r in one.responses])

    assert point(proxy=words, members=[words, words]).spread_ratio is None  # they never disagree
    assert point(proxy=words, members=[words]).spread_ratio is None
    ratio = point(proxy=words, members=[words, other]).spread_ratio
    standard = [(v(AFTER) - v(BEFORE).mean()) / v(BEFORE).std() for v in (words, other)]
    at_start = [(v(BEFORE) - v(BEFORE).mean()) / v(BEFORE).std() for v in (words, other)]
    expected = np.std(standard, axis=0).mean() / np.std(at_start, axis=0).mean()
    assert ratio == pytest.approx(expected)


def test_other_prompts_are_refused():
    using = Instruments(log_probs(-1.0), log_probs(-1.0))
    with pytest.raises(DataError, match="round-00: 2 held-out prompts, and 3 of the start"):
        round_point("round-00", AFTER[:2], BEFORE, using=using, seed=0)
