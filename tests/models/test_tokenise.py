from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import ConfigError
from tamis.models.tokenise import (
    encode_conversations,
    encode_pairs,
    end_token_id,
    fit_problem,
    load_tokenizer,
    make_fit_check,
)
from tamis.types import Message, Pair


def talk(prompt: str, chosen: str, rejected: str) -> Pair:
    turns = [(Message("assistant", text),) for text in (chosen, rejected)]
    return Pair("p", (Message("user", prompt),), *turns)


@pytest.fixture
def tokenizer(any_model):
    return load_tokenizer(any_model)


def test_the_ids_are_those_of_the_template_without_added_tokens(tokenizer, pairs):
    for pair, encoded in zip(pairs, encode_pairs(tokenizer, pairs, max_length=256), strict=True):
        for side, ids in ((pair.chosen, encoded.chosen), (pair.rejected, encoded.rejected)):
            messages = [{"role": m.role, "content": m.content} for m in pair.prompt + side]
            theirs = tokenizer.apply_chat_template(messages, tokenize=True)["input_ids"]
            assert list(ids) == theirs


def test_first_and_last_token_are_there_once(tokenizer, pairs):
    begin = tokenizer.cls_token_id or tokenizer.bos_token_id
    for encoded in encode_pairs(tokenizer, pairs, max_length=256):
        for ids in (encoded.chosen, encoded.rejected):
            assert ids.count(begin) == 1
            assert ids[0] == begin
            assert ids[-1] == end_token_id(tokenizer) != ids[-2]


def test_the_prefix_is_found_on_the_ids(tokenizer, pairs):
    for encoded in encode_pairs(tokenizer, pairs, max_length=256):
        n = encoded.num_prefix
        assert encoded.chosen[:n] == encoded.rejected[:n]
        assert encoded.chosen[n : n + 1] != encoded.rejected[n : n + 1]


def test_a_repeated_conversation_gets_the_same_ids(tokenizer, pairs):
    twice = encode_pairs(tokenizer, [*pairs, *pairs], max_length=256)
    assert twice[: len(pairs)] == twice[len(pairs) :]


def test_nothing_to_encode_is_no_error(tokenizer):
    assert encode_pairs(tokenizer, [], max_length=256) == []


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(max_size=60),
    answers=st.tuples(st.text(max_size=30), st.text(max_size=30)),
    max_length=st.integers(8, 60),
)
def test_truncation_cuts_the_same_tokens_of_the_prompt_from_both_sides(
    llama_tokenizer, prompt, answers, max_length
):
    pair = talk(prompt, *answers)
    (whole,) = encode_pairs(llama_tokenizer, [pair], max_length=10**6)
    (cut,) = encode_pairs(llama_tokenizer, [pair], max_length=max_length)
    n = cut.num_cut
    assert whole.num_cut == 0
    assert n < whole.num_prefix or n == 0
    for full, short in ((whole.chosen, cut.chosen), (whole.rejected, cut.rejected)):
        assert short == full[:1] + full[1 + n :]
        assert short[-1] == llama_tokenizer.eos_token_id
    longest = max(len(whole.chosen), len(whole.rejected))
    if fit_problem(cut, max_length=max_length) == "over_length":
        assert n == min(whole.num_prefix, len(whole.chosen) - 1, len(whole.rejected) - 1) - 1
    else:
        assert n == max(0, longest - max_length)


@pytest.mark.parametrize("max_length", [20, 30, 38, 44, 50, 60])
def test_a_side_that_the_other_goes_on_keeps_its_end_token_whichever_it_is(
    llama_tokenizer, max_length
):
    short = talk("Hi", "good", "")
    longer = (*short.chosen, Message("user", "and " * 9), Message("assistant", "so " * 5))
    pair = replace(short, rejected=longer)
    (one,) = encode_pairs(llama_tokenizer, [pair], max_length=max_length)
    (other,) = encode_pairs(llama_tokenizer, [pair.swapped()], max_length=max_length)
    assert (one.chosen, one.rejected) == (other.rejected, other.chosen)
    end = end_token_id(llama_tokenizer)
    assert all(len(ids) > 1 and ids[-1] == end for ids in (one.chosen, one.rejected))


@pytest.fixture(scope="session")
def llama_tokenizer(llama):
    return load_tokenizer(llama)


def test_answers_that_do_not_fit_are_over_length(llama_tokenizer):
    long = talk("Hi", "good " * 50, "bad " * 50)
    fine = talk("Hi " * 50, "good", "bad")
    assert make_fit_check(llama_tokenizer, 40)([long, fine]) == ["over_length", None]


def test_sides_with_the_same_ids_are_identical(minilm):
    check = make_fit_check(load_tokenizer(minilm), 64)
    assert check([talk("Hi", "Hello There", "hello there")]) == ["identical_after_truncation"]


def test_identical_long_sides_keep_their_end_token(llama_tokenizer):
    (encoded,) = encode_pairs(llama_tokenizer, [talk("Hi", "a " * 60, "a " * 60)], max_length=20)
    assert encoded.chosen[-1] == llama_tokenizer.eos_token_id
    assert len(encoded.chosen) == 20


def test_one_conversation_loses_its_oldest_tokens(llama_tokenizer, pairs):
    conversation = pairs[4].prompt + pairs[4].chosen
    (full,) = encode_conversations(llama_tokenizer, [conversation], max_length=None)
    (short,) = encode_conversations(llama_tokenizer, [conversation], max_length=12)
    assert short == full[:1] + full[-11:]


def test_the_length_limit_is_the_models_and_512_at_most(any_model, llama, minilm):
    limits = {llama.path: 256, minilm.path: 512}
    assert load_tokenizer(any_model).model_max_length == limits[any_model.path]


def test_max_length_over_the_limit_is_refused(llama):
    with pytest.raises(ConfigError, match=r"max_length is 300.*at most 256"):
        load_tokenizer(llama.model_copy(update={"max_length": 300}))


@pytest.mark.parametrize(
    ("pad", "expected"), [("<pad>", "<pad>"), ("</s>", "<unk>"), (None, "<unk>")]
)
def test_the_padding_token_exists_and_is_not_the_end_token(
    llama, make_tokenizer, tmp_path, pad, expected
):
    tokenizer = make_tokenizer()
    tokenizer.pad_token = pad
    size = len(tokenizer)
    save_beside_config(tokenizer, llama, tmp_path)
    loaded = load_tokenizer(llama.model_copy(update={"path": str(tmp_path)}))
    assert loaded.pad_token == expected
    assert loaded.padding_side == "right"
    assert len(loaded) == size


def test_a_reserved_token_pads_where_there_is_no_other(llama, make_tokenizer, tmp_path):
    tokenizer = make_tokenizer(pad_token="<|reserved_0|>")
    tokenizer.pad_token = tokenizer.unk_token = None
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|reserved_0|>"]})
    save_beside_config(tokenizer, llama, tmp_path)
    loaded = load_tokenizer(llama.model_copy(update={"path": str(tmp_path)}))
    assert loaded.pad_token == "<|reserved_0|>"


def test_without_any_token_to_pad_with_the_error_says_what_to_do(llama, make_tokenizer, tmp_path):
    tokenizer = make_tokenizer(pad_token=None)
    tokenizer.unk_token = None
    save_beside_config(tokenizer, llama, tmp_path)
    with pytest.raises(ConfigError, match=r"no token to pad with.*add a padding token"):
        load_tokenizer(llama.model_copy(update={"path": str(tmp_path)}))


def save_beside_config(tokenizer, llama, path):
    (path / "config.json").write_bytes((Path(llama.path) / "config.json").read_bytes())
    tokenizer.save_pretrained(path)


def test_an_empty_prompt_is_encoded(tokenizer):
    pair = replace(talk("", "yes", "no"), prompt=())
    (encoded,) = encode_pairs(tokenizer, [pair], max_length=64)
    assert encoded.chosen != encoded.rejected
