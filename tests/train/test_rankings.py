"""Training on rankings: the Plackett-Luce loss of the answers to a prompt."""

from itertools import combinations

import numpy as np
import pytest
from fitting import answer, assert_same, run_fit, settings

from tamis.errors import ConfigError
from tamis.models.load import load_reward_model
from tamis.models.score import score_sequences
from tamis.models.tokenise import encode_conversations, load_tokenizer
from tamis.train.rankings import held_out_rankings, whole_frac, whole_rankings
from tamis.types import Message, Pair, Verdict

PROMPTS = ["question one", "question two", "what?", "fox or dog?"]
ANSWERS = ["good good good", "good good", "good", "bad"]  # the best first
RANKING = {"loss": "plackett_luce", "sampler": "group", "batch_size": 24}


@pytest.fixture(scope="module")
def ranked():
    """All pairs of four ranked answers to each of four prompts."""
    return [
        Pair(
            f"{p}{i}{j}",
            (Message("user", prompt),),
            answer(ANSWERS[i]),
            answer(ANSWERS[j]),
            row=6 * p,
        )
        for p, prompt in enumerate(PROMPTS)
        for i, j in combinations(range(4), 2)
    ]


def keep(pairs):
    return [Verdict(pair.id) for pair in pairs]


def test_the_loss_of_a_batch_is_the_likelihood_of_its_rankings(llama, ranked, tmp_path):
    train = settings(**RANKING, max_steps=1)
    report, _ = run_fit(tmp_path, ranked, model=llama, train=train, verdicts=keep(ranked))
    tokenizer, model = load_tokenizer(llama), load_reward_model(llama, seed=0)
    texts = [(Message("user", prompt), *answer(text)) for prompt in PROMPTS for text in ANSWERS]
    sequences = encode_conversations(tokenizer, texts, max_length=256)
    scores = score_sequences(model, sequences, pad_id=tokenizer.pad_token_id).reshape(4, 4)
    exp = np.exp(scores.astype(np.float64))
    likelihood = [exp[:, k] / exp[:, k:].sum(1) for k in range(3)]
    expected = -np.log(likelihood).sum() / len(ranked)
    assert report["loss"][0]["loss"] == pytest.approx(expected, abs=1e-6)
    assert report["whole_rankings_frac"] == 1.0


@pytest.mark.parametrize("micro", [6, 12])
def test_smaller_parts_rank_the_same_texts(llama, ranked, tmp_path, micro):
    one, other = (
        run_fit(
            tmp_path / name,
            ranked,
            model=llama,
            train=settings(**RANKING, max_steps=3, learning_rate=1e-3, **changes),
            verdicts=keep(ranked),
        )
        for name, changes in (("a", {}), ("b", {"compute__micro_batch_size": micro}))
    )
    curves = [[point["loss"] for point in report["loss"]] for report, _ in (one, other)]
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)
    assert_same(one[1], other[1], atol=1e-4, rtol=0)


def test_rankings_are_learnt_and_held_out_whole(llama, ranked, tmp_path):
    train = settings(
        **{**RANKING, "batch_size": 10},
        max_steps=30,
        learning_rate=3e-3,
        watch__holdout_frac=0.25,
        watch__eval_every=15,
    )
    report, _ = run_fit(tmp_path, ranked, model=llama, train=train, verdicts=keep(ranked))
    assert report["num_held_out"] == 6
    assert report["loss"][-1]["loss"] < 0.5 * report["loss"][0]["loss"]
    assert report["held_out"][-1]["accuracy"] > 0.7
    assert report["whole_rankings_frac"] < 1  # six pairs a prompt, nine in a batch


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"sampler": "shuffle"}, {}, "sampler is shuffle, which scatters them; choose .* group"),
        ({"objective__form": "token"}, {}, "ranks whole answers, and form is token"),
        ({}, {"target": 0.9}, r"1 of 24 pairs have a target other .* 0.9\); choose a policy that"),
        ({}, {"weight": 0.5}, r"1 of 24 pairs have a weight other .* 0.5\)"),
        (
            {"batch_size": 6, "compute__micro_batch_size": 3},
            {},
            "a batch of 6 pairs has 1 prompts and is computed in 2 parts",
        ),
    ],
)
def test_what_rankings_cannot_read_is_refused(llama, ranked, tmp_path, changes, verdict, said):
    verdicts = [Verdict(ranked[0].id, **verdict), *keep(ranked[1:])]
    train = settings(**{**RANKING, **changes})
    with pytest.raises(ConfigError, match=said):
        run_fit(tmp_path, ranked, model=llama, train=train, verdicts=verdicts)


def test_a_flipped_or_dropped_pair_can_be_ranked(llama, ranked, tmp_path):
    verdicts = [Verdict(ranked[0].id, target=0.0), Verdict(ranked[1].id, weight=0.0)]
    train = settings(**RANKING, max_steps=1)
    everything = [*verdicts, *keep(ranked[2:])]
    report, _ = run_fit(tmp_path, ranked, model=llama, train=train, verdicts=everything)
    assert (report["num_pairs"], report["num_swapped"]) == (23, 1)


def test_parts_are_cut_between_prompts_as_evenly_as_that_allows():
    prompts = np.repeat([3, 0, 8, 5], [1, 2, 4, 2])
    numbers = np.arange(9)
    for num_parts, expected in ((1, [9]), (2, [3, 6]), (3, [3, 4, 2]), (4, [1, 2, 4, 2])):
        parts = whole_rankings(numbers, prompts=prompts, num_parts=num_parts)
        assert [len(part) for part in parts] == expected
        assert np.concatenate(parts).tolist() == numbers.tolist()
    with pytest.raises(ConfigError, match="has 4 prompts and is computed in 5 parts"):
        whole_rankings(numbers, prompts=prompts, num_parts=5)


def test_held_out_rankings_are_brought_together():
    prompts = np.array([1, 2, 1, 3, 2, 1, 3, 3])
    parts = held_out_rankings(np.array_split(np.arange(8), 4), prompts=prompts, num_processes=2)
    assert len(parts) == 2
    assert sorted(np.concatenate(parts).tolist()) == list(range(8))
    assert not set(prompts[parts[0]]) & set(prompts[parts[1]])
    assert whole_frac(parts, prompts=prompts, train_N=np.arange(8)) == 1.0
