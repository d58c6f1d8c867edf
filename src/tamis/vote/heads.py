"""Many linear reward heads on frozen features, trained together as one batched tensor operation.

A head scores a text by ``w . f(text)``, so that its gap on a pair is ``w . (f(chosen) -
f(rejected))`` and a bias would cancel. A voter owns one order of the data and several heads, each
blind to some of the pairs. A step gathers the feature differences once a voter and gives all
of its heads their gradient by one batched product, instead of one training run a head.

Shape legend: N pairs, K voters, H heads of a voter, B pairs of a step, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.errors import DataError
from tamis.runs import progress
from tamis.vote.ballots import Member, training_masks
from tamis.vote.config import VoteConfig

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labels:
    """What each pair asks of a head: target P(chosen better), margin in reward units, weight."""

    target_N: NDArray[np.float64]
    margin_N: NDArray[np.float64]
    weight_N: NDArray[np.float64]


def head_votes(
    diff_ND: NDArray[np.float32], *, members: Sequence[Member], config: VoteConfig, seed: int
) -> Iterator[Floats]:
    """Yield for each member its gaps on the pairs it reads; all members are trained in one pass.

    ``diff_ND`` is feature(chosen) - feature(rejected). The members of a voter follow each other,
    and every voter has as many, as ``voting_members`` gives them.
    """
    num_voters = members[-1].voter + 1
    trains_NM = training_masks(members)
    total = epoch_steps(len(diff_ND), config=config) * config.epochs
    with progress(f"training {len(members)} heads", total=total) as advance:
        weights_KHD = train_heads(
            diff_ND,
            trains_NKH=trains_NM.reshape(len(diff_ND), num_voters, -1),
            config=config,
            seed=seed,
            advance=advance,
        )
    num_heads = weights_KHD.shape[1]
    for number, member in enumerate(members):
        voter, head = divmod(number, num_heads)
        if head == 0:
            votes_NH = diff_ND @ weights_KHD[voter].T
        yield votes_NH[member.reads_N, head].astype(np.float64)


def train_heads(
    diff_ND: NDArray[np.float32],
    *,
    trains_NKH: Bools,
    config: VoteConfig,
    seed: int,
    labels: Sequence[Labels] | None = None,
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Train K times H heads with the Bradley-Terry loss and return their weights [K, H, D].

    Head h of voter k sees the pairs of ``trains_NKH[:, k, h]`` alone. The loss of a pair is
    ``weight * (target * softplus(-u) + (1 - target) * softplus(u))`` with ``u = delta - margin``.
    ``labels`` holds one entry a head; without it, target is 1, margin 0 and weight 1. Pairs of
    weight 0 are left out; the mean over the others is not divided by their weights.

    Each voter passes over the data in its own random order, drawn each epoch from ``(seed, k)``;
    its result depends on nothing else, so voters can be added later. The optimiser is AdamW without
    its decay; the penalty ``l2/2 |w|^2`` is part of the loss; the learning rate falls linearly
    to 0. ``advance`` is told of finished steps.

    Raises:
        DataError: a head has no pair to learn from.
    """
    num_pairs, num_voters, num_heads = trains_NKH.shape
    asked_3NH = _asked(labels, num_pairs=num_pairs, num_heads=num_heads)
    _check_members(trains_NKH, weight_NH=asked_3NH[2].numpy())
    diff = torch.from_numpy(diff_ND)
    trains_KNH = torch.from_numpy(np.ascontiguousarray(trains_NKH.transpose(1, 0, 2)))
    voter_K1 = torch.arange(num_voters)[:, None]
    weights_KDH = torch.zeros(num_voters, diff.shape[1], num_heads, requires_grad=True)
    optimizer = torch.optim.AdamW([weights_KDH], lr=config.learning_rate, weight_decay=0.0)
    num_steps = epoch_steps(len(diff), config=config) * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / num_steps)
    rngs = [np.random.default_rng([seed, k]) for k in range(num_voters)]
    for _ in range(config.epochs):
        order_KN = torch.from_numpy(np.stack([rng.permutation(len(diff)) for rng in rngs]))
        for order_KB in torch.split(order_KN, config.batch_size, dim=1):
            weights_KDH.grad = _gradient(
                weights_KDH.detach(),
                diff[order_KB],
                asked_3KBH=asked_3NH[:, order_KB],
                seen_KBH=trains_KNH[voter_K1, order_KB],
                l2=config.l2,
            )
            optimizer.step()
            schedule.step()
            if advance is not None:
                advance(1)
    return np.ascontiguousarray(weights_KDH.detach().numpy().transpose(0, 2, 1))


def epoch_steps(num_pairs: int, *, config: VoteConfig) -> int:
    """Return the number of optimiser steps in one epoch."""
    return -(-num_pairs // config.batch_size)


def _check_members(trains_NKH: Bools, *, weight_NH: NDArray[np.float32]) -> None:
    for head in range(trains_NKH.shape[2]):
        some_K = trains_NKH[weight_NH[:, head] > 0, :, head].any(axis=0)
        if not some_K.all():
            raise DataError(
                f"voter {int(np.argmin(some_K))}, head {head}: no training pair is left; "
                "expected more pairs, more folds or fewer pairs of weight 0"
            )


def _asked(labels: Sequence[Labels] | None, *, num_pairs: int, num_heads: int) -> Tensor:
    """Return targets, margins and weights as one tensor [3, N, H]."""
    if labels is None:
        one, zero = np.ones((num_pairs, num_heads)), np.zeros((num_pairs, num_heads))
        rows = [one, zero, one]
    else:
        rows = [
            np.stack([of.target_N for of in labels], axis=1),
            np.stack([of.margin_N for of in labels], axis=1),
            np.stack([of.weight_N for of in labels], axis=1),
        ]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def _gradient(
    weights_KDH: Tensor, x_KBD: Tensor, *, asked_3KBH: Tensor, seen_KBH: Tensor, l2: float
) -> Tensor:
    """Return the gradient of the sum over heads of the mean loss plus penalty.

    The derivative of a pair's loss to its gap is ``weight * (sigmoid(u) - target)``. It is written
    out because autograd would keep copies of the gathered differences.
    """
    target_KBH, margin_KBH, weight_KBH = asked_3KBH
    used_KBH = seen_KBH & (weight_KBH > 0)
    delta_KBH = torch.bmm(x_KBD, weights_KDH)
    slope_KBH = weight_KBH * (torch.sigmoid(delta_KBH - margin_KBH) - target_KBH) * used_KBH
    slope_KBH /= used_KBH.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.bmm(x_KBD.transpose(1, 2), slope_KBH) + l2 * weights_KDH
