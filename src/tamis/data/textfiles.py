"""Rows of JSON lines, JSON, CSV and TSV content; every error names file and line.

JSON lines are read a line at a time. The other kinds are read whole, as their content in bytes.
"""

from __future__ import annotations

import csv
import io
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
    row, offset = 0, 0
    lines = (line for block in blocks for line in block.splitlines(keepends=True))
    for number, line in enumerate(lines, start=1):
        text = _decode(line, f"{source}: line {number}", offset=offset)
        offset += len(line)
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


def read_json(content: bytes, source: str) -> Rows:
    """Give the objects of a JSON array, or of the array ``data`` in an object.

    Files that are named ``.json`` and hold JSON lines are common, and read as such.

    Raises:
        DataError: no UTF-8, no JSON, or no array of objects.
    """
    text = _decode(content, source, offset=0)
    if _is_lines(text):
        yield from read_jsonl([content], source)
        return
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


def read_csv(content: bytes, source: str, *, delimiter: str) -> Rows:
    """Give the lines of a CSV or TSV file with a header, as text; RFC 4180 quoting.

    A cell that is JSON and holds a list of messages becomes that list.

    Raises:
        DataError: no UTF-8, a broken quote, a line with too few or too many cells, a column twice.
    """
    text = _decode(content, source, offset=0)
    # The module's limit of 128 KiB a cell cannot be given to one reader; it is put back at once.
    previous = csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(f"{source}: line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(previous)
    if not lines:
        return
    header = lines[0][1]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{source}: line 1: the column {twice[0]!r} is there twice")
    for row, (line, cells) in enumerate(lines[1:]):
        if len(cells) != len(header):
            raise DataError(
                f"{source}: row {row} (the first is 0), ending in line {line}: expected "
                f"{len(header)} cells as in the header, found {len(cells)}"
            )
        yield row, {name: _cell(cell) for name, cell in zip(header, cells, strict=True)}


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


def _is_lines(text: str) -> bool:
    """Whether the first line is a whole object and there are more lines with something in them."""
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("{") or not rest.strip():
        return False
    try:
        json.loads(first)
    except ValueError:
        return False
    return True


def _cell(cell: str) -> object:
    if not cell.startswith("[{"):
        return cell
    try:
        value = json.loads(cell)
    except ValueError:
        return cell
    messages = all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in value)
    return value if messages else cell
