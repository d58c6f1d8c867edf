"""Histograms in the trackers of a training; a module with their calls stands in for services."""

import sys
from types import ModuleType

import pytest
from transformers import TrainerCallback
from transformers.integrations.integration_utils import (
    TensorBoardCallback,
    TrackioCallback,
    WandbCallback,
)

from tamis.train.tracking import send_counts

EDGES, COUNTS = [0.0, 1.0, 2.0, 3.0], [2, 0, 5]


def bare(kind):
    """A callback whose package need not be there."""
    return kind.__new__(kind)


@pytest.mark.parametrize(("kind", "name"), [(WandbCallback, "wandb"), (TrackioCallback, "trackio")])
def test_a_service_gets_the_counts_at_the_step_of_the_trainer(kind, name, monkeypatch):
    service, sent = ModuleType(name), []
    service.Histogram = lambda np_histogram: [part.tolist() for part in np_histogram]
    service.log = sent.append
    monkeypatch.setitem(sys.modules, name, service)
    callbacks = [TrainerCallback(), bare(kind)]
    send_counts(callbacks, "scores", edges=EDGES, counts=COUNTS, step=7)
    assert sent == [{"scores": [COUNTS, EDGES], "train/global_step": 7}]


def test_tensorboard_draws_the_bins(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from torch.utils.tensorboard import SummaryWriter

    callback = bare(TensorBoardCallback)
    callback.tb_writer = None  # as before training and after it
    send_counts([callback], "scores", edges=EDGES, counts=COUNTS, step=1)
    with SummaryWriter(str(tmp_path)) as callback.tb_writer:
        send_counts([callback], "scores", edges=EDGES, counts=COUNTS, step=7)
    (shown,) = accumulator.EventAccumulator(str(tmp_path)).Reload().Histograms("scores")
    found = shown.histogram_value
    assert (shown.step, found.bucket, found.bucket_limit) == (7, COUNTS, EDGES[1:])
    assert (found.min, found.max, found.num, found.sum) == (0.0, 3.0, 7, 0.5 * 2 + 2.5 * 5)
    assert found.sum_squares == 0.25 * 2 + 6.25 * 5
