"""Sampling from SmolLM2: drawing with one random number a token beside the library's own way.

Run with `make bench-sample`. Both go on from one reading of a prompt and sample 64 responses of one
length, in turns; they differ in how a token is drawn from its distribution
(`tamis.policy.sampling.draw`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from shared import parser_of
from tamis.models.config import ModelConfig
from tamis.models.load import load_language_model
from tamis.policy.load import load_chat_tokenizer
from tamis.policy.sampling import sample
from tamis.policy.sampling.config import Sampling
from tamis.policy.sampling.draw import chance
from tamis.policy.sampling.sample import prompt_ids
from tamis.runs.memory import keep_freed_memory
from tamis.studies.decoder import smollm2_checkpoint
from tamis.types import Message

PROMPT = (Message("user", "How does a bicycle stay upright? Name three other things that do."),)


def main() -> None:
    """Print tokens a second of both, and the ratios."""
    parser = parser_of(__doc__)
    parser.add_argument("--num", type=int, default=64, help="responses at once")
    parser.add_argument("--tokens", type=int, default=48, help="of a response")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    path = str(smollm2_checkpoint(options.models))
    config = ModelConfig(path=path, max_length=512, dtype="bfloat16")
    model, tokenizer = load_language_model(config), load_chat_tokenizer(config)
    prompt = prompt_ids(tokenizer, PROMPT, most=512)
    ways = {"one number a token": chance, "the library's": _of_library}
    rates = {name: np.empty(options.repeats) for name in ways}
    for repeat in range(-1, options.repeats):  # the first round counts for neither
        for name, way in ways.items():
            rate = _rate(model, prompt, way=way, options=options)
            if repeat >= 0:
                rates[name][repeat] = rate
    for name, found in rates.items():
        print(
            f"{name:<20}{np.median(found):6.0f} tokens/s ({found.min():.0f} to {found.max():.0f})"
        )
    ratios = np.divide(*rates.values())
    print(f"ratio: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


def _of_library(how: Sampling) -> dict[str, object]:
    return {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 1.0}


def _rate(
    model: PreTrainedModel,
    prompt: tuple[int, ...],
    *,
    way: Callable[[Sampling], dict[str, object]],
    options: argparse.Namespace,
) -> float:
    how = Sampling(num=options.num, max_new_tokens=options.tokens, min_new_tokens=options.tokens)
    sample.chance = way
    started = time.perf_counter()
    with torch.no_grad():
        sample._sample(model, [prompt], how=how, end_ids=(2,), seed=0)
    return options.num * options.tokens / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
