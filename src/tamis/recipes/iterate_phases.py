"""The phases of a round of iterated RLHF, each made of the stages of other commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tamis.models.config import ModelConfig
from tamis.policy.align.config import AlignConfig
from tamis.policy.iterate.config import ROUND, AdaptConfig, IterateConfig
from tamis.policy.iterate.rounds import Rewards, Round
from tamis.policy.rl.config import RewardConfig
from tamis.recipes.aligning import align_stage
from tamis.recipes.iterate_pairs import choose_stage, mix_stage
from tamis.recipes.language import naming_language_model
from tamis.recipes.reinforcing import rl_stage
from tamis.recipes.sampling import sample_stage
from tamis.recipes.stages import CHECKPOINT, PAIRS, VERDICTS, train_stage
from tamis.runs import StageResult, Watcher
from tamis.train.config import TrainConfig
from tamis.train.step_config import MetaConfig

SAMPLE, RESPONSES, POLICY = "sample", "responses.jsonl", "policy"
FIXED = "reward"  # where reward models lie that are those of all rounds
MAX_SEED = 2**31


@dataclass(frozen=True, slots=True)
class Site:
    """A run of iterated RLHF: its settings, where it lies, and the pairs that it trains on."""

    config: IterateConfig
    run: Path
    pairs: Path
    verdicts: Path | None
    watcher: Watcher

    def watched(self, name: str, stage: Callable[[], StageResult]) -> StageResult:
        """Run a stage, and tell the watcher."""
        self.watcher.begin(name)
        result = stage()
        self.watcher.end(name, result)
        return result


def seed_of_round(seed: int, number: int) -> int:
    """Return the seed of what a round draws.

    >>> seed_of_round(0, 1) != seed_of_round(1, 0)
    True
    """
    return int(np.random.default_rng([seed, number]).integers(MAX_SEED))


def trained(model: ModelConfig, path: Path) -> ModelConfig:
    """Return a checkpoint that was trained from a model, which has its layers and template."""
    own = {"num_layers": None, "chat_template": None, "revision": None}
    return model.model_copy(update={"path": str(path), **own})


def sample(now: Round, *, site: Site) -> Path:
    """Sample from the round's policy: the file of responses to the prompts that it trains on."""
    config = site.config
    result = site.watched(
        f"{now.name} sample",
        lambda: sample_stage(
            now.folder,
            prompts=Path(config.data.prompts),
            policy=now.policy,
            config=config.sample,
            scoring=None,
            seed=seed_of_round(config.seed, now.number),
            notice=site.watcher.say,
        ),
    )
    return result.directory / RESPONSES


def update(now: Round, responses: Path, *, site: Site) -> Rewards:
    """Train the round's reward models, with the MetaRM step on the responses.

    Every round trains with the same seed, so that reward models of two rounds differ by what they
    were given alone.
    """
    adapt = site.config.reward_model
    pairs, verdicts = _training_files(now, responses, site=site)
    folder = site.run / FIXED if adapt.is_fixed else now.folder
    made = []
    for member in range(adapt.members):
        alone = adapt.members == 1
        base = _base(adapt, now, member=member)
        train = partial(
            train_stage,
            folder if alone else folder / f"member-{member:02d}",
            pairs=pairs,
            verdicts=verdicts,
            model=base,
            config=_with_meta(adapt, responses, base=base),
            seed=site.config.seed + member,
        )
        result = site.watched(f"{folder.name} {'train' if alone else f'member {member}'}", train)
        made.append(result.directory / CHECKPOINT)
    return tuple(made)


def improve(now: Round, responses: Path, rewards: Rewards, *, site: Site) -> ModelConfig:
    """Optimise the policy with the round's reward models."""
    config, how = site.config, site.config.improve
    start = config.policy if how.start == "start" else now.policy
    seed = seed_of_round(config.seed, now.number)
    if how.by == "rl":
        result = site.watched(
            f"{now.name} rl",
            lambda: rl_stage(
                now.folder,
                prompts=Path(config.data.prompts),
                policy=start,
                reward=reward_of(config, rewards),
                config=how.rl,
                seed=seed,
                notice=site.watcher.say,
            ),
        )
        return trained(start, result.directory / POLICY)
    chosen = site.watched(
        f"{now.name} choose",
        lambda: choose_stage(
            now.folder,
            responses=responses,
            reward=reward_of(config, rewards),
            seed=config.seed,
            prompts=Path(config.data.prompts),
            notice=site.watcher.say,
        ),
    )
    settings = how.align if how.by == "align" else best_of_settings(how.align)
    result = site.watched(
        f"{now.name} {how.by}",
        lambda: align_stage(
            now.folder,
            pairs=chosen.directory / PAIRS,
            verdicts=None,
            policy=start,
            config=settings,
            seed=seed,
        ),
    )
    return trained(start, result.directory / POLICY)


def best_of_settings(align: AlignConfig) -> AlignConfig:
    """Return the settings of plain fine-tuning on the better answers: RPO's term and nothing else.

    >>> best_of_settings(AlignConfig()).base_coefficient
    0.0
    """
    likelihood = {"reduction": "mean", "coefficient": 1.0}
    return AlignConfig(
        base_coefficient=0.0,
        terms={"rpo": dict(likelihood)},
        max_length=align.max_length,
        fit=align.fit,
    )


def reward_of(config: IterateConfig, rewards: Rewards) -> RewardConfig:
    """Return what rewards a round: its reward models in the place of ``round``, and others."""
    own, reward = [f"checkpoint:{path}" for path in rewards], config.improve.reward
    named = (own if text == ROUND else [text] for text in reward.scorers)
    return reward.model_copy(update={"scorers": tuple(text for texts in named for text in texts)})


def _training_files(now: Round, responses: Path, *, site: Site) -> tuple[Path, Path | None]:
    """Return pairs and verdicts of the round's reward models."""
    settings = site.config.reward_model.demonstrations
    if settings is None:
        return site.pairs, site.verdicts
    samples = [responses]
    if settings.samples == "all":
        rounds = [now.folder.parent / f"round-{number:02d}" for number in range(now.number)]
        samples = [*(folder / SAMPLE / RESPONSES for folder in rounds), responses]
    mixed = site.watched(
        f"{now.name} mix",
        lambda: mix_stage(
            now.folder,
            pairs=site.pairs,
            verdicts=site.verdicts,
            samples=samples,
            settings=settings,
        ),
    )
    return mixed.directory / PAIRS, mixed.directory / VERDICTS


def _base(adapt: AdaptConfig, now: Round, *, member: int) -> ModelConfig:
    """Return what a reward model starts from."""
    if adapt.start == "base" or not now.rewards:
        return adapt.model
    # the checkpoint has the length that it was trained with
    return trained(adapt.model, now.rewards[member]).model_copy(update={"max_length": None})


def _with_meta(adapt: AdaptConfig, responses: Path, *, base: ModelConfig) -> TrainConfig:
    train = adapt.train
    if base.path != adapt.model.path:
        train = naming_language_model(train, adapt.model)
    if adapt.meta is None:
        return train
    meta = MetaConfig(path=str(responses), **adapt.meta.model_dump())
    objective = train.objective.model_copy(update={"meta": meta})
    return train.model_copy(update={"objective": objective})
