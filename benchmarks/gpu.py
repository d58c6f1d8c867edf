"""Everything that needs an accelerator, in one call: exactness, speed, share of the card's rate.

Run with `make bench-gpu` on a machine with a CUDA card (about ten minutes), or on a CPU with
`--device cpu --models tiny` to try the script itself. Weights are random, architectures real, token
counts those of HH-RLHF (quantiles of SmolLM2's tokens, measured on the helpful and harmless files).

1. Exactness, float32: scores and gradients of shared rows by FlexAttention against padded rows, on
   tiny models of all tested families.
2. The card's own bfloat16 matrix rate, by square products.
3. Forward and backward in bfloat16 with a float32 head on batches of similar length: padded rows (a
   well-configured baseline), packed rows, shared rows; pairs/s, peak memory, and the operations of
   the linear layers that were computed, pads included, as a share of 2.

Shapes: S sequences, T tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, LlamaConfig, PreTrainedModel

from tamis.models.head import initialise_head, use_float32_head
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.plan import RowPlan

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import rows_families

# deciles 0 to 100 of tokens: the prompt (with the system turn), and one answer beyond it
PROMPT_DECILES = (1, 40, 45, 69, 97, 125, 153, 189, 236, 307, 504)
ANSWER_DECILES = (1, 10, 15, 21, 27, 34, 44, 55, 72, 103, 511)
COMMON = {"vocab_size": 32_000, "pad_token_id": 0, "num_labels": 1, "max_position_embeddings": 4096}
SHAPES: dict[str, tuple[int, int, int, int, int]] = {  # hidden, MLP, layers, heads, key heads
    "tiny": (64, 128, 3, 4, 2),
    "0.5B": (1024, 4864, 24, 16, 4),
    "1B": (2048, 8192, 16, 32, 8),
    "3B": (3072, 8192, 28, 24, 8),
    "8B": (4096, 14_336, 32, 32, 8),
}


def main() -> None:
    """Print tables and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=["0.5B", "1B", "8B"], choices=SHAPES)
    parser.add_argument("--pairs", type=int, default=128, help="pairs of a batch")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    device = torch.device(options.device)
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    figures: dict[str, Any] = {
        "card": card,
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "exactness": _exactness(device),
        "matrix_tflops": round(_matrix_rate(device, size=8192 if card != "CPU" else 512), 1),
    }
    print(json.dumps(figures), flush=True)
    for name in options.models:
        figures[name] = _speed(name, options, device, tflops=figures["matrix_tflops"])
        print(name, json.dumps(figures[name]), flush=True)
    print(json.dumps(figures))


def _exactness(device: torch.device) -> dict[str, Any]:
    """Return, per family, the plan and the largest differences of scores and of gradients."""
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name, config in rows_families.DECODERS.items():
        model = rows_families.build(config).to(device)
        texts = rows_families.sequences()
        scores, gradients = [], []
        for wanted in ("padded", "auto"):
            plan = choose_rows(model, wanted=wanted, max_length=128)
            model.zero_grad()
            scores_S = _scores(model, texts, plan)
            (scores_S * torch.linspace(-1, 1, len(texts), device=device)).sum().backward()
            scores.append(scores_S.detach())
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        old, new = (torch.cat([part.flatten() for part in parts]) for parts in gradients)
        found[name] = {
            "rows": plan.why.split(":")[0],
            "score": float((scores[1] - scores[0]).abs().max()),
            "gradient": float((new - old).norm() / old.norm()),
        }
        print(f"exactness {name:<14}{found[name]}", flush=True)
    return found


def _scores(model: PreTrainedModel, texts: list[list[int]], plan: RowPlan) -> Tensor:
    inputs = model_inputs(texts, plan=plan, pad_id=0)
    moved = {k: v.to(model.device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
    return model(**moved).logits[:, 0]


def _matrix_rate(device: torch.device, *, size: int) -> float:
    """Return the best of several bfloat16 products, in 10^12 operations a second."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(5):
        _wait(device)
        started = time.perf_counter()
        for _ in range(10):
            a @ b
        _wait(device)
        best = max(best, 10 * 2 * size**3 / (time.perf_counter() - started) / 1e12)
    return best


def _speed(
    name: str, options: argparse.Namespace, device: torch.device, *, tflops: float
) -> dict[str, Any]:
    batches = _batches(options.pairs, options.steps + 2)
    results: dict[str, Any] = {}
    model = _random_model(name, device)
    for wanted in ("padded", "packed", "shared"):
        plan = choose_rows(model, wanted=wanted, max_length=1024)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds, work, tokens = [], [], []
        for number, texts in enumerate(batches):
            _wait(device)
            started = time.perf_counter()
            num_tokens, operations = _step(model, texts, plan)
            _wait(device)
            if number >= 2:  # compilation and the first shapes
                seconds.append(time.perf_counter() - started)
                tokens.append(num_tokens)
                work.append(operations)
        rate = options.pairs * len(seconds) / sum(seconds)
        results[wanted] = {
            "pairs_per_s": round(rate, 2),
            "tokens_per_pair": round(float(np.mean(tokens)) / options.pairs, 1),
            "share_of_matrix_rate": round(sum(work) / sum(seconds) / 1e12 / tflops, 3),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1)
            if device.type == "cuda"
            else None,
            "why": plan.why,
        }
    shared, padded = results["shared"]["pairs_per_s"], results["padded"]["pairs_per_s"]
    return {**results, "ratio": round(shared / padded, 2)}


def _random_model(name: str, device: torch.device) -> PreTrainedModel:
    hidden, mlp, layers, heads, key_heads = SHAPES[name]
    config = LlamaConfig(
        **COMMON,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        use_cache=False,
    )
    with device:
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.bfloat16)
    use_float32_head(model)
    initialise_head(model, seed=0)
    return model.train()


def _batches(num_pairs: int, count: int) -> list[list[list[int]]]:
    """Return batches of chosen and rejected in turn, each of pairs of similar length."""
    rng = np.random.default_rng(0)
    total = num_pairs * count

    def lengths(deciles: tuple[int, ...]) -> np.ndarray:
        return np.interp(rng.random(total) * 10, np.arange(11), deciles).astype(int)

    prompt_N = lengths(PROMPT_DECILES)
    answer_2N = [lengths(ANSWER_DECILES) for _ in range(2)]
    order = np.argsort(prompt_N + np.maximum(*answer_2N))
    batches = np.array_split(order, count)
    rng.shuffle(batches)

    def text(size: int) -> list[int]:
        return rng.integers(1, COMMON["vocab_size"], size=size).tolist()

    return [
        [
            prompt + text(int(answer_N[pair]))
            for pair in batch
            for prompt in [text(int(prompt_N[pair]))]
            for answer_N in answer_2N
        ]
        for batch in batches
    ]


def _step(model: PreTrainedModel, texts: list[list[int]], plan: RowPlan) -> tuple[int, float]:
    """Run forward and backward; return tokens computed and the model's operations on them."""
    layers = model.base_model.layers
    scores_S = _scores(model, texts, plan)
    loss = -logsigmoid(scores_S[::2] - scores_S[1::2]).mean()
    loss.backward()
    model.zero_grad(set_to_none=True)
    if plan.kind == "padded":
        num_tokens = len(texts) * max(map(len, texts))
        return num_tokens, 6.0 * num_tokens * sum(_sizes(layer)[0] for layer in layers)
    num_tokens = len(plan.tree(texts).token_ids)
    below = 6.0 * num_tokens * sum(_sizes(layer)[0] for layer in layers[:-1])
    whole, keys, queries = _sizes(layers[-1])  # the last layer is whole for scored tokens alone
    return num_tokens, below + num_tokens * (6.0 * keys + 2.0 * queries) + 6.0 * whole * len(texts)


def _sizes(layer: torch.nn.Module) -> tuple[int, int, int]:
    """Return the weights of a layer: all, those of keys and values, those of queries."""
    attention = layer.self_attn
    keys = attention.k_proj.weight.numel() + attention.v_proj.weight.numel()
    return sum(p.numel() for p in layer.parameters()), keys, attention.q_proj.weight.numel()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
