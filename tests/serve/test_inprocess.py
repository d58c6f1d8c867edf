"""Rewards in the trainer's own process: TRL, verl, OpenRLHF."""

import asyncio
import importlib.util
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from trl.trainer.utils import get_callable_name, is_async_callable

import tamis
from tamis.calibrate import Temperature
from tamis.calibrate.record import Calibrator, Origin, write_calibrator
from tamis.errors import ConfigError, DataError
from tamis.evaluate.scorers.calibrated import CALIBRATOR
from tamis.metrics.ensemble import Ensemble
from tamis.serve import openrlhf_reward, verl
from tamis.serve.inprocess import CHECKPOINT_VARIABLE, RewardSettings, loaded
from tamis.serve.texts import Rendered, Turns
from tamis.types import Message

PROMPTS, ANSWERS = ["Say something.", "Hi"], ["A fox.", "Hello! " * 4]
TALKS = [
    Turns((Message("user", prompt),), (Message("assistant", answer),))
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
]


@pytest.fixture
def expected(member):
    return member.score([text.ids for text in member.encoder.encode(TALKS)])


def same(found, expected):
    assert all(type(reward) is float for reward in found)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_texts_and_messages_as_trl_sends_them(checkpoint, expected):
    reward = tamis.reward_func(checkpoint, name="quality")
    more = {"completion_ids": [[1], [2]], "trainer_state": None, "solution": ["x", "y"]}
    same(reward(prompts=PROMPTS, completions=ANSWERS, **more), expected)
    chats = [[{"role": "user", "content": text}] for text in PROMPTS]
    answers = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    same(reward(prompts=chats, completions=answers, log_metric=print), expected)
    assert get_callable_name(reward) == "quality"
    assert not is_async_callable(reward)
    assert reward(prompts=[], completions=[]) == []


def test_it_can_be_awaited(checkpoint, expected):
    reward = tamis.reward_func(checkpoint, asynchronous=True)
    assert is_async_callable(reward)
    same(asyncio.run(reward(prompts=PROMPTS, completions=ANSWERS)), expected)
    again = pickle.loads(pickle.dumps(reward))
    assert is_async_callable(again)
    assert again.settings == reward.settings


def test_it_can_be_sent_to_another_process(checkpoint, expected):
    reward = tamis.reward_func(checkpoint, name="quality")
    reward.load()
    again = pickle.loads(pickle.dumps(reward))
    assert (again.__name__, again.settings) == ("quality", reward.settings)
    same(again(prompts=PROMPTS, completions=ANSWERS), expected)


def test_rendered_text_is_read_as_it_is(checkpoint, member):
    reward = tamis.reward_func(checkpoint, plain="text")
    text = Rendered("q: a fox", "training")
    value = member.score([member.encoder.encode([text])[0].ids])
    same(reward(prompts=["q:"], completions=[" a fox"]), value)


def test_a_revision_of_the_hub_is_named_behind_the_id(checkpoint, other_checkpoint, hub):
    hub(Path(checkpoint), "org/rm")
    hub(Path(other_checkpoint), "org/rm", refs=("v2",))
    texts = {"prompts": PROMPTS, "completions": ANSWERS}
    for address, folder in (("org/rm", checkpoint), ("org/rm@v2", other_checkpoint)):
        found = tamis.reward_func(address)(**texts)
        np.testing.assert_allclose(found, tamis.reward_func(folder)(**texts), atol=1e-6)
    assert tamis.reward_func("org/rm")(**texts) != tamis.reward_func("org/rm@v2")(**texts)


def test_several_make_an_ensemble(checkpoint, other_checkpoint, member, other):
    ids = [text.ids for text in member.encoder.encode(TALKS)]
    both = np.stack([member.score(ids), other.score(ids)])
    given = [checkpoint, other_checkpoint]
    same(tamis.reward_func(given)(PROMPTS, ANSWERS), both.mean(axis=0))
    lowest = tamis.reward_func(given, ensemble=Ensemble("raw_min"))
    same(lowest(PROMPTS, ANSWERS), both.min(axis=0))
    refused = tamis.reward_func(given, ensemble=Ensemble("min"))
    with pytest.raises(ConfigError, match=f"recorded in {checkpoint}"):
        refused(PROMPTS, ANSWERS)


def test_standardised_rewards_are_in_the_units_that_a_checkpoint_records(
    checkpoint, other_checkpoint, other
):
    raw = other.score([text.ids for text in other.encoder.encode(TALKS)])
    found = tamis.reward_func(other_checkpoint, which="standardised")(PROMPTS, ANSWERS)
    same(found, (raw - 0.5) / 2.0)
    with pytest.raises(ConfigError, match="record the mean and the standard deviation"):
        tamis.reward_func(checkpoint, which="standardised")(PROMPTS, ANSWERS)


def test_probabilities_and_calibrated_scores(other_checkpoint, other, tmp_path):
    raw = other.score([text.ids for text in other.encoder.encode(TALKS)])
    with pytest.raises(ConfigError, match="so there are no calibrated scores"):
        tamis.reward_func(other_checkpoint, which="calibrated")(PROMPTS, ANSWERS)
    path = shutil.copytree(other_checkpoint, tmp_path / "calibrated")
    origin = Origin(data="x", model=None, num_texts=9, num_pairs=9, versions={})
    write_calibrator(path / CALIBRATOR, Calibrator("made", (Temperature(2.0),), origin))
    same(tamis.reward_func(path, which="calibrated")(PROMPTS, ANSWERS), raw / 2)
    found = tamis.reward_func(other_checkpoint, which="probability")(PROMPTS, ANSWERS)
    same(found, 1 / (1 + np.exp(0.5 - raw)))


@pytest.mark.parametrize(
    ("prompts", "completions", "problem"),
    [
        (["a"], [], "1 prompts and 0 completions"),
        ([3], ["a"], r"prompts\[0\]: expected text or messages, found 3"),
        (["a"], [[{"role": "assistant", "content": 3}]], r"completions\[0\]\[0\]"),
        (["a"], [[]], r"completions\[0\]: expected text or messages, found none"),
    ],
)
def test_what_cannot_be_scored_is_told(checkpoint, prompts, completions, problem):
    with pytest.raises(DataError, match=problem):
        tamis.reward_func(checkpoint)(prompts=prompts, completions=completions)


def test_a_model_that_cannot_be_had_is_told(tmp_path):
    with pytest.raises(ConfigError, match="expected a checkpoint"):
        tamis.reward_func([])
    with pytest.raises(DataError, match="no such file or directory"):
        tamis.reward_func(tmp_path / "none")(PROMPTS, ANSWERS)


def test_verl_one_by_one_and_in_batches(checkpoint, expected, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CHECKPOINT_VARIABLE, checkpoint)
    infos = [
        {"prompt": [{"role": "user", "content": PROMPTS[0]}]},
        {"question": PROMPTS[1], "index": 1},
    ]
    one = verl.compute_score(
        data_source="x", solution_str=ANSWERS[0], ground_truth="y", extra_info=infos[0]
    )
    assert set(one) == {"score", "probability", "truncated"}
    same([one["score"]], expected[:1])
    batch = verl.compute_score(
        data_sources=["x"] * 2, solution_strs=ANSWERS, ground_truths=["y"] * 2, extra_infos=infos
    )
    same([reward["score"] for reward in batch], expected)
    # the prime manager gives everything by place, in another process, and reads item 0
    by_place = pickle.loads(pickle.dumps(verl.compute_score("x", ANSWERS[0], "y", infos[0])))
    assert by_place == one
    same([by_place[0]], expected[:1])
    with pytest.raises(KeyError):
        by_place[1]
    assert verl.compute_score(solution_strs=[], extra_infos=[]) == []
    kept = verl.compute_score("x", ANSWERS[0], "y", extra_info=infos[0], checkpoint=checkpoint)
    assert kept == one


def test_verl_says_what_is_missing(checkpoint, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CHECKPOINT_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="set TAMIS_REWARD_MODEL"):
        verl.compute_score("x", "answer", "y")
    with pytest.raises(DataError, match="expected solution_str"):
        verl.compute_score(checkpoint=checkpoint)
    for info in (None, {"index": 3}):
        with pytest.raises(DataError, match="extra_info of sample 0: expected the prompt"):
            verl.compute_score("x", "answer", "y", extra_info=info, checkpoint=checkpoint)


def test_openrlhf_loads_the_function_from_its_file(checkpoint, member, monkeypatch):
    monkeypatch.setenv(CHECKPOINT_VARIABLE, checkpoint)
    spec = importlib.util.spec_from_file_location("reward_func", openrlhf_reward.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.reward_func(["q: a fox", "b"], ["q:", "b"], ["x", None], anything=1)
    texts = [Rendered(text, "training") for text in ("q: a fox", "b")]
    expected = member.score([text.ids for text in member.encoder.encode(texts)])
    np.testing.assert_allclose(found["rewards"].numpy(), expected, atol=1e-6)
    assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all()
    assert {tuple(values.shape) for values in found["extra_logs"].values()} == {(2,)}
    monkeypatch.delenv(CHECKPOINT_VARIABLE)
    with pytest.raises(ConfigError, match="set TAMIS_REWARD_MODEL"):
        module.reward_func([], [], [])


def test_threads_that_ask_at_once_share_one_model(checkpoint):
    settings, together = RewardSettings((checkpoint,), batch_tokens=77), threading.Barrier(6)
    found, reward = [], tamis.reward_func(checkpoint)

    def ask():
        together.wait(10)
        found.append((loaded(settings), reward.load()))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert len({id(one) for one, _ in found}) == len({id(two) for _, two in found}) == 1


def test_the_package_stays_light():
    code = "import sys, tamis; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing_such"):
        tamis.nothing_such  # noqa: B018


def test_the_functions_need_no_server(monkeypatch: pytest.MonkeyPatch):
    own = ("inprocess", "engine", "texts", "config", "openrlhf_reward", "verl")
    for name in own:
        monkeypatch.delitem(sys.modules, f"tamis.serve.{name}")
    for name in ("fastapi", "starlette", "uvicorn", "prometheus_client"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in own:
        importlib.import_module(f"tamis.serve.{name}")
