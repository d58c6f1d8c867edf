"""A study's results in every form: a page, Markdown with pictures, and tables for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.errors import ConfigError, DataError
from tamis.report.blocks import Block, Bullets, Fold, Picture, Section, Table, Text
from tamis.report.page import render
from tamis.runs import write_text

TerminalTable = tuple[str, list[str], list[list[str]]]

TITLE = "Tamis study"
SUBTITLE = "What was measured, how, and with which intervals."


@dataclass(frozen=True, slots=True)
class Written:
    """Sections as Markdown, and the pictures that it shows, by the name of their file."""

    text: str
    pictures: dict[str, str]


def write_page(path: Path, sections: Sequence[Section]) -> None:
    """Write the sections as one page that needs no network."""
    write_text(path, render(sections, title=TITLE, subtitle=SUBTITLE))


def as_markdown(sections: Sequence[Section], *, place: str, images: str) -> Written:
    """Return the sections as Markdown; pictures are named after ``place``, in ``images``."""
    parts: list[str] = []
    pictures: dict[str, str] = {}
    for section in sections:
        parts.append(f"### {section.title}")
        if section.lead:
            parts.append(section.lead)
        for block in _flat(section.blocks):
            if isinstance(block, Picture):
                name = f"{place}-{len(pictures) + 1}.svg"
                pictures[name] = _stand_alone(str(block.svg))
                caption = re.sub(r"\[([^\]]*)\]", r"(\1)", _cell(block.caption))
                parts += [f"![{caption}]({images}/{name})", block.reading]
            elif isinstance(block, Table):
                parts += [f"{block.caption.rstrip('.:')}:", _pipe_table(block)]
            elif isinstance(block, Bullets):
                parts.append("\n".join(f"- {item}" for item in block.items))
            elif isinstance(block, Text):
                parts.append(block.text)
    return Written("\n\n".join(parts) + "\n", pictures)


def terminal_tables(sections: Sequence[Section]) -> list[TerminalTable]:
    """Return all tables of the sections that are not folded away."""
    return [
        (block.caption, list(block.header), [list(row) for row in block.rows])
        for section in sections
        for block in section.blocks
        if isinstance(block, Table)
    ]


def fill_page(page: Path, *, place: str, written: Written) -> None:
    """Put Markdown between the two marks of ``place`` in a page, and the pictures beside it.

    The marks are ``<!-- begin: PLACE -->`` and ``<!-- end: PLACE -->``; the pictures go to the
    folder ``images`` beside the page, where those of an earlier filling are removed.

    Raises:
        DataError: the page has no such place.
        ConfigError: there is no such page.
    """
    begin, end = f"<!-- begin: {place} -->", f"<!-- end: {place} -->"
    if not page.is_file():
        raise ConfigError(f"{page}: no such page")
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise DataError(f"{page}: expected the marks {begin} and {end}")
    images = page.parent / "images"
    for old in images.glob(f"{place}-*.svg"):
        old.unlink()
    for name, picture in written.pictures.items():
        write_text(images / name, picture)
    write_text(page, f"{before}{begin}\n\n{written.text}\n{end}{after}")


def has_place(page: Path, place: str) -> bool:
    """Tell whether a page is there and has the marks of a place."""
    return page.is_file() and f"<!-- begin: {place} -->" in page.read_text(encoding="utf-8")


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Fold):
            yield Text(f"{block.summary.rstrip('.:')}:")
            yield from _flat(block.blocks)
        else:
            yield block


def _pipe_table(table: Table) -> str:
    aligned = ["---" if column < table.num_text else "---:" for column in range(len(table.header))]
    rows = [table.header, tuple(aligned), *table.rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _stand_alone(svg: str) -> str:
    """Return an inline picture as a file of its own: colours as they are, on white, one font."""
    plain = re.sub(r"var\(--[\w-]+, (#[0-9a-f]{6})\)", r"\1", svg)
    opening, rest = plain.split(">", 1)
    style = 'font-family="Helvetica, Arial, sans-serif" style="background: #ffffff"'
    return f"{opening} {style}>{rest}\n"
