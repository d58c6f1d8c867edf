"""From the values of a page to HTML. Whatever stands in the data is escaped."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined

STYLE = "style.css"
ASSETS: Mapping[str, str] = {
    STYLE: "text/css; charset=utf-8",
    "keys.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
BAR, HEIGHT = 12, 48


class Bar(NamedTuple):
    """One vote in the little picture, in its units."""

    x: float
    y: float
    height: float
    is_for: bool


def environment() -> Environment:
    """Return the environment with our templates."""
    made = Environment(
        loader=FunctionLoader(_template),
        # escaping is what keeps user text from becoming markup
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "percent": percent, "count": count, "bars": bars}
    made.globals["nonce"] = partial(secrets.token_urlsafe, 12)  # one for each form
    return made


def asset(name: str) -> bytes:
    """Return one of the files in ``ASSETS``; no other name reaches a file.

    The style sheet begins with the colours and fonts that the report has, too.
    """
    if name not in ASSETS:
        return b""
    content = (files("tamis.review") / "assets" / name).read_bytes()
    return (files("tamis") / "palette.css").read_bytes() + content if name == STYLE else content


def number(value: float | None, digits: int = 2) -> str:
    """Write a number with a true minus sign; an en dash for nothing.

    >>> number(-1.234), number(None)
    ('−1.23', '–')
    """
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def percent(value: float | None) -> str:
    """Write a share as a percentage.

    >>> percent(0.125)
    '12.5%'
    """
    return "–" if value is None else f"{100 * value:.1f}%"


def count(value: int, noun: str) -> str:
    """Write how many there are of something.

    >>> count(1, "pair"), count(2000, "pair")
    ('1 pair', '2,000 pairs')
    """
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def bars(votes: Sequence[float], scale: float) -> list[Bar]:
    """Return the votes as bars, upwards for the chosen answer, ``scale`` filling the height.

    >>> bars([1.0, -0.5], 1.0)
    [Bar(x=1.5, y=1.0, height=23.0, is_for=True), Bar(x=13.5, y=24.0, height=11.5, is_for=False)]
    """
    middle, largest = HEIGHT / 2, HEIGHT / 2 - 1
    found = []
    for place, vote in enumerate(votes):
        height = max(round(min(abs(vote) / scale, 1.0) * largest, 1), 0.6)
        top = middle - height if vote >= 0 else middle
        found.append(Bar(BAR * place + 1.5, top, height, vote >= 0))
    return found


def _template(name: str) -> str:
    return (files("tamis.review") / "templates" / name).read_text(encoding="utf-8")
