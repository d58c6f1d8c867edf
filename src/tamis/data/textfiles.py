"""Rows of JSON lines, JSON, CSV and TSV content; every error names file and line.

JSON lines, CSV and TSV are read a line at a time; JSON is read whole, as its content in bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from tamis.errors import DataError, shorten

Rows = Iterator[tuple[int, dict[str, Any]]]
_BOM = b"\xef\xbb\xbf"
_MAX_CELL = 2**31 - 1


def read_jsonl(blocks: Iterable[bytes], source: str) -> Rows:
    """Give the object of every line that is not blank; a block holds one line or several.

    Raises:
        DataError: a line is no UTF-8, no JSON, or no object.
    """
    row = 0
    for number, text in _lines(blocks, source):
        if not text.strip():
            continue
        try:
            value = json.loads(text.rstrip())
        except ValueError as error:
            reason = _reason(error, in_line=True)
            raise DataError(f"{source}: line {number} is no JSON: {reason}") from error
        except RecursionError as error:
            raise DataError(f"{source}: line {number} is nested too deeply") from error
        yield row, _object(value, f"{source}: line {number}")
        row += 1


def holds_lines(blocks: Iterable[bytes]) -> bool:
    """Tell whether the first line is a whole object, and a later one has something in it, too.

    Files that are named ``.json`` and hold JSON lines are common.

    >>> holds_lines([b'{"a": 1}', b'{"a": 2}']), holds_lines([b'{"data":', b'[]}'])
    (True, False)
    """
    filled = (block for block in blocks if block.strip())
    first, second = next(filled, b""), next(filled, None)
    first = first.removeprefix(_BOM).lstrip()
    if second is None or not first.startswith(b"{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def read_json(content: bytes, source: str) -> Rows:
    """Give the objects of a JSON array, or of the array ``data`` in an object.

    Raises:
        DataError: no UTF-8, no JSON, or no array of objects.
    """
    text = _decode(content, source, offset=0)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{source} is no JSON: {_reason(error, in_line=False)}") from error
    except RecursionError as error:
        raise DataError(f"{source} is nested too deeply") from error
    items = value.get("data") if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise DataError(
            f"{source}: expected an array of objects, or an object with such an array as 'data', "
            f"found {shorten(value)}"
        )
    for row, item in enumerate(items):
        yield row, _object(item, f"{source}: row {row} (the first is 0)")


def read_csv(blocks: Iterable[bytes], source: str, *, delimiter: str) -> Rows:
    """Give the lines of a CSV or TSV file with a header, as text; RFC 4180 quoting.

    A block holds one line or several. A cell that is JSON and holds a list of messages becomes that
    list.

    Raises:
        DataError: no UTF-8, a broken quote, a line with too few or too many cells, a column twice.
    """
    lines = _cells((text for _, text in _lines(blocks, source)), source, delimiter=delimiter)
    line, header = next(lines, (1, []))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{source}: line {line}: the column {twice[0]!r} is there twice")
    for row, (line, cells) in enumerate(lines):
        if len(cells) != len(header):
            raise DataError(
                f"{source}: row {row} (the first is 0), ending in line {line}: expected "
                f"{len(header)} cells as in the header, found {len(cells)}"
            )
        yield row, {name: _cell(cell) for name, cell in zip(header, cells, strict=True)}


def _lines(blocks: Iterable[bytes], source: str) -> Iterator[tuple[int, str]]:
    """Give the lines with their numbers, from 1, and their ends."""
    offset = 0
    lines = (line for block in blocks for line in block.splitlines(keepends=True))
    for number, line in enumerate(lines, start=1):
        yield number, _decode(line, f"{source}: line {number}", offset=offset)
        offset += len(line)


def _cells(lines: Iterable[str], source: str, *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give the cells of every row that is not blank, with the number of its last line."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        # The module's limit of 128 KiB a cell cannot be given to one reader; it is put back at once
        previous = csv.field_size_limit(_MAX_CELL)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{source}: line {reader.line_num}: {error}") from error
        finally:
            csv.field_size_limit(previous)
        if cells is None:
            return
        if cells:
            yield reader.line_num, cells


def _decode(content: bytes, place: str, *, offset: int) -> str:
    body = content.removeprefix(_BOM) if offset == 0 else content
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + len(content) - len(body) + error.start
        guess = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(
            f"{place}: expected UTF-8, found the byte 0x{body[error.start]:02x} at offset {at} of "
            f"the file{guess}"
        ) from error


def _reason(error: ValueError, *, in_line: bool) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    line = "" if in_line else f"line {error.lineno}, "
    return f"{error.msg.removesuffix(' at')} ({line}column {error.colno})"


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected an object, found {shorten(value)}")
    return value


def _cell(cell: str) -> object:
    if not cell.startswith("[{"):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    messages = all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in value)
    return value if messages else cell
