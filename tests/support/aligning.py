"""Short runs of `align` on pairs that can be learnt."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tamis.models.config import ModelConfig
from tamis.policy.align.config import AlignConfig
from tamis.policy.align.fit import align
from tamis.types import Message, Pair, Verdict

FAST: dict[str, Any] = {
    "max_length": 128,
    "fit": {
        "batch_size": 4,
        "epochs": 100,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "optimiser": {"warmup_frac": 0.0},
    },
}


def wordy(num_pairs: int = 16, *, split: str = "") -> list[Pair]:
    """Pairs of four prompts whose better answer says good, with words to delete."""
    rng = random.Random(len(split))
    words = ["fox", "river", "garden", "engine", "letter", "mountain", "paper", "window"]
    made = []
    for index in range(num_pairs):
        said = ", ".join(rng.sample(words, 5))
        sides = [f"good {said}"[: 60 - index % 7], f"bad {said}, and the {rng.choice(words)}"]
        chosen, rejected = ((Message("assistant", side),) for side in sides)
        prompt = (Message("user", f"question {index % 4}"),)
        name = f"{split or 'p'}{index}"
        made.append(Pair(name, prompt, chosen, rejected, group=name, split=split, row=index))
    return made


def config_of(**changes: Any) -> AlignConfig:
    """FAST with some keys changed; keys of a part are written part__key."""
    content = {**FAST, "fit": dict(FAST["fit"])}
    for name, value in changes.items():
        *parts, last = name.split("__")
        target = content
        for part in parts:
            target = target.setdefault(part, {})
        target[last] = value
    return AlignConfig.model_validate(content)


def run_align(
    path: Path,
    pairs: list[Pair],
    *,
    policy: ModelConfig,
    config: AlignConfig,
    verdicts: list[Verdict] | None = None,
    **more: Any,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Align in ``path/work`` and return the report and the weights of ``path/policy``."""
    report = align(
        pairs,
        verdicts or [Verdict(pair.id) for pair in pairs],
        policy=policy,
        config=config,
        seed=more.pop("seed", 0),
        work=path / "work",
        out=path,
        **more,
    )
    return report, load_file(path / "policy" / "model.safetensors")
