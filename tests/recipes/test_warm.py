import shutil

import pytest
import yaml
from fitting import learnable, settings

from tamis.data import write_pairs
from tamis.errors import ConfigError, DataError
from tamis.merge.config import WarmConfig
from tamis.models.config import ModelConfig
from tamis.models.start import read_start
from tamis.recipes.files import parse
from tamis.recipes.language import naming_language_model
from tamis.recipes.pipeline import run_recipe
from tamis.recipes.schema import Recipe
from tamis.recipes.warm import WarmRun, member_plans, probe_plan, warm_steps
from tamis.runs import Watcher, read_json
from tamis.train.config import AdapterConfig, ObjectiveConfig, TrainConfig, ViewsConfig
from tamis.train.step_config import MetaConfig

SMALL = WarmConfig(
    num_members=2, learning_rates=(1e-3, 2e-3), head_dropouts=(0.0, 0.1), curves="none"
)
TRAINING = ["probe", "member-00", "member-01", "merge"]


@pytest.fixture(scope="module")
def recipe_of(make_recipe):
    def make(out, **changes):
        recipe = make_recipe(out)
        warm = SMALL.model_copy(update=changes)
        return recipe.model_copy(update={"warm": warm, "baseline": False})

    return make


@pytest.fixture(scope="module")
def finished(tmp_path_factory, recipe_of):
    """A whole run with a merge, made once, and what its watcher was told."""
    out = tmp_path_factory.mktemp("warm") / "run"
    begun = []
    run_recipe(recipe_of(out), watcher=Watcher(begun.append, lambda *_: None, begun.append))
    return out, begun


def stage(run, name):
    return read_json(run / "warm" / name / "train" / "stage.json")


def test_the_head_is_trained_then_members_then_their_average(finished):
    out, begun = finished
    assert begun == ["data", "vote", "denoise", *TRAINING, "bench"]
    settings = [stage(out, name)["config"]["train"] for name in TRAINING[:3]]
    assert settings[0]["lora"]["part"] == "head"
    assert {part["lora"]["part"] for part in settings[1:]} == {"all"}
    assert {part["learning_rate"] for part in settings[1:]} <= set(SMALL.learning_rates)
    assert {part["lora"]["head_dropout"] for part in settings[1:]} <= set(SMALL.head_dropouts)
    assert len({stage(out, name)["config"]["seed"] for name in TRAINING[:3]}) == 3


def test_all_members_start_from_the_head_of_the_probe(finished):
    out, _ = finished
    starts = [read_start(out / "warm" / name / "train" / "checkpoint") for name in TRAINING[:3]]
    assert starts[1] == starts[2]
    assert starts[0].head != starts[1].head
    assert read_start(out / "merge" / "checkpoint") == starts[1]
    report = read_json(out / "merge" / "report.json")
    assert report["start"] == "checked"
    assert report["names"] == ["member-00", "member-01"]
    assert report["accuracy"]["num_pairs"] > 0
    assert report["memorisation"]["num_wrong"] > 0


def test_the_bench_is_of_the_average(finished):
    out, _ = finished
    bench = read_json(out / "bench" / "report.json")["benchmarks"][0]
    merge = read_json(out / "merge" / "report.json")["accuracy"]["merge"]
    assert bench["accuracy"]["value"] == pytest.approx(merge["value"])


def test_what_a_kill_left_undone_alone_is_done(finished, recipe_of, log, tmp_path):
    """A run that was killed in its second member: the stages before it are finished."""
    out, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    shutil.rmtree(copy / "warm" / "member-01")
    shutil.rmtree(copy / "merge")
    run_recipe(recipe_of(copy), watcher=log.watcher())
    fresh = {name for name, is_fresh in log.fresh.items() if is_fresh}
    assert fresh == {"member-01", "merge"}
    for name in ("warm/member-01/train", "merge"):
        one, two = (run / name / "checkpoint" / "model.safetensors" for run in (out, copy))
        assert one.read_bytes() == two.read_bytes()


def test_more_members_train_the_new_ones_alone(finished, recipe_of, log, tmp_path):
    out, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    run_recipe(recipe_of(copy, num_members=3), watcher=log.watcher())
    fresh = {name for name, is_fresh in log.fresh.items() if is_fresh}
    assert fresh == {"member-02", "merge", "bench"}


def test_settings_of_a_member_depend_on_its_number_and_the_seed():
    train, warm = TrainConfig(lora=AdapterConfig(rank=4)), WarmConfig(num_members=6)
    six = member_plans(train, warm, seed=0)
    four = member_plans(train, warm.model_copy(update={"num_members": 4}), seed=0)
    assert six[:4] == four
    assert len({plan.seed for plan in six}) == 6
    assert len({plan.train.learning_rate for plan in six}) > 1
    assert {plan.train.lora.rank for plan in six} == {4}
    assert six != member_plans(train, warm, seed=1)
    probe = probe_plan(train, warm)
    assert (probe.lora.rank, probe.lora.part, probe.learning_rate) == (0, "head", 1e-3)


def test_the_head_alone_is_trained_without_what_acts_on_the_trunk():
    terms = {"grm": {"form": "dpo_reference"}, "simcse": {}, "centring": {"coefficient": 0.02}}
    meta = MetaConfig(path="responses.jsonl")
    objective = ObjectiveConfig(
        base_coefficient=0.0, terms=terms, meta=meta, views=ViewsConfig(dropout=0.2)
    )
    probe = probe_plan(TrainConfig(objective=objective), WarmConfig(num_members=2))
    assert probe.objective == ObjectiveConfig(terms={"centring": {"coefficient": 0.02}})


@pytest.mark.parametrize("revision", [None, "v1"])
def test_members_read_the_language_model_head_of_what_the_probe_began_with(
    llama, tmp_path, revision
):
    """A reward model of its own output embeddings keeps none of them."""
    pairs, out = learnable(24), tmp_path / "run"
    write_pairs(out / "data" / "pairs.parquet", pairs)
    grm = {"form": "dpo_reference", "coefficient": 0.5}
    train = settings(objective__terms={"grm": grm}, max_steps=2)
    wanted = WarmRun(
        run=out,
        pairs=out / "data" / "pairs.parquet",
        verdicts=None,
        held_out=None,
        model=llama.model_copy(update={"revision": revision}),
        train=train,
        warm=SMALL,
        seed=0,
    )
    for _, do in warm_steps(wanted):
        do()
    member = read_json(out / "warm" / "member-00" / "train" / "stage.json")
    named = member["config"]["train"]["objective"]["terms"]["grm"]["language_model"]
    assert named == (llama.path if revision is None else f"{llama.path}@{revision}")
    assert (out / "merge" / "checkpoint" / "model.safetensors").is_file()
    probe = ModelConfig(path=str(out / "warm" / "probe" / "train" / "checkpoint"))
    kept = settings(objective__terms={"grm": {"language_model": "mine"}, "centring": {}})
    assert naming_language_model(kept, probe) == kept


def test_rates_in_turn_are_all_drawn_before_any_comes_again():
    train = TrainConfig(lora=AdapterConfig(rank=4))
    warm = WarmConfig(num_members=6, learning_rates=(1e-3, 2e-3, 3e-3), rate_draws="in_turn")
    orders = set()
    for seed in range(8):
        rates = [plan.train.learning_rate for plan in member_plans(train, warm, seed=seed)]
        assert sorted(rates[:3]) == sorted(rates[3:]) == [1e-3, 2e-3, 3e-3]
        orders.add(tuple(rates))
        fewer = warm.model_copy(update={"num_members": 4})
        assert [p.train.learning_rate for p in member_plans(train, fewer, seed=seed)] == rates[:4]
    assert len(orders) > 4


@pytest.mark.parametrize(
    ("warm", "problem"),
    [
        ({"num_members": 1}, "num_members is 1; expected 0, or at least 2 models"),
        (
            {"num_members": 2, "method": "greedy"},
            "method is greedy and validation is not set; choosing on the held-out pairs would",
        ),
        ({"num_members": 2, "learning_rates": []}, "learning_rates"),
        ({"members": 2}, "unknown key 'warm.members'; did you mean 'num_members'?"),
    ],
)
def test_a_wrong_recipe_is_told_in_one_line(warm, problem):
    content = {"out": "x", "model": {"path": "m"}, "data": {"path": "d"}, "warm": warm}
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, yaml.safe_load(yaml.safe_dump(content)), where="recipe.yaml")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_validation_pairs_are_told_before_the_first_stage(recipe_of, tmp_path, log):
    recipe = recipe_of(tmp_path / "run", validation="none.jsonl", method="greedy")
    with pytest.raises(DataError, match=r"warm\.validation: none\.jsonl: no such file"):
        run_recipe(recipe, watcher=log.watcher())
    assert log.begun == []
