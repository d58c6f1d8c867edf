"""The figures of rounds in the trackers that people already look at."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from tamis.policy.iterate.config import IterateConfig
from tamis.policy.iterate.points import RoundPoint
from tamis.runs import read_json, write_json
from tamis.train.config import Tracker, WatchConfig
from tamis.train.tracking import counts_of_service, write_counts
from tamis.types import Interval

FOLDER, KEY = "tensorboard", "tracked.json"
PREFIX = "rounds"
PROJECT = "huggingface"  # where transformers puts a run of which nobody said where it belongs


class _Counts(TypedDict):
    edges: Sequence[float]
    counts: Sequence[int]


def watch_of(config: IterateConfig) -> WatchConfig:
    """Return the trackers of the rounds, as those of a training are set."""
    return WatchConfig(trackers=config.trackers, run_name=config.run_name)


def track_round(point: RoundPoint, *, number: int, run: Path, watch: WatchConfig) -> None:
    """Send what is known of one policy to every tracker, at step ``number``; 0 is the start.

    TensorBoard's files are in ``run/tensorboard``. In trackio and W&B all rounds of a run directory
    are one run, also after a kill, apart from the runs of the trainings inside rounds. Each is
    opened for this moment alone, since those trainings open their own.

    Args:
        point: of the policy.
        number: of rounds before it.
        run: the run directory of the rounds.
        watch: its ``trackers`` and its ``run_name``; unset: the name of the directory.
    """
    for name in watch.trackers:
        if name == "tensorboard":
            _to_tensorboard(point, number=number, folder=run / FOLDER)
        else:
            _to_service(name, point, number=number, run=run, run_name=watch.run_name)


def scalars(point: RoundPoint) -> dict[str, float]:
    """Return the figures of a policy by name; of an interval its value and both ends.

    >>> about = Interval(1.0, 0.5, 2.0)
    >>> point = RoundPoint("start", kl=about, tokens=about)
    >>> scalars(point)["rounds/kl_low"], "rounds/perplexity" in scalars(point)
    (0.5, False)
    """
    found: dict[str, float] = {}
    for field in fields(point):
        value, name = getattr(point, field.name), f"{PREFIX}/{field.name}"
        if isinstance(value, Interval):
            found |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif isinstance(value, float):
            found[name] = value
    return found


def _histograms(point: RoundPoint) -> Iterator[tuple[str, _Counts]]:
    """Yield edges and counts of the scores of a policy, and of the start policy's in its bins."""
    if point.scores is not None:
        edges = point.scores.edges
        yield f"{PREFIX}/scores", _Counts(edges=edges, counts=point.scores.counts)
        yield f"{PREFIX}/start_scores", _Counts(edges=edges, counts=point.scores.start_counts)


def _to_tensorboard(point: RoundPoint, *, number: int, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in scalars(point).items():
            writer.add_scalar(name, value, global_step=number)
        for name, bins in _histograms(point):
            write_counts(writer, name, **bins, step=number)


def _to_service(
    tracker: Tracker, point: RoundPoint, *, number: int, run: Path, run_name: str | None
) -> None:
    """Log through a package with the calls of W&B, which trackio has as well."""
    package: Any = importlib.import_module(tracker)
    key = _key(run)
    settings: dict[str, Any] = {
        "project": os.environ.get(f"{tracker.upper()}_PROJECT", PROJECT),
        "resume": "allow",
    }
    name = run_name or run.resolve().name
    if tracker == "wandb":
        settings |= {"name": name, "id": key}
    else:  # which knows runs by their names alone
        settings["name"] = f"{name}-{key}"
    opened = package.init(**settings)
    bars = {name: counts_of_service(package, **bins) for name, bins in _histograms(point)}
    opened.log({**scalars(point), **bars}, step=number)
    opened.finish()


def _key(run: Path) -> str:
    """Return what tells the runs of two run directories apart, whatever their names."""
    path = run / KEY
    if not path.is_file():
        write_json(path, {"key": secrets.token_hex(4)})
    return str(read_json(path)["key"])
