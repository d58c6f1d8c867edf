"""What the report says of policies: of rounds of iterated RLHF, and of single stages."""

from __future__ import annotations

from pathlib import Path

from tamis.report.blocks import Section
from tamis.report.policy_records import RoundsReport
from tamis.report.policy_rl import rl_kl_section, rl_scores_section
from tamis.report.policy_rounds import rounds_sections
from tamis.report.policy_single import single_sections
from tamis.report.policy_steps import rows_of_runs, steps_section
from tamis.report.read import load_record

ROUNDS = "rounds.json"
SUBTITLE = "What a policy became while it was optimised with a reward model."


def policy_sections(run: Path) -> list[Section]:
    """Return the sections on policies of a run; none where it has none.

    Raises:
        DataError: a file is damaged.
    """
    report = load_record(run / ROUNDS, RoundsReport)
    rows_of = rows_of_runs(run)
    makers = (rl_kl_section, steps_section, rl_scores_section)
    steps = [part for make in makers if (part := make(rows_of)) is not None] if rows_of else []
    found = single_sections(run) if report is None else rounds_sections(report)
    # samples are the longest part, and come last
    place = next((at for at, part in enumerate(found) if part.anchor == "samples"), len(found))
    return [*found[:place], *steps, *found[place:]]
