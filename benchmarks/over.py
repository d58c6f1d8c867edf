"""Rate and epochs of proxies, and MetaRM's inner step, chosen on answers to training prompts alone.

Run with `make bench-over`. The training prompts of `tamis study overoptimise` are answered, judged
by gold, compared and labelled with the study's noise. Under each seed proxies learn from the pairs
of three quarters of the prompts, and are asked about those of the others, each quarter once in four
seeds; neither the held-out prompts nor their answers are read. With ``--ratios`` each rate and
number of epochs is trained with MetaRM as well, with inner steps of these lengths in outer ones, on
the best answers by the proxy without it. Prints the share of pairs in the order of the labels as
they are, which decides, and of gold, which is told beside it; last all figures as JSON.

Answers and features are kept in ``--run``, where the study finds them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from shared import parser_of
from tamis.metrics import length_delta, pair_credit
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs
from tamis.policy.sampling.best_of import best_places
from tamis.policy.sampling.responses import Sampled, write_responses
from tamis.runs.memory import keep_freed_memory
from tamis.studies.fitted import Lesson, fit_once, precision_of, probed
from tamis.studies.judges import fit_judge, length_neutral
from tamis.studies.overoptimise.cells import score_answers
from tamis.studies.overoptimise.labels import Labeller
from tamis.studies.overoptimise.material import read_over
from tamis.studies.overoptimise.plan import GOLD, POLICY, PROXY, OverPlan, over_models, over_plan
from tamis.studies.overoptimise.pools import preferences, sample_answers
from tamis.studies.overoptimise.ready import FEATURES, SAMPLES
from tamis.studies.overoptimise.ready import SEED as GOLD_SEED
from tamis.train.config import TrainConfig
from tamis.train.step_config import MetaConfig
from tamis.types import Pair, Verdict

FOLDS = 4


@dataclass(frozen=True, slots=True)
class Fold:
    """What one seed trains on, and the pairs that it is asked about."""

    start: Lesson
    others: Sequence[Pair]
    is_true: Sequence[bool]


def main() -> None:
    """Train with each setting under each seed, and print the order of other training pairs."""
    options = _options()
    keep_freed_memory()
    plan = over_plan("default", num_seeds=1)
    models = over_models(plan, folder=options.run / "models")
    material = read_over(plan, data=options.data)
    cache, samples = options.run / FEATURES, options.run / SAMPLES
    gold = fit_judge(material.gold_train, model=models[GOLD], cache=cache, seed=GOLD_SEED)
    how = {"policy": models[POLICY], "plan": plan.pools, "folder": samples}
    answers = sample_answers(material.train, plan.pools.per_prompt, **how)
    meta = sample_answers(material.meta, 2 * plan.pools.meta_best, **how)
    gold = length_neutral(gold, answers)
    truth = preferences(answers, gold.rewards(answers))
    _tell(answers, truth, accuracy={n: gold.accuracy(p) for n, p in material.gold_test.items()})
    settings = list(product(options.rates, options.epochs, [None, *options.ratios]))
    figures: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            folder = Path(scratch) / f"seed-{seed}"
            blank = np.zeros((len(truth), 1), np.float32)  # nothing is denoised here
            labels = Labeller(truth, blank, plan).labels("given", seed=seed)
            fold = _fold(truth, labels.pairs, model=models[PROXY], seed=seed)
            start = probed(fold.start, train=plan.train, warm=plan.warm, work=folder / "probe")
            fold = replace(fold, start=start)
            best = folder / "meta.jsonl"
            for number, (rate, epochs, ratio) in enumerate(settings):
                train = _train(plan, rate=rate, epochs=epochs, ratio=ratio, path=best)
                made = fit_once(fold.start, train=train, work=folder / f"{number}")
                if ratio is None and options.ratios:
                    _write_best(best, made, meta, plan=plan)
                name = f"rate {rate:g}, {epochs:g} epochs"
                name += "" if ratio is None else f", MetaRM {ratio:g}"
                for key, value in _asked(made, fold, train=train).items():
                    figures.setdefault(name, {}).setdefault(key, []).append(value)
            print(f"seed {seed}: {len(fold.start.pairs)} pairs, {len(fold.others)} others")
    for name, found in figures.items():
        listed = "  ".join(
            f"{key} {np.mean(values):.3f} ({' '.join(f'{value:.3f}' for value in values)})"
            for key, values in found.items()
        )
        print(f"{name:<40}{listed}")
    print(json.dumps(figures))


def _tell(
    answers: Sequence[Sampled], truth: Sequence[Pair], *, accuracy: Mapping[str, float]
) -> None:
    """Print what can be known of gold before any proxy is trained."""
    known = ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items())
    longer = float(pair_credit(length_delta(truth)).mean())
    cut = [not ended for one in answers for ended in one.finished or ()]
    print(f"gold, where the longer is right in half: {known}")
    print(f"{len(truth)} pairs of answers; gold likes the longer in {longer:.3f}")
    print(f"cut at the most tokens: {np.mean(cut):.3f} of the answers")


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/over"), help="folder of the study")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-5, 1e-4, 2e-4])
    parser.add_argument("--epochs", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--ratios", type=float, nargs="*", default=[], help="of MetaRM")
    parser.add_argument("--seeds", type=int, default=2 * FOLDS)
    return parser.parse_args()


def _fold(
    truth: Sequence[Pair], labelled: Sequence[Pair], *, model: ModelConfig, seed: int
) -> Fold:
    """Split pairs by their prompts."""
    prompts = sorted({pair.prompt for pair in truth}, key=repr)
    order = np.random.default_rng(seed // FOLDS).permutation(len(prompts))
    held = {prompts[place] for place in order[seed % FOLDS :: FOLDS]}
    pairs = [pair for pair in labelled if pair.prompt not in held]
    both = [(pair, pair.chosen == true.chosen) for pair, true in zip(labelled, truth, strict=True)]
    others = [(pair, is_true) for pair, is_true in both if pair.prompt in held]
    lesson = Lesson(pairs, [Verdict(pair.id) for pair in pairs], model, seed)
    return Fold(lesson, [pair for pair, _ in others], [is_true for _, is_true in others])


def _train(
    plan: OverPlan, *, rate: float, epochs: float, ratio: float | None, path: Path
) -> TrainConfig:
    meta = None if ratio is None else MetaConfig(path=str(path), eta=ratio, unit="steps")
    objective = plan.train.objective.model_copy(update={"meta": meta})
    return plan.train.model_copy(
        update={"learning_rate": rate, "epochs": epochs, "objective": objective}
    )


def _write_best(path: Path, made: Path, meta: Sequence[Sampled], *, plan: OverPlan) -> None:
    """Write the best answers by a proxy, as the study does for the raw one."""
    reward_N = score_answers(made, meta, train=plan.train)
    places_P2 = best_places(reward_N.reshape(len(meta), -1), n=plan.pools.meta_best)
    write_responses(
        path,
        [
            (one.prompt, [one.responses[at] for at in places_2])
            for one, places_2 in zip(meta, places_P2.tolist(), strict=True)
        ],
    )


def _asked(made: Path, fold: Fold, *, train: TrainConfig) -> dict[str, float]:
    scorer = load_scorer(str(made))
    with precision_of(train, scorer.model.device.type):
        scores = score_pairs(
            scorer.model, scorer.tokenizer, fold.others, max_length=scorer.max_length
        )
    gap_N = scores.chosen_N - scores.rejected_N
    is_true_N = np.array(fold.is_true)
    return {
        "labels": float(pair_credit(gap_N).mean()),
        "gold": float(pair_credit(np.where(is_true_N, gap_N, -gap_N)).mean()),
    }


if __name__ == "__main__":
    main()
