"""Attention in bfloat16 on a CPU: in float32 where a gradient goes through it, else as it comes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from rows_families import DECODERS, ENCODERS, build, padded_scores, planned_scores, sequences
from torch import Tensor
from torch.nn.functional import cosine_similarity, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from tamis.models.attention import use_fast_backward
from tamis.models.rows.choose import choose_rows

CASES = [("llama", "shared"), ("llama", "padded"), ("gemma2", "shared"), ("bert", "padded")]


class Watching(TorchFunctionMode):
    """Notes the types that torch's attention, or the products of its eager form, compute in."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (scaled_dot_product_attention, torch.Tensor.matmul):
            is_cast = torch.is_autocast_enabled("cpu")
            self.dtypes |= {torch.get_autocast_dtype("cpu")} if is_cast else {args[0].dtype}
        return func(*args, **(kwargs or {}))


@contextmanager
def in_bfloat16() -> Iterator[set[torch.dtype]]:
    with torch.autocast("cpu", dtype=torch.bfloat16), Watching() as watching:
        yield watching.dtypes


def gradient(scores_S: Tensor, model: torch.nn.Module) -> Tensor:
    model.zero_grad()
    (scores_S.float() * torch.linspace(-1, 1, len(scores_S))).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_gradient_goes_through_float32(name: str, kind: str) -> None:
    model = build({**DECODERS, **ENCODERS}[name])
    texts = sequences()
    expected = gradient(padded_scores(model, texts), model)
    use_fast_backward(model)
    plan = choose_rows(model, wanted=kind, max_length=128)
    assert plan.kind == kind
    with in_bfloat16() as dtypes:
        scores_S = planned_scores(model, texts, plan)
    assert dtypes == {torch.float32}
    assert cosine_similarity(gradient(scores_S, model), expected, dim=0) > 0.999


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_needs_no_gradient_is_as_it_was(name: str, kind: str) -> None:
    found = []
    for is_fast in (False, True):
        model = build({**DECODERS, **ENCODERS}[name])
        if is_fast:
            use_fast_backward(model)
        plan = choose_rows(model, wanted=kind, max_length=128)
        with torch.no_grad(), in_bfloat16() as dtypes:
            found.append(planned_scores(model, sequences(), plan))
        assert dtypes == {torch.bfloat16}
    assert torch.equal(*found)


def test_with_and_without_a_gradient_it_can_be_the_same_to_the_bit() -> None:
    model = build(DECODERS["llama"])
    use_fast_backward(model, alike=True)
    plan = choose_rows(model, wanted="padded", max_length=128)
    with in_bfloat16():
        expected = planned_scores(model, sequences(), plan).detach()
    with torch.no_grad(), in_bfloat16() as dtypes:
        found = planned_scores(model, sequences(), plan)
    assert dtypes == {torch.float32}
    assert torch.equal(found, expected)


def test_float32_is_as_it_was() -> None:
    found = []
    for is_fast in (False, True):
        model = build(ENCODERS["bert"])
        if is_fast:
            use_fast_backward(model)
        found.append(gradient(padded_scores(model, sequences()), model))
    assert torch.equal(*found)


def test_other_attention_is_left_alone_and_none_is_written(tmp_path) -> None:
    model = build(ENCODERS["bert"])
    model.set_attn_implementation("eager")
    use_fast_backward(model)
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    use_fast_backward(model)
    assert model.config._attn_implementation != "sdpa"
    model.save_pretrained(tmp_path)
    assert "attn" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
