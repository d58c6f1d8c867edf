"""Records which options OpenRLHF and verl take, from their wheels, without importing them.

    pip download --no-deps openrlhf verl
    python examples/record_options.py openrlhf-*.whl verl-*.whl

writes ``tests/examples/openrlhf.json`` and ``verl.json``, against which the launch scripts are
tested where the packages are not installed; where they are, these files are tested against them.
OpenRLHF's parser is run from its source, statement by statement; verl's keys are those of the
configuration that it ships, with every default in it.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

OUT = Path(__file__).parents[1] / "tests" / "examples"
INSIDE = {
    "openrlhf": "openrlhf/cli/train_ppo_ray.py",
    "verl": "verl/trainer/config/_generated_ppo_trainer.yaml",
}
OPEN = "open"  # the kind of a default that stands for another key, or has to be given
LEFT_OUT = ("_target_", "profiler", "mtp", "megatron", "skip", "transfer_queue", "distillation")


def parser_of(source: str) -> argparse.ArgumentParser:
    """Return the parser that a script makes before it parses, from its source."""
    main = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
    )
    made: dict[str, Any] = {"argparse": argparse, "datetime": datetime}
    for statement in main.body:
        if "parse_args" in ast.unparse(statement):
            break
        exec(ast.unparse(statement), made)
    parser: argparse.ArgumentParser = made["parser"]
    return parser


def options_of(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return what each option takes: nothing, or values of a type, so many, perhaps from a list."""
    return {
        name: {
            "takes": 0 if action.nargs == 0 else action.nargs,
            "type": getattr(action.type, "__name__", None),
            "choices": list(action.choices) if action.choices else None,
        }
        for action in parser._actions
        for name in action.option_strings
        if name not in ("-h", "--help")
    }


def leaves_of(content: Any, *, above: str = "") -> Iterator[tuple[str, Any]]:
    """Give the dotted keys of nested settings with their values."""
    if not (isinstance(content, dict) and content):
        yield above, content
        return
    for key, value in content.items():
        yield from leaves_of(value, above=f"{above}.{key}" if above else str(key))


def keys_of(text: str) -> dict[str, str]:
    """Return the dotted keys of a configuration, with the kind of each default."""
    leaves = leaves_of(yaml.safe_load(text))
    return {
        key: _kind(value)
        for key, value in leaves
        if not any(part in LEFT_OUT for part in key.split("."))
    }


def _kind(default: Any) -> str:
    is_open = default == "???" or (isinstance(default, str) and default.startswith("${"))
    return OPEN if is_open else type(default).__name__


def recorded_of(name: str, text: str) -> dict[str, Any]:
    """Return what is recorded of a package, from the text of the file in it that says so."""
    return options_of(parser_of(text)) if name == "openrlhf" else keys_of(text)


def record(wheel: Path) -> Path:
    """Write what a wheel's options are, and return where."""
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as files:
        inside = next(path for path in files.namelist() if path.endswith(INSIDE[name]))
        text = files.read(inside).decode("utf-8")
    found = recorded_of(name, text)
    path = OUT / f"{name}.json"
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()]
    listed = ",\n".join(lines)
    path.write_text(f'{{"version": "{version}", "options": {{\n{listed}\n}}}}\n', encoding="utf-8")
    return path


if __name__ == "__main__":
    for given in sys.argv[1:]:
        print(record(Path(given)))
