"""Short runs of reinforcement learning with a rule as reward, also in a process that is killed."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.models.config import ModelConfig
from tamis.policy.rl.config import RewardConfig, RLConfig
from tamis.policy.rl.fit import reinforce
from tamis.policy.rl.rewards import Judged, Scored
from tamis.types import Message

PROMPTS = [(Message("user", f"Say something, number {n}."),) for n in range(9)]


def letters(asked) -> Scored:
    """The share of letters that are vowels, so that answers differ."""
    texts = [one.answer[-1].content.lower() for one in asked]
    vowels = [sum(text.count(vowel) for vowel in "aeiou") for text in texts]
    return Scored(np.array(vowels, np.float64) / [max(1, len(text)) for text in texts])


def config_of(**settings: Any) -> RLConfig:
    """Settings of a run of a second: six steps of two prompts with two answers each."""
    fit = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 9, "max_steps": 6}
    fit |= settings.pop("fit", {})
    fit["compute"] = {"save_every": 2, **fit.get("compute", {})}
    short = {"num_generations": 2, "max_new_tokens": 6, "max_prompt_tokens": 80}
    return RLConfig.model_validate({**short, **settings, "fit": fit})


def run(
    folder: Path,
    model: ModelConfig,
    config: RLConfig,
    *,
    score=letters,
    reward: RewardConfig | None = None,
    gold=None,
    held_out=(),
) -> dict[str, Any]:
    """Train in ``folder/work``, write to ``folder``, and return the report."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return reinforce(
        PROMPTS,
        policy=model,
        judged=Judged(score, gold),
        reward=reward or RewardConfig(scorers=("letters",)),
        config=config,
        seed=5,
        work=folder / "work",
        out=folder,
        held_out=held_out,
    )


def run_killed(folder: Path, model: ModelConfig, config: RLConfig, **given: Any) -> int | None:
    """Do the same in another process, which ``kill -9`` ends in the sixth step."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tamis.policy.rl.fit"])  # imported once
    process = context.Process(target=_run_killed, args=(folder, model, config, given))
    process.start()
    process.join(900)
    return process.exitcode


def _run_killed(folder: Path, model: ModelConfig, config: RLConfig, given: Any) -> None:
    torch.set_num_threads(1)
    watch = folder / "work" / "watch.jsonl"

    def score(asked) -> Scored:
        if watch.is_file() and '"kind": "step", "step": 5' in watch.read_text(encoding="utf-8"):
            os.kill(os.getpid(), signal.SIGKILL)
        return letters(asked)

    run(folder, model, config, score=score, **given)
