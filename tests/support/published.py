"""The recipes in configs/recipes, and the commands in their headers."""

import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "configs" / "recipes").glob("*.yaml"))


def launch_lines(path: Path) -> list[list[str]]:
    """Return the commands in the header of a recipe, as words: check, data, train, bench."""
    lines = [line.removeprefix("#   ") for line in path.read_text(encoding="utf-8").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(("tamis ", "accelerate "))]


def option(words: list[str], name: str) -> str:
    """Return what follows an option."""
    return words[words.index(name) + 1]
