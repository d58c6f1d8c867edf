"""Prompts with several responses, in every form that is read, and what is refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.data import DataConfig, prepare
from tamis.data.responses import Responses, read_responses
from tamis.errors import DataError
from tamis.types import Message


def said(text):
    return (Message("assistant", text),)


ASKED = (Message("user", "Hi"),)
SAME = Responses(ASKED, (said("one"), said("two")), 0)


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "responses": ["one", "two"]},
        {"question": "Hi", "answers": ["one", "two"], "temperature": 0.7},
        {"instruction": "Hi", "completions": [{"response": "one"}, {"completion": "two"}]},
        {"prompt": [{"role": "user", "content": "Hi"}], "responses": [{"text": "one"}, "two"]},
        {
            "messages": [{"from": "human", "value": "Hi"}],
            "completions": [
                {"role": "assistant", "content": "one"},
                [{"role": "assistant", "content": "two"}],
            ],
        },
    ],
)
def test_every_form_is_read_alike(tmp_path, row):
    assert list(read_responses(write(tmp_path / "a.jsonl", row))) == [SAME]


HH = "\n\nHuman: Bye\n\nAssistant: No\n\nHuman: Hi\n\nAssistant:"


@pytest.mark.parametrize("prompt", [HH, HH.strip(), f"{HH} "])
def test_transcripts_are_read_as_those_of_pairs_are(tmp_path, prompt):
    pair = {"prompt": prompt, "chosen": " one", "rejected": " two"}
    (known,) = prepare(DataConfig(path=write(tmp_path / "pairs.jsonl", pair))).pairs
    rows = [
        {"prompt": prompt, "responses": [" one", {"response": "two\n"}, " "]},
        {"question": prompt, "response": " one"},
        {"prompt": prompt, "responses": [{"role": "assistant", "content": " one"}]},
    ]
    found = list(read_responses(write(tmp_path / "a.jsonl", *rows)))
    assert [one.prompt for one in found] == [known.prompt] * 3
    assert found[0].responses == (known.chosen, known.rejected, ())
    assert found[1].responses == (known.chosen,)
    assert found[2].responses == (said(" one"),)  # messages are as they are


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "\n\nHuman: Hi", "responses": ["a"]},
            r"field 'prompt': expected messages, or a transcript that ends with .*Assistant:",
        ),
        ({"prompt": f"{HH} one", "responses": ["a"]}, "field 'prompt': expected messages, or a"),
        (
            {"prompt": HH, "responses": ["a", f"{HH} one"]},
            r"field 'responses\[1\]': expected the answer without its prompt",
        ),
    ],
)
def test_a_transcript_with_another_end_is_refused(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        list(read_responses(write(tmp_path / "a.jsonl", row)))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "completion": "one"},
        {"prompt": "Hi", "response": [{"role": "assistant", "content": "one"}], "score": 1.5},
    ],
)
def test_a_single_response_is_read_as_the_winners_of_best_of_n_are_written(tmp_path, row):
    assert list(read_responses(write(tmp_path / "a.jsonl", row))) == [
        Responses(ASKED, (said("one"),), 0)
    ]


def test_parquet_is_read_and_rows_may_have_any_number_of_responses(tmp_path):
    rows = [
        {"prompt": "Hi", "responses": ["one", "two"]},
        {"prompt": None, "responses": ["a", "a", " "]},
        {"prompt": "Hi", "responses": []},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(read_responses(str(tmp_path / "a.parquet"))) == [
        SAME,
        Responses((), (said("a"), said("a"), ()), 1),
        Responses(ASKED, (), 2),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"responses": ["a", "b"]}, r"row 1 .*field 'prompt\|messages\|.*expected a value"),
        (
            {"prompt": "Hi"},
            r"row 1 .*field 'responses\|.*\|completion': expected a value",
        ),
        ({"prompt": "Hi", "responses": "a"}, "field 'responses': expected a list of responses"),
        ({"prompt": "Hi", "responses": ["a", 3]}, r"field 'responses\[1\]': expected text, or a"),
        ({"prompt": "Hi", "responses": [{"score": 1}]}, r"'responses\[0\]': .*response\|complet"),
        ({"prompt": 3, "responses": ["a", "b"]}, "field 'prompt': expected text, or a list"),
        (
            {"prompt": "Hi", "responses": [[{"role": "user", "content": "a"}]]},
            r"'responses\[0\]': expected a last turn of the assistant, found 'user'",
        ),
    ],
)
def test_what_is_no_prompt_with_responses_is_named(tmp_path, row, said):
    path = write(tmp_path / "a.jsonl", {"prompt": "Hi", "responses": ["a", "b"]}, row)
    with pytest.raises(DataError, match=said) as caught:
        list(read_responses(path))
    assert str(caught.value).startswith(path)


def test_a_line_that_is_no_json_is_named_by_its_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "Hi", "responses": ["a", "b"]}\n{"prompt": \n')
    with pytest.raises(DataError, match="line 2 is no JSON"):
        list(read_responses(str(path)))
