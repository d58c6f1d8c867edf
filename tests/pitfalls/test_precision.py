"""What bfloat16 and quantised weights do to scores, and what they may not do.

Shapes: N sequences or pairs of a data set, D hidden.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.losses.reduce import pair_loss
from tamis.metrics import pair_credit
from tamis.models.checkpoint import load_scorer, save_checkpoint
from tamis.models.head import Float32Linear, output_layer
from tamis.models.load import load_reward_model, load_trunk
from tamis.models.score import score_pairs, score_sequences
from tamis.models.tokenise import load_tokenizer, pad_id_of

NUM = 4000


def ties_frac(gap_N):
    return float(np.mean(np.asarray(gap_N) == 0))


def in_bfloat16(score_N):
    return torch.as_tensor(score_N).bfloat16().float().numpy()


@pytest.fixture(scope="module")
def scores_and_margins():
    """Scores of standard deviation 3 and, beside each, one that is lower by a margin of sd 0.5."""
    rng = np.random.default_rng(0)
    score_N, margin_N = rng.normal(0, 3, NUM), rng.normal(0, 0.5, NUM)
    return score_N.astype(np.float32), (score_N - margin_N).astype(np.float32)


@pytest.mark.parametrize(("offset", "low", "high"), [(0.0, 0.005, 0.02), (20.0, 0.07, 0.12)])
def test_bf16_scores_tie_where_a_float32_head_does_not(scores_and_margins, offset, low, high):
    """bf16 scores quantise margins: 1% ties around 0, near 10% at +20; in float32 none, ever.

    Centring: the same scores, moved by 20, lose ten times as many pairs.
    """
    chosen_N, rejected_N = (np.float32(offset) + side for side in scores_and_margins)
    assert ties_frac(chosen_N - rejected_N) < 0.0005
    assert low < ties_frac(in_bfloat16(chosen_N) - in_bfloat16(rejected_N)) < high


def test_bf16_trunks_have_a_head_whose_scores_do_not_tie(bert, talks):
    """bf16 scores quantise margins: the head of a bfloat16 trunk writes float32, at +20 too."""
    tokenizer = load_tokenizer(bert)
    model = load_reward_model(bert.model_copy(update={"dtype": "bfloat16"}), seed=0)
    assert model.dtype == torch.bfloat16
    with torch.no_grad():
        output_layer(model).weight.mul_(30)
        output_layer(model).bias.fill_(20)
    rng = np.random.default_rng(0)
    sequences = [(2, *rng.integers(4, 80, 8).tolist(), 3) for _ in range(200)]
    found = score_sequences(model, sequences, pad_id=pad_id_of(tokenizer))
    assert found.dtype == np.float32
    assert 19 < found.mean() < 21
    num_distinct = len(np.unique(found))
    assert num_distinct > 190
    assert len(np.unique(in_bfloat16(found))) < num_distinct / 10


def test_bf16_autocast_leaves_head_and_loss_in_float32(decoder, load_spread):
    """bf16 scores quantise margins: under autocast, too, scores keep more digits than bf16 has."""
    model = load_spread(decoder)
    ids = torch.randint(5, 250, (64, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        score_N = model(input_ids=ids).logits[:, 0]
        delta_B = score_N[::2] - score_N[1::2]
        one = torch.ones_like(delta_B)
        loss_B = pair_loss(bradley_terry, delta_B, target_B=one, margin_B=0 * one, weight_B=one)
    assert score_N.dtype == loss_B.dtype == torch.float32
    assert (score_N != score_N.bfloat16().float()).float().mean() > 0.9
    assert isinstance(output_layer(model), Float32Linear)


def test_bf16_margins_survive_in_the_loss():
    """bf16 scores quantise margins: the loss of a pair is computed in float32 from any input."""
    delta_B = torch.tensor([4.0], dtype=torch.bfloat16)
    margin_B = torch.tensor([3.999], dtype=torch.float32)
    one = torch.ones(1)
    loss_B = pair_loss(bradley_terry, delta_B, target_B=one, margin_B=margin_B, weight_B=one)
    assert loss_B.dtype == torch.float32
    assert float(loss_B) == pytest.approx(np.log1p(np.exp(-0.001)), abs=1e-6)


def test_bf16_differences_are_bounded_and_flips_are_counted(decoder, talks):
    """Batch-size and batch-mate invariance in bf16: bounded, and only near ties change sides.

    In float32 the bound is 1e-4 (`test_batches`). Of the spread of the scores, rounding moves a
    score by up to a tenth here, and batch mates move a gap by up to a twentieth.
    """
    tokenizer = load_tokenizer(decoder)
    exact, rounded = (
        load_reward_model(decoder.model_copy(update={"dtype": dtype}), seed=1)
        for dtype in ("float32", "bfloat16")
    )
    runs = [
        score_pairs(model, tokenizer, talks, max_length=64, batch_tokens=batch_tokens)
        for model, batch_tokens in ((exact, 10**6), (rounded, 1), (rounded, 10**6))
    ]
    spread = float(np.std([runs[0].chosen_N, runs[0].rejected_N]))
    whole, *others = (run.chosen_N - run.rejected_N for run in runs)
    for run, gap_N in zip(runs[1:], others, strict=True):
        error = np.abs(run.chosen_N - runs[0].chosen_N).max()
        assert 0 < error < 0.1 * spread
        flipped_N = pair_credit(gap_N) != pair_credit(whole)
        assert np.abs(whole[flipped_N]).max(initial=0) < 0.2 * spread
        assert flipped_N.sum() <= 1
    assert np.abs(others[0] - others[1]).max() < 0.05 * spread


@pytest.fixture
def saved(decoder, tmp_path):
    model = load_reward_model(decoder, seed=0)
    save_checkpoint(model, load_tokenizer(decoder), tmp_path / "rm", card={})
    return tmp_path / "rm"


def test_quantised_eval_never_happens_unasked(saved):
    """Quantised eval: a scorer's weights are all float32 and each is the one that was saved."""
    scorer = load_scorer(str(saved))
    assert {weight.dtype for weight in scorer.model.state_dict().values()} == {torch.float32}
    assert getattr(scorer.model.config, "quantization_config", None) is None


def write_quantised(folder, method):
    file = folder / "config.json"
    quantised = {"quant_method": method, "load_in_8bit": True}
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": quantised}))


@pytest.mark.parametrize("method", ["bitsandbytes", "fp8", "mxfp4"])
def test_quantised_checkpoints_are_refused(saved, method):
    """Quantised eval: transformers would obey such a configuration, or drop it, without a word."""
    write_quantised(saved, method)
    with pytest.raises(ConfigError, match=rf"is quantised .*{method}.*expected weights in float32"):
        load_scorer(str(saved))


def test_quantised_trunks_are_refused(bert, tmp_path):
    """Quantised eval: the features that frozen voters read come from whole weights, too."""
    shutil.copytree(bert.path, tmp_path, dirs_exist_ok=True)
    write_quantised(tmp_path, "fp8")
    with pytest.raises(ConfigError, match="is quantised"):
        load_trunk(bert.model_copy(update={"path": str(tmp_path)}))
