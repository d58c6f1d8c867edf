"""Measuring the policies of iterated RLHF on held-out prompts: responses, judge, point."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tamis.evaluate.scorers import scorer_from
from tamis.models.config import ModelConfig
from tamis.policy.iterate.config import IterateConfig
from tamis.policy.iterate.measuring import HALF, NOTHING, Instruments, round_point, start_point
from tamis.policy.iterate.points import START, RoundPoint, points_from
from tamis.policy.iterate.rounds import Rewards, Round
from tamis.policy.likelihood import log_probs_under
from tamis.policy.sampling.best_of import scorer_rewards
from tamis.policy.sampling.config import SampleConfig
from tamis.policy.sampling.responses import read_sampled
from tamis.recipes.iterate_phases import RESPONSES, SAMPLE, Site, reward_of
from tamis.recipes.judging import JUDGED, judge_stage
from tamis.recipes.reinforcing import reward_identity, reward_inputs
from tamis.recipes.rewarding import alone, rewards_as_rl
from tamis.recipes.sampling import sample_stage
from tamis.recipes.scoring import Scoring, open_scorers, together
from tamis.recipes.stages import REPORT, model_input, model_settings
from tamis.runs import Stage, fingerprint, read_json, run_stage, write_json
from tamis.runs.stage import KEPT
from tamis.types import Interval

HELD_OUT, MEASURE, POINT = "held-out", "measure", "point.json"


def held_out_responses(run: Path, name: str) -> Path:
    """Return where the responses to the held-out prompts of a policy lie, by its point's name."""
    folder = run / START if name == START else run / name / HELD_OUT
    return folder / SAMPLE / RESPONSES


def judge_report(run: Path, name: str) -> dict[str, Any] | None:
    """Return what the judge says of a round's policy, or ``None`` where none was asked."""
    path = run / name / HELD_OUT / JUDGED / REPORT
    return read_json(path) if name != START and path.is_file() else None


def measure_start(*, site: Site) -> RoundPoint:
    """Measure the policy that the loop starts from."""
    config = site.config
    responses = _answer(site.run / START, config.policy, site=site)
    inputs = {"responses": fingerprint(responses), **model_input(config.policy)}
    settings = {**_settings(config), "quality": _start_quality(config) is not None}
    stage = Stage(site.run / START / MEASURE, settings, inputs)

    def produce(out: Path, _: Path) -> None:
        most = config.measure.sampling.max_prompt_tokens
        point = start_point(
            read_sampled(str(responses)),
            reference=log_probs_under(config.policy, max_prompt_tokens=most),
            quality=_start_quality(config),
            seed=config.seed,
        )
        write_json(out / POINT, asdict(point))

    site.watched(f"{START} measure", lambda: run_stage(stage, produce))
    return _read_point(stage.directory / POINT)


def measure_round(now: Round, policy: ModelConfig, rewards: Rewards, *, site: Site) -> RoundPoint:
    """Measure the policy that a round ended with."""
    config, reward = site.config, reward_of(site.config, rewards)
    responses = _answer(now.folder / HELD_OUT, policy, site=site)
    start, best = (held_out_responses(site.run, name) for name in (START, now.best))
    inputs = {
        "responses": fingerprint(responses),
        "start": fingerprint(start),
        "best": fingerprint(best),
        **model_input(policy),
        "reference": model_input(config.policy)["model"],
        **reward_inputs(reward, prompts=Path(config.data.held_out)),
    }
    win_rate = _judged(now, responses, start, site=site)
    clip = config.improve.rl.reward_clip if config.improve.by == "rl" else None
    gold = gold_scoring(config)
    golden = open_scorers(gold, notice=site.watcher.say) if gold.scorers else []
    settings = {
        **_settings(config),
        **reward_identity(reward, seed=config.seed),
        "clip": clip,
        "gold": [dict(scorer.identity) for scorer in golden],
        "win_rate": None if win_rate is None else asdict(win_rate),
    }
    stage = Stage(now.folder / MEASURE, settings, inputs)
    kept = stage.directory / KEPT
    rewarding = partial(
        rewards_as_rl,
        seed=config.seed,
        prompts=Path(config.data.held_out),
        notice=site.watcher.say,
    )

    def produce(out: Path, _: Path) -> None:
        most = config.measure.sampling.max_prompt_tokens
        using = Instruments(
            policy=log_probs_under(policy, max_prompt_tokens=most),
            reference=log_probs_under(config.policy, tokens_of=policy, max_prompt_tokens=most),
            proxy=rewarding(reward, clip=clip),
            members=[rewarding(alone(reward, scorer), clip=None) for scorer in reward.scorers],
            gold=scorer_rewards(together(golden, folder=kept, ensemble=None)) if golden else None,
            win_rate=win_rate,
        )
        answers, before = read_sampled(str(responses)), read_sampled(str(start))
        top = None if now.best == START else read_sampled(str(best))
        point = round_point(now.name, answers, before, best=top, using=using, seed=config.seed)
        for scorer in golden:
            scorer.release()
        write_json(out / POINT, asdict(point))

    site.watched(f"{now.name} measure", lambda: run_stage(stage, produce))
    return _read_point(stage.directory / POINT)


def quality_in_words(config: IterateConfig) -> str:
    """Say what rounds are compared by, "" where by nothing."""
    judge, gold = config.measure.judge, gold_scoring(config).scorers
    if judge is not None:
        name = judge.endpoint().model if judge.gold is None else scorer_from(judge.gold).name
        return f"win rate against the start policy, by {name}"
    if gold:
        names = ", ".join(scorer_from(text).name for text in gold)
        return (
            f"gain of the gold reward over the start policy, by {names}, in standard deviations of "
            "its scores of the start policy's responses"
        )
    return ""


def _answer(folder: Path, policy: ModelConfig, *, site: Site) -> Path:
    """Let a policy answer the held-out prompts; all policies draw with the same seed."""
    config = site.config
    how = SampleConfig(sampling=config.measure.sampling, limit=config.measure.limit)
    name = START if folder.name == START else f"{folder.parent.name} {HELD_OUT}"
    result = site.watched(
        f"{name} sample",
        lambda: sample_stage(
            folder,
            prompts=Path(config.data.held_out),
            policy=policy,
            config=how,
            scoring=None,
            seed=config.seed,
            notice=site.watcher.say,
        ),
    )
    return result.directory / RESPONSES


def _judged(now: Round, responses: Path, start: Path, *, site: Site) -> Interval | None:
    by = site.config.measure.judge
    if by is None:
        return None
    result = site.watched(
        f"{now.name} judge",
        lambda: judge_stage(
            now.folder / HELD_OUT,
            first=responses,
            second=start,
            by=by,
            seed=site.config.seed,
            notice=site.watcher.say,
        ),
    )
    return Interval(**read_json(result.directory / REPORT)["win_rate"])


def gold_scoring(config: IterateConfig) -> Scoring:
    """Return the gold scorers: those that are named, else the one that judges, as it judges.

    A judge that compares two answers has no score for one, and is no gold reward.
    """
    judge = config.measure.judge
    if config.measure.gold or judge is None or judge.gold is None:
        return Scoring(config.measure.gold)
    of_pairs = scorer_from(judge.gold, options=judge.options).of_pairs
    return Scoring(() if of_pairs else (judge.gold,), options=judge.options)


def _start_quality(config: IterateConfig) -> Interval | None:
    if config.measure.judge is not None:
        return HALF
    return NOTHING if gold_scoring(config).scorers else None


def _settings(config: IterateConfig) -> dict[str, Any]:
    most = config.measure.sampling.max_prompt_tokens
    return {"policy": model_settings(config.policy), "prompt": most, "seed": config.seed}


def _read_point(path: Path) -> RoundPoint:
    return points_from([read_json(path)])[0]
