"""The command that labels pairs by principles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    names,
    override,
    recipe_of,
    run_dir,
    seed_of,
)
from tamis.errors import ConfigError

JudgeName = Annotated[
    str | None,
    typer.Option(help="length, a file of scores, the URL of a chat endpoint, or a dotted path."),
]
JudgeModel = Annotated[str | None, typer.Option(help="Model that the endpoint is to ask.")]
PrincipleFile = Annotated[
    str | None, typer.Option(help="YAML or JSONL of principles (default: those of Tamis).")
]
Only = Annotated[
    list[str] | None, typer.Option(help="Draw from these (repeat, or commas between).")
]
Passes = Annotated[int | None, typer.Option(help="Examples of a pair (default 4).")]
LabelNoise = Annotated[
    float | None, typer.Option(help="Share of training labels turned (default 0; published 0.1).")
]
LayoutName = Annotated[
    str | None, typer.Option(help="prompt_first (shares tokens) or answer_first (published).")
]


def principles(
    pairs: PairsFile,
    out: RunDir = None,
    judge: JudgeName = None,
    judge_model: JudgeModel = None,
    file: PrincipleFile = None,
    only: Only = None,
    passes: Passes = None,
    label_noise: LabelNoise = None,
    layout: LayoutName = None,
    model: ModelPath = None,
    max_length: MaxLength = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
) -> None:
    """Label pairs by principles that a reward model then reads, so that its score follows them.

    Writes RUN/data, which every later stage reads: pairs.parquet (the examples), labels.parquet
    (what each one shows, and which principle decides), dropped.parquet and report.json. With
    --model, examples that it cannot hold are dropped.
    """
    from tamis.cli.screen import watcher
    from tamis.principles.config import PrinciplesConfig
    from tamis.recipes.conditioning import principles_stage

    loaded = recipe_of(recipe)
    settings = {} if loaded is None else loaded.principles.model_dump()
    flags = {
        **judge_flags(judge),
        "endpoint.model": judge_model,
        "file": file,
        "names": names(only),
        "passes": passes,
        "label_noise": label_noise,
        "layout": layout,
    }
    if out is None and loaded is None:
        raise ConfigError("no run directory: give --out, another one than that of the pairs")
    run = run_dir(out, loaded)
    chosen = None if loaded is None and model is None else model_of(loaded, model, max_length)
    result = principles_stage(
        run,
        pairs=artefact(pairs, "data/pairs.parquet"),
        config=override(PrinciplesConfig, settings, flags),
        model=chosen,
        seed=seed_of(loaded, seed),
        notice=watcher().say,
    )
    finish(run, result)


def judge_flags(judge: str | None) -> dict[str, Any]:
    """Return the settings that --judge stands for: a name, a file, or a URL.

    >>> judge_flags("http://localhost:8000/v1")
    {'judge': 'endpoint', 'endpoint.url': 'http://localhost:8000/v1'}
    >>> judge_flags("judged.jsonl"), judge_flags("length")
    ({'judge': 'scores', 'scores': 'judged.jsonl'}, {'judge': 'length'})
    """
    if judge is None:
        return {}
    if judge.startswith(("http://", "https://")):
        return {"judge": "endpoint", "endpoint.url": judge}
    is_file = Path(judge).is_file() or judge.endswith((".jsonl", ".parquet", ".csv", ".gz"))
    return {"judge": "scores", "scores": judge} if is_file else {"judge": judge}
