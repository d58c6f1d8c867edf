"""Section "Would more voters change the vote?": how the order of the pairs settles."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tamis.report.blocks import Picture, Section, Text
from tamis.report.curves import Growth, voter_curves
from tamis.report.numbers import number
from tamis.report.pictures import MUTED, RIGHT
from tamis.report.read import load_record
from tamis.report.records import ConvergenceReport, VoteReport

ORDER = 45


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where there are no votes or too few voters to compare."""
    report = load_record(run / "vote" / "report.json", VoteReport)
    if report is None or report.convergence is None:
        return None
    found = report.convergence
    explain = (
        "Voters differ, so another draw of them would order the pairs a little differently. A vote "
        f"has enough voters once two such votes would correlate at {number(found.enough_at)} or "
        "more (Spearman). That says nothing of whether the order is right: voters may agree on "
        "what is wrong."
    )
    return Section(
        title="Would more voters change the vote?",
        anchor="convergence",
        blocks=(Text(explain), _picture(found)),
        data=asdict(found),
        lead=found.sentence,
    )


def _picture(found: ConvergenceReport) -> Picture:
    others = [
        (step.num_voters, step.with_others) for step in found.steps if step.with_others is not None
    ]
    curves = [
        Growth(
            "with all voters", [(step.num_voters, step.with_final) for step in found.steps], MUTED
        )
    ]
    if others:
        ahead = [(found.num_voters, found.two_votes), (2 * found.num_voters, found.two_doubled)]
        curves.append(Growth("with as many others", others, RIGHT, ahead))
    reading = (
        "The upper curve compares the vote of some voters with the vote of all of them, which they "
        "are part of: it is too high, and ends at 1. The lower one compares it with the vote of as "
        "many other voters, as far as there are any; from the halves on it is extrapolated by the "
        "formula of Spearman and Brown to two whole votes, and to two of twice the size. Points "
        "are means over random draws of voters."
    )
    if found.two_votes_at_most is not None and found.two_votes_at_most > found.two_votes:
        reading += (
            " Here voters share out the pairs, and the errors of those that learn from different "
            "halves cancel in part: the prediction is a lower bound."
        )
    alt = f"Correlation of votes over the number of voters. {found.sentence}"
    svg = voter_curves(curves, level=found.enough_at, alt=alt)
    return Picture(svg, caption=found.sentence, reading=reading)
