"""Section "Steps of RL": what was watched at every optimiser step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.errors import DataError
from tamis.report.blocks import Picture, Section
from tamis.report.numbers import number, plural
from tamis.report.policy_pictures import StepCurve, StepPanel, over_steps

WATCH = "watch.jsonl"
STEP, KIND = "step", "kind"
TRAINED, HELD_OUT = "step", "held_out"  # kinds of lines
Rows = Sequence[Mapping[str, Any]]

# title, where a line has the number, whether it is a share, and of which lines
MEASURES: tuple[tuple[str, tuple[str, ...], bool, str], ...] = (
    ("reward, mean", ("reward", "mean"), False, TRAINED),
    ("raw score, mean", ("score", "mean"), False, TRAINED),
    ("raw score, std", ("score", "std"), False, TRAINED),
    ("raw score, held-out prompts", ("score", "value"), False, HELD_OUT),
    ("gold reward, held-out prompts", ("gold", "value"), False, HELD_OUT),
    ("KL, nats a response", ("kl",), False, TRAINED),
    ("tokens of a response", ("tokens", "mean"), False, TRAINED),
    ("share that ended by itself", ("finished_frac",), True, TRAINED),
    ("spread of the reward models", ("spread",), False, TRAINED),
    ("entropy of a token, nats", ("entropy",), False, TRAINED),
    ("perplexity under the start", ("perplexity",), False, TRAINED),
    ("distinct bigrams", ("distinct_2",), True, TRAINED),
    ("Self-BLEU", ("self_bleu",), True, TRAINED),
    ("repeated four-grams", ("repeated_frac",), True, TRAINED),
)


def rows_of_runs(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the watched lines of RL, or of each round of it, by name; nothing where there is none.

    Raises:
        DataError: a line is no JSON object with a step.
    """
    folders = [run / "rl", *sorted(run.glob("round-*/rl"))]
    read = {_name(folder, run=run): _lines(folder) for folder in folders}
    return {name: rows for name, rows in read.items() if rows}


def steps_section(rows_of: Mapping[str, Rows]) -> Section | None:
    """Return the section, or ``None`` where nothing was trained by RL."""
    panels = [panel for measure in MEASURES if (panel := _panel(rows_of, *measure)) is not None]
    if not panels:
        return None
    numbers = {name: [row[STEP] for row in rows] for name, rows in rows_of.items()}
    num_steps = sum(map(max, numbers.values()))
    caption = f"{plural(num_steps, 'step')} of RL{_reward(rows_of)}."
    reading = (
        "Each value is of the responses sampled for one step. A reward that rises while gold "
        "stands still or falls, a KL that bends upwards, and responses that all run to the limit "
        "are what to look for."
    )
    picture = Picture(over_steps(panels, alt=caption, name="rl-steps"), caption, reading)
    data = {
        "num_steps": {name: max(steps) for name, steps in numbers.items()},
        "curves": {panel.title: _as_json(panel) for panel in panels},
    }
    return Section("Steps of RL", "steps", (picture,), data)


def read_steps(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a watch file; a last one that is half written is left out.

    Raises:
        DataError: another line is no JSON object with a step.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for place, line in enumerate(lines):
        try:
            row = json.loads(line)
        except ValueError as error:
            if place == len(lines) - 1:  # the run goes on, or was killed here
                break
            raise DataError(f"{path}: line {place + 1}: expected JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get(STEP), int):
            raise DataError(f"{path}: line {place + 1}: expected an object with a step")
        rows.append(row)
    return rows


def _lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run that is over, or else of one in progress."""
    files = (folder / WATCH, folder / "work" / WATCH)
    return next((read_steps(file) for file in files if file.is_file()), [])


def _panel(
    rows_of: Mapping[str, Rows], title: str, path: Sequence[str], is_share: bool, kind: str
) -> StepPanel | None:
    curves = []
    for name, rows in rows_of.items():
        of_kind = [row for row in rows if row.get(KIND, TRAINED) == kind]
        known = [(row[STEP], value) for row in of_kind if (value := _figure(row, path)) is not None]
        if known:
            steps, values = np.array(known, np.float64).T
            curves.append(StepCurve(name, steps, values))
    return StepPanel(title, tuple(curves), is_share) if curves else None


def _as_json(panel: StepPanel) -> dict[str, Any]:
    return {
        curve.name: {"steps": curve.steps.tolist(), "values": curve.values.tolist()}
        for curve in panel.curves
    }


def _figure(row: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _reward(rows_of: Mapping[str, Rows]) -> str:
    rows = list(rows_of.values())[-1]
    found = (_figure(row, ("reward", "mean")) for row in rows)
    known = [value for value in found if value is not None]
    if len(known) < 2:
        return ""
    return f"; the mean reward goes from {number(known[0])} to {number(known[-1])} in the last run"


def _name(folder: Path, *, run: Path) -> str:
    if folder.parent == run:
        return "RL"
    return f"round {int(folder.parent.name.removeprefix('round-'))}"
