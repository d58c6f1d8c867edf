"""The stage that merges reward models, and measures what it merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from tamis.errors import ConfigError, DataError
from tamis.evaluate.config import BenchmarkConfig
from tamis.evaluate.loading import load_benchmark
from tamis.merge.average import write_merged
from tamis.merge.candidates import Candidates
from tamis.merge.config import MergeConfig
from tamis.merge.greedy import Step, greedy
from tamis.merge.members import open_members
from tamis.merge.report import (
    LAMBDAS,
    Scored,
    accuracy_report,
    clusters_of,
    credits_of,
    curve_pairs,
    curve_report,
    diversity_report,
    memorisation_report,
    warnings_of,
)
from tamis.models.checkpoint import record_centring
from tamis.recipes.stages import CHECKPOINT, REPORT, source_fingerprint, training_pairs
from tamis.runs import Stage, StageResult, fingerprint, progress, run_stage, write_json
from tamis.types import Pair

MERGE = "merge"
MAX_TRAINING_PAIRS = 1000  # with right and with wrong labels, each
VALIDATION, TRAINING = "validation", "training"


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """What is merged, and on what it is measured.

    Attributes:
        checkpoints: directories of checkpoints or adapters, at least two.
        pairs: preference data to choose and compare on, in any convention.
        trained_on: pairs of a data stage that the members were trained on, some with ``gold``.
        base: the model under adapters, instead of the one that they name.
        start: ``unchecked`` merges members that do not say what they were trained from.
    """

    checkpoints: Sequence[Path]
    pairs: Path | None = None
    trained_on: Path | None = None
    base: str | None = None
    start: Literal["checked", "unchecked"] = "checked"


def merge_stage(run: Path, *, merged: MergeInputs, config: MergeConfig, seed: int) -> StageResult:
    """Average reward models that were trained from the same weights: ``merge/checkpoint``.

    The report has the accuracy of members, of the mean of their scores and of the average, accuracy
    on the way between members, how they differ, and what they learnt by heart. The mean and the
    standard deviation of the average's scores on the pairs are recorded in it, if there are some.
    What was scored before a kill is not scored again.

    Raises:
        ConfigError: see `tamis.merge.members.open_members`; the method is greedy and there are no
            pairs; or the weights are not one for each checkpoint.
        DataError: a file is missing, or no training pair has ``gold``.
    """
    check_merge(config, num_members=len(merged.checkpoints), pairs=merged.pairs)
    members = open_members(merged.checkpoints, start=merged.start)
    inputs = {f"member {n}": fingerprint(member.path) for n, member in enumerate(members)}
    for name, path in ((VALIDATION, merged.pairs), (TRAINING, merged.trained_on)):
        if path is not None:
            inputs[name] = source_fingerprint(str(path))
    if merged.base is not None:
        inputs["base"] = source_fingerprint(merged.base)
    settings = {"merge": config.model_dump(), "seed": seed}
    notes = {"checkpoints": [str(member.path) for member in members]}
    stage = Stage(run / MERGE, settings, inputs, notes=notes)

    def produce(out: Path, work: Path) -> None:
        candidates = Candidates(members, work=work, base=merged.base)
        pairs = _validation_pairs(merged.pairs, limit=config.limit)
        steps = _choose(candidates, pairs, config=config)
        weights = _weights(len(members), config=config, steps=steps)
        report = {
            "method": config.method,
            "weights": list(weights),
            "names": [_name(member.path) for member in members],
            "steps": [asdict(step) for step in steps],
            "start": "checked" if all(member.start for member in members) else "unchecked",
            **_measured(candidates, weights, pairs, config=config, seed=seed),
        }
        if merged.trained_on is not None:
            known = _labelled(merged.trained_on, seed=seed)
            scored = _scored(candidates, weights, known, name=TRAINING)
            report["memorisation"] = memorisation_report(scored, known, seed=seed)
        write_merged(
            members,
            weights_K=weights,
            out=out / CHECKPOINT,
            base=merged.base,
            card=_card_rows(report),
        )
        if pairs:
            scores_N2 = candidates.scores(weights, pairs, name=VALIDATION)
            record_centring(
                out / CHECKPOINT, mean=float(scores_N2.mean()), std=float(scores_N2.std())
            )
        write_json(out / REPORT, report)

    return run_stage(stage, produce)


def check_merge(config: MergeConfig, *, num_members: int, pairs: Path | str | None) -> None:
    """Refuse what cannot be merged as asked for, before any model is read.

    Raises:
        ConfigError: greedy without pairs to choose on, or weights that are not one for each.
    """
    if config.method == "greedy" and pairs is None:
        raise ConfigError("method greedy chooses members by their accuracy: give --pairs")
    if config.weights is not None and len(config.weights) != num_members:
        raise ConfigError(
            f"{len(config.weights)} weights for {num_members} checkpoints: expected one each"
        )


def has_gold(pairs: Path) -> bool:
    """Tell whether training pairs exist whose label is known to be wrong."""
    return bool(pc.any(pc.less(training_pairs(pairs).column("gold"), 0.5)).as_py())


def _validation_pairs(path: Path | None, *, limit: int | None) -> list[Pair]:
    if path is None:
        return []
    return list(load_benchmark(BenchmarkConfig(name="pairs", path=str(path), limit=limit)).pairs)


def _choose(candidates: Candidates, pairs: list[Pair], *, config: MergeConfig) -> list[Step]:
    """Return what the greedy method tried, or nothing for the other."""
    if config.method != "greedy":
        return []

    def accuracy(numbers: tuple[int, ...]) -> float:
        weights = tuple(float(number in numbers) for number in range(len(candidates)))
        return float(credits_of(candidates.scores(weights, pairs, name=VALIDATION)).mean())

    alone = [accuracy((number,)) for number in range(len(candidates))]
    return greedy(alone, accuracy=accuracy)


def _weights(num_members: int, *, config: MergeConfig, steps: list[Step]) -> tuple[float, ...]:
    if steps:
        kept = {step.member for step in steps if step.kept}
        return tuple(float(number in kept) for number in range(num_members))
    return config.weights or (1.0,) * num_members


def _scored(
    candidates: Candidates, weights: tuple[float, ...], pairs: Sequence[Pair], *, name: str
) -> Scored:
    wanted = [*(candidates.one(number) for number in range(len(candidates))), weights]
    found = []
    with progress("merging", total=len(wanted)) as advance:
        for of in wanted:
            found.append(candidates.scores(of, pairs, name=name))
            advance(1)
    return Scored(np.stack(found[:-1]), found[-1])


def _measured(
    candidates: Candidates,
    weights: tuple[float, ...],
    pairs: list[Pair],
    *,
    config: MergeConfig,
    seed: int,
) -> dict[str, Any]:
    if not pairs:
        return {"accuracy": None, "curves": [], "diversity": None, "warnings": []}
    scored = _scored(candidates, weights, pairs, name=VALIDATION)
    clusters = clusters_of(pairs)
    curves = []
    for one, two in curve_pairs(len(candidates), curves=config.curves):
        line = [
            tuple(
                (1 - step) * first + step * second
                for first, second in zip(candidates.one(one), candidates.one(two), strict=True)
            )
            for step in LAMBDAS
        ]
        scores = [candidates.scores(of, pairs, name=VALIDATION) for of in line]
        curves.append(curve_report(scores, between=(one, two), clusters=clusters, seed=seed))
    return {
        "accuracy": accuracy_report(scored, pairs, seed=seed),
        "curves": curves,
        "diversity": diversity_report(scored.members_KN2),
        "warnings": warnings_of(curves),
    }


def _labelled(path: Path, *, seed: int) -> list[Pair]:
    """Return training pairs whose label is known to be right or wrong, some of each at most.

    Raises:
        DataError: there is none.
    """
    pairs = [pair for pair in training_pairs(path) if pair.gold is not None and pair.gold != 0.5]
    if not pairs:
        raise DataError(f"{path}: no training pair has a gold label other than 0.5")
    kept = []
    for is_right in (True, False):
        part = [pair for pair in pairs if ((pair.gold or 0.0) > 0.5) == is_right]
        order = np.random.default_rng(seed).permutation(len(part))[:MAX_TRAINING_PAIRS]
        kept += [part[int(number)] for number in np.sort(order)]
    return kept


def _name(path: Path) -> str:
    """Return what tells a member from its siblings, whose last folders are often alike."""
    telling = [part for part in path.parts if part not in ("train", CHECKPOINT, "adapter")]
    return telling[-1] if telling else str(path)


def _card_rows(report: dict[str, Any]) -> dict[str, Any]:
    used = sum(weight > 0 for weight in report["weights"])
    rows = {"merged from": f"{used} of {len(report['weights'])} models, {report['method']}"}
    if report["accuracy"] is not None:
        found, best = report["accuracy"]["merge"], report["accuracy"]["best_member"]
        alone = report["accuracy"]["members"][best]
        rows["accuracy on validation pairs"] = (
            f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%}); best member "
            f"{alone['value']:.1%}"
        )
    return rows
