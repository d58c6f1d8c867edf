import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tamis.errors import DataError
from tamis.runs import fingerprint, progress, read_json, read_parquet


def test_a_fingerprint_follows_content_and_names(tmp_path):
    for folder, name, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "x", "2"), ("d", "y", "1")):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / name).write_text(text)
    a, b, c, d = (fingerprint(tmp_path / folder) for folder in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
    assert fingerprint(tmp_path / "a/sub/x") == fingerprint(tmp_path / "d/sub/y")


def test_a_border_between_files_counts(tmp_path):
    for folder, first, second in (("a", "12", "3"), ("b", "1", "23")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(first)
        (tmp_path / folder / "y").write_text(second)
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


@pytest.mark.parametrize("read", [fingerprint, read_json, read_parquet])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"nothing\.x: no such file"):
        read(tmp_path / "nothing.x")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff{}", b'{"a": 1}}'], ids=["empty", "cut", "latin", "rest"]
)
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.json: expected a JSON file"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"garbage" * 9])
def test_damaged_parquet_is_named(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet: expected a Parquet file"):
        read_parquet(tmp_path / "x.parquet")


def test_columns_are_chosen_and_a_missing_one_is_named(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), path)
    assert read_parquet(path, columns=["c", "a"]).column_names == ["c", "a"]
    with pytest.raises(DataError, match=r"column 'd' is missing; the file has \['a', 'b', 'c'\]"):
        read_parquet(path, columns=["a", "d"])


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["one", "two"]}), path)
    place = pq.ParquetFile(path).metadata.row_group(0).column(1).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[place : place + 16] = b"\xff" * 16
    path.write_bytes(content)
    assert read_parquet(path, columns=["a"]).to_pydict() == {"a": [1, 2]}
    with pytest.raises(DataError, match=r"x\.parquet: expected a Parquet file"):
        read_parquet(path)


def test_progress_is_silent_without_a_terminal(capfd):
    with progress("counting", total=3) as advance:
        for _ in range(3):
            advance(1)
    assert capfd.readouterr() == ("", "")
    assert not Console(file=io.StringIO()).is_terminal
