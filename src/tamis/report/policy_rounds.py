"""Section "Rounds" and those after it: what iterated RLHF did to a policy, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tamis.report.blocks import (
    Block,
    Bullets,
    Card,
    Exhibit,
    Exhibits,
    Picture,
    Section,
    Table,
    Text,
)
from tamis.report.exhibits import passage
from tamis.report.numbers import (
    count,
    number,
    number_interval,
    percent,
    percent_interval,
    plural,
)
from tamis.report.policy_pictures import (
    Histogram,
    HistogramStyle,
    against_kl,
    histograms,
    over_rounds,
)
from tamis.report.policy_records import Point, RoundsReport, Sample
from tamis.types import Interval

SINCE_BEST = "since the best"


def rounds_sections(report: RoundsReport) -> list[Section]:
    """Return the sections on all rounds of a run, finished or in progress."""
    found = [_rounds(report), _kl(report), _drift(report), _scores(report), _samples(report)]
    return [section for section in found if section is not None]


def _rounds(report: RoundsReport) -> Section:
    points = report.points
    done = len(points) - 1
    state = "The rounds are over" if report.is_over else "The run is in progress"
    blocks: list[Block] = [
        Text(
            f"{state}: {done} of {plural(report.num_planned, 'round')} done. In each round the "
            "policy is sampled from, the reward models are adapted to what it writes, and the "
            "policy is optimised with them. All figures are of held-out prompts."
        ),
        Text(report.best.sentence, tone="note"),
    ]
    if report.reasons:
        sentences = tuple(reason.sentence for reason in report.reasons)
        blocks.append(Bullets(sentences, title="Why the rounds stopped"))
    elif report.is_over:
        blocks.append(Text("No rule stopped the rounds: all that were planned were run."))
    if report.idle:
        blocks.append(Bullets(tuple(report.idle), title="What no rule can notice here"))
    blocks.append(_table(report))
    if report.judge:
        blocks.append(_judge_table(report.judge))
    if report.quality:
        blocks.append(Text(f"Quality, by which rounds are compared: {report.quality}.", "quiet"))
    else:
        blocks.append(
            Text(
                "No judge and no gold reward was named, so nothing here says whether the policy "
                "became better: the reward model's own gain is what is optimised.",
                tone="note",
            )
        )
    best = points[report.best.place]
    lead = f"{done} of {plural(report.num_planned, 'round')}: {report.best.sentence}"
    cards = [Card(f"{done} of {report.num_planned}", "rounds done")]
    cards.append(Card(best.label, "is kept", f"KL {number(best.kl.value)} nats from the start"))
    if best.win_rate is not None:
        cards.append(Card(percent(best.win_rate.value), "win rate against the start", best.label))
    if best.gold_gain is not None:
        gain = number(best.gold_gain.value)
        cards.append(Card(gain, "gain of gold reward", "in standard deviations at the start"))
    return Section("Rounds", "rounds", tuple(blocks), _data(report), lead, tuple(cards))


def _table(report: RoundsReport) -> Table:
    points = report.points
    columns: list[tuple[str, list[str]]] = [
        ("KL", [number_interval(point.kl, digits=2) for point in points]),
        ("proxy gain", [_gain(point.proxy_gain) for point in points]),
        (SINCE_BEST, [_gain(_since_best(point)) for point in points]),
        ("gold gain", [_gain(point.gold_gain) for point in points]),
        ("win rate", [percent_interval(point.win_rate) for point in points]),
        ("tokens", [number(point.tokens.value, digits=0) for point in points]),
        ("perplexity", [number(point.perplexity, digits=1) for point in points]),
        ("distinct-2", [percent(point.distinct_2, digits=0) for point in points]),
        ("Self-BLEU", [percent(point.self_bleu, digits=0) for point in points]),
        ("repeated", [percent(point.repeated_frac, digits=0) for point in points]),
        ("ended", [percent(point.finished_frac, digits=0) for point in points]),
        ("disagreement", [number(point.spread_ratio) for point in points]),
    ]
    kept = [(title, cells) for title, cells in columns if any(cell != "–" for cell in cells)]
    rows = tuple(
        (_label(point, report=report), *(cells[place] for _, cells in kept))
        for place, point in enumerate(points)
    )
    caption = (
        "Policies on held-out prompts: KL in nats a response, gains in standard deviations of the "
        "scores of the start policy's responses, 95% intervals over prompts"
    )
    if any(title == SINCE_BEST for title, _ in kept):
        caption += (
            "; since the best: what the round's reward model gains over the policy that had the "
            "best quality before, by which the rule against over-optimisation decides, where that "
            "is not the start"
        )
    return Table(caption, ("policy", *(title for title, _ in kept)), rows)


def _since_best(point: Point) -> Interval | None:
    return None if point.proxy_since_best == point.proxy_gain else point.proxy_since_best


def _label(point: Point, *, report: RoundsReport) -> str:
    return f"{point.label} (kept)" if point.name == report.best.name else point.label


def _gain(value: Interval | None) -> str:
    return number_interval(value, digits=2)


def _judge_table(judge: Sequence[dict[str, Any]]) -> Table:
    rows = tuple(
        (
            str(row["name"]),
            count(row["win"]),
            count(row["tie"]),
            count(row["lose"]),
            percent(row.get("first_frac")),
            percent(row.get("inconsistent_frac")),
        )
        for row in judge
    )
    header = ("policy", "win", "tie", "lose", "first place preferred", "orders disagree")
    return Table("The judge: each policy against the start policy, prompt by prompt", header, rows)


def _kl(report: RoundsReport) -> Section | None:
    points = report.points
    last = points[-1]
    seen = f"At {number(last.kl.value)} nats from the start ({last.label})"
    parts = []
    if last.proxy_gain is not None:
        parts.append(f"the reward model of the round sees a gain of {_gain(last.proxy_gain)}")
    if last.gold_gain is not None:
        parts.append(f"the gold reward one of {_gain(last.gold_gain)}")
    if last.win_rate is not None:
        parts.append(f"the judge a win rate of {percent_interval(last.win_rate)}")
    caption = f"{seen} {', '.join(parts)}."
    svg = against_kl(points, alt=caption) if len(points) > 1 else None
    if svg is None:
        return None
    reading = (
        "Points are policies, from the start (left end) round after round; bars are 95% intervals. "
        "Where the proxy rises and gold or the judge's win rate falls, the reward model is being "
        "exploited. Each round has its own reward model, so each proxy gain is on that model's "
        "scale, in standard deviations of its scores of the start policy's responses."
    )
    blocks = (Picture(svg, caption, reading),)
    data = [
        {
            "name": p.name,
            "kl": p.kl.value,
            "proxy": _value(p.proxy_gain),
            "gold": _value(p.gold_gain),
        }
        for p in points
    ]
    return Section("Reward against KL", "reward-kl", blocks, {"points": data})


def _drift(report: RoundsReport) -> Section | None:
    points = report.points
    if len(points) < 2:
        return None
    first, last = points[0], points[-1]
    caption = (
        f"From {number(first.tokens.value, digits=0)} tokens a response at the start to "
        f"{number(last.tokens.value, digits=0)} after {last.label}"
    )
    if first.repeated_frac is not None and last.repeated_frac is not None:
        before, now = percent(first.repeated_frac), percent(last.repeated_frac)
        caption += f"; repeated four-grams from {before} to {now}"
    reading = (
        "Longer answers, more repeated four-grams, fewer distinct bigrams or a higher Self-BLEU "
        "(answers like each other) are the usual marks of an exploited reward model. Perplexity is "
        "that under the start policy: low can mean dull text, high strange text. Disagreement is "
        "that of the reward models of a round, beside how much they disagree about the start."
    )
    picture = Picture(over_rounds(points, alt=f"{caption}."), f"{caption}.", reading)
    data = {"tokens": [point.tokens.value for point in points]}
    return Section("What the responses look like", "drift", (picture,), data)


def _scores(report: RoundsReport) -> Section | None:
    caption = "Scores of the responses to held-out prompts, by the reward model of each round."
    shown = [(point, point.scores) for point in report.points if point.scores is not None]
    style = HistogramStyle(
        "score-histograms",
        "policy of the round",
        "start policy",
        "score by the reward model of the round",
    )
    panels = [
        Histogram(point.label, scores.edges, scores.counts, scores.start_counts)
        for point, scores in shown
    ]
    svg = histograms(panels, style=style, alt=caption)
    if svg is None:
        return None
    reading = (
        "Filled: the round's policy; outline: the start policy, by the same reward model. Bars far "
        "beyond the outline are scores that the reward model had no data for; one narrow peak is "
        "one kind of answer."
    )
    data = {point.name: asdict(scores) for point, scores in shown}
    return Section("Scores", "scores", (Picture(svg, caption, reading),), data)


def _samples(report: RoundsReport) -> Section | None:
    if not report.samples:
        return None
    best = report.points[report.best.place]
    items = tuple(
        _exhibit(sample, place=place, best=best.label)
        for place, sample in enumerate(report.samples, 1)
    )
    text = (
        f"The first response of the start policy and of {best.label} to the first held-out "
        "prompts; they were not chosen by how good they are."
    )
    blocks = (Text(text), Exhibits(items))
    return Section("Samples", "samples", blocks, {"num_samples": len(items)})


def _exhibit(sample: Sample, *, place: int, best: str) -> Exhibit:
    prompt, start, new = (
        tuple(passage(turn["role"], turn["content"]) for turn in turns)
        for turns in (sample.prompt, sample.start, sample.best)
    )
    sides = (f"{best[0].upper()}{best[1:]}", "Start")
    return Exhibit(f"Prompt {place}", "", prompt, chosen=new, rejected=start, sides=sides)


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


def _data(report: RoundsReport) -> dict[str, Any]:
    plain = asdict(report)
    del plain["samples"]
    return plain
