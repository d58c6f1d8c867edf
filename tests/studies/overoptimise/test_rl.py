"""A real run of a few steps on tiny models, rewarded by a proxy while gold watches."""

import pytest

from tamis.models.checkpoint import save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.policy.rl.rewards import Asked
from tamis.policy.sampling.responses import Sampled
from tamis.studies.judges import fit_judge
from tamis.studies.overoptimise.looks import RLTask
from tamis.studies.overoptimise.plan import RLPlan
from tamis.studies.overoptimise.rl import LOOKS, Reinforcer
from tamis.types import Message, Pair


def turn(text):
    return (Message("assistant", text),)


def question(number):
    return (Message("user", f"question {number}?"),)


@pytest.fixture(scope="module")
def gold(llama, tmp_path_factory):
    pairs = [Pair(f"p{n}", question(n), turn(f"fox {n}"), turn(f"dog {n}")) for n in range(20)]
    return fit_judge(pairs, model=llama, cache=tmp_path_factory.mktemp("features"), seed=0)


@pytest.fixture(scope="module")
def proxy(tiny_bert, tmp_path_factory):
    config = ModelConfig(path=tiny_bert)
    tokenizer = load_tokenizer(config)
    model = load_reward_model(config, seed=0, pad_token_id=pad_id_of(tokenizer))
    path = tmp_path_factory.mktemp("proxy") / "checkpoint"
    save_checkpoint(model, tokenizer, path, card={})
    return path


@pytest.fixture(scope="module")
def reinforcer(llama, gold):
    return Reinforcer(
        policy=llama,
        prompts=[question(n) for n in range(6)],
        held_out=[question(n) for n in range(6, 9)],
        gold=gold,
        max_new_tokens=4,
        plan=RLPlan(
            arms=("raw",),
            steps=2,
            every=1,
            batch_size=4,
            num_generations=2,
            learning_rate=1e-2,
            rank=2,
        ),
    )


def test_a_run_is_looked_at_before_and_after(reinforcer, proxy, tmp_path):
    task = RLTask(proxy, 0, tmp_path / "run")
    looks = reinforcer(task)
    assert [look.step for look in looks] == [0, 1, 2]
    assert {len(look.gold) for look in looks} == {len(look.proxy) for look in looks} == {3}
    assert looks[0].kl == pytest.approx(0.0, abs=1e-6)
    assert abs(looks[-1].kl) > 1e-6
    assert [path.name for path in task.folder.iterdir()] == [LOOKS]
    before = (task.folder / LOOKS).stat().st_mtime_ns
    assert reinforcer(task) == looks
    assert (task.folder / LOOKS).stat().st_mtime_ns == before


def test_gold_of_an_answer_does_not_depend_on_the_others(reinforcer, gold):
    asked = [Asked(question(n), turn(text)) for n, text in ((1, "fox"), (2, "dog"), (1, "dog"))]
    together = reinforcer._gold(asked).score_N
    alone = [reinforcer._gold([one]).score_N[0] for one in asked]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    direct = gold.rewards([Sampled(question(1), (turn("dog"), turn("fox")))])[0, 1]
    assert together[0] - together[2] == pytest.approx(direct, abs=1e-5)
    assert together[0] > together[2]
