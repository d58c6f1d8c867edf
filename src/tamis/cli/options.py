"""What stage commands share: common options, settings with flags on top, run directories."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.errors import ConfigError, DataError, shorten

if TYPE_CHECKING:
    from tamis.metrics.ensemble import Ensemble
    from tamis.models.config import ModelConfig
    from tamis.principles.config import PrinciplesConfig
    from tamis.recipes.schema import Recipe

RunDir = Annotated[Path | None, typer.Option(help="Run directory; a stage writes its own folder.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Take settings from a recipe; options override it.")
]
ModelPath = Annotated[
    str | None, typer.Option(help="Directory, hub id, or package:name/dir of the base model.")
]
PairsFile = Annotated[Path, typer.Argument(help="pairs.parquet, or a run directory with data.")]
MaxLength = Annotated[int | None, typer.Option(help="Tokens of a conversation at most.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed (default 0).")]
PrinciplesFile = Annotated[
    Path | None,
    typer.Option("--principles", help="File of the principles that are named (default: shipped)."),
]
PrinciplesLayout = Annotated[
    str | None,
    typer.Option("--layout", help="Of principles: prompt_first (default), answer_first."),
]

NOTHING: Mapping[str, Any] = MappingProxyType({})


def recipe_of(path: Path | None) -> Recipe | None:
    """Load the recipe that was named, if one was."""
    from tamis.recipes.files import load_recipe

    return None if path is None else load_recipe(path)


def override(
    kind: type[Any],
    settings: dict[str, Any],
    flags: dict[str, Any],
    *,
    assignments: Mapping[str, Any] = NOTHING,
) -> Any:
    """Return a configuration: the settings, with flags on top, and assignments on top of them.

    A flag that is ``None`` was not given; what ``--set`` assigns is taken as it is, null too. A dot
    in a name leads into a part of the configuration.

    Raises:
        ConfigError: a name leads into what is no part, or a key or value is not as expected.
    """
    from tamis.recipes.files import parse

    content = copy.deepcopy(settings)
    given = {name: value for name, value in flags.items() if value is not None}
    for name, value in (*given.items(), *assignments.items()):
        put(content, name, value)
    return parse(kind, content, where="options")


def put(content: dict[str, Any], key: str, value: Any, *, where: str = "options") -> None:
    """Put a value where a dotted key leads, in place.

    >>> settings = {"fit": {"epochs": 1}}
    >>> put(settings, "fit.lora.rank", 8)
    >>> settings
    {'fit': {'epochs': 1, 'lora': {'rank': 8}}}

    Raises:
        ConfigError: the key leads through a value that is no group of settings.
    """
    *parts, last = key.split(".")
    for number, part in enumerate(parts, start=1):
        if content.get(part) is None:
            content[part] = {}
        content = content[part]
        if not isinstance(content, dict):
            raise ConfigError(
                f"{where}: key {key!r}: {'.'.join(parts[:number])} is {shorten(content)}, "
                "no group of settings"
            )
    content[last] = value


def model_of(recipe: Recipe | None, path: str | None, max_length: int | None) -> ModelConfig:
    """Return the base model, from the options on top of the recipe."""
    from tamis.models.config import ModelConfig

    if recipe is None and path is None:
        raise ConfigError("no model: give --model or --recipe")
    settings = {} if recipe is None else recipe.model.model_dump()
    model: ModelConfig = override(ModelConfig, settings, {"path": path, "max_length": max_length})
    return model


def seed_of(recipe: Recipe | None, seed: int | None) -> int:
    """Return the seed of the options, else of the recipe, else 0."""
    if seed is not None:
        return seed
    return 0 if recipe is None else recipe.seed


def run_dir(out: Path | None, recipe: Recipe | None, *, given: Path | None = None) -> Path:
    """Return --out, else the run directory that was given as input, else the recipe's.

    Raises:
        ConfigError: none of them names one.
        DataError: what was given is not there.
    """
    if out is not None:
        return out
    stages = () if given is None else (given / "data", given / "merge")
    if given is not None and any(stage.is_dir() for stage in stages):
        return given
    if recipe is not None:
        return Path(recipe.out)
    if given is not None and given.is_dir():
        raise ConfigError(f"{given}: expected a run directory (it has no data/), or give --out")
    if given is not None and not given.exists():
        raise DataError(f"{given}: no such file or directory")
    raise ConfigError("no run directory: give --out")


def artefact(path: Path, inside: str) -> Path:
    """Return the file itself, or the file that a run directory holds."""
    return path / inside if path.is_dir() else path


def beside_of(path: Path, run: Path) -> Path:
    """Return the run directory that an artefact stands in, else the one written to."""
    return path if path.is_dir() else run


def trained(path: Path) -> Path:
    """Return the checkpoint that a run directory holds, trained or merged, or the path itself."""
    inside = (path / stage / "checkpoint" for stage in ("train", "merge"))
    return next((checkpoint for checkpoint in inside if checkpoint.is_dir()), path)


def local_path(scorer: str) -> Path | None:
    """Return the path that a scorer's text names, or ``None`` where it names no checkpoint."""
    from tamis.evaluate.scorers.opening import CHECKPOINT, kind_of, split_name
    from tamis.models.source import PACKAGE

    kind, address = kind_of(split_name(scorer)[1])
    is_path = kind == CHECKPOINT and not address.startswith(PACKAGE)
    return Path(address) if is_path else None


def ensemble_of(num_models: int, *, how: str | None, penalty: float | None) -> Ensemble | None:
    """Return how several models score together, or ``None`` for one.

    Raises:
        ConfigError: the options ask for what they cannot have.
    """
    from tamis.metrics.ensemble import LOWER, Ensemble

    if num_models == 1 and not (how is None and penalty is None):
        raise ConfigError("--ensemble and --penalty put several checkpoints together, found one")
    if penalty is not None and how not in LOWER:
        raise ConfigError("--penalty belongs to --ensemble lower")
    if num_models == 1:
        return None
    chosen: Any = how or "mean"
    return Ensemble(chosen) if penalty is None else Ensemble(chosen, penalty=penalty)


def mapping(texts: list[str] | None, *, option: str) -> dict[str, str] | None:
    """Read field=column texts; one text may hold several, with commas between them.

    >>> mapping(["chosen=a,rejected=b,c", "prompt=q"], option="--columns")
    {'chosen': 'a', 'rejected': 'b,c', 'prompt': 'q'}
    """
    if not texts:
        return None
    parts = [part for text in texts for part in re.split(r",(?=\w+=)", text)]
    pairs = [part.partition("=") for part in parts]
    wrong = next((part for part, pair in zip(parts, pairs, strict=True) if not pair[2]), None)
    if wrong is not None:
        raise ConfigError(f"{option} {wrong!r}: expected field=column, for example chosen=better")
    return {field: column for field, _, column in pairs}


def assigned(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; the value is read as YAML.

    >>> assigned("trl.use_vllm=true"), assigned("kl_coefficient=null")
    (('trl.use_vllm', True), ('kl_coefficient', None))

    Raises:
        ConfigError: there is no key, or the value is no YAML.
    """
    import yaml

    key, equals, value = text.partition("=")
    if not (equals and key):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, for example fit.max_steps=5")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text!r}: {' '.join(str(error).split())}") from error


def names(texts: list[str] | None) -> list[str] | None:
    """Read names; one text may hold several, with commas between them.

    >>> names(["in_sample,out_of_bag", "cross_fitted"])
    ['in_sample', 'out_of_bag', 'cross_fitted']
    """
    return [name for text in texts for name in text.split(",")] if texts else None


def finish(run: Path, result: Any) -> None:
    """Print the summary of the run directory, and where the stage wrote."""
    from tamis.cli.screen import show_path, show_tables
    from tamis.cli.summary import run_tables

    show_tables(run_tables(run))
    show_path("written:" if result.fresh else "already done:", result.directory)


def principles_of(
    settings: dict[str, Any], *, file: Path | None, layout: str | None
) -> PrinciplesConfig:
    """Return how principles are named and laid out: the settings, with what was given on top."""
    from tamis.principles.config import PrinciplesConfig

    given = {"file": None if file is None else str(file), "layout": layout}
    found: PrinciplesConfig = override(PrinciplesConfig, settings, given)
    return found
