"""The stage that turns pairs into examples of principles, in the place of the data stage.

It writes what the data stage writes, so every later stage reads it unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from tamis import plugins
from tamis.data import read_pairs, write_dropped, write_pairs
from tamis.data.clean import Cleaned, clean
from tamis.data.prepare import summarise
from tamis.errors import ConfigError, DataError
from tamis.models.config import ModelConfig
from tamis.models.tokenise import load_tokenizer, make_fit_check
from tamis.principles import PrinciplesConfig, examples, judged
from tamis.principles.build import Labels, label_report
from tamis.principles.principle import Principle, choose_principles, load_principles, stance_of
from tamis.recipes.stages import PAIRS, REPORT, TEST_PAIRS, model_input, model_settings
from tamis.runs import (
    Stage,
    StageResult,
    fingerprint,
    run_stage,
    write_json,
    write_parquet,
    write_text,
)
from tamis.runs.stage import KEPT, KEY

LABELS = "labels.parquet"
# what does not change an answer of the endpoint
HOW_ASKED = {
    "api_key_env",
    "timeout_s",
    "retries",
    "wait_s",
    "workers",
    "prompt_price",
    "answer_price",
}


def principles_stage(
    run: Path,
    *,
    pairs: Path,
    config: PrinciplesConfig,
    model: ModelConfig | None = None,
    seed: int = 0,
    notice: Callable[[str], None],
) -> StageResult:
    """Write labelled examples of principles: ``data/pairs.parquet`` and what stands beside it.

    ``data/labels.parquet`` says of each example from which pair it was made, what it shows, which
    principle decides, and by how much. With a model, examples that do not fit into it are left out
    and counted; nothing ever cuts the principles. What an endpoint answered is kept in
    ``data/members``, whatever becomes of the stage.

    Raises:
        ConfigError: no or an unknown judge, unknown principles, ``pairs`` in the folder that is
            written, or what the judge refuses.
        DataError: a file cannot be read, no example is left, or what the judge refuses.
    """
    folder = run / "data"
    if pairs.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"{pairs} stands where its examples would be written; choose another --out"
        )
    principles = check_principles(config)
    stage = _stage(folder, pairs, principles=principles, config=config, model=model, seed=seed)

    def produce(out: Path, work: Path) -> None:
        source = read_pairs(pairs)
        kept = folder / KEPT
        write_text(kept / KEY, "answers")  # says that the folder is ours
        judgement = judged(source, principles, config=config, seed=seed, folder=kept, notice=notice)
        made = examples(source, principles, judgement=judgement, config=config, seed=seed)
        labels = Labels(made, {})
        cleaned = _fitting(labels, model=model, work=work, where=pairs)
        table = labels.table(cleaned.pairs.column("id").to_pylist())
        _write(out, cleaned)
        write_parquet(out / LABELS, table)
        report = {
            "source": str(pairs),
            "fingerprint": stage.inputs["pairs"],
            "convention": "principles",
            "num_rows": len(source),
            **summarise(cleaned),
            "length_check": "not done: no model given" if model is None else "done",
            "principles": label_report(table, principles, judgement=judgement),
        }
        write_json(out / REPORT, report)

    return run_stage(stage, produce)


def _stage(
    folder: Path,
    pairs: Path,
    *,
    principles: Sequence[Principle],
    config: PrinciplesConfig,
    model: ModelConfig | None,
    seed: int,
) -> Stage:
    """Return what identifies the stage: the words of the principles, not their file."""
    settings = {
        "principles": {
            **config.model_dump(exclude={"file", "scores", "endpoint", "bench"}),
            "endpoint": config.endpoint.model_dump(exclude=HOW_ASKED),
        },
        "known": [[p.name, p.wanted, p.negated] for p in principles],
        "model": model_settings(model),
        "seed": seed,
    }
    inputs = {"pairs": fingerprint(pairs), **model_input(model)}
    if config.judge == "scores" and config.scores is not None:
        inputs["scores"] = fingerprint(Path(config.scores))
    notes = {"pairs": str(pairs), "file": config.file, "scores": config.scores}
    return Stage(folder, settings, inputs, notes=notes)


def _fitting(labels: Labels, *, model: ModelConfig | None, work: Path, where: Path) -> Cleaned:
    check_fit = None
    if model is not None:
        tokenizer = load_tokenizer(model)
        check_fit = make_fit_check(tokenizer, int(tokenizer.model_max_length))
    cleaned = clean(labels, on_contradiction="keep", check_fit=check_fit, work=work)
    if not cleaned.pairs:
        counts = Counter(drop.kind for drop in cleaned.dropped)
        listed = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
        raise DataError(f"{where}: no example is left; dropped: {listed}")
    return cleaned


def _write(out: Path, cleaned: Cleaned) -> None:
    pairs = cleaned.pairs
    is_test = np.asarray(pc.equal(pairs.column("split"), "test").to_numpy())
    write_dropped(out / "dropped.parquet", cleaned.dropped)
    if is_test.any():
        write_pairs(out / TEST_PAIRS, pairs.select(np.flatnonzero(is_test)))
    write_pairs(out / PAIRS, pairs)


def check_principles(config: PrinciplesConfig) -> list[Principle]:
    """Return the principles of a configuration, and refuse what its stage would refuse.

    Raises:
        ConfigError: no or an unknown judge, unknown principles, or no file of scores.
        DataError: the file of principles cannot be read.
    """
    if config.judge is None:
        raise ConfigError("no judge: give --judge, or principles.judge in the recipe")
    plugins.load("judge", config.judge)
    if config.scores is not None and not Path(config.scores).is_file():
        raise ConfigError(f"principles.scores is {config.scores}: no such file")
    known = load_principles(None if config.file is None else Path(config.file))
    return choose_principles(known, config.names)


def asked_texts(asked: Sequence[str], *, file: str | None = None) -> tuple[str, ...]:
    """Return the words of the principles that a caller asks for: see `stance_of`.

    Raises:
        ConfigError: an unknown name, or an opposite that has to be put into words.
        DataError: the file of principles cannot be read.
    """
    known = load_principles(None if file is None else Path(file))
    return tuple(stance_of(text, known).text for text in asked)


def bench_principles(config: PrinciplesConfig) -> tuple[str, ...]:
    """Return the words of the principles that benchmarks are judged under; see `asked_texts`."""
    return asked_texts(config.bench, file=config.file) if config.bench else ()
