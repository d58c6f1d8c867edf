"""Responses to a prompt are cut as the sides of a pair are."""

from tamis.models.responses import encode_responses
from tamis.models.tokenise import encode_pairs, fit_problem, load_tokenizer
from tamis.types import Message


def said(text):
    return (Message("assistant", text),)


def test_two_responses_are_encoded_like_the_sides_of_a_pair(any_model, pairs):
    tokenizer = load_tokenizer(any_model)
    for max_length in (256, 40, 24):
        items = [(pair.prompt, [pair.chosen, pair.rejected]) for pair in pairs]
        found = encode_responses(tokenizer, items, max_length=max_length)
        expected = encode_pairs(tokenizer, pairs, max_length=max_length)
        num_fitting = 0
        for responses, pair in zip(found, expected, strict=True):
            if fit_problem(pair, max_length=max_length) == "over_length":
                assert responses.num_over_length > 0
                continue
            num_fitting += 1
            assert responses.sequences == (pair.chosen, pair.rejected)
            assert responses.num_cut == pair.num_cut
        assert num_fitting > 0


def test_a_response_that_cannot_fit_is_left_out_and_cuts_nothing(llama):
    tokenizer = load_tokenizer(llama)
    prompt = (Message("user", "the quick brown fox"),)
    long = said("0123456789 " * 80)
    three, two = encode_responses(
        tokenizer,
        [(prompt, [said("a"), long, said("b b")]), (prompt, [said("a"), said("b b")])],
        max_length=64,
    )
    assert three.num_over_length == 1
    assert three.sequences == two.sequences
    assert (two.num_over_length, two.num_cut) == (0, 0)


def test_all_responses_lose_the_same_part_of_the_prompt(llama):
    tokenizer = load_tokenizer(llama)
    prompt = (Message("user", "the quick brown fox jumps " * 20),)
    responses = [said("a"), said("b b b"), said("c c c c c c")]
    (whole,) = encode_responses(tokenizer, [(prompt, responses)], max_length=1000)
    (cut,) = encode_responses(tokenizer, [(prompt, responses)], max_length=50)
    assert max(map(len, cut.sequences)) == 50
    for before, after in zip(whole.sequences, cut.sequences, strict=True):
        assert len(before) - len(after) == cut.num_cut > 0
        assert after[0] == before[0] == tokenizer.bos_token_id
        assert after[1:] == before[1 + cut.num_cut :]


def test_no_response_is_no_sequence(llama):
    (found,) = encode_responses(load_tokenizer(llama), [((), [])], max_length=10)
    assert found.sequences == ()
