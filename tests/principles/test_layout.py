from dataclasses import replace

import pytest

from tamis.errors import ConfigError, DataError
from tamis.models.checkpoint import Scorer
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.template import end_token
from tamis.models.tokenise import encode_pairs, fit_problem, load_tokenizer, pad_id_of
from tamis.principles import condition_pairs, principle_block
from tamis.principles.layout import CUE, REVIEWER, condition, condition_pair, is_conditioned
from tamis.principles.scoring import score_under
from tamis.types import Message, Pair, content_id

TEXTS = ["Be brief.", "Be kind."]
LAYOUTS = ["prompt_first", "answer_first"]
PAIR = Pair(
    "p",
    (Message("user", "What is a fox?"),),
    (Message("assistant", "An animal."),),
    (Message("assistant", "A red animal with a tail."),),
    group="foxes",
    split="test",
    row=7,
)


def text_of(conversation) -> str:
    return "\n".join(message.content for message in conversation)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_principles_come_after_the_answer_and_the_cue_at_the_end(layout):
    made = condition_pair(PAIR, texts=TEXTS, layout=layout)
    for side, source in ((made.chosen, PAIR.chosen), (made.rejected, PAIR.rejected)):
        text = text_of(made.prompt + side)
        places = [
            text.index(part)
            for part in (REVIEWER, source[0].content, "- Be brief.\n- Be kind.", CUE)
        ]
        assert places == sorted(places)
        assert text.endswith(CUE)
        assert [message.role for message in side] == ["assistant"]
        asked, answered = text.index("What is a fox?"), places[1]
        assert (asked < answered) == (layout == "prompt_first")
        assert asked < places[2]
    assert made.id == content_id(made.prompt, made.chosen, made.rejected)
    assert (made.group, made.split, made.row) == ("foxes", "test", 7)


def test_roles_alternate_whatever_the_prompt():
    system, user = Message("system", "Be a pirate."), Message("user", "Hi")
    for prompt in ((user,), (system, user), (user, Message("assistant", "Yes?"), user), ()):
        found, answer = condition(prompt, PAIR.chosen, texts=TEXTS)
        assert [m.role for m in found] == [m.role for m in prompt]
        assert all(a.content.endswith(b.content) for a, b in zip(found, prompt, strict=True))
        assert [m.role for m in answer] == ["assistant"]
    more = (Message("assistant", "One."), user, Message("assistant", "Two."))
    found, answer = condition((user,), more, texts=TEXTS)
    assert answer[:2] == more[:2]
    assert answer[2].content.startswith("Two.\n\n")
    _, whole = condition((user,), more, texts=TEXTS, layout="answer_first")
    assert "assistant: One." in text_of(whole)


def test_differences_of_length_stay():
    made = condition_pair(PAIR, texts=TEXTS)
    lengths = [len(p.chosen[-1].content) - len(p.rejected[-1].content) for p in (PAIR, made)]
    assert lengths[0] == lengths[1] != 0


def test_nobody_conditions_twice():
    assert not is_conditioned(PAIR)
    made = condition_pair(PAIR, texts=TEXTS)
    assert is_conditioned(made)
    with pytest.raises(DataError, match="carries principles already"):
        condition_pair(made, texts=TEXTS)
    with pytest.raises(ValueError, match="at least one principle"):
        principle_block([])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_scored_tokens_are_those_of_the_cue(any_model, pairs, layout):
    tokenizer = load_tokenizer(any_model)
    conditioned = list(condition_pairs(pairs, texts=TEXTS, layout=layout))
    end = end_token(tokenizer)
    for ids in encode_pairs(tokenizer, conditioned, max_length=10_000):
        for side in (ids.chosen, ids.rejected):
            text = tokenizer.decode(side)
            assert text.endswith(end)
            tail = text.removesuffix(end).rstrip()
            assert tail.lower().endswith("the quality of the answer is")


def test_prompt_and_answer_are_shared(llama):
    tokenizer = load_tokenizer(llama)
    plain, brief = encode_pairs(
        tokenizer,
        [PAIR, condition_pair(PAIR, texts=TEXTS[:1])],
        max_length=10_000,
    )
    assert brief.num_prefix > plain.num_prefix
    one = condition_pair(PAIR, texts=[TEXTS[0]])
    other = condition_pair(PAIR, texts=[TEXTS[1]])
    under_both = replace(one, rejected=other.chosen)
    (found,) = encode_pairs(tokenizer, [under_both], max_length=10_000)
    # one answer under two principles: all but the principles' words and the cue is shared
    assert len(found.chosen) - found.num_prefix < len(
        tokenizer(principle_block(TEXTS))["input_ids"]
    )
    assert found.num_prefix > brief.num_prefix


def test_only_the_start_of_the_prompt_is_ever_cut(llama):
    tokenizer = load_tokenizer(llama)
    long = replace(PAIR, prompt=(Message("user", "fox " * 300),))
    (whole,) = encode_pairs(tokenizer, [condition_pair(PAIR, texts=TEXTS)], max_length=10_000)
    limit = max(len(whole.chosen), len(whole.rejected)) + 20
    for layout, problem in (("prompt_first", None), ("answer_first", "over_length")):
        (cut,) = encode_pairs(
            tokenizer, [condition_pair(long, texts=TEXTS, layout=layout)], max_length=limit
        )
        assert fit_problem(cut, max_length=limit) == problem
        for side in (cut.chosen, cut.rejected):
            assert principle_block(TEXTS) in tokenizer.decode(side)
    wordy = replace(PAIR, chosen=(Message("assistant", "fox " * 300),))
    (over,) = encode_pairs(tokenizer, [condition_pair(wordy, texts=TEXTS)], max_length=limit)
    assert fit_problem(over, max_length=limit) == "over_length"


@pytest.fixture(scope="module")
def scorer(llama) -> Scorer:
    tokenizer = load_tokenizer(llama)
    model = load_reward_model(llama, seed=0, pad_token_id=pad_id_of(tokenizer))
    choose_rows(model, max_length=256)
    return Scorer(model, tokenizer, max_length=256)


def test_scores_depend_on_the_principles_asked_for(scorer):
    plain, brief, long = (
        score_under(scorer, [PAIR], texts=texts) for texts in ([], ["Be brief."], ["Be long."])
    )
    found = [scores.chosen_N.item() for scores in (plain, brief, long)]
    assert len(set(found)) == 3
    again = score_under(scorer, [PAIR], texts=["Be brief."])
    assert again.chosen_N.item() == found[1]


def test_principles_that_do_not_fit_are_refused(scorer):
    with pytest.raises(ConfigError, match=r"the principles take \d+ tokens of the 256"):
        score_under(scorer, [PAIR], texts=["Be brief. " * 100])


def test_a_side_that_is_too_long_keeps_its_principles(scorer):
    wordy = replace(PAIR, chosen=(Message("assistant", "fox " * 300),))
    one, other = (score_under(scorer, [wordy], texts=[text]) for text in TEXTS)
    assert one.num_over_length == 1
    assert one.chosen_N.item() != other.chosen_N.item()
