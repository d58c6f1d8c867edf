import numpy as np
import pytest
import torch

from tamis.errors import ConfigError
from tamis.models import features
from tamis.models.features import pooled_features
from tamis.models.load import load_trunk
from tamis.models.tokenise import encode_pairs, load_tokenizer
from tamis.runs.scratch import write_ragged


def features_of(config, sequences, **options):
    """The features of all sequences, one row each."""
    found = {}
    for texts in pooled_features(config, write_ragged(sequences, dtype=np.int32), **options):
        assert len(texts.features_ULD) <= features.CHUNK
        for row, which in zip(texts.rows, texts.which, strict=True):
            assert row not in found
            found[row] = texts.features_ULD[which]
    return np.stack([found[row] for row in range(len(sequences))])


@pytest.fixture
def sequences(any_model, pairs):
    encoded = encode_pairs(load_tokenizer(any_model), pairs, max_length=256)
    return [side for pair in encoded for side in (pair.chosen, pair.rejected)]


@pytest.mark.parametrize("num_layers", [1, None])
def test_features_are_the_means_of_hidden_states_at_thirds_of_the_trunk(
    any_model, sequences, tmp_path, num_layers
):
    config = any_model.model_copy(update={"num_layers": num_layers})
    trunk = load_trunk(config)
    with torch.inference_mode():
        expected = [
            [
                states[at][0].mean(0).numpy()
                for at in features.depths(trunk.config.num_hidden_layers)
            ]
            for states in (
                trunk(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
                for ids in sequences
            )
        ]
    found = features_of(config, sequences, cache=tmp_path, batch_tokens=300)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def many(num):
    return [[1, 5 + i % 300, 6 + i // 300, 2] for i in range(num)]


def test_a_run_goes_on_after_its_last_chunk_with_the_same_bits(llama, tmp_path):
    sequences = many(features.CHUNK * 2 + 10)
    whole = features_of(llama, sequences, cache=tmp_path)
    chunks = sorted(tmp_path.iterdir())
    assert len(chunks) == 3
    kept = {path: path.stat().st_mtime_ns for path in chunks[1:]}
    chunks[0].unlink()
    np.testing.assert_array_equal(features_of(llama, sequences, cache=tmp_path), whole)
    assert {path: path.stat().st_mtime_ns for path in chunks[1:]} == kept


def test_what_is_on_disk_is_not_computed_again(llama, tmp_path):
    sequences = many(3)
    shape = features_of(llama, sequences, cache=tmp_path).shape
    (chunk,) = tmp_path.iterdir()
    np.save(chunk, np.full(shape, 7, np.float32))
    assert (features_of(llama, sequences, cache=tmp_path) == 7).all()


def test_other_layers_or_texts_never_meet_an_old_chunk(llama, tmp_path):
    features_of(llama, many(3), cache=tmp_path)
    features_of(llama, many(4), cache=tmp_path)
    features_of(llama.model_copy(update={"num_layers": 1}), many(3), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("sequences", [[], [[1, 2], []]])
def test_nothing_to_read_is_an_error(llama, tmp_path, sequences):
    with pytest.raises(ConfigError, match="at least one sequence, and no empty one"):
        features_of(llama, sequences, cache=tmp_path)
