"""The MetaRM step: what a step computes, and what it leaves alone."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fitting import assert_same, judged, learnable, run_fit, settings, without_timing
from safetensors.torch import load_file
from torch import nn

from tamis.errors import ConfigError, DataError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.checkpoint import load_scorer
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.plan import RowPlan
from tamis.models.score import score_sequences
from tamis.models.tokenise import load_tokenizer
from tamis.train.added import added_steps
from tamis.train.arguments import training_arguments
from tamis.train.collate import make_collate
from tamis.train.dataset import training_set
from tamis.train.fit import checked
from tamis.train.meta import MetaStep, difference_objective, spread_objective
from tamis.train.meta_set import MetaParts, meta_batch, meta_parts, meta_set
from tamis.train.objective import base_objective
from tamis.train.step_config import MetaConfig
from tamis.train.trainer import last_complete

PADDED = RowPlan("padded", "")
ETA = 0.5  # so that the step is seen
SLOPE = torch.tensor([0.05, 0.5], dtype=torch.float64)


def write_meta(path, num_prompts=12):
    """Write prompts with two to four responses, two of them alike now and then."""
    words = ["good", "bad", "quick fox", "lazy dog", "good"]
    with path.open("w") as file:
        for index in range(num_prompts):
            responses = [f"{words[(index + i) % 5]} {i % 3}" for i in range(2 + index % 3)]
            file.write(json.dumps({"prompt": f"question {index}", "responses": responses}) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_meta(tmp_path_factory.mktemp("meta") / "meta.jsonl")


@pytest.fixture(scope="module")
def many():
    return learnable()


def with_meta(path, *, eta=ETA, prompts=5, holdout_frac=0.25, **changes):
    meta = {"path": path, "eta": eta, "prompts": prompts, "holdout_frac": holdout_frac}
    return settings(objective__meta=meta, **changes)


class Quadratic(nn.Module):
    """Scores that are linear in two weights: what a step does can be computed by hand."""

    def __init__(self, start, *, hides=False):
        super().__init__()
        self.hides = hides
        self.weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.ones(1, dtype=torch.float64), requires_grad=False)

    def forward(self, input_ids, attention_mask):
        weight = self.weight.detach().clone().requires_grad_() if self.hides else self.weight
        scores = input_ids.double() @ weight
        return SimpleNamespace(logits=scores[:, None])


def step_of(model, *, eta, alpha, features, loss_of, unit="gradient", optimizer=None):
    """Take one step as the Trainer would: callback, pairs, callback, optimiser."""
    parts = MetaParts([np.arange(1)], held_out=[], num_micro=1, num_held_out=0)
    batch = {
        "input_ids": torch.tensor(features),
        "attention_mask": torch.ones(len(features), 2, dtype=torch.int64),
        "chosen": torch.tensor([0]),
        "rejected": torch.tensor([1]),
        "count": torch.tensor([2]),
    }
    step = MetaStep(None, parts, collate=lambda _: batch, eta=eta, unit=unit)
    optimizer = optimizer or torch.optim.SGD([model.weight], lr=alpha)
    optimizer.zero_grad()
    args = SimpleNamespace(world_size=1, process_index=0, max_grad_norm=1.0)
    step.on_step_begin(args, SimpleNamespace(global_step=0), model=model, optimizer=optimizer)
    moved = model.weight.detach().clone()
    loss_of(model.weight).backward()
    step.on_pre_optimizer_step()
    optimizer.step()
    return moved, model.weight.detach().clone()


def test_a_step_updates_the_original_weights_with_the_gradient_at_the_moved_ones():
    start, features = [0.4, -0.3], [[3, 1], [1, 2]]
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    eta, alpha = 0.7, 0.1

    def loss_of(weight):
        return 0.5 * weight @ matrix @ weight

    model = Quadratic(start)
    moved, after = step_of(model, eta=eta, alpha=alpha, features=features, loss_of=loss_of)
    theta = np.array(start)
    difference = np.array(features[0]) - np.array(features[1])
    gap = theta @ difference
    sigmoid = 1 / (1 + np.exp(-abs(gap)))
    grad_j = 2 / 4 * sigmoid * (1 - sigmoid) * np.sign(gap) * difference
    theta_moved = theta + eta * grad_j
    assert moved.numpy() == pytest.approx(theta_moved, rel=1e-6)
    assert after.numpy() == pytest.approx(theta - alpha * matrix.numpy() @ theta_moved, rel=1e-6)
    assert model.frozen.tolist() == [1.0]


def test_an_inner_step_can_have_the_metric_of_the_outer_one():
    features, start = [[3, 1], [1, 2]], torch.tensor([0.4, -0.3], dtype=torch.float64)
    model = Quadratic(start.tolist())
    optimizer = torch.optim.AdamW([model.weight], lr=0.1, weight_decay=0.0)
    given = {"eta": 2.0, "unit": "steps", "alpha": 0.1, "features": features}
    moved, before = step_of(
        model, optimizer=optimizer, loss_of=lambda w: (w * SLOPE).sum(), **given
    )
    assert moved.tolist() == start.tolist()  # nothing is known of the outer step yet
    moved, _ = step_of(model, optimizer=optimizer, loss_of=torch.sum, **given)
    difference = torch.tensor(features[0]) - torch.tensor(features[1])
    sigmoid = torch.sigmoid(-(before @ difference.double()).abs())
    grad_j = 2 / 4 * sigmoid * (1 - sigmoid) * (before @ difference.double()).sign() * difference
    share = grad_j / (SLOPE.abs() + 1e-8)  # the second moments are the squares of the one gradient
    assert share.abs().min() < 1 < share.abs().max()
    assert moved.tolist() == pytest.approx((before + 2 * 0.1 * share.clamp(-1, 1)).tolist())


def test_an_inner_step_is_clipped_as_the_outer_one_is():
    found = []
    for scale in (10, 1000):
        model = Quadratic([1e-4, 0.0])
        optimizer = torch.optim.AdamW([model.weight], lr=0.1, weight_decay=0.0)
        given = {"eta": 1.0, "unit": "steps", "alpha": 0.1, "features": [[scale, 0], [0, 0]]}
        step_of(model, optimizer=optimizer, loss_of=lambda w: 9.0 * w.sum(), **given)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([1e-4, 0.0]))
        moved, _ = step_of(model, optimizer=optimizer, loss_of=torch.sum, **given)
        found.append(float(moved[0]) - 1e-4)
    assert found == pytest.approx([0.1 / 9, 0.1 / 9])


def test_the_metric_of_an_optimiser_without_one_is_refused():
    model = Quadratic([0.4, -0.3])
    optimizer = torch.optim.SGD([model.weight], lr=0.1, momentum=0.5)
    given = {"eta": 1.0, "alpha": 0.1, "features": [[3, 1], [1, 2]], "loss_of": torch.sum}
    step_of(model, optimizer=optimizer, unit="steps", **given)
    with pytest.raises(ConfigError, match="SGD keeps none; choose unit gradient"):
        step_of(model, optimizer=optimizer, unit="steps", **given)


def test_weights_that_are_hidden_from_it_are_no_silent_plain_step():
    given = {"eta": 0.1, "alpha": 0.1, "features": [[3, 1], [1, 2]], "loss_of": torch.sum}
    with pytest.raises(ConfigError, match="found no gradient of the trained weights"):
        step_of(Quadratic([0.4, -0.3], hides=True), **given)


@pytest.fixture
def material(llama, path):
    """Model, tokenizer and meta set of the tiny Llama."""
    tokenizer = load_tokenizer(llama)
    config = MetaConfig(path=path)
    return load_reward_model(llama, seed=0), tokenizer, meta_set(config, tokenizer=tokenizer)


def by_hand(model, meta, prompts, pad_id, *, spread=False):
    """Return the difference loss of prompts, or their mean spread, from the scores of each."""
    total = 0.0
    for prompt in prompts:
        score = score_sequences(model, meta.responses(prompt), pad_id=pad_id).tolist()
        k = len(score)
        gaps = [abs(score[i] - score[j]) for j in range(k) for i in range(j)]
        if spread:
            total += np.mean(gaps)
        else:
            total += 2 / k**2 * sum(1 / (1 + np.exp(-gap)) for gap in gaps)
    return total / len(prompts)


@pytest.mark.parametrize("rows", ["shared", "packed", "padded"])
def test_a_batch_of_responses_gives_the_published_loss_in_every_layout(material, rows):
    model, tokenizer, meta = material
    with torch.no_grad():
        output_layer(model).weight.mul_(50)
    plan = choose_rows(model, wanted=rows, max_length=256)
    prompts = [1, 2, 5]
    batch = meta_batch(meta, prompts, plan=plan, pad_id=tokenizer.pad_token_id)
    with torch.no_grad():
        found, wide = (
            float(objective(model, batch | {"num_prompts": 3}).loss_B.sum())
            for objective in (difference_objective, spread_objective)
        )
    pad_id = tokenizer.pad_token_id
    assert found == pytest.approx(by_hand(model, meta, prompts, pad_id), abs=1e-6)
    assert wide == pytest.approx(by_hand(model, meta, prompts, pad_id, spread=True), abs=1e-5)
    assert wide > 0.05
    if rows == "shared":
        num_tokens = sum(len(ids) for prompt in prompts for ids in meta.responses(prompt))
        assert batch["input_ids"].numel() < num_tokens


def moved_gradient(model, meta, batch, *, prompts, pad_id):
    """Return the norm of the gradient of the pair loss at the weights moved by ETA."""
    weights = list(model.parameters())
    given = meta_batch(meta, prompts, plan=PADDED, pad_id=pad_id) | {"num_prompts": len(prompts)}
    loss = difference_objective(model, given).loss_B.sum()
    with torch.no_grad():
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.add_(gradient, alpha=ETA)
    (base_objective(bradley_terry)(model, batch).loss_B.sum() / 30).backward()
    return float(torch.nn.utils.get_total_norm([weight.grad for weight in weights]))


@pytest.mark.parametrize("micro", [4, 30])
def test_accumulated_or_not_the_gradient_is_that_at_the_moved_weights(
    material, path, llama, many, tmp_path, micro
):
    model, tokenizer, meta = material
    train = with_meta(
        path,
        holdout_frac=0.0,
        batch_size=30,
        max_steps=2,
        compute__micro_batch_size=micro,
        compute__save_every=2,
    )
    run_fit(tmp_path, many, model=llama, train=train)
    state = json.loads((tmp_path / "work" / "checkpoint-2" / "trainer_state.json").read_text())
    data = training_set(many, judged(many), tokenizer=tokenizer, max_length=256)
    pad_id = tokenizer.pad_token_id
    batch = make_collate(data, pad_id=pad_id, plan=PADDED)([np.arange(30)])
    parts = meta_parts(
        len(meta), train.objective.meta, num_steps=1, num_micro=1, num_processes=1, seed=0
    )
    expected = moved_gradient(model, meta, batch, prompts=parts.training[0], pad_id=pad_id)
    assert state["log_history"][0]["grad_norm"] == pytest.approx(expected, rel=1e-4)


PLAIN = {
    "accumulated": {"compute__micro_batch_size": 2, "compute__gradient_checkpointing": True},
    "adapters": {"lora__rank": 2, "lora__head_dropout": 0.3},
    "two views": {"objective__terms": {"simcse": {}}},
}


@pytest.mark.parametrize("changes", PLAIN.values(), ids=PLAIN)
def test_without_a_step_the_run_is_the_plain_one_bit_for_bit(path, llama, many, tmp_path, changes):
    changes = {"compute__save_every": 4, **changes}
    plain, zero, moved = tmp_path / "plain", tmp_path / "zero", tmp_path / "moved"
    _, expected = run_fit(plain, many, model=llama, train=settings(**changes))
    _, found = run_fit(zero, many, model=llama, train=with_meta(path, eta=0.0, **changes))
    assert_same(found, expected, atol=0, rtol=0)
    for name in ("rng_state.pth", "optimizer.pt", "scheduler.pt"):
        one, other = (
            torch.load(run / "work" / "checkpoint-4" / name, weights_only=False)
            for run in (plain, zero)
        )
        assert_equal(one, other)
    _, other = run_fit(moved, many, model=llama, train=with_meta(path, **changes))
    assert max(float((other[name] - found[name]).abs().max()) for name in found) > 1e-5


def assert_equal(one, other):
    """Compare what torch.save wrote, exactly."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif isinstance(one, torch.Tensor | np.ndarray):
        assert (one == other).all()
    else:
        assert one == other


@pytest.mark.parametrize("changes", [{}, {"lora__rank": 2}])
def test_what_is_saved_does_not_contain_the_inner_step(path, llama, many, tmp_path, changes):
    changes = {"learning_rate": 1e-14, "max_steps": 2, "compute__save_every": 1, **changes}
    _, found = run_fit(tmp_path / "a", many, model=llama, train=with_meta(path, **changes))
    _, expected = run_fit(tmp_path / "b", many, model=llama, train=settings(**changes))
    assert_same(found, expected, atol=1e-12, rtol=0)
    saved, plain = (
        load_file(next((tmp_path / run / "work" / "checkpoint-1").glob("*.safetensors")))
        for run in ("a", "b")
    )
    assert_same(saved, plain, atol=1e-12, rtol=0)


FAILING = """
from torch.nn.functional import softplus
calls = 0
def failing(gap_B):
    global calls
    calls += 1
    if calls == {call}:
        raise RuntimeError("in the middle of a step")
    return softplus(-gap_B)
"""


def test_a_failure_between_the_passes_leaves_no_moved_checkpoint(
    path, llama, many, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    changes = {
        "compute__micro_batch_size": 2,
        "compute__save_every": 1,
        "learning_rate": 1e-14,
    }
    # two calls a micro-batch, two of these a step: the third step has computed one of them
    (tmp_path / "own_failing").mkdir()
    (tmp_path / "own_failing" / "failing.py").write_text(FAILING.format(call=11))
    train = with_meta(path, loss="own_failing.failing", **changes)
    with pytest.raises(RuntimeError, match="in the middle of a step"):
        run_fit(tmp_path / "a", many, model=llama, train=train)
    assert str(last_complete(tmp_path / "a" / "work")).endswith("checkpoint-2")
    saved = load_file(tmp_path / "a" / "work" / "checkpoint-2" / "model.safetensors")
    start = load_reward_model(llama, seed=0).state_dict()
    assert_same(saved, {name: start[name] for name in saved}, atol=0, rtol=0)
    report, _ = run_fit(tmp_path / "a", many, model=llama, train=train)  # and it goes on
    calm, _ = run_fit(tmp_path / "b", many, model=llama, train=train)
    assert without_timing(report) == without_timing(calm)


def test_the_report_has_the_spread_of_held_out_prompts_before_and_after(
    material, path, llama, many, tmp_path
):
    model, tokenizer, meta = material
    train = with_meta(path, max_steps=12, learning_rate=3e-3, compute__micro_batch_size=2)
    report, _ = run_fit(tmp_path, many, model=llama, train=train)
    assert json.loads(json.dumps(report)) == report
    found = report["meta"]
    assert (found["num_prompts"], found["num_held_out"], found["num_responses"]) == (9, 3, 36)
    parts = meta_parts(12, train.objective.meta, num_steps=1, num_micro=1, num_processes=1, seed=0)
    prompts = np.concatenate(parts.held_out).tolist()
    scorer = load_scorer(str(tmp_path / "rm"))
    pad_id = tokenizer.pad_token_id
    before, after = (by_hand(m, meta, prompts, pad_id, spread=True) for m in (model, scorer.model))
    assert found["held_out_spread"]["before"] == pytest.approx(before, abs=1e-6)
    assert found["held_out_spread"]["after"] == pytest.approx(after, abs=1e-6)
    assert abs(after - before) > 1e-3
    assert report["objective"]["meta"] == {
        "eta": ETA,
        "unit": "gradient",
        "prompts": 5,
        "holdout_frac": 0.25,
    }


def test_the_report_says_how_long_inner_steps_were_in_outer_ones(path, llama, many, tmp_path):
    changes = {
        "max_steps": 4,
        "learning_rate": 1e-3,
        "optimiser__warmup_frac": 0.3,  # the first rate is 0
    }
    found = []
    for name, eta, unit in (("a", 2.0, "steps"), ("b", ETA, "gradient"), ("c", 0.0, "gradient")):
        train = with_meta(path, eta=eta, objective__meta__unit=unit, **changes)
        report, _ = run_fit(tmp_path / name, many, model=llama, train=train)
        found.append(report["meta"]["inner_steps"])
    assert 0.1 < found[0] <= 2.0
    assert 0 < found[1] < 0.5  # half a gradient is little beside AdamW's step
    assert found[2] == 0.0


def test_what_cannot_be_used_is_left_out_and_counted(llama, many, tmp_path):
    rows = [
        {"prompt": "a", "responses": ["one", "two", " "]},
        {"prompt": "b", "responses": ["one", "0123456789 " * 300]},
        {"prompt": "c", "responses": ["same", "same"]},
        {"prompt": "d", "responses": ["alone"]},
        {"prompt": "fox " * 300, "responses": ["one", "two"]},
        {"prompt": "e", "responses": []},
    ]
    path = tmp_path / "meta.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = with_meta(str(path), holdout_frac=0.0)
    report, _ = run_fit(tmp_path, many, model=llama, train=train)
    assert report["meta"].pop("inner_steps") > 0
    assert report["meta"] == {
        "num_prompts": 2,
        "num_held_out": 0,
        "num_responses": 4,
        "num_cut": 1,
        "num_left_out": {"empty": 1, "identical": 1, "over_length": 1, "too_few_responses": 3},
    }
    path.write_text(json.dumps(rows[2]))
    with pytest.raises(DataError, match=r"no prompt of 1 is left \(left out: {'identical': 1}\)"):
        run_fit(tmp_path / "none", many, model=llama, train=train)


def numbers(parts):
    return [number for part in parts for number in part.tolist()]


@pytest.mark.parametrize("num_micro", [1, 3])
def test_prompts_are_drawn_by_seed_and_step_alone_all_before_any_again(num_micro):
    config = MetaConfig(path="x", prompts=8, holdout_frac=0.2)
    given = {"num_micro": num_micro, "num_processes": 2}
    parts = meta_parts(50, config, num_steps=12, seed=3, **given)
    assert parts.num_micro == num_micro
    size = 2 * num_micro
    assert len(parts.training) == 12 * size
    assert min(map(len, parts.training)) > 0
    assert sorted(numbers(parts.training[: 5 * size]) + numbers(parts.held_out)) == list(range(50))
    assert len(numbers(parts.held_out)) == parts.num_held_out == 10
    assert len(parts.held_out) % 2 == 0
    fewer = meta_parts(50, config, num_steps=7, seed=3, num_micro=1, num_processes=1)
    for step in range(7):
        expected = numbers(parts.training[step * size : (step + 1) * size])
        assert fewer.training[step].tolist() == expected
    other = meta_parts(50, config, num_steps=12, seed=4, **given)
    assert numbers(other.training) != numbers(parts.training)


def test_a_small_meta_set_has_smaller_batches_or_is_refused():
    config = MetaConfig(path="few.jsonl", prompts=8, holdout_frac=0.1)
    parts = meta_parts(4, config, num_steps=2, num_micro=4, num_processes=1, seed=0)
    assert [len(part) for part in parts.training] == [1] * 6
    few = r"few\.jsonl: 4 prompts are left, 1 of them held out .* change .*\.meta\.holdout_frac$"
    with pytest.raises(DataError, match=few):
        meta_parts(4, config, num_steps=2, num_micro=1, num_processes=2, seed=0)
    one = r"0 of them held out and 1 in a batch, for 2 processes.* change .*\.meta\.prompts$"
    with pytest.raises(DataError, match=one):
        meta_parts(1, config, num_steps=2, num_micro=1, num_processes=2, seed=0)


def test_a_missing_meta_set_is_told_before_anything_is_loaded(llama):
    with pytest.raises(DataError, match=r"nowhere/meta\.jsonl: no such file or directory"):
        checked(with_meta("nowhere/meta.jsonl"), model=llama)


def test_deepspeed_is_refused(path, llama, tmp_path, monkeypatch):
    train = with_meta(path)
    given = {"split": None, "pairs": [], "tokenizer": load_tokenizer(llama), "plan": PADDED}
    given["arguments"] = training_arguments(train, num_pairs=8, num_steps=4, seed=0, work=tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match=r"objective\.meta moves weights .* DeepSpeed"):
        added_steps(train, None, **given)
