"""The recipe that ``tamis init`` writes."""

import re

import yaml
from pydantic import BaseModel

from tamis.recipes.files import parse
from tamis.recipes.schema import Recipe
from tamis.recipes.starter import starter

# these have no default that would work, or say in their comment that they differ
NOT_DEFAULTS = {
    ("", "out"),
    ("model", "path"),
    ("model", "max_length"),
    ("data", "path"),
    ("data", "test_frac"),
    ("denoise", "share"),
}


def mentioned(text: str) -> dict[str, set[str]]:
    """Return the keys by section (top level: "", a part: "train.lora"), commented ones included."""
    keys: dict[str, set[str]] = {"": set()}
    section = part = ""
    for line in text.splitlines():
        if top := re.match(r"([a-z0-9_]+):", line):
            section = top[1]
            keys[""].add(section)
            keys[section] = set()
        elif below := re.match(r"  ([a-z0-9_]+): *(?:#.*)?$", line):
            part = f"{section}.{below[1]}"
            keys[section].add(below[1])
            keys[part] = set()
        elif deeper := re.match(r"    (?:# )?([a-z0-9_]+): ", line):
            keys[part].add(deeper[1])
        elif inner := re.match(r"  (?:# )?([a-z0-9_]+): ", line):
            keys[section].add(inner[1])
        elif item := re.match(r"  # - \{(.*?)\}", line):
            keys[section] |= set(re.findall(r"([a-z0-9_]+):", item[1]))
    return keys


def configs() -> dict[str, type[BaseModel]]:
    from tamis.evaluate.config import BenchmarkConfig

    parts = {name: field.annotation for name, field in Recipe.model_fields.items()}
    found = {name: kind for name, kind in parts.items() if hasattr(kind, "model_fields")}
    for section, kind in list(found.items()):
        for name, field in kind.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                found[f"{section}.{name}"] = field.annotation
    return {"": Recipe, "bench": BenchmarkConfig, **found}


def test_starter_is_a_recipe():
    recipe = parse(Recipe, yaml.safe_load(starter()), where="starter")
    assert recipe.data.path == "my_preferences.jsonl"
    assert recipe.data.test_frac > 0


def test_starter_mentions_every_key_and_no_other():
    keys = mentioned(starter())
    for section, kind in configs().items():
        known = set(kind.model_fields)
        assert not known - keys[section], f"section {section!r} lacks {known - keys[section]}"
        assert not keys[section] - known, f"section {section!r}: no key {keys[section] - known}"


def test_values_of_starter_are_the_defaults():
    content = yaml.safe_load(starter())
    for section, kind in configs().items():
        values = content
        for part in filter(None, section.split(".")):
            values = values[part]
        for key, value in values.items() if isinstance(values, dict) else ():
            default = kind.model_fields[key].default
            if not isinstance(value, dict | list) and (section, key) not in NOT_DEFAULTS:
                assert value == default, f"{section}.{key}: {value!r}, but the default {default!r}"
