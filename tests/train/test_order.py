import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tamis.errors import DataError
from tamis.train.arguments import steps_of
from tamis.train.config import TrainConfig
from tamis.train.order import (
    epoch_batches,
    grouped_order,
    held_out_parts,
    hold_out,
    length_batches,
    micro_batches,
    training_batches,
)

GROUPS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=60)
SAMPLERS = st.sampled_from(["shuffle", "group"])


@given(groups=GROUPS, batch_size=st.integers(1, 20), sampler=SAMPLERS, seed=st.integers(0, 9))
def test_an_epoch_holds_every_pair_once_in_even_batches(groups, batch_size, sampler, seed):
    batches = epoch_batches(groups, batch_size=batch_size, sampler=sampler, seed=seed, epoch=1)
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(groups)))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@given(groups=GROUPS, seed=st.integers(0, 9))
def test_a_group_stays_together(groups, seed):
    letters = [groups[i] for i in grouped_order(groups, seed=seed, epoch=0)]
    changes = sum(a != b for a, b in itertools.pairwise(letters))
    assert changes == len(set(groups)) - 1


@pytest.mark.parametrize("sampler", ["shuffle", "group"])
def test_seed_and_epoch_change_the_order_and_nothing_else_does(sampler):
    groups = list("aabbccddeeff") * 5

    def order(seed, epoch):
        return np.concatenate(
            epoch_batches(groups, batch_size=8, sampler=sampler, seed=seed, epoch=epoch)
        ).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_grouped_batches_hold_fewer_groups_than_shuffled_ones():
    groups = [letter for letter in "abcdefgh" for _ in range(16)]

    def groups_a_batch(sampler):
        batches = epoch_batches(groups, batch_size=16, sampler=sampler, seed=0, epoch=0)
        return [len({groups[i] for i in batch}) for batch in batches]

    assert groups_a_batch("group") == [1] * 8
    assert min(groups_a_batch("shuffle")) > 4


def test_a_long_run_goes_through_epoch_after_epoch():
    batches = training_batches(["a"] * 10, batch_size=4, sampler="shuffle", seed=0, num_steps=7)
    assert [len(batch) for batch in batches] == [4, 3, 3, 4, 3, 3, 4]
    for epoch in (0, 3):
        assert sorted(np.concatenate(batches[epoch : epoch + 3]).tolist()) == list(range(10))


def test_parts_of_a_batch_keep_its_order():
    batches = [np.arange(5), np.arange(5, 9)]
    parts = micro_batches(batches, num_micro=2)
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"batch_size": 16}, 7),
        ({"batch_size": 16, "epochs": 2}, 14),
        ({"batch_size": 16, "epochs": 0.01}, 1),
        ({"batch_size": 16, "max_steps": 3}, 3),
        ({"batch_size": 1000}, 1),
    ],
)
def test_the_number_of_steps(settings, expected):
    assert steps_of(TrainConfig(**settings), num_pairs=100) == expected


@given(
    lengths=st.lists(st.integers(2, 500), min_size=1, max_size=300),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_batches_of_similar_length_hold_every_pair_once(lengths, batch_size, seed):
    length_N = np.array(lengths)
    first, again, other = (
        length_batches(length_N, batch_size=batch_size, seed=seed, epoch=epoch)
        for epoch in (3, 3, 4)
    )
    sizes = [len(batch) for batch in first]
    assert sorted(np.concatenate(first).tolist()) == list(range(len(lengths)))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert [b.tolist() for b in first] == [b.tolist() for b in again]
    if len(set(lengths)) > 20 and len(first) > 8:
        assert [b.tolist() for b in first] != [b.tolist() for b in other]


def test_batches_of_similar_length_pad_little_and_come_in_random_order():
    length_N = np.random.default_rng(0).integers(10, 500, size=4000)

    def batches(sampler):
        return epoch_batches(
            ["a"] * 4000, batch_size=16, sampler=sampler, seed=0, epoch=0, length_N=length_N
        )

    def padded(sampler):
        return sum(len(batch) * length_N[batch].max() for batch in batches(sampler))

    assert padded("length") < 1.05 * length_N.sum() < 1.6 * length_N.sum() < padded("shuffle")
    means = np.array([length_N[batch].mean() for batch in batches("length")])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.2  # no run of long batches
    assert abs(means[:125].mean() - means[125:].mean()) < 40


@given(groups=st.lists(st.sampled_from("abcde"), min_size=2, max_size=60), seed=st.integers(0, 9))
@pytest.mark.parametrize("frac", [0.01, 0.3, 0.99])
def test_held_out_pairs_are_whole_groups_and_leave_some_to_train_on(groups, frac, seed):
    assume(len(set(groups)) > 1)
    train_N, held_out_N = hold_out(groups, frac=frac, seed=seed)
    assert sorted([*train_N, *held_out_N]) == list(range(len(groups)))
    inside, outside = ({groups[n] for n in part} for part in (held_out_N, train_N))
    assert inside
    assert outside
    assert not inside & outside
    if len(outside) > 1:  # no more groups than needed
        largest = max(groups.count(name) for name in inside)
        assert frac * len(groups) <= len(held_out_N) < frac * len(groups) + largest


@pytest.mark.parametrize(("size", "num_processes"), [(1, 1), (7, 2), (8, 2), (33, 3), (3, 3)])
def test_every_process_gets_as_many_held_out_parts(size, num_processes):
    numbers = np.arange(100, 100 + size)
    parts = held_out_parts(numbers, batch_size=4, num_processes=num_processes)
    assert len(parts) % num_processes == 0
    assert np.concatenate(parts).tolist() == numbers.tolist()
    assert all(0 < len(part) <= 4 + 4 * (size < 2 * num_processes) for part in parts)


def test_fewer_held_out_pairs_than_processes_are_an_error():
    with pytest.raises(DataError, match="1 pairs are held out for 2 processes"):
        held_out_parts(np.arange(1), batch_size=4, num_processes=2)
