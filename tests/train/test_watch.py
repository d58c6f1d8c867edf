"""Held-out pairs, early stopping and trackers."""

import importlib.util
import shutil

import numpy as np
import pytest
import torch
from fitting import assert_same, judged, learnable, run_fit, settings, without_timing
from pydantic import ValidationError

from tamis.errors import ConfigError, DataError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.checkpoint import load_scorer
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer
from tamis.train.config import TrainConfig, WatchConfig
from tamis.train.dataset import training_set
from tamis.train.order import hold_out
from tamis.train.tracking import check_trackers
from tamis.train.trainer import last_complete, stopped_at

STOPPING = {
    "max_steps": 40,
    "watch__holdout_frac": 0.3,
    "watch__eval_every": 2,
    "watch__patience": 2,
}


@pytest.fixture(scope="module")
def noisy():
    """Pairs whose labels contradict each other: what is learnt of some does not help with others"""
    return [pair.swapped() if n % 2 else pair for n, pair in enumerate(learnable())]


@pytest.fixture(scope="module")
def stopped(llama, noisy, tmp_path_factory):
    path = tmp_path_factory.mktemp("stopped")
    return path, *run_fit(path, noisy, model=llama, train=settings(**STOPPING))


def test_training_stops_after_patience_evaluations_without_improvement(stopped):
    _, report, _ = stopped
    curve = {point["step"]: point["loss"] for point in report["held_out"]}
    assert report["kept_step"] == min(curve, key=curve.get)
    assert report["num_steps"] == report["kept_step"] + 2 * 2 < 40
    assert list(curve) == list(range(2, report["num_steps"] + 1, 2))
    assert [point["step"] for point in report["loss"]] == list(range(1, report["num_steps"] + 1))


def test_whole_groups_are_held_out_and_the_best_weights_are_saved(stopped, llama, noisy):
    path, report, _ = stopped
    tokenizer = load_tokenizer(llama)
    data = training_set(noisy, judged(noisy), tokenizer=tokenizer, max_length=256)
    _, held_out_N = hold_out(data.group_N, frac=0.3, seed=0)
    pairs = [noisy[n] for n in held_out_N]
    outside = [pair for n, pair in enumerate(noisy) if n not in held_out_N]
    assert not {pair.prompt for pair in pairs} & {pair.prompt for pair in outside}
    assert (report["num_held_out"], report["num_pairs"]) == (len(pairs), len(outside)) == (12, 18)

    model = load_scorer(str(path / "rm")).model
    scores = score_pairs(model, tokenizer, pairs, max_length=256)
    delta_N = torch.tensor(scores.chosen_N - scores.rejected_N)
    weight_N = torch.tensor([judged(noisy)[n].weight for n in held_out_N])
    gap_N = delta_N - 0.1
    loss_N = weight_N * (0.9 * bradley_terry(gap_N) + 0.1 * bradley_terry(-gap_N))
    kept = next(p for p in report["held_out"] if p["step"] == report["kept_step"])
    assert kept["loss"] == pytest.approx(float(loss_N.mean()), abs=1e-6)
    assert kept["accuracy"] == pytest.approx(float((delta_N > 0).float().mean()))


def test_a_run_that_had_stopped_makes_no_step_more(stopped, llama, noisy):
    path, report, weights = stopped
    assert stopped_at(last_complete(path / "work")) == report["num_steps"]
    again = run_fit(path, noisy, model=llama, train=settings(**STOPPING))
    assert_same(again[1], weights, atol=0, rtol=0)
    assert without_timing(again[0]) == without_timing(report)


def test_evaluations_without_improvement_are_counted_across_a_kill(stopped, llama, noisy, tmp_path):
    path, report, weights = stopped
    shutil.copytree(path / "work", tmp_path / "work")
    shutil.rmtree(tmp_path / "work" / f"checkpoint-{report['num_steps']}")
    assert str(last_complete(tmp_path / "work")).endswith(f"-{report['num_steps'] - 2}")
    again = run_fit(tmp_path, noisy, model=llama, train=settings(**STOPPING))
    assert_same(again[1], weights, atol=0, rtol=0)
    assert without_timing(again[0]) == without_timing(report)


def test_the_best_weights_are_found_where_the_folder_has_moved(stopped, llama, noisy, tmp_path):
    path, _, weights = stopped
    (path / "work").rename(tmp_path / "work")
    again = run_fit(tmp_path, noisy, model=llama, train=settings(**STOPPING))
    (tmp_path / "work").rename(path / "work")
    assert_same(again[1], weights, atol=0, rtol=0)


def test_pairs_of_one_group_cannot_be_held_out(llama, noisy, tmp_path):
    pairs = [pair for pair in noisy if pair.prompt == noisy[0].prompt]
    with pytest.raises(DataError, match="all 6 training pairs are of one group"):
        run_fit(tmp_path, pairs, model=llama, train=settings(watch__holdout_frac=0.5))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"watch__patience": 2}, "need held-out pairs; choose a holdout_frac above 0"),
        ({"watch__eval_every": 2}, "need held-out pairs; choose a holdout_frac above 0"),
        ({"watch__holdout_frac": 0.1, "compute__save_every": 2}, "leave out save_every"),
        ({"lora__quantise": "nf4"}, "4-bit weights cannot be trained, choose a rank above 0"),
        (
            {"lora__quantise": "nf4", "lora__rank": 2, "compute__fsdp": "full_shard"},
            "fsdp is full_shard and quantise is nf4; choose one",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        settings(**changes)


def test_where_curves_are_sent_does_not_make_another_run():
    watched = TrainConfig(watch=WatchConfig(trackers=("tensorboard",), run_name="mine"))
    assert watched.identity() == TrainConfig().identity()
    assert TrainConfig(watch=WatchConfig(holdout_frac=0.1)).identity() != TrainConfig().identity()


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_tracker_that_is_not_installed_is_an_error_that_names_it(name):
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(ConfigError, match=f"tracker '{name}' is not installed; .*install {name}"):
        check_trackers(WatchConfig(trackers=(name,)))


def test_tensorboard_gets_the_exact_curve(llama, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train = settings(watch__trackers=["tensorboard"])
    report, _ = run_fit(tmp_path, learnable(), model=llama, train=train)
    (folder,) = (tmp_path / "work" / "runs").iterdir()
    events = accumulator.EventAccumulator(str(folder)).Reload()
    written = [event.value for event in events.Scalars("train/loss")]
    np.testing.assert_allclose(written, [point["loss"] for point in report["loss"]], rtol=1e-6)
