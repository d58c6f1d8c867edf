"""What truncation may take away: never the difference, never the end, never from one side only."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tamis.data import DataConfig, prepare
from tamis.models.score import score_pairs
from tamis.models.tokenise import (
    encode_conversations,
    encode_pairs,
    end_token_id,
    fit_problem,
    load_tokenizer,
    make_fit_check,
)
from tamis.train.dataset import count_kinds, training_set
from tamis.types import Dropped, Verdict

LENGTH = 48


@pytest.fixture(scope="module")
def llama_tokenizer(llama):
    return load_tokenizer(llama)


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.text("ab ", max_size=80),
    answers=st.lists(st.text("ab ", max_size=30), min_size=2, max_size=2, unique=True),
    max_length=st.integers(8, 60),
)
def test_truncation_never_removes_the_difference(
    llama_tokenizer, make_pair, prompt, answers, max_length
):
    """Truncation removes the difference: other answers stay other ids, or are too long by name."""
    pair = make_pair(prompt, *answers)
    (whole,) = encode_pairs(llama_tokenizer, [pair], max_length=10**6)
    (cut,) = encode_pairs(llama_tokenizer, [pair], max_length=max_length)
    assert whole.chosen != whole.rejected
    assert cut.chosen != cut.rejected
    fits = max(len(cut.chosen), len(cut.rejected)) <= max_length
    assert fit_problem(cut, max_length=max_length) == (None if fits else "over_length")


def test_truncation_from_the_right_would_make_these_pairs_identical(llama_tokenizer, make_pair):
    """Truncation removes the difference: what the tokenizer's own cut on the right would do."""
    pair = make_pair("word " * 40, "good", "bad")
    talks = [pair.prompt + pair.chosen, pair.prompt + pair.rejected]
    chosen, rejected = encode_conversations(llama_tokenizer, talks, max_length=None)
    assert chosen[:LENGTH] == rejected[:LENGTH]
    (encoded,) = encode_pairs(llama_tokenizer, [pair], max_length=LENGTH)
    assert fit_problem(encoded, max_length=LENGTH) is None


def test_truncation_drops_are_counted_and_named(tmp_path, bert, make_pair):
    """Truncation removes the difference: the rows that cannot be used are dropped by name."""
    tokenizer = load_tokenizer(bert)
    texts = [
        ("Hi", "good dog", "bad dog"),
        ("Hi", "Good dog", "good dog"),  # BERT reads no capitals
        ("Hi", "fox " * 60, "dog " * 60),
    ]
    file = tmp_path / "pairs.jsonl"
    rows = [dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in texts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check = make_fit_check(tokenizer, LENGTH)
    prepared = prepare(DataConfig(path=str(file), max_dropped_frac=1.0), check_fit=check)
    assert [pair.row for pair in prepared.pairs] == [0]
    found = [(drop.row, drop.kind) for drop in prepared.dropped]
    assert found == [(1, "identical_after_truncation"), (2, "over_length")]
    assert prepared.report["dropped"] == {"identical_after_truncation": 1, "over_length": 1}
    pairs = [make_pair(*row, number=number) for number, row in enumerate(texts)]
    verdicts = [Verdict(pair.id) for pair in pairs]
    data = training_set(pairs, verdicts, tokenizer=tokenizer, max_length=LENGTH)
    assert count_kinds(data.left_out) == prepared.report["dropped"]
    assert data.left_out[0] == Dropped(1, "identical_after_truncation", "p1")


def test_truncation_keeps_the_end_and_cuts_the_prompt_first(model_config, make_pair):
    """Truncation cuts the wrong end: BOS or CLS, both whole answers and the end token stay."""
    tokenizer = load_tokenizer(model_config)
    prompt, sides = "fox dog " * 40, ("good yes", "bad")
    (cut,) = encode_pairs(tokenizer, [make_pair(prompt, *sides)], max_length=LENGTH)
    (whole,) = encode_pairs(tokenizer, [make_pair(prompt, *sides)], max_length=10**6)
    (short,) = encode_pairs(tokenizer, [make_pair("", *sides)], max_length=LENGTH)
    assert max(len(cut.chosen), len(cut.rejected)) == LENGTH
    for long, found, answer in (
        (whole.chosen, cut.chosen, short.chosen),
        (whole.rejected, cut.rejected, short.rejected),
    ):
        assert found == long[:1] + long[1 + cut.num_cut :]  # the same cut on both sides
        assert found[-1] == end_token_id(tokenizer)
        assert found[1 - len(answer) :] == answer[1:]


def test_truncation_cuts_the_same_tokens_from_both_sides(llama_tokenizer, make_pair):
    """Truncation cuts the wrong end: a longer answer costs both sides the same part of a prompt."""
    for chosen, rejected in (("good", "bad " * 9), ("good " * 9, "bad")):
        pair = make_pair("one two three four five six seven", chosen, rejected)
        (cut,) = encode_pairs(llama_tokenizer, [pair], max_length=LENGTH)
        (whole,) = encode_pairs(llama_tokenizer, [pair], max_length=10**6)
        assert cut.num_cut > 0
        assert len(whole.chosen) - len(cut.chosen) == cut.num_cut
        assert len(whole.rejected) - len(cut.rejected) == cut.num_cut
        assert cut.chosen[: cut.num_prefix] == cut.rejected[: cut.num_prefix]


@pytest.mark.parametrize("kind", ["decoder", "encoder with an end token"])
def test_truncation_by_the_saved_tokenizer_keeps_the_token_that_is_read(
    make_tokenizer, with_tokenizer, tmp_path, kind
):
    """Truncation cuts the wrong end: what another program's ``truncation=True`` leaves."""
    theirs = make_tokenizer()
    if kind != "decoder":
        theirs.cls_token, theirs.sep_token = theirs.bos_token, theirs.eos_token
    load_tokenizer(with_tokenizer(theirs)).save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    text = f"<s>{'word ' * 200}</s>"
    ids = saved(text, add_special_tokens=False, truncation=True, max_length=LENGTH)["input_ids"]
    assert len(ids) == LENGTH
    assert (ids[-1] == saved.eos_token_id) == (kind == "decoder")
    assert (ids[0] == saved.cls_token_id) == (kind != "decoder")


def test_truncation_of_what_does_not_fit_is_counted_where_it_has_to_be_scored(
    decoder, load_spread, make_pair
):
    """Truncation cuts the wrong end: a benchmark's over-long answer keeps its end, and counts."""
    tokenizer, model = load_tokenizer(decoder), load_spread(decoder)
    pairs = [make_pair("Hi", "good " * 60, "bad"), make_pair("Hi", "good", "bad")]
    scores = score_pairs(model, tokenizer, pairs, max_length=LENGTH)
    assert scores.num_over_length == 1
    assert np.isfinite([scores.chosen_N, scores.rejected_N]).all()
    (kept,) = encode_conversations(
        tokenizer, [pairs[0].prompt + pairs[0].chosen], max_length=LENGTH
    )
    assert kept[-1] == end_token_id(tokenizer)
    assert kept[0] == tokenizer.bos_token_id
