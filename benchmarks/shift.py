"""Learning rate and epochs of the shift study, chosen on training pairs of HH-RLHF alone.

Run with `make bench-shift`. Plain training (SmolLM2's first 8 layers, adapters in the last two) on
the pairs that the study draws, judged on others of the training split; no test pair is read. Prints
a table, and last the figures as JSON.
"""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from shared import parser_of
from tamis.metrics import pair_credit
from tamis.models.checkpoint import load_scorer
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import trunk_layers
from tamis.models.rows.memory import remember_states, use_memory
from tamis.models.score import pair_sequences, score_pairs
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.runs.memory import keep_freed_memory
from tamis.studies.shift.plan import TRAINED, shift_models, shift_plan
from tamis.studies.shift.run import read_shift
from tamis.train.fit import fit
from tamis.types import Verdict


def main() -> None:
    """Train with each setting under each seed, and print the accuracy on other training pairs."""
    parser = parser_of(__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--epochs", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validation", type=int, default=400, help="pairs")
    options = parser.parse_args()
    keep_freed_memory()
    plan = shift_plan("default", num_seeds=options.seeds)
    config = shift_models(plan, folder=options.models)[TRAINED]
    material = read_shift(plan, data=options.data)
    drawn = [material.train(seed) for seed in plan.seeds]
    taken = {pair.group for pairs in drawn for pair in pairs}
    others = [pair for pair in material.pool if pair.group not in taken]
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(others))[: options.validation])
    validation = [others[row] for row in rows]
    print(f"{len(drawn[0])} training pairs a seed, {len(validation)} validation pairs")
    tokenizer = load_tokenizer(config)
    max_length = int(tokenizer.model_max_length)
    everything = [*validation, *(pair for pairs in drawn for pair in pairs)]
    sequences, _ = pair_sequences(tokenizer, everything, max_length=max_length)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trunk = load_reward_model(config, seed=0, pad_token_id=pad_id_of(tokenizer))
        choose_rows(trunk, max_length=max_length)
        first = len(trunk_layers(trunk)) - (plan.train.lora.top_layers or 0)
        memory = remember_states(trunk, sequences, first=first, folder=folder)
        figures = {}
        for number, (rate, epochs) in enumerate(product(options.rates, options.epochs)):
            train = plan.train.model_copy(update={"learning_rate": rate, "epochs": epochs})
            reached = []
            for seed, pairs in zip(plan.seeds, drawn, strict=True):
                own = folder / f"{number}-{seed}"
                fit(
                    pairs,
                    [Verdict(pair.id) for pair in pairs],
                    model=config,
                    train=train,
                    seed=seed,
                    work=own / "work",
                    out=own / "out",
                    memory=memory,
                )
                scorer = load_scorer(str(own / "out"))
                scorer.model.requires_grad_(requires_grad=False)
                use_memory(scorer.model, memory)
                scores = score_pairs(
                    scorer.model, scorer.tokenizer, validation, max_length=max_length
                )
                credit = pair_credit(scores.chosen_N - scores.rejected_N)
                reached.append(float(credit.mean()))
            name = f"rate {rate:g}, {epochs:g} epochs"
            figures[name] = [round(value, 4) for value in reached]
            print(f"{name:<28}{100 * np.mean(reached):>6.1f}%   {figures[name]}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
