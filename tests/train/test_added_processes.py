"""The MetaRM step and the prioritised sampler, killed, and in two processes."""

import json
import os
import random
import signal

import pytest
from dying import end_of_child
from fitting import (
    assert_same,
    judged,
    learnable,
    run_fit,
    settings,
    without_timing,
    write_responses,
)
from launching import finish, start
from safetensors.torch import load_file

from tamis.train.trainer import last_complete

EVERY, NUM_STEPS = 2, 12


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_responses(tmp_path_factory.mktemp("meta") / "meta.jsonl")


def both(path, **changes):
    meta = {"path": path, "eta": 0.5, "prompts": 6, "holdout_frac": 0.25}
    meta |= changes.pop("meta", {})
    given = {"sampler": "prioritised", "objective__priorities": {"beta": "measured"}}
    return settings(objective__meta=meta, **{**given, **changes})


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(llama, path, tmp_path):
    pairs = learnable()
    train = both(
        path,
        max_steps=NUM_STEPS,
        learning_rate=1e-3,
        compute__micro_batch_size=2,
        compute__save_every=EVERY,
    )
    expected = run_fit(tmp_path / "calm", pairs, model=llama, train=train)
    victim = tmp_path / "victim"
    draw = random.Random(os.getpid())
    step, moment = EVERY * draw.randint(2, 4), draw.uniform(0.0, 0.05)
    print(f"killed {moment:.3f} s after the checkpoint of step {step}")
    code = end_of_child(
        lambda: run_fit(victim, pairs, model=llama, train=train),
        dies_at=victim / "work" / f"checkpoint-{step}",
        moment_s=moment,
    )
    assert code == -signal.SIGKILL
    assert last_complete(victim / "work") is not None
    assert not (victim / "rm").exists()
    resumed = run_fit(victim, pairs, model=llama, train=train)
    assert_same(resumed[1], expected[1], atol=0, rtol=0)
    assert without_timing(resumed[0]) == without_timing(expected[0])


SPREAD = {
    "ddp": {"compute__micro_batch_size": 2},
    "fsdp_lora": {
        "compute__fsdp": "full_shard",
        "compute__micro_batch_size": 2,
        "compute__gradient_checkpointing": True,
        "lora__rank": 2,
        "meta": {"eta": 3.0, "unit": "steps"},  # the norm is that of all shards
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", SPREAD.values(), ids=SPREAD)
def test_two_processes_learn_what_one_learns(llama, path, tmp_path, changes):
    pairs = learnable()
    given = {"max_steps": 6, "batch_size": 8, "learning_rate": 1e-3, "compute__save_every": 6}
    changes = {**given, **changes}
    arguments = {"model": llama, "train": both(path, **changes), "verdicts": judged(pairs)}
    assert finish(start(tmp_path / "two", pairs, **arguments)) == [0, 0]
    changes.pop("compute__fsdp", None)
    run_fit(tmp_path / "one", pairs, model=llama, train=both(path, **changes))
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        state = json.loads((folder / "work" / "checkpoint-6" / "trainer_state.json").read_text())
        history = [entry for entry in state["log_history"] if "grad_norm" in entry]
        found.append([entry[name] for entry in history for name in ("loss", "grad_norm")])
    assert len(found[0]) == 12
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    one, two = (load_file(tmp_path / n / "rm" / "model.safetensors") for n in ("one", "two"))
    assert_same(one, two, atol=1e-4, rtol=0)
    for name in ("meta_before.json", "checkpoint-6/meta_steps.json"):
        one, two = (json.loads((tmp_path / n / "work" / name).read_text()) for n in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-3)
