"""What reviewers decided calibrates P(label wrong): from the review's export to the policy."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from reviews import make_pairs, visit, write_run

from tamis.denoise.tables import read_verdicts
from tamis.runs import read_json

NUM_PAIRS, NUM_JUDGED = 40, 24
FLIPPED = {0, 1, 2, 4, 6}  # among the most suspicious pairs, not in one row
SAID_NOTHING = {5: "tie", 7: "drop"}  # of the label


@pytest.fixture
def run(tmp_path):
    """A run with forty pairs; the vote suspects p0 most, then p1, and so on."""
    return write_run(tmp_path / "run", make_pairs(NUM_PAIRS))


def judge(run, numbers):
    with visit(run) as ada:
        for number in numbers:
            spoken = "flip" if number in FLIPPED else "keep"
            ada.judge(f"p{number}", SAID_NOTHING.get(number, spoken))


def probabilities(run):
    """P(label wrong) by number of the pair, as the stage wrote it."""
    table = pq.read_table(run / "denoise" / "wrong.parquet")
    by_id = dict(zip(table["id"].to_pylist(), table["p_wrong"].to_pylist(), strict=True))
    return np.array([by_id[f"p{number}"] for number in range(NUM_PAIRS)])


def test_a_review_calibrates_which_labels_are_wrong(tamis, run):
    judge(run, range(NUM_JUDGED))
    assert tamis("review", run, "--export").code == 0
    trusted = run / "review" / "trusted.parquet"
    command = ("denoise", run, "--policy", "calibrated", "--trusted", trusted)
    denoised = tamis(*command)
    assert denoised.code == 0, denoised.err
    assert f"from {NUM_JUDGED - len(SAID_NOTHING)} trusted labels" in denoised.out
    assert "takes for granted" not in denoised.out
    wrong = read_json(run / "denoise" / "report.json")["wrong"]
    assert (wrong["method"], wrong["num_trusted"]) == ("trusted", NUM_JUDGED - len(SAID_NOTHING))
    p_wrong = probabilities(run)
    spoken = [number for number in range(NUM_JUDGED) if number not in SAID_NOTHING]
    # a logistic regression with an intercept gives on average what it was told
    assert p_wrong[spoken].mean() == pytest.approx(len(FLIPPED) / len(spoken), abs=1e-3)
    assert p_wrong[0] > 0.5 > p_wrong[NUM_JUDGED:].max()
    targets = {v.id: v.target for v in read_verdicts(run / "denoise" / "verdicts.parquet")}
    assert [targets[f"p{n}"] for n in range(NUM_PAIRS)] == pytest.approx((1 - p_wrong).tolist())

    assert "already done" in tamis(*command).out
    with visit(run) as ada:
        again = ada.send("p8", "flip", reviewer="Ada", nonce="on-second-thoughts")
        assert again.status_code == 200, again.text
    assert tamis("review", run, "--export").code == 0
    assert tamis(*command).code == 0
    assert probabilities(run)[spoken].mean() == pytest.approx(
        (len(FLIPPED) + 1) / len(spoken), abs=1e-3
    )


def test_a_review_of_few_pairs_is_refused(tamis, bad, run):
    judge(run, range(10))
    assert tamis("review", run, "--export").code == 0
    trusted = run / "review" / "trusted.parquet"
    said = bad("denoise", run, "--policy", "calibrated", "--trusted", trusted)
    assert said == (
        f"trusted is {trusted}: 8 trusted labels, 5 of them against the given label; expected at "
        "least 20, and 3 of each kind"
    )
    assert not (run / "denoise").exists()
