"""Which layout a model gets, and that the choice rests on what the model does."""

import pytest
import torch
from rows_families import DECODERS, ENCODERS, PAD, build, padded_scores, planned_scores, sequences
from torch import Tensor

from tamis.errors import ConfigError
from tamis.models.rows.attention import (
    AttendTree,
    Rule,
    UnsupportedAttentionError,
    causal_mask,
)
from tamis.models.rows.choose import choose_rows, row_plan
from tamis.models.rows.flex import AttendFlex
from tamis.models.rows.forward import TreeForward
from tamis.models.rows.plan import RowPlan
from tamis.models.rows.tree import prefix_tree
from tamis.models.rows.varlen import AttendVarlen


def test_the_line_says_what_was_chosen_and_why() -> None:
    plan = choose_rows(build(DECODERS["llama"]), max_length=128)
    assert plan.kind == "shared"
    assert plan.why.startswith("shared rows by scaled dot product attention: common prefixes are")
    assert "equal to padded rows here to" in plan.why


def test_padded_rows_on_demand_take_everything_back() -> None:
    model = build(DECODERS["llama"])
    choose_rows(model, max_length=128)
    assert row_plan(model).kind == "shared"
    plan = choose_rows(model, wanted="padded", max_length=128)
    assert plan == RowPlan("padded", "padded rows: as asked")
    assert not isinstance(model.forward, TreeForward)
    assert row_plan(model).kind == "padded"
    assert model.config._attn_implementation != "tamis_tree"


def test_what_a_model_cannot_have_is_refused_where_it_was_asked_for() -> None:
    with pytest.raises(
        ConfigError, match=r"rows is 'shared', which BertForSequence.*bidirectional"
    ):
        choose_rows(build(ENCODERS["bert"]), wanted="shared", max_length=128)


class Forgetful(torch.nn.Module):
    """A layer that mixes neighbouring tokens, as recurrent layers do: no tree can cut it."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> Tensor:
        before = torch.roll(hidden, 1, dims=1)
        return self.layer(hidden + 0.5 * before, *args, **kwargs)


def test_a_model_whose_states_leak_between_neighbours_gets_padded_rows() -> None:
    model = build(DECODERS["llama"])
    layers = model.base_model.layers
    layers[1] = Forgetful(layers[1])
    plan = choose_rows(model, max_length=128)
    assert plan.kind == "padded"
    assert "differ by" in plan.why
    assert not isinstance(model.forward, TreeForward)


def test_a_window_that_the_attention_function_is_not_told_of_is_noticed() -> None:
    """Some models put their window into the mask alone, which trees do without."""
    model = build(DECODERS["mistral"])
    texts = sequences()
    with torch.no_grad():
        expected = padded_scores(model, texts)
        assert choose_rows(model, max_length=128).kind == "shared"
        found = planned_scores(model, texts, row_plan(model))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        choose_rows(model, wanted="padded", max_length=128)
        for layer in model.base_model.layers:  # the mask keeps the window, the call loses it
            layer.self_attn.config = _without_window(layer.self_attn.config)
        assert choose_rows(model, max_length=128).kind == "padded"


def _without_window(config: object) -> object:
    class Blind:
        sliding_window = None

        def __getattr__(self, name: str) -> object:
            return getattr(config, name)

    return Blind()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("rule", [Rule(0.3, None, None), Rule(None, 5, None), Rule(0.5, 4, 1.5)])
def test_flex_attention_sees_what_scaled_dot_product_attention_sees(rule: Rule) -> None:
    tree = prefix_tree(sequences())
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, len(tree.token_ids), 8) for heads in (4, 2, 2))
    expected = AttendTree(tree).attend(query, key=key, value=value, rule=rule)
    flex = AttendFlex(tree, torch.device("cpu"))  # forward alone: it has no backward on a CPU
    found = flex.attend(query, key=key, value=value, rule=rule)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    reads = torch.tensor(tree.reads)
    read = flex.reading(key, value).attend(query[:, :, reads], key=key, value=value, rule=rule)
    torch.testing.assert_close(read, expected[:, reads], atol=1e-5, rtol=1e-5)


def variable_length(query, key, value, starts, _, longest, __, *, scale, window_size, enable_gqa):
    """What torch's CUDA kernel computes, written plainly: each run of tokens by itself."""
    assert longest == int((starts[1:] - starts[:-1]).max())
    left, right = window_size
    assert right == 0  # causal
    repeat = query.shape[1] // key.shape[1]
    assert enable_gqa == (repeat > 1)
    key, value = key.repeat_interleave(repeat, dim=1), value.repeat_interleave(repeat, dim=1)
    output = torch.empty_like(query)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        score = torch.einsum("qhd,khd->hqk", query[start:stop], key[start:stop]) * scale
        distance = torch.arange(stop - start)[:, None] - torch.arange(stop - start)
        hidden = (distance < 0) | ((distance > left) if left >= 0 else torch.tensor(False))
        weight = score.masked_fill(hidden, -torch.inf).softmax(-1)
        output[start:stop] = torch.einsum("hqk,khd->qhd", weight, value[start:stop])
    return output


@pytest.mark.parametrize("rule", [Rule(0.3, None, None), Rule(None, 5, None)])
def test_variable_length_attention_sees_what_packed_rows_see(rule: Rule) -> None:
    tree = RowPlan("packed", "").tree(sequences())
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, len(tree.token_ids), 8) for heads in (4, 2, 2))
    varlen = AttendVarlen(tree, torch.device("cpu"), function=variable_length)
    found = varlen.attend(query, key=key, value=value, rule=rule)
    expected = AttendTree(tree).attend(query, key=key, value=value, rule=rule)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_variable_length_attention_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedAttentionError, match="shares no prefixes"):
        AttendVarlen(prefix_tree(sequences()), torch.device("cpu"), function=variable_length)
    varlen = AttendVarlen(
        RowPlan("packed", "").tree([[1, 2]]), torch.device("cpu"), function=variable_length
    )
    part = torch.zeros(1, 1, 2, 8)
    with pytest.raises(UnsupportedAttentionError, match="caps no scores"):
        varlen.attend(part, key=part, value=part, rule=Rule(None, None, 2.0))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_changed_neighbour_changes_no_other_score(name: str) -> None:
    """Within a tree a leak would come from a neighbour in the row, or from another branch."""
    model = build(DECODERS[name])
    plan = choose_rows(model, max_length=128)
    texts = sequences()
    changed = [*texts]
    changed[3] = [*texts[3][:-3], 5, 6, 7]
    changed[6] = [11] * len(texts[6])
    with torch.no_grad():
        before_S, after_S = (planned_scores(model, batch, plan) for batch in (texts, changed))
    same = [number for number in range(len(texts)) if number not in (3, 6)]
    torch.testing.assert_close(after_S[same], before_S[same], atol=1e-6, rtol=0)
    assert (after_S[[3, 6]] - before_S[[3, 6]]).abs().min() > 1e-4


def test_gradient_checkpointing_computes_trees_again_in_the_backward_pass() -> None:
    model = build(DECODERS["qwen3"])
    plan = choose_rows(model, max_length=128)
    texts = sequences()
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model.train().zero_grad()
        planned_scores(model, texts, plan).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert model.is_activation_checkpointing
    for kept, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, kept)


def test_a_causal_mask_of_the_last_queries() -> None:
    mask = causal_mask(2, 4, window=None, device=torch.device("cpu"))
    assert mask.tolist() == [[True, True, True, False], [True, True, True, True]]
    assert PAD == 0
