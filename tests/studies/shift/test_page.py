import numpy as np
import pytest
from made_scores import (
    ALL_SETS,
    HELPFUL,
    LEVELS,
    chance_run,
    made_clusters,
    made_levels,
    made_sets,
)

from tamis.report.blocks import Bullets, Fold, Picture, Table, Text
from tamis.report.numbers import number
from tamis.report.page import render
from tamis.studies.present import as_markdown, terminal_tables
from tamis.studies.shift.arms import COMBINED, MEMBER, METARM_OUTER, arm_of
from tamis.studies.shift.figures import build_report
from tamis.studies.shift.measures import OUT, SCORE
from tamis.studies.shift.page import NOTHING, shift_sections

SEEDS = (0, 1, 2, 3, 4)


def made_report(**accuracy):
    rng = np.random.default_rng(0)
    scores = {
        arm: [chance_run(rng, accuracy=value) for _ in SEEDS] for arm, value in accuracy.items()
    }
    arms = [arm_of(name) for name in scores]
    return {
        "study": "shift",
        "tier": "quick",
        "seeds": list(SEEDS),
        "models": ["a small one"],
        "num_train": 20,
        "num_pool": 60,
        "arms": [{"name": arm.name, "title": arm.title, "what": arm.what} for arm in arms],
        "recommended": COMBINED,
        **build_report(
            made_sets(),
            made_clusters(),
            levels=made_levels(),
            scores=scores,
            seeds=SEEDS,
            recommended=COMBINED,
        ),
    }


@pytest.fixture(scope="module")
def report():
    return made_report(**{"plain": 0.5, "swav": 0.2, METARM_OUTER: 0.56, "combined": 0.9})


@pytest.fixture(scope="module")
def sections(report):
    return shift_sections(report)


@pytest.fixture(scope="module")
def written(sections):
    return as_markdown(sections, place="study-shift", images="images")


def test_the_page_leads_with_what_was_found(report, sections):
    first = sections[0]
    assert [section.anchor for section in sections] == [
        "shift",
        "shift-policy",
        "shift-not",
        "shift-sets",
    ]
    assert first.data == report
    assert "1 of 3 methods are better than plain training and 1 worse" in first.lead
    assert "prioritised sampling + GRM, differs from it by +" in first.lead
    assert render(sections).count("<figure") == 2


def test_the_page_says_over_how_many_methods_and_on_which_pairs(report, written):
    assert "correction is over the 3 methods of this run (the study has 15)" in written.text
    assert "under one seed on the same pairs" in written.text
    alone = made_report(plain=0.5, combined=0.6) | {"num_train": 60}
    text = as_markdown(shift_sections(alone), place="study-shift", images="images").text
    assert "correction is over the one method of this run (the study has 15)" in text
    assert "under all seeds on the same 60 pairs" in text
    assert "of 1 goals" in text


def test_every_method_has_a_row(sections):
    tables = {caption: (header, rows) for caption, header, rows in terminal_tables(sections)}
    goals, methods, level = tables.values()
    assert [row[3] for row in goals[1]][:2] == ["yes", "yes"]
    assert [row[0] for row in methods[1]] == [
        "plain",
        "SwAV",
        "MetaRM",
        "prioritised sampling + GRM",
        "always the longer",
        "always the shorter",
    ]
    plain, swav, _, combined, longer, _ = methods[1]
    assert plain[3:6] == ["–", "–", "–"]
    assert swav[3].startswith("−")
    assert (swav[5], combined[5]) == ("0 of 5", "5 of 5")
    assert longer[1].startswith("25.0% [")
    assert methods[0][6] == "spread, best of 4"
    assert {len(row) for row in methods[1]} == {len(methods[0])}
    assert [row[0] for row in level[1]] == [row[0] for row in methods[1]]
    assert {len(row) for row in level[1]} == {len(level[0])}
    of_plain, *_, longer, _ = level[1]
    assert of_plain[3] == "1.00"  # the gap in distribution
    assert longer[6].startswith("50.0%")


def test_pictures_show_all_differences_and_the_spread_of_three(report, written):
    assert list(written.pictures) == ["study-shift-1.svg", "study-shift-2.svg"]
    forest, spread = written.pictures.values()
    for title in ("SwAV", "MetaRM", "prioritised sampling + GRM", "plain training"):
        assert f">{title}<" in forest
    for row in report["differences"]:
        if (row["part"], row["name"]) == (SCORE, OUT):
            assert f">{number(100 * row['difference']['value'], digits=1)}<" in forest
    assert ">SwAV<" not in spread
    for words in ("plain", "MetaRM", "prioritised sampling + GRM", "of 4", "0.7"):
        assert f">{words}<" in spread


def test_what_did_not_help_is_named(sections):
    below, unsure = sections[2].blocks
    assert isinstance(below, Bullets)
    assert [item.split(":")[0] for item in below.items] == ["SwAV"]
    assert "above plain training under 0 of 5 seeds" in below.items[0]
    assert [item.split(":")[0] for item in unsure.items] == ["MetaRM"]


def test_where_all_helps_the_page_says_so():
    (block,) = shift_sections(made_report(plain=0.1, combined=0.9))[2].blocks
    assert block == Text("Every method is surely better than plain training.")


def test_all_test_sets_are_folded_away(sections):
    by_data, by_set = sections[3].blocks
    assert isinstance(by_set, Fold)
    (table,) = by_set.blocks
    assert isinstance(table, Table)
    assert list(dict.fromkeys(row[0] for row in table.rows)) == list(ALL_SETS)
    assert len(table.rows) == len(ALL_SETS) * (4 + 2)
    assert len(by_data.blocks[0].rows) == 3 * (4 + 2)
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_models_together_have_a_table_of_their_own():
    report = made_report(**{"plain": 0.5, MEMBER: 0.5, "warm": 0.9, "combined": 0.6})
    tables = {caption: rows for caption, _, rows in terminal_tables(shift_sections(report))}
    (rows,) = (rows for caption, rows in tables.items() if caption.startswith("Several models"))
    assert [tuple(row[:2]) for row in rows] == [("WARM", "in distribution"), ("WARM", OUT)]
    assert rows[1][2].startswith("+")
    overview, _, not_helped, _ = shift_sections(report)
    assert "of 2 methods" in overview.lead  # one of three models is none
    assert "one of three models" not in str(not_helped.blocks)
    (methods,) = (rows for caption, rows in tables.items() if caption.startswith("Accuracy of"))
    assert [row[4] == NOTHING for row in methods[:4]] == [True, True, False, False]
    assert "cost as many trainings" in str(overview.blocks)


def test_minus_signs_are_real(sections, written):
    cells = [cell for _, _, rows in terminal_tables(sections) for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith("-") or "[-" in cell]
    assert "−" in written.text
    pictures = [b for section in sections for b in section.blocks if isinstance(b, Picture)]
    assert not [picture for picture in pictures if ">-" in str(picture.svg)]


def test_methods_and_levels_are_explained(written):
    for words in (
        arm_of(METARM_OUTER).what,
        f"2 data sets ({HELPFUL}, code)",
        "best of 4 (0.64)",
        "Spread and gold order, temperature 0.7",
        "Tier quick, 5 seeds",
    ):
        assert words in written.text
    assert len(LEVELS) == written.text.count("Spread and gold order, ")
