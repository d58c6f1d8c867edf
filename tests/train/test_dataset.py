from dataclasses import replace

import numpy as np
import pytest
import torch

from tamis.data import read_pairs, write_pairs
from tamis.denoise.orient import orient
from tamis.errors import DataError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.encoded import CHUNK_PAIRS
from tamis.models.load import load_reward_model
from tamis.models.rows.plan import RowPlan
from tamis.models.score import score_pairs
from tamis.models.tokenise import encode_pairs, load_tokenizer
from tamis.train.collate import make_collate
from tamis.train.dataset import count_kinds, training_set
from tamis.train.objective import base_objective
from tamis.train.reading import length_blocks, read_last
from tamis.types import Message, Pair, Verdict, messages_key

PADDED = RowPlan("padded", "for the test")


@pytest.fixture
def tokenizer(any_model):
    return load_tokenizer(any_model)


def keep(pairs):
    return [Verdict(pair.id) for pair in pairs]


def test_every_pair_that_is_left_out_is_counted_and_named(llama, pairs):
    same = Pair("same", (), (Message("assistant", "x"),), (Message("assistant", "x"),), row=6)
    verdicts = [*keep(pairs[1:]), Verdict("p0", weight=0.0, reason="drop"), Verdict("same")]
    tokenizer = load_tokenizer(llama)
    data = training_set([*pairs, same], verdicts, tokenizer=tokenizer, max_length=64)
    assert count_kinds(data.left_out) == {
        "identical_after_truncation": 1,
        "over_length": 2,
        "weight_0": 1,
    }
    assert {(item.row, item.kind, item.detail) for item in data.left_out} >= {
        (0, "weight_0", "p0: drop"),
        (6, "identical_after_truncation", "same"),
    }
    assert len(data.encoded) == len(data.prompts) == len(data.target_N) == 3


def test_pairs_whose_prompt_was_cut_are_counted(tokenizer, pairs):
    long = replace(pairs[0], id="long", prompt=(Message("user", "fox " * 60),))
    for max_length, expected in ((256, 0), (64, 1)):
        data = training_set(
            [pairs[0], long], keep([pairs[0], long]), tokenizer=tokenizer, max_length=max_length
        )
        assert data.num_cut == expected


def test_a_flipped_pair_is_turned(tokenizer, pairs):
    verdicts = [Verdict(pair.id, target=0.25, margin=-2.0, weight=3.0) for pair in pairs]
    turned = training_set(pairs, verdicts, tokenizer=tokenizer, max_length=256)
    straight = training_set(pairs, keep(pairs), tokenizer=tokenizer, max_length=256)
    assert turned.num_swapped == len(pairs)
    assert [pair.chosen for pair in turned.encoded] == [p.rejected for p in straight.encoded]
    assert set(turned.target_N) == {np.float32(0.75)}
    assert set(turned.margin_N) == {np.float32(2)}
    assert set(turned.weight_N) == {np.float32(3)}


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (None, "pair p0 .* has no verdict"),
        (Verdict("p0", target=1.5), "target is 1.5, expected a number in"),
        (Verdict("p0", target=float("nan")), "target is nan"),
        (Verdict("p0", margin=float("inf")), "margin is inf, expected a finite number"),
        (Verdict("p0", weight=-1.0), "weight is -1.0, expected a finite number of at least 0"),
        (Verdict("p1", weight=0.5), "two of them have the id p1"),
    ],
)
def test_an_impossible_verdict_names_the_pair(llama, pairs, verdict, said):
    verdicts = [*keep(pairs[1:]), *([verdict] if verdict else [])]
    with pytest.raises(DataError, match=said):
        training_set(pairs, verdicts, tokenizer=load_tokenizer(llama), max_length=256)


def test_nothing_left_is_an_error_with_the_counts(llama, pairs):
    verdicts = [Verdict(pair.id, weight=0.0) for pair in pairs]
    with pytest.raises(DataError, match=r"of 6 pairs, 6 were left out \(weight_0 6"):
        training_set(pairs, verdicts, tokenizer=load_tokenizer(llama), max_length=256)


def test_a_repeated_text_has_one_row(tokenizer, pairs):
    data = training_set(pairs, keep(pairs), tokenizer=tokenizer, max_length=256)
    batch = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED)([np.array([1, 3])])
    assert batch["input_ids"].shape[0] == 3
    assert batch["chosen"][0] == batch["chosen"][1]
    widths = batch["attention_mask"].sum(1)
    assert (widths.diff() >= 0).all()
    for row, side in ((0, data.encoded[1].rejected), (1, data.encoded[3].rejected)):
        index = batch["rejected"][row]
        assert tuple(batch["input_ids"][index][: widths[index]].tolist()) == side


def test_gaps_are_those_of_the_scorer(any_model, tokenizer, pairs):
    model = load_reward_model(any_model, seed=0)
    data = training_set(pairs, keep(pairs), tokenizer=tokenizer, max_length=256)
    batch = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED)([np.arange(len(pairs))])
    scores = score_pairs(model, tokenizer, pairs, max_length=256)
    with torch.no_grad():
        reading = read_last(model, batch)
        delta_B = (reading.chosen_B - reading.rejected_B).numpy()
    np.testing.assert_allclose(delta_B, scores.chosen_N - scores.rejected_N, atol=1e-5)


def test_scoring_a_text_once_gives_the_gradient_of_scoring_it_for_each_pair(
    any_model, tokenizer, pairs
):
    model = load_reward_model(any_model, seed=0)
    data = training_set(pairs, keep(pairs), tokenizer=tokenizer, max_length=256)
    collate = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED)
    objective = base_objective(bradley_terry)

    def gradient(batches):
        model.zero_grad()
        sum(objective(model, collate([batch])).loss_B.sum() for batch in batches).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    together = gradient([np.array([1, 3, 0])])
    apart = gradient([np.array([1]), np.array([3]), np.array([0])])
    assert torch.linalg.norm(together - apart) / torch.linalg.norm(apart) < 1e-4


def test_blocks_cover_all_rows_once_and_pad_little():
    lengths = sorted([10, 12, 300, 310, 900, 905, 910, 2000])
    blocks = length_blocks(lengths)
    rows = [row for part, _ in blocks for row in range(part.start, part.stop)]
    assert rows == list(range(len(lengths)))
    for part, width in blocks:
        assert width == max(lengths[part])
    padded = sum((part.stop - part.start) * width for part, width in blocks)
    assert padded < 1.3 * sum(lengths)


def test_pairs_of_one_group_with_other_prompts_are_told_apart(tokenizer):
    answers = [(Message("assistant", text),) for text in "ab"]
    pairs = [
        Pair(str(n), (Message("user", prompt),), *answers, group="one debate")
        for n, prompt in enumerate(["for", "against", "for"])
    ]
    found = training_set(pairs, keep(pairs), tokenizer=tokenizer, max_length=64).prompts
    assert found[0] == found[2] != found[1]


def many_pairs(num, *, length=1):
    """Pairs with recurring prompts; every seventh has sides of the same ids."""
    return [
        Pair(
            f"p{n}",
            (Message("user", f"{'fox ' * length}{n % 50}"),) if n % 3 else (),
            (Message("assistant", f"a {n}"),),
            (Message("assistant", f"a {n}" if n % 7 == 0 else f"b {n}"),),
            group=f"group {n % 9}",
            row=n,
        )
        for n in range(num)
    ]


def test_chunks_leave_no_trace_in_the_set(llama, tmp_path):
    tokenizer = load_tokenizer(llama)
    pairs = many_pairs(2 * CHUNK_PAIRS + 100)
    rng = np.random.default_rng(0)
    verdicts = [
        Verdict(p.id, target=float(t), margin=float(t) - 0.3, weight=float(w))
        for p, t, w in zip(
            pairs, rng.uniform(size=len(pairs)), rng.choice([0, 1, 2], len(pairs)), strict=True
        )
    ]
    found = training_set(pairs, verdicts[::-1], tokenizer=tokenizer, max_length=64, work=tmp_path)
    kept = [
        orient(p, v) for p, v in zip(pairs, verdicts, strict=True) if v.weight > 0 and p.row % 7
    ]
    encoded = encode_pairs(tokenizer, [item.pair for item in kept], max_length=64)
    assert list(found.encoded) == encoded
    assert found.encoded[-3:] == encoded[-3:]
    assert found.length_N.tolist() == [
        len(e.chosen) + len(e.rejected) - e.num_prefix for e in encoded
    ]
    for name in ("target", "margin", "weight"):
        expected = np.array([getattr(item.verdict, name) for item in kept], np.float32)
        np.testing.assert_array_equal(getattr(found, f"{name}_N"), expected)
    assert found.num_swapped == sum(item.swapped for item in kept)
    assert found.num_cut == sum(ids.num_cut > 0 for ids in encoded)
    keys = [messages_key(i.pair.prompt) if i.pair.prompt else i.pair.group for i in kept]
    _, codes = np.unique(keys, return_inverse=True)
    np.testing.assert_array_equal(found.prompts, codes)
    assert [item.row for item in found.left_out] == [
        *(p.row for p, v in zip(pairs, verdicts, strict=True) if v.weight == 0),
        *(p.row for p, v in zip(pairs, verdicts, strict=True) if v.weight and p.row % 7 == 0),
    ]
    assert list(tmp_path.iterdir()) == []


def test_memory_grows_by_little_a_pair(llama, tmp_path, peak_memory):
    tokenizer = load_tokenizer(llama)

    def peak(num):
        path = tmp_path / f"{num}.parquet"
        write_pairs(path, many_pairs(num, length=12))
        pairs = read_pairs(path)
        verdicts = [Verdict(f"p{n}") for n in range(num)]
        return peak_memory(
            lambda: training_set(pairs, verdicts, tokenizer=tokenizer, max_length=64, work=tmp_path)
        )

    few, many = 2 * CHUNK_PAIRS, 4 * CHUNK_PAIRS
    assert (peak(many) - peak(few)) / (many - few) < 450  # bytes; ids as objects take 1,000
