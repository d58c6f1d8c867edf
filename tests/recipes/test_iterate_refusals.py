"""What iterated RLHF refuses before its first phase, which a late phase would refuse else."""

import json

import pytest
from iterating import FIT, RL, changed, settings_of

from tamis.data import write_pairs
from tamis.denoise.tables import write_verdicts
from tamis.errors import ConfigError, DataError
from tamis.models.load import load_language_model
from tamis.policy.adapters import adapters, check_adapters
from tamis.recipes.iterating import check_iterate, iterate
from tamis.train.build import trainable_model
from tamis.train.config import AdapterConfig, TrainConfig
from tamis.train.equip import checked_shape
from tamis.types import Message, Pair, Verdict

TOO_MANY = {"rank": 2, "top_layers": 9}  # of two layers
FEWER = {**TOO_MANY, "top_layers": 2}
PLACES = {  # where adapters are set, and what the model is there
    "reward_model": ("lora", "LlamaForSequenceClassification"),
    "rl": ("fit.lora", "LlamaForCausalLM"),
    "align": ("fit.lora", "LlamaForCausalLM"),
    "best_of": ("fit.lora", "LlamaForCausalLM"),
}


def some_pairs(*names, split=""):
    sides = [(Message("assistant", text),) for text in ("Yes.", "No.")]
    return [Pair(name, (Message("user", name),), *sides, split=split) for name in names]


@pytest.fixture
def pairs(tmp_path):
    """A run directory with the pairs of four prompts."""
    path = tmp_path / "made" / "data" / "pairs.parquet"
    path.parent.mkdir(parents=True)
    write_pairs(path, some_pairs("a", "b", "c", "d"))
    return path


@pytest.fixture
def settings(tmp_path, llama, pairs):
    return settings_of(tmp_path, model=llama, pairs=pairs)


@pytest.fixture
def refused(settings, log, tmp_path):
    """Says why settings are refused, once it is sure that nothing was run or written."""

    def refuse(error, **own):
        with pytest.raises(error) as found:
            iterate(changed(settings, **own), watcher=log.watcher())
        assert log.begun == []
        assert not (tmp_path / "run").exists()
        return str(found.value)

    return refuse


def with_adapters(place, lora):
    if place == "reward_model":
        return {"reward_model__train__lora": lora}
    key = "rl" if place == "rl" else "align"
    fit = {"fit": {**FIT, "lora": lora}}
    return {"improve": {"by": place, key: {**RL, **fit} if place == "rl" else fit}}


def test_what_is_right_is_not_refused(settings, pairs, tmp_path):
    write_verdicts(tmp_path / "verdicts.parquet", [Verdict("a"), Verdict("c")])
    own = {"data__verdicts": str(tmp_path / "verdicts.parquet")}
    check_iterate(changed(settings, **own))
    check_iterate(changed(settings, data__pairs=str(pairs.parents[1]), **own))
    for place in PLACES:
        check_iterate(changed(settings, **with_adapters(place, FEWER)))


@pytest.mark.parametrize("of_a_run", [False, True])
def test_a_reward_model_that_is_not_there(refused, pairs, tmp_path, of_a_run):
    path = str(pairs.parents[1] if of_a_run else pairs)
    nowhere = {"path": str(tmp_path / "nowhere")}
    said = refused(ConfigError, reward_model__model=nowhere, data__pairs=path)
    assert "nowhere': expected a directory, found nothing there" in said


def test_a_reward_model_without_a_tokenizer(refused, llama, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refused(ConfigError, reward_model__model={"path": str(tmp_path / "empty")})
    assert "empty' cannot be loaded" in said
    said = refused(ConfigError, reward_model__model={"path": llama.path, "num_layers": 3})
    assert "num_layers is 3, but the model" in said


def test_a_reward_model_whose_tokens_have_no_scores(refused, tiny_bert):
    said = refused(
        ConfigError,
        reward_model__model={"path": tiny_bert},
        reward_model__train__objective={"form": "token"},
    )
    assert "form is token, and BertForSequenceClassification scores a text as a whole" in said


@pytest.mark.parametrize("place", PLACES)
def test_adapters_in_more_layers_than_a_model_has(refused, place):
    setting, kind = PLACES[place]
    said = refused(ConfigError, **with_adapters(place, TOO_MANY))
    assert said == f"{setting}.top_layers is 9, and this {kind} has 2; choose at most so many"


def test_the_words_are_those_of_the_phase_that_loads_the_weights(llama):
    lora, train = AdapterConfig(**TOO_MANY), TrainConfig(lora=TOO_MANY)
    for early, late in (
        (
            lambda: checked_shape(llama, train, pad_token_id=3),
            lambda: trainable_model(llama, train, seed=0, pad_token_id=3),
        ),
        (
            lambda: check_adapters(llama, lora),
            lambda: adapters(load_language_model(llama), lora),
        ),
    ):
        said = []
        for check in (early, late):
            with pytest.raises(ConfigError) as found:
                check()
            said.append(str(found.value))
        assert said[0] == said[1]


@pytest.mark.parametrize("of_a_run", [False, True])
def test_verdicts_that_are_damaged_or_of_other_pairs(refused, pairs, tmp_path, of_a_run):
    own = {}
    path = tmp_path / "verdicts.parquet"
    if of_a_run:  # the verdicts of a run directory are found there
        own["data__pairs"] = str(pairs.parents[1])
        path = pairs.parents[1] / "denoise" / "verdicts.parquet"
        path.parent.mkdir()
    else:
        own["data__verdicts"] = str(path)
    path.write_bytes(b"PAR1 and no more")
    assert str(path) in refused(DataError, **own)
    write_verdicts(path, [Verdict("a"), Verdict("elsewhere")])
    said = refused(DataError, **own)
    assert said.startswith(f"{path}: id 'elsewhere' is not among the 4 training pairs")


def test_pairs_that_are_damaged_or_all_held_out(refused, pairs):
    pairs.write_bytes(b"PAR1 and no more")
    assert str(pairs) in refused(DataError)
    write_pairs(pairs, some_pairs("a", "b", split="test"))
    assert "no pair to train on" in refused(DataError)


def test_data_that_are_all_held_out_are_refused_when_they_are_read(settings, log, tmp_path):
    path = tmp_path / "all.jsonl"
    row = {"prompt": "Who?", "chosen": "I am.", "rejected": "Nobody.", "split": "test"}
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match="no pair to train on"):
        iterate(changed(settings, data__pairs=str(path)), watcher=log.watcher())
    assert log.begun == ["data"]
    assert not (tmp_path / "run" / "start").exists()
