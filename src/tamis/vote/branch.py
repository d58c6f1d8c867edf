"""Voters that share a frozen trunk and own its top blocks, trained together in one pass.

Shape legend: N pairs, K voters, B pairs of a batch.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.branches import Branches
from tamis.models.config import ModelConfig
from tamis.models.encoded import distinct_sides, store_pairs
from tamis.models.score import tree_batches
from tamis.models.tokenise import EncodedPair, load_tokenizer, pad_id_of
from tamis.runs import progress, write_array, write_bytes
from tamis.types import Pair
from tamis.vote.ballots import Member, stream_seed, training_masks
from tamis.vote.config import BranchConfig

NUM_SAVES, LEAST_SAVE_EVERY = 10, 50
READ_PAIRS = 512
READ_TOKENS = 4096
MAX_NORM = 1.0
WARMUP_FRAC = 0.1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def branch_votes(
    pairs: Sequence[Pair],
    *,
    members: Sequence[Member],
    model: ModelConfig,
    config: BranchConfig,
    seed: int,
    work: Path,
) -> Floats:
    """Train K branches of one frozen model in one pass, and return all their votes [N, K].

    Each voter learns from the pairs of its member alone, and then reads every pair with its final
    weights. A batch goes through the trunk once, prompts included, and through each voter's blocks
    once, for the pairs that the voter learns from. AdamW without decay; the learning rate warms up
    over a tenth of the steps and falls linearly to 0; gradients are clipped to a norm of 1, each
    voter's by itself. So voters do not touch each other: one that is trained with others, or in a
    later pass, is the same.

    What is finished is kept in ``work``: a vote that was killed goes on from there, to the same
    result bit for bit.

    Args:
        pairs: N pairs with their labels.
        members: the voters of this pass, which read all pairs [K].
        model: the base model, a decoder that takes shared rows.
        config: blocks, rank and schedule.
        seed: of the first weights and of the order of the pairs.
        work: a folder for what is not finished.

    Raises:
        ConfigError: the model cannot be branched, or the loss diverged.
        DataError: the chat template refuses a conversation.
    """
    voters = [member.voter for member in members]
    # other voters, another state: after a kill, some of them may have been kept
    work = work / f"branches-{_digest(voters)}"
    tokenizer = load_tokenizer(model)
    max_length = int(tokenizer.model_max_length)
    encoded = store_pairs(tokenizer, pairs, max_length=max_length, folder=work)
    branches = Branches(
        model,
        seeds=[stream_seed(seed, voter) for voter in voters],
        num_layers=config.num_layers,
        rank=config.rank,
        pad_token_id=pad_id_of(tokenizer),
        max_length=max_length,
    )
    block = _Block(branches, voters, training_masks(members))
    _train(block, encoded, config=config, seed=seed, work=work)
    return _read(branches, encoded, num_voters=len(voters), work=work)


@dataclass(frozen=True, slots=True)
class _Block:
    """Voters that are trained together: their branches, numbers, and training pairs."""

    branches: Branches
    voters: Sequence[int]
    trains_NK: NDArray[np.bool_]


def _train(
    block: _Block, encoded: Sequence[EncodedPair], *, config: BranchConfig, seed: int, work: Path
) -> None:
    """Train all voters, from the last saved step."""
    num_steps = branch_steps(len(encoded), config=config)
    parameters = block.branches.parameters
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(num_steps))
    state = work / "training.pt"
    done = _restore(state, parameters, optimizer, schedule)
    save_every = max(LEAST_SAVE_EVERY, num_steps // NUM_SAVES)
    with progress(f"training {len(block.voters)} voters", total=num_steps) as advance:
        advance(done)
        for step, batch_B in enumerate(_batches(len(encoded), config=config, seed=seed), start=1):
            if step > num_steps:
                break
            if step <= done:
                continue
            _step(block, encoded, batch_B, step=step)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % save_every == 0 or step == num_steps:
                _save(state, parameters, optimizer, schedule, step=step)
            advance(1)


def _step(block: _Block, encoded: Sequence[EncodedPair], batch_B: Ints, *, step: int) -> None:
    """Give every voter its gradient on its pairs of a batch."""
    branches, trains_BK = block.branches, block.trains_NK[batch_B]
    pairs = [encoded[int(number)] for number in batch_B]
    sequences, chosen_B, rejected_B = distinct_sides(pairs)
    sides_2B = np.stack([chosen_B, rejected_B])
    with torch.no_grad():
        entered = branches.enter(sequences)
    for branch, voter in enumerate(block.voters):
        if not trains_BK[:, branch].any():
            continue
        own_2B = sides_2B[:, trains_BK[:, branch]]
        which_S, place = np.unique(own_2B, return_inverse=True)
        scores_S = branches.scores(branch, branches.pick(entered, which_S.tolist()))
        scores_2B = scores_S[torch.from_numpy(place.reshape(own_2B.shape))]
        gap_B = scores_2B[0] - scores_2B[1]
        loss = bradley_terry(gap_B).mean()
        if not bool(torch.isfinite(loss)):
            raise ConfigError(
                f"the vote diverged: the loss of voter {voter} is {loss.item()} at step {step}; "
                "try a lower branch learning_rate"
            )
        own_parameters = branches.parameters_of(branch)
        gradients = torch.autograd.grad(loss, own_parameters)
        for parameter, gradient in zip(own_parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(own_parameters, MAX_NORM)


def branch_steps(num_pairs: int, *, config: BranchConfig) -> int:
    """Return the number of optimiser steps of a vote."""
    batches = -(-num_pairs // config.batch_size)
    return max(1, round(config.epochs * batches))


def _batches(num_pairs: int, *, config: BranchConfig, seed: int) -> Iterator[Ints]:
    """Yield batches of nearly equal size, epoch after epoch."""
    epoch = 0
    while True:
        order_N = np.random.default_rng([seed, epoch]).permutation(num_pairs)
        yield from np.array_split(order_N, -(-num_pairs // config.batch_size))
        epoch += 1


def _read(
    branches: Branches, encoded: Sequence[EncodedPair], *, num_voters: int, work: Path
) -> Floats:
    """Return every voter's gap on every pair, some hundred pairs at a time."""
    votes_NK = np.empty((len(encoded), num_voters))
    with progress("reading votes", total=len(encoded)) as advance:
        for start in range(0, len(encoded), READ_PAIRS):
            path = work / "votes" / f"{start}.npy"
            if not path.is_file():
                read_PK = _read_pairs(branches, encoded[start : start + READ_PAIRS], num_voters)
                write_array(path, read_PK)
            read_PK = np.load(path, allow_pickle=False)
            votes_NK[start : start + len(read_PK)] = read_PK
            advance(len(read_PK))
    return votes_NK


def _read_pairs(branches: Branches, pairs: Sequence[EncodedPair], num_voters: int) -> Floats:
    sequences, chosen_B, rejected_B = distinct_sides(pairs)
    scores_SK = np.empty((len(sequences), num_voters))
    with torch.no_grad():
        for batch in tree_batches(sequences, batch_tokens=READ_TOKENS):
            entered = branches.enter([sequences[number] for number in batch])
            for voter in range(num_voters):
                scores_S = branches.scores(voter, entered)
                scores_SK[batch, voter] = scores_S.cpu().numpy()
    return np.asarray(scores_SK[chosen_B] - scores_SK[rejected_B])


def _digest(voters: Sequence[int]) -> str:
    return hashlib.sha256(repr(list(voters)).encode()).hexdigest()[:12]


def _schedule(num_steps: int) -> Callable[[int], float]:
    warmup = max(1, round(WARMUP_FRAC * num_steps))

    def factor(step: int) -> float:
        return min((step + 1) / warmup, (num_steps - step) / max(1, num_steps - warmup + 1))

    return factor


def _save(
    path: Path,
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    *,
    step: int,
) -> None:
    stream = io.BytesIO()
    state = {
        "step": step,
        "parameters": [parameter.detach().cpu() for parameter in parameters],
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    torch.save(state, stream)
    write_bytes(path, stream.getvalue())


def _restore(
    path: Path,
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> int:
    """Load what `_save` wrote, where it is there, and return its step."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for parameter, saved in zip(parameters, state["parameters"], strict=True):
            parameter.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["step"])
