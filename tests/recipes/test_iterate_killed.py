"""Rounds of RL with demonstrations, killed in the phases that other rounds do not have."""

import signal

import pytest
from dying import end_of_child
from iterating import changed, settings_of
from safetensors.torch import load_file
from verdicts import prefers_longer

from tamis.recipes.iterating import iterate

pytestmark = pytest.mark.slow
JUDGE = "round-00/held-out/judge"
KILLED_AT = (
    "round-00/mix/work/out/pairs.parquet",
    "round-00/member-00/train/stage.json",
    "round-00/member-01/train/work/train/checkpoint-1/complete.json",
    "round-00/rl/work/checkpoint-1/complete.json",
    f"{JUDGE}/members/answers.sqlite",
    f"{JUDGE}/work/out/verdicts.parquet",
)
SAME = (
    "round-00/mix/pairs.parquet",
    "round-00/mix/verdicts.parquet",
    "round-00/rl/watch.jsonl",
    "rounds.json",
    "report.html",
    "best/best.json",
)


def test_a_run_killed_where_it_mixes_reinforces_and_asks_ends_as_one_that_was_not(
    llama, preferences, server, log, tmp_path
):
    server.answer = prefers_longer
    demos = tmp_path / "demos.jsonl"
    demos.write_text('{"prompt": "the lazy fox 0", "response": "jumps over the dog"}\n')

    def run(folder):
        settings = settings_of(tmp_path / folder, model=llama, pairs=preferences)
        config = changed(
            settings,
            rounds=1,
            improve__by="rl",
            improve__reward={"ensemble": "lower"},
            measure__judge={"by": f"{server.url}/v1#m", "rubric": "helpful"},
            measure__gold=["longest"],
            reward_model__demonstrations={"path": str(demos)},
            reward_model__members=2,
        )
        iterate(config, watcher=log.watcher())

    calm, victim = tmp_path / "calm" / "run", tmp_path / "victim" / "run"
    run("calm")
    for place in KILLED_AT:
        assert end_of_child(lambda: run("victim"), dies_at=victim / place) == -signal.SIGKILL, place
    run("victim")
    for name in SAME:
        assert (victim / name).read_bytes() == (calm / name).read_bytes(), name
    killed, other = (
        load_file(path / "round-00/rl/policy/model.safetensors") for path in (victim, calm)
    )
    assert all((killed[name] == weight).all() for name, weight in other.items())
