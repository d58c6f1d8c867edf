"""The command that averages the weights of reward models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import RunDir, Seed, finish, override, run_dir, seed_of, trained

Checkpoints = Annotated[
    list[Path], typer.Argument(help="Checkpoints, run directories, or LoRA adapters; at least two.")
]
Method = Annotated[
    str | None, typer.Option(help="uniform (default), or greedy by accuracy on --pairs.")
]
Pairs = Annotated[
    Path | None, typer.Option(help="Preference data to choose and compare on, none trained on.")
]
TrainedOn = Annotated[
    Path | None,
    typer.Option(help="pairs.parquet with gold that was trained on: what was learnt by heart."),
]
Weights = Annotated[str | None, typer.Option(help="One for each, such as 0.5,0.3,0.2.")]
Curves = Annotated[
    str | None,
    typer.Option(help="Accuracy between members: each and the next (next), all or none."),
]
Base = Annotated[str | None, typer.Option(help="The model under adapters, if not what they name.")]
Unchecked = Annotated[
    bool,
    typer.Option(
        "--unchecked-start", help="Merge models that do not say what they were trained from."
    ),
]


def merge(
    checkpoint: Checkpoints,
    out: RunDir = None,
    pairs: Pairs = None,
    method: Method = None,
    weights: Weights = None,
    limit: Annotated[int | None, typer.Option(help="Use so many of --pairs at most.")] = None,
    curves: Curves = None,
    trained_on: TrainedOn = None,
    base: Base = None,
    unchecked_start: Unchecked = False,
    seed: Seed = None,
) -> None:
    """Average the weights of reward models that were trained from the same weights (WARM).

    Writes RUN/merge: checkpoint (loads everywhere, as large as one member) and report.json. With
    --pairs the report compares members, the mean of their scores and the average.
    """
    from tamis.merge.config import MergeConfig
    from tamis.recipes.merging import MergeInputs, merge_stage

    flags = {
        "method": method,
        "weights": None if weights is None else weights.split(","),
        "curves": curves,
        "limit": limit,
    }
    run = run_dir(out, None)
    result = merge_stage(
        run,
        merged=MergeInputs(
            [trained(path) for path in checkpoint],
            pairs=pairs,
            trained_on=trained_on,
            base=base,
            start="unchecked" if unchecked_start else "checked",
        ),
        config=override(MergeConfig, {}, flags),
        seed=seed_of(None, seed),
    )
    finish(run, result)
