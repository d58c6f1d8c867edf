"""The figures of rounds in trackers; a module with their calls stands in for W&B and trackio."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
from iterating import changed, settings_of
from transformers import TrainingArguments

from tamis.errors import ConfigError
from tamis.policy.iterate.points import RoundPoint, ScoreCounts
from tamis.recipes import iterate_track
from tamis.recipes.iterate_track import scalars, track_round
from tamis.recipes.iterating import check_iterate, iterate
from tamis.runs import read_json
from tamis.train.config import WatchConfig
from tamis.train.tracking import finish_tracking
from tamis.types import Interval

ABOUT = Interval(2.0, 1.5, 2.5, num_items=4)
POINT = RoundPoint("round-00", kl=ABOUT, tokens=ABOUT, perplexity=3.0)


class Service(ModuleType):
    """What `wandb` and `trackio` have in common; keeps what each run was told."""

    def __init__(self, name):
        super().__init__(name)
        self.settings, self.lines, self.is_open = [], [], False

    def init(self, **settings):
        assert not self.is_open
        self.settings.append(settings)
        self.is_open = True
        return self

    def log(self, values, *, step):
        self.lines.append((step, values))

    def finish(self):
        self.is_open = False

    def Histogram(self, *, np_histogram):
        return tuple(part.tolist() for part in np_histogram)


@pytest.fixture
def service(monkeypatch):
    def stand_in(name):
        monkeypatch.setitem(sys.modules, name, Service(name))
        return sys.modules[name]

    return stand_in


def events_of(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return accumulator.EventAccumulator(str(folder), size_guidance={"histograms": 0}).Reload()


def curves(found):
    """By name, the steps and values that TensorBoard shows."""
    return {
        name: [(event.step, event.value) for event in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_what_is_not_known_is_not_sent():
    assert scalars(POINT) == {
        "rounds/kl": 2.0,
        "rounds/kl_low": 1.5,
        "rounds/kl_high": 2.5,
        "rounds/tokens": 2.0,
        "rounds/tokens_low": 1.5,
        "rounds/tokens_high": 2.5,
        "rounds/perplexity": 3.0,
    }


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_rounds_of_a_directory_are_one_run_of_a_service(name, service, monkeypatch, tmp_path):
    found = service(name)
    watch = WatchConfig(trackers=(name,), run_name="mine")
    for number in range(2):
        track_round(POINT, number=number, run=tmp_path / "one", watch=watch)
    monkeypatch.setenv(f"{name.upper()}_PROJECT", "ours")
    track_round(POINT, number=0, run=tmp_path / "two", watch=WatchConfig(trackers=(name,)))
    assert found.lines == [(number, scalars(POINT)) for number in (0, 1, 0)]
    first, second, other = found.settings
    assert first == second
    assert (first["project"], first["resume"], other["project"]) == ("huggingface", "allow", "ours")
    by = "id" if name == "wandb" else "name"
    assert first[by] != other[by]
    assert first["name"].startswith("mine")
    assert other["name"].startswith("two")
    assert not found.is_open


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_scores_of_a_policy_are_sent_as_histograms(name, service, tmp_path):
    found = service(name)
    scores = ScoreCounts(edges=(-1.0, 0.0, 2.0), counts=(1, 3), start_counts=(4, 0))
    watch = WatchConfig(trackers=(name,))
    track_round(replace(POINT, scores=scores), number=1, run=tmp_path, watch=watch)
    edges = [-1.0, 0.0, 2.0]
    sent = {"rounds/scores": ([1, 3], edges), "rounds/start_scores": ([4, 0], edges)}
    assert found.lines == [(1, scalars(POINT) | sent)]


def test_a_training_leaves_no_run_of_wandb_open_for_the_next(service):
    found = service("wandb")
    for trackers in (["tensorboard"], ["wandb"]):
        found.init()
        finish_tracking(TrainingArguments("unused", report_to=trackers))
        assert found.is_open == (trackers == ["tensorboard"])
        found.is_open = False


@pytest.mark.slow
def test_each_policy_is_sent_once_also_where_a_run_goes_on(
    llama, preferences, tmp_path, monkeypatch, log
):
    settings = settings_of(tmp_path, model=llama, pairs=preferences)
    sent = []
    send = track_round
    monkeypatch.setattr(
        "tamis.recipes.iterating.track_round",
        lambda point, **how: sent.append(point.name) or send(point, **how),
    )
    for rounds in (1, 2, 2):
        config = changed(settings, rounds=rounds, trackers=["tensorboard"])
        iterate(config, watcher=log.watcher())
    assert sent == ["start", "round-00", "round-01"]
    run = tmp_path / "run"
    points = read_json(run / "rounds.json")["points"]
    events = events_of(run / iterate_track.FOLDER)
    for name in ("kl", "tokens", "win_rate"):
        wanted = [(n, pytest.approx(p[name]["value"])) for n, p in enumerate(points) if p[name]]
        assert curves(events)[f"rounds/{name}"] == wanted
    for name, key in (("scores", "counts"), ("start_scores", "start_counts")):
        bars = [(n, p["scores"][key]) for n, p in enumerate(points) if p["scores"]]
        shown = events.Histograms(f"rounds/{name}")
        assert bars
        assert [(one.step, one.histogram_value.bucket) for one in shown] == bars


def test_a_tracker_that_is_not_there_is_named_before_anything_is_run(llama, preferences, tmp_path):
    settings = settings_of(tmp_path, model=llama, pairs=preferences)
    with pytest.raises(ConfigError, match="tracker 'trackio' is not installed"):
        check_iterate(changed(settings, trackers=["trackio"]))
