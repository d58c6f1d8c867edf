"""The command that trains a policy by reinforcement learning."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.extras import needing
from tamis.cli.options import RunDir, Seed, assigned, put, run_dir, seed_of

Prompts = Annotated[
    Path,
    typer.Argument(help="Prompts: JSONL, Parquet or CSV; of preference data its prompts."),
]
Policy = Annotated[str, typer.Option(help="Chat model to train: directory or hub id.")]
Rm = Annotated[
    list[str], typer.Option(help="Reward model, or any scorer; several make an ensemble.")
]
Method = Annotated[str | None, typer.Option(help="grpo (default) or rloo.")]
PresetOption = Annotated[
    str | None,
    typer.Option(help="Published settings: secrets2, secrets2_meta, metarm, pcrm, grm, salmon."),
]
EnsembleHow = Annotated[
    str | None,
    typer.Option(help="mean, min, lower (mean - penalty * spread), raw_min or raw_lower."),
]
Penalty = Annotated[float | None, typer.Option(help="Of --ensemble lower (default 1).")]
Which = Annotated[
    str | None, typer.Option(help="raw (default), standardised, calibrated or probability.")
]
PrincipleTexts = Annotated[
    list[str] | None,
    typer.Option("--principle", help="Score under it: a name, not:NAME, or words (repeatable)."),
]
Gold = Annotated[
    list[str] | None,
    typer.Option(help="Scorer that is only watched, on held-out prompts (repeatable)."),
]
HeldOut = Annotated[int | None, typer.Option(help="Prompts that are watched, not trained on.")]
NumGenerations = Annotated[int | None, typer.Option(help="Answers to each prompt (default 4).")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Tokens of an answer (default 256).")]
Kl = Annotated[float | None, typer.Option(help="KL coefficient (default 0.05).")]
RewardClip = Annotated[float | None, typer.Option(help="Cut scores to plus and minus this.")]
MaxSteps = Annotated[int | None, typer.Option(help="Steps, whatever the epochs.")]
BatchSize = Annotated[int | None, typer.Option(help="Answers of a step (default 32).")]
LearningRate = Annotated[float | None, typer.Option(help="Highest learning rate (default 1e-6).")]
LoraRank = Annotated[int | None, typer.Option(help="0 (default) trains all weights.")]
SaveEvery = Annotated[int | None, typer.Option(help="Steps between resume points.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any other setting: KEY=VALUE of the run, reward.KEY=VALUE, policy.KEY=VALUE "
        "(repeatable).",
    ),
]
Trackers = Annotated[
    list[str] | None, typer.Option(help="tensorboard, trackio or wandb (repeatable).")
]
# name of the option -> key of the run, of its reward, or of the policy
KEYS = {
    "method": "method",
    "preset": "preset",
    "num_generations": "num_generations",
    "max_new_tokens": "max_new_tokens",
    "kl": "kl_coefficient",
    "reward_clip": "reward_clip",
    "max_steps": "fit.max_steps",
    "batch_size": "fit.batch_size",
    "learning_rate": "fit.learning_rate",
    "lora_rank": "fit.lora.rank",
    "save_every": "fit.compute.save_every",
    "tracker": "fit.trackers",
    "ensemble": "reward.ensemble",
    "penalty": "reward.penalty",
    "which": "reward.which",
    "principle": "reward.principles",
    "gold": "reward.gold",
    "held_out": "reward.held_out",
}
PARTS = ("reward", "policy")


def rl(
    prompts: Prompts,
    policy: Policy,
    rm: Rm,
    out: RunDir = None,
    method: Method = None,
    preset: PresetOption = None,
    ensemble: EnsembleHow = None,
    penalty: Penalty = None,
    which: Which = None,
    principle: PrincipleTexts = None,
    gold: Gold = None,
    held_out: HeldOut = None,
    num_generations: NumGenerations = None,
    max_new_tokens: MaxNewTokens = None,
    kl: Kl = None,
    reward_clip: RewardClip = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = None,
    tracker: Trackers = None,
    set_: Settings = None,
    seed: Seed = None,
) -> None:
    """Train a policy with GRPO or RLOO (TRL's), rewarded by reward models.

    Writes RUN/rl: policy (loads with AutoModelForCausalLM), watch.jsonl (a line each step, under
    RUN/rl/work while it runs), report.json. Killed runs go on where they were.
    """
    flags = {KEYS[name]: value for name, value in locals().items() if name in KEYS}

    with needing("trl", what="reinforcement learning"):
        from tamis.recipes.reinforcing import rl_stage
    from tamis.cli.screen import show_path, show_tables, watcher
    from tamis.recipes.stages import REPORT
    from tamis.runs import read_json

    run = run_dir(out, None)
    config, reward, model = settings_of(policy, rm, flags=flags, texts=set_)
    result = rl_stage(
        run,
        prompts=prompts,
        policy=model,
        reward=reward,
        config=config,
        seed=seed_of(None, seed),
        notice=watcher().say,
    )
    show_tables(rl_tables(read_json(result.directory / REPORT)))
    show_path("written:" if result.fresh else "already done:", result.directory)


def settings_of(
    policy: str, rm: Sequence[str], *, flags: dict[str, Any], texts: list[str] | None
) -> tuple[Any, Any, Any]:
    """Return the settings of the run, of its reward and of the policy, later ones on top.

    In this order: the preset's, those of options, those of ``--set``.

    Raises:
        ConfigError: a text is no KEY=VALUE, or a key or value is none that is known.
    """
    from tamis.models.config import ModelConfig
    from tamis.policy.rl.config import RewardConfig, RLConfig
    from tamis.policy.rl.presets import published
    from tamis.recipes.files import parse

    given = {name: value for name, value in flags.items() if value is not None}
    given |= dict(assigned(text) for text in texts or [])
    name = given.get("preset")
    preset = {} if name is None else dict(published(str(name)).reward)
    parts: dict[str, Any] = {
        "reward": {**copy.deepcopy(preset), "scorers": list(rm)},
        "policy": {"path": policy},
    }
    content: dict[str, Any] = {}
    for key, value in given.items():
        first, _, rest = key.partition(".")
        if first in PARTS:
            put(parts[first], rest, value, where=f"options, {first}")
        else:
            put(content, key, value)
    return (
        parse(RLConfig, content, where="options"),
        parse(RewardConfig, parts["reward"], where="options, reward"),
        parse(ModelConfig, parts["policy"], where="options, policy"),
    )


def rl_tables(report: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return the table for the terminal: what changed from the first steps to the last."""
    from tamis.report.numbers import plural

    names = {
        "reward": "reward",
        "score": "score before it is shaped",
        "spread": "spread of the ensemble",
        "kl": "KL from the start, nats an answer",
        "entropy": "entropy of a token, nats",
        "perplexity": "perplexity under the start",
        "tokens": "tokens of an answer",
        "finished_frac": "share that ended by itself",
    }
    first, last = report["first"], report["last"]
    rows = [
        [title, f"{first[name]:.4g}", f"{last[name]:.4g}"]
        for name, title in names.items()
        if first[name] is not None and last[name] is not None
    ]
    looks = report["held_out"]
    for name in ("score", "gold"):
        if looks and looks[0][name] is not None:
            ends = [looks[0][name]["value"], looks[-1][name]["value"]]
            rows.append([f"{name}, held-out prompts", *(f"{end:.4g}" for end in ends)])
    steps = f"{report['method'].upper()}, {plural(report['num_steps'], 'step')}"
    return [(steps, ["mean", "first tenth", "last tenth"], rows)]
