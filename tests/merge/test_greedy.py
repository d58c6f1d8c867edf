import itertools

import numpy as np
import pytest

from tamis.merge.greedy import greedy


@pytest.mark.parametrize("seed", range(20))
def test_the_result_is_never_below_the_best_member(seed):
    rng = np.random.default_rng(seed)
    alone = rng.uniform(0.5, 0.8, size=4).tolist()
    known = {
        frozenset(some): float(rng.uniform(0.4, 0.9))
        for size in (2, 3, 4)
        for some in itertools.combinations(range(4), size)
    }
    steps = greedy(alone, accuracy=lambda members: known[frozenset(members)])
    kept = [step for step in steps if step.kept]
    assert kept[-1].accuracy >= max(alone)
    assert [step.accuracy for step in kept] == sorted(step.accuracy for step in kept)
    assert sorted(step.member for step in steps) == [0, 1, 2, 3]
    tried = [alone[step.member] for step in steps]
    assert tried == sorted(alone, reverse=True)


def test_a_member_that_changes_nothing_is_kept_and_one_that_lowers_is_not():
    known = {(1, 2): 0.7, (1, 2, 0): 0.69}
    steps = greedy([0.5, 0.7, 0.6], accuracy=known.__getitem__)
    assert [(step.member, step.kept) for step in steps] == [(1, True), (2, True), (0, False)]
