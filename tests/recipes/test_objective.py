"""The objective of a recipe: told at once where it cannot be, and known by the models it reads."""

import shutil

import pytest
from fitting import FAST, learnable, settings

from tamis.data import write_pairs
from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.recipes.pipeline import run_recipe
from tamis.recipes.stages import objective_inputs, train_stage
from tamis.train.config import TrainConfig


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"loss": "hinge9"}, "unknown loss 'hinge9'; expected one of bradley_terry"),
        ({"loss": "focal", "objective": {"loss_settings": {"gama": 1.0}}}, "no setting 'gama'"),
        ({"loss": "plackett_luce"}, "sampler is shuffle, which scatters them"),
        ({"objective": {"terms": {"pcmr": {}}}}, "unknown term 'pcmr'; expected one of centring"),
        ({"objective": {"terms": {"pcrm": {"betta1": 1.0}}}}, r"unknown key '.*pcrm\.betta1'"),
        (
            {"objective": {"terms": {"pcrm": {"prior": "cosine", "encoder": "./none/such"}}}},
            r"model path '\./none/such': expected a directory",
        ),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_runs(
    make_recipe, tmp_path, log, train, said
):
    recipe = make_recipe(tmp_path / "run")
    wrong = recipe.model_copy(update={"train": TrainConfig.model_validate(train)})
    with pytest.raises(ConfigError, match=said):
        run_recipe(wrong, watcher=log.watcher())
    assert log.begun == []
    assert not (tmp_path / "run").exists()


def test_a_model_is_trained_anew_where_the_encoder_of_a_term_has_changed(
    llama, tiny_bert, tmp_path
):
    encoder = tmp_path / "encoder"
    shutil.copytree(tiny_bert, encoder)
    pairs = tmp_path / "pairs.parquet"
    write_pairs(pairs, learnable(12))
    terms = {"pcrm": {"prior": "cosine", "encoder": str(encoder)}}
    given = {
        "pairs": pairs,
        "verdicts": None,
        "model": ModelConfig(path=llama.path),
        "config": settings(max_steps=1, objective__terms=terms),
        "seed": 0,
    }
    run = tmp_path / "run"
    assert train_stage(run, **given).fresh
    assert not train_stage(run, **given).fresh
    config = encoder / "tokenizer_config.json"
    config.write_text(config.read_text() + "\n")
    assert train_stage(run, **given).fresh
    assert "| pcrm.encoder | `" in (run / "train" / "checkpoint" / "README.md").read_text()


def test_without_such_terms_a_stage_has_the_key_that_it_always_had():
    assert objective_inputs(FAST) == {}
    assert objective_inputs(settings(objective__terms={"centring": {}, "pcrm": {}})) == {}
