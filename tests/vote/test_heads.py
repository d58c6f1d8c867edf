"""Shapes: N pairs, K voters, H heads of a voter, B pairs of a step, D feature dimensions."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from tamis.errors import DataError
from tamis.vote.config import VoteConfig
from tamis.vote.heads import Labels, epoch_steps, train_heads

N, D, K = 90, 5, 3
NONE_HELD_OUT = -1
CONFIG = VoteConfig(num_voters=K, num_folds=3, epochs=4, batch_size=16)


@pytest.fixture
def diff_ND():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture
def folds_NK():
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(np.arange(N) % 3) for _ in range(K)], axis=1)


def some_labels(seed):
    rng = np.random.default_rng(seed)
    weight_N = rng.choice([0.0, 0.5, 1.0, 3.0], size=N)
    return Labels(rng.uniform(size=N), rng.normal(size=N), weight_N)


def train(diff_ND, folds_NK, held_out, **options):
    options = {"config": CONFIG, "seed": 5, **options}
    trains_NKH = folds_NK[:, :, None] != np.array(held_out)
    return train_heads(diff_ND, trains_NKH=trains_NKH, **options)


def one_head_by_autograd(diff_ND, *, used_N, labels, config, seed, voter):
    """One head, trained as the docstring writes it, one pair after the other."""
    x_ND = torch.from_numpy(diff_ND)
    target_N, margin_N, weight_N = (
        torch.from_numpy(column).float()
        for column in (labels.target_N, labels.margin_N, labels.weight_N)
    )
    w_D = torch.zeros(x_ND.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([w_D], lr=config.learning_rate, weight_decay=0.0)
    num_steps = config.epochs * -(-len(diff_ND) // config.batch_size)
    rng, step = np.random.default_rng([seed, voter]), 0
    for _ in range(config.epochs):
        order_N = rng.permutation(len(diff_ND))
        for start in range(0, len(order_N), config.batch_size):
            batch = order_N[start : start + config.batch_size]
            batch = batch[used_N[batch] & (labels.weight_N[batch] > 0)]
            u_B = x_ND[batch] @ w_D - margin_N[batch]
            loss_B = weight_N[batch] * (
                target_N[batch] * softplus(-u_B) + (1 - target_N[batch]) * softplus(u_B)
            )
            loss = loss_B.sum() / max(len(batch), 1) + config.l2 / 2 * w_D.square().sum()
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / num_steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return w_D.detach().numpy()


@pytest.mark.parametrize("batch_size", [16, 90, 1000])
def test_heads_are_what_autograd_makes_of_the_written_out_loss(diff_ND, folds_NK, batch_size):
    config = CONFIG.model_copy(update={"batch_size": batch_size})
    held_out, labels = [0, 1, NONE_HELD_OUT], [some_labels(seed) for seed in range(3)]
    weights_KHD = train(diff_ND, folds_NK, held_out, labels=labels, config=config)
    assert weights_KHD.shape == (K, 3, D)
    for voter in range(K):
        for head, fold in enumerate(held_out):
            expected = one_head_by_autograd(
                diff_ND,
                used_N=folds_NK[:, voter] != fold,
                labels=labels[head],
                config=config,
                seed=5,
                voter=voter,
            )
            np.testing.assert_allclose(weights_KHD[voter, head], expected, atol=2e-5)


def test_without_labels_every_label_is_right(diff_ND, folds_NK):
    plain = Labels(np.ones(N), np.zeros(N), np.ones(N))
    np.testing.assert_array_equal(
        train(diff_ND, folds_NK, [0, 1]), train(diff_ND, folds_NK, [0, 1], labels=[plain, plain])
    )


def test_a_head_does_not_depend_on_its_neighbours(diff_ND, folds_NK):
    labels = [some_labels(seed) for seed in range(4)]
    together = train(diff_ND, folds_NK, [0, 1, 2, NONE_HELD_OUT], labels=labels)
    alone = train(diff_ND, folds_NK[:, :1], [2], labels=labels[2:3])
    np.testing.assert_allclose(together[:1, 2:3], alone, atol=1e-6)
    fewer = train(diff_ND, folds_NK[:, :2], [0, 1, 2, NONE_HELD_OUT], labels=labels)
    assert together[:2].tobytes() == fewer.tobytes()  # voters leave each other every bit
    assert np.abs(together[0] - together[1]).max() > 1e-3  # voters have orders of their own


def test_a_head_never_sees_its_fold(diff_ND, folds_NK):
    before = train(diff_ND, folds_NK, [0, 1, 2, NONE_HELD_OUT])
    poisoned = diff_ND.copy()
    poisoned[folds_NK[:, 1] == 2] *= -1000
    after = train(poisoned, folds_NK, [0, 1, 2, NONE_HELD_OUT])
    np.testing.assert_array_equal(before[1, 2], after[1, 2])
    for head in (0, 1, 3):
        assert np.abs(before[1, head] - after[1, head]).max() > 1e-2


def test_any_mask_says_which_pairs_a_head_sees(diff_ND):
    trains_NKH = np.random.default_rng(3).random((N, K, 2)) < 0.5
    weights_KHD = train_heads(diff_ND, trains_NKH=trains_NKH, config=CONFIG, seed=5)
    plain = Labels(np.ones(N), np.zeros(N), np.ones(N))
    for voter in range(K):
        for head in range(2):
            expected = one_head_by_autograd(
                diff_ND,
                used_N=trains_NKH[:, voter, head],
                labels=plain,
                config=CONFIG,
                seed=5,
                voter=voter,
            )
            np.testing.assert_allclose(weights_KHD[voter, head], expected, atol=2e-5)


def test_pairs_of_weight_0_do_not_matter(diff_ND, folds_NK):
    labels = some_labels(0)
    before = train(diff_ND, folds_NK, [NONE_HELD_OUT], labels=[labels])
    out_N = labels.weight_N == 0
    assert out_N.sum() > 5
    other = diff_ND.copy()
    other[out_N] *= -7
    target_N = np.where(out_N, 1 - labels.target_N, labels.target_N)
    changed = Labels(target_N, labels.margin_N + 9 * out_N, labels.weight_N)
    after = train(other, folds_NK, [NONE_HELD_OUT], labels=[changed])
    np.testing.assert_array_equal(before, after)


def test_a_seed_gives_the_same_bits_and_another_seed_others(diff_ND, folds_NK):
    first, again, other = (train(diff_ND, folds_NK, [0, 1], seed=seed) for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.dtype == np.float32
    assert (first != other).any()


def test_the_callers_random_state_is_left_alone(diff_ND, folds_NK):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(diff_ND, folds_NK, [0])
    assert torch.equal(torch.rand(2), expected)


def test_steps_are_announced(diff_ND, folds_NK):
    told = []
    train(diff_ND, folds_NK, [0], advance=told.append)
    assert sum(told) == K * epoch_steps(N, config=CONFIG) * CONFIG.epochs == 72


def test_a_head_without_a_pair_is_an_error(diff_ND, folds_NK):
    folds_NK[:, 1] = 0
    with pytest.raises(DataError, match="voter 1, head 2: no training pair is left"):
        train(diff_ND, folds_NK, [1, 2, 0])
    nothing = Labels(np.ones(N), np.zeros(N), np.zeros(N))
    with pytest.raises(DataError, match="voter 0, head 0: no training pair is left"):
        train(diff_ND, folds_NK, [NONE_HELD_OUT], labels=[nothing])
