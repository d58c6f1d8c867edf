"""The studies as commands run them: estimate first, then a stage, then its page and tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from tamis.models.source import locate
from tamis.report.blocks import Section
from tamis.runs import (
    Stage,
    StageResult,
    fingerprint,
    read_json,
    run_stage,
    write_json,
    write_parquet,
    write_text,
)
from tamis.studies.deciles import decile_estimate, parts_table, run_decile_study
from tamis.studies.deciles_page import decile_sections
from tamis.studies.noise import Site, noise_estimate, read_all, results_table, run_noise_bench
from tamis.studies.noise_page import noise_sections
from tamis.studies.plan import StudyPlan, models_of
from tamis.studies.present import as_markdown, fill_page, write_page

Kind = Literal["noise", "deciles"]
REPORT, RESULTS, TABLES, PAGE, IMAGES = (
    "report.json",
    "results.parquet",
    "tables.md",
    "report.html",
    "images",
)
MODELS = "models"


@dataclass(frozen=True, slots=True)
class _Study:
    """The parts of one study, as functions."""

    estimate: Callable[..., str]
    run: Callable[..., dict[str, Any]]
    table: Callable[[dict[str, Any]], pa.Table]
    sections: Callable[[dict[str, Any]], list[Section]]


STUDIES: dict[Kind, _Study] = {
    "noise": _Study(noise_estimate, run_noise_bench, results_table, noise_sections),
    "deciles": _Study(decile_estimate, run_decile_study, parts_table, decile_sections),
}


def run_study_stage(
    kind: Kind, run: Path, *, plan: StudyPlan, data: Path | None, notice: Callable[[str], None]
) -> StageResult:
    """Run a study into ``run/KIND``: results.parquet, report.json, report.html, tables.md, images.

    ``notice`` is told how long it may take before anything is computed. What is computed on the way
    is kept in ``run``, so that a study that was killed goes on where it stopped.

    Raises:
        ConfigError: a data set, a model or cleanlab is missing.
    """
    study = STUDIES[kind]
    pairs = read_all(plan, data=data)
    models = models_of(plan, folder=run / MODELS)
    inputs = {f"model {label}": fingerprint(Path(locate(m.path))) for label, m in models.items()}
    for name, some in pairs.items():
        inputs[f"pairs {name}"] = "\n".join(pair.id for pair in some)
    inputs = {label: _short(text) for label, text in inputs.items()}
    stage = Stage(run / kind, plan.model_dump(mode="json"), inputs)
    notice(study.estimate(pairs, plan))

    def produce(out: Path, _: Path) -> None:
        site = Site(run, data, models, notice)
        report = study.run(plan, pairs, site=site)
        sections = study.sections(report)
        written = as_markdown(sections, place=f"study-{kind}", images=IMAGES)
        write_parquet(out / RESULTS, study.table(report))
        write_json(out / REPORT, report)
        write_page(out / PAGE, sections)
        write_text(out / TABLES, written.text)
        for name, picture in written.pictures.items():
            write_text(out / IMAGES / name, picture)

    return run_stage(stage, produce)


def sections_of(kind: Kind, run: Path) -> list[Section]:
    """Return the sections of a study that was run.

    Raises:
        DataError: it has no report.
    """
    return STUDIES[kind].sections(read_json(run / kind / REPORT))


def fill_document(kind: Kind, sections: Sequence[Section], *, page: Path) -> None:
    """Put a study's tables and pictures into their place in a Markdown page.

    Raises:
        ConfigError, DataError: the page is not there or has no such place.
    """
    place = f"study-{kind}"
    fill_page(page, place=place, written=as_markdown(sections, place=place, images=IMAGES))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
