"""A reward model is asked under principles in the layout that it learned, or not at all."""

import shutil
from dataclasses import replace

import pytest
from rollouts import config_of
from serving import serving

from tamis.calibrate import Temperature
from tamis.calibrate.record import CALIBRATOR, Calibrator, Origin, write_calibrator
from tamis.data import write_pairs
from tamis.errors import ConfigError
from tamis.evaluate import BenchmarkConfig
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.policy.rl.config import RewardConfig
from tamis.policy.rl.rewards import Asked
from tamis.principles.layout import condition_pair, layout_of
from tamis.principles.recorded import KEY, record_layout
from tamis.principles.scoring import score_under
from tamis.recipes.bare import check_principled, layout_of_scorer
from tamis.recipes.reinforcing import gold_score, reward_score, rl_stage
from tamis.recipes.scoring import Scoring, open_scorers
from tamis.recipes.stages import bench_stage, train_stage
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


def say(scorer, pairs, **scoring):
    """What is said while pairs are scored twice."""
    said = []
    (opened,) = open_scorers(Scoring([scorer], **scoring), notice=said.append)
    for _ in range(2):
        opened.score(pairs)
    opened.release()
    return said


def test_a_model_is_not_silently_scored_without_its_principles(principled, plain):
    (line,) = say(f"mine={principled}", PAIRS)
    assert line.startswith("mine learned to read principles")
    assert "--principle" in line
    made = [condition_pair(pair, texts=TEXTS, layout="answer_first") for pair in PAIRS]
    assert say(principled, made) == []
    assert len(say(principled, [*made, PAIRS[0]])) == 1
    assert say(principled, PAIRS, principles=TEXTS, layout="answer_first") == []
    assert say(plain, PAIRS) == say("longest", PAIRS) == []


def test_the_bench_says_so_of_bare_pairs_alone(principled, tmp_path):
    made = [condition_pair(pair, texts=TEXTS, layout="answer_first") for pair in PAIRS]
    for name, pairs, times in (("made", made, 0), ("bare", PAIRS, 1)):
        write_pairs(tmp_path / f"{name}.parquet", pairs)
        said = []
        bench_stage(
            tmp_path / name,
            scoring=Scoring([principled]),
            benchmarks=[BenchmarkConfig(name="pairs", path=str(tmp_path / f"{name}.parquet"))],
            seed=0,
            notice=said.append,
        )
        assert sum("learned to read principles" in line for line in said) == times


@pytest.fixture(scope="module")
def plain(llama, tmp_path_factory) -> str:
    """A reward model that was trained on pairs as they are."""
    run = tmp_path_factory.mktemp("plain")
    write_pairs(run / "pairs.parquet", PAIRS)
    config = TrainConfig(max_steps=1, batch_size=4)
    pairs = run / "pairs.parquet"
    train_stage(run, pairs=pairs, verdicts=None, model=llama, config=config, seed=0)
    return str(run)


def test_the_layout_is_known_without_loading_a_model(principled, plain, tmp_path):
    assert layout_of_scorer(f"mine={principled}") == "answer_first"
    assert layout_of_scorer(f"calibrated:{principled}") == "answer_first"
    assert layout_of_scorer(plain) is layout_of_scorer("longest") is None
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_json(adapter / "notes.json", {KEY: "prompt_first"})
    assert layout_of_scorer(str(adapter)) == "prompt_first"


def test_a_calibrated_scorer_says_so_as_well(principled, tmp_path):
    path = shutil.copytree(principled, tmp_path / "calibrated")
    origin = Origin(data="x", model=None, num_texts=9, num_pairs=9, versions={})
    write_calibrator(path / CALIBRATOR, Calibrator("made", (Temperature(2.0),), origin))
    said = []
    (opened,) = open_scorers(Scoring([f"calibrated:{path}"]), notice=said.append)
    opened.inner.scorer.score(PAIRS)  # what a bench asks, to keep raw scores
    assert len(said) == 1


def test_a_policy_is_not_rewarded_without_principles(principled, plain, tmp_path):
    refused = r"learned to read principles, .*--principle"
    bare = RewardConfig(scorers=(plain, principled))
    with pytest.raises(ConfigError, match=refused):
        check_principled(bare)
    for more in ({"principles": ("concise",)}, {"draw": 3}, {"scorers": (plain,)}):
        check_principled(bare.model_copy(update=more))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Say something."}\n')
    with pytest.raises(ConfigError, match=refused):  # before a policy is loaded
        rl_stage(
            tmp_path / "run",
            prompts=prompts,
            policy=ModelConfig(path=plain),
            reward=bare,
            config=config_of(),
            seed=0,
        )
    assert not (tmp_path / "run" / "rl").exists()


def test_a_gold_model_that_is_watched_without_principles_says_so_once(principled, plain):
    said = []
    watched = RewardConfig(scorers=(plain,), gold=(principled,), held_out=1)
    check_principled(watched)
    score = gold_score(watched, notice=said.append)
    for _ in range(2):
        score([Asked(PAIRS[0].prompt, PAIRS[0].chosen, ())])
    assert len(said) == 1
    assert f"{principled} learned to read principles" in said[0]
