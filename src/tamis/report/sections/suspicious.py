"""Section "The most suspicious pairs": the pairs with the lowest mean strength, side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tamis.report.blocks import Exhibits, Fold, Section, Text
from tamis.report.exhibits import exhibit
from tamis.report.numbers import number, plural
from tamis.report.read import load_pairs, load_strengths, rows_of
from tamis.runs import read_parquet

ORDER = 80
NUM_PAIRS = 20
NUM_OPEN = 5


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where the run lacks the votes or the pairs."""
    strengths, pairs = load_strengths(run), load_pairs(run)
    if strengths is None or pairs is None:
        return None
    lowest = np.argsort(strengths.mean_N, kind="stable")[:NUM_PAIRS]
    ids = [strengths.ids[row] for row in lowest]
    shown = pairs.select(rows_of(ids, known=pairs.column("id"), run=run))
    votes_of = read_parquet(run / "vote" / "strength.parquet", columns=["votes"])["votes"]
    cast = [votes_of[int(row)].as_py() or [] for row in lowest]
    votes = [[vote for vote in row if vote is not None] for row in cast]  # null: held its vote back
    largest = max((abs(vote) for row in votes for vote in row), default=0.0) or 1.0
    items, data = [], []
    for place, (row, pair) in enumerate(zip(lowest, shown, strict=True)):
        mean, std = float(strengths.mean_N[row]), float(strengths.std_N[row])
        entry: dict[str, Any] = {"id": pair.id, "mean": mean, "std": std, "votes": votes[place]}
        entry |= {"people": pair.votes and asdict(pair.votes), "gold": pair.gold}
        data.append(entry)
        items.append(
            exhibit(
                pair,
                title=f"{place + 1}.",
                headline=f"strength {number(mean)} ± {number(std)}{_against(votes[place])}",
                votes=votes[place],
                largest_vote=largest,
            )
        )
    text = (
        f"These are the {plural(len(items), 'pair')} with the lowest mean strength: here the "
        "voters contradict the label most. The bars are the single votes, upwards for the chosen "
        "answer, downwards for the rejected one, all on one scale. Read them and judge: is the "
        "label wrong, or are the voters?"
    )
    note = (
        "User text is shown as is: it may offend or mislead. Long texts show their first lines; "
        "open them to read on."
    )
    rest = tuple(items[NUM_OPEN:])
    more = (Fold(f"{plural(len(rest), 'more pair')}", (Exhibits(rest),)),) if rest else ()
    return Section(
        title="The most suspicious pairs",
        anchor="suspicious",
        blocks=(Text(text), Text(note, tone="note"), Exhibits(tuple(items[:NUM_OPEN])), *more),
        data={"pairs": data},
    )


def _against(votes: list[float]) -> str:
    if len(votes) < 2:
        return ""
    num_against = sum(vote < 0 for vote in votes)
    return f" · {num_against} of {len(votes)} voters for the rejected answer"
