"""When the rounds stop, and which round is kept: pure functions of what was measured.

Every rule looks at the points of all rounds so far, the start policy's first, and says in a
sentence why it would stop, or nothing. The thresholds are our own defaults; the papers give none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from tamis.policy.iterate.points import START, RoundPoint
from tamis.types import Config, Interval


class StopConfig(Config):
    """What ends the rounds before all of them are run; ``null`` switches a rule off."""

    quality_patience: int | None = Field(
        1,
        ge=1,
        description="so many rounds in a row with a quality below the best so far, by more than "
        "the noise of both; beside a judge, the gold reward alike",
    )
    kl: float | None = Field(
        50.0, gt=0, description="KL divergence from the start policy, in nats a response"
    )
    length_factor: float | None = Field(
        2.0, gt=1, description="responses so many times as long as at the start, or as short"
    )
    finished_fall: float | None = Field(
        0.3, gt=0, lt=1, description="fall of the share of responses that end before the limit"
    )
    repeated_rise: float | None = Field(
        0.2, gt=0, description="rise of the share of four-grams that a response repeats"
    )
    distinct_factor: float | None = Field(
        0.5, gt=0, lt=1, description="distinct bigrams of all, as a part of those at the start"
    )
    proxy_patience: int | None = Field(
        2,
        ge=1,
        description="so many rounds in a row whose reward models prefer the responses to those of "
        "the round of the best quality so far by more than noise, while quality fell",
    )
    spread_factor: float | None = Field(
        2.0,
        gt=1,
        description="the reward models of a round disagree so many times as much about responses "
        "as about those of the start policy",
    )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the rounds stop: the name of a rule, what it saw, and in how many of the last rounds."""

    rule: str
    sentence: str
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Best:
    """The round that is kept, by the place of its point (0 = the start policy), and why."""

    place: int
    name: str
    sentence: str


def noise(one: Interval, other: Interval) -> float:
    """Return how far apart two estimates may be by chance.

    The root of the summed squares of the halves of both intervals that face each other; ``one`` is
    the higher estimate. Of rounds measured on the same prompts it errs towards too much.

    >>> noise(Interval(0.6, 0.3, 0.7), Interval(0.5, 0.3, 0.9))
    0.5
    """
    below, above = max(0.0, one.value - one.low), max(0.0, other.high - other.value)
    return math.hypot(below, above)


def stop_reasons(points: Sequence[RoundPoint], *, config: StopConfig) -> tuple[Reason, ...]:
    """Return why the rounds should end after the last of these points; nothing = they go on.

    Args:
        points: of the start policy, then of each round; the start alone stops nothing.
        config: the thresholds.
    """
    if len(points) < 2:
        return ()
    found = {
        "quality": _falls(points, _QUALITY, config.quality_patience),
        "gold": _falls(points, _GOLD, config.quality_patience),
        "proxy": _proxy_parts(points, config.proxy_patience),
        "kl": _kl_is_high(points[-1], config.kl),
        "length": _length_drifts(points, config.length_factor),
        "cut": _fewer_finish(points, config.finished_fall),
        "repetition": _text_repeats(points, config.repeated_rise),
        "diversity": _words_recur(points, config.distinct_factor),
        "spread": _members_part(points[-1], config.spread_factor),
    }
    quality, proxy = config.quality_patience or 1, config.proxy_patience or 1
    rounds = {"quality": quality, "gold": quality, "proxy": proxy}
    return tuple(
        Reason(rule, sentence, rounds.get(rule, 1)) for rule, sentence in found.items() if sentence
    )


def idle_rules(
    start: RoundPoint, *, config: StopConfig, max_new_tokens: int, members: int
) -> tuple[str, ...]:
    """Return what no rule will notice, in sentences, once the start policy was measured.

    Args:
        start: its point.
        config: the thresholds.
        max_new_tokens: the limit that held-out responses are cut at.
        members: scorers that reward a round, whose disagreement is measured.
    """
    found = []
    if start.quality is None and (config.quality_patience or config.proxy_patience):
        found.append("no quality is measured (measure.judge, measure.gold), so none can fall")
    longest, factor = start.tokens.value, config.length_factor
    if factor is not None and longest * factor > max_new_tokens:
        found.append(
            f"responses of the start policy have {longest:.0f} tokens and are cut at "
            f"{max_new_tokens}, so they cannot become {factor:g} times as long"
        )
    finished, fall = start.finished_frac, config.finished_fall
    if finished is not None and fall is not None and finished <= fall:
        found.append(
            f"{100 * finished:.0f}% of the responses of the start policy end before that limit, so "
            f"this share cannot fall by {100 * fall:g} points"
        )
    if members == 1 and config.spread_factor is not None:
        found.append(
            "one reward model a round cannot disagree with itself (reward_model.members, or more "
            "improve.reward.scorers)"
        )
    return tuple(found)


def best_round(points: Sequence[RoundPoint], *, reasons: Sequence[Reason] = ()) -> Best:
    """Return which policy to keep.

    The last rounds are left out that a rule objected to. The start policy is kept where no other
    round has a higher quality than it. Else the rounds count that are within noise of the highest
    quality, and not below the start: what tells them apart is how far they went from it, and the
    one of the lowest KL is kept. Where no quality was measured, the last of all rounds is.

    Args:
        points: of the start policy, then of each round.
        reasons: what `stop_reasons` says of the last of them.
    """
    objected = min(max((reason.rounds for reason in reasons), default=0), len(points) - 1)
    allowed = points[: len(points) - objected]
    left_out = ""
    if objected:
        rules = ", ".join(reason.rule for reason in reasons)
        names = " and ".join(_named(point, middle=True) for point in points[len(allowed) :])
        left_out = f"; {names} {'is' if objected == 1 else 'are'} left out: {rules}"
    known = [place for place, point in enumerate(allowed) if point.quality is not None]
    if not known:
        place = len(allowed) - 1
        why = f"the last {'one that no rule objected to' if reasons else 'round'}"
        kept = f"{_named(points[place])} is kept, {why}; no quality was measured{left_out}."
        return Best(place, points[place].name, kept)
    # of the same quality the start policy comes first: a KL that is measured may be below 0
    top = max(
        known, key=lambda at: (_quality(points[at]).value, at == 0, -points[at].kl.value, -at)
    )
    place = top if top == 0 else _nearest(points, known, top=top)
    why = _why_best(points, place=place, top=top, rest=" of the rest" if objected else "")
    return Best(place, points[place].name, f"{why}{left_out}.")


def _nearest(points: Sequence[RoundPoint], known: Sequence[int], *, top: int) -> int:
    """Return the round of the lowest KL among those within noise of the highest quality."""
    best, start = _quality(points[top]), points[0].quality
    least = -math.inf if start is None else start.value
    near = [
        at
        for at in known
        if at > 0
        and best.value - _quality(points[at]).value <= noise(best, _quality(points[at]))
        and _quality(points[at]).value >= least
    ]
    return min(near, key=lambda at: (points[at].kl.value, -_quality(points[at]).value, at))


def _why_best(points: Sequence[RoundPoint], *, place: int, top: int, rest: str) -> str:
    """Return the sentence without its end; ``rest`` says that a round is left out."""
    best, start = points[place], points[0]
    if place == 0:
        return f"The start policy is kept: no round{rest} has a higher quality"
    quality = _quality(best)
    of_start = f"{best.kl.value:.2f} nats from the start"
    sentence = (
        f"{_named(best)} is kept: its quality is the highest{rest}, {_told(quality)}, at a "
        f"KL of {of_start}"
    )
    if place != top:
        highest = f"{_told(_quality(points[top]))} of {_named(points[top], middle=True)}"
        sentence = (
            f"{_named(best)} is kept: its quality, {_told(quality)}, is within noise of the "
            f"highest{rest}, {highest}, at a lower KL of {of_start}"
        )
    if start.quality is None:
        return sentence
    above = quality.value - start.quality.value > noise(quality, start.quality)
    return f"{sentence}; this is {'' if above else 'not '}above the start policy by more than noise"


def _gold(point: RoundPoint) -> Interval | None:
    """Return the gold reward's gain where it is not the quality, but stands beside a judge."""
    if point.name == START:
        return Interval(0.0, 0.0, 0.0)
    return None if point.win_rate is None else point.gold_gain


# what may fall, and how a sentence calls it
_Watched = tuple[str, Callable[[RoundPoint], Interval | None]]
_QUALITY: _Watched = ("quality", lambda point: point.quality)
_GOLD: _Watched = ("gold reward", _gold)


def _falls(points: Sequence[RoundPoint], watched: _Watched, patience: int | None) -> str:
    what, value_of = watched
    values = [(point, value_of(point)) for point in points]
    known = [(point, value) for point, value in values if value is not None]
    if patience is None or len(known) <= patience:
        return ""
    best, top = max(known[:-patience], key=lambda item: item[1].value)
    late = [value for _, value in known[-patience:]]
    if not all(top.value - one.value > noise(top, one) for one in late):
        return ""
    rounds = "the last round" if patience == 1 else f"each of the last {patience} rounds"
    return (
        f"The {what} of {rounds} is below that of {_named(best, middle=True)} by more than noise: "
        f"{_told(late[-1])} after {_told(top)}."
    )


def _proxy_parts(points: Sequence[RoundPoint], patience: int | None) -> str:
    """Say that rewards rise and quality falls, the mark of over-optimisation (Gao et al. 2022).

    Quality may fall by less than noise here: that the proxy rises, and for several rounds, tells it
    from chance.
    """
    known = [point for point in points if point.quality is not None]
    if patience is None or len(known) <= patience:
        return ""
    best, late = known[best_quality(known[:-patience])], known[-patience:]
    top, gains = _quality(best), [point.proxy_since_best for point in late]
    for point, gain in zip(late, gains, strict=True):
        # the reward models of one round judge both: those of two have no scale in common
        if gain is None or gain.low <= 0 or _quality(point).value >= top.value:
            return ""
    assert gains[-1] is not None, "compared above"
    rounds = "the last round" if patience == 1 else f"each of the last {patience} rounds"
    return (
        f"In {rounds} the reward models prefer the responses to those of "
        f"{_named(best, middle=True)}, and quality is below it: a gain of {_told(gains[-1])}, and "
        f"{_told(_quality(late[-1]))} after {_told(top)}. The reward models are over-optimised."
    )


def best_quality(points: Sequence[RoundPoint]) -> int:
    """Return the place of the first of the highest quality; 0 where none is known."""
    values = [-math.inf if one.quality is None else one.quality.value for one in points]
    return values.index(max(values))


def _kl_is_high(last: RoundPoint, limit: float | None) -> str:
    if limit is None or last.kl.value <= limit:
        return ""
    return (
        f"The KL from the start policy is {last.kl.value:.1f} nats, above the limit of {limit:g}."
    )


def _length_drifts(points: Sequence[RoundPoint], factor: float | None) -> str:
    before, now = points[0].tokens.value, points[-1].tokens.value
    if factor is None or before <= 0 or before / factor <= now <= before * factor:
        return ""
    bound = f"more than {factor:g} times" if now > before else f"less than 1/{factor:g} of"
    return f"Responses have {now:.0f} tokens, {bound} the {before:.0f} of the start policy."


def _fewer_finish(points: Sequence[RoundPoint], fall: float | None) -> str:
    before, now = points[0].finished_frac, points[-1].finished_frac
    if fall is None or before is None or now is None or before - now <= fall:
        return ""
    return (
        f"{100 * now:.0f}% of the responses end before the limit of tokens, after "
        f"{100 * before:.0f}% at the start; the limit is a fall of {100 * fall:g} points."
    )


def _text_repeats(points: Sequence[RoundPoint], rise: float | None) -> str:
    before, now = points[0].repeated_frac, points[-1].repeated_frac
    if rise is None or before is None or now is None or now - before <= rise:
        return ""
    return (
        f"A response repeats {100 * now:.0f}% of its four-grams, after {100 * before:.0f}% at the "
        f"start; the limit is a rise of {100 * rise:g} points."
    )


def _words_recur(points: Sequence[RoundPoint], factor: float | None) -> str:
    before, now = points[0].distinct_2, points[-1].distinct_2
    if factor is None or before is None or now is None or now >= factor * before:
        return ""
    return (
        f"{100 * now:.0f}% of all bigrams are distinct, less than {factor:g} times the "
        f"{100 * before:.0f}% of the start policy."
    )


def _members_part(last: RoundPoint, factor: float | None) -> str:
    ratio = last.spread_ratio
    if factor is None or ratio is None or ratio <= factor:
        return ""
    return (
        f"The reward models disagree {ratio:.1f} times as much as about responses of the start "
        f"policy; the limit is {factor:g}."
    )


def _quality(point: RoundPoint) -> Interval:
    assert point.quality is not None
    return point.quality


def _told(value: Interval) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _named(point: RoundPoint, *, middle: bool = False) -> str:
    """Return how a sentence calls a policy, at its beginning or in its middle.

    >>> from tamis.types import Interval
    >>> zero = Interval(0.0, 0.0, 0.0)
    >>> _named(RoundPoint("round-03", zero, zero)), _named(RoundPoint("start", zero, zero))
    ('Round 3', 'The start policy')
    """
    number = point.name.removeprefix("round-")
    text = f"Round {int(number)}" if number.isdigit() else "The start policy"
    return text[0].lower() + text[1:] if middle else text
