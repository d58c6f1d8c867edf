from dataclasses import replace

import numpy as np
import pytest

from tamis.models.config import ModelConfig
from tamis.models.tokenise import load_tokenizer
from tamis.studies.judges import fit_judge, length_neutral, log_lengths
from tamis.studies.shift.records import Answers
from tamis.types import Message, Pair
from tamis.vote.frozen import flatten, frozen_differences


def turn(text):
    return (Message("assistant", text),)


def question(number):
    return (Message("user", f"question {number}?"),)


def known(numbers):
    """The answer with a fox is better than the one with a dog."""
    return [Pair(f"p{n}", question(n), turn(f"fox {n}"), turn(f"dog {n}")) for n in numbers]


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return ModelConfig(path=tiny_bert)


@pytest.fixture(scope="module")
def judge(encoder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("features")
    return fit_judge(known(range(60)), model=encoder, cache=cache, seed=0)


def test_a_judge_knows_what_it_was_taught(judge):
    pairs = known(range(60, 80))
    assert judge.accuracy(pairs) == 1.0
    assert judge.accuracy([pair.swapped() for pair in pairs]) == 0.0


def test_rewards_rank_responses_from_the_first(judge):
    answers = [
        Answers(question(1), (turn("dog 1"), turn("fox 1"), turn("dog 1"))),
        Answers(question(2), (turn("fox 2"), turn("dog 2"), turn("dog 3"))),
    ]
    reward_PK = judge.rewards(answers)
    assert reward_PK.shape == (2, 3)
    assert reward_PK[:, 0].tolist() == [0.0, 0.0]
    assert reward_PK[0, 1] > 0 > reward_PK[1, 1]
    assert reward_PK[0, 2] == 0.0  # the same text
    assert judge.rewards([Answers(question(1), (turn("fox"),))]).tolist() == [[0.0]]


def test_a_reward_is_that_of_the_pair(judge):
    """A response against the first one of its prompt is a pair, scaled as in training."""
    answers = [Answers(question(n), (turn(f"dog {n}"), turn(f"fox or {n}"))) for n in range(4)]
    pairs = [Pair(str(n), a.prompt, a.responses[1], a.responses[0]) for n, a in enumerate(answers)]
    diff_NLD = frozen_differences(pairs, model=judge.model, cache=judge.cache)
    gap_N = flatten(diff_NLD, scale_L=judge.scale_L) @ judge.weights_D
    np.testing.assert_allclose(judge.rewards(answers)[:, 1], gap_N, atol=1e-5)


def test_responses_to_a_prompt_are_read_with_the_same_tokens_of_it(judge):
    """A long response shortens the prompt for all, so that they differ in themselves alone."""
    prompt = (Message("user", "fox " * 40 + "dog " * 40),)
    short, long = turn("good"), turn("bad " * 30)
    alone = judge.rewards([Answers(prompt, (short, turn("bad")))])
    both = judge.rewards([Answers(prompt, (short, turn("bad"), long))])
    assert alone[0, 1] != both[0, 1]
    huge = turn("fox " * 200)  # does not fit without the prompt: each is cut by itself
    assert np.isfinite(judge.rewards([Answers(prompt, (short, huge))])).all()
    assert int(load_tokenizer(judge.model).model_max_length) == 64


def test_a_judge_of_the_first_pairs_is_a_judge_of_them_alone(encoder, tmp_path):
    pairs = known(range(20)) + [pair.swapped() for pair in known(range(20, 60))]
    first = fit_judge(pairs, model=encoder, cache=tmp_path, seed=0, num=20)
    alone = fit_judge(pairs[:20], model=encoder, cache=tmp_path, seed=0)
    np.testing.assert_allclose(first.weights_D, alone.weights_D, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(first.scale_L, alone.scale_L, rtol=1e-5)
    assert first.accuracy(known([70])) == 1.0
    assert fit_judge(pairs, model=encoder, cache=tmp_path, seed=0).accuracy(known([70])) == 0.0


def answers_of_many_lengths(num=12):
    rng = np.random.default_rng(0)
    return [
        Answers(question(n), tuple(turn("fox dog " * int(k)) for k in rng.integers(1, 9, size=4)))
        for n in range(num)
    ]


def likes_the_longer(judge, answers):
    reward_PK, log_PK = judge.rewards(answers), log_lengths(answers)
    one, two = np.triu_indices(4, k=1)
    longer_PM = np.sign(log_PK[:, one] - log_PK[:, two])
    better_PM = reward_PK[:, one] - reward_PK[:, two]
    return (better_PM * longer_PM)[longer_PM != 0] > 0


def test_a_neutral_judge_likes_the_longer_in_half_of_the_pairs(judge):
    answers = answers_of_many_lengths()
    biased = replace(judge, length_slope=-3.0)
    assert likes_the_longer(biased, answers).mean() > 0.9
    neutral = length_neutral(biased, answers)
    assert likes_the_longer(neutral, answers).mean() == pytest.approx(0.5, abs=0.02)
    assert neutral == length_neutral(judge, answers)  # what it took before does not matter
    assert neutral.rewards(answers)[:, 0].tolist() == [0.0] * len(answers)
    same = [Answers(question(n), (turn("fox"), turn("dog"))) for n in range(3)]
    assert length_neutral(biased, same).length_slope == 0.0


def test_accuracy_counts_what_length_is_worth(judge):
    pairs = [Pair(f"p{n}", question(n), turn(f"fox {n}"), turn(f"dog {n}" * 9)) for n in range(5)]
    biased = replace(judge, length_slope=-100.0)
    assert biased.accuracy(pairs) == 0.0
    assert biased.accuracy([pair.swapped() for pair in pairs]) == 1.0
