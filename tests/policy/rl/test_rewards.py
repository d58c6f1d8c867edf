"""The reward function that TRL calls: principles, shape, and what is noted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.policy.rl.config import ShapingConfig
from tamis.policy.rl.rewards import Guide, Judged, PolicyReward, Scored, Shape
from tamis.principles.principle import Principle, Stance
from tamis.types import Message

END = 2
KNOWN = tuple(Principle(f"p{n}", (f"Be {n}.",), (f"Do not be {n}.",)) for n in range(9))


def talk(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def call(reward, texts, *, numbers, step=0, held_out=False, ids=None):
    """Call a reward as TRL does; returns the rewards and the metrics."""
    metrics = {}
    rewards = reward(
        prompts=[[{"role": "user", "content": f"Prompt {n}"}] for n in numbers],
        completions=talk(*texts),
        completion_ids=ids or [[5, END]] * len(texts),
        number=numbers,
        held_out=[held_out] * len(texts),
        trainer_state=SimpleNamespace(global_step=step),
        log_extra=lambda *_: None,
        log_metric=metrics.__setitem__,
    )
    return rewards, metrics


def made(score, *, shape=Shape(ShapingConfig()), guide=Guide(), gold=None):  # noqa: B008
    return PolicyReward(Judged(score, gold, guide), shape, end_ids=frozenset([END]))


def by_length(asked):
    return Scored(np.array([float(len(one.answer[-1].content)) for one in asked]))


def seen(asked, *, into):
    into.extend(asked)
    return by_length(asked)


def test_answers_are_scored_as_sampled_responses_are_and_noted_apart():
    reward = made(by_length, gold=lambda asked: Scored(-by_length(asked).score_N))
    rewards, metrics = call(reward, ["abc", "", " a "], numbers=[4, 4, 7])
    assert rewards == [3.0, 1.0, 1.0]  # an empty one is a full stop, white space is nothing
    assert metrics["score/mean"] == pytest.approx(5 / 3)
    assert "gold/mean" not in metrics
    held_out, metrics = call(reward, ["ab"], numbers=[1], held_out=True)
    assert held_out == [2.0]
    assert metrics["gold/mean"] == -2.0
    trained, watched = reward.take_trained(), reward.take_held_out()
    assert trained.number_N.tolist() == [4, 4, 7]
    assert trained.gold_N is None
    assert watched.gold_N.tolist() == [-2.0]
    assert reward.take_trained() is None
    assert reward.take_held_out() is None


def test_a_prompt_that_two_processes_answered_counts_once():
    reward = made(by_length, gold=by_length)
    call(reward, ["a", "abc"], numbers=[3, 1], held_out=True)
    call(reward, ["abcde", "ab"], numbers=[1, 2], held_out=True)
    once = reward.take_held_out().each_prompt_once()
    assert once.number_N.tolist() == [1, 2, 3]
    assert once.score_N.tolist() == once.gold_N.tolist() == [3.0, 2.0, 1.0]
    assert once.spread_N is None


def test_calls_of_one_step_are_noted_together():
    reward = made(by_length)
    call(reward, ["a"], numbers=[0])
    call(reward, ["ab"], numbers=[1])
    assert reward.take_trained().score_N.tolist() == [1.0, 2.0]


def test_the_form_of_an_answer_counts_after_the_clip():
    config = ShapingConfig(
        no_stop_penalty=6, length_penalty=0.5, length_bonus=5, bonus_tokens=4, bonus_cap=0.6
    )
    reward = made(by_length, shape=Shape(config, clip=2.0))
    ids = [[5, END], [5, 5, 5]]
    rewards, metrics = call(reward, ["abcdef", "a"], numbers=[0, 0], ids=ids)
    assert rewards == pytest.approx([2 - 1 + 5 * 0.5, 1 - 6 - 1.5 + 5 * 0.6])
    assert metrics["finished_frac"] == 0.5
    noted = reward.take_trained()
    assert noted.score_N.tolist() == [6.0, 1.0]
    assert noted.reward_N.tolist() == rewards
    assert noted.finished_N.tolist() == [True, False]


def test_the_spread_of_an_ensemble_is_shown():
    reward = made(lambda asked: Scored(np.zeros(len(asked)), np.array([1.0, 3.0])))
    _, metrics = call(reward, ["a", "b"], numbers=[0, 0])
    assert metrics["score/spread"] == 2.0
    assert reward.take_trained().spread_N.tolist() == [1.0, 3.0]


def test_what_the_texts_are_like_is_shown():
    reward = made(by_length)
    _, metrics = call(reward, ["the fox the fox the fox the", "the dog"], numbers=[0, 0])
    assert metrics["text/distinct_1"] == pytest.approx(3 / 9)
    assert metrics["text/distinct_2"] == pytest.approx(3 / 7)
    assert metrics["text/repeated_frac"] == pytest.approx(0.25)  # of four and of none
    assert 0 < metrics["text/self_bleu"] < 1
    _, metrics = call(reward, ["a"], numbers=[0])
    assert "text/self_bleu" not in metrics


def test_answers_to_one_prompt_in_one_step_get_the_same_principles():
    asked = []
    guide = Guide((Stance("brief", "Be brief."),), KNOWN, num_drawn=3, seed=1)
    reward = made(lambda given: seen(given, into=asked), guide=guide)
    call(reward, ["a", "b", "c"], numbers=[4, 4, 5], step=2)
    first, second, other = (one.principles for one in asked)
    assert first == second != other
    assert len(set(first)) == 4
    assert all(texts[-1] == "Be brief." for texts in (first, second, other))
    call(reward, ["a"], numbers=[4], step=2)
    call(reward, ["a"], numbers=[4], step=3)
    assert asked[3].principles == first != asked[4].principles


def test_principles_that_name_the_type_of_a_prompt_are_drawn_for_it():
    asked = []
    known = (*KNOWN, Principle("sums", ("Compute.",), ("Guess.",), 0.0, {"reasoning": 1e6}))
    prompt = (Message("user", "Prompt 4"),)
    guide = Guide((), known, num_drawn=1, seed=1, types={prompt: "reasoning"})
    reward = made(lambda given: seen(given, into=asked), guide=guide)
    for step in range(5):
        call(reward, ["a"], numbers=[4], step=step)
    assert [one.principles for one in asked] == [("Compute.",)] * 5
    other = replace(guide, types={(Message("user", "another"),): "reasoning"})
    drawn = {other.texts(step, 4, prompt) for step in range(20)}
    assert len(drawn) > 1
    assert ("Compute.",) not in drawn


def test_held_out_prompts_keep_their_principles_and_the_gold_score_has_none():
    proxy, gold = [], []
    reward = made(
        lambda given: seen(given, into=proxy),
        guide=Guide((), KNOWN, num_drawn=2, seed=1),
        gold=lambda given: seen(given, into=gold),
    )
    for step in (0, 5):
        call(reward, ["a"], numbers=[4], step=step, held_out=True)
    assert proxy[0].principles == proxy[1].principles != ()
    assert [one.principles for one in gold] == [(), ()]


def test_no_more_principles_are_drawn_than_there_are():
    with pytest.raises(ConfigError, match="12 principles are to be drawn; 9"):
        Guide((), KNOWN, num_drawn=12).texts(0, 0)
