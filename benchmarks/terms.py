"""What a step costs with each term, beside the plain step: CPU time, and what is kept for backward.

Run with `make bench-terms`, or at the end of `make bench-train`. All arms live in one process and
take turns on the same batches of 16 pairs; CPU time is not stretched by other work on the machine.
AdamW, float32, one thread, pairs of HH in random order.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from shared import BATCH, HH, fitting, model_of, pairs_of, parser_of
from tamis.models.config import ModelConfig
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.source import quiet
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.terms.view import Beginning, KnownPairs
from tamis.train.assemble import assemble
from tamis.train.collate import make_collate
from tamis.train.config import ObjectiveConfig, TrainConfig
from tamis.train.dataset import TrainingSet, training_set
from tamis.train.modules import attach
from tamis.types import Verdict

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "centring": {"centring": {}},
    "pcrm": {"pcrm": {}},
    "simcse": {"simcse": {}},
    "simcse diff": {"simcse": {"on": "differences"}},
    "swav": {"swav": {}},
    "swav diff": {"swav": {"on": "differences"}},
    "grm sft": {"grm": {}},
    "grm dpo": {"grm": {"form": "dpo"}},
    "grm dpo_reference": {"grm": {"form": "dpo_reference"}},
}
LEARNING_RATE = 1e-5


def main() -> None:
    """Print a line an arm, and all figures as JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", type=int, default=600, help="pairs to draw from")
    parser.add_argument("--warmup", type=int, default=2, help="steps that are not timed")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each arm")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder, quiet():
        figures = _measure(options, Path(folder))
    for name, row in figures.items():
        print(f"{name:17} {row['ratio']:.3f} x the plain step, {row['kept_mib']} MiB kept")
    print(json.dumps(figures))


def _measure(options: argparse.Namespace, work: Path) -> dict[str, dict[str, float]]:
    config = model_of(options)
    tokenizer = load_tokenizer(config)
    pairs = fitting(pairs_of(options, *HH)[: options.pairs], config)
    verdicts = [Verdict(pair.id) for pair in pairs]
    data = training_set(
        pairs, verdicts, tokenizer=tokenizer, max_length=options.max_length, work=work
    )
    known = KnownPairs(data.encoded, pairs, swapped_N=data.swapped_N, work=work, model=config)
    arms = {name: _Arm(terms, config, data, known) for name, terms in ARMS.items()}
    order = np.random.default_rng(0).permutation(len(pairs))
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    kept: dict[str, int] = {}
    for step in range(options.warmup + options.steps):
        numbers = np.take(order, range(step * BATCH, (step + 1) * BATCH), mode="wrap")
        for name, arm in arms.items():
            if step == 0:
                kept[name] = arm.kept_bytes(numbers)
            started = time.process_time()
            arm.take_step(numbers)
            if step >= options.warmup:
                seconds[name].append(time.process_time() - started)
    return {
        name: {
            "ratio": round(float(np.median(np.divide(own, seconds["plain"]))), 3),
            "seconds": round(float(np.median(own)), 3),
            "kept_mib": round(kept[name] / 2**20),
        }
        for name, own in seconds.items()
    }


class _Arm:
    """A model that is trained with a term."""

    def __init__(
        self, terms: dict[str, Any], config: ModelConfig, data: TrainingSet, known: KnownPairs
    ) -> None:
        assembled = assemble(TrainConfig(objective=ObjectiveConfig(terms=terms)))
        columns = assembled.known(known, seed=0)
        pad_id = pad_id_of(load_tokenizer(config))
        self._model = load_reward_model(config, seed=0, pad_token_id=pad_id).train()
        states = "all" if "tokens" in assembled.needs else "scored"
        plan = choose_rows(self._model, max_length=512, states=states)
        size = output_layer(self._model).in_features
        beginning = Beginning(config, hidden_size=size, seed=0)
        made = {name: make(beginning) for name, make in assembled.modules.items()}
        attach(self._model, made, device=torch.device("cpu"))
        weights = self._model.parameters()
        self._optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, fused=True)
        self._collate = make_collate(data, pad_id=pad_id, plan=plan, columns=columns)
        self._objective = assembled.objective

    def loss(self, numbers: Any) -> torch.Tensor:
        return self._objective(self._model, self._collate([numbers])).loss_B.mean()

    def take_step(self, numbers: Any) -> None:
        self.loss(numbers).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

    def kept_bytes(self, numbers: Any) -> int:
        """Return how many bytes are kept from forward to backward, weights aside."""
        storages: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self.loss(numbers)
        weights = {w.untyped_storage().data_ptr() for w in self._model.parameters()}
        del loss
        return sum(size for place, size in storages.items() if place not in weights)


if __name__ == "__main__":
    main()
