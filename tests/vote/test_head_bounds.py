"""Heads whose gaps are bound, as the term ``pcrm`` binds those of a reward model."""

import numpy as np
import pytest
import torch

from tamis.losses.bradley_terry import bradley_terry
from tamis.terms.pcrm import Settings
from tamis.terms.pcrm import loss as pcrm_loss
from tamis.terms.view import View
from tamis.vote.config import VoteConfig
from tamis.vote.heads import Labels, train_voter

N, D = 60, 4
CONFIG = VoteConfig(num_voters=1, epochs=1, batch_size=N, l2=0.0, learning_rate=0.1)


@pytest.fixture
def diff_ND():
    return (3 * np.random.default_rng(0).normal(size=(N, D)) + 1).astype(np.float32)


def asked(bound, *, target=1.0):
    rng = np.random.default_rng(1)
    weight_N = rng.choice([0.0, 0.5, 2.0], size=N)
    return Labels(np.full(N, target), np.zeros(N), weight_N, np.full(N, float(bound)))


def heads(diff_ND, labels, config=CONFIG):
    trains_NH = np.ones((N, len(labels)), bool)
    return train_voter(diff_ND, trains_NH=trains_NH, config=config, seed=0, voter=0, labels=labels)


@pytest.mark.parametrize("target", [1.0, 0.7])
def test_a_bound_head_follows_the_gradient_of_the_term(diff_ND, target):
    """Several steps on all pairs at once are those of autograd on both losses."""
    config = CONFIG.model_copy(update={"epochs": 6})
    labels = asked(1.5, target=target)
    x_ND = torch.from_numpy(diff_ND)
    target_N, weight_N = (
        torch.from_numpy(part).float() for part in (labels.target_N, labels.weight_N)
    )
    w_D = torch.zeros(D, requires_grad=True)
    optimizer = torch.optim.AdamW([w_D], lr=0.1, weight_decay=0.0)
    for step in range(6):
        delta_N = x_ND @ w_D
        view = View(delta_N, 0 * delta_N, target_N, 0 * delta_N, {"bound": torch.full((N,), 1.5)})
        base_N = target_N * bradley_terry(delta_N) + (1 - target_N) * bradley_terry(-delta_N)
        both_N = weight_N * (base_N + pcrm_loss(view, settings=Settings()))
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 6)
        optimizer.zero_grad()
        (both_N.sum() / (weight_N > 0).sum()).backward()
        optimizer.step()
    (found_D,) = heads(diff_ND, [labels], config)
    np.testing.assert_allclose(found_D, w_D.detach().numpy(), atol=2e-5)


def test_a_bound_narrows_gaps_and_leaves_other_heads_alone(diff_ND):
    config = CONFIG.model_copy(update={"epochs": 40})
    free = Labels(np.ones(N), np.zeros(N), asked(1).weight_N)
    (alone,) = heads(diff_ND, [free], config)
    beside, bound, wide = heads(diff_ND, [free, asked(0.5), asked(1e9)], config)
    np.testing.assert_allclose(beside, alone, atol=1e-6)
    np.testing.assert_allclose(wide, alone, atol=1e-6)
    assert np.abs(diff_ND @ bound).mean() < 0.8 * np.abs(diff_ND @ alone).mean()


def test_without_a_bound_nothing_changes_in_any_bit(diff_ND):
    labels = Labels(np.ones(N), np.zeros(N), np.ones(N))
    unlabelled = train_voter(
        diff_ND, trains_NH=np.ones((N, 1), bool), config=CONFIG, seed=0, voter=0
    )
    assert heads(diff_ND, [labels]).tobytes() == unlabelled.tobytes()
