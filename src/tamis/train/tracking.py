"""The trackers that people already look at: TensorBoard, trackio, W&B.

The Trainer sends them its figures; here is what it does not do. Shapes: B bins.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import (
    TensorBoardCallback,
    TrackioCallback,
    WandbCallback,
)

from tamis.errors import ConfigError
from tamis.runs import is_main
from tamis.train.config import WatchConfig

STEP = "train/global_step"  # by which the Trainer's callbacks order what they send to services
SERVICES = ((TrackioCallback, "trackio"), (WandbCallback, "wandb"))


def check_trackers(watch: WatchConfig) -> None:
    """Check that the packages of the trackers are there.

    Raises:
        ConfigError: one is not installed.
    """
    for name in watch.trackers:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"tracker {name!r} is not installed; try: pip install {name}, "
                "or leave it out of watch.trackers"
            )


def finish_tracking(arguments: TrainingArguments) -> None:
    """End the run of a training in W&B, which the Trainer leaves open for the next to write into.

    The other trackers end theirs themselves.
    """
    if "wandb" in (arguments.report_to or ()) and is_main():
        importlib.import_module("wandb").finish()


def send_counts(
    callbacks: Iterable[TrainerCallback],
    name: str,
    *,
    edges: Sequence[float],
    counts: Sequence[int],
    step: int,
) -> None:
    """Show a histogram in the trackers of a training; call it on the first process alone.

    Args:
        callbacks: of its Trainer; those of trackers are looked for among them.
        name: of the histogram.
        edges: of the bins, rising [B + 1].
        counts: in each bin [B].
        step: of the optimiser.
    """
    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
            write_counts(callback.tb_writer, name, edges=edges, counts=counts, step=step)
        for kind, package in SERVICES:
            if isinstance(callback, kind):
                service = importlib.import_module(package)
                found = counts_of_service(service, edges=edges, counts=counts)
                service.log({name: found, STEP: step})


def write_counts(
    writer: Any, name: str, *, edges: Sequence[float], counts: Sequence[int], step: int
) -> None:
    """Write a histogram with TensorBoard's ``SummaryWriter``; see `send_counts`.

    Its sums, from which TensorBoard draws nothing, are those of the middles of bins.
    """
    edge_B, count_B = np.asarray(edges, np.float64), np.asarray(counts, np.float64)
    middle_B = (edge_B[1:] + edge_B[:-1]) / 2
    writer.add_histogram_raw(
        name,
        min=edge_B[0],
        max=edge_B[-1],
        num=int(count_B.sum()),
        sum=count_B @ middle_B,
        sum_squares=count_B @ middle_B**2,
        bucket_limits=edge_B[1:].tolist(),
        bucket_counts=count_B.tolist(),
        global_step=step,
    )


def counts_of_service(service: Any, *, edges: Sequence[float], counts: Sequence[int]) -> Any:
    """Return a histogram as W&B and trackio take it; see `send_counts`."""
    return service.Histogram(np_histogram=(np.asarray(counts), np.asarray(edges, np.float64)))
