"""The stages, each from files to files: what a command of the command line runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tamis.data import (
    DataConfig,
    PairTable,
    export_pairs,
    pair_ids,
    prepare,
    read_pairs,
    select_pairs,
    write_dropped,
    write_pairs,
)
from tamis.data.hub import hub_commit
from tamis.data.read import is_hub_id
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Strength, outside, to_verdicts
from tamis.denoise.report import denoise_report
from tamis.denoise.tables import read_verdicts, write_verdicts
from tamis.errors import ConfigError, DataError
from tamis.evaluate import FORM, BenchmarkConfig, bench
from tamis.evaluate.loading import benchmark_source
from tamis.evaluate.scorers.calibrated import calibration_notes
from tamis.evaluate.scorers.opening import silent
from tamis.metrics.ensemble import Ensemble
from tamis.models.config import ModelConfig
from tamis.models.source import locate
from tamis.models.tokenise import load_tokenizer, make_fit_check
from tamis.principles.recorded import record_layout
from tamis.recipes.card import complete_card
from tamis.recipes.evidence import estimate, people_votes, trusted_file
from tamis.recipes.policies import policy_of
from tamis.recipes.scoring import Scoring, open_scorers, together
from tamis.runs import (
    Stage,
    StageResult,
    fingerprint,
    is_main,
    run_stage,
    write_json,
    write_parquet,
)
from tamis.runs.stage import KEPT
from tamis.train.arguments import EVENTS
from tamis.train.assemble import assemble
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.types import Pair, Verdict
from tamis.vote.table import read_strength

PAIRS, TEST_PAIRS, REPORT = "pairs.parquet", "test_pairs.parquet", "report.json"
STRENGTH, VERDICTS, WRONG = "strength.parquet", "verdicts.parquet", "wrong.parquet"
CHECKPOINT, HUB = "checkpoint", "hub:"


def data_stage(run: Path, *, config: DataConfig, model: ModelConfig | None = None) -> StageResult:
    """Read, check and clean preference data: ``data/pairs.parquet``, ``dropped.parquet``, report.

    With a model, pairs that do not fit into it are left out as well.
    """
    inputs = {"source": source_fingerprint(config.path), **model_input(model)}
    settings = {"data": config.model_dump(exclude={"path"}), "model": model_settings(model)}
    stage = Stage(run / "data", settings, inputs, notes={"path": config.path})

    def produce(out: Path, work: Path) -> None:
        check_fit = None
        if model is not None:
            tokenizer = load_tokenizer(model)
            check_fit = make_fit_check(tokenizer, int(tokenizer.model_max_length))
        prepared = prepare(config, check_fit=check_fit, work=work)
        test = prepared.pairs.select(np.flatnonzero(_is_test(prepared.pairs)))
        write_dropped(out / "dropped.parquet", prepared.dropped)
        if test:
            write_pairs(out / TEST_PAIRS, test)
        write_pairs(out / PAIRS, prepared.pairs)
        write_json(out / REPORT, prepared.report)

    return run_stage(stage, produce)


def denoise_stage(
    run: Path,
    *,
    strength: Path,
    pairs: Path,
    config: DenoiseConfig,
    strict: bool = False,
    seed: int = 0,
) -> StageResult:
    """Turn strength into verdicts, and write the cleaned data set for other trainers.

    ``denoise/wrong.parquet`` holds P(label wrong) of every pair and the evidence for it. ``strict``
    refuses a data set that TRL and OpenRLHF could not express exactly.
    """
    decide = policy_of(config)
    inputs = {"strength": fingerprint(strength), "pairs": fingerprint(pairs)}
    known = config.model_dump()
    labels = trusted_file(config.trusted)
    if labels is not None:
        known["trusted"], inputs["trusted"] = "file", fingerprint(labels)
    settings = {"denoise": known, "strict": strict, "seed": seed}
    stage = Stage(run / "denoise", settings, inputs, notes={"trusted": config.trusted})

    def produce(out: Path, _: Path) -> None:
        table = read_strength(strength)
        known_pairs = training_pairs(pairs)
        chosen = match(known_pairs, table["id"].to_pylist(), where=strength)
        mean_N, std_N = (np.asarray(table[name].to_numpy()) for name in ("mean", "std"))
        found = estimate(chosen, mean_N=mean_N, trusted=config.trusted, seed=seed)
        wrong_N = None if found is None else found.wrong.wrong_N
        values = Strength(mean_N, std_N, wrong_N, people_votes(chosen))
        decision = outside(decide(values, config=config), values, config=config)
        ids = pair_ids(chosen).to_pylist()
        verdicts = to_verdicts(ids, decision)
        exported = export_pairs(out / "export.jsonl", chosen, verdicts, strict=strict)
        write_verdicts(out / VERDICTS, verdicts)
        report = denoise_report(chosen, verdicts, config=config)
        report["num_without_votes"] = len(known_pairs) - len(chosen)
        if found is not None:
            in_sample = table["votes"].equals(table["in_sample_votes"])
            write_parquet(out / WRONG, found.table(ids))
            report["wrong"] = found.report(in_sample=in_sample)
        write_json(out / REPORT, {**report, "export": asdict(exported)})

    return run_stage(stage, produce)


def train_stage(
    run: Path,
    *,
    pairs: Path,
    verdicts: Path | None,
    model: ModelConfig,
    config: TrainConfig,
    seed: int,
) -> StageResult:
    """Train a reward model on pairs and verdicts: ``train/checkpoint``.

    Without verdicts every label counts as it is; with them, pairs that have none are left out and
    counted.
    """
    inputs = {"pairs": fingerprint(pairs), **model_input(model), **objective_inputs(config)}
    if verdicts is not None:
        inputs["verdicts"] = fingerprint(verdicts)
    settings = {"train": config.identity(), "model": model_settings(model), "seed": seed}
    stage = Stage(run / "train", settings, inputs, notes={"model": model.path})

    def produce(out: Path, work: Path) -> None:
        judged = judged_pairs(pairs, verdicts)
        report = fit(
            judged.pairs,
            judged.verdicts,
            model=model,
            train=config,
            seed=seed,
            work=work / "train",
            out=out / CHECKPOINT,
        )
        if judged.num_without:
            report["num_left_out"]["no_verdict"] = judged.num_without
        if is_main():
            held_out = held_out_pairs(pairs)
            record_layout(out / CHECKPOINT, judged.pairs)
            complete_card(
                out / CHECKPOINT,
                held_out=held_out,
                training=report["score_scale"]["training"],
                inputs=inputs,
                settings=settings,
                seed=seed,
            )
        if (work / "train" / EVENTS).is_dir():
            shutil.copytree(work / "train" / EVENTS, out / "tensorboard")
        write_json(out / "timing.json", report.pop("timing", {}))
        write_json(out / REPORT, report)

    return run_stage(stage, produce, by="all")


def bench_stage(
    run: Path,
    *,
    scoring: Scoring,
    benchmarks: Sequence[BenchmarkConfig],
    seed: int,
    notice: Callable[[str], None] = silent,
) -> StageResult:
    """Score benchmarks: ``bench/items.parquet`` and a report with intervals.

    Scores are kept in ``bench/members``, by content, whatever becomes of the stage: after a crash,
    and for other benchmarks with the same items, nothing is scored again.

    Args:
        run: directory of the run.
        scoring: what scores the answers; several scorers together make one ensemble.
        benchmarks: at least one.
        seed: of the bootstrap.
        notice: takes lines for the user.

    Raises:
        ConfigError: there is no benchmark or no scorer, or one cannot be used.
        DataError: a file or folder is missing, or a score is NaN or infinite.
    """
    if not benchmarks:
        raise ConfigError("no benchmark to run: name one with --on, or hold out test pairs")
    scorers = open_scorers(scoring, notice=notice)
    inputs = benchmark_inputs(benchmarks)
    settings: dict[str, Any] = {
        "form": FORM,
        "bench": [b.model_dump(exclude={"path"}) for b in benchmarks],
        "scorers": [dict(scorer.identity) for scorer in scorers],
        "seed": seed,
    }
    together_as: dict[str, Any] = {}
    if len(scorers) > 1:
        settings["ensemble"] = asdict(scoring.ensemble or Ensemble())
        together_as["ensemble"] = {"num_models": len(scorers), **settings["ensemble"]}
    calibrators = calibration_notes(scoring.scorers, data=inputs)
    if calibrators:
        settings["calibrators"] = together_as["calibrators"] = calibrators
    stage = Stage(run / "bench", settings, inputs)

    def produce(out: Path, _: Path) -> None:
        score = together(scorers, folder=stage.directory / KEPT, ensemble=scoring.ensemble)
        for note in calibrators:
            notice(f"{note['scorer']}: {note['sentence']}")
        of_pairs = any(scorer.of_pairs for scorer in scorers)
        result = bench(benchmarks, score=score, seed=seed, of_pairs=of_pairs)
        for scorer in scorers:
            scorer.release()
        write_parquet(out / "items.parquet", result.items)
        told = {"scorers": settings["scorers"], **together_as}
        if scoring.principles:
            told["principles"] = list(scoring.principles)
        write_json(out / REPORT, result.report | told)

    return run_stage(stage, produce)


class Judged(NamedTuple):
    """Pairs to train on with a verdict each, and how many have none and are left out."""

    pairs: Sequence[Pair]
    verdicts: Sequence[Verdict]
    num_without: int


def judged_pairs(pairs: Path, verdicts: Path | None) -> Judged:
    """Read what a model is trained on; without verdicts every label counts as it is.

    Raises:
        DataError: a file is damaged, no pair is left, or a verdict belongs to other data.
    """
    known = training_pairs(pairs)
    if verdicts is None:
        return Judged(known, [Verdict(id_) for id_ in pair_ids(known).to_pylist()], 0)
    decided = read_verdicts(verdicts)
    chosen = match(known, [verdict.id for verdict in decided], where=verdicts)
    return Judged(chosen, decided, len(known) - len(chosen))


def held_out_pairs(path: Path) -> PairTable:
    """Open the pairs that are held out, perhaps none."""
    pairs = read_pairs(path)
    return pairs.select(np.flatnonzero(_is_test(pairs)))


def training_pairs(path: Path) -> PairTable:
    """Open the pairs that are not held out.

    Raises:
        DataError: all pairs are in the split "test".
    """
    pairs = read_pairs(path)
    kept = pairs.select(np.flatnonzero(~_is_test(pairs)))
    if not kept:
        raise DataError(f'{path}: no pair to train on: every pair is in the split "test"')
    return kept


def _is_test(pairs: PairTable) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(pairs.column("split"), "test").to_numpy())


def match(pairs: Sequence[Pair], ids: Sequence[str], *, where: Path) -> Sequence[Pair]:
    """Return the pairs with these ids, in this order.

    Raises:
        DataError: an id has no pair, so the file belongs to other data.
    """
    found = pc.index_in(pa.array(ids, pa.string()), value_set=pair_ids(pairs))
    if found.null_count:
        missing = ids[int(np.argmax(found.is_null().to_numpy(zero_copy_only=False)))]
        raise DataError(
            f"{where}: id {missing!r} is not among the {len(pairs)} training pairs; "
            "expected a file made from these pairs"
        )
    return select_pairs(pairs, found.to_numpy())


def source_fingerprint(path: str) -> str:
    """Return the hash of a local source, or its name where it is no local file (a hub id)."""
    local = Path(path).expanduser()
    return fingerprint(local) if local.exists() else f"{HUB}{path}"


def benchmark_inputs(benchmarks: Sequence[BenchmarkConfig]) -> dict[str, str]:
    """Return the fingerprints of the files of benchmarks, or their commits on the hub.

    Raises:
        ConfigError: a benchmark is unknown, or has no data of its own and no path is given.
        DataError: a file is not there.
    """
    inputs = {}
    for number, benchmark in enumerate(benchmarks):
        source = benchmark_source(benchmark)
        known = source_fingerprint(source)
        if known.startswith(HUB) and is_hub_id(source):
            known = f"{known}@{hub_commit(source)}"
        inputs[f"{number} {benchmark.name}"] = known
    return inputs


def model_input(model: ModelConfig | None) -> dict[str, str]:
    """Return the fingerprint of the model's files, as an input of a stage."""
    if model is None:
        return {}
    inputs = {"model": source_fingerprint(locate(model.path))}
    if model.chat_template is not None:
        inputs["chat_template"] = fingerprint(Path(model.chat_template))
    return inputs


def objective_inputs(train: TrainConfig) -> dict[str, str]:
    """Return the fingerprints of what the objective reads beside pairs, as inputs of a stage.

    Raises:
        ConfigError: see `assemble`; or a model that a term reads is not there.
    """
    reads = assemble(train).reads
    inputs = {name: source_fingerprint(locate(path)) for name, path in reads.items()}
    meta = train.objective.meta
    return inputs if meta is None else {**inputs, "meta": source_fingerprint(meta.path)}


def model_settings(model: ModelConfig | None) -> dict[str, Any] | None:
    """Return the model's settings without its path, which the fingerprint stands for."""
    return None if model is None else model.model_dump(exclude={"path"})
