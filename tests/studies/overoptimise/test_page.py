import numpy as np
import pytest

from tamis.report.page import render
from tamis.studies.overoptimise.arms import (
    ALL_ARMS,
    COMBINED,
    DENOISED,
    MEMBER,
    METARM,
    ORACLE,
    RAW,
    WARM,
    arm_of,
)
from tamis.studies.overoptimise.figures import best_of_report
from tamis.studies.overoptimise.looks import Look, rl_report
from tamis.studies.overoptimise.page import LOOKS, over_sections
from tamis.studies.overoptimise.pools import standardised
from tamis.studies.overoptimise.words import lead, sentences
from tamis.studies.present import as_markdown, terminal_tables

RIGHT = {"value": 0.61, "low": 0.5, "high": 0.7, "num_items": 40}
SEEDS = tuple(range(8))
LENGTH_PK = np.random.default_rng(0).normal(size=(30, 32))
OVER = standardised(-((LENGTH_PK - 0.8) ** 2))  # more is worse in the end
GAIN = standardised(LENGTH_PK)


def made_report(gold_PK, proxies, *, looks=None):
    rng = np.random.default_rng(1)
    scores = {
        name: proxy_PK + 0.3 * rng.normal(size=(len(SEEDS), *proxy_PK.shape))
        for name, proxy_PK in proxies.items()
    }
    arms = [arm_of(name) for name in proxies]
    return {
        "study": "overoptimise",
        "tier": "quick",
        "seeds": list(SEEDS),
        "models": ["a small one"],
        "num_train": 120,
        "num_prompts": 30,
        "num_answers": 32,
        "noise": "uniform",
        "wrong_frac": 0.25,
        "arms": [{"name": a.name, "title": a.title, "what": a.what, "kind": a.kind} for a in arms],
        "gold": [{"data": "HH-RLHF", "num_pairs": 40, "accuracy": RIGHT, "longer": 0.52}],
        "labels": labels_of(0.3),
        **best_of_report(arms, scores, gold_PK=gold_PK),
        **({"rl": []} if looks is None else rl_report(looks, gold_std=1.0)),
        "notes": ["a note"],
    }


def labels_of(change):
    """Tell of labels of which the vote changes so much."""
    given = {"weight_on_wrong": [0.25] * 3, "noise_rate": [None] * 3, "largest_change": [0.0] * 3}
    moved = {"noise_rate": [0.01, 0.02, 0.0], "largest_change": [0.0, change, 0.0]}
    return [{"labels": "given", **given}, {"labels": "denoised", **given, **moved}]


def look(step, kl, gold):
    """Look at four prompts."""
    return Look(step, kl, [gold - 0.01, gold, gold, gold + 0.01], [2.0 * step] * 4)


@pytest.fixture(scope="module")
def report():
    proxies = dict.fromkeys(ALL_ARMS, LENGTH_PK)
    looks = {
        RAW: [[look(0, 0.0, 0.0), look(5, 0.5, 0.4 + s), look(9, 1.0, s)] for s in (0, 0.01, 0.02)],
        COMBINED: [[look(0, 0.0, 0.0), look(5, 0.4, 0.3), look(9, 0.9, 0.5)]] * 3,
    }
    return made_report(OVER, proxies | {DENOISED: OVER, WARM: -LENGTH_PK}, looks=looks)


def test_the_page_says_which_remedy_delays_and_which_does_not(report):
    said = dict(zip(ALL_ARMS, sentences(report), strict=True))
    assert said[RAW].startswith("Raw labels are over-optimised: from the best of 8 to")
    assert said[DENOISED].startswith("Denoised delays over-optimisation: late gain minus raw 0.")
    assert "there is surely more gold" in said[DENOISED]
    assert said[METARM].startswith("MetaRM does not surely delay over-optimisation")
    assert "there is no sure difference in gold" in said[METARM]
    assert said[WARM].startswith("WARM hastens over-optimisation")
    assert "there is surely less gold" in said[WARM]
    assert "minus that of one of its models alone: −" in said[WARM]
    assert said[MEMBER].startswith("For reference, one of three models: gold ")
    assert said[ORACLE].startswith("For reference, ")
    assert "Of 7 remedies, 1 (denoised) delay over-optimisation and 1 (WARM) make" in lead(report)
    assert "1 (denoised) end with more gold at the best of 32, and 1 (WARM) with" in lead(report)


def test_the_size_of_a_fall_is_positive(report):
    fall = sentences(report)[0].partition("gold falls by ")[2]
    assert not fall.startswith("−")


def test_a_proxy_that_gains_nothing_delays_nothing():
    found = made_report(OVER, {RAW: LENGTH_PK, DENOISED: np.zeros_like(LENGTH_PK)})
    assert sentences(found)[1].startswith("Denoised loses less late than raw labels, but its own")
    assert "Of 1 remedies, none delay over-optimisation, 1 (denoised) lose less late" in lead(found)


def test_where_nothing_falls_nothing_is_delayed():
    found = made_report(GAIN, {RAW: 0.5 * LENGTH_PK, DENOISED: 9 * LENGTH_PK, WARM: -LENGTH_PK})
    said = sentences(found)
    assert "are not over-optimised up to the best of 32" in said[0]
    assert "gold still rises by" in said[0]
    assert "gains more late than raw labels" in said[1]
    assert "gains less late" in said[2]
    assert "delay" not in lead(found).partition("told is")[2]


def test_where_raw_labels_do_neither_this_is_said():
    nothing = np.zeros_like(LENGTH_PK)  # noise alone picks
    found = made_report(GAIN, {RAW: nothing, DENOISED: nothing})
    assert "neither a fall nor a rise" in lead(found)
    assert "Of 1 remedies, none gain more" in lead(found)


def test_sections_are_pages_markdown_and_tables(report):
    sections = over_sections(report)
    html = render(sections)
    assert "Over-optimisation" in html
    written = as_markdown(sections, place="study-overoptimise", images="images")
    assert len(written.pictures) == 3
    assert "Gold reward at every n" not in written.text
    assert "Gold and proxy reward at every n:" in written.text
    assert "| true labels |" in written.text
    assert "nan" not in written.text
    assert len(terminal_tables(sections)) == 5
    assert [s.title for s in over_sections({**report, "rl": []})] == [
        "Over-optimisation",
        "Gold against KL",
        "Every number",
    ]


def test_it_is_said_where_the_vote_leaves_labels_as_they_are(report):
    assert "The vote" not in lead(report)
    said = lead({**report, "labels": labels_of(0.012)})
    assert said.endswith(
        "The vote finds no wrong labels (at most 2.0% by its own estimate, where 25.0% are): it "
        "turns none and changes no weight by more than 1.2%. So what denoised and denoised + WARM "
        "are trained on is as good as raw labels, and what they differ by from the same training "
        "without the vote is chance."
    )
    nobody = [arm for arm in report["arms"] if arm["name"] not in (DENOISED, COMBINED)]
    assert "The vote" not in lead({**report, "arms": nobody, "labels": labels_of(0.012)})


def test_no_two_proxies_look_alike():
    assert set(LOOKS) == set(ALL_ARMS)
    assert len(set(LOOKS.values())) == len(ALL_ARMS)


def test_the_rl_section_compares_at_the_nats_that_all_runs_reach(report):
    section = over_sections(report)[-1]
    assert section.lead.startswith("After 0.90 nats of reinforcement learning, raw labels: gold")
    assert "has changed by 0.09 [" in section.lead
    assert "it falls (over-optimised): −0.2" in section.lead
    assert "denoised + WARM: gold has changed by 0.50 [" in section.lead
    assert "it still rises: 0.1" in section.lead
    assert "; minus raw 0.41 [" in section.lead
