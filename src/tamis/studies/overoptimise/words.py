"""What the over-optimisation study found, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.numbers import number_interval, percent
from tamis.studies.noise_figures import as_interval
from tamis.studies.overoptimise.arms import ARMS, RAW
from tamis.studies.overoptimise.curves import END, LATE, LOST, early_place
from tamis.studies.overoptimise.verdicts import REMEDY, with_effect
from tamis.studies.wanted import ALPHA, p_in_words, pick

UNMOVED = 0.05  # a largest change of a weight or target below which labels are as they were
NOISES = {
    "longer": "those where the worse answer is much longer first",
    "uniform": "any of them",
    "near": "those of the closest answers by gold first",
}
STATES = {
    "over-optimised": "Raw labels are over-optimised: from the best of {early} to the best of "
    "{last}, gold falls by {size}.",
    "still gaining": "Raw labels are not over-optimised up to the best of {last}: from the best of "
    "{early}, gold still rises by {size}. So nothing can be delayed here; what is told is which "
    "remedy gains more.",
    "neither": "For raw labels neither a fall nor a rise of gold from the best of {early} to the "
    "best of {last} can be told from none: {size}.",
}

Report = Mapping[str, Any]
Row = dict[str, Any]


def title_of(report: Report, name: str) -> str:
    """Return the title of an arm."""
    return str(pick(report["arms"], name=name).get("title", name))


def lead(report: Report) -> str:
    """Return the study in a few sentences, whichever way they point."""
    rows = report["verdicts"]
    higher = with_effect(rows, which="late", effect="higher")
    delays = [row["arm"] for row in rows if row.get("delays")] if _falls(report) else higher
    vain = [name for name in higher if name not in delays]
    hastens = with_effect(rows, which="late", effect="lower")
    ends = with_effect(rows, which="end", effect="higher")
    below = with_effect(rows, which="end", effect="lower")
    num = sum("late" in row for row in rows)
    verb = "delay over-optimisation" if _falls(report) else "gain more late than raw labels"
    last = report["sizes"][-1]
    said = [
        _state(report),
        f"Of {num} remedies, {_some(report, delays)} {verb}"
        + (
            f", {_some(report, vain)} lose less late and are not surely worth more than one answer"
            if vain
            else ""
        )
        + (f" and {_some(report, hastens)} make it worse" if hastens else "")
        + f"; {_some(report, ends)} end with more gold at the best of {last}"
        + (f", and {_some(report, below)} with less" if below else "")
        + f" (p below {ALPHA} after Holm's correction).",
    ]
    return " ".join([*said, unmoved(report)]).strip()


def sentences(report: Report) -> list[str]:
    """Return one sentence for raw labels, one for each remedy, and one for each reference."""
    found = [_state(report)]
    for arm in report["arms"]:
        of = {"arm": arm["name"]}
        late, end, lost = (
            pick(report["figures"], **of, figure=figure) for figure in (LATE, END, LOST)
        )
        if arm["kind"] == REMEDY:
            verdict = pick(report["verdicts"], **of)
            found.append(
                f"{_capital(arm['title'])} {_delay(report, verdict)}: late gain minus raw "
                f"{_change(late)}, p {p_in_words(late['p_holm'])}. {_end(report, verdict, end)} "
                f"Lost after the peak: {_own(lost)}.{_beside_member(report, arm['name'])}"
            )
        elif arm["name"] != RAW:
            found.append(
                f"For reference, {arm['title']}: gold {_own(end)} at the best of "
                f"{report['sizes'][-1]}, {_change(end)} against raw labels; late gain {_own(late)}."
            )
    return found


def unmoved(report: Report) -> str:
    """Return what has to be known of denoised labels that are those that were given, or nothing."""
    row = pick(report["labels"], labels="denoised")
    arms = [arm["name"] for arm in report["arms"] if ARMS[arm["name"]].labels == "denoised"]
    if not row or not arms or max(row["largest_change"]) >= UNMOVED:
        return ""
    rates = [rate for rate in row["noise_rate"] if rate is not None]
    believed = f"at most {percent(max(rates))}" if rates else "none"
    titles = " and ".join(title_of(report, arm) for arm in arms)
    return (
        f"The vote finds no wrong labels ({believed} by its own estimate, where "
        f"{percent(report['wrong_frac'])} are): it turns none and changes no weight by more than "
        f"{percent(max(row['largest_change']))}. So what {titles} are trained on is as good as raw "
        "labels, and what they differ by from the same training without the vote is chance."
    )


def how_in_words(report: Report) -> str:
    """Return how the study was made."""
    seeds, last = len(report["seeds"]), report["sizes"][-1]
    early = report["sizes"][early_place(report["sizes"])]
    return (
        f"Tier {report['tier']}, {seeds} {'seed' if seeds == 1 else 'seeds'}; models: "
        f"{', '.join(report['models'])}. The gold judge stands for what people want. Proxies learn "
        f"from {report['num_train']:,} pairs of the policy's own answers, labelled by gold, of "
        f"which {percent(report['wrong_frac'])} are turned ({NOISES[report['noise']]}); a seed "
        "draws which, and heads and orders. Every proxy picks from the same "
        f"{report['num_answers']} answers to each of {report['num_prompts']} other prompts; what "
        "is expected of its best of n is exact for these answers. KL is log n − (n − 1) / n. Gold "
        "is in standard deviations of one answer's gold reward within its prompt, and 0 is one "
        "answer. The seeds share the answers that proxies are trained on. Intervals "
        "and p-values count both prompts and seeds as drawn. Fixed "
        f"beforehand: a proxy is over-optimised if gold surely falls from the best of {early} to "
        f"the best of {last} (the late gain); if raw labels are, a remedy delays this if its late "
        f"gain is above theirs with p below {ALPHA} after Holm's correction over the remedies, and "
        "its own gold at the end is surely above that of one answer."
    )


def _state(report: Report) -> str:
    nums = report["sizes"]
    late = pick(report["figures"], arm=RAW, figure=LATE)
    state = pick(report["verdicts"], arm=RAW)["state"]
    gain = as_interval(late["value"])
    if state == "over-optimised":
        gain = type(gain)(-gain.value, -gain.high, -gain.low, gain.num_items)
    return STATES[state].format(
        early=nums[early_place(nums)], last=nums[-1], size=number_interval(gain, digits=2)
    )


def _falls(report: Report) -> bool:
    return bool(pick(report["verdicts"], arm=RAW)["state"] == "over-optimised")


def _delay(report: Report, verdict: Row) -> str:
    if _falls(report):
        words = {"higher": "delays over-optimisation", "lower": "hastens over-optimisation"}
        if verdict["late"] == "higher" and not verdict["delays"]:
            return (
                "loses less late than raw labels, but its own gold at the end is not surely above "
                "that of one answer, so it delays nothing"
            )
        return words.get(verdict["late"], "does not surely delay over-optimisation")
    words = {"higher": "gains more late than raw labels", "lower": "gains less late"}
    return words.get(verdict["late"], "is not told from raw labels in its late gain")


def _end(report: Report, verdict: Row, end: Row) -> str:
    words = {"higher": "surely more gold", "lower": "surely less gold"}
    what = words.get(verdict["end"], "no sure difference in gold")
    return (
        f"At the best of {report['sizes'][-1]} there is {what}: {_change(end)}, "
        f"p {p_in_words(end['p_holm'])}."
    )


def _beside_member(report: Report, name: str) -> str:
    """Return how an arm differs from one of the models that it is made of, if it is known."""
    row = pick(report["beside_member"], arm=name, figure=END)
    if not row:
        return ""
    gap = number_interval(as_interval(row["difference"]), digits=2)
    return (
        f" Gold at the best of {report['sizes'][-1]} minus that of one of its models alone: "
        f"{gap}, p {p_in_words(row['p'])}."
    )


def _change(row: Row) -> str:
    return number_interval(as_interval(row["minus_raw"]), digits=2)


def _own(row: Row) -> str:
    return number_interval(as_interval(row["value"]), digits=2)


def _some(report: Report, names: Sequence[str]) -> str:
    titles = ", ".join(title_of(report, name) for name in names)
    return f"{len(names)} ({titles})" if names else "none"


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]
