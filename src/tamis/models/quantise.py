"""Loading the frozen trunk of a reward model in 4 bits (QLoRA)."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal, cast

import torch
from torch import nn

from tamis.errors import ConfigError
from tamis.models.head import HEAD_NAMES

Quantise = Literal["none", "nf4"]


def quantisation(kind: Quantise, *, dtype: torch.dtype) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that quantise; none for ``none``.

    ``nf4`` keeps the linear layers of the trunk in the 4-bit NormalFloat type with quantised
    quantisation constants (Dettmers et al. 2023, QLoRA, section 3) and computes in ``dtype``; the
    head stays as it is.

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    if kind == "none":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "quantise is nf4, which needs bitsandbytes; try: pip install bitsandbytes"
        )
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(HEAD_NAMES),
    )
    return {"quantization_config": settings}


def keep_exact(model: nn.Module) -> None:
    """Let 4-bit layers compute in evaluation what they compute in training, in place.

    On CPUs with bfloat16 instructions bitsandbytes packs a layer anew at its first pass without
    gradients, and rounds to bfloat16 from then on.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            cast(Any, module).support_avx512bf16_for_cpu = False
