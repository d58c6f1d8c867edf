"""The difference loss of MetaRM: its range, its value, its gradient."""

import math

import pytest
import torch

from tamis.train.difference import difference_loss, response_pairs, spread


def total(scores, loss=difference_loss):
    """Return the loss of prompts, each given by the scores of its responses."""
    pairs = response_pairs([len(part) for part in scores])
    score_R = torch.cat([torch.as_tensor(part, dtype=torch.float64) for part in scores])
    gap_Q = score_R[pairs.first_Q] - score_R[pairs.second_Q]
    count_Q = torch.from_numpy(pairs.count_Q)
    return loss(gap_Q, count_Q=count_Q, num_prompts=len(scores)).sum()


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_it_is_the_published_sum():
    expected = 2 / 9 * (sigmoid(1.0) + sigmoid(3.0) + sigmoid(2.0))
    assert float(total([[0.5, -0.5, 2.5]])) == pytest.approx(expected)
    both = (expected + 2 / 4 * sigmoid(0.7)) / 2  # prompts may have different k
    assert float(total([[0.5, -0.5, 2.5], [1.0, 1.7]])) == pytest.approx(both)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_its_range_is_from_equal_scores_to_scores_far_apart(k):
    assert float(total([[1.5] * k])) == pytest.approx((k - 1) / (2 * k))
    far = float(total([[100.0 * i for i in range(k)]]))
    assert far == pytest.approx((k - 1) / k)
    torch.manual_seed(0)
    for _ in range(20):
        assert (k - 1) / (2 * k) <= float(total([torch.randn(k)])) < (k - 1) / k
    if k == 5:
        assert float(total([[0.0] * 5])) == pytest.approx(0.4)
        assert far == pytest.approx(0.8)


def test_its_gradient_is_right_and_equal_scores_have_none():
    torch.manual_seed(0)
    scores = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: total([s[:3], s[3:]]), scores)
    same = torch.ones(4, dtype=torch.float64, requires_grad=True)
    total([same]).backward()
    assert same.grad.tolist() == [0.0] * 4
    twice = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    total([twice]).backward()
    assert twice.grad[0] == twice.grad[1] < 0 < twice.grad[2]


def test_responses_of_different_prompts_are_not_compared():
    pairs = response_pairs([2, 4, 3])
    prompt_R = [0, 0, 1, 1, 1, 1, 2, 2, 2]
    both = list(zip(pairs.first_Q.tolist(), pairs.second_Q.tolist(), strict=True))
    assert len(set(both)) == len(both) == 1 + 6 + 3
    assert all(i < j and prompt_R[i] == prompt_R[j] for i, j in both)


def test_the_spread_is_the_mean_absolute_difference_within_prompts():
    expected = ((1.0 + 3.0 + 2.0) / 3 + 0.7) / 2
    assert float(total([[0.5, -0.5, 2.5], [1.0, 1.7]], spread)) == pytest.approx(expected)
