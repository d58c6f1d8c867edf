"""The data stage as a whole: cleaning, splits, columns, limits and the report."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.csv import write_csv
from pydantic import ValidationError

from tamis.data import DataConfig, Prepared, prepare
from tamis.data.prepare import _with_splits, count_rows
from tamis.errors import ConfigError, DataError
from tamis.types import Message, Pair

Prepare = Callable[..., Prepared]


def row(chosen: Any, rejected: Any, prompt: str = "Hi", **extras: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **extras}


MESSY = [
    row("good", "bad"),
    row("", "bad"),
    row("good", " \n"),
    row(None, "bad"),
    row("same", "same"),
    row("good", "bad"),
    row("bad", "good"),
    row("good", "bad", prompt="Another"),
    row([{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}], "c"),
]


def test_every_dropped_row_has_its_reason(prepare_rows: Prepare) -> None:
    prepared = prepare_rows(MESSY, max_dropped_frac=1)
    assert [(drop.row, drop.kind, drop.detail) for drop in prepared.dropped] == [
        (1, "empty", "chosen: the answer is empty"),
        (2, "empty", "rejected: the answer is empty"),
        (3, "empty", "chosen: the answer is empty"),
        (4, "identical", "both answers are the same"),
        (5, "duplicate", "the same as row 0"),
        (8, "no_answer", "chosen: it ends with a turn of the user, not with an answer"),
    ]
    assert [pair.row for pair in prepared.pairs] == [0, 6, 7]


def test_the_report_says_it_all(prepare_rows: Prepare, tmp_path: Path) -> None:
    prepared = prepare_rows(MESSY, max_dropped_frac=1)
    a, b, _ = prepared.pairs
    path = tmp_path / "pairs.jsonl"
    assert prepared.report == {
        "source": str(path),
        "fingerprint": hashlib.sha256(path.read_bytes()).hexdigest(),
        "convention": "trl",
        "num_rows": 9,
        "num_pairs": 3,
        "num_dropped": 6,
        "dropped": {"duplicate": 1, "empty": 3, "identical": 1, "no_answer": 1},
        "contradictory": {"num_pairs": 2, "examples": [{"rows": [0, 6], "ids": [a.id, b.id]}]},
        "splits": {"train": 3, "test": 0},
        "num_groups": 2,
        "chosen_longer_frac": pytest.approx(2 / 3),
        "has_votes": False,
        "has_gold": False,
        "length_check": "not done: no model given",
    }
    assert json.loads(json.dumps(prepared.report, allow_nan=False)) == prepared.report
    assert prepare(DataConfig(path=str(path), max_dropped_frac=1)) == prepared


def test_contradictory_pairs_are_dropped_on_request(prepare_rows: Prepare) -> None:
    prepared = prepare_rows(MESSY, max_dropped_frac=1, on_contradiction="drop")
    assert [pair.row for pair in prepared.pairs] == [7]
    details = {d.row: d.detail for d in prepared.dropped if d.kind == "contradictory"}
    assert details == {0: "row 6 says the opposite", 6: "row 0 says the opposite"}
    assert prepared.report["dropped"]["contradictory"] == 2
    assert prepared.report["contradictory"]["num_pairs"] == 2


def test_the_same_answers_to_another_prompt_are_no_duplicate(prepare_rows: Prepare) -> None:
    prepared = prepare_rows([row("a", "b", prompt="P"), row("a", "b", prompt="Q")])
    assert prepared.dropped == []


def test_what_does_not_fit_the_model_is_dropped_by_its_kind(prepare_rows: Prepare) -> None:
    seen: list[Pair] = []

    def check_fit(pairs: Sequence[Pair]) -> list[str | None]:
        seen.extend(pairs)
        return ["over_length" if len(pair.chosen[0].content) > 4 else None for pair in pairs]

    rows = [row("good", "bad"), row("", "bad"), row("too long", "bad")]
    prepared = prepare_rows(rows, check_fit=check_fit, max_dropped_frac=0.7)
    assert [pair.row for pair in seen] == [0, 2]
    assert [pair.row for pair in prepared.pairs] == [0]
    assert [(drop.row, drop.kind) for drop in prepared.dropped] == [
        (1, "empty"),
        (2, "over_length"),
    ]
    assert prepared.report["length_check"] == "done"


def test_too_many_dropped_rows_are_an_error_with_the_counts(prepare_rows: Prepare) -> None:
    message = r"6 of 9 pairs were dropped \(duplicate 1, empty 3, identical 1, no_answer 1\)"
    with pytest.raises(DataError, match=message):
        prepare_rows(MESSY)
    assert len(prepare_rows(MESSY, max_dropped_frac=6 / 9).pairs) == 3


def test_ties_are_no_defect_but_no_pair_at_all_is(prepare_rows: Prepare) -> None:
    arena = {"prompt": "Hi", "response_a": "a", "response_b": "b"}
    tie, won = {**arena, "winner": "tie"}, {**arena, "winner": "model_a"}
    assert prepare_rows([tie, tie, tie, won], max_dropped_frac=0).report["dropped"] == {"tie": 3}
    with pytest.raises(DataError, match="no pair is left; dropped: tie 2"):
        prepare_rows([tie, tie])


# Columns


def test_columns_of_other_names_are_read(prepare_rows: Prepare) -> None:
    rows = [{"q": "Hi", "good": "a", "bad": "b", "margin": "junk", "gap": 2, "kind": "k"}]
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad", "margin": "gap", "group": "q"}
    (pair,) = prepare_rows(rows, columns=columns).pairs
    assert pair.prompt == (Message("user", "Hi"),)
    assert (pair.chosen[0].content, pair.margin, pair.group) == ("a", 2.0, "Hi")


def test_a_renamed_column_never_falls_back_to_the_old_one(prepare_rows: Prepare) -> None:
    rows = [row("a", "b", margin=9, gap=1), row("c", "d", margin=9)]
    pairs = prepare_rows(rows, columns={"margin": "gap"}).pairs
    assert [pair.margin for pair in pairs] == [1.0, None]


def test_swapped_column_names_swap_the_sides(prepare_rows: Prepare) -> None:
    columns = {"chosen": "rejected", "rejected": "chosen"}
    (pair,) = prepare_rows([row("a", "b")], columns=columns).pairs
    assert (pair.chosen[0].content, pair.rejected[0].content) == ("b", "a")


def test_an_unknown_column_or_field_is_an_error(prepare_rows: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"has no column 'x'; it has 'prompt', 'chosen', 'rejec"):
        prepare_rows([row("a", "b")], columns={"margin": "x"})
    with pytest.raises(ConfigError, match=r"unknown field 'winner_is'; expected one of .*chosen"):
        prepare_rows([row("a", "b")], columns={"winner_is": "chosen"})


def test_every_takes_rows_by_their_number_and_limit_counts_those_taken(
    prepare_rows: Prepare, tmp_path: Path
) -> None:
    rows = [row(f"a{n}", f"b{n}") for n in range(150)]
    prepared = prepare_rows(rows, every=20)
    assert [pair.row for pair in prepared.pairs] == [0, 20, 40, 60, 80, 100, 120, 140]
    assert prepared.report["num_rows"] == 8
    assert [pair.row for pair in prepare_rows(rows, every=20, limit=2).pairs] == [0, 20]
    config = DataConfig(path=str(tmp_path / "pairs.jsonl"), every=4, limit=30)
    assert count_rows(config) == 30


def test_limit_reads_the_first_rows_only(prepare_rows: Prepare) -> None:
    rows = [row(f"a{i}", "b") for i in range(5)]
    report = prepare_rows(rows, limit=2).report
    assert (report["num_rows"], report["num_pairs"]) == (2, 2)


# Groups and splits


def grouped(num_groups: int) -> list[Pair]:
    turn = (Message("assistant", "a"),)
    return [
        Pair(f"{i}.{j}", (), turn, turn, group=f"g{i}") for i in range(num_groups) for j in (0, 1)
    ]


def test_a_prompt_is_on_one_side_of_the_split(prepare_rows: Prepare) -> None:
    rows = [row(f"a{i}", "b", prompt=f"P{i % 40}") for i in range(120)]
    prepared = prepare_rows(rows, test_frac=0.3)
    sides: dict[str, set[str]] = {}
    for pair in prepared.pairs:
        sides.setdefault(pair.group, set()).add(pair.split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert prepared.report["num_groups"] == 40
    assert 0 < prepared.report["splits"]["test"] < 72


def test_the_drawn_share_is_near_the_asked_one_and_moves_with_the_seed() -> None:
    first = [p.split for p in _with_splits(grouped(2000), test_frac=0.2, seed=0)]
    again = [p.split for p in _with_splits(grouped(2000), test_frac=0.2, seed=0)]
    other = [p.split for p in _with_splits(grouped(2000), test_frac=0.2, seed=1)]
    assert first == again != other
    assert first.count("test") / len(first) == pytest.approx(0.2, abs=0.03)


@given(st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_larger_share_keeps_the_test_groups_of_a_smaller_one(a: float, b: float) -> None:
    small, large = (
        {p.group for p in _with_splits(grouped(50), test_frac=share, seed=3) if p.split == "test"}
        for share in sorted((a, b))
    )
    assert small <= large


def test_a_split_of_the_file_is_kept(prepare_rows: Prepare) -> None:
    rows = [row("a", "b", split="cross"), row("c", "d", split="")]
    prepared = prepare_rows(rows, test_frac=0.99)
    assert [pair.split for pair in prepared.pairs] == ["cross", "test"]
    assert prepared.report["splits"] == {"train": 0, "test": 1, "cross": 1}


def test_the_source_of_a_pair_is_the_name_of_its_file(prepare_rows: Prepare) -> None:
    assert prepare_rows([row("a", "b")]).pairs[0].source == "pairs.jsonl"


@pytest.mark.parametrize(
    "options", [{"test_frac": 1}, {"limit": 0}, {"max_dropped_frac": 1.1}, {"colums": {}}]
)
def test_a_bad_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DataConfig(path="x", **options)


# Large data


def test_chunks_leave_no_trace_in_the_pairs(prepare_rows: Prepare) -> None:
    rows = [row(f"a{n % 900}", f"b{n % 900}", prompt=f"P{n % 900}", n=n) for n in range(1400)]
    rows[1200] = row("b7", "a7", prompt="P7")  # far from the pair that it contradicts
    asked: list[int] = []

    def check_fit(pairs: Sequence[Pair]) -> list[str | None]:
        asked.append(len(pairs))
        return ["over_length" if pair.row == 800 else None for pair in pairs]

    prepared = prepare_rows(rows, check_fit=check_fit, test_frac=0.3)
    assert [pair.row for pair in prepared.pairs] == [*range(800), *range(801, 900), 1200]
    assert Counter(drop.kind for drop in prepared.dropped) == {"duplicate": 499, "over_length": 1}
    assert prepared.report["contradictory"]["examples"][0]["rows"] == [7, 1200]
    assert sum(asked) == 901
    assert max(asked) < 900
    assert prepared.report["num_rows"] == 1400


def test_a_column_that_only_a_late_row_has_is_found(prepare_rows: Prepare) -> None:
    rows = [row("a", f"b{n}") for n in range(300)]
    rows[250]["gap"] = 4
    pairs = prepare_rows(rows, columns={"margin": "gap"}).pairs
    assert [(pair.row, pair.margin) for pair in pairs if pair.margin is not None] == [(250, 4.0)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has files read and written by 128 rows, so that few pairs are many chunks."""
    for where in ("tables", "pairtable", "clean"):
        monkeypatch.setattr(f"tamis.data.{where}.ROW_GROUP", 128)
    monkeypatch.setattr("tamis.data.read._BATCH", 128)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet", ".csv", ".json"])
def test_memory_grows_by_little_a_pair(
    tmp_path: Path, suffix: str, peak_memory: Callable[..., int]
) -> None:
    def peak(num: int) -> int:
        rows = [row(f"a{n}" * 200, f"b{n}" * 200, prompt=f"P{n}" * 100) for n in range(num)]
        path = tmp_path / f"{num}{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == ".csv":
            write_csv(pa.Table.from_pylist(rows), path)
        else:
            lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
            path.write_bytes(gzip.compress(lines, 1) if suffix == ".jsonl.gz" else lines)
        return peak_memory(lambda: prepare(DataConfig(path=str(path)), work=tmp_path))

    peak(2)  # what is imported on the way is no part of it
    few, many = 300, 600
    assert (peak(many) - peak(few)) / (many - few) < 700  # bytes; a pair has 2,500 characters


@pytest.mark.usefixtures("small_chunks")
def test_rows_of_one_prompt_wait_on_disk_for_each_other(
    write_jsonl: Callable[..., Path], tmp_path: Path, peak_memory: Callable[..., int]
) -> None:
    def rated(prompt: int, merit: int) -> dict[str, Any]:
        return {
            "prompt": f"P{prompt}" * 100,
            "response": f"{'abc'[merit]}{prompt}" * 200,
            "helpfulness": merit,
        }

    def peak(num: int) -> int:
        rows = [rated(prompt, merit) for merit in range(2) for prompt in range(num)]
        path = str(write_jsonl(rows, f"{num}.jsonl"))
        return peak_memory(lambda: prepare(DataConfig(path=path), work=tmp_path))

    peak(2)  # what is imported on the way is no part of it
    few, many = 300, 600
    assert (peak(many) - peak(few)) / (many - few) < 1000  # bytes; a pair has 2,500 characters


def test_equal_lengths_count_half_towards_the_longer_answer(prepare_rows: Prepare) -> None:
    report = prepare_rows([row("aa", "b"), row("a", "c"), row("d", "e"), row("f", "gg")]).report
    assert report["chosen_longer_frac"] == 0.5
    assert prepare_rows([row("a", "c"), row("aaa", "b")]).report["chosen_longer_frac"] == 0.75
