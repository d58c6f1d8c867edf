import numpy as np
import pytest
import torch

from tamis.errors import ConfigError
from tamis.models.load import load_reward_model
from tamis.models.rows.padded import length_batches, pad_right
from tamis.models.score import score_pairs, score_sequences
from tamis.models.tokenise import encode_conversations, encode_pairs, load_tokenizer, pad_id_of


@pytest.fixture
def tokenizer(any_model):
    return load_tokenizer(any_model)


@pytest.fixture
def model(any_model):
    return load_reward_model(any_model, seed=1)


@pytest.fixture
def sequences(tokenizer, pairs):
    encoded = encode_pairs(tokenizer, pairs, max_length=256)
    return [side for pair in encoded for side in (pair.chosen, pair.rejected)]


def alone(model, ids):
    with torch.inference_mode():
        return float(model(input_ids=torch.tensor([list(ids)])).logits[0, 0])


def test_padding_and_batch_mates_change_no_score(model, tokenizer, sequences):
    one_by_one = [alone(model, ids) for ids in sequences]
    assert np.ptp(one_by_one) > 1e-3
    for batch_tokens in (1, 200, 10**6):
        together = score_sequences(
            model, sequences, pad_id=tokenizer.pad_token_id, batch_tokens=batch_tokens
        )
        assert together.dtype == np.float32
        np.testing.assert_allclose(together, one_by_one, atol=1e-5)


def test_a_decoder_scores_left_padded_text_alike(llama, pairs):
    tokenizer, model = load_tokenizer(llama), load_reward_model(llama, seed=1)
    short = encode_pairs(tokenizer, pairs, max_length=256)[0].chosen
    pads = [tokenizer.pad_token_id] * 7
    with torch.inference_mode():
        left = model(
            input_ids=torch.tensor([[*pads, *short]]),
            attention_mask=torch.tensor([[0] * 7 + [1] * len(short)]),
        ).logits[0, 0]
    assert float(left) == pytest.approx(alone(model, short), abs=1e-5)


def test_permuting_the_sequences_permutes_the_scores(model, tokenizer, sequences):
    order = np.random.default_rng(0).permutation(len(sequences))
    straight = score_sequences(model, sequences, pad_id=tokenizer.pad_token_id)
    turned = score_sequences(model, [sequences[i] for i in order], pad_id=tokenizer.pad_token_id)
    np.testing.assert_array_equal(turned, straight[order])


def test_each_distinct_sequence_is_computed_once(model, tokenizer, sequences):
    rows = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    scores = score_sequences(model, sequences * 3, pad_id=tokenizer.pad_token_id)
    hook.remove()
    assert sum(rows) == len(set(sequences)) < len(sequences)
    assert np.ptp(scores.reshape(3, -1), axis=0).max() == 0


def test_the_training_flag_is_left_as_it_was(model, tokenizer, sequences):
    model.train()
    score_sequences(model, sequences[:1], pad_id=tokenizer.pad_token_id)
    assert model.training


def test_the_training_flag_is_left_as_it_was_where_scoring_fails(llama):
    model, pad_id = load_reward_model(llama, seed=1), pad_id_of(load_tokenizer(llama))
    model.train()
    with pytest.raises(IndexError):
        score_sequences(model, [(5, 10**6)], pad_id=pad_id)
    assert model.training


def test_another_padding_id_than_the_models_is_refused(model, sequences):
    with pytest.raises(ConfigError, match=r"the model pads with id .*, the tokenizer with 7"):
        score_sequences(model, sequences, pad_id=7)


@pytest.mark.parametrize("ids", [(), (5, None)])
def test_a_sequence_that_would_be_read_elsewhere_is_refused(model, tokenizer, ids):
    pad = tokenizer.pad_token_id
    with pytest.raises(ConfigError, match="empty or ends with the padding id"):
        score_sequences(model, [[pad if i is None else i for i in ids]], pad_id=pad)


def test_pairs_are_scored_as_trained_and_over_length_ones_are_counted(model, tokenizer, pairs):
    scores = score_pairs(model, tokenizer, pairs, max_length=24)
    encoded = encode_pairs(tokenizer, pairs, max_length=24)
    fits = [max(len(e.chosen), len(e.rejected)) <= 24 for e in encoded]
    assert scores.num_over_length == fits.count(False) > 0
    for row, (pair, one) in enumerate(zip(pairs, encoded, strict=True)):
        ids = one.chosen
        if not fits[row]:
            whole = [pair.prompt + pair.chosen]
            (ids,) = encode_conversations(tokenizer, whole, max_length=24)
        assert scores.chosen_N[row] == pytest.approx(alone(model, ids), abs=1e-5)


def test_no_pairs_give_no_scores(model, tokenizer):
    assert score_pairs(model, tokenizer, [], max_length=24).chosen_N.shape == (0,)


def test_batches_respect_the_budget_and_hold_everything_once():
    lengths = [3, 50, 7, 7, 20, 1]
    batches = list(length_batches(lengths, batch_tokens=21))
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 21


def test_padding_is_on_the_right():
    ids, mask = pad_right([[4, 5, 6], [7]], pad_id=9)
    assert ids.tolist() == [[4, 5, 6], [7, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_tokenizer_without_padding_is_refused(make_tokenizer):
    tokenizer = make_tokenizer(pad_token=None)
    tokenizer.pad_token = None
    with pytest.raises(ConfigError, match="no padding token"):
        pad_id_of(tokenizer)
