"""Iterated RLHF through the real stages, with tiny random models."""

import json
import shutil
import signal

import pytest
from dying import end_of_child
from iterating import RL, changed, settings_of
from pydantic import ValidationError
from safetensors.torch import load_file
from serving import write_checkpoint
from transformers import AutoModelForCausalLM
from verdicts import prefers_longer

from tamis.data import read_pairs, write_pairs
from tamis.data.prompts import read_prompts
from tamis.errors import ConfigError, DataError
from tamis.evaluate.judging.config import JudgeConfig
from tamis.policy.iterate.config import (
    AdaptConfig,
    DemonstrationSettings,
    ImproveConfig,
    MeasureConfig,
)
from tamis.policy.iterate.rounds import Round
from tamis.policy.rl.config import RLConfig
from tamis.principles.recorded import KEY
from tamis.recipes import iterating
from tamis.recipes.iterate_measure import gold_scoring, held_out_responses
from tamis.recipes.iterate_phases import Site, improve, update
from tamis.recipes.iterating import check_iterate, iterate, tell_of_common_prompts
from tamis.report import write_report
from tamis.runs import fingerprint, read_json, write_json
from tamis.types import Message, Pair

pytestmark = pytest.mark.slow
STAGES = ("sample", "train", "choose", "align", "held-out sample", "judge", "measure")


@pytest.fixture
def settings(tmp_path, llama, preferences):
    return settings_of(tmp_path, model=llama, pairs=preferences)


def weights(run, place):
    return load_file(run / place / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, llama, preferences):
    """A run of two rounds, and the settings of it."""
    from tamis.runs import Watcher

    folder = tmp_path_factory.mktemp("whole")
    settings = settings_of(folder, model=llama, pairs=preferences)
    begun, said = [], []
    watcher = Watcher(begun.append, lambda *_: None, said.append)
    page = iterate(changed(settings), watcher=watcher)
    return folder / "run", settings, page, begun


def test_two_rounds_of_real_stages(whole):
    run, _, page, begun = whole
    expected = ["data", "start sample", "start measure"]
    expected += [f"round-0{n} {stage}" for n in (0, 1) for stage in STAGES]
    assert begun == [*(name.replace("  ", " ") for name in expected), "best"]
    report = json.loads((run / "rounds.json").read_text())
    assert [point["name"] for point in report["points"]] == ["start", "round-00", "round-01"]
    assert report["is_over"]
    start, first, second = report["points"]
    assert start["kl"]["value"] == 0.0
    assert start["quality"] == first["win_rate"] | {
        "value": 0.5,
        "low": 0.5,
        "high": 0.5,
        "num_items": 0,
    }
    for point in (first, second):
        assert point["quality"] == point["win_rate"]
        assert point["gold_gain"] is not None  # by the scorer that judges
        assert point["proxy_gain"] is not None
        assert point["kl"]["value"] != 0.0
    assert {row["win"] + row["tie"] + row["lose"] for row in report["judge"]} == {3}
    (idle,) = (text for text in report["idle"] if "disagree" in text)
    assert idle in " ".join(page.read_text().split())
    assert page == run / "report.html"
    text = page.read_text()
    assert "The rounds are over: 2 of 2 rounds done." in " ".join(text.split())
    assert "win rate against the start policy, by longest" in text


def test_each_round_goes_on_with_the_policy_before_it(whole):
    run, _, _, _ = whole
    first, second = (
        json.loads((run / name / "align" / "stage.json").read_text())["inputs"]["policy"]
        for name in ("round-00", "round-01")
    )
    assert first != second
    sampled = [
        (run / name / "sample" / "responses.jsonl").read_text() for name in ("round-00", "round-01")
    ]
    assert sampled[0] != sampled[1]


def test_the_scorer_that_judges_is_the_gold_reward_as_it_judges(settings):
    def scoring(**judge):
        return gold_scoring(changed(settings, measure__judge=judge))

    read = {"max_length": 32}
    found = scoring(by="gold:longest", options=read)
    assert (found.scorers, found.options.max_length) == (("longest",), 32)
    # what compares two answers has no score for one
    assert scoring(by="gold:judge:http://localhost:1/v1#m").scorers == ()
    named = changed(settings, measure__judge={"by": "gold:longest", "options": read})
    named = named.model_copy(
        update={"measure": named.measure.model_copy(update={"gold": ("shortest",)})}
    )
    assert gold_scoring(named).scorers == ("shortest",)
    assert gold_scoring(named).options.max_length is None


def test_the_best_before_a_round_is_what_its_reward_models_compare_with(whole):
    run, _, _, _ = whole
    points = json.loads((run / "rounds.json").read_text())["points"]
    before = max(points[:2], key=lambda point: point["quality"]["value"])["name"]
    inputs = json.loads((run / "round-01" / "measure" / "stage.json").read_text())["inputs"]
    assert inputs["best"] == fingerprint(held_out_responses(run, before))
    assert points[1]["proxy_since_best"] == points[1]["proxy_gain"]
    assert (points[2]["proxy_since_best"] == points[2]["proxy_gain"]) == (before == "start")


def test_the_best_policy_is_copied_and_named(whole):
    run, _, _, _ = whole
    best = json.loads((run / "best" / "best.json").read_text())
    report = json.loads((run / "rounds.json").read_text())
    assert best["name"] == report["best"]["name"]
    assert best["policy"] == "policy"
    AutoModelForCausalLM.from_pretrained(run / "best" / "policy")
    if best["name"] != "start":
        copied = weights(run, "best/policy")
        kept = weights(run, f"{best['name']}/align/policy")
        assert all((copied[name] == weight).all() for name, weight in kept.items())


@pytest.mark.parametrize("error", [ConfigError, RuntimeError])
def test_a_phase_that_fails_leaves_the_best_policy_so_far(whole, log, monkeypatch, error):
    run, settings, _, _ = whole
    before = json.loads((run / "best" / "best.json").read_text())
    shutil.rmtree(run / "best")

    def diverges(now, *given, **named):
        if now.number == 1:
            raise error("training diverged")
        return improve(now, *given, **named)

    monkeypatch.setattr(iterating, "improve", diverges)
    with pytest.raises(error, match="training diverged"):
        iterate(changed(settings), watcher=log.watcher())
    kept = json.loads((run / "best" / "best.json").read_text())
    assert kept["name"] in ("start", "round-00")
    assert (run / "best" / "policy" / "model.safetensors").is_file()
    monkeypatch.undo()
    iterate(changed(settings), watcher=log.watcher())
    assert json.loads((run / "best" / "best.json").read_text()) == before


def test_a_finished_run_computes_nothing_again(whole, log):
    run, settings, _, _ = whole
    before = (run / "report.html").read_bytes()
    iterate(changed(settings), watcher=log.watcher())
    assert not any(log.fresh.values())
    assert (run / "report.html").read_bytes() == before


def test_pairs_are_the_best_against_the_worst_by_the_rounds_reward_model(whole):
    run, _, _, _ = whole
    pairs = list(read_pairs(run / "round-00" / "choose" / "pairs.parquet"))
    lines = (run / "round-00/sample/responses.jsonl").read_text().splitlines()
    sampled = [json.loads(line) for line in lines]
    texts = {
        row["prompt"][0]["content"]: [r[0]["content"] for r in row["responses"]] for row in sampled
    }
    assert pairs
    for pair in pairs:
        assert pair.margin > 0
        assert {pair.chosen[0].content, pair.rejected[0].content} == set(
            texts[pair.prompt[0].content]
        )


def test_stages_of_a_round_have_pages_of_their_own(whole, tmp_path):
    for folder, anchors in (("round-00", {"alignment"}), ("round-00/held-out", {"judge"})):
        page = write_report(whole[0] / folder, out=tmp_path / "page.html")
        assert anchors <= set(json.loads(page.with_suffix(".json").read_text())["sections"])


@pytest.mark.parametrize(("eta", "is_plain"), [(0.0, True), (1.0, False)])
def test_metarm_with_eta_0_is_plain_training(whole, settings, log, tmp_path, eta, is_plain):
    responses = whole[0] / "round-00" / "sample" / "responses.jsonl"
    found = []
    for name, meta in (("plain", None), ("meta", {"eta": eta, "prompts": 2})):
        config = changed(settings, reward_model__meta=meta)
        pairs = whole[0] / "data" / "pairs.parquet"
        site = Site(config, tmp_path / name, pairs, None, log.watcher())
        now = Round(0, tmp_path / name / "round-00", config.policy)
        (checkpoint,) = update(now, responses, site=site)
        found.append(load_file(checkpoint / "model.safetensors"))
    plain, meta = found
    same = all((meta[name] == weight).all() for name, weight in plain.items())
    assert same == is_plain
    assert (tmp_path / "plain" / "reward" / "train").is_dir()  # once, for all rounds


def test_a_round_is_judged_by_an_endpoint_with_gold_beside_it(settings, server, log, tmp_path):
    server.answer = prefers_longer
    judge = {"by": f"{server.url}/v1#m", "rubric": "helpful"}
    config = changed(settings, rounds=1, measure__judge=judge, measure__gold=["shortest"])
    page = iterate(config, watcher=log.watcher())
    report = json.loads((tmp_path / "run" / "rounds.json").read_text())
    _, point = report["points"]
    assert len(server.bodies) == 2 * 3  # both orders of three prompts' answers
    assert {body["model"] for body in server.bodies} == {"m"}
    assert point["quality"] == point["win_rate"]
    assert point["gold_gain"] is not None
    (row,) = report["judge"]
    assert row["win"] + row["tie"] + row["lose"] == 3
    assert row["first_frac"] is not None
    assert "first place preferred" in page.read_text()
    num = len(server.bodies)
    iterate(config, watcher=log.watcher())
    assert len(server.bodies) == num  # what was answered is kept


def test_rl_with_two_members_watches_their_disagreement(settings, log, tmp_path):
    config = changed(
        settings, rounds=1, improve__by="rl", reward_model__members=2,
        improve__reward={"ensemble": "lower"},
    )  # fmt: skip
    page = iterate(config, watcher=log.watcher())
    run = tmp_path / "run"
    (_, point) = json.loads((run / "rounds.json").read_text())["points"]
    assert point["spread_ratio"] > 0
    assert (run / "round-00" / "rl" / "watch.jsonl").is_file()
    assert "spread of the reward models" in page.read_text()
    assert not (run / "round-00" / "choose").exists()
    first, second = (
        weights(run, f"round-00/member-0{n}/train/checkpoint")["score.weight"] for n in (0, 1)
    )
    assert (first != second).any()


def test_the_linear_surrogate_needs_a_loss_that_a_margin_straightens():
    linear = {"path": "demos.jsonl", "form": "linear"}
    model = {"path": "some"}
    found = AdaptConfig.model_validate({"model": model, "demonstrations": linear})
    assert found.demonstrations.identity()["form"] == "linear"
    assert "form" not in DemonstrationSettings(path="demos.jsonl").identity()
    with pytest.raises(ValueError, match=r"form is linear and train\.loss hinge"):
        AdaptConfig.model_validate(
            {"model": model, "demonstrations": linear, "train": {"loss": "hinge"}}
        )


def test_demonstrations_join_the_pairs_of_the_reward_model(settings, log, tmp_path):
    demos = tmp_path / "demos.jsonl"
    demos.write_text('{"prompt": "the lazy fox 0", "response": "jumps over the dog"}\n')
    config = changed(
        settings, rounds=1, improve__by="best_of", reward_model__start="previous",
        reward_model__demonstrations={"path": str(demos), "weight": 2.0, "preference_weight": 0.5},
        improve__reward={"scorers": ["round", "longest"]},
    )  # fmt: skip
    iterate(config, watcher=log.watcher())
    run = tmp_path / "run"
    rounds = json.loads((run / "rounds.json").read_text())
    assert not any("disagree" in text for text in rounds["idle"])  # two scorers do
    assert rounds["points"][1]["spread_ratio"] > 0
    mixed = list(read_pairs(run / "round-00" / "mix" / "pairs.parquet"))
    known = list(read_pairs(run / "data" / "pairs.parquet"))
    added = mixed[len(known) :]
    assert {pair.chosen[0].content for pair in added} == {"jumps over the dog"}
    assert 1 <= len(added) <= 2
    from tamis.denoise.tables import read_verdicts

    found = [verdict.weight for verdict in read_verdicts(run / "round-00/mix/verdicts.parquet")]
    assert found == [0.5] * len(known) + [2.0] * len(added)
    report = json.loads((run / "round-00" / "align" / "report.json").read_text())
    assert report["num_pairs"] >= 1


def test_what_would_fail_late_is_refused_before_anything_is_computed(settings, log, tmp_path):
    prompts = settings["data"]["prompts"]
    shares = tmp_path / "shares.jsonl"  # a prompt behind the limit of what is sampled from
    shares.write_text('{"prompt": "the lazy fox 4"}\n')
    others = tmp_path / "others.jsonl"
    others.write_text('{"prompt": "Who asks?", "response": "Nobody does."}\n')
    few = {"improve__by": "rl", "sample__limit": 3, "data__held_out": str(shares)}
    for own, error, words in (
        (few, DataError, "1 of 1 held-out prompts are among those"),
        (rl_of({"ensemble": "lower"}), ConfigError, "ensemble is lower and there is one scorer"),
        ({"improve__reward": {"ensemble": "min"}}, ConfigError, "ensemble is min and there is one"),
        (
            rl_of({"scorers": ["round", "longest"], "ensemble": "lower"}),
            ConfigError,
            "recorded in longest",
        ),
        (rl_of({"gold": ["no/such/folder"], "held_out": 1}), DataError, "no/such/folder"),
        (rl_of({"held_out": 500}), DataError, "6 of 6 prompts .* 500 are to be held out"),
        (rl_of({"draw": 99}), ConfigError, "99 principles are to be drawn"),
        (rl_of({}, trl={"nonsense": 1}), ConfigError, r"trl\.nonsense: GRPOConfig of TRL has no"),
        (rl_of({}, max_new_tokens=250), ConfigError, "the 256 that the policy reads"),
        ({"sample__sampling__temperature": 0.0}, ConfigError, "temperature 0 gives one response"),
        (
            {"measure__sampling": {"num": 2, "temperature": 0.0}},
            ConfigError,
            "temperature 0 gives one response",
        ),
        ({"data__held_out": prompts}, DataError, "6 of 6 held-out prompts are among those"),
        ({"measure__gold": ["no/such/folder"]}, (ConfigError, DataError), "no/such/folder"),
        ({"measure__judge": {"by": "http://localhost"}}, ConfigError, "model"),
        ({"measure__gold": ["judge:http://localhost/v1#m"]}, ConfigError, "scores none alone"),
        ({"reward_model__demonstrations": {"path": "none.jsonl"}}, DataError, "none.jsonl"),
        (
            {"reward_model__demonstrations": {"path": str(others)}},
            DataError,
            "none of its 1 prompt is among",
        ),
        ({"improve__align": {"loss": "nonsense"}}, ConfigError, "nonsense"),
        ({"reward_model__train": {"loss": "nonsense"}}, ConfigError, "nonsense"),
        ({"data__verdicts": str(tmp_path / "none.parquet")}, DataError, "no such file"),
    ):
        with pytest.raises(error, match=words):
            iterate(changed(settings, **own), watcher=log.watcher())
    assert log.begun == []


def test_a_model_of_principles_rewards_no_round_without_any(settings, llama, tmp_path):
    path = write_checkpoint(llama.path, tmp_path / "rm", seed=1)
    config = read_json(tmp_path / "rm" / "config.json")
    write_json(tmp_path / "rm" / "config.json", {**config, KEY: "prompt_first"})
    scorers = {"scorers": ["round", path]}
    with pytest.raises(ConfigError, match=f"{path} learned to read principles"):
        check_iterate(changed(settings, **rl_of(scorers)))
    check_iterate(changed(settings, **rl_of({**scorers, "draw": 3})))


@pytest.mark.parametrize(("split", "said"), [("train", 1), ("test", 0)])
def test_held_out_prompts_that_the_reward_models_know_are_counted(
    settings, log, tmp_path, split, said
):
    held_out = read_prompts(settings["data"]["held_out"])
    sides = [(Message("assistant", text),) for text in ("Yes.", "No.")]
    known = [Pair("a", held_out[0], *sides, split=split), Pair("b", (), *sides)]
    write_pairs(tmp_path / "pairs.parquet", known)
    tell_of_common_prompts(
        changed(settings), pairs=tmp_path / "pairs.parquet", watcher=log.watcher()
    )
    assert [f"1 of {len(held_out)} held-out prompts have" in text for text in log.said] == (
        [True] * said
    )


def rl_of(reward, **rl):
    return {"improve": {"by": "rl", "rl": {**RL, **rl}, "reward": reward}}


def test_a_round_samples_before_there_is_a_reward_model_to_pick_with(settings):
    with pytest.raises(ValidationError, match=r"sample\.best_of is 2: a round samples before"):
        changed(settings, sample__best_of=2)


def test_prompts_behind_the_limit_are_held_out_where_samples_alone_are_trained_on(
    settings, tmp_path
):
    shares = tmp_path / "shares.jsonl"
    shares.write_text('{"prompt": "the lazy fox 4"}\n')
    check_iterate(changed(settings, sample__limit=3, data__held_out=str(shares)))


def test_a_judge_sees_every_response_unless_it_is_told_otherwise(settings):
    judge = changed(settings).measure.judge
    assert judge.pairing == "all"
    first = changed(settings, measure__judge={"by": "gold:longest", "pairing": "first"})
    assert first.measure.judge.pairing == "first"
    assert MeasureConfig(judge=JudgeConfig(by="gold:longest")).judge.pairing == "all"
    assert MeasureConfig(judge=first.measure.judge).judge.pairing == "first"


def test_what_a_preset_says_of_rewards_holds_for_rounds_of_rl(settings):
    own = {"by": "rl", "rl": {"preset": "metarm"}, "reward": {"every": 7}}
    improve = changed(settings, improve=own).improve
    assert (improve.reward.which, improve.reward.every) == ("standardised", 7)
    assert improve.reward.scorers == ("round",)
    assert ImproveConfig.model_validate(improve.model_dump()) == improve
    assert ImproveConfig(rl=RLConfig(preset="salmon")).reward.shaping.no_stop_penalty == 6.0
    own["reward"] = {"which": "raw"}
    assert changed(settings, improve=own).improve.reward.which == "raw"
    own |= {"by": "align", "reward": {}}
    assert changed(settings, improve=own).improve.reward.which == "raw"


KILLED_AT = (
    "data/work/key",
    "start/sample/work/out/responses.jsonl",
    "start/measure/work/key",
    "start/measure/stage.json",  # while the start is told
    "round-00/sample/work/out/responses.jsonl",
    "round-00/train/work/train/checkpoint-1",
    "round-00/choose/work/out/pairs.parquet",
    "round-00/align/work/align/checkpoint-1",
    "round-00/held-out/sample/work/out/responses.jsonl",
    "round-00/held-out/judge/work/out/verdicts.parquet",
    "round-00/measure/work/key",
    "round-00/measure/stage.json",  # while the round is told
    "round-01/align/work/align/checkpoint-1",
    "round-01/measure/work/out/point.json",
    "best/work/out/policy/model.safetensors",
    "best/stage.json",  # before the last page
)


def test_a_run_killed_in_every_phase_ends_as_one_that_was_not(whole, settings, log, tmp_path):
    calm, victim = whole[0], tmp_path / "run"
    for place in KILLED_AT:
        code = end_of_child(
            lambda: iterate(changed(settings), watcher=log.watcher()), dies_at=victim / place
        )
        assert code == -signal.SIGKILL, place
    iterate(changed(settings), watcher=log.watcher())
    for name in ("rounds.json", "report.html", "best/best.json"):
        assert (victim / name).read_bytes() == (calm / name).read_bytes(), name
    for name in ("round-00/train/checkpoint", "round-00/align/policy", "round-01/align/policy"):
        killed, other = weights(victim, name), weights(calm, name)
        assert all((killed[key] == weight).all() for key, weight in other.items()), name
