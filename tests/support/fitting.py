"""Short training runs of tiny models, for tests."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tamis.models.config import ModelConfig
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.train.step_config import OptimiserConfig
from tamis.types import Message, Pair, Verdict

FAST = TrainConfig(
    batch_size=4,
    epochs=100,
    max_steps=4,
    learning_rate=1e-2,
    optimiser=OptimiserConfig(warmup_frac=0.0),
)


def settings(**changes: Any) -> TrainConfig:
    """FAST with some keys changed; keys of a part are written part__key."""
    content = FAST.model_dump()
    for name, value in changes.items():
        *parts, last = name.split("__")
        target = content
        for part in parts:
            target = target[part]
        target[last] = value
    return TrainConfig.model_validate(content)


def answer(text: str) -> tuple[Message, ...]:
    return (Message("assistant", text),)


def learnable(num_pairs: int = 30) -> list[Pair]:
    """Pairs of five prompts that can be learnt: the better answer says good."""
    rng = random.Random(0)
    made = []
    for index in range(num_pairs):
        filler = " ".join(rng.choice(["quick", "brown", "fox", "dog"]) for _ in range(index % 7))
        prompt = (Message("user", f"question {index % 5}"),)
        chosen, rejected = answer(f"good {filler}"), answer(f"bad {filler}")
        made.append(Pair(f"p{index}", prompt, chosen, rejected, row=index))
    return made


def judged(pairs: list[Pair]) -> list[Verdict]:
    weights = [1.0, 0.5, 2.0]
    return [
        Verdict(p.id, target=0.9, margin=0.1, weight=weights[i % 3]) for i, p in enumerate(pairs)
    ]


def run_fit(
    path: Path,
    pairs: list[Pair],
    *,
    model: ModelConfig,
    train: TrainConfig,
    seed: int = 0,
    verdicts: list[Verdict] | None = None,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Train in ``path/work`` and return the report and the weights of ``path/rm``."""
    report = fit(
        pairs,
        verdicts or judged(pairs),
        model=model,
        train=train,
        seed=seed,
        work=path / "work",
        out=path / "rm",
    )
    return report, load_file(path / "rm" / "model.safetensors")


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], **tolerance: Any):
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], msg=name, **tolerance)


def without_timing(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key != "timing"}


def write_responses(path):
    """Write 14 prompts with two to four responses each for the MetaRM step; return the path."""
    words = ["good", "bad", "quick fox", "lazy dog", "good brown fox"]
    rows = (
        {"prompt": f"question {n}", "responses": [words[(n + i) % 5] for i in range(2 + n % 3)]}
        for n in range(14)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
