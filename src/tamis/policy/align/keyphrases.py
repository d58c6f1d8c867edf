"""Key phrases of a text, and versions of it that lack more and more of its words.

Shapes: W words of a text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

WORD = re.compile(r"\S+")
LETTERS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
KEPT_SHARE = 1 / 3  # of a text's distinct content words, how many phrases are key phrases

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class KeyPhrase:
    """Words that stand together, ``words`` by their places in the text, and the phrase's score."""

    words: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Degraded:
    """A version of a text: which of its W words are gone, and what is left."""

    removed_W: Bools
    text: str


def words_of(text: str) -> list[str]:
    """Return what white space parts.

    >>> words_of("A (small)  fox, no dog.")
    ['A', '(small)', 'fox,', 'no', 'dog.']
    """
    return WORD.findall(text)


def key_phrases(text: str) -> list[KeyPhrase]:
    """Return the key phrases of an English text, the best first.

    RAKE (Rose et al. 2010, "Automatic Keyword Extraction from Individual Documents"): phrases are
    the longest runs of words without a stop word and without punctuation between them; a word
    scores its degree (the summed length of the phrases it is in) divided by its frequency, a phrase
    the sum over its words. As many phrases are kept as a third of the distinct content words, one
    at least. A phrase that recurs is there at each of its places; at equal scores the first in the
    text comes first. Deviation: the stop words are scikit-learn's. A text in a script without
    spaces between words has no phrase that could be deleted.

    >>> [phrase.words for phrase in key_phrases("The quick brown fox is near the dog.")]
    [(1, 2, 3), (5,)]
    """
    found = WORD.findall(text)
    bare = [_bare(word) for word in found]
    runs = _runs(found, bare)
    frequency, degree = Counter[str](), Counter[str]()
    for run in runs:
        for place in run:
            frequency[bare[place]] += 1
            degree[bare[place]] += len(run)
    scored: dict[tuple[str, ...], float] = {}
    for run in runs:
        key = tuple(bare[place] for place in run)
        scored.setdefault(key, sum(degree[word] / frequency[word] for word in key))
    num_kept = max(1, round(KEPT_SHARE * len(frequency)))
    kept = sorted(scored, key=lambda key: -scored[key])[:num_kept]
    rank = {key: number for number, key in enumerate(kept)}
    places = [(rank[key], run) for run in runs if (key := tuple(bare[p] for p in run)) in rank]
    return [KeyPhrase(run, scored[kept[number]]) for number, run in sorted(places)]


def degraded_versions(
    text: str, *, ratios: Sequence[float], order: Sequence[int]
) -> list[Degraded] | None:
    """Return versions without growing shares of the words that ``order`` names, first ones first.

    Args:
        text: any.
        ratios: shares in [0, 1], growing.
        order: places of words in the text.

    Returns:
        One version a ratio; ``None`` where two of them are equal or one is empty.

    >>> versions = degraded_versions("a b c", ratios=(0, 0.5, 1), order=[1, 2])
    >>> [version.text for version in versions]
    ['a b c', 'a c', 'a']
    """
    spans = [match.span() for match in WORD.finditer(text)]
    counts = [round(ratio * len(order)) for ratio in ratios]
    if len(set(counts)) < len(counts):
        return None
    versions = []
    for count in counts:
        removed_W = np.zeros(len(spans), np.bool_)
        removed_W[list(order[:count])] = True
        versions.append(Degraded(removed_W, _without(text, spans, removed_W)))
    return versions if versions[-1].text else None


def key_order(text: str) -> list[int]:
    """Return the places of the words of all key phrases, the best phrase first."""
    return [place for phrase in key_phrases(text) for place in phrase.words]


def random_order(text: str, *, rng: np.random.Generator) -> list[int]:
    """Return as many places of words as `key_order` does, in runs as long, at random places.

    A run that finds no room as a whole is made of single words.
    """
    free_W = np.ones(len(words_of(text)), np.bool_)
    order: list[int] = []
    for phrase in key_phrases(text):
        size = len(phrase.words)
        starts = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(free_W, size).all(axis=1))
        if len(starts):
            first = int(rng.choice(starts))
            places = list(range(first, first + size))
        else:
            places = rng.choice(np.flatnonzero(free_W), size, replace=False).tolist()
        free_W[places] = False
        order += places
    return order


def _bare(word: str) -> str:
    """Return the letters of a word alone, or nothing where it has none."""
    parts = LETTERS.findall(word.lower())
    return parts[0] if len(parts) == 1 else " ".join(parts)


def _runs(found: Sequence[str], bare: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the runs of content words that no punctuation parts, as places."""
    runs: list[tuple[int, ...]] = []
    run: list[int] = []
    for place, (word, letters) in enumerate(zip(found, bare, strict=True)):
        if not letters or letters in ENGLISH_STOP_WORDS:
            runs, run = [*runs, tuple(run)] if run else runs, []
            continue
        if run and not _is_letter(word[0]):
            runs, run = [*runs, tuple(run)], []
        run.append(place)
        if not _is_letter(word[-1]):
            runs, run = [*runs, tuple(run)], []
    return [*runs, tuple(run)] if run else runs


def _is_letter(character: str) -> bool:
    return character.isalnum()


def _without(text: str, spans: Sequence[tuple[int, int]], removed_W: Bools) -> str:
    """Return the text without some of its words, and without the white space before each."""
    if not removed_W.any():
        return text
    parts, end = [], 0
    for (_, stop), removed in zip(spans, removed_W.tolist(), strict=True):
        if not removed:
            parts.append(text[end:stop])
        end = stop if not removed else max(end, stop)
    return "".join(parts).strip()
