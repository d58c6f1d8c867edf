"""What speaks for a label, and the probability that it is wrong."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from tamis.errors import ConfigError, DataError
from tamis.recipes.evidence import estimate, evidence_on, people_votes, wrong_labels
from tamis.types import Message, Pair, Votes

NUM_TEXTS, NUM_PAIRS = 30, 600


@pytest.fixture(scope="module")
def noisy():
    """Pairs of texts of planted quality, a fifth of the labels turned; a vote that half sees it."""
    rng = np.random.default_rng(0)
    quality = rng.normal(size=NUM_TEXTS)
    pairs, wrong_N, mean_N = [], [], []
    for number in range(NUM_PAIRS):
        first, second = rng.choice(NUM_TEXTS, 2, replace=False)
        better, worse = (first, second) if quality[first] > quality[second] else (second, first)
        is_wrong = rng.random() < 0.2
        chosen, rejected = (worse, better) if is_wrong else (better, worse)
        people = Votes(1, 4, 0) if is_wrong else Votes(3, 1, 1)
        pairs.append(
            Pair(
                f"p{number}",
                (Message("user", "which?"),),
                (Message("assistant", f"text {chosen}"),),
                (Message("assistant", f"text {rejected}"),),
                gold=0.0 if is_wrong else 1.0,
                votes=people,
            )
        )
        wrong_N.append(is_wrong)
        mean_N.append(quality[chosen] - quality[rejected] + 2 * rng.normal())
    return pairs, np.array(wrong_N), np.array(mean_N)


def test_repeated_texts_say_more_than_the_vote_alone(noisy):
    pairs, wrong_N, mean_N = noisy
    evidence = evidence_on(pairs, mean_N=mean_N, seed=0)
    assert list(evidence.kinds) == ["vote", "length", "identity"]
    vote, both = roc_auc_score(wrong_N, -mean_N), roc_auc_score(wrong_N, -evidence.odds_N)
    assert both > vote + 0.05
    again = evidence_on(pairs, mean_N=mean_N, seed=0)
    assert np.array_equal(again.odds_N, evidence.odds_N)


def test_texts_that_do_not_recur_have_no_identity(noisy):
    pairs, _, mean_N = noisy
    apart = [replace(pair, prompt=(Message("user", pair.id),)) for pair in pairs]
    assert list(evidence_on(apart, mean_N=mean_N, seed=0).kinds) == ["vote", "length"]


def test_votes_of_people_are_no_evidence(noisy):
    pairs, _, mean_N = noisy
    silent = [replace(pair, votes=None, gold=None) for pair in pairs]
    found, without = (evidence_on(of, mean_N=mean_N, seed=0) for of in (pairs, silent))
    assert np.array_equal(found.odds_N, without.odds_N)


def test_without_trusted_labels_the_mixture_finds_the_rate(noisy):
    pairs, _, mean_N = noisy
    found = estimate(pairs, mean_N=mean_N, trusted=None, seed=0)
    assert found is not None
    assert found.report()["method"] == "mixture"
    assert found.report()["expected_wrong_frac"] == pytest.approx(0.2, abs=0.05)
    assert "people err more on close pairs" in found.report()["assumption"]
    low, high = found.wrong.rate_interval
    assert low < found.report()["noise_rate"] < high < low + 0.2
    assert found.report()["warning"] is None
    table = found.table([pair.id for pair in pairs])
    assert table.column_names == ["id", "p_wrong", "log_odds", "vote", "length", "identity"]


def test_evidence_that_is_too_weak_is_warned_of():
    texts = [(Message("assistant", f"text {number:03}"),) for number in range(800)]
    pairs = [Pair(f"p{n}", (), texts[n], texts[400 + n]) for n in range(400)]
    mean_N = np.random.default_rng(0).normal(size=len(pairs))
    found = estimate(pairs, mean_N=mean_N, trusted=None, seed=0)
    assert found is not None
    report = found.report()
    assert report["noise_rate_high"] - report["noise_rate_low"] > 0.2
    assert report["warning"].startswith("the evidence is too weak to tell how many labels are wro")


@pytest.mark.parametrize("trusted", ["gold", "votes", "file"])
def test_trusted_labels_come_from_three_places(noisy, trusted, tmp_path):
    pairs, wrong_N, mean_N = noisy
    if trusted == "gold":
        pairs = [pair if n < 200 else replace(pair, gold=None) for n, pair in enumerate(pairs)]
    elif trusted == "votes":
        few = Votes(1, 1, 0)
        pairs = [pair if n < 200 else replace(pair, votes=few) for n, pair in enumerate(pairs)]
    else:
        trusted = str(tmp_path / "trusted.parquet")
        ids = [f"p{number}" for number in range(200)]
        gold = [*(1.0 - wrong_N[:200]), 1.0, 0.5]
        pq.write_table(pa.table({"id": [*ids, "of another set", "p300"], "gold": gold}), trusted)
    found = estimate(pairs, mean_N=mean_N, trusted=trusted, seed=0)
    assert found is not None
    assert found.wrong.num_trusted == 200
    error_N = found.wrong.wrong_N[200:] - wrong_N[200:]
    assert 1 - np.square(error_N).mean() / wrong_N[200:].var() > 0.15


def test_people_are_counted_with_half_a_vote_for_ties(noisy):
    pairs, _, _ = noisy
    voted = replace(pairs[0], votes=Votes(3, 1, 1))
    silent = replace(pairs[1], votes=None)
    counts_N2 = people_votes([voted, silent])
    assert counts_N2[0].tolist() == [3.5, 1.5]
    assert np.isnan(counts_N2[1]).all()
    assert people_votes([silent]) is None


def test_votes_on_pairs_that_were_trained_on_are_told(noisy):
    pairs, _, mean_N = noisy
    found = estimate(pairs, mean_N=mean_N, trusted="gold", seed=0)
    assert "in-sample" not in found.report()["assumption"]
    told = found.report(in_sample=True)["assumption"]
    assert told.startswith(found.report()["assumption"])
    assert told.endswith("since their votes are in-sample")


def test_few_pairs_have_no_estimate(noisy):
    pairs, _, mean_N = noisy
    assert estimate(pairs[:19], mean_N=mean_N[:19], trusted=None, seed=0) is None
    with pytest.raises(DataError, match="3 pairs, expected at least 5"):
        estimate(pairs[:3], mean_N=mean_N[:3], trusted="gold", seed=0)


def test_trusted_labels_that_cannot_be_used_are_refused(noisy, tmp_path):
    pairs, _, mean_N = noisy
    evidence = evidence_on(pairs, mean_N=mean_N, seed=0)
    path = tmp_path / "trusted.parquet"

    def refused(match, *, of=pairs, trusted=str(path), error=DataError):
        with pytest.raises(error, match=match):
            wrong_labels(of, evidence, trusted=trusted)

    refused("expected gold, votes, or a Parquet file", error=ConfigError)
    pq.write_table(pa.table({"id": ["p0"], "gold": [1.5]}), path)
    refused(r"trusted\.parquet, row 0: gold is 1\.5; expected a number in \[0, 1\]")
    pq.write_table(pa.table({"id": ["p0"], "gold": ["yes"]}), path)
    refused(r"trusted\.parquet: expected texts in id and numbers in gold")
    pq.write_table(pa.table({"id": ["p0"], "gold": [[1.0]]}), path)
    refused(r"trusted\.parquet: expected texts in id and numbers in gold")
    pq.write_table(pa.table({"id": ["p0", "p1"], "gold": [0.0, None]}), path)
    refused(r"trusted\.parquet, row 1: gold is None")
    pq.write_table(pa.table({"id": ["p0", "p1", "p0"], "gold": [0.0, 1.0, 1.0]}), path)
    refused(r"trusted\.parquet, row 2: id .p0. stands there twice")
    pq.write_table(pa.table({"id": ["q0", "q1"], "gold": [0.0, 1.0]}), path)
    refused(r"trusted\.parquet: none of its 2 ids is among the 600 pairs")
    pq.write_table(pa.table({"id": ["p0"], "gold": [1.0]}), path)
    refused("trusted is .*: 1 trusted labels")
    silent = [replace(pair, votes=None, gold=None) for pair in pairs]
    refused("no pair has votes of people", of=silent, trusted="votes", error=ConfigError)
    refused("trusted is gold: 0 trusted labels", of=silent, trusted="gold")
