"""Averaging the weight files of checkpoints tensor by tensor.

Memory holds one tensor of one member and its sum in float64, whatever the number of members and
however large the models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tamis.errors import ConfigError
from tamis.runs import read_json

LENGTH_BYTES = 8  # of a safetensors file: how long its header is, little-endian
METADATA = "__metadata__"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of a tensor, as a safetensors file states them."""

    dtype: str
    shape: tuple[int, ...]


def weight_files(checkpoint: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint.

    Raises:
        ConfigError: one that the index names is missing.
        DataError: there is neither a file nor an index, or the index is damaged.
    """
    whole = checkpoint / SAFE_WEIGHTS_NAME
    if whole.is_file():
        return [whole]
    index = read_json(checkpoint / SAFE_WEIGHTS_INDEX_NAME)
    files = [checkpoint / name for name in sorted(set(index["weight_map"].values()))]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise ConfigError(f"{missing[0]}: no such file, but {SAFE_WEIGHTS_INDEX_NAME} names it")
    return files


def tensor_specs(checkpoint: Path) -> dict[str, TensorSpec]:
    """Return type and shape of every tensor of a checkpoint.

    Raises:
        ConfigError: a file is missing or damaged.
    """
    found = {}
    for file in weight_files(checkpoint):
        for name, entry in _header(file)[1].items():
            found[name] = TensorSpec(entry["dtype"], tuple(entry["shape"]))
    return found


def write_average(checkpoints: Sequence[Path], *, weights_K: Sequence[float], out: Path) -> None:
    """Write the weighted mean of the weights of K checkpoints into the directory ``out``.

    The files are those of the first checkpoint, with other numbers. A mean is computed in float64
    and rounded once, so that K equal float32 models give the model itself, bit for bit. What is no
    number with a fraction (positions, masks) has to be equal in all.

    Raises:
        ConfigError: a file is damaged or cannot be written, or a tensor of integers differs.
    """
    used = [(path, weight) for path, weight in zip(checkpoints, weights_K, strict=True) if weight]
    with ExitStack() as stack:
        readers = [_Reader(path, stack=stack) for path, _ in used]
        for file in weight_files(checkpoints[0]):
            head, entries = _header(file)
            names = sorted(entries, key=lambda name: entries[name]["data_offsets"])
            with _reading(file), (out / file.name).open("wb") as stream:
                stream.write(head)
                for name in names:
                    tensors = (reader.tensor(name) for reader in readers)
                    mean = _mean(tensors, [weight for _, weight in used], name=name)
                    stream.write(mean.reshape(-1).view(torch.uint8).numpy().data)


class _Reader:
    """The tensors of one checkpoint, read when they are asked for."""

    def __init__(self, checkpoint: Path, *, stack: ExitStack) -> None:
        self._files: dict[str, Any] = {}
        for file in weight_files(checkpoint):
            with _reading(file):
                opened = stack.enter_context(safe_open(file, framework="pt"))
                self._files |= dict.fromkeys(opened.keys(), opened)

    def tensor(self, name: str) -> Tensor:
        """Return one tensor, on the CPU."""
        found: Tensor = self._files[name].get_tensor(name)
        return found


def _mean(tensors: Iterable[Tensor], weights: Sequence[float], *, name: str) -> Tensor:
    total = kept = None
    for tensor, weight in zip(tensors, weights, strict=True):
        if total is None:
            kept = tensor
            total = torch.zeros(tensor.shape, dtype=torch.float64)
        if tensor.is_floating_point():
            total.add_(tensor.double(), alpha=weight)
        elif kept is not None and not torch.equal(tensor, kept):
            raise ConfigError(f"tensor {name!r} holds {tensor.dtype} and differs between members")
    if total is None or kept is None:
        raise ConfigError("all weights are 0; expected one above 0")
    if not kept.is_floating_point():
        return kept.contiguous()
    return total.div_(sum(weights)).to(kept.dtype)


def _header(file: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes before the first tensor, and what they say of each tensor."""
    with _reading(file), file.open("rb") as stream:
        length = stream.read(LENGTH_BYTES)
        num_bytes = int.from_bytes(length, "little")
        if num_bytes > file.stat().st_size:
            raise ValueError("its header is longer than the file")
        text = stream.read(num_bytes)
        entries = json.loads(text)
    return length + text, {name: entry for name, entry in entries.items() if name != METADATA}


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn a file that is damaged or cannot be written into one error."""
    try:
        yield
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ConfigError(f"{file}: expected a safetensors file: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
