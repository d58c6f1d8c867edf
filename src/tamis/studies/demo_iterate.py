"""The demo of iterated RLHF: two rounds on embedded real votes, with a small chat model.

The policy writes arguments for one side of a debate. Its reward model learns from one person's vote
a pair, of which about 14% are wrong; a gold reward model learns from the true labels of all
debates, judges, and is optimised by nothing. Held-out prompts are of debates that the policy's
reward model has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tamis.data import write_pairs
from tamis.evaluate.judging import JudgeConfig
from tamis.models.config import ModelConfig
from tamis.policy.align.config import AlignConfig
from tamis.policy.iterate.config import (
    AdaptConfig,
    ImproveConfig,
    IterateConfig,
    IterateData,
    MeasureConfig,
    MetaSettings,
)
from tamis.policy.iterate.stopping import StopConfig
from tamis.policy.sampling.config import SampleConfig, Sampling
from tamis.policy.settings import PolicyCompute, PolicyFit
from tamis.recipes.iterating import iterate
from tamis.recipes.stages import CHECKPOINT, PAIRS, train_stage
from tamis.runs import Watcher, is_main, write_text
from tamis.studies.decoder import smollm2_checkpoint
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.demo_data import gold_pairs, labelled, one_vote_is_wrong
from tamis.train.config import AdapterConfig, ComputeConfig, TrainConfig
from tamis.train.step_config import OptimiserConfig
from tamis.types import Pair

GOLD, MATERIAL, MODELS = "gold", "material", "models"
MAX_CHARS = 500  # of an argument; longer ones take long to read
# what is asked, behind the debate and the side
WAYS = ("", " Use one or two sentences.", " Give your best reason first.")


@dataclass(frozen=True, slots=True)
class DemoScale:
    """How much the demo computes; the defaults take at most 20 minutes on two cores.

    ``seed`` is that of the drawn votes and of everything else.
    """

    num_pairs: int = 4000
    num_prompts: int = 36
    num_held_out: int = 15
    num_responses: int = 4
    max_new_tokens: int = 64
    gold_steps: int = 20
    reward_steps: int = 15
    batch_size: int = 48
    rounds: int = 2
    align_epochs: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DemoModels:
    """The chat model that is optimised, and what both reward models start from."""

    policy: ModelConfig
    reward: ModelConfig


def run_demo_iterate(
    run: Path,
    *,
    watcher: Watcher,
    scale: DemoScale | None = None,
    models: DemoModels | None = None,
) -> Path:
    """Run the demo into ``run``, and return the path of its report.

    Args:
        run: the run directory; a run that was stopped goes on.
        watcher: is told what is done.
        scale: how much is computed.
        models: by default SmolLM2-135M-Instruct and MiniLM, which are packages to install.

    Raises:
        ConfigError: a package is missing.
    """
    size = scale or DemoScale()
    used = models or DemoModels(
        ModelConfig(path=str(smollm2_checkpoint(run / MODELS))),
        ModelConfig(path=DEMO_MODEL, max_length=192),
    )
    if is_main():
        _write_material(run / MATERIAL, size)
    watcher.begin("gold reward model")
    gold = train_stage(
        run / GOLD,
        pairs=run / MATERIAL / GOLD / PAIRS,
        verdicts=None,
        model=used.reward,
        config=_training(size.gold_steps, size),
        seed=size.seed,
    )
    watcher.end("gold reward model", gold)
    config = demo_iterate_config(run, scale=size, models=used, gold=gold.directory / CHECKPOINT)
    return iterate(config, watcher=watcher)


def demo_iterate_config(
    run: Path, *, scale: DemoScale, models: DemoModels, gold: Path
) -> IterateConfig:
    """Return the settings of the demo: what ``tamis iterate`` would need to do the same."""
    sampling = Sampling(
        num=scale.num_responses, max_new_tokens=scale.max_new_tokens, max_prompt_tokens=128
    )
    fit = PolicyFit(
        learning_rate=5e-4,
        optimiser=OptimiserConfig(warmup_frac=0.0),
        batch_size=8,
        epochs=scale.align_epochs,
        lora=AdapterConfig(rank=8),
        compute=PolicyCompute(save_every=2),
    )
    material = run / MATERIAL
    return IterateConfig(
        out=str(run),
        policy=models.policy,
        data=IterateData(
            pairs=str(material / PAIRS),
            prompts=str(material / "prompts.jsonl"),
            held_out=str(material / "held_out.jsonl"),
        ),
        reward_model=AdaptConfig(
            model=models.reward,
            train=_training(scale.reward_steps, scale),
            meta=MetaSettings(prompts=4),
        ),
        rounds=scale.rounds,
        sample=SampleConfig(sampling=sampling),
        improve=ImproveConfig(by="align", align=AlignConfig(max_length=256, fit=fit)),
        measure=MeasureConfig(
            sampling=sampling.model_copy(update={"num": 2}),
            judge=JudgeConfig(by=f"gold:gold={gold}", pairing="all"),
        ),
        # a fall of quality after the first round is shown, and the second run all the same
        stop=StopConfig(quality_patience=scale.rounds),
        seed=scale.seed,
    )


def _training(num_steps: int, scale: DemoScale) -> TrainConfig:
    return TrainConfig(
        batch_size=scale.batch_size,
        learning_rate=1e-4,
        sampler="group",
        max_steps=num_steps,
        compute=ComputeConfig(save_every=5),
    )


def _write_material(folder: Path, scale: DemoScale) -> None:
    pairs = gold_pairs()
    wrong_N = one_vote_is_wrong(pairs, seed=scale.seed)
    voted = [
        labelled(pair, wrong=bool(wrong))
        for pair, wrong in zip(pairs, wrong_N, strict=True)
        if pair.split == "train"
    ]
    write_pairs(folder / PAIRS, _every(_short(voted), scale.num_pairs))
    # to the gold model no debate is held out
    true = [replace(pair, split="train") for pair in _short(pairs)]
    write_pairs(folder / GOLD / PAIRS, _every(true, scale.num_pairs))
    for name, split, num in (
        ("prompts.jsonl", "train", scale.num_prompts),
        ("held_out.jsonl", "test", scale.num_held_out),
    ):
        asked = dict.fromkeys(pair.prompt[0].content for pair in pairs if pair.split == split)
        # all debates in one way before any comes in another
        texts = [f"{prompt}{way}" for way in WAYS for prompt in asked][:num]
        lines = (json.dumps({"prompt": text}) for text in texts)
        write_text(folder / name, "".join(f"{line}\n" for line in lines))


def _short(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs of short arguments; of two judgements of the same two, the first."""
    found: dict[str, Pair] = {}
    for pair in pairs:
        if max(len(side[0].content) for side in (pair.chosen, pair.rejected)) <= MAX_CHARS:
            found.setdefault(pair.id, pair)
    return list(found.values())


def _every(pairs: Sequence[Pair], num: int) -> Sequence[Pair]:
    """Return at most so many pairs, spread over all."""
    return pairs[:: max(1, -(-len(pairs) // num))]
