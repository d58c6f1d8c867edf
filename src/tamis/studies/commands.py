"""The studies as commands run them: estimate first, then a stage, then its page and tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.source import locate
from tamis.recipes.files import parse
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
from tamis.studies.overoptimise.arms import ALL_ARMS as OVER_ARMS
from tamis.studies.overoptimise.cost import over_estimate
from tamis.studies.overoptimise.figures import results_table as over_table
from tamis.studies.overoptimise.material import Material as OverMaterial
from tamis.studies.overoptimise.material import read_over
from tamis.studies.overoptimise.page import over_sections
from tamis.studies.overoptimise.plan import RL_ARMS, RLPlan, over_models, over_plan
from tamis.studies.overoptimise.run import run_over_study
from tamis.studies.plan import Tier, models_of, plan_of
from tamis.studies.present import as_markdown, fill_page, has_place, write_page
from tamis.studies.shift.arms import ALL_ARMS as SHIFT_ARMS
from tamis.studies.shift.cost import shift_estimate
from tamis.studies.shift.figures import results_table as shift_table
from tamis.studies.shift.material import Material
from tamis.studies.shift.page import shift_sections
from tamis.studies.shift.plan import shift_models, shift_plan
from tamis.studies.shift.ready import read_shift
from tamis.studies.shift.run import run_shift_study
from tamis.types import Config, Pair

Kind = Literal["noise", "deciles", "shift", "overoptimise"]
REPORT, RESULTS, TABLES, PAGE, IMAGES = (
    "report.json",
    "results.parquet",
    "tables.md",
    "report.html",
    "images",
)
MODELS = "models"
FORM = 4  # raised where the same cells give other figures than before
ARMS_OF: Mapping[Kind, Sequence[str]] = {"shift": SHIFT_ARMS, "overoptimise": OVER_ARMS}


@dataclass(frozen=True, slots=True)
class _Study:
    """The parts of one study, as functions.

    Attributes:
        plan: what a tier runs.
        read: the data that a plan needs, checked before anything is computed.
        models: by label, what a plan loads.
        pairs: all pairs that were read, by name of the data set.
        estimate: how long it takes.
        run: all of it; the report.
        table: every measured value of a report.
        sections: the page of a report.
    """

    plan: Callable[..., Config]
    read: Callable[..., Any]
    models: Callable[..., Mapping[str, ModelConfig]]
    pairs: Callable[[Any], Mapping[str, Sequence[Pair]]]
    estimate: Callable[..., str]
    run: Callable[..., dict[str, Any]]
    table: Callable[[dict[str, Any]], pa.Table]
    sections: Callable[[dict[str, Any]], list[Section]]


def _as_they_are(pairs: Mapping[str, Sequence[Pair]]) -> Mapping[str, Sequence[Pair]]:
    return pairs


def _of_material(material: Material) -> Mapping[str, Sequence[Pair]]:
    return {"training": material.pool} | {one.name: one.pairs for one in material.sets}


_OF_NOISE = (plan_of, read_all, models_of, _as_they_are)
STUDIES: dict[Kind, _Study] = {
    "noise": _Study(*_OF_NOISE, noise_estimate, run_noise_bench, results_table, noise_sections),
    "deciles": _Study(*_OF_NOISE, decile_estimate, run_decile_study, parts_table, decile_sections),
    "shift": _Study(
        shift_plan,
        read_shift,
        shift_models,
        _of_material,
        shift_estimate,
        run_shift_study,
        shift_table,
        shift_sections,
    ),
    "overoptimise": _Study(
        over_plan,
        read_over,
        over_models,
        OverMaterial.pairs,
        over_estimate,
        run_over_study,
        over_table,
        over_sections,
    ),
}


def plan_for(
    kind: Kind,
    tier: Tier,
    *,
    num_seeds: int,
    first_seed: int = 0,
    arms: Sequence[str] = (),
    rl: bool = False,
) -> Config:
    """Return what a tier of a study runs; with ``arms``, these alone, in the study's order.

    ``first_seed`` is for seeds that nobody has seen: what one run made believe, another confirms.
    ``rl`` adds the run of reinforcement learning that the full tier has, for the arms that are run.

    Raises:
        ConfigError: the study has no arms to choose from, not these, or cannot do without another,
            or has no such run.
    """
    plan = STUDIES[kind].plan(tier, num_seeds=num_seeds)
    changes: dict[str, Any] = {}
    if first_seed:
        changes["seeds"] = [first_seed + seed for seed in plan.model_dump()["seeds"]]
    if arms:
        if kind not in ARMS_OF:
            raise ConfigError(
                f"study {kind} runs all its arms; --arm is for {' and '.join(ARMS_OF)}"
            )
        known = ARMS_OF[kind]
        changes["arms"] = [name for name in known if name in arms] + sorted(set(arms) - set(known))
    if rl and kind != "overoptimise":
        raise ConfigError(f"study {kind} trains no policy; --rl is for overoptimise")
    if rl or (arms and plan.model_dump().get("rl") is not None):
        some = changes.get("arms", plan.model_dump()["arms"])
        changes["rl"] = RLPlan(arms=tuple(n for n in RL_ARMS if n in some)).model_dump()
    return parse(type(plan), {**plan.model_dump(), **changes}, where="--arm") if changes else plan


def run_study_stage(
    kind: Kind, run: Path, *, plan: Config, data: Path | None, notice: Callable[[str], None]
) -> StageResult:
    """Run a study into ``run/KIND``: results.parquet, report.json, report.html, tables.md, images.

    ``notice`` is told how long it may take before anything is computed. What is computed on the way
    is kept in ``run``, so that a study that was killed goes on where it stopped.

    Raises:
        ConfigError: a data set, a model or cleanlab is missing.
    """
    study = STUDIES[kind]
    material = study.read(plan, data=data)
    models = study.models(plan, folder=run / MODELS)
    inputs = {f"model {label}": fingerprint(Path(locate(m.path))) for label, m in models.items()}
    for name, some in study.pairs(material).items():
        inputs[f"pairs {name}"] = "\n".join(pair.id for pair in some)
    inputs = {label: _short(text) for label, text in inputs.items()}
    read = {label: model.model_dump(exclude={"path"}) for label, model in models.items()}
    told = {"how models are read": read, "form": FORM}
    stage = Stage(run / kind, {**plan.model_dump(mode="json"), **told}, inputs)
    notice(study.estimate(material, plan))

    def produce(out: Path, _: Path) -> None:
        site = Site(run, data, models, notice)
        report = study.run(plan, material, site=site)
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


def fill_document(
    kind: Kind, sections: Sequence[Section], *, page: Path, tier: Tier, first_seed: int = 0
) -> None:
    """Put a study's tables and pictures into their place in a Markdown page.

    That is ``study-KIND``, or of the full tier ``full-study-KIND`` where the page has it. Seeds
    that begin later confirm what the first ones found, and have ``fresh-study-KIND``.

    Raises:
        ConfigError, DataError: the page is not there or has no such place.
    """
    place = f"study-{kind}"
    if first_seed:
        place = f"fresh-{place}"
    elif tier == "full" and has_place(page, f"full-{place}"):
        place = f"full-{place}"
    fill_page(page, place=place, written=as_markdown(sections, place=place, images=IMAGES))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
