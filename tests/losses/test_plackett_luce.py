"""The likelihood of rankings, from the pairs that make them up."""

from itertools import combinations

import pytest
import torch

from tamis.losses.bradley_terry import bradley_terry
from tamis.losses.plackett_luce import plackett_luce

SCORES = torch.tensor([0.3, -1.2, 2.0, 0.7, 0.1], dtype=torch.float64)


def shares(score_G, pairs, margin=0.0):
    """Return the loss of each (winner, loser)."""
    winner_B, loser_B = torch.tensor(pairs).T
    return plackett_luce(score_G[winner_B] - score_G[loser_B] - margin, winner_B=winner_B)


def test_all_pairs_of_an_order_give_the_plackett_luce_likelihood():
    pairs = list(combinations(range(5), 2))  # 0 is best, 4 is worst
    likelihood = torch.stack([SCORES[i:].softmax(0)[0] for i in range(5)]).prod()
    found = shares(SCORES, pairs)
    torch.testing.assert_close(found.sum(), -likelihood.log())
    order = torch.tensor([7, 2, 9, 0, 4, 1, 8, 3, 6, 5])
    torch.testing.assert_close(shares(SCORES, [pairs[i] for i in order]), found[order])


def test_the_best_of_n_against_the_rest_is_one_softmax():
    found = shares(SCORES, [(2, 0), (2, 1), (2, 3), (2, 4)])
    torch.testing.assert_close(found.sum(), -SCORES.log_softmax(0)[2])
    assert torch.equal(found, found[0].expand(4))


def test_a_pair_alone_is_bradley_terry_bit_for_bit():
    gap_B = torch.tensor([-1e4, -20.0, 0.3, 5.0, 1e4], requires_grad=True)
    found = plackett_luce(gap_B, winner_B=torch.tensor([4, 0, 9, 2, 7]))
    assert torch.equal(found, bradley_terry(gap_B))
    slopes = [torch.autograd.grad(loss.sum(), gap_B)[0] for loss in (found, bradley_terry(gap_B))]
    torch.testing.assert_close(*slopes)


def test_a_margin_is_added_to_the_loser():
    margin = torch.tensor([0.5, -2.0], dtype=torch.float64)
    found = shares(SCORES, [(0, 1), (0, 3)], margin)
    raised = torch.stack([SCORES[0], SCORES[1] + 0.5, SCORES[3] - 2.0])
    torch.testing.assert_close(found.sum(), -raised.log_softmax(0)[0])


def test_its_gradient_is_exact_where_pairs_share_a_winner():
    winner_B = torch.tensor([3, 3, 1, 3, 1])
    gap_B = torch.tensor([0.4, -2.0, 1.0, 3.0, -0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda gap: plackett_luce(gap, winner_B=winner_B), gap_B)


def test_it_is_finite_for_large_gaps_and_contradictory_labels():
    gap_B = torch.tensor([1e4, -1e4, -1e4, 1e4], requires_grad=True)  # a > b, b > a, a > c, d > a
    loss_B = plackett_luce(gap_B, winner_B=torch.tensor([0, 1, 0, 3]))
    loss_B.sum().backward()
    assert loss_B.tolist() == pytest.approx([5e3, 1e4, 5e3, 0.0])
    assert gap_B.grad.tolist() == pytest.approx([0.0, -1.0, -1.0, 0.0])
