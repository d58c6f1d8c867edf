"""Our own endpoint: calibration, ensembles, the best answer, principles."""

import dataclasses
import shutil

import numpy as np
import pytest
from serving import serving

from tamis.calibrate import (
    CALIBRATOR,
    Calibrator,
    GapCurve,
    Origin,
    Slope,
    Temperature,
    write_calibrator,
)
from tamis.errors import ConfigError
from tamis.metrics.ensemble import Ensemble
from tamis.principles.layout import condition
from tamis.principles.principle import Principle, load_principles
from tamis.serve.config import ServeConfig
from tamis.serve.engine import load_member
from tamis.serve.rewards import RewardsResponse
from tamis.serve.texts import Turns
from tamis.types import Message

ASK = [{"role": "user", "content": "Say something about foxes."}]
ANSWERS = ["The quick brown fox jumps.", "No.", "A dog " * 9]
ORIGIN = Origin(data="0" * 64, model=None, num_texts=3, num_pairs=1)


def calibrated(member, *steps):
    return dataclasses.replace(member, calibrator=Calibrator("made", steps, ORIGIN))


def ask(served, **more):
    found = served.post("/v1/rewards", {"messages": ASK, "candidates": ANSWERS, **more})
    RewardsResponse.model_validate(found)
    return found


def column(found, name):
    return [candidate[name] for candidate in found["candidates"]]


def softmax(values):
    weights = np.exp(np.array(values) - max(values))
    return pytest.approx((weights / weights.sum()).tolist(), abs=1e-6)


def test_one_model_without_a_calibrator(served, member):
    found = ask(served)
    turns = [
        Turns((Message("user", ASK[0]["content"]),), (Message("assistant", a),)) for a in ANSWERS
    ]
    encoded = member.encoder.encode(turns)
    raw = member.score([text.ids for text in encoded])
    assert column(found, "raw") == pytest.approx(raw.tolist(), abs=1e-5)
    assert column(found, "calibrated") == column(found, "raw")
    assert column(found, "standardised") == [None] * 3
    assert column(found, "length_adjusted") == column(found, "std") == [None] * 3
    assert column(found, "p_best") == softmax(column(found, "raw"))
    assert column(found, "num_tokens") == [len(text.ids) for text in encoded]
    assert found["best"] == int(np.argmax(raw))
    assert (found["calibrator"], found["ensemble"], found["principles"]) == (None, None, [])
    assert found["usage"]["total_tokens"] == sum(column(found, "num_tokens"))


def test_a_calibrator_takes_length_out_and_sets_the_scale(member):
    slope, scale = Slope("characters", 0.01, mean=0.2), Temperature(2.0)
    with serving(calibrated(member, slope, scale)) as served:
        found = ask(served)
        raw = np.array(column(found, "raw"))
        lengths = np.array([len(answer) for answer in ANSWERS])
        adjusted = raw - (0.01 * lengths - 0.2)
        assert column(found, "length_adjusted") == pytest.approx(adjusted.tolist())
        assert column(found, "calibrated") == pytest.approx((adjusted / 2).tolist())
        assert column(found, "p_best") == softmax((adjusted / 2).tolist())
        assert column(found, "p") == pytest.approx((1 / (1 + np.exp(-adjusted / 2))).tolist())
        assert found["calibrator"] == {"method": "made", "unit": "logit"}
        # the wire formats of trainers stay raw, and OpenRLHF's probabilities are calibrated
        talk = f"<s><|user|>\n{ASK[0]['content']}</s>\n<|assistant|>\n"
        body = {"query": [f"{talk}{a}</s>" for a in ANSWERS], "prompts": [talk] * 3}
        sent = served.post("/get_reward", body)
        assert sent["rewards"] == pytest.approx(raw.tolist(), abs=1e-5)
        assert sent["scores"] == pytest.approx(column(found, "p"), abs=1e-5)


def test_the_average_answer_is_one_that_the_calibrator_was_fitted_on(other_checkpoint, tmp_path):
    def probability_and_raw(score_mean):
        origin = dataclasses.replace(ORIGIN, score_mean=score_mean)
        path = shutil.copytree(other_checkpoint, tmp_path / str(score_mean))
        write_calibrator(path / CALIBRATOR, Calibrator("made", (Temperature(2.0),), origin))
        with serving(load_member(str(path), ServeConfig())) as served:
            (first, *_) = ask(served)["candidates"]
        return first["p"], first["raw"]

    p, raw = probability_and_raw(0.25)
    assert p == pytest.approx(1 / (1 + np.exp(-(raw - 0.25) / 2)))
    p, raw = probability_and_raw(None)  # then what the configuration says, which is 0.5
    assert p == pytest.approx(1 / (1 + np.exp(-(raw - 0.5) / 2)))


def test_length_stays_where_the_answer_is_not_known(member):
    with serving(calibrated(member, Slope("characters", 0.01, mean=0.2))) as served:
        sent = served.post("/get_reward", {"query": ["a fox"], "prompts": [None]})
        expected = 1 / (1 + np.exp(-sent["rewards"][0]))
        assert sent["scores"] == pytest.approx([expected])


def test_tokens_are_counted_by_the_models_own_tokenizer(member):
    with serving(calibrated(member, Slope("tokens", 1.0, mean=0.0))) as served:
        found = ask(served)
        counts = [
            len(ids)
            for ids in member.scorer.tokenizer(ANSWERS, add_special_tokens=False)["input_ids"]
        ]
        expected = np.array(column(found, "raw")) - counts
        assert column(found, "length_adjusted") == pytest.approx(expected.tolist())


def test_a_calibrator_of_gaps_alone_has_no_score_of_its_own(member):
    curve = GapCurve((-1.0, 0.0, 1.0), (-0.5, 0.0, 0.5))
    with serving(calibrated(member, curve)) as served:
        found = ask(served)
        assert column(found, "calibrated") == [None] * 3
        assert column(found, "p_best") == softmax(column(found, "raw"))
        gaps = np.clip(column(found, "raw"), -1, 1) / 2
        assert column(found, "p") == pytest.approx((1 / (1 + np.exp(-gaps))).tolist())


def test_an_ensemble_tells_how_far_its_members_are_apart(member, other):
    with serving(member, other, ensemble=Ensemble("raw_lower", penalty=0.5)) as served:
        found = ask(served)
    raw = []
    for one in (member, other):
        with serving(one) as alone:
            raw.append(column(ask(alone), "raw"))
    mean, std = np.mean(raw, axis=0), np.std(raw, axis=0)
    assert column(found, "raw") == pytest.approx((mean - 0.5 * std).tolist(), abs=1e-5)
    assert column(found, "std") == pytest.approx(std.tolist(), abs=1e-5)
    assert found["ensemble"] == {"how": "raw_lower", "num_models": 2}


@pytest.mark.parametrize("how", ["min", "lower"])
def test_members_are_standardised_by_what_they_record(member, other, how):
    one, two = dataclasses.replace(member, centring=(-3.0, 0.5)), other
    assert two.centring == (0.5, 2.0)
    raw = []
    for alone in (one, two):
        with serving(alone) as served:
            raw.append(np.array(column(ask(served), "raw")))
    standard = np.stack([(raw[0] + 3.0) / 0.5, (raw[1] - 0.5) / 2.0])
    spread = standard.std(axis=0)
    expected = {"min": standard.min(axis=0), "lower": standard.mean(axis=0) - spread}[how]
    with serving(one, two, ensemble=Ensemble(how)) as served:
        found = ask(served)
    assert column(found, "raw") == pytest.approx(expected.tolist(), abs=1e-5)
    assert column(found, "calibrated") == pytest.approx(expected.tolist(), abs=1e-5)
    assert column(found, "std") == pytest.approx(spread.tolist(), abs=1e-5)
    with serving(one, two, ensemble=Ensemble()) as served:  # zeros change no gap of a mean
        found = ask(served)
    assert column(found, "raw") == pytest.approx(np.mean(raw, axis=0).tolist(), abs=1e-5)
    assert column(found, "std") == pytest.approx(spread.tolist(), abs=1e-5)


def test_calibrated_members_are_centred_and_log_odds_keep_their_unit(member, other):
    origin = dataclasses.replace(ORIGIN, score_mean=1.0)
    calibrator = Calibrator("made", (Temperature(2.0),), origin)
    one = dataclasses.replace(member, calibrator=calibrator, centring=(-3.0, 0.5))
    raw = []
    for alone in (one, other):
        with serving(alone) as served:
            raw.append(np.array(column(ask(served), "raw")))
    with serving(one, other, ensemble=Ensemble("min")) as served:
        found = ask(served)
    expected = np.minimum((raw[0] - 1.0) / 2.0, (raw[1] - 0.5) / 2.0)
    assert column(found, "calibrated") == pytest.approx(expected.tolist(), abs=1e-5)


def test_an_ensemble_that_has_nothing_to_standardise_by_is_not_served(member, other):
    assert member.centring is None
    refused = pytest.raises(ConfigError, match=f"recorded in {member.name}; .* raw_min")
    with refused, serving(member, other, ensemble=Ensemble("min")):
        pass


def test_openrlhf_is_sent_standard_deviations_where_it_asks_for_them(member, other):
    body = {"query": ["a fox", "the lazy dog"]}
    with serving(other) as served:
        raw = np.array(served.post("/get_reward", body)["rewards"])
        found = served.post("/get_reward?which=standardised", body)["rewards"]
        served.post("/get_reward?which=nonsense", body, status=400)
    assert found == pytest.approx(((raw - 0.5) / 2.0).tolist())
    with serving(member) as served:
        refused = served.post("/get_reward?which=standardised", body, status=400)
        assert "record the mean and the standard deviation" in str(refused)


def test_members_may_have_different_tokenizers_but_then_ids_mean_nothing(member, bert):
    with serving(member, bert, ensemble=Ensemble()) as served:
        assert len(ask(served)["candidates"]) == 3
        found = served.post("/classify", {"input": [5, 6]}, status=400)
        assert "different vocabularies" in found["error"]["message"]
    with serving(member, member, ensemble=Ensemble()) as served:
        served.post("/classify", {"input": [5, 6]})


def test_principles_are_read_behind_the_answer(served, member):
    known = {principle.name: principle for principle in load_principles()}
    texts = [known["concise"].negated[0], "Answer in verse."]
    found = ask(served, principles=["not:concise", "Answer in verse."])
    assert found["principles"] == texts
    prompt = (Message("user", ASK[0]["content"]),)
    turns = [
        Turns(*condition(prompt, (Message("assistant", answer),), texts=texts))
        for answer in ANSWERS
    ]
    raw = member.score([text.ids for text in member.encoder.encode(turns)])
    assert column(found, "raw") == pytest.approx(raw.tolist(), abs=1e-5)
    assert column(found, "raw") != pytest.approx(column(ask(served), "raw"), abs=1e-3)


def test_a_server_knows_the_principles_that_it_was_started_with(member):
    own = Principle("concise", wanted=("My words.",), negated=("Not my words.",))
    with serving(member, principles=[own]) as served:
        assert ask(served, principles=["not:concise"])["principles"] == ["Not my words."]
        body = {"messages": ASK, "candidates": ANSWERS, "principles": ["not:detailed"]}
        said = served.post("/v1/rewards", body, status=400)["error"]["message"]
        assert "detailed" in said


def test_truncation_is_told(served):
    long = served.post("/v1/rewards", {"messages": ASK, "candidates": ["fox " * 400, "fox"]})
    assert column(long, "truncated") == [True, False]
    assert served.figure('tamis_texts_truncated_total{model="rm"}') == 1


def test_candidates_may_be_turns(served):
    turns = [[{"role": "assistant", "content": answer}] for answer in ANSWERS]
    assert column(ask(served, candidates=turns), "raw") == column(ask(served), "raw")
