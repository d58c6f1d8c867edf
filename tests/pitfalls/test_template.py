"""First and last tokens, the clock, and the join of prompt and answer, by template family."""

import datetime
import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from tamis.data import DataConfig, prepare
from tamis.models.score import score_pairs, score_sequences
from tamis.models.tokenise import (
    encode_conversations,
    encode_pairs,
    end_token_id,
    load_tokenizer,
    pad_id_of,
)
from tamis.train.dataset import training_set
from tamis.types import Message, Pair, Verdict

TALK = (Message("user", "Hi"), Message("assistant", "Yes."))
GOLDEN_TEXT = {
    "chatml": (
        "<|im_start|>system\nYou are kind.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>"
    ),
    "llama 3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024"
        "\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|>"
    ),
    "gemma": (
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYes.<end_of_turn><eos>"
    ),
    "plain": "<s>user: Hi\n\nassistant: Yes.</s>",
}
# the last tokens: the one that is read, and what stands before it
GOLDEN_TAIL = {
    "chatml": ["s", ".", "<|im_end|>"],
    "llama 3": ["s", ".", "<|eot_id|>"],
    "gemma": [".", "<end_of_turn>", "<eos>"],
    "plain": ["s", ".", "</s>"],
    "bert": ["##s", ".", "[SEP]"],
}
FIRST = {
    "chatml": "<|im_start|>",
    "llama 3": "<|begin_of_text|>",
    "gemma": "<bos>",
    "plain": "<s>",
    "bert": "[CLS]",
}


@pytest.fixture(params=list(GOLDEN_TAIL))
def name(request):
    return request.param


@pytest.fixture
def tokenizer(name, family_config, bert):
    return load_tokenizer(bert if name == "bert" else family_config(name))


def tokens(tokenizer, talk=TALK):
    (ids,) = encode_conversations(tokenizer, [talk], max_length=None)
    return tokenizer.convert_ids_to_tokens(list(ids))


def test_template_tail_the_token_that_is_read(name, tokenizer):
    """Template tail: the token after the answer ends the ids, never the newline behind a turn."""
    assert tokens(tokenizer)[-3:] == GOLDEN_TAIL[name]
    assert tokens(tokenizer)[0] == FIRST[name]


@pytest.mark.parametrize("name", list(GOLDEN_TEXT))
def test_template_tail_the_whole_text(name, family_config):
    """Template tail: the family's own text, letter for letter, up to its end token."""
    tokenizer = load_tokenizer(family_config(name))
    messages = [{"role": m.role, "content": m.content} for m in TALK]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == GOLDEN_TEXT[name]
    (ids,) = encode_conversations(tokenizer, [TALK], max_length=None)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == GOLDEN_TEXT[name]


def test_template_tail_newlines_that_end_an_answer_do_not_become_the_last_token(name, tokenizer):
    """Template tail: what the answer itself ends with stays in front of the end token."""
    spaced = (TALK[0], Message("assistant", "Yes.\n\n"))
    assert tokens(tokenizer, spaced)[-1] == GOLDEN_TAIL[name][-1]


def test_eos_is_neither_missing_nor_doubled(name, tokenizer):
    """EOS missing or doubled: one closes the conversation, also where the text ends with it."""
    (end,) = GOLDEN_TAIL[name][-1:]
    talks = [TALK, (TALK[0], Message("assistant", f"Yes.{end}")), (TALK[1],), (*TALK, *TALK)]
    for talk in talks:
        found = tokens(tokenizer, talk)
        assert found[-1] == end
    assert tokens(tokenizer)[-2] != end


def test_eos_is_in_training_as_in_scoring(name, tokenizer, talks):
    """EOS only in training: what is trained on and what is scored are the same ids."""
    verdicts = [Verdict(pair.id) for pair in talks]
    trained = training_set(talks, verdicts, tokenizer=tokenizer, max_length=256).encoded
    scored = encode_conversations(tokenizer, [p.prompt + p.chosen for p in talks], max_length=None)
    assert [pair.chosen for pair in trained] == scored
    assert {ids[-1] for ids in scored} == {end_token_id(tokenizer)}


def test_eos_makes_a_difference_that_a_caller_sees(decoder, load_spread, talks):
    """EOS missing: its score is another one, so nothing may leave it out unnoticed."""
    tokenizer, model = load_tokenizer(decoder), load_spread(decoder)
    whole = [pair.chosen for pair in encode_pairs(tokenizer, talks, max_length=64)]
    pad_id = pad_id_of(tokenizer)
    with_end = score_sequences(model, whole, pad_id=pad_id)
    without = score_sequences(model, [ids[:-1] for ids in whole], pad_id=pad_id)
    assert np.abs(with_end - without).min() > 1e-3
    pairs = score_pairs(model, tokenizer, talks, max_length=64)
    np.testing.assert_allclose(pairs.chosen_N, with_end, atol=1e-5)


def test_bos_is_there_once_where_template_and_tokenizer_both_write_it(name, tokenizer):
    """BOS duplicated: Llama 3 and Gemma write it in the template and add it to any text."""
    first = FIRST[name]
    found = tokens(tokenizer)
    assert found[0] == first
    assert found[1] != first
    if name != "chatml":  # its first token opens every turn
        assert found.count(first) == 1
    rendered = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in TALK], tokenize=False
    )
    twice = tokenizer.convert_ids_to_tokens(tokenizer(rendered)["input_ids"])
    assert (twice[:2] == [first, first]) == (name != "chatml")


def test_bos_is_there_once_in_the_saved_tokenizer(name, tokenizer, tmp_path):
    """BOS duplicated: loading what was saved neither adds one nor wraps the template again."""
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": m.role, "content": m.content} for m in TALK]
    theirs = again.apply_chat_template(messages, tokenize=True)["input_ids"]
    assert again.convert_ids_to_tokens(theirs) == tokens(tokenizer)


def test_clock_in_the_template_changes_no_id(family_config, monkeypatch):
    """Clock in the template: two days, one sequence of ids."""
    config = family_config("llama 3")
    own, seen = AutoTokenizer.from_pretrained(config.path), []
    messages = [{"role": "user", "content": "Hi"}]
    for year in (2024, 2031):

        class Then(datetime.datetime):
            @classmethod
            def now(cls, tz=None, year=year):
                return cls(year, 1, 2)

        monkeypatch.setattr(chat_template_utils, "datetime", Then)
        assert f"02 Jan {year}" in own.apply_chat_template(messages, tokenize=False)
        seen += encode_conversations(load_tokenizer(config), [TALK], max_length=None)
    assert seen[0] == seen[1]


def merging_tokenizer(with_tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer in which the last letter of a prompt and the first of an answer may merge."""
    vocab = {token: n for n, token in enumerate(["<pad>", "<unk>", "<s>", "</s>", *"abcd", "ab"])}
    model = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b")], unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=64,
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return load_tokenizer(with_tokenizer(tokenizer))


def test_prompt_tokens_across_the_join_are_found_on_the_ids(with_tokenizer, make_pair):
    """Inconsistent prompt tokens: a merge over the border belongs to no common prefix."""
    tokenizer = merging_tokenizer(with_tokenizer)
    (merged, apart) = encode_pairs(
        tokenizer, [make_pair("cca", "bd", "cd"), make_pair("cca", "cd", "dd")], max_length=64
    )
    (prompt,) = encode_conversations(tokenizer, [(Message("user", "cca"),)], max_length=None)
    spelt = tokenizer.convert_ids_to_tokens(list(merged.chosen))
    assert spelt == ["c", "c", "ab", "d", "</s>"]
    assert merged.chosen[: len(prompt) - 1] != prompt[:-1]  # slicing by length would be wrong
    assert (merged.num_prefix, apart.num_prefix) == (2, 3)
    for pair in (merged, apart):
        n = pair.num_prefix
        assert pair.chosen[:n] == pair.rejected[:n]
        assert pair.chosen[n] != pair.rejected[n]


def test_prompts_that_differ_inside_a_pair(tmp_path, model_config, load_spread):
    """Prompts differ inside a pair: some HH dialogues part before their last turn."""
    history = "\n\nHuman: Hi\n\nAssistant: Yes."
    row = {
        "chosen": f"{history}\n\nHuman: one fox\n\nAssistant: good",
        "rejected": f"{history}\n\nHuman: two dogs\n\nAssistant: bad",
    }
    file = tmp_path / "hh.jsonl"
    file.write_text(json.dumps(row))
    (pair,) = prepare(DataConfig(path=str(file))).pairs
    assert [m.content for m in pair.prompt] == ["Hi", "Yes."]
    assert [m.content for m in pair.rejected] == ["two dogs", "bad"]
    tokenizer = load_tokenizer(model_config)
    (encoded,) = encode_pairs(tokenizer, [pair], max_length=64)
    n = encoded.num_prefix
    assert encoded.chosen[:n] == encoded.rejected[:n]
    assert encoded.chosen[n] != encoded.rejected[n]
    scores = score_pairs(load_spread(model_config), tokenizer, [pair], max_length=64)
    whole = [
        Pair("a", (), pair.prompt + pair.chosen, pair.prompt + pair.rejected),
        Pair("b", (), pair.prompt + pair.rejected, pair.prompt + pair.chosen),
    ]
    bare = score_pairs(load_spread(model_config), tokenizer, whole, max_length=64)
    np.testing.assert_allclose(bare.chosen_N, [scores.chosen_N[0], scores.rejected_N[0]], atol=1e-5)
