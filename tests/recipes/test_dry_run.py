"""What the dry run finds out: parameters, memory, data, batches and steps."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_llama import tiny_tokenizer
from transformers import LlamaConfig

from tamis.data import DataConfig
from tamis.errors import ConfigError, DataError
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.recipes.dryrun import dry_run
from tamis.recipes.schema import Recipe
from tamis.train.build import trainable_model
from tamis.train.config import TrainConfig

LLAMA_2_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}


@pytest.fixture
def without_weights(llama, tmp_path):
    """A copy of the tiny Llama that lacks its weights."""
    folder = tmp_path / "shape"
    shutil.copytree(llama.path, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    return ModelConfig(path=str(folder))


@pytest.fixture
def recipe(preferences, without_weights, tmp_path):
    """Makes a recipe on 60 rows of data; keys of the training are given."""

    def make(data: dict[str, object] | None = None, **train: object) -> Recipe:
        settings = {"batch_size": 8, "optimiser": {"warmup_frac": 0.1}, **train}
        return Recipe(
            out=str(tmp_path / "run"),
            model=without_weights,
            data=DataConfig.model_validate({"path": str(preferences), **(data or {})}),
            train=TrainConfig.model_validate(settings),
        )

    return make


def value_of(found, recipe, name):
    return dict(found.rows(recipe))[name]


@pytest.mark.parametrize("lora", [{}, {"rank": 2}, {"part": "head"}])
def test_parameters_are_those_of_the_model_that_is_trained(llama, recipe, lora):
    planned = recipe(lora=lora)
    facts = dry_run(planned, num_processes=1).model
    real = trainable_model(llama, planned.train, seed=0, pad_token_id=3)
    trained = [weight for weight in real.parameters() if weight.requires_grad]
    assert facts.num_parameters == sum(weight.numel() for weight in real.parameters())
    assert facts.num_trained == sum(weight.numel() for weight in trained)
    assert facts.num_bytes == 4 * (facts.num_parameters + 3 * facts.num_trained)
    assert facts.max_length == 256


def test_a_model_without_weights_trains_no_further_than_a_dry_run(without_weights):
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_reward_model(without_weights, seed=0)


def test_llama_2_7b_has_as_many_parameters_and_bytes_as_the_recipes_say(recipe, tmp_path):
    LlamaConfig(**LLAMA_2_7B, vocab_size=32000).save_pretrained(tmp_path / "7b")
    tiny_tokenizer().save_pretrained(tmp_path / "7b")
    model = ModelConfig(path=str(tmp_path / "7b"))
    planned = recipe().model_copy(update={"model": model})
    facts = dry_run(planned, num_processes=1).model
    assert facts.num_trained == facts.num_parameters == 6_607_347_712
    assert facts.num_bytes / 2**30 == pytest.approx(98.5, abs=0.05)
    lora = TrainConfig.model_validate({"lora": {"rank": 64, "alpha": 128}})
    bfloat16 = model.model_copy(update={"dtype": "bfloat16"})
    planned = planned.model_copy(update={"train": lora, "model": bfloat16})
    assert dry_run(planned, num_processes=1).model.num_bytes / 2**30 == pytest.approx(14.7, abs=0.1)


def test_steps_are_those_of_the_training(recipe):
    planned = recipe(epochs=2, compute={"micro_batch_size": 2})
    found = dry_run(planned, num_processes=2)
    assert found.data.num_pairs == 60
    assert (found.schedule.num_steps, found.schedule.num_warmup) == (16, 2)
    assert (found.schedule.num_processes, found.schedule.num_micro_batches) == (2, 2)
    assert value_of(found, planned, "batch") == (
        "8 pairs; processes 2, micro-batches of each 2, pairs of one at most 2"
    )
    held = dry_run(recipe(epochs=2, watch={"holdout_frac": 0.5}), num_processes=1)
    assert (held.schedule.num_pairs, held.schedule.num_steps) == (30, 8)


def test_test_pairs_every_and_limit_count(recipe):
    held_out = dry_run(recipe({"test_frac": 0.3}), num_processes=1).data
    assert 30 < held_out.num_pairs < 60
    assert dry_run(recipe({"every": 4}), num_processes=1).data.num_pairs == 15
    assert dry_run(recipe({"limit": 7}), num_processes=1).data.num_pairs == 7


def test_of_many_rows_the_first_ones_are_read_and_all_are_counted(
    recipe, make_preferences, tmp_path
):
    path = make_preferences(tmp_path / "many.jsonl", 500)
    rows = path.read_text().splitlines()
    broken = {"prompt": "Hi", "chosen": 5, "rejected": "b"}
    path.write_text("\n".join([*rows[:150], *rows[:50], *rows[200:400], json.dumps(broken)]))
    found = dry_run(recipe({"path": str(path)}), num_processes=1).data
    assert found.found == "convention trl; 200 rows give 150 pairs, dropped: duplicate 50"
    assert found.num_pairs == round(401 * 150 / 200)


def test_what_does_not_fit_the_model_is_dropped(recipe, tmp_path):
    rows = [{"chosen": "good " * n, "rejected": "bad " * n, "prompt": "Hi"} for n in (1, 400)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = dry_run(recipe({"path": str(tmp_path / "long.jsonl")}), num_processes=1).data
    assert found.found.endswith("2 rows give 1 pairs, dropped: over_length 1")


def test_data_on_the_hub_are_not_looked_at(recipe):
    planned = recipe({"path": "somebody/somewhere"})
    found = dry_run(planned, num_processes=1)
    assert (found.data.num_pairs, found.schedule) == (None, None)
    assert value_of(found, planned, "data") == "a hub id, not looked at"
    assert value_of(found, planned, "steps") == "unknown: give --num-pairs"
    with pytest.raises(ConfigError, match="a batch has 8 pairs and there are 9 processes"):
        dry_run(planned, num_processes=9)
    assert dry_run(planned, num_processes=1, num_pairs=80).schedule.num_steps == 10


def test_columns_of_known_data_on_the_hub_are_read(recipe):
    planned = recipe({"path": "Anthropic/hh-rlhf"})
    found = dry_run(planned, num_processes=1)
    told = "a hub id, not looked at: convention hh, by its published columns chosen, rejected"
    assert value_of(found, planned, "data") == told
    rated = recipe({"path": "llm-blender/Unified-Feedback"})
    assert "convention rated_pairs" in value_of(dry_run(rated, num_processes=1), rated, "data")
    for changes, problem in (
        ({"convention": "rated_pairs"}, "conv_A_rating"),
        ({"columns": {"prompt": "chosen"}}, "the columns"),
    ):
        wrong = recipe({"path": "Anthropic/hh-rlhf", **changes})
        with pytest.raises(DataError, match=problem):
            dry_run(wrong, num_processes=1)


def test_a_meta_set_may_still_be_missing_and_is_read_where_it_is_there(recipe, tmp_path):
    path = tmp_path / "samples.jsonl"
    planned = recipe(objective={"meta": {"path": str(path)}})
    assert dry_run(planned, num_processes=1).meta == f"{path}: not there yet"
    rows = [{"prompt": "Hi", "responses": ["a", "b", "c"][:n]} for n in (2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = dry_run(planned, num_processes=1)
    assert found.meta == f"{path}: 2 to 3 responses in each of the first 2 rows"
    assert value_of(found, planned, "objective") == "1 bradley_terry, MetaRM step"
    path.write_text(json.dumps({"prompt": "Hi", "responses": "a"}) + "\n")
    with pytest.raises(DataError, match="a list of responses"):
        dry_run(planned, num_processes=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"loss": "bradly"}}, "unknown loss 'bradly'"),
        ({"train": {"objective": {"terms": {"simsce": {}}}}}, "unknown term 'simsce'"),
        ({"denoise": {"policy": "flop"}}, "unknown denoise 'flop'"),
        ({"bench": [{"name": "hhhh"}]}, "unknown benchmark 'hhhh'"),
        ({"model": {"path": "./none"}}, r"model path '\./none'"),
        ({"model": {"path": "somebody/unreachable"}}, "cannot be loaded"),
        ({"model": {"max_length": 4096}}, "reads at most 256 tokens"),
        (
            {
                "train": {
                    "objective": {"terms": {"simcse": {}}, "views": {"where": "inside"}},
                }
            },
            "has no dropout modules",
        ),
        ({"model": {"dtype": "bfloat16"}}, "dtype is bfloat16 and lora.rank is 0"),
        ({"train": {"batch_size": 2}}, "a batch has 2 pairs and there are 4 processes"),
    ],
)
def test_what_a_run_would_refuse_is_refused(recipe, changes, said):
    content = recipe().model_dump()
    for part, values in changes.items():
        content[part] = {**content[part], **values} if isinstance(values, dict) else values
    with pytest.raises(ConfigError, match=said) as caught:
        dry_run(Recipe.model_validate(content), num_processes=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": 1}], "match no known convention"),
        ([{"prompt": "Hi", "chosen": "a", "rejected": "a"}], "no pair is left"),
        ([{"prompt": "Hi", "chosen": "a", "rejected": "b", "split": "test"}], "no pair to train"),
        (None, "no such file"),
    ],
)
def test_data_that_give_no_pair_are_refused(recipe, tmp_path, rows, said):
    path = tmp_path / "rows.jsonl"
    if rows is not None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=said):
        dry_run(recipe({"path": str(path)}), num_processes=1)


def test_token_by_token_takes_a_decoder(recipe, tiny_bert):
    planned = recipe(objective={"form": "token"})
    dry_run(planned, num_processes=1)
    bert = planned.model_copy(update={"model": ModelConfig(path=tiny_bert)})
    with pytest.raises(ConfigError, match="choose a decoder"):
        dry_run(bert, num_processes=1)


def test_nothing_is_written(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(Path(tmp_path).rglob("*"))
    dry_run(recipe(), num_processes=1)
    assert sorted(Path(tmp_path).rglob("*")) == before
