"""The demo of iterated RLHF, with tiny random models in place of the packaged ones."""

import json

import pytest

from tamis.data import read_pairs
from tamis.data.prompts import read_prompts
from tamis.models.config import ModelConfig
from tamis.runs import Watcher
from tamis.studies.demo_iterate import (
    DemoModels,
    DemoScale,
    _write_material,
    demo_iterate_config,
    run_demo_iterate,
)

SMALL = DemoScale(
    num_pairs=40,
    num_prompts=4,
    num_held_out=3,
    num_responses=2,
    max_new_tokens=4,
    gold_steps=1,
    reward_steps=1,
    batch_size=4,
)


@pytest.mark.slow
def test_the_demo_ends_with_a_report(llama, tmp_path):
    run = tmp_path / "run"
    models = DemoModels(llama, ModelConfig(path=llama.path, max_length=256))
    begun = []
    page = run_demo_iterate(
        run,
        watcher=Watcher(begun.append, lambda *_: None, lambda _: None),
        scale=SMALL,
        models=models,
    )
    assert page == run / "report.html"
    assert begun[0] == "gold reward model"
    report = json.loads((run / "rounds.json").read_text())
    names = [point["name"] for point in report["points"]]
    assert names == ["start", "round-00", "round-01"]
    assert report["quality"] == "win rate against the start policy, by gold"
    held_out = read_prompts(str(run / "material" / "held_out.jsonl"))
    asked = read_prompts(str(run / "material" / "prompts.jsonl"))
    assert (len(asked), len(held_out)) == (4, 3)
    pairs = list(read_pairs(run / "material" / "pairs.parquet"))
    assert 20 <= len(pairs) <= 40
    assert {pair.split for pair in pairs} == {"train"}
    # the policy's reward model has not seen the debates of the held-out prompts, the gold one has
    debates = {prompt[0].content.split("\n")[0] for prompt in held_out}
    gold = list(read_pairs(run / "material" / "gold" / "pairs.parquet"))
    seen, known = (
        {pair.prompt[0].content.split("\n")[0] for pair in some} for some in (pairs, gold)
    )
    assert not debates & seen
    assert debates <= known


def test_no_pair_of_the_whole_demo_is_there_twice(tmp_path):
    _write_material(tmp_path, DemoScale())
    for folder in (tmp_path, tmp_path / "gold"):
        ids = [pair.id for pair in read_pairs(folder / "pairs.parquet")]
        assert len(ids) == len(set(ids)) > 2000


def test_the_whole_demo_is_two_rounds_of_metarm(tmp_path, llama):
    models = DemoModels(llama, llama)
    config = demo_iterate_config(tmp_path, scale=DemoScale(), models=models, gold=tmp_path / "rm")
    assert config.rounds == config.stop.quality_patience == 2
    assert config.reward_model.meta is not None
    assert config.improve.align.fit.lora.rank > 0
