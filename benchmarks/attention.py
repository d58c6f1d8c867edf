"""What a training step takes on a CPU in float32, in bfloat16, and with attention in float32.

Run with `make bench-attention`. A step is forward and backward through all weights of MiniLM and of
SmolLM2 cut to some layers, on made texts of one length, 8,192 and 2,048 tokens. The three ways take
turns, each with a model of its own; what counts are the ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from shared import model_of, parser_of
from tamis.models.attention import use_fast_backward
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.runs.memory import keep_freed_memory
from tamis.studies.demo import DEMO_MODEL

WAYS = ("float32", "bfloat16", "attention in float32")
LENGTHS = (64, 128, 256)


def main() -> None:
    """Print microseconds a token for each model, length and way, and the ratios to float32."""
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    models = {
        "MiniLM": (ModelConfig(path=DEMO_MODEL, max_length=max(LENGTHS)), 8192),
        "SmolLM2": (model_of(options), 2048),
    }
    for name, (config, num_tokens) in models.items():
        loaded = {way: load_reward_model(config, seed=0) for way in WAYS}
        use_fast_backward(loaded[WAYS[-1]])
        for length in LENGTHS:
            _compare(name, loaded, length=length, num_tokens=num_tokens, options=options)


def _compare(
    name: str,
    loaded: dict[str, PreTrainedModel],
    *,
    length: int,
    num_tokens: int,
    options: argparse.Namespace,
) -> None:
    steps = {
        way: _step(model, length=length, num_tokens=num_tokens, in_bfloat16=way != "float32")
        for way, model in loaded.items()
    }
    for step in steps.values():
        step()
    took = {way: np.empty(options.repeats) for way in WAYS}
    for repeat in range(options.repeats):
        for way, step in steps.items():
            started = time.perf_counter()
            step()
            took[way][repeat] = 1e6 * (time.perf_counter() - started) / num_tokens
    for way in WAYS:
        ratios = took[way] / took["float32"]
        print(
            f"{name:<8}{length:>4} tokens  {way:<21}{np.median(took[way]):7.0f} us a token, "
            f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) of float32",
            flush=True,
        )


def _step(
    model: PreTrainedModel, *, length: int, num_tokens: int, in_bfloat16: bool
) -> Callable[[], None]:
    ids = torch.randint(5, 20_000, (num_tokens // length, length))

    def step() -> None:
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=in_bfloat16):
            scores = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        scores.float().sum().backward()

    return step


if __name__ == "__main__":
    main()
