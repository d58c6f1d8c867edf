"""Principles that a server or a function was started with: on every endpoint, as in training."""

import dataclasses
import json
import logging
import os
import shutil

import pytest
from serving import BODIES, TALK, serving

import tamis
from tamis.calibrate import Calibrator, Origin, Slope
from tamis.cli import main
from tamis.errors import ConfigError, DataError
from tamis.principles.layout import CUE, condition
from tamis.serve.app import open_service
from tamis.serve.config import ServeSpec
from tamis.serve.marks import marks_of
from tamis.serve.principled import Under, encode_under, under_named
from tamis.serve.texts import Cut, Rendered, TokenIds, Turns
from tamis.serve.verl import compute_score
from tamis.types import Message

VERSE = "Answer in verse."
UNDER = Under((VERSE,))
PROMPT, ANSWER = TALK[0]["content"], TALK[1]["content"]
TURNS = Turns((Message("user", PROMPT),), (Message("assistant", ANSWER),))
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)


def raw_of(member, *, under=UNDER, turns=TURNS):
    """The score of a conversation that was written down with its principles."""
    asked, judged = turns.prompt, turns.answer
    if under.texts:
        asked, judged = condition(asked, judged, texts=under.texts, layout=under.layout)
    (text,) = member.encoder.encode([Turns(asked, judged)])
    return float(member.score([text.ids])[0])


def rendered(member, turns=TURNS):
    given = [{"role": t.role, "content": t.content} for t in turns.prompt + turns.answer]
    return str(member.scorer.tokenizer.apply_chat_template(given, tokenize=False))


@pytest.fixture
def learned(checkpoint, tmp_path) -> str:
    """A checkpoint that says that it learned principles behind the answer."""
    return with_layout(checkpoint, tmp_path / "learned", "prompt_first")


def with_layout(checkpoint, path, layout) -> str:
    shutil.copytree(checkpoint, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "principles_layout": layout}))
    return str(path)


def test_every_endpoint_scores_under_the_principles_of_the_server(member):
    text = rendered(member)
    bodies = {
        "/get_reward": {"query": [text], "prompts": [None]},
        "/classify": {"messages": TALK},
        "/pooling": {"input": [text]},
        "/score": {"queries": PROMPT, "documents": [ANSWER]},
        "/v1/embeddings": {"input": text},
        "/v1/score/evaluation": {"model": "model", "messages": [text]},
        "/slime": {"prompt": TALK[:1], "response": ANSWER, "label": None},
        "/v1/rewards": {"messages": TALK[:1], "candidates": [ANSWER]},
    }
    assert bodies.keys() == BODIES.keys()
    for under in (UNDER, Under()):
        expected = raw_of(member, under=under)
        with serving(member, under=under) as served:
            found = {path: served.post(path, body) for path, body in bodies.items()}
        scores = {
            "/get_reward": found["/get_reward"]["rewards"][0],
            "/classify": found["/classify"]["data"][0]["probs"][0],
            "/pooling": found["/pooling"]["data"][0]["data"][0],
            "/score": found["/score"]["data"][0]["score"],
            "/v1/embeddings": found["/v1/embeddings"]["data"][0]["embedding"][0],
            "/v1/score/evaluation": found["/v1/score/evaluation"]["scores"][0],
            "/slime": found["/slime"],
            "/v1/rewards": found["/v1/rewards"]["candidates"][0]["raw"],
        }
        assert scores == dict.fromkeys(bodies, pytest.approx(expected, abs=1e-5))
    assert raw_of(member) != pytest.approx(raw_of(member, under=Under()), abs=1e-3)


def test_what_a_request_names_holds(member):
    body = {"messages": TALK[:1], "candidates": [ANSWER]}
    with serving(member, under=UNDER) as served:
        own = served.post("/v1/rewards", {**body, "principles": ["Answer in prose."]})
        none = served.post("/v1/rewards", {**body, "principles": []})
        moved = served.post("/v1/rewards", {**body, "layout": "answer_first"})
    found = [(one["principles"], one["candidates"][0]["raw"]) for one in (own, none, moved)]
    wanted = [Under(("Answer in prose.",)), Under(), Under((VERSE,), "answer_first")]
    for (texts, raw), under in zip(found, wanted, strict=True):
        assert tuple(texts) == under.texts
        assert raw == pytest.approx(raw_of(member, under=under), abs=1e-5)


def test_text_that_the_template_rendered_is_what_the_template_makes_of_principles(member):
    turns = Turns((Message("system", "Be kind."), *TURNS.prompt, *TALKED), TURNS.answer)
    for each in (TURNS, turns):
        whole = rendered(member, each)
        (wanted,) = encode_under(member.encoder, [each], under=UNDER)
        for given in (whole, whole.rstrip(), whole.rstrip().removesuffix("</s>"), whole[3:]):
            for special in ("none", "tokenizer", "training"):
                (found,) = encode_under(member.encoder, [Rendered(given, special)], under=UNDER)
                assert found.ids == wanted.ids, (given, special)


TALKED = (Message("assistant", "What?"), Message("user", "Anything."))


def test_templates_that_write_a_system_turn_or_close_turns_are_known(member):
    tokenizer = _Own(member.scorer.tokenizer)
    marks = marks_of(tokenizer)
    for turns in (TURNS, Turns((Message("system", "S."), *TURNS.prompt), TURNS.answer)):
        given = [{"role": t.role, "content": t.content} for t in turns.prompt + turns.answer]
        asked, judged = condition(turns.prompt, turns.answer, texts=[VERSE])
        wanted = [{"role": t.role, "content": t.content} for t in asked + judged]
        whole, wanted_text = (tokenizer.apply_chat_template(g) for g in (given, wanted))
        assert marks.conditioned(whole, texts=[VERSE]) == wanted_text.rstrip()


class _Own:
    """A tokenizer with another chat template."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __call__(self, *args, **kwargs):
        return self._tokenizer(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def apply_chat_template(self, turns, **_):
        return self._tokenizer.apply_chat_template(turns, chat_template=CHATML, tokenize=False)


def test_other_text_gets_the_instruction_first_and_the_principles_last(member):
    (found,) = encode_under(member.encoder, [Rendered("Q: hi A: yes", "tokenizer")], under=UNDER)
    said = member.scorer.tokenizer.decode(found.ids, skip_special_tokens=True).strip()
    assert said.startswith("A reviewer judges")
    assert said.endswith(CUE)
    (plain,) = member.encoder.encode([Rendered("x", "training")])
    assert found.ids[-1] == plain.ids[-1]


def test_an_answer_is_known_without_its_principles(member):
    for text in (TURNS, Rendered(rendered(member), "training", ANSWER)):
        (found,) = encode_under(member.encoder, [text], under=UNDER)
        assert found.answer == ANSWER


def test_models_without_a_template_of_their_own_read_rendered_text_as_well(bert):
    marks = marks_of(bert.scorer.tokenizer)
    asked, judged = condition(TURNS.prompt, TURNS.answer, texts=[VERSE])
    given, wanted = rendered(bert), rendered(bert, Turns(asked, judged))
    assert marks.conditioned(given, texts=[VERSE]) == wanted


@pytest.mark.parametrize(
    ("text", "under", "cut", "problem"),
    [
        (TokenIds((5, 6)), UNDER, None, "token ids cannot be scored under principles"),
        (Rendered("a", "none"), Under((VERSE,), "answer_first"), None, "moves the answer"),
        (TURNS, UNDER, Cut(40, "right"), "would take the principles away"),
    ],
)
def test_what_has_no_room_for_principles_is_refused(member, text, under, cut, problem):
    with pytest.raises(DataError, match=problem):
        encode_under(member.encoder, [text], under=under, cut=cut)


def test_requests_without_room_for_principles_are_refused(member):
    with serving(member, under=UNDER) as served:
        for body, problem in (
            ({"input": [5, 6]}, "token ids"),
            ({"input": "a", "truncate_prompt_tokens": 3}, "of the 3 that are kept"),
            ({"input": "a", "truncate_prompt_tokens": 120, "truncation_side": "right"}, "right"),
        ):
            assert problem in str(served.post("/classify", body, status=400))


def test_principles_that_a_model_cannot_be_asked_under_are_refused_at_the_start(
    checkpoint, member, tmp_path, capsys
):
    first = with_layout(checkpoint, tmp_path / "first", "answer_first")
    for path, more, problem in (
        (first, (), "learned principles in the layout answer_first and is asked in prompt_first"),
        (checkpoint, ("--layout", "sideways"), "layout"),
        (checkpoint, ("--principle", "concize"), "did you mean 'concise'?"),
        (checkpoint, ("--principle", "many words " * 500), "name fewer or shorter ones"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["serve", path, "--port", "0", "--principle", VERSE, *more])
        printed = capsys.readouterr()
        assert (ended.value.code, printed.out) == (2, "")
        assert problem in printed.err
    with (
        pytest.raises(ConfigError, match="name fewer"),
        serving(member, under=Under(("a " * 999,))),
    ):
        pass


def test_a_server_says_which_model_is_asked_without_principles(checkpoint, learned):
    names = ("plain", "learned")
    for asked, told in (((), [learned]), (("concise",), [])):
        service = open_service(
            ServeSpec(checkpoints=(checkpoint, learned), names=names, asked=asked)
        )
        try:
            notices = service.notices()
            assert service.desks.first.under == under_named(asked)
        finally:
            service.close()
        assert [line.split(" learned")[0] for line in notices] == told
        assert all("--principle" in line for line in notices)


def test_a_log_of_texts_has_the_principles(member, caplog):
    caplog.set_level(logging.INFO, logger="tamis.serve")
    with serving(member, under=UNDER, log_text=True) as served:
        served.post("/slime", {"prompt": TALK[:1], "response": ANSWER})
    (line,) = [json.loads(record.message) for record in caplog.records]
    assert line["principles"] == [VERSE]


def test_a_reward_function_scores_under_the_principles_that_the_caller_chooses(
    checkpoint, member, tmp_path
):
    def reward(**more):
        return tamis.reward_func(checkpoint, **more)([PROMPT], [ANSWER])[0]

    not_concise = under_named(["not:concise", VERSE])
    assert len(not_concise.texts) == 2
    assert reward(principles=["not:concise", VERSE]) == pytest.approx(
        raw_of(member, under=not_concise), abs=1e-5
    )
    assert reward(principles=VERSE) == pytest.approx(raw_of(member), abs=1e-5)
    moved = Under((VERSE,), "answer_first")
    assert reward(principles=[VERSE], layout="answer_first") == pytest.approx(
        raw_of(member, under=moved), abs=1e-5
    )
    own = tmp_path / "own.yaml"
    own.write_text(f"- {{name: verse, wanted: {VERSE}, negated: Answer in prose.}}\n")
    assert reward(principles=["verse"], principle_file=own) == pytest.approx(
        raw_of(member), abs=1e-5
    )
    own.write_text("- {name: verse, wanted: Answer in prose., negated: Answer in verse.}\n")
    os.utime(own, ns=(1, 1))  # a file that was changed is read again
    assert reward(principles="not:verse", principle_file=own) == pytest.approx(
        reward(principles=VERSE), abs=1e-5
    )
    text = Rendered(rendered(member), "training")
    (ids,) = encode_under(member.encoder, [text], under=UNDER)
    plain = tamis.reward_func(checkpoint, plain="text", principles=[VERSE])
    assert plain([""], [text.text]) == pytest.approx(member.score([ids.ids]).tolist(), abs=1e-5)


def test_a_reward_function_refuses_principles_before_it_is_called(checkpoint, learned):
    with pytest.raises(ConfigError, match="unknown principle 'concize'"):
        tamis.reward_func(checkpoint, principles=["concize"])
    with pytest.raises(ConfigError, match="expected prompt_first or answer_first"):
        tamis.reward_func(checkpoint, principles=["concise"], layout="sideways")
    refused = "learned principles in the layout prompt_first and is asked in answer_first"
    with pytest.raises(ConfigError, match=refused):
        tamis.reward_func(learned, principles=["concise"], layout="answer_first")
    tamis.reward_func("org/not-here", principles=["concise"])  # nothing is fetched for it
    with pytest.raises(ConfigError, match="name fewer"):
        tamis.reward_func(checkpoint, principles=["a " * 999]).load()


def test_a_reward_function_says_once_that_principles_are_missing(checkpoint, learned, caplog):
    bare = tamis.reward_func(learned)
    asked, judged = condition(TURNS.prompt, TURNS.answer, texts=[VERSE])
    talks = [[{"role": t.role, "content": t.content} for t in part] for part in (asked, judged)]
    bare([talks[0]], [talks[1]])  # the caller has put them there
    tamis.reward_func(learned, principles=[VERSE])([PROMPT], [ANSWER])
    tamis.reward_func(checkpoint)([PROMPT], [ANSWER])
    assert not caplog.records
    for _ in range(2):
        bare([PROMPT], [ANSWER])
    (record,) = caplog.records
    assert f"{learned} learned to read principles" in record.getMessage()


def test_verl_names_principles_in_its_reward_kwargs(checkpoint, member, tmp_path):
    given = {"checkpoint": checkpoint, "extra_info": {"prompt": PROMPT}}
    found = compute_score(solution_str=ANSWER, principles=[VERSE], **given)
    assert found["score"] == pytest.approx(raw_of(member), abs=1e-5)
    bare = compute_score(solution_str=ANSWER, **given)
    assert bare["score"] == pytest.approx(raw_of(member, under=Under()), abs=1e-5)
    with pytest.raises(ConfigError, match="unknown principle"):
        compute_score(solution_str=ANSWER, principles=["concize"], **given)
    first = with_layout(checkpoint, tmp_path / "first", "answer_first")
    with pytest.raises(ConfigError, match="learned principles in the layout answer_first"):
        compute_score(solution_str=ANSWER, principles=[VERSE], **{**given, "checkpoint": first})


def test_a_calibrator_that_takes_length_out_sees_the_answer_alone(member):
    origin = Origin(data="0" * 64, model=None, num_texts=3, num_pairs=1)
    steps = (Slope("characters", 0.01, mean=0.0),)
    one = dataclasses.replace(member, calibrator=Calibrator("made", steps, origin))
    with serving(one, under=UNDER) as served:
        body = {"messages": TALK[:1], "candidates": [ANSWER]}
        (found,) = served.post("/v1/rewards", body)["candidates"]
    assert found["length_adjusted"] == pytest.approx(found["raw"] - 0.01 * len(ANSWER))
