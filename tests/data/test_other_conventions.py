"""What is special about each of the other conventions."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tamis.data import Prepared
from tamis.errors import DataError
from tamis.types import Message, Pair

Prepare = Callable[..., Prepared]


def user(text: str) -> Message:
    return Message("user", text)


def says(text: str) -> Message:
    return Message("assistant", text)


def texts(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen[-1].content, pair.rejected[-1].content) for pair in pairs]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_ms_swift_reads_whole_rejected_conversations(prepare_rows: Prepare) -> None:
    row = {
        "messages": [turn("user", "Hi"), turn("assistant", "a")],
        "rejected_messages": [turn("user", "Hi"), turn("assistant", "b")],
        "margin": 2,
    }
    (pair,) = prepare_rows([row]).pairs
    assert (pair.prompt, pair.chosen, pair.rejected) == ((user("Hi"),), (says("a"),), (says("b"),))
    assert pair.margin == 2.0


@pytest.mark.parametrize(
    "row",
    [
        {"system": "s", "input": "Hi"},
        {"system": "s", "question": "Hi"},
        {"system": "s", "prompt": "Hi"},
        {"system": "s", "instruction": "Hi", "input": ""},
        {"system": "s", "conversations": [{"from": "human", "value": "Hi"}]},
        {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "Hi"}]},
        {"prompt": [turn("system", "s"), turn("user", "Hi")]},
    ],
)
def test_a_system_text_is_the_first_turn(row: dict[str, Any], prepare_rows: Prepare) -> None:
    (pair,) = prepare_rows([{**row, "chosen": "a", "rejected": "b"}]).pairs
    assert pair.prompt == (Message("system", "s"), user("Hi"))


def test_llamafactory_joins_instruction_input_and_history(prepare_rows: Prepare) -> None:
    row = {
        "instruction": "Translate",
        "input": "chat",
        "history": [["Hi", "Hello"]],
        "chosen": "cat",
        "rejected": "dog",
    }
    (pair,) = prepare_rows([row]).pairs
    assert pair.prompt == (user("Hi"), says("Hello"), user("Translate\nchat"))
    with pytest.raises(DataError, match=r"row 0 .*field 'history\[0\]': expected \[question, answ"):
        prepare_rows([{**row, "history": [["Hi"]]}])


def test_axolotl_reads_messages_before_two_messages(prepare_rows: Prepare) -> None:
    row = {
        "messages": [turn("user", "Hi")],
        "chosen": turn("assistant", "a"),
        "rejected": turn("assistant", "b"),
    }
    prepared = prepare_rows([row])
    assert prepared.report["convention"] == "axolotl"
    assert prepared.pairs[0].prompt == (user("Hi"),)


def test_pku_prefers_better_and_can_be_told_safer(prepare_rows: Prepare) -> None:
    row = {"prompt": "Hi", "response_0": "a", "response_1": "b"}
    both = {**row, "better_response_id": 0, "safer_response_id": 1}
    assert texts(prepare_rows([both]).pairs) == [("a", "b")]
    assert texts(prepare_rows([{**row, "safer_response_id": 1}]).pairs) == [("b", "a")]
    told = prepare_rows([both], columns={"better_response_id": "safer_response_id"})
    assert texts(told.pairs) == [("b", "a")]
    with pytest.raises(DataError, match="field 'better_response_id': expected 0 or 1, found 2"):
        prepare_rows([{**row, "better_response_id": 2}])


def test_arena_counts_ties(prepare_rows: Prepare) -> None:
    row = {"prompt": "Hi", "response_a": "a", "response_b": "b"}
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    rows = [{**row, **dict(zip(names, flags, strict=True))} for flags in [(1, 0, 0), (0, 0, 1)]]
    prepared = prepare_rows(rows)
    assert texts(prepared.pairs) == [("a", "b")]
    assert prepared.report["dropped"] == {"tie": 1}
    with pytest.raises(DataError, match=r"row 0 .*expected one 1 and else 0"):
        prepare_rows([{**row, **dict(zip(names, (1, 1, 0), strict=True))}])


def test_arena_reads_turns_in_json_lists(prepare_rows: Prepare) -> None:
    row = {
        "prompt": json.dumps(["Hi", "More"]),
        "response_a": json.dumps(["a1", "a2"]),
        "response_b": json.dumps(["b1", None]),
        "winner_model_a": 1,
        "winner_model_b": 0,
    }
    (pair,) = prepare_rows([{**row, "response_b": json.dumps(["b1", "b2"])}]).pairs
    assert pair.prompt == (user("Hi"),)
    assert pair.chosen == (says("a1"), user("More"), says("a2"))
    dropped = prepare_rows([row, {**row, "response_b": '["b1", "b2"]'}]).dropped
    assert [(drop.row, drop.kind) for drop in dropped] == [(0, "empty")]


def test_arena_reads_conversations_and_a_winner(prepare_rows: Prepare) -> None:
    row = {
        "conversation_a": [turn("user", "Hi"), turn("assistant", "a")],
        "conversation_b": [turn("user", "Hi"), turn("assistant", "b")],
    }
    winners = ["model_b", "tie (bothbad)", "both_bad"]
    prepared = prepare_rows([{**row, "winner": winner} for winner in winners])
    assert texts(prepared.pairs) == [("b", "a")]
    assert prepared.report["dropped"] == {"tie": 2}
    with pytest.raises(DataError, match=r"field 'winner': expected model_a, .* found 'nobody'"):
        prepare_rows([{**row, "winner": "nobody"}])


def test_rated_pairs_have_the_difference_as_margin(prepare_rows: Prepare) -> None:
    row = {
        "conv_A": [turn("user", "Hi"), turn("assistant", "a")],
        "conv_B": [turn("user", "Hi"), turn("assistant", "b")],
    }
    ratings = [(1.0, 3.5), (4, 1), (2, 2)]
    prepared = prepare_rows([{**row, "conv_A_rating": a, "conv_B_rating": b} for a, b in ratings])
    assert [(p.chosen[0].content, p.margin) for p in prepared.pairs] == [("b", 2.5), ("a", 3.0)]
    assert prepared.report["dropped"] == {"tie": 1}


def test_ranks_give_every_pair_and_count_ties(prepare_rows: Prepare) -> None:
    row = {"question": "Hi", "answers": ["c", "a", "b", "b2"], "ranks": [3, 1, 2, 2]}
    prepared = prepare_rows([row])
    assert sorted(texts(prepared.pairs)) == [
        ("a", "b"),
        ("a", "b2"),
        ("a", "c"),
        ("b", "c"),
        ("b2", "c"),
    ]
    assert {pair.margin for pair in prepared.pairs} == {None}
    assert len({pair.group for pair in prepared.pairs}) == 1
    (tie,) = prepared.dropped
    assert tie.detail == "answers 3 and 4 of the prompt have the same rank 2"


def test_ratings_give_margins(prepare_rows: Prepare) -> None:
    prepared = prepare_rows([{"prompt": "Hi", "responses": ["a", "b"], "scores": [0.5, 3]}])
    assert texts(prepared.pairs) == [("b", "a")]
    assert prepared.pairs[0].margin == 2.5


def test_a_single_answer_is_counted(prepare_rows: Prepare) -> None:
    rows = [
        {"prompt": "Hi", "responses": ["a"], "ratings": [1]},
        {"prompt": "Hi", "responses": ["a", "b"], "ratings": [1, 2]},
    ]
    assert prepare_rows(rows).report["dropped"] == {"single": 1}


def test_a_missing_rating_is_an_error(prepare_rows: Prepare) -> None:
    row = {"prompt": "Hi", "responses": ["a", "b"]}
    with pytest.raises(
        DataError, match=r"field 'ratings': expected a list of 2 numbers, found \[1"
    ):
        prepare_rows([{**row, "ratings": [1]}])
    with pytest.raises(
        DataError, match=r"field 'ratings\[1\]': expected a finite number, found No"
    ):
        prepare_rows([{**row, "ratings": [1, None]}])


def test_nemo_names_the_completion_that_is_wrong(prepare_rows: Prepare) -> None:
    row = {"context": "Hi", "completions": [{"rank": 0, "completion": "a"}, {"completion": "b"}]}
    message = r"field 'completions\[1\]\.rank': expected a finite number, found no such field"
    with pytest.raises(DataError, match=message):
        prepare_rows([row])


def test_helpsteer_groups_rows_by_prompt(prepare_rows: Prepare) -> None:
    rows = [
        {"prompt": "P", "response": "p1", "helpfulness": 1, "correctness": 4},
        {"prompt": "Q", "response": "q1", "correctness": 2, "coherence": 3, "verbosity": 0},
        {"prompt": "P", "response": "p2", "helpfulness": 3, "correctness": 0},
        {"prompt": "Q", "response": "q2", "correctness": 3, "coherence": 4, "verbosity": 0},
    ]
    pairs = prepare_rows(rows).pairs
    assert texts(pairs) == [("p2", "p1"), ("q2", "q1")]
    assert [(pair.margin, pair.row) for pair in pairs] == [(2.0, 2), (1.0, 3)]


def test_helpsteer_splits_earlier_turns(prepare_rows: Prepare) -> None:
    prompt = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nMore"
    rows = [{"prompt": prompt, "response": text, "helpfulness": len(text)} for text in ("a", "bb")]
    (pair,) = prepare_rows(rows).pairs
    assert pair.prompt == (user("Hi"), says("Hello"), user("More"))


def test_ultrafeedback_takes_aspects_before_the_overall_score(prepare_rows: Prepare) -> None:
    def rated(*values: str) -> dict[str, Any]:
        return {f"aspect{i}": {"Rating": value} for i, value in enumerate(values)}

    parts = [
        {"response": "a", "annotations": rated("1", "2", "N/A"), "overall_score": 10},
        {"response": "b", "annotations": rated("4", "5"), "overall_score": 1},
    ]
    (pair,) = prepare_rows([{"instruction": "Hi", "completions": parts}]).pairs
    assert (pair.chosen[0].content, pair.margin) == ("b", 3.0)
    overall = [{**part, "annotations": None} for part in parts]
    (pair,) = prepare_rows([{"instruction": "Hi", "completions": overall}]).pairs
    assert (pair.chosen[0].content, pair.margin) == ("a", 9.0)
