"""From pairs and a judge's scores to examples: labelled pairs that carry their principles.

Shapes: N pairs, P principles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis import plugins
from tamis.data import pair_ids
from tamis.errors import ConfigError
from tamis.principles.aggregate import Draw, draw_for, label_of, standardised, variances
from tamis.principles.config import PrinciplesConfig
from tamis.principles.judgement import Judge, Judgement, Task
from tamis.principles.layout import condition_pair
from tamis.principles.principle import Principle, Stance, take_stance
from tamis.types import Dropped, Pair

LABEL_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("pair", pa.string(), nullable=False),
        pa.field("principles", pa.list_(pa.string()), nullable=False),
        pa.field("texts", pa.list_(pa.string()), nullable=False),
        pa.field("deciding", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("swapped", pa.bool_(), nullable=False),
        pa.field("noisy", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Example:
    """A pair that carries principles, with its label: ``pair.chosen`` is the answer they prefer.

    ``source_id`` is the id of the pair that it was made from. ``score`` > 0 is the magnitude that
    decides; ``swapped`` says that the label is the opposite of the source's, ``noisy`` that label
    noise turned it.
    """

    pair: Pair
    source_id: str
    stances: tuple[Stance, ...]
    deciding: str
    score: float
    swapped: bool
    noisy: bool = False


def judged(
    pairs: Sequence[Pair],
    principles: Sequence[Principle],
    *,
    config: PrinciplesConfig,
    seed: int,
    folder: Path,
    notice: Callable[[str], None],
) -> Judgement:
    """Let the judge of the configuration score what the examples will need.

    Args:
        pairs: the pairs.
        principles: those to draw from.
        config: the judge and the draw.
        seed: of the draw.
        folder: where a judge keeps what must survive a crash.
        notice: takes a line for the user.

    Raises:
        ConfigError: no judge, an unknown one, or what the judge refuses.
        DataError: what the judge refuses.
    """
    if config.judge is None:
        raise ConfigError("no judge: expected length, scores, endpoint, or a dotted path")
    judge: Judge = plugins.load("judge", config.judge)
    asked_NP = np.zeros((len(pairs), len(principles)), bool)
    every_P = np.ones(len(principles), bool)
    for row, id_ in enumerate(pair_ids(pairs).to_pylist()):
        for draw in draws_of(id_, num_principles=len(principles), config=config, seed=seed):
            asked_NP[row, draw.shown(every_P, stop_prob=config.stop_prob, most=config.most)] = True
    found = judge(pairs, principles, task=Task(asked_NP, config, folder, notice))
    shape = (len(pairs), len(principles))
    for array in (found.score_12_NP, found.score_21_NP, found.known_NP):
        if array.shape != shape:
            raise ConfigError(
                f"judge {config.judge!r} gave scores of shape {array.shape}; expected {shape}"
            )
    return found


def draws_of(
    pair_id: str, *, num_principles: int, config: PrinciplesConfig, seed: int
) -> list[Draw]:
    """Return what chance says of each example of a pair."""
    return [
        draw_for(
            pair_id,
            number,
            num_principles=num_principles,
            negate_prob=config.negate_prob,
            seed=seed,
        )
        for number in range(config.passes)
    ]


def examples(
    pairs: Sequence[Pair],
    principles: Sequence[Principle],
    *,
    judgement: Judgement,
    config: PrinciplesConfig,
    seed: int,
) -> Iterator[Example | Dropped]:
    """Give ``passes`` examples of every pair, or why there is none.

    The kinds of a drop: ``no_score`` (the judge knows no principle for the pair; once a pair) and
    ``undecided`` (the score of largest magnitude is 0, or there are two of opposite signs). Label
    noise leaves pairs of the split "test" alone.

    Raises:
        DataError: a pair carries principles already.
    """
    score_NP = standardised(judgement.score_12_NP, judgement.score_21_NP)
    for row, pair in enumerate(pairs):
        known_P = judgement.known_NP[row]
        if not known_P.any():
            yield Dropped(pair.row, "no_score", "the judge knows no principle for it")
            continue
        for draw in draws_of(pair.id, num_principles=len(principles), config=config, seed=seed):
            shown = draw.shown(known_P, stop_prob=config.stop_prob, most=config.most)
            stances = [
                take_stance(
                    principles[place],
                    negated=bool(draw.negated_P[place]),
                    wording=float(draw.wording_P[place]),
                )
                for place in shown
            ]
            scores = [
                -score_NP[row, place] if draw.negated_P[place] else score_NP[row, place]
                for place in shown
            ]
            yield _example(pair, stances, scores, draw=draw, config=config)


def _example(
    pair: Pair,
    stances: Sequence[Stance],
    scores: Sequence[float],
    *,
    draw: Draw,
    config: PrinciplesConfig,
) -> Example | Dropped:
    label = label_of(scores)
    if label.sign == 0:
        shown = ", ".join(stance.label for stance in stances)
        return Dropped(pair.row, "undecided", f"under {shown}")
    noisy = pair.split != "test" and draw.noise < config.label_noise
    swapped = (label.sign < 0) != noisy
    turned = pair.swapped() if swapped else pair
    deciding = stances[label.deciding].label
    # what is known of the stored label says nothing of this one
    bare = replace(turned, subset=deciding, margin=None, votes=None, gold=None)
    made = condition_pair(bare, texts=[stance.text for stance in stances], layout=config.layout)
    return Example(made, pair.id, tuple(stances), deciding, abs(label.score), swapped, noisy)


@dataclass(slots=True)
class Labels:
    """Passes examples on as pairs, and remembers how each came to its label."""

    items: Iterable[Example | Dropped]
    examples: dict[str, dict[str, Any]]

    def __iter__(self) -> Iterator[Pair | Dropped]:
        for item in self.items:
            if isinstance(item, Dropped):
                yield item
                continue
            self.examples.setdefault(
                item.pair.id,
                {
                    "id": item.pair.id,
                    "pair": item.source_id,
                    "principles": [stance.label for stance in item.stances],
                    "texts": [stance.text for stance in item.stances],
                    "deciding": item.deciding,
                    "score": item.score,
                    "swapped": item.swapped,
                    "noisy": item.noisy,
                },
            )
            yield item.pair

    def table(self, ids: Iterable[str]) -> pa.Table:
        """Return the labels of the examples with these ids (`LABEL_SCHEMA`)."""
        return pa.Table.from_pylist([self.examples[id_] for id_ in ids], schema=LABEL_SCHEMA)


def label_report(
    labels: pa.Table, principles: Sequence[Principle], *, judgement: Judgement
) -> dict[str, Any]:
    """Return what a report says of the labels, JSON-safe: counts by principle, and the judge's."""
    shown = Counter(label for row in labels["principles"].to_pylist() for label in row)
    decides = Counter(labels["deciding"].to_pylist())
    variance_P = variances(judgement.score_12_NP, judgement.score_21_NP)
    both_NP = np.isfinite(judgement.score_12_NP) & np.isfinite(judgement.score_21_NP)
    agree_NP = both_NP & (judgement.score_12_NP * judgement.score_21_NP > 0)
    by_principle = [
        {
            "name": principle.name,
            "num_judged": int(both_NP[:, place].sum()),
            "agree_frac": float(agree_NP[:, place].sum() / max(both_NP[:, place].sum(), 1)),
            "variance": float(variance_P[place]),
            "num_shown": shown[principle.name],
            "num_shown_negated": shown[f"not:{principle.name}"],
            "num_decides": decides[principle.name],
            "num_decides_negated": decides[f"not:{principle.name}"],
        }
        for place, principle in enumerate(principles)
    ]
    return {
        "num_source_pairs": len(judgement.known_NP),
        "num_swapped": sum(labels["swapped"].to_pylist()),
        "num_noisy": sum(labels["noisy"].to_pylist()),
        "by_principle": by_principle,
        "judge": judgement.report,
    }
