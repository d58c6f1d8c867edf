"""The command that aligns a policy with judged pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.extras import needing
from tamis.cli.options import (
    PairsFile,
    RunDir,
    Seed,
    artefact,
    assigned,
    override,
    run_dir,
    seed_of,
)
from tamis.errors import ConfigError

if TYPE_CHECKING:
    from tamis.models.config import ModelConfig
    from tamis.policy.align.config import AlignConfig

Policy = Annotated[str, typer.Option(help="Chat model to align: directory or hub id.")]
Verdicts = Annotated[
    Path | None,
    typer.Option(help="verdicts.parquet (default: of the run directory, where it has one)."),
]
Objective = Annotated[
    str,
    typer.Option(
        help="dpo, cdpo, robust, soft, pcrm, pcrm-cosine, rpo, rpo-mean, spo, spo-random or aihf."
    ),
]
Beta = Annotated[float | None, typer.Option(help="What log ratios are multiplied with.")]
LabelSmoothing = Annotated[
    float | None, typer.Option(help="Share of the labels believed wrong (cDPO).")
]
Reference = Annotated[
    str | None, typer.Option(help="Policy that log ratios are taken against (default: the start).")
]
Demonstrations = Annotated[
    str | None, typer.Option(help="aihf: prompts with an answer each; JSONL, Parquet, CSV or hub.")
]
Samples = Annotated[
    str | None, typer.Option(help="aihf: the policy's own responses, for the logistic form.")
]
MaxLength = Annotated[int | None, typer.Option(help="Tokens of prompt and answer (default 1024).")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the pairs (default 1).")]
MaxSteps = Annotated[int | None, typer.Option(help="Steps, whatever the epochs.")]
BatchSize = Annotated[int | None, typer.Option(help="Pairs of a step (default 16).")]
MicroBatchSize = Annotated[int | None, typer.Option(help="Pairs computed at once.")]
LearningRate = Annotated[
    float | None, typer.Option(help="Highest learning rate (default: the objective's, else 1e-6).")
]
LoraRank = Annotated[int | None, typer.Option(help="0 (default) trains all weights.")]
SaveEvery = Annotated[int | None, typer.Option(help="Steps between resume points.")]
Trackers = Annotated[
    list[str] | None, typer.Option(help="tensorboard, trackio or wandb (repeatable).")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any other setting: KEY=VALUE, such as terms.pcrm.beta1=30 or policy.num_layers=8 "
        "(repeatable).",
    ),
]
# name of the option -> key of the configuration
KEYS = {
    "beta": "beta",
    "label_smoothing": "label_smoothing",
    "reference": "reference",
    "max_length": "max_length",
    "epochs": "fit.epochs",
    "max_steps": "fit.max_steps",
    "batch_size": "fit.batch_size",
    "micro_batch_size": "fit.compute.micro_batch_size",
    "learning_rate": "fit.learning_rate",
    "lora_rank": "fit.lora.rank",
    "save_every": "fit.compute.save_every",
    "tracker": "fit.trackers",
    "demonstrations": "terms.demonstrations.path",
    "samples": "terms.demonstrations.samples",
}
MODEL, FORM = "policy.", "terms.demonstrations.form"

Table = tuple[str, list[str], list[list[str]]]


def align(
    pairs: PairsFile,
    policy: Policy,
    out: RunDir = None,
    verdicts: Verdicts = None,
    objective: Objective = "dpo",
    beta: Beta = None,
    label_smoothing: LabelSmoothing = None,
    reference: Reference = None,
    demonstrations: Demonstrations = None,
    samples: Samples = None,
    max_length: MaxLength = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    micro_batch_size: MicroBatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = None,
    tracker: Trackers = None,
    set_: Settings = None,
    seed: Seed = None,
) -> None:
    """Align a policy with pairs and verdicts: DPO (TRL's) and its relatives.

    Writes RUN/align: policy (loads with AutoModelForCausalLM) and report.json, with implied
    accuracy on held-out pairs before and after. A policy is a reward model, too:
    tamis bench 'dpo:RUN/align/policy|START' --on FILE --out OUT.
    """
    flags = {KEYS[name]: value for name, value in locals().items() if name in KEYS}

    with needing("trl", what="aligning a policy"):
        from tamis.recipes.aligning import align_stage
    from tamis.cli.screen import show_path, show_tables
    from tamis.recipes.stages import REPORT
    from tamis.runs import read_json

    run = run_dir(out, None, given=pairs)
    beside = pairs / "denoise" / "verdicts.parquet" if pairs.is_dir() else None
    if verdicts is None and beside is not None and beside.is_file():
        verdicts = beside
    config, model = align_settings(
        policy, objective, flags=flags, texts=set_ or [], has_verdicts=verdicts is not None
    )
    result = align_stage(
        run,
        pairs=artefact(pairs, "data/pairs.parquet"),
        verdicts=verdicts,
        policy=model,
        config=config,
        seed=seed_of(None, seed),
    )
    show_tables(align_tables(read_json(result.directory / REPORT)))
    show_path("written:" if result.fresh else "already done:", result.directory)


def align_settings(
    policy: str,
    objective: str,
    *,
    flags: dict[str, Any],
    texts: list[str],
    has_verdicts: bool,
) -> tuple[AlignConfig, ModelConfig]:
    """Return the settings of the run and of the policy, later ones on top.

    In this order: the objective's, those of options, those of ``--set``.

    Raises:
        ConfigError: there is no such objective, it reads verdicts and there are none, a text is no
            KEY=VALUE, or a key or value is none that is known.
    """
    from tamis.models.config import ModelConfig
    from tamis.policy.align.config import READS_TARGETS, AlignConfig, preset

    settings = preset(objective)
    if objective in READS_TARGETS and not has_verdicts:
        raise ConfigError(
            f"objective {objective} reads the targets of verdicts; give --verdicts, or choose cdpo"
        )
    given = dict(map(assigned, texts))
    if {**flags, **given}.get(KEYS["samples"]) is not None:
        flags = {FORM: "logistic", **flags}
    own = {key: value for key, value in given.items() if not key.startswith(MODEL)}
    model = {key.removeprefix(MODEL): value for key, value in given.items() if key not in own}
    return (
        override(AlignConfig, settings, flags, assignments=own),
        override(ModelConfig, {"path": policy}, {}, assignments=model),
    )


def align_tables(report: dict[str, Any]) -> list[Table]:
    """Return the summary of a report for the terminal."""
    from tamis.cli.screen import percent

    rows = [
        ["pairs", f"{report['num_pairs']:,} ({report['num_swapped']:,} turned)"],
        ["steps", f"{report['num_steps']:,}"],
    ]
    tables: list[Table] = [("Aligned", ["what", "value"], rows)]
    left_out = ", ".join(f"{kind} {count:,}" for kind, count in report["num_left_out"].items())
    if left_out:
        rows.insert(1, ["left out", left_out])
    degrees = report["terms"].get("spo", {}).get("degree_accuracy")
    if degrees is not None:
        rows.append(["degrees told on held-out answers", f"{100 * degrees:.1f}%"])
    held_out = report["held_out"]
    if held_out is None:
        return tables
    before, after = held_out["before"], held_out["after"]
    compared = [
        ["implied accuracy, %", percent(before["accuracy"]), percent(after["accuracy"])],
        ["likelier answer chosen, %", percent(before["plain"]), percent(after["plain"])],
        *(
            [f"log p({side}), nats", f"{before[key]:.1f}", f"{after[key]:.1f}"]
            for side, key in (("chosen", "log_prob_chosen"), ("rejected", "log_prob_rejected"))
        ),
        ["always the longer, %", "", percent(held_out["longest"])],
    ]
    title = f"{held_out['num_pairs']:,} held-out pairs"
    return [*tables, (title, ["what", "before", "after"], compared)]
