"""Feature differences: the same on disk as in memory.

Shapes: N pairs, L depths, D hidden dimensions.
"""

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.models import features
from tamis.models.config import ModelConfig
from tamis.models.features import pooled_features
from tamis.models.tokenise import encode_pairs, load_tokenizer
from tamis.runs.scratch import write_ragged
from tamis.types import Message, Pair
from tamis.vote import frozen
from tamis.vote.frozen import depth_scales, flatten, frozen_differences


def test_a_difference_is_that_of_the_features_of_both_sides(llama, tmp_path):
    texts = [f"text {n}" for n in range(features.CHUNK + 20)]
    rng = np.random.default_rng(0)
    pairs = [  # texts recur, on both sides and often
        Pair(str(n), (), (Message("assistant", texts[a]),), (Message("assistant", texts[b]),))
        for n, (a, b) in enumerate([*rng.integers(len(texts), size=(700, 2)), *[(0, 1)] * 1500])
    ]
    diff_NLD = frozen_differences(pairs, model=llama, cache=tmp_path)
    tokenizer = load_tokenizer(llama)
    encoded = encode_pairs(tokenizer, pairs, max_length=256)
    sequences = [ids for pair in encoded for ids in (pair.chosen, pair.rejected)]
    feature = {}
    for some in pooled_features(llama, write_ragged(sequences, dtype=np.int32), cache=tmp_path):
        feature |= {
            sequences[row]: some.features_ULD[which]
            for row, which in zip(some.rows, some.which, strict=True)
        }
    expected = np.stack([feature[pair.chosen] - feature[pair.rejected] for pair in encoded])
    np.testing.assert_array_equal(diff_NLD, expected)
    assert np.abs(diff_NLD[0]).max() > 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy"}  # scratch is gone


@pytest.fixture
def diff_NLD():
    rng = np.random.default_rng(1)
    return rng.normal(size=(2 * frozen.ROWS + 17, 3, 40)).astype(np.float32)


def test_scales_are_the_root_mean_squares_to_the_bit(diff_NLD):
    expected_L = np.sqrt(np.mean(np.square(diff_NLD, dtype=np.float64), axis=(0, 2)))
    assert depth_scales(diff_NLD).tobytes() == expected_L.tobytes()


def test_flat_rows_on_disk_are_those_in_memory(diff_NLD, tmp_path):
    scale_L = np.array([0.5, 3.0, 7.0])
    expected_ND = (diff_NLD / scale_L[:, None]).astype(np.float32).reshape(len(diff_NLD), -1)
    for folder in (None, tmp_path):
        flat_ND = flatten(diff_NLD, scale_L=scale_L, folder=folder)
        np.testing.assert_array_equal(flat_ND, expected_ND)
        assert flat_ND.flags.c_contiguous
        assert flat_ND.flags.writeable  # what torch.from_numpy asks for


def test_a_depth_on_which_nothing_differs_is_left_as_it_is(diff_NLD):
    diff_NLD[:, 1] = 0
    assert depth_scales(diff_NLD)[1] == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_useless_features_are_an_error(diff_NLD, value):
    if value is None:
        diff_NLD[:] = 0
    else:
        diff_NLD[-1, 2, 3] = value
    with pytest.raises(DataError, match="not finite, or are the same for both answers"):
        depth_scales(diff_NLD)


def test_no_pairs_are_an_error(llama, tmp_path):
    with pytest.raises(DataError, match="no pairs to vote on"):
        frozen_differences([], model=llama, cache=tmp_path)


def test_answers_that_do_not_fit_lose_their_first_tokens(tiny_bert, tmp_path) -> None:
    """Pairs that were read without a model may hold more than the model has positions for."""
    long = Pair(
        "p",
        (Message("user", "question"),),
        (Message("assistant", "good " * 90),),
        (Message("assistant", "bad"),),
        group="g",
        row=0,
    )
    diff_NLD = frozen_differences([long], model=ModelConfig(path=tiny_bert), cache=tmp_path)
    assert np.isfinite(diff_NLD).all()
    assert np.abs(diff_NLD).max() > 0
