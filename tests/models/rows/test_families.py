"""Shared prefixes on tiny random models of the real architectures: scores and gradients.

Shapes: S sequences.
"""

import pytest
import torch
from rows_families import (
    DECODERS,
    ENCODERS,
    build,
    padded_scores,
    planned_scores,
    sequences,
)
from transformers import PreTrainedModel

from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import TreeForward


def gradients(model: PreTrainedModel, scores_S: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    weight_S = torch.linspace(-1, 1, len(scores_S))
    (scores_S * weight_S).sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("wanted", ["shared", "packed"])
@pytest.mark.parametrize("name", sorted(DECODERS))
def test_scores_and_gradients_equal_those_of_padded_rows(name: str, wanted: str) -> None:
    model = build(DECODERS[name])
    texts = sequences()
    expected_S = padded_scores(model, texts)
    expected = gradients(model, expected_S)
    plan = choose_rows(model, wanted=wanted, max_length=128)
    assert plan.kind == wanted, plan.why
    found_S = planned_scores(model, texts, plan)
    torch.testing.assert_close(found_S, expected_S, atol=1e-5, rtol=0)
    assert found_S.std() > 1e-2  # the texts differ for the model, so a leak would show
    found = gradients(model, found_S)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert (found[key] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, key


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_plain_call_is_what_it_was(name: str) -> None:
    model = build(DECODERS[name])
    texts = sequences()
    with torch.no_grad():
        expected_S = padded_scores(model, texts)
        plan = choose_rows(model, max_length=128)
        planned_scores(model, texts, plan)
        assert torch.equal(padded_scores(model, texts), expected_S)


def test_all_decoders_but_gpt2_compute_the_last_layer_for_scored_tokens_alone() -> None:
    """GPT-2 gives its output the shape of its input, so that it needs all tokens."""
    trimmed = {}
    for name, config in DECODERS.items():
        model = build(config)
        choose_rows(model, max_length=128)
        assert isinstance(model.forward, TreeForward)
        trimmed[name] = model.forward.trimmed
    assert trimmed == {name: name != "gpt2" for name in DECODERS}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_encoders_fall_back_to_padded_rows_and_say_why(name: str) -> None:
    model = build(ENCODERS[name])
    texts = sequences()
    with torch.no_grad():
        expected_S = padded_scores(model, texts)
        plan = choose_rows(model, max_length=128)
        assert plan.kind == "padded"
        assert "bidirectional" in plan.why
        torch.testing.assert_close(planned_scores(model, texts, plan), expected_S)
