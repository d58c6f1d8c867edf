"""Rate, epochs and inner step of the shift study, chosen on training pairs of HH-RLHF alone.

Run with `make bench-shift`. Plain training as the study has it (SmolLM2, adapters in its last two
layers, from the probe of the seed) on the pairs that the study draws under each seed, judged on
pairs of the training split from which no seed draws; no test pair is read. With ``--ratios`` in
OPTIONS the MetaRM step trains, with inner steps of these lengths in outer steps, on the answers
that the study samples to prompts of the training split; its spread is the mean absolute difference
of rewards within a tenth of these prompts, which is held out, over the mean absolute gap of the
validation pairs. Each setting is held against the first one, by seeds. Samples and states are the
study's own, in the folder ``--run``, so that it need not make them again; what was trained is kept
there too, and a second call with other settings trains these alone. Prints a table, and last the
figures as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from tamis.metrics import pair_credit
from tamis.models.checkpoint import load_scorer
from tamis.models.rows.memory import StateMemory, use_memory
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer
from tamis.runs import read_json, write_json
from tamis.runs.memory import keep_freed_memory
from tamis.studies.commands import MODELS
from tamis.studies.fitted import DONE, Lesson, fit_once, precision_of, probed
from tamis.studies.shift.levels import fit_judges, shifted_levels
from tamis.studies.shift.material import Material
from tamis.studies.shift.plan import JUDGE, POLICY, TRAINED, ShiftPlan, shift_models, shift_plan
from tamis.studies.shift.ready import SAMPLES, STATES, read_shift, remember
from tamis.studies.shift.texts import training_ids
from tamis.train.config import TrainConfig
from tamis.train.step_config import MetaConfig
from tamis.types import Pair, Verdict

KEPT = "bench"
Found = dict[str, float]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all settings share."""

    plan: ShiftPlan
    models: dict
    drawn: dict[int, list[Pair]]
    validation: list[Pair]
    memory: StateMemory
    folder: Path

    def reached(self, train: TrainConfig, *, seed: int) -> Found:
        """Return the accuracy, and the spread, of one training; they are kept."""
        own = [train.identity(), self._probe(), self.plan.sizes.model_dump(), len(self.validation)]
        name = hashlib.sha256(json.dumps([*own, seed], sort_keys=True).encode()).hexdigest()[:24]
        path = self.folder / f"{name}.json"
        if not path.is_file():
            work = path.with_suffix(".work")
            write_json(path, self._trained(train, seed=seed, work=work))
            shutil.rmtree(work)
        return read_json(path)

    def _probe(self) -> str:
        warm, num_train = self.plan.warm, self.plan.sizes.num_train
        return f"probe-{warm.probe_learning_rate:g}-{warm.probe_epochs:g}-{num_train}"

    def _trained(self, train: TrainConfig, *, seed: int, work: Path) -> Found:
        pairs, warm = self.drawn[seed], self.plan.warm
        verdicts = [Verdict(pair.id) for pair in pairs]
        lesson = Lesson(pairs, verdicts, self.models[TRAINED], seed, self.memory)
        probe = self.folder / f"{self._probe()}-{seed}"
        start = probed(lesson, train=self.plan.train, warm=warm, work=probe)
        scorer = load_scorer(str(fit_once(start, train=train, work=work)))
        scorer.model.requires_grad_(requires_grad=False)
        use_memory(scorer.model, self.memory)
        with precision_of(train, scorer.model.device.type):
            scores = score_pairs(
                scorer.model, scorer.tokenizer, self.validation, max_length=scorer.max_length
            )
        gap_N = scores.chosen_N - scores.rejected_N
        found = {"accuracy": float(pair_credit(gap_N).mean())}
        if train.objective.meta is not None:
            told = read_json(work / DONE)["meta"]
            found["spread"] = told["held_out_spread"]["after"] / float(np.abs(gap_N).mean())
            found["inner_steps"] = told["inner_steps"]
        return found


def main() -> None:
    """Train with each setting under each seed, and print the accuracy on other training pairs."""
    options = _options()
    keep_freed_memory()
    plan = shift_plan("default", num_seeds=options.seeds)
    warm = plan.warm.model_copy(update={"probe_learning_rate": options.probe_rate})
    plan = plan.model_copy(update={"warm": warm})
    if options.pairs:
        sizes = plan.sizes.model_copy(update={"num_train": options.pairs})
        plan = plan.model_copy(update={"sizes": sizes})
    material = read_shift(plan, data=options.data)
    models = shift_models(plan, folder=options.run / MODELS)
    responses = _responses(material, models, options=options) if options.ratios else None
    drawn = {seed: material.train(seed) for seed in plan.seeds}
    validation = _others(material, num=options.validation)
    print(f"{len(drawn[0])} training pairs a seed, {len(validation)} validation pairs", flush=True)
    every = [*validation, *(pair for pairs in drawn.values() for pair in pairs)]
    model = models[TRAINED]
    texts = training_ids(load_tokenizer(model), every, responses=responses)
    memory = remember(texts, plan=plan, model=model, folder=options.run / STATES)
    bench = Bench(plan, models, drawn, validation, memory, options.run / KEPT)
    figures: dict[str, list[Found]] = {}
    for rate, epochs, ratio in product(options.rates, options.epochs, [None, *options.ratios]):
        name = f"rate {rate:g}, {epochs:g} epochs" + (f", ratio {ratio:g}" if ratio else "")
        train = _settings(plan, rate=rate, epochs=epochs, ratio=ratio, responses=responses)
        figures[name] = [bench.reached(train, seed=seed) for seed in plan.seeds]
        print(_line(name, figures[name], first=next(iter(figures.values()))), flush=True)
    for probe in bench.folder.glob("probe-*"):
        shutil.rmtree(probe)
    print(json.dumps(figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the preference files")
    parser.add_argument("--run", type=Path, default=Path("runs/shift"), help="folder of the study")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--epochs", type=float, nargs="+", default=[1.0, 2.0, 3.0])
    parser.add_argument("--ratios", type=float, nargs="+", default=[], help="of MetaRM")
    parser.add_argument("--probe-rate", type=float, default=1e-2, help="of the head alone")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pairs", type=int, help="training pairs of a seed")
    parser.add_argument("--validation", type=int, default=1000, help="pairs")
    return parser.parse_args()


def _settings(
    plan: ShiftPlan, *, rate: float, epochs: float, ratio: float | None, responses: Path | None
) -> TrainConfig:
    """Return plain training, or with a ratio the MetaRM step."""
    meta = None
    if ratio is not None:
        meta = MetaConfig(path=str(responses), eta=ratio, unit="steps")
    objective = plan.train.objective.model_copy(update={"meta": meta})
    changed = {"learning_rate": rate, "epochs": epochs, "objective": objective}
    return plan.train.model_copy(update=changed)


def _line(name: str, found: Sequence[Found], *, first: Sequence[Found]) -> str:
    """Return a row: the mean of each figure, and the difference to the first setting."""
    parts = [f"{name:<36}"]
    for key in found[0]:
        parts.append(f"{key} {np.mean([one[key] for one in found]):.3f}")
    if found is not first:
        gaps = [
            one["accuracy"] - other["accuracy"] for one, other in zip(found, first, strict=True)
        ]
        error = np.std(gaps, ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
        parts.append(f"({100 * np.mean(gaps):+.1f} points, standard error {100 * error:.1f})")
    return "  ".join(parts)


def _responses(material: Material, models: dict, *, options: argparse.Namespace) -> Path:
    """Return the answers of the shifted policy, sampled as the study does."""
    folder = options.run / SAMPLES
    judges = fit_judges(material, model=models[JUDGE], folder=folder, data=options.data)
    _, path = shifted_levels(material, model=models[POLICY], judges=judges, folder=folder)
    return path


def _others(material: Material, *, num: int) -> list[Pair]:
    """Return training pairs of groups that no seed draws from: those of the judges."""
    others = [*material.gold, *material.proxy]
    rows = np.sort(np.random.default_rng(0).permutation(len(others))[:num])
    return [others[row] for row in rows]


if __name__ == "__main__":
    main()
