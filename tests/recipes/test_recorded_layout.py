"""A reward model is asked under principles in the layout that it learned, or not at all."""

from dataclasses import replace

import pytest
from serving import serving

from tamis.data import write_pairs
from tamis.errors import ConfigError
from tamis.models.checkpoint import load_scorer
from tamis.policy.rl.config import RewardConfig
from tamis.policy.rl.rewards import Asked
from tamis.principles.layout import condition_pair, layout_of
from tamis.principles.recorded import KEY, record_layout
from tamis.principles.scoring import score_under
from tamis.recipes.reinforcing import reward_score
from tamis.recipes.stages import train_stage
from tamis.runs import read_json, write_json
from tamis.serve.config import ServeConfig
from tamis.serve.engine import load_member
from tamis.train.config import TrainConfig
from tamis.types import Message, Pair

TEXTS = ["Be brief."]
PAIRS = [
    Pair(
        f"p{number}",
        (Message("user", f"question {number}"),),
        (Message("assistant", "good fox"),),
        (Message("assistant", "bad brown dog"),),
        row=number,
    )
    for number in range(4)
]
REFUSED = "learned principles in the layout answer_first and is asked in prompt_first"


@pytest.fixture(scope="module")
def principled(llama, tmp_path_factory) -> str:
    """A reward model that was trained on examples with the answer first."""
    run = tmp_path_factory.mktemp("principled")
    made = [condition_pair(pair, texts=TEXTS, layout="answer_first") for pair in PAIRS]
    write_pairs(run / "pairs.parquet", made)
    found = train_stage(
        run,
        pairs=run / "pairs.parquet",
        verdicts=None,
        model=llama,
        config=TrainConfig(max_steps=1, batch_size=4),
        seed=0,
    )
    return str(found.directory / "checkpoint")


@pytest.mark.parametrize("layout", ["prompt_first", "answer_first"])
def test_the_layout_of_an_example_is_known(layout):
    for pair in (*PAIRS, replace(PAIRS[0], prompt=())):
        assert layout_of(pair) is None
        assert layout_of(condition_pair(pair, texts=TEXTS, layout=layout)) == layout


def test_a_checkpoint_records_the_layout_of_its_examples(principled):
    assert load_scorer(principled).model.config.principles_layout == "answer_first"


def test_what_has_no_layout_or_several_records_none(tmp_path):
    write_json(tmp_path / "config.json", {"mean": 0.5})
    layouts = ("prompt_first", "answer_first")
    both = [condition_pair(PAIRS[0], texts=TEXTS, layout=layout) for layout in layouts]
    for pairs in ([], PAIRS, both, [both[0], PAIRS[1]]):
        record_layout(tmp_path, pairs)
        assert read_json(tmp_path / "config.json") == {"mean": 0.5}
    (tmp_path / "adapter").mkdir()
    record_layout(tmp_path, both[:1])
    assert read_json(tmp_path / "config.json") == {"mean": 0.5, KEY: "prompt_first"}
    assert read_json(tmp_path / "adapter" / "notes.json") == {KEY: "prompt_first"}


def test_the_bench_asks_in_the_layout_that_was_learned(principled):
    scorer = load_scorer(principled)
    score_under(scorer, PAIRS, texts=TEXTS, layout="answer_first")
    score_under(scorer, PAIRS, texts=[])  # without principles there is no layout
    with pytest.raises(ConfigError, match=REFUSED):
        score_under(scorer, PAIRS, texts=TEXTS)


def test_policies_are_rewarded_in_the_layout_that_was_learned(principled):
    asked = [Asked(PAIRS[0].prompt, PAIRS[0].chosen, tuple(TEXTS))]
    reward = RewardConfig(scorers=(principled,), layout="answer_first", principles=tuple(TEXTS))
    reward_score(reward)(asked)
    with pytest.raises(ConfigError, match=REFUSED):
        reward_score(reward.model_copy(update={"layout": "prompt_first"}))
    late = RewardConfig(scorers=(principled,))  # principles that only the prompts bring
    with pytest.raises(ConfigError, match=REFUSED):
        reward_score(late)(asked)


def test_a_server_asks_in_the_layout_that_was_learned(principled):
    body = {
        "messages": [{"role": "user", "content": "question 1"}],
        "candidates": ["good fox"],
        "principles": TEXTS,
    }
    with serving(load_member(principled, ServeConfig())) as served:
        served.post("/v1/rewards", {**body, "layout": "answer_first"})
        served.post("/v1/rewards", {**body, "principles": []})
        refused = served.client.post("/v1/rewards", json=body)
    assert refused.status_code == 400
    assert REFUSED in refused.json()["error"]["message"]
