"""What the section on training says of another objective than the plain one."""

import json

import pytest

from tamis.report.sections.training import section


@pytest.fixture
def said(tmp_path):
    """Writes a training report and returns the section's text."""

    def write(**more):
        points = [{"step": n, "loss": 1.0 / n, "accuracy": 0.5} for n in range(1, 5)]
        report = {"num_pairs": 8, "num_steps": 4, "loss": points, **more}
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / "report.json").write_text(json.dumps(report))
        *texts, picture = section(tmp_path).blocks
        said = " | ".join(text.text for text in texts)
        return said + picture.reading + str(picture.svg)

    return write


def test_the_scale_of_scores_is_told(said):
    scale = {"num_steps": 1, "mean_abs_delta": 1.234, "score_mean": 0.1, "score_std": 2.0}
    assert "are 1.23 apart on average" in said(score_scale={"training": scale})
    assert "apart" not in said()


def test_what_a_meta_step_and_a_prioritised_sampler_did_is_told(said):
    spread = {"before": 0.123, "after": 0.456}
    text = said(meta={"num_held_out": 7, "held_out_spread": spread})
    assert "scored 0.12 apart on average before training, and 0.46 after, on 7 held-out" in text
    assert "held-out" not in said(meta={"num_held_out": 0})
    assert "inner steps were 0.0012 of an outer step long, too short to" in said(
        meta={"inner_steps": 0.0012}
    )
    assert "1.0000 of an outer step long. Unlabelled" in said(
        meta={"inner_steps": 1.0, "num_held_out": 7, "held_out_spread": spread}
    )
    draws = {"num_unique": 6, "num_pairs": 8}
    assert "6 of 8 pairs were drawn, hard ones more often." in said(draws=draws)
    assert "gold" not in said(draws=draws)
    wrong = {"wrong_frac_of_draws": 0.25, "wrong_frac_of_pairs": 0.125}
    assert "25.0% of the draws have a label that gold contradicts, 12.5%" in said(
        draws={**draws, **wrong}
    )


def test_warnings_are_told(said):
    assert " | parts are of 2 pairs." in said(warnings=["parts are of 2 pairs"])
    assert " | " not in said()


def test_a_loss_of_ln_2_knows_nothing_in_bradley_terry_alone(said):
    assert "gives every pair the gap zero" in said()
    assert "gives every pair the gap zero" in said(objective={"loss": "bradley_terry"})
    for objective in (
        {"loss": "hinge"},
        {"loss": "bradley_terry", "terms": {"centring": {}}},
        {"loss": "bradley_terry", "base_coefficient": 0.5},
    ):
        assert "where the loss began" in said(objective=objective)
