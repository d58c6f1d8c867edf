"""The command that trains. Several processes may run it together, under `accelerate launch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import (
    MaxLength,
    ModelPath,
    PairsFile,
    RecipeFile,
    RunDir,
    Seed,
    artefact,
    finish,
    model_of,
    override,
    recipe_of,
    run_dir,
    seed_of,
)

Verdicts = Annotated[
    Path | None,
    typer.Option(help="verdicts.parquet (default: of the run directory, where it has one)."),
]
Loss = Annotated[str | None, typer.Option(help="Base loss, by name.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the pairs.")]
MaxSteps = Annotated[int | None, typer.Option(help="Stop after so many steps.")]
BatchSize = Annotated[int | None, typer.Option(help="Pairs of a step.")]
LearningRate = Annotated[float | None, typer.Option(help="Highest learning rate.")]
Sampler = Annotated[str | None, typer.Option(help="shuffle, group, length or prioritised.")]
LoraRank = Annotated[int | None, typer.Option(help="0 trains all weights.")]
Quantise = Annotated[
    str | None, typer.Option(help="nf4: the trunk in 4 bits, under LoRA; needs bitsandbytes.")
]
MicroBatchSize = Annotated[int | None, typer.Option(help="Pairs computed at once.")]
SaveEvery = Annotated[int | None, typer.Option(help="Steps between resume points.")]
Autocast = Annotated[str | None, typer.Option(help="none or bfloat16.")]
GradientCheckpointing = Annotated[
    bool | None,
    typer.Option("--gradient-checkpointing", help="Less memory, about a third more time."),
]
Fsdp = Annotated[
    str | None, typer.Option(help="full_shard spreads the weights over the processes.")
]
HoldoutFrac = Annotated[
    float | None, typer.Option(help="Share of the pairs to evaluate on; the best step is kept.")
]
EvalEvery = Annotated[int | None, typer.Option(help="Steps between evaluations.")]
Patience = Annotated[
    int | None, typer.Option(help="Stop after so many evaluations without a lower loss.")
]
Trackers = Annotated[
    list[str] | None, typer.Option(help="tensorboard, trackio or wandb (repeatable).")
]
RunName = Annotated[str | None, typer.Option(help="Name of the run in the trackers.")]

# name of the option -> key below `train` of a recipe
KEYS = {
    "loss": "loss",
    "epochs": "epochs",
    "max_steps": "max_steps",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "sampler": "sampler",
    "lora_rank": "lora.rank",
    "quantise": "lora.quantise",
    "micro_batch_size": "compute.micro_batch_size",
    "save_every": "compute.save_every",
    "autocast": "compute.autocast",
    "gradient_checkpointing": "compute.gradient_checkpointing",
    "fsdp": "compute.fsdp",
    "holdout_frac": "watch.holdout_frac",
    "eval_every": "watch.eval_every",
    "patience": "watch.patience",
    "tracker": "watch.trackers",
    "run_name": "watch.run_name",
}


def train(
    pairs: PairsFile,
    out: RunDir = None,
    verdicts: Verdicts = None,
    model: ModelPath = None,
    max_length: MaxLength = None,
    loss: Loss = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    micro_batch_size: MicroBatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    quantise: Quantise = None,
    sampler: Sampler = None,
    save_every: SaveEvery = None,
    autocast: Autocast = None,
    gradient_checkpointing: GradientCheckpointing = None,
    fsdp: Fsdp = None,
    holdout_frac: HoldoutFrac = None,
    eval_every: EvalEvery = None,
    patience: Patience = None,
    tracker: Trackers = None,
    run_name: RunName = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
) -> None:
    """Train a reward model on pairs and verdicts. Starts under `accelerate launch`, too.

    Writes RUN/train: checkpoint (loads in transformers, TRL, OpenRLHF, verl, vLLM) and report.json.
    """
    flags = {key: value for name, value in locals().items() if (key := KEYS.get(name))}

    from tamis.recipes.stages import train_stage
    from tamis.train.config import TrainConfig

    loaded = recipe_of(recipe)
    settings = {} if loaded is None else loaded.train.model_dump()
    run = run_dir(out, loaded, given=pairs)
    beside = pairs / "denoise" / "verdicts.parquet" if pairs.is_dir() else None
    if verdicts is None and beside is not None and beside.is_file():
        verdicts = beside
    result = train_stage(
        run,
        pairs=artefact(pairs, "data/pairs.parquet"),
        verdicts=verdicts,
        model=model_of(loaded, model, max_length),
        config=override(TrainConfig, settings, flags),
        seed=seed_of(loaded, seed),
    )
    finish(run, result)
