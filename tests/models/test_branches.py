"""Branches on one trunk: each is the model it would be alone."""

import pytest
import torch

from tamis.errors import ConfigError
from tamis.models.branches import Branches
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.tokenise import encode_pairs, load_tokenizer, pad_id_of


@pytest.fixture
def texts(llama, pairs) -> list[tuple[int, ...]]:
    encoded = encode_pairs(load_tokenizer(llama), pairs, max_length=256)
    return list(dict.fromkeys(ids for pair in encoded for ids in (pair.chosen, pair.rejected)))


def branched(config, *, num_layers: int = 1, seeds: tuple[int, ...] = (3, 4, 5)) -> Branches:
    pad = pad_id_of(load_tokenizer(config))
    return Branches(
        config, seeds=seeds, num_layers=num_layers, rank=4, pad_token_id=pad, max_length=256
    )


def shaken(branches: Branches, branch: int) -> None:
    """Move a branch away from its start, where the updates are nothing."""
    generator = torch.Generator().manual_seed(branch)
    with torch.no_grad():
        for parameter in branches.parameters_of(branch):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)


def test_before_training_a_branch_is_the_model_with_another_head(llama, texts) -> None:
    branches = branched(llama)
    with torch.no_grad():
        scores = branches.scores(1, branches.enter(texts))
        model = load_reward_model(llama, seed=0)
        model.score.weight.copy_(branches.parameters_of(1)[-1][None])
        for number, ids in enumerate(texts):
            alone = model(input_ids=torch.tensor([ids])).logits[0, 0]
            torch.testing.assert_close(scores[number], alone, atol=1e-5, rtol=0)


def test_any_part_of_what_entered_is_scored_alike(llama, texts) -> None:
    branches = branched(llama)
    for branch in range(3):
        shaken(branches, branch)
    with torch.no_grad():
        entered = branches.enter(texts)
        for branch in range(3):
            whole = branches.scores(branch, entered)
            assert whole.std() > 1e-2
            part = branches.scores(branch, branches.pick(entered, [4, 1]))
            torch.testing.assert_close(part, whole[[4, 1]], atol=1e-5, rtol=0)
            alone = branches.scores(branch, branches.enter([texts[1]]))
            torch.testing.assert_close(alone, whole[[1]], atol=1e-5, rtol=0)
        one = branches.pick(entered, [1])
        assert (branches.scores(0, one) - branches.scores(1, one)).abs() > 1e-3


def test_gradients_reach_one_branch_alone(llama, texts) -> None:
    branches = branched(llama)
    entered = branches.enter(texts)
    branches.scores(1, branches.pick(entered, [0, 2])).sum().backward()
    with_gradient = [
        {index for index, p in enumerate(branches.parameters_of(branch)) if p.grad is not None}
        for branch in range(3)
    ]
    assert with_gradient[0] == with_gradient[2] == set()
    assert with_gradient[1] == set(range(len(branches.parameters_of(1))))
    assert not entered.hidden_1TD.requires_grad


def test_a_branch_depends_on_its_own_seed_alone(llama) -> None:
    first, second = branched(llama, seeds=(7, 8)), branched(llama, seeds=(9, 8, 7))
    for one, other in zip(first.parameters_of(0), second.parameters_of(2), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.parameters_of(0)[-1], first.parameters_of(1)[-1])


def test_a_trunk_needs_a_block_of_its_own(llama) -> None:
    with pytest.raises(ConfigError, match=r"branch voters update 2 blocks, and .* has 2"):
        branched(llama, num_layers=2)


def test_encoders_have_no_branches(tiny_bert) -> None:
    with pytest.raises(ConfigError, match=r"branch voters need a decoder .*bidirectional"):
        branched(ModelConfig(path=tiny_bert))
