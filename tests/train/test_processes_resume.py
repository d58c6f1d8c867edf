"""Several processes that are killed while they train, and started again."""

import json
import os
import random
import time

import pytest
from fitting import assert_same, judged, learnable, settings, write_responses
from launching import finish, start
from safetensors.torch import load_file

from tamis.train.trainer import COMPLETE, last_complete

EVERY, NUM_STEPS = 2, 12
KILLED = {
    "ddp": {"compute__save_every": EVERY},
    # every evaluation is a checkpoint, and the best weights are read from one of them
    "fsdp": {
        "compute__fsdp": "full_shard",
        "learning_rate": 1e-2,
        "watch__holdout_frac": 0.3,
        "watch__eval_every": EVERY,
    },
    "ddp_added": {
        "compute__save_every": EVERY,
        "objective__meta": {"eta": 0.5, "prompts": 6},
        "sampler": "prioritised",
        "objective__priorities": {"beta": "measured"},
    },
}


def history(path):
    state = path / "work" / f"checkpoint-{NUM_STEPS}" / "trainer_state.json"
    return json.loads(state.read_text())["log_history"]


def complete(path):
    """Return the steps of complete checkpoints, each with the moment it was written."""
    found = set()
    for mark in (path / "work").glob(f"checkpoint-*/{COMPLETE}"):
        try:
            found.add((int(mark.parent.name.rpartition("-")[2]), mark.stat().st_mtime_ns))
        except FileNotFoundError:  # removed by the run that goes on meanwhile
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("changes", KILLED.values(), ids=KILLED)
def test_killed_processes_end_with_the_same_bits(llama, tmp_path, changes):
    pairs = learnable()
    changes = {"learning_rate": 1e-3, "compute__micro_batch_size": 2, **changes}
    if "objective__meta" in changes:
        responses = write_responses(tmp_path / "meta.jsonl")
        changes["objective__meta"] = {**changes["objective__meta"], "path": responses}
    train = settings(max_steps=NUM_STEPS, batch_size=8, **changes)
    given = {"model": llama, "train": train, "verdicts": judged(pairs)}
    calm, victim = tmp_path / "calm", tmp_path / "victim"
    assert finish(start(calm, pairs, **given)) == [0, 0]

    draw = random.Random(os.getpid())
    step, moment, first = EVERY * draw.randint(2, 4), draw.uniform(0.0, 0.05), draw.randint(0, 1)
    print(f"killed process {first} first, {moment:.3f} s after the checkpoint of step {step}")
    death = (victim / "work" / f"checkpoint-{step}", moment)
    processes = start(victim, pairs, deaths={first: death}, **given)
    assert finish([processes[first]]) == [-9]
    processes[1 - first].kill()
    assert finish(processes)[1 - first] != 0  # it may have ended for want of the other
    assert not (victim / "rm").exists()
    before = complete(victim)
    reached = max(step for step, _ in before)
    assert reached < NUM_STEPS
    assert str(last_complete(victim / "work")).endswith(f"-{reached}")

    processes, seen = start(victim, pairs, **given), set()
    while any(process.is_alive() for process in processes):
        seen |= complete(victim)
        time.sleep(0.02)
    assert finish(processes) == [0, 0]
    # it goes on: nothing up to there is computed again
    assert {(step, moment) for step, moment in seen if step <= reached} <= before
    weights = [load_file(path / "rm" / "model.safetensors") for path in (calm, victim)]
    assert_same(weights[1], weights[0], atol=0, rtol=0)
    assert history(victim) == history(calm)
