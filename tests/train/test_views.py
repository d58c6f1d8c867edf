"""Texts read in two views: what is dropped out, what is not, and what the loss makes of it."""

import pytest
import torch
from fitting import learnable, run_fit, settings
from readings import batch_of, encoded
from rows_families import DECODERS, ENCODERS, PAD, build, sequences
from torch.nn.functional import softplus
from transformers import RobertaConfig

from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.losses.plackett_luce import plackett_luce
from tamis.models.head import drop_before_head, output_layer
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.plan import RowPlan
from tamis.terms import simcse
from tamis.train.assemble import assemble
from tamis.train.build import base_of, trainable_model
from tamis.train.config import ViewsConfig
from tamis.train.objective import WeightedTerm, base_objective
from tamis.train.reading import read_last
from tamis.train.views import dropout_modules, read_views

PADDED = RowPlan("padded", "")
READ, INSIDE = ViewsConfig(), ViewsConfig(dropout=0.3, where="inside")


@pytest.fixture(scope="module")
def pairs():
    texts = sequences()
    group = texts[2:6]
    ranked = [encoded(a, b) for i, a in enumerate(group) for b in group[i + 1 :]]
    return [encoded(texts[0], texts[1]), *ranked]


def simcse_term(view):
    return simcse.loss(view, settings=simcse.Settings())


SIMCSE = WeightedTerm("simcse", 0.7, simcse_term, frozenset({"views"}))


def in_training(config, rows="padded"):
    """A model in training mode with scores of a trained size, and its layout."""
    model = build(config)
    plan = choose_rows(model, wanted=rows, max_length=128)
    with torch.no_grad():
        output_layer(model).weight.mul_(50)
    return model.train(), plan


@pytest.mark.parametrize(("name", "rows"), [("llama", "shared"), ("gpt2", "padded")])
def test_views_differ_while_training_and_the_scores_that_are_logged_do_not(pairs, name, rows):
    model, plan = in_training(DECODERS[name], rows)
    batch = batch_of(pairs, plan=plan)
    plain = read_last(model, batch)
    readings = [read_views(READ)(model, batch) for _ in range(2)]
    for reading in readings:
        first_SD, second_SD = reading.vectors.views_2SD
        dropped = (first_SD == 0).float().mean().item()
        assert 0.01 < dropped < 0.12
        kept = (first_SD != 0) & (second_SD != 0)
        torch.testing.assert_close(first_SD[kept], second_SD[kept])
        assert not torch.equal(first_SD, second_SD)
        assert torch.equal(reading.chosen_B, plain.chosen_B)
        assert torch.equal(reading.rejected_B, plain.rejected_B)
        assert reading.pair_P.tolist() == [*range(len(pairs))] * 2
        in_first_P = reading.chosen_P[: len(pairs)]
        scores = output_layer(model)(first_SD)[:, 0]
        torch.testing.assert_close(in_first_P, scores[batch["chosen"]])
        assert not torch.equal(in_first_P, reading.chosen_P[len(pairs) :])
    assert not torch.equal(readings[0].chosen_P, readings[1].chosen_P)


@pytest.mark.parametrize(("name", "rows"), [("llama", "shared"), ("gpt2", "padded")])
def test_the_dropout_of_the_head_is_drawn_once_in_each_view(pairs, name, rows):
    model, plan = in_training(DECODERS[name], rows)
    batch = batch_of(pairs, plan=plan)
    drop_before_head(model, frac=0.5)
    seen = []
    # comes after the head's own dropout
    output_layer(model).register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    reading = read_views(ViewsConfig(dropout=0.2))(model, batch)
    first_SD = reading.vectors.views_2SD[0]
    assert 0.1 < (first_SD == 0).float().mean() < 0.3  # what terms compare has that of views alone
    head_2SD = seen[-1]
    assert head_2SD.shape == reading.vectors.views_2SD.shape
    kept = (head_2SD != 0).float().mean().item()
    assert kept == pytest.approx(0.8 * 0.5, abs=0.08)
    both = (head_2SD != 0).all(dim=0).float().mean().item()
    assert both == pytest.approx((0.8 * 0.5) ** 2, abs=0.08)


@pytest.mark.parametrize("views", [READ, INSIDE])
def test_in_evaluation_both_views_are_what_consumers_get(pairs, views):
    model, plan = in_training(DECODERS["gpt2"])
    batch = batch_of(pairs, plan=plan)
    before = torch.get_rng_state()
    reading = read_views(views)(model.train(False), batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(reading.vectors.views_2SD[0], reading.vectors.views_2SD[1])
    assert torch.equal(reading.chosen_P, read_last(model, batch).chosen_B.repeat(2))


def test_bradley_terry_is_on_both_views_and_the_term_once_a_pair(pairs):
    model, plan = in_training(DECODERS["llama"])
    batch = batch_of(pairs, plan=plan, target=0.8)
    batch["weight"] = torch.linspace(0.5, 2.0, len(pairs))
    torch.manual_seed(1)
    outcome = base_objective(bradley_terry, terms=[SIMCSE], read=read_views(READ))(model, batch)
    torch.manual_seed(1)
    reading = read_views(READ)(model, batch)
    gap_P = reading.chosen_P - reading.rejected_P
    in_view_2B = (0.8 * softplus(-gap_P) + 0.2 * softplus(gap_P)).view(2, len(pairs))
    compared_B = simcse.loss(reading, settings=simcse.Settings())
    expected_B = batch["weight"] * (in_view_2B.mean(0) + 0.7 * compared_B)
    torch.testing.assert_close(outcome.loss_B, expected_B)
    assert torch.equal(outcome.chosen_B, read_last(model, batch).chosen_B)


def test_rankings_are_ranked_in_each_view(pairs):
    model, plan = in_training(DECODERS["llama"])
    batch = batch_of(pairs, plan=plan)
    torch.manual_seed(1)
    outcome = base_objective(plackett_luce, terms=[SIMCSE], read=read_views(READ))(model, batch)
    torch.manual_seed(1)
    reading = read_views(READ)(model, batch)
    gap_2B = (reading.chosen_P - reading.rejected_P).view(2, len(pairs))
    ranked_2B = torch.stack([plackett_luce(gap_B, winner_B=batch["chosen"]) for gap_B in gap_2B])
    expected_B = ranked_2B.mean(0) + 0.7 * simcse.loss(reading, settings=simcse.Settings())
    torch.testing.assert_close(outcome.loss_B, expected_B)


@pytest.mark.parametrize("rank", [0, 2])
def test_losses_and_gradients_do_not_depend_on_how_rows_are_laid_out(llama, rank):
    train = settings(lora__rank=rank)
    pairs = [encoded([1, *range(5, 30), n, 2], [1, *range(5, 30), n, 9, 2]) for n in range(40, 48)]
    found = {}
    for rows in ("shared", "packed", "padded"):
        model = trainable_model(llama, train, seed=0, pad_token_id=PAD)
        plan = choose_rows(base_of(model), wanted=rows, max_length=256)
        model.train()
        torch.manual_seed(1)
        objective = base_objective(bradley_terry, terms=[SIMCSE], read=read_views(READ))
        outcome = objective(model, batch_of(pairs, plan=plan))
        outcome.loss_B.sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        assert all(gradient is not None for gradient in gradients.values())
        found[rows] = (outcome.loss_B.detach(), gradients)
    for rows in ("shared", "packed"):
        torch.testing.assert_close(found[rows][0], found["padded"][0], rtol=0, atol=1e-5)
        for key, gradient in found["padded"][1].items():
            torch.testing.assert_close(found[rows][1][key], gradient, rtol=1e-3, atol=1e-4, msg=key)


ROBERTA = RobertaConfig(**{**ENCODERS["bert"].to_dict(), "pad_token_id": 1})


@pytest.mark.parametrize("config", [*ENCODERS.values(), ROBERTA], ids=[*ENCODERS, "roberta"])
def test_encoders_are_read_where_their_output_layer_reads(pairs, config):
    model, plan = in_training(config)
    batch = batch_of(pairs, plan=plan, pad_id=config.pad_token_id)
    reading = read_views(READ)(model.train(False), batch)
    assert reading.vectors.views_2SD.shape[2] == output_layer(model).in_features
    torch.testing.assert_close(reading.chosen_P, read_last(model, batch).chosen_B.repeat(2))


def test_inside_switches_the_dropout_of_the_model_on_for_two_passes(pairs):
    model, plan = in_training(DECODERS["gpt2"])
    batch = batch_of(pairs, plan=plan)
    plain = read_last(model, batch)
    torch.manual_seed(1)
    reading = read_views(INSIDE)(model, batch)
    assert torch.equal(reading.chosen_B, plain.chosen_B)
    assert all(module.p == 0 for module in dropout_modules(model))
    first_SD, second_SD = reading.vectors.views_2SD
    assert (first_SD - second_SD).abs().min(dim=1).values.max() > 0  # no number is merely dropped
    torch.manual_seed(1)
    for module in dropout_modules(model):
        module.p = 0.3
    passes = [read_last(model, batch).chosen_B for _ in range(2)]
    torch.testing.assert_close(reading.chosen_P, torch.cat(passes))
    (reading.chosen_P - reading.rejected_P).sum().backward()
    assert model.transformer.wte.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective__form": "token"}, r"terms\.simcse compares two views .*, and form is token"),
        (
            {
                "objective__views__where": "inside",
                "objective__terms": {"simcse": {}, "grm": {}},
            },
            r"terms\.grm reads tokens, which takes one pass; choose views\.where read",
        ),
        (
            {"objective__views__where": "inside", "compute__gradient_checkpointing": True},
            "gradient_checkpointing is on, which would draw other dropout",
        ),
    ],
)
def test_what_views_cannot_be_combined_with_is_refused(changes, said):
    train = settings(**{"objective__terms": {"simcse": {}}, **changes})
    with pytest.raises(ConfigError, match=said):
        assemble(train)


def test_an_unknown_need_is_named(tmp_path, monkeypatch):
    (tmp_path / "needy").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needy" / "term.py").write_text(
        "from tamis.terms.view import TermSettings as Settings\n"
        "def loss(view, *, settings):\n    return view.delta_B\n"
        "def needs(settings):\n    return {'logits'}\n"
    )
    with pytest.raises(ConfigError, match=r"'needy\.term' needs 'logits'; expected one of vi"):
        assemble(settings(objective__terms={"needy.term": {}}))


@pytest.mark.parametrize("own", [{}, {"lora__rank": 2, "lora__dropout": 0.1}])
def test_a_model_without_dropout_modules_has_no_inside(llama, tmp_path, own):
    train = settings(objective__terms={"simcse": {}}, objective__views__where="inside", **own)
    said = "where is inside, and LlamaForSequenceClassification has no dropout modules; choose read"
    with pytest.raises(ConfigError, match=said):
        run_fit(tmp_path, learnable(8), model=llama, train=train)
