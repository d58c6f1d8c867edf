"""Many linear reward heads on frozen features, trained together by batched products.

A head scores a text by ``w . f(text)``, so that its gap on a pair is ``w . (f(chosen) -
f(rejected))`` and a bias would cancel. A voter owns one order of the data and several heads, each
blind to some of the pairs. A step gathers the feature differences of a batch once and gives all
heads of the voter their gradient by one product, instead of one training run a head.

Voters are trained one after the other: the bits of a batched product may depend on how many
matrices it has, and a voter must not depend on how many others there are.

Shape legend: N pairs, K voters, H heads of a voter, B pairs of a step, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

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
    """What each pair asks of a head: target P(chosen better), margin in reward units, weight.

    ``bound_N`` adds the term ``pcrm`` with coefficient 1 and this bound on the gap; None = no term.
    """

    target_N: NDArray[np.float64]
    margin_N: NDArray[np.float64]
    weight_N: NDArray[np.float64]
    bound_N: NDArray[np.float64] | None = None


def head_votes(
    diff_ND: NDArray[np.float32], *, members: Sequence[Member], config: VoteConfig, seed: int
) -> Iterator[Floats]:
    """Yield for each member its gaps on the pairs it reads; the members of a voter train together.

    ``diff_ND`` is feature(chosen) - feature(rejected). The members of a voter follow each other,
    and are all there, as ``voting_members`` gives them.
    """
    num_voters = len({member.voter for member in members})
    total = num_voters * epoch_steps(len(diff_ND), config=config) * config.epochs
    with progress(f"training {len(members)} heads", total=total) as advance:
        for voter, grouped in groupby(members, key=lambda member: member.voter):
            own = list(grouped)
            weights_HD = train_voter(
                diff_ND,
                trains_NH=training_masks(own),
                config=config,
                seed=seed,
                voter=voter,
                advance=advance,
            )
            votes_NH = diff_ND @ weights_HD.T
            for head, member in enumerate(own):
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
    """Train K voters of H heads each, and return their weights [K, H, D]; see `train_voter`.

    Head h of voter k sees the pairs of ``trains_NKH[:, k, h]`` alone. ``labels`` holds one entry a
    head.

    Raises:
        DataError: a head has no pair to learn from.
    """
    weights = [
        train_voter(
            diff_ND,
            trains_NH=trains_NKH[:, voter],
            config=config,
            seed=seed,
            voter=voter,
            labels=labels,
            advance=advance,
        )
        for voter in range(trains_NKH.shape[1])
    ]
    return np.stack(weights)


def train_voter(
    diff_ND: NDArray[np.float32],
    *,
    trains_NH: Bools,
    config: VoteConfig,
    seed: int,
    voter: int,
    labels: Sequence[Labels] | None = None,
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Train the H heads of one voter with the Bradley-Terry loss and return their weights [H, D].

    Head h sees the pairs of ``trains_NH[:, h]`` alone. The loss of a pair is
    ``weight * (target * softplus(-u) + (1 - target) * softplus(u))`` with ``u = delta - margin``.
    ``labels`` holds one entry a head; without it, target is 1, margin 0 and weight 1. Pairs of
    weight 0 are left out; the mean over the others is not divided by their weights.

    A voter passes over the data in its own random order, drawn each epoch from ``(seed, voter)``;
    its result depends on nothing else, so voters can be added later. The optimiser is AdamW without
    its decay; the penalty ``l2/2 |w|^2`` is part of the loss; the learning rate falls linearly
    to 0. ``advance`` is told of finished steps.

    Raises:
        DataError: a head has no pair to learn from.
    """
    num_pairs, num_heads = trains_NH.shape
    asked_3NH = _asked(labels, num_pairs=num_pairs, num_heads=num_heads)
    _check_members(trains_NH, weight_NH=asked_3NH[2].numpy(), voter=voter)
    diff = torch.from_numpy(diff_ND)
    sees_NH = torch.from_numpy(np.ascontiguousarray(trains_NH))
    weights_DH = torch.zeros(diff.shape[1], num_heads, requires_grad=True)
    optimizer = torch.optim.AdamW([weights_DH], lr=config.learning_rate, weight_decay=0.0)
    num_steps = epoch_steps(num_pairs, config=config) * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / num_steps)
    rng = np.random.default_rng([seed, voter])
    with _one_thread():
        for _ in range(config.epochs):
            order_N = torch.from_numpy(rng.permutation(num_pairs))
            for order_B in torch.split(order_N, config.batch_size):
                weights_DH.grad = _gradient(
                    weights_DH.detach(),
                    diff[order_B],
                    asked_3BH=asked_3NH[:, order_B],
                    seen_BH=sees_NH[order_B],
                    l2=config.l2,
                )
                optimizer.step()
                schedule.step()
                if advance is not None:
                    advance(1)
    return np.ascontiguousarray(weights_DH.detach().numpy().T)


def epoch_steps(num_pairs: int, *, config: VoteConfig) -> int:
    """Return the number of optimiser steps of a voter in one epoch."""
    return -(-num_pairs // config.batch_size)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread.

    A step is some thirty operations of microseconds. Where anything else has a core, threads that
    wait for each other at each of them take ten times as long as one, and on an idle machine they
    gain nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_members(trains_NH: Bools, *, weight_NH: NDArray[np.float32], voter: int) -> None:
    some_H = (trains_NH & (weight_NH > 0)).any(axis=0)
    if not some_H.all():
        raise DataError(
            f"voter {voter}, head {int(np.argmin(some_H))}: no training pair is left; "
            "expected more pairs, more folds or fewer pairs of weight 0"
        )


def _asked(labels: Sequence[Labels] | None, *, num_pairs: int, num_heads: int) -> Tensor:
    """Return targets, margins, weights and, where gaps are bound, bounds, as [3 or 4, N, H]."""
    if labels is None:
        one, zero = np.ones((num_pairs, num_heads)), np.zeros((num_pairs, num_heads))
        rows = [one, zero, one]
    else:
        rows = [
            np.stack([of.target_N for of in labels], axis=1),
            np.stack([of.margin_N for of in labels], axis=1),
            np.stack([of.weight_N for of in labels], axis=1),
        ]
        if any(of.bound_N is not None for of in labels):
            free_N = np.full(num_pairs, np.inf)
            rows += [np.stack([free_N if of.bound_N is None else of.bound_N for of in labels], 1)]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def _gradient(
    weights_DH: Tensor, x_BD: Tensor, *, asked_3BH: Tensor, seen_BH: Tensor, l2: float
) -> Tensor:
    """Return the gradient of the sum over heads of the mean loss plus penalty.

    The derivative of a pair's loss to its gap is ``weight * (sigmoid(u) - target)``. It is written
    out because autograd would keep copies of the gathered differences.
    """
    target_BH, margin_BH, weight_BH, *bound = asked_3BH.unbind()
    used_BH = seen_BH & (weight_BH > 0)
    delta_BH = x_BD @ weights_DH
    slope_BH = weight_BH * (torch.sigmoid(delta_BH - margin_BH) - target_BH) * used_BH
    for bound_BH in bound:  # one or none
        over_BH, under_BH = torch.sigmoid(delta_BH - bound_BH), torch.sigmoid(-delta_BH - bound_BH)
        slope_BH += weight_BH * (target_BH * over_BH - (1 - target_BH) * under_BH) * used_BH
    slope_BH /= used_BH.sum(dim=0).clamp(min=1)
    return x_BD.T @ slope_BH + l2 * weights_DH
