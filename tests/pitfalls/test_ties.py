"""Pairs and scores that are equal, scores that drift, and answers that differ in length.

Shapes: N pairs of a data set, B pairs of a batch.
"""

import json
import math

import numpy as np
import pytest
import torch

from tamis import plugins
from tamis.evaluate import BenchmarkConfig, GapScores, bench
from tamis.losses.reduce import pair_loss
from tamis.metrics import length_delta, pair_credit
from tamis.models.checkpoint import load_scorer, save_checkpoint
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer
from tamis.train.dataset import training_set
from tamis.types import Dropped, Verdict


@pytest.mark.parametrize("target", [1.0, 0.75, 0.0])
def test_identical_pairs_cost_ln_2_and_teach_nothing(decoder, load_spread, target):
    """Identical pairs: a loss of ln 2, and no gradient in any weight."""
    model = load_spread(decoder).double()  # equal rows of a float32 batch differ on some processors
    phi = plugins.load("loss", "bradley_terry")
    ids = [1, 40, 41, 42, 2]
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    score_S = model(input_ids=torch.tensor([ids, ids])).logits[:, 0]
    delta_B = score_S[:1] - score_S[1:]
    loss_B = pair_loss(phi, delta_B, target_B=target * one, margin_B=zero, weight_B=one)
    assert loss_B.tolist() == pytest.approx([math.log(2)], abs=1e-6)
    loss_B.sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) > 10
    # a target above 1/2 still pulls at the gap, but both ends of it are the same weights
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-6


def test_identical_pairs_never_reach_a_batch(decoder, talks, make_pair):
    """Identical pairs: left out of training by name, so that no step is spent on them."""
    same = make_pair("Hi", "yes", "yes", number=16)
    pairs = [*talks, same]
    data = training_set(
        pairs,
        [Verdict(pair.id) for pair in pairs],
        tokenizer=load_tokenizer(decoder),
        max_length=64,
    )
    assert data.left_out == [Dropped(16, "identical_after_truncation", "p16")]


def test_ties_count_as_half_everywhere(tmp_path):
    """Ties: a scorer that ties is at chance, whichever side it is asked about first."""
    assert pair_credit([1.0, 0.0, -1.0]).mean() == 0.5
    assert pair_credit(np.zeros(4)).mean() == 0.5
    file = benchmark_file(tmp_path)
    (report,) = bench(
        [BenchmarkConfig(name="pairs", path=str(file))],
        score=lambda pairs: GapScores(np.ones(len(pairs)), np.ones(len(pairs))),
        seed=0,
    ).report["benchmarks"]
    assert (report["accuracy"]["value"], report["ties_frac"]) == (0.5, 1.0)


def test_benchmark_length_leak_is_printed_beside_the_accuracy(tmp_path):
    """Benchmark length leak: the longest and the shortest answer stand beside every accuracy."""
    file = benchmark_file(tmp_path)
    (report,) = bench(
        [BenchmarkConfig(name="pairs", path=str(file))],
        score=lambda pairs: GapScores(length_delta(pairs), np.zeros(len(pairs))),
        seed=0,
    ).report["benchmarks"]
    for part in (report, *report["subsets"]):
        longest, shortest = (part["baselines"][rule]["value"] for rule in ("longest", "shortest"))
        assert longest == part["accuracy"]["value"]
        assert shortest == 1 - longest
    assert report["baselines"]["longest"]["value"] == 0.75
    assert report["beats_longest"]["value"] == 0.0


def benchmark_file(tmp_path):
    rows = [
        {"prompt": f"q{n}", "chosen": "a" * (3 if n < 3 else 1), "rejected": "bb", "subset": s}
        for n, s in enumerate("xxyy")
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_centring_an_offset_changes_no_gap_no_accuracy_and_no_loss(bert, load_spread, talks):
    """Centring and drift: Bradley-Terry sees differences only, so an offset is invisible to it."""
    tokenizer, model = load_tokenizer(bert), load_spread(bert)
    before = score_pairs(model, tokenizer, talks, max_length=64)
    with torch.no_grad():
        model.classifier.bias.add_(20)
    after = score_pairs(model, tokenizer, talks, max_length=64)
    np.testing.assert_allclose(after.chosen_N - before.chosen_N, 20, atol=1e-5)
    gap, moved = before.chosen_N - before.rejected_N, after.chosen_N - after.rejected_N
    np.testing.assert_allclose(moved, gap, atol=1e-5)
    np.testing.assert_array_equal(pair_credit(moved), pair_credit(gap))
    phi = plugins.load("loss", "bradley_terry")
    one, zero = torch.ones(len(gap)), torch.zeros(len(gap))
    losses = [
        pair_loss(phi, torch.tensor(delta), target_B=one, margin_B=zero, weight_B=one)
        for delta in (gap, moved)
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=0)


def test_centring_constants_are_saved_and_scores_stay_raw(model_config, tmp_path, talks):
    """Centring and drift: mean and std travel with the checkpoint; loading applies them nowhere."""
    tokenizer, model = load_tokenizer(model_config), load_reward_model(model_config, seed=0)
    before = score_pairs(model, tokenizer, talks, max_length=64)
    save_checkpoint(model, tokenizer, tmp_path / "rm", card={"mean": 3.5, "std": 2})
    config = json.loads((tmp_path / "rm" / "config.json").read_text())
    assert (config["mean"], config["std"]) == (3.5, 2.0)
    scorer = load_scorer(str(tmp_path / "rm"))
    assert (scorer.model.config.mean, scorer.model.config.std) == (3.5, 2.0)
    after = score_pairs(scorer.model, scorer.tokenizer, talks, max_length=64)
    np.testing.assert_allclose(after.chosen_N, before.chosen_N, atol=1e-6)
