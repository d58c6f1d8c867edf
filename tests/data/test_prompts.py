import json

import pytest

from tamis.data import DataConfig, prepare, write_pairs
from tamis.data.prompts import read_prompt_types, read_prompts
from tamis.errors import DataError
from tamis.types import Message


def user(text):
    return (Message("user", text),)


@pytest.fixture
def write(tmp_path):
    def to_file(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return to_file


def test_prompts_of_any_name_come_once_in_order(write):
    chat = [{"role": "user", "content": "c"}, {"role": "assistant", "content": "answer"}]
    path = write(
        {"prompt": "a"},
        {"question": "b", "answer": "7"},
        {"messages": [*chat, {"role": "user", "content": "more"}]},
        {"messages": chat},
        {"instruction": "d", "system": "be brief"},
        {"prompt": "a"},
    )
    assert read_prompts(path) == [
        user("a"),
        user("b"),
        (*user("c"), Message("assistant", "answer"), Message("user", "more")),
        user("c"),
        (Message("system", "be brief"), *user("d")),
    ]
    assert read_prompts(path, limit=2) == [user("a"), user("b")]


def test_preference_data_give_their_prompts_once_each(write):
    hh = "\n\nHuman: Hi\n\nAssistant: "
    assert read_prompts(
        write(
            {"chosen": f"{hh}Hello", "rejected": f"{hh}No"},
            {"chosen": f"{hh}Hello there", "rejected": f"{hh}What"},
        )
    ) == [user("Hi")]
    rows = [{"prompt": f"q{n // 2}", "chosen": f"good {n}", "rejected": "bad"} for n in range(6)]
    assert read_prompts(write(*rows)) == [user("q0"), user("q1"), user("q2")]


def test_pairs_of_a_run_are_preference_data(write, tmp_path):
    source = write(*({"prompt": f"q{n}", "chosen": "good", "rejected": "bad"} for n in range(3)))
    write_pairs(tmp_path / "pairs.parquet", prepare(DataConfig(path=source)).pairs)
    found = read_prompts(str(tmp_path / "pairs.parquet"))
    assert found == [user("q0"), user("q1"), user("q2")]


def test_csv_rows(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,topic\nWhy?,x\nHow?,y\n")
    assert read_prompts(str(path)) == [user("Why?"), user("How?")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"topic": "x"}, r"row 1 .*'prompt\|messages\|question\|instruction': expected a value"),
        ({"prompt": "  "}, "row 1 .*'prompt': expected a prompt, found '  '"),
        ({"prompt": 7}, "row 1 .*'prompt': expected text"),
        (
            {"prompt": [{"role": "assistant", "content": "x"}]},
            "row 1 .*ends before the assistant's answer",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "row 1 .*expected a prompt"),
    ],
)
def test_what_is_no_prompt_is_named(write, row, said):
    with pytest.raises(DataError, match=said):
        read_prompts(write({"prompt": "fine"}, row, {"prompt": "fine, too"}))


def test_a_file_without_one_prompt_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="not one prompt"):
        read_prompts(write({"prompt": "", "chosen": "a", "rejected": "b"}))
    with pytest.raises(DataError, match="no such file"):
        read_prompts(str(tmp_path / "none.jsonl"))


def test_types_of_prompts_are_read_beside_them(write):
    path = write(
        {"prompt": "a", "prompt_type": "reasoning"},
        {"prompt": "b"},
        {"messages": [{"role": "user", "content": "c"}], "prompt_type": "red_teaming"},
        {"prompt": "a", "prompt_type": "other"},
    )
    assert read_prompt_types(path) == {user("a"): "reasoning", user("c"): "red_teaming"}
    assert list(read_prompt_types(path)) == [read_prompts(path)[0], read_prompts(path)[2]]
    assert read_prompt_types(write({"prompt": "a"}, name="none.jsonl")) == {}
    with pytest.raises(DataError, match=r"row 0 .*'prompt_type': expected a text, .* found 3"):
        read_prompt_types(write({"prompt": "a", "prompt_type": 3}, name="number.jsonl"))


HH = "\n\nHuman: 2+2?\n\nAssistant:"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": HH, "chosen": " 4", "rejected": " 5"},
        {"chosen": f"{HH} 4", "rejected": f"{HH} 5"},
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {
            "chosen": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
            "rejected": [
                {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": "5"},
            ],
        },
        {"instruction": "2+2?", "responses": ["5", "4"], "ratings": [1, 2]},
        {"prompt": HH},
    ],
)
def test_types_belong_to_the_prompts_that_are_read(write, row):
    path = write({**row, "prompt_type": "reasoning"}, name="typed.jsonl")
    assert read_prompt_types(path) == {user("2+2?"): "reasoning"}
    assert list(read_prompt_types(path)) == read_prompts(path)


def test_pairs_without_a_type_or_a_prompt_have_none(write):
    path = write(
        {"chosen": f"{HH} 4", "rejected": f"{HH} 5", "prompt_type": None},
        {"chosen": "a", "rejected": "b", "prompt_type": "other"},
        {"chosen": f"{HH} four", "rejected": f"{HH} 5", "prompt_type": "reasoning"},
    )
    assert read_prompt_types(path) == {user("2+2?"): "reasoning"}


def test_rated_answers_in_rows_of_their_own_have_the_type_of_the_better_one(write):
    rows = [
        {"prompt": "q", "response": text, "helpfulness": value, "prompt_type": kind}
        for text, value, kind in (("a", 1, "first"), ("b", 3, "second"))
    ]
    assert read_prompt_types(write(*rows)) == {user("q"): "second"}


def test_a_transcript_becomes_turns(write):
    more = f"\n\nHuman: Hi \n\nAssistant: Hello{HH} "
    turns = (*user("Hi"), Message("assistant", "Hello"), *user("2+2?"))
    path = write({"prompt": more}, {"question": more.strip()}, {"prompt": "Human: an essay"})
    assert read_prompts(path) == [turns, user("Human: an essay")]
    for cut in ("\n\nHuman: Hi", f"{HH} 4"):
        with pytest.raises(
            DataError, match=r"row 0 .*'prompt': expected messages, or a transcript"
        ):
            read_prompts(write({"prompt": cut}, name="cut.jsonl"))
