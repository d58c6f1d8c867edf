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
        text, picture = section(tmp_path).blocks
        return text.text + picture.reading + str(picture.svg)

    return write


def test_the_scale_of_scores_is_told(said):
    scale = {"num_steps": 1, "mean_abs_delta": 1.234, "score_mean": 0.1, "score_std": 2.0}
    assert "are 1.23 apart on average" in said(score_scale={"training": scale})
    assert "apart" not in said()


def test_a_loss_of_ln_2_knows_nothing_in_bradley_terry_alone(said):
    assert "gives every pair the gap zero" in said()
    assert "gives every pair the gap zero" in said(objective={"loss": "bradley_terry"})
    for objective in (
        {"loss": "hinge"},
        {"loss": "bradley_terry", "terms": {"centring": {}}},
        {"loss": "bradley_terry", "base_coefficient": 0.5},
    ):
        assert "where the loss began" in said(objective=objective)
