"""The models that are to be merged, and the check that they have one parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tamis.errors import ConfigError, shorten
from tamis.merge.tensors import TensorSpec, tensor_specs
from tamis.models.adapted import ADAPTER_CONFIG, adapter_base, adapter_notes, template_beside
from tamis.models.card import EXAMPLE, TAIL
from tamis.models.config import ModelConfig
from tamis.models.source import loading
from tamis.models.start import Start, read_start
from tamis.models.tokenise import NO_LIMIT, load_tokenizer
from tamis.runs import read_json

CONFIG = "config.json"
# what may differ between models of one parent
OWN = frozenset({"_name_or_path", "transformers_version", "mean", "std"})
# settings of an adapter whose updates are all products of two matrices, added to whole layers
PLAIN: Mapping[str, Any] = {
    "peft_type": "LORA",
    "use_dora": False,
    "bias": "none",
    "lora_bias": False,
    "target_parameters": None,
    "trainable_token_indices": None,
}


@dataclass(frozen=True, slots=True)
class Member:
    """A model to merge: a directory with all its weights, or with a LoRA adapter.

    ``start`` says what it was trained from, where Tamis trained it.
    """

    path: Path
    kind: Literal["checkpoint", "adapter"]
    start: Start | None


def open_members(
    paths: Sequence[Path], *, start: Literal["checked", "unchecked"] = "checked"
) -> list[Member]:
    """Find what is to be merged, and check that it can be.

    All need the same architecture, configuration, tokenizer, chat template and length, the same
    names and shapes of tensors, and the same weights at the start of their training.

    Args:
        paths: directories of checkpoints, or of adapters; at least two.
        start: ``unchecked`` accepts members that do not say what they were trained from. Those
            that say so are compared all the same.

    Raises:
        ConfigError: fewer than two, one twice, one that is neither a checkpoint nor a LoRA
            adapter, or two of different parents.
    """
    if len(paths) < 2:
        raise ConfigError(f"{len(paths)} checkpoint to merge: expected at least two")
    members = [_member(path) for path in paths]
    seen: dict[Path, Path] = {}
    for member in members:
        if seen.setdefault(member.path.resolve(), member.path) is not member.path:
            raise ConfigError(f"{member.path} is to be merged twice: expected different models")
    first = members[0]
    known = next((member for member in members if member.start is not None), None)
    for member in members:
        if member.kind != first.kind:
            raise ConfigError(
                f"{member.path} is {_a(member)}, {first.path} is {_a(first)}: expected one kind"
            )
        _check_start(member, known, start=start)
    _check_same_files(members)
    return members


def base_config(member: Member, *, base: str | None) -> ModelConfig:
    """Return the model that an adapter belongs to: ``base``, or what its configuration names.

    Texts are rendered by the template that lies beside the adapter, if there is one.

    Raises:
        ConfigError: neither names one.
    """
    config = adapter_base(member.path, start=member.start, base=base)
    template = template_beside(member.path, start=member.start)
    return (
        config if template is None else config.model_copy(update={"chat_template": str(template)})
    )


def brings_layers(member: Member) -> bool:
    """Tell whether an adapter has whole layers of its own, as a head is one."""
    return bool(_plain(member.path / ADAPTER_CONFIG).get("modules_to_save"))


def _member(path: Path) -> Member:
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise ConfigError(f"{path}: expected the directory of a checkpoint, found {found} there")
    if (path / CONFIG).is_file() and any(
        (path / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)
    ):
        return Member(path, "checkpoint", read_start(path))
    if (path / ADAPTER_CONFIG).is_file():
        return Member(path, "adapter", read_start(path))
    raise ConfigError(
        f"{path}: expected {CONFIG} and {SAFE_WEIGHTS_NAME} of a checkpoint, or {ADAPTER_CONFIG} "
        "of a LoRA adapter"
    )


def _check_start(member: Member, known: Member | None, *, start: str) -> None:
    if member.start is None:
        if start == "checked":
            raise ConfigError(
                f"{member.path} does not say which weights it was trained from (start.json); if "
                "all members were trained from the same ones, head included, give --unchecked-start"
            )
        return
    if known is None or known.start is None:
        return
    if member.start.trunk != known.start.trunk:
        raise ConfigError(
            f"{member.path} and {known.path} were trained from different models: expected one "
            "parent for all members"
        )
    if member.start.head != known.start.head:
        raise ConfigError(
            f"{member.path} and {known.path} were trained from different heads (a new head differs "
            "from seed to seed): expected members that start from one checkpoint with a trained "
            "head"
        )


def _check_same_files(members: Sequence[Member]) -> None:
    first, *others = members
    describe = _describe_checkpoint if first.kind == "checkpoint" else _describe_adapter
    expected = describe(first)
    for member in others:
        found = describe(member)
        for what, value in expected.items():
            _check_equal(what, value, found[what], where=(first.path, member.path))


def _describe_checkpoint(member: Member) -> dict[str, Mapping[str, Any]]:
    config = ModelConfig(path=str(member.path))
    tokenizer = load_tokenizer(config, default_max_length=NO_LIMIT)
    with loading(config.path):
        text = str(tokenizer.apply_chat_template(list(EXAMPLE), tokenize=False))
    return {
        "configuration": _plain(member.path / CONFIG, without=OWN),
        "tokenizer": tokenizer.get_vocab(),
        "special tokens": tokenizer.special_tokens_map,
        "chat template": {"end of a text": text[-TAIL:], "template": tokenizer.chat_template},
        "length": {"max_length": int(tokenizer.model_max_length)},
        "tensors": tensor_specs(member.path),
    }


def _describe_adapter(member: Member) -> dict[str, Mapping[str, Any]]:
    settings = _plain(member.path / ADAPTER_CONFIG)
    for name, expected in PLAIN.items():
        found = settings.get(name, expected)
        if (found or None) != (expected or None):  # PEFT writes null, an empty list or False
            raise ConfigError(
                f"{member.path / ADAPTER_CONFIG}: {name} is {found!r}, expected {expected!r}: only "
                "plain LoRA adapters have an average"
            )
    start, beside = member.start, template_beside(member.path, start=member.start)
    template = None if beside is None else beside.read_text(encoding="utf-8")
    return {
        "adapter": {
            "base model": settings.get("base_model_name_or_path"),
            "layers": _listed(settings.get("target_modules")),
            "layers by number": _listed(settings.get("layers_to_transform")),
            "layers by pattern": _listed(settings.get("layers_pattern")),
            "layers left out": _listed(settings.get("exclude_modules")),
            "other layers": _listed(settings.get("modules_to_save")),
        },
        "chat template": {"template": template if start is None else start.template},
        "notes": adapter_notes(member.path),
        "length": {} if start is None else {"max_length": start.max_length},
    }


def _listed(value: Any) -> Any:
    """Return a setting that names layers in one form, in whatever order it names them."""
    if isinstance(value, list):
        return sorted(value) or None
    return [value] if isinstance(value, int) else value or None


def _plain(path: Path, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {shorten(content)}")
    return {name: value for name, value in content.items() if name not in without}


def _check_equal(
    what: str, one: Mapping[str, Any], two: Mapping[str, Any], *, where: tuple[Path, Path]
) -> None:
    """Raise where two descriptions differ, with the first name and both values."""
    if one != two:
        differing = [n for n in sorted({*one, *two}) if one.get(n, ...) != two.get(n, ...)]
        name = differing[0]
        expected, found = (_text(part[name]) if name in part else "nothing" for part in (one, two))
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise ConfigError(
            f"{what} of {where[1]} differs from that of {where[0]}: {name} is {found}, expected "
            f"{expected}{more}"
        )


def _text(value: Any) -> str:
    if isinstance(value, TensorSpec):
        return f"{value.dtype} {list(value.shape)}"
    return shorten(value)


def _a(member: Member) -> str:
    return "an adapter" if member.kind == "adapter" else "a checkpoint"
