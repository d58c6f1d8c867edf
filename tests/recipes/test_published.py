"""The recipes in configs/recipes: complete, and launchable in small."""

import json
from pathlib import Path

import pytest
from fitting import learnable
from published import RECIPES, ROOT, launch_lines, option
from tiny_llama import tiny_tokenizer
from transformers import LlamaConfig

from tamis.cli import main
from tamis.models.config import ModelConfig
from tamis.recipes.dryrun import dry_run
from tamis.recipes.files import load_recipe
from tamis.train.fit import fit
from tamis.types import Verdict

HUB_ROWS = {  # as on the hub
    "Anthropic/hh-rlhf": [
        {
            "chosen": f"\n\nHuman: {n}?\n\nAssistant: good",
            "rejected": f"\n\nHuman: {n}?\n\nAssistant: bad",
        }
        for n in range(4)
    ],
    "llm-blender/Unified-Feedback": [
        {
            "id": str(n),
            "source": "x",
            "conv_A": [
                {"content": "Hi", "role": "user"},
                {"content": "a", "role": "assistant"},
            ],
            "conv_B": [
                {"content": "Hi", "role": "user"},
                {"content": f"b {n}", "role": "assistant"},
            ],
            "conv_A_rating": float(n % 2),
            "conv_B_rating": 0.5,
        }
        for n in range(41)
    ],
}


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def shape(tmp_path):
    """A folder with the configuration and the tokenizer of a tiny Llama of 4,096 tokens."""
    folder = tmp_path / "shape"
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder)
    LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
    ).save_pretrained(folder)
    return folder


def test_there_are_recipes():
    assert len(RECIPES) == 8


def test_a_published_recipe_passes_the_dry_run(path, shape, tmp_path, monkeypatch):
    recipe = load_recipe(path)
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in HUB_ROWS[recipe.data.path]))
    model = recipe.model.model_copy(update={"path": str(shape)})
    data = recipe.data.model_copy(update={"path": str(rows), "test_frac": 0.0})
    before = sorted(tmp_path.rglob("*"))
    words = launch_lines(path)[0]
    found = dry_run(
        recipe.model_copy(update={"model": model, "data": data}),
        num_processes=int(option(words, "--num-processes")),
        num_pairs=int(option(words, "--num-pairs")),
    )
    assert sorted(tmp_path.rglob("*")) == before
    assert found.model.max_length == recipe.model.max_length
    assert found.schedule.num_steps > 3000
    num_rows = len(range(0, len(HUB_ROWS[recipe.data.path]), recipe.data.every))
    assert f"{num_rows} rows give {num_rows} pairs" in found.data.found
    assert recipe.denoise.policy == "keep"
    assert not recipe.baseline
    if recipe.train.lora.rank == 0:  # FSDP spreads the weights, and DDP holds them on every GPU
        assert option(launch_lines(path)[2], "--config_file") == "configs/fsdp2.yaml"


def test_a_published_recipe_takes_a_step(path, llama, tmp_path, monkeypatch):
    recipe = load_recipe(path)
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"q{n}", "responses": [f"a{i}" for i in range(5)]} for n in range(18)]
    Path("samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = learnable(24)
    report = fit(
        pairs,
        [Verdict(pair.id) for pair in pairs],
        model=ModelConfig(path=llama.path, dtype=recipe.model.dtype),
        train=recipe.train.model_copy(update={"max_steps": 1}),
        seed=0,
        work=tmp_path / "work",
        out=tmp_path / "checkpoint",
    )
    assert report["num_steps"] == 1
    assert (tmp_path / "checkpoint" / "config.json").is_file()


def test_offline_the_command_says_in_one_line_what_it_cannot_reach(path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(launch_lines(path)[0][1:])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith(f"error: model '{load_recipe(path).model.path}' cannot be loaded")
    assert said.count("\n") == 1
