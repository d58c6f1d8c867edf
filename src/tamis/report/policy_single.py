"""Sections on single stages with a policy: the best of n, alignment, and the judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tamis.report.blocks import Block, Card, Picture, Section, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, line_panels
from tamis.report.numbers import count, number, number_interval, percent, percent_interval, plural
from tamis.report.policy_pictures import (
    GOLD,
    GOLD_LOOK,
    PROXY,
    PROXY_LOOK,
    StepCurve,
    StepPanel,
    over_steps,
)
from tamis.report.read import load_record
from tamis.types import Interval


@dataclass(frozen=True, slots=True)
class BestPoint:
    """What the best of ``num`` responses is worth."""

    num: int
    kl_bound: float
    kl: float
    proxy_gain: Interval
    gold_gain: Interval | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """A mean with its interval, and the standard deviation."""

    mean: Interval
    std: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What was measured of the responses of a sample."""

    num_prompts: int
    num_responses: int
    characters: Amount
    tokens: Amount | None = None
    finished_frac: Interval | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    self_bleu: list[float] | None = None
    repeated_frac: Interval | None = None
    proxy: Amount | None = None
    gold: Amount | None = None


@dataclass(frozen=True, slots=True)
class SampleReport:
    """``sample/report.json``."""

    watch: Watched | None = None
    curve: list[BestPoint] = field(default_factory=list)
    best_of: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often a comparison ended so."""

    num: int
    share: Interval


@dataclass(frozen=True, slots=True)
class Position:
    """Whether the judge prefers a place."""

    inconsistent: Interval
    first_place: Interval | None = None


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """``judge/report.json``."""

    num_comparisons: int
    num_unread: int
    win_rate: Interval
    outcomes: dict[str, Outcome]
    judge: dict[str, Any] = field(default_factory=dict)
    position: Position | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Implied:
    """How a policy orders held-out pairs by its implied reward, and how likely it finds them."""

    accuracy: Interval
    log_prob_chosen: float
    log_prob_rejected: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out pairs before and after."""

    num_pairs: int
    before: Implied
    after: Implied
    longest: Interval
    shortest: Interval


@dataclass(frozen=True, slots=True)
class AlignReport:
    """``align/report.json``."""

    num_pairs: int
    num_steps: int
    curve: list[dict[str, float]] = field(default_factory=list)
    held_out: HeldOut | None = None


def single_sections(run: Path) -> list[Section]:
    """Return the sections on what a run did to or with a policy, beside rounds and RL.

    Raises:
        DataError: a file is damaged.
    """
    found = (_best_of(run), _responses(run), _align(run), _judge(run))
    return [section for section in found if section is not None]


def _best_of(run: Path) -> Section | None:
    report = load_record(run / "sample" / "report.json", SampleReport)
    if report is None or not report.curve:
        return None
    points = report.curve
    last = points[-1]
    seen = f"The best of {last.num} is worth {number_interval(last.proxy_gain, digits=2)} more"
    seen += " than one response to the reward model that picks"
    if last.gold_gain is not None:
        seen += f", and {number_interval(last.gold_gain, digits=2)} to the gold reward"
    rows = tuple(
        (
            count(point.num),
            number(point.kl),
            number(point.kl_bound),
            number_interval(point.proxy_gain, digits=2),
            number_interval(point.gold_gain, digits=2),
        )
        for point in points
    )
    header = ("n", "KL, nats", "its bound", "proxy gain", "gold gain")
    table = Table("The best of n responses, 95% intervals over prompts", header, rows)
    reading = (
        "Gains are over one response, each in the unit of its own reward, so the two curves have "
        "no common scale. Where the proxy goes on rising and gold does not, the reward model is "
        "being over-optimised. The KL is that of the best of n from the policy, with equal scores "
        "in mind; its bound, log n - (n - 1) / n, has none."
    )
    blocks: tuple[Block, ...] = (Picture(_best_picture(points, seen), f"{seen}.", reading), table)
    data = {"curve": [asdict(point) for point in points], "best_of": report.best_of}
    return Section("Best of n", "best-of", blocks, data, f"{seen}.")


def _responses(run: Path) -> Section | None:
    report = load_record(run / "sample" / "report.json", SampleReport)
    if report is None or report.watch is None:
        return None
    seen = report.watch
    alike = None if seen.self_bleu is None else float(np.mean(seen.self_bleu))
    rows = (
        *_amounts((("tokens", seen.tokens), ("characters", seen.characters))),
        ("ended and was not cut", percent_interval(seen.finished_frac), ""),
        ("different words (distinct-1)", percent(seen.distinct_1), ""),
        ("different pairs of words (distinct-2)", percent(seen.distinct_2), ""),
        ("likeness of responses (Self-BLEU)", percent(alike), ""),
        ("four-grams that were there before", percent_interval(seen.repeated_frac), ""),
        *_amounts((("reward", seen.proxy), ("gold reward", seen.gold)), digits=2),
    )
    lead = f"{plural(seen.num_responses, 'response')} to {plural(seen.num_prompts, 'prompt')}"
    if seen.tokens is not None:
        lead += f", {number(seen.tokens.mean.value, digits=0)} tokens long on average"
    header = ("of a response", "mean, 95% interval over prompts", "standard deviation")
    table = Table("What was sampled", header, rows)
    return Section("Responses", "responses", (table,), asdict(seen), f"{lead}.")


def _amounts(
    amounts: Iterable[tuple[str, Amount | None]], *, digits: int = 0
) -> list[tuple[str, str, str]]:
    return [
        (name, number_interval(amount.mean, digits=digits), number(amount.std, digits=digits))
        for name, amount in amounts
        if amount is not None
    ]


def _best_picture(points: list[BestPoint], seen: str) -> Any:
    kl = tuple(point.kl for point in points)
    panels = [
        LinePanel(
            "gain to the reward model that picks",
            (Line(PROXY, kl, tuple(point.proxy_gain for point in points), look=PROXY_LOOK),),
            is_share=False,
        )
    ]
    gold = tuple(point.gold_gain for point in points if point.gold_gain is not None)
    if len(gold) == len(points):
        line = Line(GOLD, kl, gold, look=GOLD_LOOK)
        panels.append(LinePanel("gain to the gold reward", (line,), is_share=False))
    style = LineStyle("best-of", f"{seen}.", "KL from the policy, nats", x_axis="value")
    return line_panels(panels, style=style)


def _align(run: Path) -> Section | None:
    report = load_record(run / "align" / "report.json", AlignReport)
    if report is None:
        return None
    text = f"{plural(report.num_pairs, 'pair')}, {plural(report.num_steps, 'step')}."
    blocks: list[Block] = [Text(text)]
    lead = ""
    if report.held_out is not None:
        held_out = report.held_out
        before, after = held_out.before, held_out.after
        rule = max((held_out.longest, held_out.shortest), key=lambda rule: rule.value)
        lead = (
            f"The implied reward of the policy orders {percent_interval(after.accuracy)} of "
            f"{plural(held_out.num_pairs, 'held-out pair')} as labelled; a rule of length "
            f"{percent(rule.value)}."
        )
        rows = tuple(
            (
                name,
                percent_interval(state.accuracy),
                number(state.log_prob_chosen, digits=1),
                number(state.log_prob_rejected, digits=1),
            )
            for name, state in (("before", before), ("after", after))
        )
        header = ("policy", "accuracy", "log p, chosen", "log p, rejected")
        blocks += [Text(lead), Table("Held-out pairs, before and after", header, rows)]
    if len(report.curve) > 1:
        blocks.append(_align_picture(report))
    return Section("Alignment", "alignment", tuple(blocks), asdict(report), lead)


def _align_picture(report: AlignReport) -> Picture:
    kinds = (
        ("loss", ("loss",), False),
        ("pairs ordered as judged", ("accuracy",), True),
        ("log probability, nats", ("log_prob_chosen", "log_prob_rejected"), False),
    )
    panels = [
        StepPanel(title, tuple(_curve(report, key) for key in keys), is_share)
        for title, keys, is_share in kinds
        if all(key in point for point in report.curve for key in keys)
    ]
    first, last = (point.get("loss") for point in (report.curve[0], report.curve[-1]))
    caption = f"The loss goes from {number(first, digits=3)} to {number(last, digits=3)}."
    reading = (
        "Log probabilities are of whole answers. Preference objectives may let both fall while the "
        "gap grows; a steep fall of the chosen side means that the policy forgets how to write it."
    )
    return Picture(over_steps(panels, alt=caption, name="alignment"), caption, reading)


def _curve(report: AlignReport, key: str) -> StepCurve:
    steps = np.array([point["step"] for point in report.curve], np.float64)
    name = "rejected" if key == "log_prob_rejected" else "chosen" if "prob" in key else "training"
    return StepCurve(name, steps, np.array([point[key] for point in report.curve], np.float64))


def _judge(run: Path) -> Section | None:
    report = load_record(run / "judge" / "report.json", JudgeReport)
    if report is None:
        return None
    lead = (
        f"The first policy wins {percent_interval(report.win_rate)} of "
        f"{plural(report.num_comparisons, 'comparison')}, a tie counting half."
    )
    rows = tuple(
        (name, count(found.num), percent_interval(found.share))
        for name, found in report.outcomes.items()
    )
    blocks: list[Block] = [
        Text(lead),
        Table("Verdicts on the first policy", ("outcome", "number", "share"), rows),
    ]
    position = report.position
    if position is not None:
        blocks.append(
            Text(
                f"Choices that fell on the answer shown first: "
                f"{percent_interval(position.first_place)}; comparisons on which the two orders "
                f"disagree: {percent_interval(position.inconsistent)}."
            )
        )
    blocks += [Text(f"{text}.", tone="note") for text in report.warnings]
    card = Card(percent(report.win_rate.value), "win rate", "of the first policy, by the judge")
    return Section("Judge", "judge", tuple(blocks), asdict(report), lead, (card,))
