"""Section "How this was made": recipe, settings, seeds, versions and fingerprints.

Times and absolute paths are left out, so that two equal runs have equal reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tamis.errors import DataError
from tamis.report.blocks import Block, Code, Fold, Section, Table, Text
from tamis.report.numbers import plural, without_paths
from tamis.report.read import load_record
from tamis.report.records import DataReport
from tamis.runs import read_json

ORDER = 1000
KEY_CHARS = 12


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where the run has neither a recipe nor a finished stage."""
    recipe = _recipe(run / "recipe.yaml") or _recipe(run / "iterate.yaml")
    # the stages of rounds lie deeper than those of a plain run
    deeper = (path for part in ("start", "round-*") for path in run.glob(f"{part}/**/stage.json"))
    places = {*run.glob("*/stage.json"), *deeper}
    stages = [made for path in sorted(places) if (made := _stage(path, run=run)) is not None]
    if recipe is None and not stages:
        return None
    source = load_record(run / "data" / "report.json", DataReport)
    seeds = {
        f"{name}: {where}": seed
        for name, config in (("recipe", recipe), *((s["stage"], s["config"]) for s in stages))
        for where, seed in find_seeds(config)
    }
    blocks: list[Block] = [
        Text(
            "What is needed to make this again. Times and absolute paths are left out, so two "
            "runs with the same inputs, settings and versions give the same report."
        )
    ]
    if stages:
        blocks += [_stage_table(stages), _version_table(stages)]
    fingerprints = _fingerprints(stages, source=source)
    if fingerprints:
        header = ("of", "SHA-256")
        table = Table("Fingerprints of the inputs", header, tuple(fingerprints.items()), 2)
        blocks.append(Fold(plural(len(fingerprints), "fingerprint"), (table,)))
    if seeds:
        rows = tuple((where, str(seed)) for where, seed in seeds.items())
        blocks.append(
            Fold("Seeds", (Table("Every seed in the settings", ("where", "seed"), rows),))
        )
    if recipe is not None:
        blocks.append(Fold("Recipe", (Code(as_yaml(recipe)),)))
    for stage in stages:
        blocks.append(
            Fold(f"Settings of stage “{stage['stage']}”", (Code(as_yaml(stage["config"])),))
        )
    data = {"recipe": recipe, "stages": stages, "seeds": seeds, "fingerprints": fingerprints}
    return Section("How this was made", "made", tuple(blocks), data)


def as_yaml(value: Any) -> str:
    """Return JSON-like settings as YAML, absolute paths cut.

    >>> as_yaml({"path": "/home/me/x.jsonl", "limit": None})
    'path: …/x.jsonl\\nlimit: null\\n'
    """
    return yaml.safe_dump(without_paths(value), sort_keys=False, allow_unicode=True, width=90)


def find_seeds(config: Any, *, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of every key ``seed`` or ``seeds`` in nested settings.

    >>> list(find_seeds({"seed": 1, "train": {"seeds": [2, 3]}}))
    [('seed', 1), ('train.seeds', [2, 3])]
    """
    if isinstance(config, list):
        for place, item in enumerate(config):
            yield from find_seeds(item, where=f"{where}{place}.")
    if isinstance(config, dict):
        for key, value in config.items():
            if key in {"seed", "seeds"}:
                yield f"{where}{key}", value
            else:
                yield from find_seeds(value, where=f"{where}{key}.")


def _recipe(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
        # YAML knows dates, JSON does not
        return without_paths(json.loads(json.dumps(settings, default=str)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: expected a YAML file: {error}") from error


def _stage(path: Path, *, run: Path) -> dict[str, Any] | None:
    """Return what the record of a stage says; ``None``: it was killed while it was published."""
    record = read_json(path)
    if isinstance(record, dict) and record.get("key") == "":
        return None
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise DataError(f"{path}: expected the record of a stage, with an object under 'config'")
    return {
        "stage": path.parent.relative_to(run).as_posix(),
        "key": str(record.get("key", "")),
        "config": without_paths(record["config"]),
        "inputs": without_paths(record.get("inputs", {})),
        "versions": dict(record.get("versions", {})),
    }


def _stage_table(stages: list[dict[str, Any]]) -> Table:
    rows = tuple(
        (stage["stage"], stage["key"][:KEY_CHARS], ", ".join(stage["inputs"]) or "–")
        for stage in stages
    )
    caption = "Stages: a key changes whenever the settings or the inputs do"
    return Table(caption, ("stage", "key", "inputs"), rows, num_text=3)


def _version_table(stages: list[dict[str, Any]]) -> Table:
    seen: dict[str, list[str]] = {}
    for stage in stages:
        for library, version in stage["versions"].items():
            versions = seen.setdefault(library, [])
            if version not in versions:
                versions.append(version)
    rows = tuple((library, ", ".join(versions)) for library, versions in seen.items())
    return Table("Versions", ("library", "version"), rows, num_text=2)


def _fingerprints(stages: list[dict[str, Any]], *, source: DataReport | None) -> dict[str, str]:
    found = {
        f"{stage['stage']}: {label}": str(digest)
        for stage in stages
        for label, digest in stage["inputs"].items()
    }
    if source is not None and source.fingerprint:
        found["source of the data"] = source.fingerprint
    return found
