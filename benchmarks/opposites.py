"""Thousands of wordings of one principle, from words and templates that affirm and deny.

A word that asks for a short answer ("brief") and one that asks for a long one ("sprawling") both
stand in a template that affirms ("Be {}.") and in one that denies ("Do not be {}."). So neither
the word nor the template alone says what is wanted: a model has to put the two together.

And a mark that turns any sentence into its opposite, which a model can be taught.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import yaml

from tamis.principles.principle import Principle

OPPOSITE = "The opposite of this: "


def grown(path: Path, *, name: str = "concise", without: Collection[str] = ()) -> Principle:
    """Return the principle of a file of words and templates, without some of its wordings.

    The file has ``kinds``, each with ``short`` and ``long`` (lists of words) and ``templates``
    (pairs of sentences with ``{}`` where the word goes: one affirms, the other denies).
    """
    kinds = yaml.safe_load(path.read_text(encoding="utf-8"))["kinds"]
    wanted: dict[str, None] = {}
    negated: dict[str, None] = {}
    for kind in kinds.values():
        for affirming, denying in kind["templates"]:
            for word in kind["short"]:
                wanted[_filled(affirming, word)] = None
                negated[_filled(denying, word)] = None
            for word in kind["long"]:
                wanted[_filled(denying, word)] = None
                negated[_filled(affirming, word)] = None
    for text in itertools.chain(without, wanted.keys() & negated.keys()):
        wanted.pop(text, None)
        negated.pop(text, None)
    return Principle(name, tuple(wanted), tuple(negated))


def _filled(template: str, word: str) -> str:
    text = template.format(word)
    return text[0].upper() + text[1:]


def opposite(text: str) -> str:
    """Return a sentence behind the mark."""
    return f"{OPPOSITE}{text}"


def with_opposites(principle: Principle) -> Principle:
    """Return a principle with twice the wordings: those of its opposite, too, behind the mark."""
    return replace(
        principle,
        wanted=principle.wanted + tuple(map(opposite, principle.negated)),
        negated=principle.negated + tuple(map(opposite, principle.wanted)),
    )
