"""Where a score is read: padding sides, padding ids, the last token.

Shapes: B rows of a batch, T tokens, D hidden.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from tamis.errors import ConfigError
from tamis.models.checkpoint import save_checkpoint
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.score import score_sequences
from tamis.models.tokenise import (
    encode_conversations,
    encode_pairs,
    end_token_id,
    load_tokenizer,
    pad_id_of,
)
from tamis.types import Message


@pytest.fixture
def sequences(decoder, talks):
    encoded = encode_pairs(load_tokenizer(decoder), talks, max_length=64)
    return [side for pair in encoded for side in (pair.chosen, pair.rejected)]


def logit(model, ids, **inputs):
    with torch.inference_mode():
        return float(model(input_ids=torch.tensor([list(ids)]), **inputs).logits[0, 0])


def test_padding_side_left_right_and_none_give_one_score(decoder, load_spread, sequences):
    """Padding side invariance; learned positions need to be told on the left."""
    model, pad_id = load_spread(decoder), pad_id_of(load_tokenizer(decoder))
    found = score_sequences(model, sequences, pad_id=pad_id)
    assert np.ptp(found) > 1
    for score, ids in zip(found, sequences, strict=True):
        pads, real = [pad_id] * 9, [1] * len(ids)
        right = logit(model, [*ids, *pads], attention_mask=torch.tensor([[*real, *([0] * 9)]]))
        left = logit(
            model,
            [*pads, *ids],
            attention_mask=torch.tensor([[*([0] * 9), *real]]),
            position_ids=torch.tensor([[*([0] * 9), *range(len(ids))]]),
        )
        assert [left, right, logit(model, ids)] == pytest.approx([score] * 3, abs=1e-5)


def test_padding_side_left_would_move_the_scores_of_learned_positions(gpt2, load_spread, talks):
    """Why nothing is padded on the left: GPT-2 would count the pads as positions."""
    tokenizer, model = load_tokenizer(gpt2), load_spread(gpt2)
    ids = encode_pairs(tokenizer, talks, max_length=64)[1].chosen
    mask = torch.tensor([[0] * 9 + [1] * len(ids)])
    moved = logit(model, [pad_id_of(tokenizer)] * 9 + list(ids), attention_mask=mask)
    assert abs(moved - logit(model, ids)) > 0.1


def test_padding_side_of_the_checkpoint_is_right_whatever_the_base_says(
    make_tokenizer, with_tokenizer, llama, tmp_path
):
    """Nobody who loads the checkpoint's tokenizer pads on the left by its default."""
    config = with_tokenizer(make_tokenizer())
    file = Path(config.path) / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    assert AutoTokenizer.from_pretrained(config.path).padding_side == "left"
    tokenizer, model = load_tokenizer(config), load_reward_model(llama, seed=0)
    save_checkpoint(model, tokenizer, tmp_path / "rm", card={})
    batch = AutoTokenizer.from_pretrained(tmp_path / "rm")(["a", "a fox"], padding=True)
    assert [row[0] for row in batch["attention_mask"]] == [1, 1]
    assert batch["attention_mask"][0][-1] == 0


def test_pad_id_as_end_token_makes_the_head_read_the_token_before(llama, load_spread, talks):
    """Padding with the end token: what goes wrong without Tamis, and cannot with it."""
    tokenizer, model = load_tokenizer(llama), load_spread(llama)
    ids = encode_pairs(tokenizer, talks, max_length=64)[1].chosen
    assert ids[-1] == end_token_id(tokenizer) != pad_id_of(tokenizer)
    right = logit(model, ids)
    model.config.pad_token_id = end_token_id(tokenizer)
    wrong = logit(model, ids)
    assert wrong == pytest.approx(logit(model, ids[:-1]), abs=1e-5)
    assert abs(wrong - right) > 0.05
    with pytest.raises(ConfigError, match="ends with the padding id"):
        score_sequences(model, [ids], pad_id=end_token_id(tokenizer))


@pytest.mark.parametrize("name", ["chatml", "llama 3", "gemma", "plain"])
def test_pad_id_is_never_the_end_token_and_the_vocabulary_never_grows(family_config, name):
    """Padding with the end token: another token of the tokenizer is taken, in each family."""
    config = family_config(name)
    theirs, tokenizer = AutoTokenizer.from_pretrained(config.path), load_tokenizer(config)
    pad_id = pad_id_of(tokenizer)
    assert pad_id not in (end_token_id(tokenizer), tokenizer.eos_token_id)
    assert len(tokenizer) == len(theirs)
    assert pad_id < len(theirs)
    expected = {"llama 3": "<|reserved_special_token_0|>", "plain": "<unk>"}
    assert tokenizer.pad_token == expected.get(name, theirs.pad_token)


def test_pad_id_where_the_end_token_is_the_only_special_one_is_refused(
    make_tokenizer, with_tokenizer
):
    """Padding with the end token: GPT-2's tokenizer has no other, and Tamis adds none unasked."""
    theirs = make_tokenizer(pad_token=None)
    theirs.bos_token = theirs.unk_token = theirs.pad_token = theirs.eos_token
    with pytest.raises(ConfigError, match=r"no token to pad with besides its end token '</s>'"):
        load_tokenizer(with_tokenizer(theirs))


def test_which_token_is_read_the_last_of_the_mask(decoder, load_spread, sequences):
    """Off-by-one: the score is the head on the hidden state of the end token, and of no other."""
    tokenizer, model = load_tokenizer(decoder), load_spread(decoder)
    found = score_sequences(model, sequences, pad_id=pad_id_of(tokenizer))
    for score, ids in zip(found, sequences, strict=True):
        with torch.inference_mode():
            hidden_TD = model.base_model(input_ids=torch.tensor([list(ids)])).last_hidden_state[0]
            score_T = output_layer(model)(hidden_TD)[:, 0].numpy()
        assert tokenizer.convert_ids_to_tokens(ids[-1]) == "</s>"
        assert score == pytest.approx(score_T[-1], abs=1e-5)
        assert abs(score_T[:-1] - score).min() > 1e-3


def test_which_token_is_read_where_a_text_spells_the_padding_token(decoder, load_spread):
    """A padding token inside a text moves nothing: the last token is an end token all the same."""
    tokenizer, model = load_tokenizer(decoder), load_spread(decoder)
    talk = (Message("user", "<pad> a <pad>"), Message("assistant", "<pad>"))
    (ids,) = encode_conversations(tokenizer, [talk], max_length=64)
    pad_id = pad_id_of(tokenizer)
    assert ids.count(pad_id) == 3
    (score, _) = score_sequences(model, [ids, (*ids[:-1], *ids)], pad_id=pad_id)
    with torch.inference_mode():
        hidden_TD = model.base_model(input_ids=torch.tensor([list(ids)])).last_hidden_state[0]
        expected = float(output_layer(model)(hidden_TD[-1]))
    assert score == pytest.approx(expected, abs=1e-5)


def test_which_token_an_encoder_reads_the_first(bert, load_spread, talks):
    """BERT scores [CLS] through its pooler, at the left end, wherever the padding stops."""
    tokenizer, model = load_tokenizer(bert), load_spread(bert)
    encoded = encode_pairs(tokenizer, talks, max_length=64)
    sequences = [pair.chosen for pair in encoded]
    assert {ids[0] for ids in sequences} == {tokenizer.cls_token_id}
    found = score_sequences(model, sequences, pad_id=pad_id_of(tokenizer))
    with torch.inference_mode():
        for score, ids in zip(found, sequences, strict=True):
            hidden_TD = model.base_model(input_ids=torch.tensor([list(ids)])).last_hidden_state
            pooled = model.base_model.pooler(hidden_TD[:, :1])
            assert score == pytest.approx(float(output_layer(model)(pooled)), abs=1e-5)
