"""Every column convention: one suite over all modules, and how one is recognised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tamis.data import DataConfig, Prepared, all_conventions, prepare
from tamis.data.recognise import load_convention, recognise
from tamis.errors import ConfigError, DataError
from tamis.types import Message, Pair

Prepare = Callable[..., Prepared]
NAMES = [convention.name for convention in all_conventions()]


def user(text: str) -> Message:
    return Message("user", text)


def says(text: str) -> Message:
    return Message("assistant", text)


def texts(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen[-1].content, pair.rejected[-1].content) for pair in pairs]


def test_all_conventions_of_the_contract_are_there() -> None:
    assert {"trl", "hh", "nemo", "axolotl", "ms_swift", "llamafactory", "pku", "arena"} <= {*NAMES}
    assert {"rated_pairs", "helpsteer", "ultrafeedback", "kwise"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_recognised_and_read(name: str, prepare_rows: Prepare) -> None:
    example = [dict(row) for row in load_convention(name).example]
    prepared = prepare_rows(example)
    assert prepared.report["convention"] == name
    assert texts(prepared.pairs)[0] == ("better", "worse")
    assert prepared.pairs[0].prompt[-1] == user("Hi")
    assert prepared.pairs[0].chosen == (says("better"),)


@pytest.mark.parametrize("name", NAMES)
def test_the_columns_of_a_convention_are_in_its_example(name: str) -> None:
    convention = load_convention(name)
    columns = set().union(*(row.keys() for row in convention.example))
    for need in convention.columns:
        assert columns & set(need.split("|")), need


@pytest.mark.parametrize("name", NAMES)
def test_extras_are_read_under_every_convention(name: str, prepare_rows: Prepare) -> None:
    extras = {"split": "test", "subset": "s", "source": "here", "group_id": 7}
    example = [{**row, **extras} for row in load_convention(name).example]
    pair = prepare_rows(example).pairs[0]
    assert (pair.split, pair.subset, pair.source, pair.group) == ("test", "s", "here", "7")


@pytest.mark.parametrize("name", NAMES)
def test_numbers_instead_of_text_are_an_error(name: str, prepare_rows: Prepare) -> None:
    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(part) for key, part in value.items()}
        if isinstance(value, list):
            return [spoil(part) for part in value]
        if isinstance(value, str) and value.endswith("better"):
            return 5
        return value

    example = load_convention(name).example
    rows = [spoil(dict(row)) for row in (*example, *example)]
    spoiled = next(i for i, row in enumerate(rows) if row != example[i])
    with pytest.raises(DataError, match=rf"pairs\.jsonl: row {spoiled} .*field '.*text.*5"):
        prepare_rows(rows, convention=name)


def test_an_unknown_file_lists_what_close_conventions_lack(prepare_rows: Prepare) -> None:
    with pytest.raises(DataError) as caught:
        prepare_rows([{"prompt": "Hi", "chosen": "a", "loser": "b"}])
    message = str(caught.value)
    assert "the columns 'prompt', 'chosen', 'loser' match no known convention" in message
    assert all(name in message for name in NAMES)
    assert "hh/trl: lacks rejected" in message
    assert "--columns" in message


def test_one_odd_row_does_not_change_the_convention() -> None:
    hh = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    sample = [{"chosen": None, "rejected": "x"}, hh, hh]
    assert recognise(sample, "file").name == "hh"
    assert recognise(sample[:2], "file").name == "trl"


def test_a_convention_can_be_a_module_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_jsonl: Callable[..., Path]
) -> None:
    package = tmp_path / "my_formats"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sides.py").write_text(
        "from tamis.data.build import make_pair, per_row\n"
        "PRIORITY, COLUMNS, EXAMPLE = 1, ('good', 'bad'), ()\n"
        "def matches(row): return 'good' in row\n"
        "def pairs(rows, source): return per_row(rows, source, convert=_pair)\n"
        "def _pair(row):\n"
        "    sides = {k: row.conversation(k, role='assistant') for k in ('good', 'bad')}\n"
        "    return make_pair(row, prompt=(), chosen=sides['good'], rejected=sides['bad'])\n"
    )
    (package / "half.py").write_text("PRIORITY, COLUMNS = 1, ()\n")
    (package / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = str(write_jsonl([{"good": "a", "bad": "b"}]))
    prepared = prepare(DataConfig(path=path, convention="my_formats.sides"))
    assert texts(prepared.pairs) == [("a", "b")]
    with pytest.raises(ConfigError, match=r"half'.*lacks EXAMPLE, matches, pairs"):
        prepare(DataConfig(path=path, convention="my_formats.half"))
    with pytest.raises(ConfigError, match=r"cannot import my_formats\.broken: ZeroDivisionError"):
        prepare(DataConfig(path=path, convention="my_formats.broken"))


@pytest.mark.parametrize("name", ["nonsense", "no.such.module", "..up", ""])
def test_an_unknown_convention_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no such module .* expected a dotted path or one of ar"):
        load_convention(name)
