"""The head: how it starts, that it survives saving, and that its score is used raw."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tamis.losses.bradley_terry import bradley_terry
from tamis.models.checkpoint import load_scorer, save_checkpoint
from tamis.models.head import head_name, output_layer
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs, score_sequences
from tamis.models.source import quiet
from tamis.models.tokenise import encode_pairs, load_tokenizer, pad_id_of
from tamis.train.build import trainable_model
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.types import Verdict


def test_head_initialisation_starts_at_ln_2_with_one_head_a_seed(model_config, talks):
    """Head initialisation: the first loss is ln 2 to 0.05, and a seed gives one head."""
    tokenizer = load_tokenizer(model_config)
    first, again, other = (load_reward_model(model_config, seed=seed) for seed in (3, 3, 4))
    scores = score_pairs(first, tokenizer, talks, max_length=64)
    loss_N = bradley_terry(torch.tensor(scores.chosen_N - scores.rejected_N))
    assert float(loss_N.mean()) == pytest.approx(math.log(2), abs=0.05)
    assert torch.equal(output_layer(first).weight, output_layer(again).weight)
    assert not torch.equal(output_layer(first).weight, output_layer(other).weight)
    assert output_layer(first).weight.std() > 0


def reload_plainly(path):
    with quiet():
        return AutoModelForSequenceClassification.from_pretrained(path)


def plain_scores(path, pairs):
    """What a program without Tamis computes from the directory alone, text by text."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), reload_plainly(path)
    scores = []
    for pair in pairs:
        messages = [{"role": m.role, "content": m.content} for m in pair.prompt + pair.chosen]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            scores.append(float(model(**inputs).logits[0, 0]))
    return scores


def test_head_saved_and_reloaded_gives_the_same_scores(model_config, tmp_path, talks):
    """Head saved / reloaded: one output, no new weights, scores equal to 1e-6 in float32."""
    tokenizer, model = load_tokenizer(model_config), load_reward_model(model_config, seed=5)
    before = score_pairs(model, tokenizer, talks, max_length=64).chosen_N
    save_checkpoint(model, tokenizer, tmp_path / "rm", card={})
    plain = reload_plainly(tmp_path / "rm")
    assert plain.config.num_labels == 1
    torch.testing.assert_close(
        output_layer(plain).weight, output_layer(model).weight, atol=0, rtol=0
    )
    np.testing.assert_allclose(plain_scores(tmp_path / "rm", talks), before, atol=1e-6)
    scorer = load_scorer(str(tmp_path / "rm"))
    after = score_pairs(scorer.model, scorer.tokenizer, talks, max_length=64).chosen_N
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_head_merged_with_its_adapters_gives_the_same_scores(model_config, tmp_path, talks):
    """Head saved / merged / reloaded: the head that LoRA trained is the head of the checkpoint."""
    tokenizer = load_tokenizer(model_config)
    train = TrainConfig.model_validate({"lora": {"rank": 2}})
    pad_id = pad_id_of(tokenizer)
    adapted = trainable_model(model_config, train, seed=5, pad_token_id=pad_id)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in adapted.parameters() if p.requires_grad):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    sides = [pair.chosen for pair in encode_pairs(tokenizer, talks, max_length=64)]
    adapted.eval()
    with torch.inference_mode():
        before = [float(adapted(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in sides]
    save_checkpoint(adapted, tokenizer, tmp_path / "rm", card={})
    after = plain_scores(tmp_path / "rm", talks)
    np.testing.assert_allclose(after, before, atol=1e-6, rtol=1e-6)
    fresh = load_reward_model(model_config, seed=5)
    base = score_pairs(fresh, tokenizer, talks, max_length=64).chosen_N
    assert np.abs(base - before).min() > 1e-3


def test_dropout_is_off_in_train_mode_whatever_the_base_says(model_config, tmp_path):
    """Dropout on in RM: two forward passes in train mode are equal, after reloading too."""
    model = load_reward_model(model_config, seed=0)
    ids = torch.arange(5, 45).reshape(2, 20)
    save_checkpoint(model, load_tokenizer(model_config), tmp_path / "rm", card={})
    for found in (model, reload_plainly(tmp_path / "rm")):
        found.train()
        with torch.no_grad():
            first, second = (found(input_ids=ids).logits for _ in range(2))
        assert torch.equal(first, second)


def test_dropout_of_the_base_is_on(model_config):
    """Dropout on in RM: the base models of these tests do drop out, so the test above can fail."""
    with quiet():
        base = AutoModelForSequenceClassification.from_pretrained(model_config.path, num_labels=1)
    base.config.pad_token_id = 3
    base.train()
    ids = torch.arange(5, 45).reshape(2, 20)
    with torch.no_grad():
        first, second = (base(input_ids=ids).logits for _ in range(2))
    assert not torch.equal(first, second)


def test_server_returns_a_sigmoid_never_scores_are_raw(model_config, load_spread, talks):
    """Server returns a sigmoid: scores above 1 and below 0 come out of the one way to score."""
    tokenizer, model = load_tokenizer(model_config), load_spread(model_config)
    sequences = [pair.chosen for pair in encode_pairs(tokenizer, talks, max_length=64)]
    pad_id = pad_id_of(tokenizer)
    small = score_sequences(model, sequences, pad_id=pad_id)
    with torch.no_grad():
        model.get_submodule(head_name(model)).weight.mul_(100)
    large = score_sequences(model, sequences, pad_id=pad_id)
    np.testing.assert_allclose(large, 100 * small, rtol=1e-4)
    with torch.no_grad():
        model.get_submodule(head_name(model)).weight.mul_(-1)
    both = np.concatenate([large, score_pairs(model, tokenizer, talks, max_length=64).chosen_N])
    assert both.max() > 1
    assert both.min() < 0
    assert model.config.problem_type == "regression"  # servers apply a sigmoid to anything else


def test_train_and_serve_agree_from_the_trainer_to_a_plain_consumer(decoder, tmp_path, talks):
    """Train and serve disagree: one loss from the trainer, the scorer and a plain consumer."""
    train = TrainConfig.model_validate(
        {
            "batch_size": len(talks),
            "max_steps": 1,
            "learning_rate": 1e-12,
            "optimiser": {"warmup_frac": 0.0},
        }
    )
    report = fit(
        talks,
        [Verdict(pair.id) for pair in talks],
        model=decoder,
        train=train,
        seed=0,
        work=tmp_path / "work",
        out=tmp_path / "rm",
    )
    scorer = load_scorer(str(tmp_path / "rm"))
    scores = score_pairs(scorer.model, scorer.tokenizer, talks, max_length=scorer.max_length)
    plain = plain_scores(tmp_path / "rm", talks)
    swapped = plain_scores(tmp_path / "rm", [pair.swapped() for pair in talks])
    np.testing.assert_allclose(plain, scores.chosen_N, atol=1e-6)
    np.testing.assert_allclose(swapped, scores.rejected_N, atol=1e-6)
    for gap_N in (scores.chosen_N - scores.rejected_N, np.subtract(plain, swapped)):
        loss = float(bradley_terry(torch.tensor(gap_N)).mean())
        assert report["loss"][0]["loss"] == pytest.approx(loss, abs=1e-6)
    assert np.abs(np.subtract(plain, swapped)).max() > 0.01
