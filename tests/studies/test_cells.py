import numpy as np
import pytest

from tamis.denoise.decision import Strength
from tamis.errors import DataError
from tamis.studies.arms import AUTO, CONFIDENT, NAMES, ORACLE, RAW, all_labels, wrong_frac
from tamis.studies.cells import (
    CLEANLAB,
    COMBINED,
    IDENTITIES,
    LENGTH,
    TUNED,
    VOTE,
    VOTE_APART,
    Ground,
    run_cell,
)
from tamis.studies.confident import confident_learning
from tamis.studies.noises import Noise
from tamis.studies.outcome import load_outcome, save_outcome
from tamis.vote.heads import Labels


@pytest.fixture(scope="module")
def ground(bench, vote):
    return Ground.of(bench, vote=vote)


@pytest.fixture(scope="module")
def votes_cell(ground, vote):
    return run_cell(ground, Noise("votes"), vote=vote, seed=0, num_trusted=60)


@pytest.fixture(scope="module")
def flips_cell(ground, vote):
    return run_cell(ground, Noise("uniform", 0.3), vote=vote, seed=0, num_trusted=60)


def test_a_cell_suspects_by_every_rule(votes_cell, flips_cell, ground):
    common = [VOTE, COMBINED, IDENTITIES, CLEANLAB, LENGTH]
    assert list(flips_cell.suspicion) == common
    apart = [f"{VOTE}, one alone", f"{VOTE}, other alone", VOTE_APART]
    assert list(votes_cell.suspicion) == common + apart
    for suspicion_N in votes_cell.suspicion.values():
        assert suspicion_N.shape == (len(ground.bench.train),)
        assert np.isfinite(suspicion_N).all()


def test_the_vote_finds_flips_and_arms_act_on_it(flips_cell):
    wrong_N = flips_cell.wrong_N
    suspicion_N = flips_cell.suspicion[VOTE]
    assert suspicion_N[wrong_N].mean() > suspicion_N[~wrong_N].mean() + 0.3
    left = {arm: flips_cell.figures[f"wrong labels, {arm}"] for arm in NAMES}
    assert left[RAW] == pytest.approx(wrong_N.mean())
    assert left[ORACLE] == 0.0
    for arm in (AUTO, CONFIDENT, "drop below 0", "flip 10%"):
        assert left[arm] < left[RAW] - 0.03, arm
    assert left["margin"] == left["PCRM, length"] == left[RAW]


def test_every_arm_is_trained_and_tested_on_the_same_pairs(flips_cell, ground):
    assert tuple(flips_cell.credit) == NAMES
    accuracy = {arm: credit_M.mean() for arm, credit_M in flips_cell.credit.items()}
    assert all(len(c) == len(ground.bench.test) for c in flips_cell.credit.values())
    assert min(accuracy.values()) > 0.7  # flipped labels are in the minority
    for arm in (ORACLE, AUTO, CONFIDENT, "margin", "flip 10%", "PCRM, length"):
        assert (flips_cell.credit[arm] != flips_cell.credit[RAW]).any(), arm
    assert set(flips_cell.labels) == set(TUNED)
    gap = {arm: flips_cell.figures[f"mean gap, {arm}"] for arm in NAMES}
    assert gap["PCRM, length"] < gap[RAW] < gap[ORACLE]  # bounded, and surer without wrong labels


def test_clean_labels_need_no_oracle(ground, vote):
    clean = run_cell(ground, Noise("uniform"), vote=vote, seed=0, num_trusted=60)
    assert not clean.wrong_N.any()
    assert clean.chance_N is None
    np.testing.assert_array_equal(clean.credit[RAW], clean.credit[ORACLE])


def test_trusted_pairs_are_not_judged(votes_cell, flips_cell):
    for cell in (votes_cell, flips_cell):
        judged_N = np.isfinite(cell.chance_N)
        assert (judged_N & ~cell.known_N).sum() == 0
        assert judged_N.sum() == cell.known_N.sum() - 60
        assert cell.figures["trusted: pairs judged"] == judged_N.sum()
        assert 0 <= cell.figures["trusted: expected calibration error"] < 0.2
        assert cell.figures["trusted: Brier skill"] > 0


def test_votes_of_people_are_no_evidence(bench, vote, votes_cell):
    """Other counts with the same drawn votes leave every suspicion as it was."""
    from dataclasses import replace

    from tamis.types import Votes

    train = [
        replace(pair, votes=Votes(2 * pair.votes.chosen, 2 * pair.votes.rejected))
        for pair in bench.train
    ]
    other = run_cell(
        Ground.of(replace(bench, train=train), vote=vote),
        Noise("votes"),
        vote=vote,
        seed=0,
        num_trusted=60,
    )
    np.testing.assert_array_equal(other.turned_N, votes_cell.turned_N)
    for name, suspicion_N in votes_cell.suspicion.items():
        np.testing.assert_array_equal(other.suspicion[name], suspicion_N)


def test_without_margins_the_vote_says_what_is_close(bench, vote):
    from dataclasses import replace

    ground = Ground.of(replace(bench, distance_N=None), vote=vote)
    assert ground.distance_N.shape == (len(bench.train),)
    assert (ground.distance_N >= 0).all()


def test_confident_learning_ranks_as_the_vote_does():
    mean_N = np.random.default_rng(0).normal(1.0, 1.5, 500)
    found = confident_learning(mean_N, seed=0)
    assert (np.argsort(found.quality_N) == np.argsort(mean_N)).all()
    assert 0 < found.issue_N.sum() < 250
    assert mean_N[found.issue_N].max() < 0.5
    assert mean_N[found.issue_N].mean() < mean_N[~found.issue_N].mean()


def test_arms_ask_what_their_names_say():
    mean_N = np.array([-2.0, -0.5, 0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    strength = Strength(mean_N, np.ones(10), np.linspace(0.9, 0.0, 10))
    right_N = np.arange(10) != 1
    issue_N = np.arange(10) == 0
    bounds = {"length": np.full(10, 3.0), "cosine": np.full(10, 4.0)}
    labels = all_labels(strength, right_N=right_N, issue_N=issue_N, bounds=bounds)
    assert tuple(labels) == NAMES
    assert labels[RAW].target_N.tolist() == [1.0] * 10
    assert labels[ORACLE].target_N.tolist() == right_N.astype(float).tolist()
    assert labels[CONFIDENT].weight_N.tolist() == (~issue_N).astype(float).tolist()
    assert labels["PCRM, length"].bound_N.tolist() == [3.0] * 10
    assert labels["PCRM, cosine"].bound_N.tolist() == [4.0] * 10
    assert labels["flip 10%"].target_N.tolist() == [0.0] + [1.0] * 9
    assert labels["constant smoothing 0.1"].target_N.tolist() == pytest.approx([0.9] * 10)
    assert labels["flip 10% + margin"].margin_N.tolist() == mean_N.tolist()
    assert (labels[AUTO].weight_N[:2] == 0).all()


def test_wrong_labels_are_counted_where_truth_is_known_and_pairs_are_used():
    labels = Labels(np.array([1.0, 0.0, 0.9, 1.0]), np.zeros(4), np.array([1.0, 1.0, 1.0, 0.0]))
    wrong_N = np.array([True, True, False, True])
    everything = np.ones(4, bool)
    assert wrong_frac(labels, wrong_N=wrong_N, known_N=everything) == pytest.approx(1 / 3)
    known_N = np.array([False, True, True, True])
    assert wrong_frac(labels, wrong_N=wrong_N, known_N=known_N) == 0.0


def test_an_outcome_is_kept_and_read_back(votes_cell, tmp_path):
    path = tmp_path / "cells" / "one.npz"
    assert load_outcome(path) is None
    save_outcome(path, votes_cell)
    found = load_outcome(path)
    for name in ("wrong_N", "known_N", "turned_N"):
        np.testing.assert_array_equal(getattr(found, name), getattr(votes_cell, name))
    np.testing.assert_allclose(found.chance_N, votes_cell.chance_N, rtol=1e-6)
    assert found.figures == votes_cell.figures
    assert list(found.credit) == list(votes_cell.credit)
    for arm, credit_M in votes_cell.credit.items():
        np.testing.assert_array_equal(found.credit[arm], credit_M)
    for name, suspicion_N in votes_cell.suspicion.items():
        np.testing.assert_allclose(found.suspicion[name], suspicion_N, rtol=1e-6, atol=1e-7)
    for arm in TUNED:
        np.testing.assert_allclose(
            found.labels[arm].weight_N, votes_cell.labels[arm].weight_N, rtol=1e-6
        )


def test_a_damaged_outcome_says_what_to_do(tmp_path):
    path = tmp_path / "broken.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="remove the file"):
        load_outcome(path)
