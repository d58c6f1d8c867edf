import numpy as np
import torch

from tamis.terms.view import CHUNK_PAIRS, KnownPairs, View
from tamis.types import Message, Pair


def test_known_pairs_are_given_turned_a_chunk_at_a_time(tmp_path):
    pairs = [
        Pair(f"p{n}", (), (Message("assistant", f"a{n}"),), (Message("assistant", f"b{n}"),))
        for n in range(CHUNK_PAIRS + 3)
    ]
    swapped_N = np.arange(len(pairs)) % 3 == 1
    known = KnownPairs([], pairs, swapped_N=swapped_N, work=tmp_path)
    chunks = list(known.oriented())
    assert [len(chunk) for chunk in chunks] == [CHUNK_PAIRS, 3]
    given = [pair for chunk in chunks for pair in chunk]
    assert given[0] == pairs[0]
    assert given[1] == pairs[1].swapped()
    assert given[-1] == pairs[-1].swapped()
    assert given[CHUNK_PAIRS] == pairs[CHUNK_PAIRS]


def test_the_gap_is_chosen_minus_rejected():
    one = torch.ones(2)
    view = View(3 * one, one, target_B=one, margin_B=one, columns={})
    assert view.delta_B.tolist() == [2.0, 2.0]
