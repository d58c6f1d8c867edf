"""Principles as data: what a good answer is to be like, in words, and what its opposite is.

A file is a YAML list or JSON lines with the keys ``name``, ``wanted``, ``negated`` and, if wanted,
``weight`` and ``prompt_types``. ``wanted`` and ``negated`` are a text or several texts of the same
meaning (deviation from SALMON, arXiv 2310.05910, whose principles have one wording each: a small
model that only ever sees one wording does not follow another).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml

from tamis.data import read_rows
from tamis.errors import ConfigError, DataError, shorten

NEGATION = "not:"
KEYS = ("name", "wanted", "negated", "weight", "prompt_types")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Principle:
    """One principle. All wordings of ``wanted`` mean the same, and so do those of ``negated``.

    ``weight`` >= 0 and ``prompt_types`` (prompt type -> what is added to the weight) matter for
    `sample_principles` alone.
    """

    name: str
    wanted: tuple[str, ...]
    negated: tuple[str, ...]
    weight: float = 1.0
    prompt_types: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stance:
    """A principle with a sign: asked for in one of its wordings, or its opposite asked for."""

    name: str
    text: str
    negated: bool = False

    @property
    def label(self) -> str:
        """The name, after ``not:`` where the opposite is asked for."""
        return f"{NEGATION}{self.name}" if self.negated else self.name


def take_stance(principle: Principle, *, negated: bool = False, wording: float = 0.0) -> Stance:
    """Return a principle or its opposite in one wording; ``wording`` in [0, 1) chooses which.

    >>> take_stance(Principle("brief", ("Be brief.",), ("Be long.",)), negated=True).text
    'Be long.'
    """
    texts = principle.negated if negated else principle.wanted
    return Stance(principle.name, texts[int(wording * len(texts))], negated)


def load_principles(path: Path | None = None) -> list[Principle]:
    """Read a file of principles, in its order; without a path, those that Tamis ships.

    Raises:
        DataError: the file is missing or no YAML list or JSON lines, or an entry lacks a key, has
            an unknown one or a wrong value, or repeats a name; the message names the entry.

    >>> "concise" in [principle.name for principle in load_principles()]
    True
    """
    if path is None:
        with as_file(files("tamis.principles") / "default.yaml") as shipped:
            return load_principles(shipped)
    found: dict[str, Principle] = {}
    for number, entry in enumerate(_entries(path)):
        where = f"{path}: entry {number} (the first is 0)"
        principle = _principle(entry, where=where)
        if principle.name in found:
            raise DataError(f"{where}: the name {principle.name!r} is there twice")
        found[principle.name] = principle
    if not found:
        raise DataError(f"{path}: there is not a single principle")
    return list(found.values())


def choose_principles(principles: Sequence[Principle], names: Sequence[str]) -> list[Principle]:
    """Return the principles with these names, in this order; all of them where none is named.

    Raises:
        ConfigError: a name is unknown, or there twice.
    """
    known = {principle.name: principle for principle in principles}
    for number, name in enumerate(names):
        if name not in known:
            raise _unknown(name, known)
        if name in names[:number]:
            raise ConfigError(f"the principle {name!r} is named twice")
    return [known[name] for name in names] if names else list(principles)


def stance_of(text: str, principles: Sequence[Principle]) -> Stance:
    """Read what a caller asks for: ``concise``, ``not:concise``, or a principle in free words.

    A text with a space in it is free words. The opposite of free words has to be put into words,
    too: no rule negates a sentence.

    Raises:
        ConfigError: the name is unknown, or there is nothing, or ``not:`` before free words.

    >>> stance_of("not:concise", load_principles()).negated
    True
    >>> stance_of("Answer in verse.", []).text
    'Answer in verse.'
    """
    stripped = text.strip()
    name = stripped.removeprefix(NEGATION)
    negated = name != stripped
    if " " not in name:
        known = {principle.name: principle for principle in principles}
        if name not in known:
            raise _unknown(name, known)
        return take_stance(known[name], negated=negated)
    if negated:
        raise ConfigError(
            f"{NEGATION} stands before {shorten(name)}, which is no name of a principle; write "
            "the opposite in words"
        )
    return Stance("free", stripped)


def _unknown(name: str, known: Mapping[str, Principle]) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
    return ConfigError(f"unknown principle {name!r}; {hint}")


def _entries(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix.lower() not in (".yaml", ".yml"):
        for _, row in read_rows(str(path)):
            yield {key: value for key, value in row.items() if value is not None}
        return
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of principles, found {shorten(content)}")
    for number, entry in enumerate(content):
        if not isinstance(entry, dict):
            where = f"{path}: entry {number} (the first is 0)"
            raise DataError(f"{where}: expected a mapping with name, wanted and negated")
        yield entry


def _principle(entry: Mapping[str, Any], *, where: str) -> Principle:
    unknown = [key for key in entry if key not in KEYS]
    if unknown:
        raise DataError(f"{where}: unknown key {unknown[0]!r}; expected {', '.join(KEYS)}")
    name = entry.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise DataError(
            f"{where}: name is {shorten(name)}; expected small letters, digits and _, such as "
            "no_self_praise"
        )
    where = f"{where}, {name}"
    wanted, negated = (_texts(entry.get(key), key, where=where) for key in ("wanted", "negated"))
    both = set(wanted) & set(negated)
    if both:
        raise DataError(f"{where}: {shorten(min(both))} is both wanted and negated")
    types = entry.get("prompt_types", {})
    if not isinstance(types, dict):
        raise DataError(f"{where}: prompt_types is {shorten(types)}; expected type: weight")
    weights = {
        str(kind): _weight(weight, f"prompt_types.{kind}", where=where)
        for kind, weight in types.items()
    }
    weight = _weight(entry.get("weight", 1.0), "weight", where=where)
    return Principle(name, wanted, negated, weight, weights)


def _texts(value: Any, key: str, *, where: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    are_texts = isinstance(texts, list) and all(isinstance(t, str) and t.strip() for t in texts)
    if not texts or not are_texts:
        raise DataError(f"{where}: {key} is {shorten(value)}; expected a text, or a list of texts")
    # a line break would look like another principle
    found = tuple(" ".join(text.split()) for text in texts)
    if len(set(found)) < len(found):
        raise DataError(f"{where}: {key} has a wording twice")
    return found


def _weight(value: Any, key: str, *, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise DataError(f"{where}: {key} is {shorten(value)}; expected a number of at least 0")
    return float(value)
