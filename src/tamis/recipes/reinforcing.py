"""The stage that trains a policy by reinforcement learning, and what rewards it there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.calibrate import CALIBRATOR, read_calibrator
from tamis.data.prompts import read_prompt_types, read_prompts
from tamis.errors import ConfigError
from tamis.evaluate.scorers import OpenedScorer, kind_of, scorer_from
from tamis.evaluate.scorers.calibrated import check_calibrators
from tamis.evaluate.scorers.checkpoint import checkpoint_in
from tamis.evaluate.scorers.opening import CHECKPOINT, silent, split_name
from tamis.metrics.ensemble import (
    Centring,
    Ensemble,
    ensemble_scores,
    scale_from,
    scale_of,
    standardised,
)
from tamis.models.config import ModelConfig
from tamis.policy.rl.config import RewardConfig, RLConfig
from tamis.policy.rl.fit import reinforce
from tamis.policy.rl.rewards import Asked, Guide, Judged, Score, Scored
from tamis.principles.layout import Layout, condition, condition_pair
from tamis.principles.principle import choose_principles, load_principles, stance_of
from tamis.recipes.bare import check_principled
from tamis.recipes.scoring import check_scores_alone
from tamis.recipes.stages import REPORT, model_input, model_settings, source_fingerprint
from tamis.runs import Stage, StageResult, fingerprint, is_main, run_stage, write_json
from tamis.serve.config import ServeConfig
from tamis.serve.engine import check_together, load_member, score_texts
from tamis.serve.inprocess import chosen
from tamis.serve.principled import Under, check_layouts, check_under, learned_principles
from tamis.serve.texts import Text, Turns
from tamis.train.arguments import EVENTS
from tamis.types import Pair


def rl_stage(
    run: Path,
    *,
    prompts: Path,
    policy: ModelConfig,
    reward: RewardConfig,
    config: RLConfig,
    seed: int,
    notice: Callable[[str], None] = silent,
) -> StageResult:
    """Train a policy by GRPO or RLOO: ``rl/policy/``, ``rl/watch.jsonl`` and ``rl/report.json``.

    While it runs, ``rl/work/watch.jsonl`` grows by a line each step (see `tamis.policy.rl.watch`).

    Args:
        run: the run directory.
        prompts: see `tamis.data.prompts.read_prompts`.
        policy: where it starts, which is the reference as well.
        reward: what scores answers.
        config: how weights are moved.
        seed: of prompts, draws and adapters.
        notice: takes lines for the user.

    Raises:
        ConfigError: a model or scorer cannot be loaded, settings contradict each other, a scorer
            learned to read principles and gets none, or the loss diverged.
        DataError: a file is missing, no prompt is left, or an answer cannot be scored.
    """
    inputs = {"prompts": source_fingerprint(str(prompts)), **model_input(policy)}
    stage = Stage(
        run / "rl",
        _settings(policy, reward=reward, config=config, seed=seed),
        {**inputs, **reward_inputs(reward)},
        notes=_notes(prompts, policy, reward=reward, preset=config.preset),
    )

    def produce(out: Path, work: Path) -> None:
        found = read_prompts(str(prompts))
        report = reinforce(
            found,
            policy=policy,
            judged=judged_by(reward, seed=seed, prompts=prompts, notice=notice),
            reward=reward,
            config=config,
            seed=seed,
            work=work,
            out=out,
        )
        if is_main() and (work / EVENTS).is_dir():
            shutil.copytree(work / EVENTS, out / "tensorboard")
        num_left_out = sum(report["num_left_out"].values())
        if num_left_out and is_main():
            most = config.max_prompt_tokens
            notice(
                f"{num_left_out:,} of {len(found):,} prompts have more than {most} tokens and are "
                "left out"
            )
        write_json(out / REPORT, {"source": str(prompts), **report})

    return run_stage(stage, produce, by="all")


def judged_by(
    reward: RewardConfig,
    *,
    seed: int,
    prompts: Path | None = None,
    notice: Callable[[str], None] = silent,
) -> Judged:
    """Return what scores answers, loaded.

    Raises:
        ConfigError: see `reward_score` and `guide_of`.
        DataError: a file or folder is missing.
    """
    return Judged(
        reward_score(reward, notice=notice),
        gold_score(reward, notice=notice),
        guide_of(reward, seed=seed, prompts=prompts),
    )


def guide_of(reward: RewardConfig, *, seed: int, prompts: Path | None = None) -> Guide:
    """Return the principles that answers are scored under.

    Those that name the type of a prompt (its ``prompt_type`` in the file ``prompts``) are drawn
    more often for it.

    Raises:
        ConfigError: an unknown name, or fewer principles than are drawn.
        DataError: the file of principles or of prompts cannot be read.
    """
    if not (reward.principles or reward.draw):
        return Guide()
    file = reward.principle_file
    known = load_principles(None if file is None else Path(file))
    guide = Guide(
        tuple(stance_of(text, known) for text in reward.principles),
        tuple(choose_principles(known, ())),
        reward.draw,
        seed,
        read_prompt_types(str(prompts)) if prompts is not None and reward.draw else {},
    )
    guide.texts(0, 0)  # says at once where there are too few
    return guide


def reward_score(reward: RewardConfig, *, notice: Callable[[str], None] = silent) -> Score:
    """Return what scores answers, loaded; checkpoints score as `tamis.reward_func` does.

    Raises:
        ConfigError: a scorer cannot be loaded, learned principles in another layout, or see
            `check_reward`.
        DataError: a file or folder is missing.
    """
    check_reward(reward)
    ensemble = Ensemble(reward.ensemble, penalty=reward.penalty)
    paths = _checkpoints(reward.scorers)
    if paths is not None:
        return _by_engine(paths, reward, ensemble=ensemble, notice=notice)
    opened = [scorer_from(text, notice=notice) for text in reward.scorers]
    return _by_pairs(opened, ensemble=ensemble, layout=reward.layout)


def gold_score(reward: RewardConfig, *, notice: Callable[[str], None] = silent) -> Score | None:
    """Return what is only watched, or ``None``: the mean of raw scores, without principles.

    Raises:
        ConfigError: see `reward_score`.
        DataError: a file or folder is missing.
    """
    if not reward.gold:
        return None
    plain = RewardConfig(scorers=reward.gold)
    return reward_score(plain, notice=notice)


def check_reward(reward: RewardConfig, *, trained: int = 0) -> None:
    """Refuse a reward that cannot be had, before a model is loaded.

    Args:
        reward: whose scorers are checked; of those that a run will train there is none yet.
        trained: reward models that it will train, which record what scores are standardised by.

    Raises:
        ConfigError: a scorer gives no score to single answers, or raw scores alone and others are
            asked for; an ensemble of one; one that standardises a model that does not record by
            what; or calibrated scores of models that have no calibrator of single scores.
        DataError: a file or folder is missing, or a calibrator is damaged.
    """
    if len(reward.scorers) + trained == 1 and reward.ensemble != "mean":
        raise ConfigError(
            f"ensemble is {reward.ensemble} and there is one scorer; name several, or leave it out"
        )
    opened = [scorer_from(text) for text in reward.scorers]
    for scorer in opened:
        check_scores_alone(scorer)
    if reward.which != "raw" and _checkpoints(reward.scorers) is None:
        raise ConfigError(
            f"which is {reward.which}: only checkpoints have such rewards, found "
            f"{', '.join(reward.scorers)}"
        )
    if reward.which == "calibrated":
        _check_calibrated(reward, trained=trained)
    ensemble = Ensemble(reward.ensemble, penalty=reward.penalty)
    if ensemble.members == "raw" and reward.which != "standardised":
        return
    names, centrings = [scorer.name for scorer in opened], [scorer.centring() for scorer in opened]
    of_trained: list[Centring | None] = [(0.0, 2.0)] * trained
    scale_of(
        [*centrings, *of_trained],
        names=[*names, *("a reward model of the round" for _ in of_trained)],
        ensemble=ensemble,
    )
    unknown = [name for name, known in zip(names, centrings, strict=True) if known is None]
    if reward.which == "standardised" and unknown:
        raise ConfigError(
            f"which is standardised, and no mean and standard deviation of scores are recorded in "
            f"{', '.join(unknown)}; expected checkpoints of `tamis train`, or choose raw"
        )


def _check_calibrated(reward: RewardConfig, *, trained: int) -> None:
    if trained:
        raise ConfigError(
            "which is calibrated: reward models that a run trains itself have no calibrator; "
            "choose standardised or raw"
        )
    paths = _checkpoints(reward.scorers) or []
    files = {path: Path(path) / CALIBRATOR for path in paths}
    # whether it belongs to these weights is found out where they are loaded
    check_calibrators(
        {path: read_calibrator(file) if file.is_file() else None for path, file in files.items()}
    )


def _checkpoints(scorers: Sequence[str]) -> list[str] | None:
    """Return the addresses of scorers that are checkpoints, or ``None`` where one is another."""
    named = [kind_of(split_name(text)[1]) for text in scorers]
    if not all(kind == CHECKPOINT for kind, _ in named):
        return None
    return [checkpoint_in(address) for _, address in named]


def _by_engine(
    paths: Sequence[str],
    reward: RewardConfig,
    *,
    ensemble: Ensemble,
    notice: Callable[[str], None],
) -> Score:
    members = [load_member(path, ServeConfig()) for path in paths]
    check_together(members, ensemble)
    fitting: set[tuple[str, ...]] = set()
    if reward.principles or reward.draw:  # says at once what is wrong
        check_layouts(members, reward.layout)
    unasked = learned_principles(members)

    def score(asked: Sequence[Asked]) -> Scored:
        if unasked and not all(one.principles for one in asked):
            names = ", ".join(unasked)
            notice(f"{names} learned to read principles and scores answers without any")
            unasked.clear()  # once is enough
        for texts in {one.principles for one in asked} - fitting:
            check_under(members, Under(texts, reward.layout))
            fitting.add(texts)
        found = score_texts(
            members, [_text(one, layout=reward.layout) for one in asked], ensemble=ensemble
        )
        score_N = np.array(chosen(found, reward.which), np.float64)
        return Scored(score_N, found.std_N)

    return score


def _text(one: Asked, *, layout: Layout) -> Text:
    if not one.principles:
        return Turns(one.prompt, one.answer)
    asked, judged = condition(one.prompt, one.answer, texts=one.principles, layout=layout)
    return Turns(asked, judged, said=one.answer[-1].content)


def _by_pairs(opened: Sequence[OpenedScorer], *, ensemble: Ensemble, layout: Layout) -> Score:
    """Return what asks scorers of pairs for single answers: both sides are the same."""
    centrings, names = [scorer.centring() for scorer in opened], [scorer.name for scorer in opened]
    scale = scale_of(centrings, names=names, ensemble=ensemble)
    known = None if ensemble.is_of_one_zero else scale_from(centrings)

    def score(asked: Sequence[Asked]) -> Scored:
        pairs = [_pair(number, one, layout=layout) for number, one in enumerate(asked)]
        score_KN = np.stack(
            [np.asarray(scorer.score(pairs).chosen_N, np.float64) for scorer in opened]
        )
        alike_KN = score_KN if known is None else standardised(score_KN, known)
        spread_N = alike_KN.std(axis=0) if len(opened) > 1 else None
        return Scored(ensemble_scores(score_KN, ensemble=ensemble, scale=scale), spread_N)

    return score


def _pair(number: int, one: Asked, *, layout: Layout) -> Pair:
    pair = Pair(str(number), one.prompt, one.answer, one.answer)
    return condition_pair(pair, texts=one.principles, layout=layout) if one.principles else pair


def _notes(
    prompts: Path, policy: ModelConfig, *, reward: RewardConfig, preset: str | None
) -> dict[str, Any]:
    return {
        "prompts": str(prompts),
        "policy": policy.path,
        "preset": preset,
        "reward": reward.model_dump(mode="json"),
    }


def _settings(
    policy: ModelConfig, *, reward: RewardConfig, config: RLConfig, seed: int
) -> dict[str, Any]:
    """Return what the result depends on besides files."""
    known = {"policy": model_settings(policy), "rl": config.identity()}
    return {**known, **reward_identity(reward, seed=seed)}


def reward_identity(reward: RewardConfig, *, seed: int) -> dict[str, Any]:
    """Return what rewards depend on besides files; of principles, their words.

    Raises:
        ConfigError: see `check_reward`, `check_principled` and `guide_of`.
        DataError: a file or folder is missing.
    """
    check_reward(reward)
    check_principled(reward)
    guide = guide_of(reward, seed=seed)
    opened = [scorer_from(text) for text in (*reward.scorers, *reward.gold)]
    members = Ensemble(reward.ensemble, penalty=reward.penalty).members
    return {
        **({} if members == "raw" else {"members": members}),
        "reward": reward.model_dump(exclude={"scorers", "gold", "principle_file"}),
        "scorers": [dict(scorer.identity) for scorer in opened],
        "num_gold": len(reward.gold),
        "fixed": [stance.text for stance in guide.fixed],
        "known": [
            [p.name, p.wanted, p.weight, sorted(p.prompt_types.items())]
            for p in (guide.known if guide.num_drawn else [])
        ],
        "seed": seed,
    }


def reward_inputs(reward: RewardConfig, *, prompts: Path | None = None) -> dict[str, str]:
    """Return the fingerprints of calibrators and of prompts, where rewards depend on them."""
    types = {}
    if prompts is not None and reward.draw:
        types["prompts"] = source_fingerprint(str(prompts))
    if reward.which in ("raw", "standardised"):
        return types
    paths = [Path(path) / CALIBRATOR for path in _checkpoints(reward.scorers) or ()]
    calibrators = {
        f"calibrator {number}": fingerprint(path)
        for number, path in enumerate(paths)
        if path.is_file()
    }
    return types | calibrators
