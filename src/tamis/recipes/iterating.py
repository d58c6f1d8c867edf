"""Iterated RLHF from a configuration to a report: rounds of stages, and the best policy kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tamis.data import DataConfig, read_pairs
from tamis.data.prompts import read_prompts
from tamis.data.responses import read_responses
from tamis.data.tables import plain_turns
from tamis.errors import ConfigError, DataError, TamisError
from tamis.evaluate.scorers import scorer_from
from tamis.models.source import locate
from tamis.policy.adapters import check_adapters
from tamis.policy.align.demonstrations import read_demonstrations
from tamis.policy.align.fit import checked as checked_alignment
from tamis.policy.iterate.config import ROUND, IterateConfig
from tamis.policy.iterate.points import START, as_json
from tamis.policy.iterate.rounds import History, Phases, run_rounds
from tamis.policy.iterate.stopping import idle_rules
from tamis.policy.load import load_chat_tokenizer
from tamis.policy.rl.config import RewardConfig
from tamis.policy.rl.fit import check_run
from tamis.policy.sampling.sample import check_sampling
from tamis.recipes.bare import check_principled
from tamis.recipes.iterate_measure import (
    held_out_responses,
    judge_report,
    measure_round,
    measure_start,
    quality_in_words,
)
from tamis.recipes.iterate_phases import (
    POLICY,
    Site,
    best_of_settings,
    improve,
    sample,
    update,
)
from tamis.recipes.iterate_track import track_round, watch_of
from tamis.recipes.judging import open_judge
from tamis.recipes.reinforcing import check_reward, guide_of
from tamis.recipes.scoring import check_scores_alone
from tamis.recipes.stages import PAIRS, VERDICTS, data_stage, judged_pairs, training_pairs
from tamis.report import write_report
from tamis.report.numbers import plural
from tamis.runs import (
    Stage,
    StageResult,
    Watcher,
    fingerprint,
    is_main,
    read_json,
    run_stage,
    write_json,
    write_text,
)
from tamis.runs.processes import num_processes
from tamis.train.fit import checked_model
from tamis.train.tracking import check_trackers

ROUNDS, SETTINGS, BEST, PAGE = "rounds.json", "iterate.yaml", "best", "report.html"
INSTEAD_OF_A_JUDGE = "a reward model or a rule, or name it as measure.judge"
NUM_SAMPLES = 6  # prompts whose answers the page shows


def iterate(config: IterateConfig, *, watcher: Watcher) -> Path:
    """Run the rounds, keep the best policy in ``best/``, and return the path of the report.

    Every phase of a round is a stage with a directory of its own (``round-00/`` ...), so a run that
    was killed goes on where it was and comes to the same result; so do more rounds, or other
    limits. ``rounds.json`` and ``report.html`` are written, and the trackers told, after the start
    and after every round. Where a phase fails, ``best/`` has the best policy so far.

    Raises:
        ConfigError, DataError: what `check_iterate` refuses, before the first stage; and what the
            stages refuse.
    """
    check_iterate(config)
    run = Path(config.out)
    if is_main():
        settings = config.model_dump(mode="json")
        write_text(run / SETTINGS, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    pairs, verdicts = _pairs(config, run=run, watcher=watcher)
    tell_of_common_prompts(config, pairs=pairs, watcher=watcher)
    site = Site(config, run, pairs, verdicts, watcher)
    told: list[History] = []

    def tell_and_keep(so_far: History) -> None:
        tell(so_far, site=site)
        told.append(so_far)

    phases = Phases(
        start=partial(measure_start, site=site),
        sample=partial(sample, site=site),
        update=partial(update, site=site),
        improve=partial(improve, site=site),
        measure=partial(measure_round, site=site),
        tell=tell_and_keep,
    )
    try:
        history = run_rounds(
            run, policy=config.policy, num_rounds=config.rounds, phases=phases, stop=config.stop
        )
    except Exception as error:
        # a policy that ran away may be why a phase failed: the best so far is kept; where memory
        # ends in one of several processes, the others would wait for it
        if told and (isinstance(error, TamisError) or num_processes() == 1):
            site.watched("best", lambda: best_stage(run, history=told[-1]))
        raise
    site.watched("best", lambda: best_stage(run, history=history))
    page = run / PAGE
    if is_main():
        write_report(run, out=page)
    for reason in history.reasons:
        watcher.say(reason.sentence)
    watcher.say(history.best.sentence)
    return page


def check_iterate(config: IterateConfig) -> None:
    """Refuse what a late phase would refuse, before the early ones have taken hours.

    Raises:
        ConfigError: a policy that cannot answer, a judge, scorer, reward or training that cannot be
            used, or a model that is not there or is not as large as the settings say.
        DataError: a file is missing or damaged, verdicts belong to other pairs, there are too few
            prompts, or held-out prompts are trained on.
    """
    check_trackers(watch_of(config))
    load_chat_tokenizer(config.policy)
    checked_model(config.reward_model.train, model=config.reward_model.model)
    how, measure = config.improve, config.measure
    for sampling in (config.sample.sampling, measure.sampling):
        check_sampling(sampling)
    for text in (*measure.gold, *(name for name in how.reward.scorers if name != ROUND)):
        check_scores_alone(scorer_from(text), instead=INSTEAD_OF_A_JUDGE)
    _check_reward(config)
    if how.by != "rl":
        settings = how.align if how.by == "align" else best_of_settings(how.align)
        checked_alignment(settings, policy=config.policy)
    lora = how.rl.fit.lora if how.by == "rl" else how.align.fit.lora
    check_adapters(config.policy, lora)
    if measure.judge is not None:
        open_judge(measure.judge, folder=Path(config.out))
    _check_demonstrations(config)
    found = _found_pairs(config)
    if found is not None:
        judged_pairs(*found)
    # what is sampled from may be a part; RL reads the whole file
    limit = None if how.by == "rl" else config.sample.limit
    prompts = read_prompts(config.data.prompts, limit=limit)
    if how.by == "rl":
        check_run(prompts, policy=config.policy, reward=how.reward, config=how.rl, seed=config.seed)
    held_out, known = read_prompts(config.data.held_out, limit=measure.limit), set(prompts)
    common = sum(prompt in known for prompt in held_out)
    if common:
        raise DataError(
            f"{config.data.held_out}: {common} of {len(held_out)} held-out prompts are among those "
            f"of {config.data.prompts}; expected others"
        )


def _check_demonstrations(config: IterateConfig) -> None:
    """Refuse demonstrations of which none has a prompt that a round samples from."""
    demonstrations = config.reward_model.demonstrations
    if demonstrations is None:
        return
    shown = {prompt for prompt, _ in read_demonstrations(demonstrations.path)}
    if shown.isdisjoint(read_prompts(config.data.prompts, limit=config.sample.limit)):
        raise DataError(
            f"{demonstrations.path}: none of its {plural(len(shown), 'prompt')} is among those "
            f"that a round samples from ({config.data.prompts}, sample.limit "
            f"{config.sample.limit}); expected some"
        )


def tell_of_common_prompts(config: IterateConfig, *, pairs: Path, watcher: Watcher) -> None:
    """Say how many held-out prompts the reward models are trained on."""
    held_out = read_prompts(config.data.held_out, limit=config.measure.limit)
    trained = {pair.prompt for pair in read_pairs(pairs) if pair.split != "test"}
    common = sum(prompt in trained for prompt in held_out)
    if common:
        watcher.say(
            f"note: {common} of {plural(len(held_out), 'held-out prompt')} have answers among the "
            "pairs that the reward models learn from, which may flatter the proxy gain"
        )


def _check_reward(config: IterateConfig) -> None:
    """Refuse a reward of rounds that cannot be had; its own models are not trained yet."""
    reward, adapt = config.improve.reward, config.reward_model
    guide_of(reward, seed=config.seed)
    others = tuple(name for name in reward.scorers if name != ROUND)
    trained = adapt.members * (len(reward.scorers) - len(others))
    check_reward(reward.model_copy(update={"scorers": others}), trained=trained)
    check_principled(reward.model_copy(update={"scorers": others}))
    if config.improve.by == "rl" and reward.gold:
        check_reward(RewardConfig(scorers=reward.gold))


def tell(history: History, *, site: Site) -> None:
    """Write what the rounds came to so far, and the page about it.

    Where a run is picked up again, what it has written already tells of more rounds, and stays.
    """
    if not is_main():
        return
    known, points = _known_points(site.run), list(json.loads(json.dumps(as_json(history.points))))
    if not history.is_over and len(known) > len(points) and known[: len(points)] == points:
        return
    watch = watch_of(site.config)
    for number, point in enumerate(history.points):
        if points[number] not in known[number : number + 1]:  # else it was told as it is
            track_round(point, number=number, run=site.run, watch=watch)
    idle = _idle(history, config=site.config)
    report = {
        "points": points,
        "reasons": [asdict(reason) for reason in history.reasons],
        "best": asdict(history.best),
        "num_planned": history.num_planned,
        "is_over": history.is_over,
        "idle": list(idle),
        "quality": quality_in_words(site.config),
        "judge": _judge_rows(history, run=site.run),
        "samples": _samples(history, run=site.run),
    }
    write_json(site.run / ROUNDS, report)
    if len(history.points) == 1:
        for sentence in idle:
            site.watcher.say(f"note: {sentence}")
    if not history.is_over:  # the last page is written when all is done
        write_report(site.run, out=site.run / PAGE)


def _idle(history: History, *, config: IterateConfig) -> tuple[str, ...]:
    others = [name for name in config.improve.reward.scorers if name != ROUND]
    return idle_rules(
        history.points[0],
        config=config.stop,
        max_new_tokens=config.measure.sampling.max_new_tokens,
        members=config.reward_model.members + len(others),
    )


def best_stage(run: Path, *, history: History) -> StageResult:
    """Copy the best policy: ``best/policy/``; ``best/best.json`` says which it is, and why.

    Where the start policy is the best and has a hub id, the file alone names it.
    """
    best = history.best
    policy = history.policies[best.place]
    location = Path(locate(policy.path))
    inputs = {"policy": fingerprint(location) if location.is_dir() else policy.path}
    stage = Stage(run / BEST, asdict(best), inputs, notes={"policy": policy.path})

    def produce(out: Path, _: Path) -> None:
        found = policy.path
        if location.is_dir():
            found = POLICY
            shutil.copytree(location, out / POLICY)
        write_json(out / "best.json", {**asdict(best), "policy": found})

    return run_stage(stage, produce)


def _known_points(run: Path) -> list[dict[str, Any]]:
    """Return the points that were told before, as plain values."""
    path = run / ROUNDS
    return list(read_json(path)["points"]) if path.is_file() else []


def _pairs(config: IterateConfig, *, run: Path, watcher: Watcher) -> tuple[Path, Path | None]:
    """Return the pairs and verdicts of the reward models; other preference data are read first."""
    found = _found_pairs(config)
    if found is not None:
        return found
    watcher.begin("data")
    result = data_stage(
        run, config=DataConfig(path=config.data.pairs), model=config.reward_model.model
    )
    watcher.end("data", result)
    pairs = result.directory / PAIRS
    training_pairs(pairs)  # says at once where all are held out
    return pairs, None


def _found_pairs(config: IterateConfig) -> tuple[Path, Path | None] | None:
    """Return pairs and verdicts that were made before, or ``None`` for other preference data."""
    path = Path(config.data.pairs).expanduser()
    verdicts = None if config.data.verdicts is None else Path(config.data.verdicts).expanduser()
    if verdicts is not None and not verdicts.is_file():
        raise DataError(f"{verdicts}: no such file")
    if (path / "data" / PAIRS).is_file():
        beside = path / "denoise" / VERDICTS
        return path / "data" / PAIRS, verdicts or (beside if beside.is_file() else None)
    if path.name == PAIRS and path.is_file():
        return path, verdicts
    if verdicts is not None:
        raise ConfigError(
            f"data.verdicts belong to a {PAIRS} or to a run directory, found {config.data.pairs}"
        )
    return None


def _judge_rows(history: History, *, run: Path) -> list[dict[str, Any]]:
    rows = []
    for point in history.points:
        found = judge_report(run, point.name)
        if found is None:
            continue
        outcomes, position = found["outcomes"], found["position"] or {}
        rows.append(
            {
                "name": point.name.replace("round-0", "round ").replace("round-", "round "),
                **{name: outcomes[name]["num"] for name in ("win", "tie", "lose")},
                "first_frac": (position.get("first_place") or {}).get("value"),
                "inconsistent_frac": (position.get("inconsistent") or {}).get("value"),
            }
        )
    return rows


def _samples(history: History, *, run: Path) -> list[dict[str, Any]]:
    """Return the first answers of the start policy and of the best one."""
    if history.best.name == START:
        return []
    paths = (held_out_responses(run, name) for name in (START, history.best.name))
    start, best = (read_responses(str(path)) for path in paths)
    both = zip(range(NUM_SAMPLES), start, best, strict=False)
    return [
        {
            "prompt": plain_turns(old.prompt),
            "start": plain_turns(old.responses[0]),
            "best": plain_turns(new.responses[0]),
        }
        for _, old, new in both
    ]
