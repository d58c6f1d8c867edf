"""Training with terms that read states: what they train, what is kept, and how it goes on."""

import math
import shutil

import numpy as np
import pytest
import torch
from fitting import (
    assert_same,
    judged,
    learnable,
    run_fit,
    settings,
    without_timing,
    write_responses,
)
from launching import finish, start
from safetensors.torch import load_file

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.rows.plan import RowPlan
from tamis.models.tokenise import load_tokenizer
from tamis.terms.contrast import cosines
from tamis.train.collate import make_collate
from tamis.train.config import ViewsConfig
from tamis.train.dataset import training_set
from tamis.train.fit import fit
from tamis.train.views import read_views
from tamis.types import Verdict

PADDED = RowPlan("padded", "")
SWAV = {"swav": {"prototypes": 12, "queue": 10}}
ALL = {"simcse": {"on": "differences"}, "grm": {"form": "dpo"}, "pcrm": {}, **SWAV}


def keep(pairs):
    return [Verdict(pair.id) for pair in pairs]


def drop_last_checkpoint(path):
    """Bring a finished run back to where its last checkpoint but one was written."""
    last = max((path / "work").glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    shutil.rmtree(last)
    shutil.rmtree(path / "rm")


@pytest.mark.parametrize(
    ("terms", "changes"),
    [
        ({"simcse": {}}, {}),
        (ALL, {"lora__rank": 2, "compute__micro_batch_size": 2, "compute__autocast": "bfloat16"}),
        ({"swav": {"on": "differences", "coefficient": 0.5}}, {"watch__holdout_frac": 0.2}),
        ({"grm": {}, "centring": {}, "pcrm": {}}, {"compute__gradient_checkpointing": True}),
    ],
)
def test_a_run_with_terms_goes_on_bit_for_bit_and_leaves_a_plain_checkpoint(
    llama, tmp_path, terms, changes
):
    watched = "watch__holdout_frac" in changes
    changes |= {"watch__eval_every": 2} if watched else {"compute__save_every": 2}
    pairs = learnable(16)
    train = settings(learning_rate=3e-3, objective__terms=terms, **changes)
    expected = run_fit(tmp_path, pairs, model=llama, train=train)
    assert expected[1].keys() == load_reward_model(llama, seed=0).state_dict().keys()
    drop_last_checkpoint(tmp_path)
    again = run_fit(tmp_path, pairs, model=llama, train=train)
    assert_same(again[1], expected[1], atol=0, rtol=0)
    assert without_timing(again[0]) == without_timing(expected[0])


def test_settings_of_views_change_nothing_where_no_term_compares_them(llama, tmp_path):
    pairs, plain = learnable(16), {"max_steps": 2}
    found = [
        run_fit(
            tmp_path / str(n), pairs, model=llama, train=settings(**plain, objective__views=views)
        )
        for n, views in enumerate([{}, {"dropout": 0.5, "where": "inside"}])
    ]
    assert_same(found[0][1], found[1][1], atol=0, rtol=0)


def test_dropout_is_a_function_of_the_seed_and_of_its_rate(llama, tmp_path):
    pairs = learnable(16)

    def run(name, dropout):
        views = {"dropout": dropout}
        train = settings(max_steps=2, objective__terms={"simcse": {}}, objective__views=views)
        return run_fit(tmp_path / name, pairs, model=llama, train=train)

    one, again, other = run("a", 0.1), run("b", 0.1), run("c", 0.4)
    assert_same(one[1], again[1], atol=0, rtol=0)
    assert one[0]["loss"] != other[0]["loss"]
    assert one[0]["loss"][0]["accuracy"] == other[0]["loss"][0]["accuracy"]


def test_prototypes_are_trained_with_the_model_and_kept_with_adapters(llama, tmp_path):
    train = settings(objective__terms=SWAV, lora__rank=2, compute__save_every=2)
    run_fit(tmp_path, learnable(), model=llama, train=train)
    states = [
        torch.load(tmp_path / "work" / f"checkpoint-{step}" / "terms-0.pt") for step in (2, 4)
    ]
    assert states[0].keys() == {f"swav.{key}" for key in ("weight_KD", "queue_2QD", "num_queued")}
    moved = (states[0]["swav.weight_KD"] - states[1]["swav.weight_KD"]).abs()
    assert moved.max() > 1e-4
    assert states[1]["swav.num_queued"] == 10
    assert not torch.equal(states[0]["swav.queue_2QD"], states[1]["swav.queue_2QD"])


def test_texts_that_are_told_apart_are_further_apart(llama, tmp_path):
    pairs, tokenizer = learnable(16), load_tokenizer(llama)
    data = training_set(pairs, keep(pairs), tokenizer=tokenizer, max_length=256)
    batch = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED)([np.arange(16)])
    train = settings(
        max_steps=12,
        objective__base_coefficient=0.0,
        objective__terms={"simcse": {}},
        objective__views={"dropout": 0.01},
    )
    run_fit(tmp_path, pairs, model=llama, train=train)
    likeness = []
    for path in (llama.path, str(tmp_path / "rm")):
        model = load_reward_model(ModelConfig(path=path), seed=0)
        with torch.no_grad():
            vectors_SD = read_views(ViewsConfig())(model, batch).vectors.views_2SD[0]
        likeness.append(cosines(vectors_SD, vectors_SD).mean().item())
    assert likeness[0] > 0.99
    assert likeness[1] < 0.9


@pytest.mark.parametrize("changes", [{}, {"lora__rank": 2}, {"compute__micro_batch_size": 1}])
def test_grm_begins_at_the_starting_model_and_makes_better_answers_likelier(
    llama, tmp_path, changes
):
    pairs = learnable()
    terms = {"grm": {"form": "dpo_reference", "coefficient": 1.0, "beta": 0.5}}
    train = settings(
        max_steps=8,
        learning_rate=3e-3,
        objective__base_coefficient=0.0,
        objective__terms=terms,
        **changes,
    )
    report, _ = run_fit(tmp_path, pairs, model=llama, train=train, verdicts=keep(pairs))
    assert report["loss"][0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert report["loss"][-1]["loss"] < 0.6


def test_grm_in_parts_is_grm_of_the_whole_batch(llama, tmp_path):
    pairs, curves = learnable(16), []
    for name, size in (("whole", None), ("parts", 2)):
        train = settings(
            max_steps=3,
            batch_size=8,
            compute__micro_batch_size=size,
            objective__terms={"grm": {"form": "dpo"}},
        )
        report, _ = run_fit(tmp_path / name, pairs, model=llama, train=train)
        curves.append([point["loss"] for point in report["loss"]])
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


def test_a_flipped_pair_writes_the_answer_believed_better(llama, tmp_path):
    pairs = learnable(8)
    terms = {"grm": {"coefficient": 1.0, "form": "nll"}}
    train = settings(max_steps=2, objective__terms=terms, objective__base_coefficient=0.0)
    flipped = [Verdict(pair.id, target=0.0) for pair in pairs]
    turned = [pair.swapped() for pair in pairs]
    one = run_fit(tmp_path / "a", pairs, model=llama, train=train, verdicts=flipped)
    other = run_fit(tmp_path / "b", turned, model=llama, train=train, verdicts=keep(pairs))
    assert_same(one[1], other[1], atol=0, rtol=0)


def test_encoders_have_no_answers_to_write(tiny_bert, llama, tmp_path):
    model = llama.model_copy(update={"path": tiny_bert, "max_length": 64})
    for form in ("sft", "dpo_reference"):
        train = settings(objective__terms={"grm": {"form": form}})
        with pytest.raises(ConfigError, match=r"lacks \d+ weights, 'cls|reads texts in both"):
            run_fit(tmp_path / form, learnable(8), model=model, train=train)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"compute__fsdp": "full_shard"}], ids=["ddp", "fsdp"])
def test_two_processes_train_terms_and_go_on_with_their_own_queues(llama, tmp_path, changes):
    pairs = learnable()
    train = settings(
        batch_size=8,
        learning_rate=3e-3,
        objective__terms=ALL,
        compute__save_every=2,
        compute__micro_batch_size=2,
        **changes,
    )
    given = {"model": llama, "train": train, "verdicts": judged(pairs)}
    assert finish(start(tmp_path, pairs, **given)) == [0, 0]
    expected = load_file(tmp_path / "rm" / "model.safetensors")
    states = [torch.load(tmp_path / "work" / "checkpoint-4" / f"terms-{n}.pt") for n in (0, 1)]
    assert torch.equal(states[0]["swav.weight_KD"], states[1]["swav.weight_KD"])
    assert not torch.equal(states[0]["swav.queue_2QD"], states[1]["swav.queue_2QD"])
    drop_last_checkpoint(tmp_path)
    assert finish(start(tmp_path, pairs, **given)) == [0, 0]
    assert_same(load_file(tmp_path / "rm" / "model.safetensors"), expected, atol=0, rtol=0)


@pytest.mark.slow
def test_dropout_inside_a_sharded_model_is_a_function_of_the_seed(llama, tiny_bert, tmp_path):
    model = llama.model_copy(update={"path": tiny_bert, "max_length": 64})
    pairs = learnable(16)

    def weights(name, **changes):
        views = {"where": "inside", "dropout": 0.3}
        train = settings(
            max_steps=2,
            batch_size=8,
            objective__terms={"simcse": {}},
            objective__views=views,
            **changes,
        )
        given = {"model": model, "train": train, "verdicts": judged(pairs)}
        assert finish(start(tmp_path / name, pairs, **given)) == [0, 0]
        return load_file(tmp_path / name / "rm" / "model.safetensors")

    spread = weights("a", compute__fsdp="full_shard")
    assert_same(weights("b", compute__fsdp="full_shard"), spread, atol=0, rtol=0)
    assert_same(weights("c"), spread, atol=1e-4, rtol=0)  # each process draws what it draws in DDP


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"compute__fsdp": "full_shard"}], ids=["ddp", "fsdp"])
def test_two_processes_write_what_one_writes(llama, tmp_path, changes):
    """All that reads states and moves weights; what depends on chance or on its process is off."""
    pairs = learnable()
    responses = write_responses(tmp_path / "meta.jsonl")
    terms = {
        "grm": {"form": "dpo_reference", "coefficient": 0.5},
        "simcse": {"on": "differences"},
        "swav": {"prototypes": 3, "queue": 0},
    }
    given = {
        "batch_size": 8,
        "compute__micro_batch_size": 2,
        "learning_rate": 3e-3,
        "objective__terms": terms,
        "objective__views": {"dropout": 1e-9},
        "objective__meta": {"path": responses, "eta": 0.5, "prompts": 6},
    }
    both = {"model": llama, "verdicts": judged(pairs)}
    train = settings(**given, **changes)
    assert finish(start(tmp_path / "two", pairs, train=train, **both)) == [0, 0]
    one = tmp_path / "one"
    fit(pairs, **both, train=settings(**given), seed=0, work=one / "work", out=one / "rm")
    weights = [load_file(tmp_path / n / "rm" / "model.safetensors") for n in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    for key, weight in weights[0].items():
        assert (weight - weights[1][key]).abs().max() < 1e-3, key
