"""Every kind of file gives the same rows, and every defect one clear error."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.data import DataConfig, prepare, read_rows
from tamis.errors import ConfigError, DataError

ROWS = [
    {"prompt": "Grüße?", "chosen": 'a "b", c\nd', "rejected": "no"},
    {"prompt": "Second", "chosen": "yes", "rejected": "né"},
]


def jsonl(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table(rows: list[dict[str, str]], *, delimiter: str) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def parquet(rows: list[dict[str, str]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


CONTENTS = {
    "a.jsonl": jsonl(ROWS),
    "a.ndjson": jsonl(ROWS),
    "bom.jsonl": b"\xef\xbb\xbf" + jsonl(ROWS),
    "windows.jsonl": jsonl(ROWS).replace(b"\n", b"\r\n"),
    "blank_lines.jsonl": b"\n" + jsonl(ROWS).replace(b"}\n", b"}\n\n"),
    "no_last_newline.jsonl": jsonl(ROWS).rstrip(),
    "array.json": json.dumps(ROWS, indent=1).encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "object.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "lines.json": jsonl(ROWS),
    "a.csv": table(ROWS, delimiter=","),
    "bom.csv": b"\xef\xbb\xbf" + table(ROWS, delimiter=","),
    "a.tsv": table(ROWS, delimiter="\t"),
    "a.parquet": parquet(ROWS),
    "no_suffix": json.dumps(ROWS).encode(),
    "PARQUET.DAT": parquet(ROWS),
}


@pytest.mark.parametrize("form", ["plain", "gz", "gzip without suffix"])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, form: str) -> None:
    content = CONTENTS[name] if form == "plain" else gzip.compress(CONTENTS[name])
    path = tmp_path / (name + ".gz" if form == "gz" else name)
    path.write_bytes(content)
    assert list(read_rows(str(path))) == list(enumerate(ROWS))


DEFECTS = {
    "malformed line": (
        "a.jsonl",
        b'{"a": 1}\n{"a": \n',
        r"a\.jsonl: line 2 is no JSON: Expecting value \(column \d\)$",
    ),
    "line cut short": ("a.jsonl", b'{"a": 1}\n{"a": "x', r"line 2 is no JSON: Unterminated string"),
    "line no object": ("a.jsonl", b'{"a": 1}\n[1, 2]\n', r"line 2: expected an object, found \[1"),
    "encoding": ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', r"line 2: expected UTF-8.*0xe9 .* 16 of"),
    "utf-16": ("a.csv", "a,b\n1,2\n".encode("utf-16"), r"a\.csv: .*0xff at offset 0.*UTF-16"),
    "latin-1 csv": ("a.csv", b"a,b\n1,\xe9\n", r"a\.csv: line 2: expected UTF-8.*0xe9 at offset 6"),
    "latin-1 bom": ("a.csv", b"\xef\xbb\xbfa\n\xe9\n", r"0xe9 at offset 5"),
    "empty": ("a.jsonl", b"", r"a\.jsonl: the file is empty"),
    "blank": ("a.json", b" \n\n", r"a\.json: the file is empty"),
    "array cut short": ("a.json", b'[{"a": 1}, {', r"a\.json is no JSON: .*line 1, column"),
    "array of numbers": ("a.json", b"[1, 2]", r"row 0 .*expected an object, found 1"),
    "no array": ("a.json", b'{"rows": []}', r"expected an array of objects"),
    "garbage parquet": ("a.parquet", b"PAR1 garbage", r"a\.parquet: expected a Parquet file"),
    "text as parquet": ("a.parquet", b"not parquet at all", r"expected a Parquet file"),
    "ragged": ("a.csv", b"a,b\n1,2\n\n1,2,3\n", r"row 1 .*line 4: expected 2 cells.*found 3"),
    "short": ("a.csv", b"a,b\n1\n", r"row 0 .*expected 2 cells.*found 1"),
    "open quote": ("a.csv", b'a,b\n1,"2\n', r"a\.csv: line \d: unexpected end of data"),
    "column twice": ("a.csv", b"\na,a\n1,2\n", r"line 2: the column 'a' is there twice"),
    "cut gzip": ("a.jsonl.gz", gzip.compress(jsonl(ROWS))[:-9], r"gzip file is damaged or cut"),
    "broken gzip": ("a.jsonl", b"\x1f\x8bnonsense", r"gzip file is damaged"),
    "deep": ("a.jsonl", b'{"a":' * 200_000, r"line 1 .*(nested too deeply|no JSON)"),
    "deep and lines": ("a.json", b'{"a":' * 200_000 + b"\n{}", r"a\.json.*(too deeply|no JSON)"),
    "unknown kind": ("a.txt", b"hello", r"a\.txt: expected a file named \.jsonl"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_named_with_file_and_place(tmp_path: Path, defect: str) -> None:
    name, content, message = DEFECTS[defect]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(read_rows(str(path)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"chosen,rejected\n"), ("a.json", b"[]")])
def test_no_row_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a single row"):
        prepare(DataConfig(path=str(path)))


def test_a_csv_cell_may_hold_messages_and_be_long(tmp_path: Path) -> None:
    messages = [{"role": "assistant", "content": "x" * 300_000}]
    path = tmp_path / "a.csv"
    rows = [{"chosen": json.dumps(messages), "rejected": '[{"no": "message"}]', "margin": "0.5"}]
    path.write_bytes(table([*rows, dict.fromkeys(rows[0], '[{"a":' * 50_000)], delimiter=","))
    before = csv.field_size_limit(1000)
    try:
        reader = read_rows(str(path))
        _, row = next(reader)
        between = csv.field_size_limit()
        ((_, deep),) = reader
    finally:
        after = csv.field_size_limit(before)
    assert row == {"chosen": messages, "rejected": '[{"no": "message"}]', "margin": "0.5"}
    assert set(deep.values()) == {'[{"a":' * 50_000}
    assert between == after == 1000


@pytest.mark.parametrize("name", ["a.jsonl", "lines.json", "a.csv", "a.tsv"])
def test_rows_are_given_before_the_file_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENTS[name] + b"\xff\n")
    reader = read_rows(str(path))
    assert [next(reader), next(reader)] == list(enumerate(ROWS))
    with pytest.raises(DataError, match=r"line \d: expected UTF-8, found the byte 0xff"):
        next(reader)


@pytest.mark.parametrize(
    "path", ["missing.jsonl", "MISSING.CSV.GZ", "./nowhere", "/no/such/file", "a/b/c"]
)
def test_a_missing_file_is_an_error(path: str) -> None:
    with pytest.raises(DataError, match=f"{path}: no such file or directory"):
        read_rows(path)


def test_an_unreachable_hub_id_is_one_clear_error() -> None:
    with pytest.raises(
        DataError,
        match=r"tamis-nobody/nothing: neither a file nor a data set that "
        r"can be reached on the hub \(configuration None, split 'train'\): ",
    ) as caught:
        list(read_rows("tamis-nobody/nothing"))
    assert "\n" not in str(caught.value)


def test_a_directory_saved_by_datasets_is_read(tmp_path: Path) -> None:
    import datasets  # takes seconds

    rows = [dict(row, turns=[{"role": "user", "content": "Hi"}]) for row in ROWS]
    whole = datasets.Dataset.from_list(rows)
    whole.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": whole, "few": whole.select([1])}).save_to_disk(
        str(tmp_path / "several")
    )
    assert list(read_rows(str(tmp_path / "one"))) == list(enumerate(rows))
    assert list(read_rows(str(tmp_path / "several"), hub_split="few")) == [(0, rows[1])]
    with pytest.raises(ConfigError, match=r"no split 'test'; there is \['few', 'train'\]"):
        list(read_rows(str(tmp_path / "several"), hub_split="test"))


def test_another_directory_is_an_error(tmp_path: Path, write_jsonl: Callable[..., Path]) -> None:
    write_jsonl(ROWS)
    with pytest.raises(DataError, match=r"expected a directory saved by datasets\.save_to_disk"):
        list(read_rows(str(tmp_path)))
