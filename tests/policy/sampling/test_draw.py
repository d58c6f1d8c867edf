"""One random number a token: the distribution is that of torch, and of the library's own steps."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers.generation.configuration_utils import GenerationConfig

from tamis.models.load import load_language_model
from tamis.policy.sampling.config import Sampling
from tamis.policy.sampling.draw import DrawToken, chance, draw_token

NUM_DRAWS = 20_000


def counts_of(logits_V: torch.Tensor, *, seed: int) -> np.ndarray:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = draw_token(logits_V.expand(NUM_DRAWS, -1))
    return np.bincount(drawn[:, 0].numpy(), minlength=len(logits_V))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_come_as_often_as_they_are_likely(dtype):
    logits_V = torch.tensor([0.0, 2.0, -1.0, 1.0, -torch.inf, 0.5, -3.0], dtype=dtype)
    counts_V = counts_of(logits_V, seed=0)
    chance_V = logits_V.double().softmax(0).numpy()
    assert counts_V[4] == 0
    there = chance_V > 0
    assert chisquare(counts_V[there], NUM_DRAWS * chance_V[there]).pvalue > 0.01


def test_the_largest_random_number_draws_no_token_that_cannot_come(monkeypatch):
    monkeypatch.setattr(torch, "rand_like", torch.ones_like)
    logits = torch.tensor([[0.0, 1.0, -torch.inf], [0.0, -torch.inf, -torch.inf]])
    assert draw_token(logits).tolist() == [[1], [0]]
    monkeypatch.setattr(torch, "rand_like", torch.zeros_like)
    assert draw_token(logits.flip(1)).tolist() == [[1], [2]]


def test_what_is_drawn_is_the_likeliest_afterwards():
    scores = torch.randn(5, 11)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = draw_token(scores)
        torch.manual_seed(3)
        found = DrawToken()(torch.zeros(5, 1), scores)
    assert torch.equal(found.argmax(dim=1, keepdim=True), expected)
    assert torch.isinf(found).sum() == 50


def test_steps_before_the_draw_are_those_of_the_library(llama):
    """The library makes them from the same settings where it samples itself."""
    model = load_language_model(llama)
    how = Sampling(temperature=0.7, top_k=7, top_p=0.8)
    *own, draw = chance(how)["logits_processor"]
    wanted = GenerationConfig(do_sample=True, temperature=0.7, top_k=7, top_p=0.8)
    theirs = model._get_logits_processor(wanted, input_ids_seq_length=1, device="cpu")
    assert isinstance(draw, DrawToken)
    assert [type(step) for step in own] == [type(step) for step in theirs]
    scores, ids = torch.randn(4, 50), torch.zeros(4, 1, dtype=torch.long)
    mine, other = scores.clone(), scores.clone()
    for one, two in zip(own, theirs, strict=True):
        mine, other = one(ids, mine), two(ids, other)
    assert torch.equal(mine, other)
    assert chance(Sampling(temperature=0, num=1)) == {"do_sample": False}
