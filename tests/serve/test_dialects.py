"""Each wire format, to the field, as its clients read it."""

import base64
import struct

import pytest
from serving import BODIES, TALK, serving

from tamis.serve.errors import ErrorBody
from tamis.serve.llamafactory import EvaluationResponse
from tamis.serve.openai import Cards, EmbeddingResponse
from tamis.serve.openrlhf import RewardResponse
from tamis.serve.texts import Rendered, TokenIds, Turns
from tamis.serve.vllm import Listing
from tamis.types import Message

TEXTS = ["<s><|user|>\nHi</s>\n<|assistant|>\nHello!</s>", "A worse answer 0123456789."]


@pytest.fixture
def raw(member):
    """The score of a text, from the model itself."""

    def score(text, cut=None):
        (encoded,) = member.encoder.encode([text], cut=cut)
        return float(member.score([encoded.ids])[0])

    return score


def close(value):
    return pytest.approx(value, abs=1e-5)


def test_openrlhf_gets_rewards_and_probabilities(served, raw):
    body = {"query": TEXTS, "prompts": ["<s><|user|>\nHi</s>\n", ""], "labels": ["x", None]}
    found = served.post("/get_reward", body)
    RewardResponse.model_validate(found)
    rewards = [raw(Rendered(text, "training")) for text in TEXTS]
    assert found["rewards"] == close(rewards)
    assert all(0 <= score <= 1 for score in found["scores"])
    assert found["scores"][0] == close(1 / (1 + 2.718281828459045 ** -rewards[0]))
    assert set(found) == {"rewards", "scores", "extra_logs"}
    assert all(len(values) == 2 for values in found["extra_logs"].values())
    assert found["extra_logs"]["reward_truncated"] == [0, 0]


def test_openrlhf_splits_one_sample_over_several_servers(served):
    empty = {
        "rewards": [],
        "scores": [],
        "extra_logs": {"reward_tokens": [], "reward_truncated": []},
    }
    assert served.post("/get_reward", {"query": [], "prompts": [], "labels": []}) == empty


def test_probability_is_against_an_answer_of_mean_score(other):
    with serving(other) as served:
        body = {"query": ["a"], "prompts": [None], "labels": [None]}
        found = served.post("/get_reward", body)
        gap = found["rewards"][0] - 0.5
        assert found["scores"] == close([1 / (1 + 2.718281828459045**-gap)])


def listing(found, data, *, kind, num_tokens):
    Listing.model_validate(found)
    assert found.pop("id").startswith(f"{kind}-")
    assert isinstance(found.pop("created"), int)
    usage = {
        "prompt_tokens": num_tokens,
        "total_tokens": num_tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }
    assert found == {"object": "list", "model": "rm", "data": data, "usage": usage}


def test_classify_of_texts_ids_and_messages(served, raw, member):
    def row(index, text):
        return {"index": index, "label": "reward", "probs": [close(raw(text))], "num_classes": 1}

    tokenizer = member.scorer.tokenizer
    found = served.post("/classify", {"model": "rm", "input": TEXTS, "use_activation": False})
    num_tokens = len(tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"]) + len(
        tokenizer(TEXTS[1])["input_ids"]
    )
    rows = [row(n, Rendered(text, "tokenizer")) for n, text in enumerate(TEXTS)]
    listing(found, rows, kind="classify", num_tokens=num_tokens)
    found = served.post("/classify", {"input": TEXTS[1], "add_special_tokens": False})
    expected = raw(Rendered(TEXTS[1], "none"))
    assert found["data"][0]["probs"] == close([expected])
    assert expected != close(raw(Rendered(TEXTS[1], "tokenizer")))
    assert served.post("/classify", {"input": [5, 6, 7]})["data"] == [row(0, TokenIds((5, 6, 7)))]
    found = served.post("/classify", {"input": [[5, 6, 7], [8, 9]]})["data"]
    assert found == [row(0, TokenIds((5, 6, 7))), row(1, TokenIds((8, 9)))]
    body = {"messages": TALK, "add_generation_prompt": False}
    talk = Turns((Message("user", TALK[0]["content"]),), (Message("assistant", "A fox."),))
    assert served.post("/classify", body)["data"] == [row(0, talk)]


def test_raw_scores_are_the_default_and_a_sigmoid_has_two_names(served):
    def score(**options):
        return served.post("/classify", {"input": TEXTS[1], **options})["data"][0]["probs"][0]

    value = score()
    sigmoid = 1 / (1 + 2.718281828459045**-value)
    assert score(use_activation=False) == score(activation=False) == value
    assert score(use_activation=None, activation=None) == value
    assert score(use_activation=True) == score(activation=True) == close(sigmoid)
    assert score(use_activation=False, activation=True) == value
    pooled = served.post("/pooling", {"input": TEXTS[1], "use_activation": True})
    assert pooled["data"][0]["data"] == close([sigmoid])


def scores_of_every_endpoint(served, texts):
    def rows(path, body):
        return served.post(path, body)["data"]

    classified = rows("/classify", {"input": texts})
    embedded = rows("/v1/embeddings", {"input": texts})
    found = {
        "/get_reward": served.post("/get_reward", {"query": texts})["rewards"],
        "/classify": [row["probs"][0] for row in classified],
        "/pooling": [row["data"][0] for row in rows("/pooling", {"input": texts})],
        "/score": [row["score"] for row in rows("/score", {"queries": "q", "documents": texts})],
        "/v1/embeddings": [row["embedding"][0] for row in embedded],
        "/v1/score/evaluation": served.post("/v1/score/evaluation", {"messages": texts})["scores"],
        "/slime": [served.post("/slime", {"prompt": "q", "response": text}) for text in texts],
        "/v1/rewards": [
            row["raw"] for row in served.post("/v1/rewards", {"candidates": texts})["candidates"]
        ],
    }
    assert set(found) == set(BODIES)
    return found


def test_scores_above_one_and_below_zero_leave_each_endpoint(served, member):
    def widen(_, __, output):
        output.logits = 1000 * (output.logits - middle)
        return output

    texts = ["a", "fox", "A worse answer 0123456789.", "Hello! " * 9]
    for endpoint, narrow in scores_of_every_endpoint(served, texts).items():
        middle = sum(narrow) / len(narrow)
        hook = member.scorer.model.register_forward_hook(widen)
        try:
            wide = scores_of_every_endpoint(served, texts)[endpoint]
        finally:
            hook.remove()
        assert wide == pytest.approx([1000 * (score - middle) for score in narrow], abs=0.01)
        assert max(wide) > 1, endpoint
        assert min(wide) < 0, endpoint


def test_pooling_is_a_vector_of_one_number(served, raw):
    found = served.post("/pooling", {"input": "a fox", "encoding_format": "float"})
    value = raw(Rendered("a fox", "tokenizer"))
    rows = [{"index": 0, "object": "pooling", "data": [close(value)]}]
    listing(found, rows, kind="pool", num_tokens=found["usage"]["total_tokens"])
    coded = served.post("/pooling", {"input": "a fox", "encoding_format": "base64"})
    (number,) = struct.unpack("<f", base64.b64decode(coded["data"][0]["data"]))
    assert number == close(value)


@pytest.mark.parametrize(("queries", "documents"), [("queries", "documents"), ("text_1", "text_2")])
def test_score_reads_couples_under_both_names(served, raw, queries, documents):
    def couple(query, document):
        return raw(Turns((Message("user", query),), (Message("assistant", document),)))

    found = served.post("/score", {"model": "rm", queries: "q", documents: ["a", "b fox"]})
    rows = [
        {"index": n, "object": "score", "score": close(couple("q", text))}
        for n, text in enumerate(["a", "b fox"])
    ]
    listing(found, rows, kind="score", num_tokens=found["usage"]["total_tokens"])
    found = served.post("/score", {queries: ["q", "r"], documents: ["a", "b fox"]})
    expected = [couple("q", "a"), couple("r", "b fox")]
    assert [row["score"] for row in found["data"]] == close(expected)
    served.post("/score", {queries: ["q", "r"], documents: ["a"]}, status=400)


@pytest.mark.parametrize("path", ["/classify", "/pooling"])
def test_truncation_keeps_the_side_that_is_asked_for(served, path):
    ids = list(range(10, 22))

    def score(given, **options):
        (row,) = served.post(path, {"input": given, **options})["data"]
        return row.get("probs", row.get("data"))

    left = score(ids, truncate_prompt_tokens=5)
    assert left == score(ids[-5:]) == score(ids, truncate_prompt_tokens=5, truncation_side="left")
    assert score(ids, truncate_prompt_tokens=5, truncation_side="right") == score(ids[:5]) != left
    assert score(ids, truncate_prompt_tokens=-1) == score(ids)
    for wrong in (0, -2, 10**6, "5"):
        served.post(path, {"input": ids, "truncate_prompt_tokens": wrong}, status=400)


def test_embeddings_are_as_sglang_and_openai_send_them(served, raw):
    found = served.post("/v1/embeddings", {"model": "rm", "input": "a fox"})
    EmbeddingResponse.model_validate(found)
    value = raw(Rendered("a fox", "tokenizer"))
    num_tokens = found["usage"]["prompt_tokens"]
    assert found == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [close(value)]}],
        "model": "rm",
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
    }
    coded = served.post("/v1/embeddings", {"input": ["a fox"], "encoding_format": "base64"})
    (number,) = struct.unpack("<f", base64.b64decode(coded["data"][0]["embedding"]))
    assert number == close(value)
    for wrong in (2, True, "1"):
        served.post("/v1/embeddings", {"input": "a", "dimensions": wrong}, status=400)


def test_models_are_listed(served, member):
    found = served.client.get("/v1/models").json()
    Cards.model_validate(found)
    (card,) = found["data"]
    assert isinstance(card.pop("created"), int)
    length = member.encoder.max_length
    assert card == {"id": "rm", "object": "model", "owned_by": "tamis", "max_model_len": length}


def test_llamafactory_gets_scores(served, raw):
    body = {"model": "model", "messages": TEXTS, "max_length": None}
    found = served.post("/v1/score/evaluation", body)
    EvaluationResponse.model_validate(found)
    assert found.pop("id").startswith("scoreval-")
    scores = [close(raw(Rendered(text, "training"))) for text in TEXTS]
    assert found == {"object": "score.evaluation", "model": "rm", "scores": scores}
    short = served.post("/v1/score/evaluation", {**body, "max_length": 4})["scores"]
    assert short != close(found["scores"])
    served.post("/v1/score/evaluation", {**body, "max_length": 10**6})  # as much as can be read


def test_slime_gets_a_number(served, raw):
    talk = Turns((Message("user", "q"),), (Message("assistant", "a fox"),))
    body = {"prompt": [{"role": "user", "content": "q"}], "response": "a fox", "label": "x"}
    assert served.post("/slime", body) == close(raw(talk))
    text = Rendered("q: a fox", "training")
    assert served.post("/slime", {"prompt": "q:", "response": " a fox"}) == close(raw(text))


def test_empty_lists_are_answered_with_empty_lists(served):
    assert served.post("/classify", {"input": []})["data"] == []
    assert served.post("/pooling", {"input": []})["data"] == []
    assert served.post("/score", {"queries": "q", "documents": []})["data"] == []
    assert served.post("/v1/embeddings", {"input": []})["data"] == []
    assert served.post("/v1/score/evaluation", {"messages": []})["scores"] == []
    found = served.post("/v1/rewards", {"candidates": []})
    assert (found["candidates"], found["best"]) == ([], None)


@pytest.mark.parametrize("path", sorted({*BODIES} - {"/get_reward", "/slime"}))
def test_models_are_found_by_served_names_alone(served, checkpoint, path):
    served.post(path, {**BODIES[path], "model": "rm"})
    for name in ("gpt-9", checkpoint, "../../etc/passwd", ""):
        found = served.post(path, {**BODIES[path], "model": name}, status=404)
        assert ErrorBody.model_validate(found).error.type == "not_found"


def test_clients_that_know_an_address_alone_name_the_model_in_it(served):
    for path in ("/get_reward", "/slime"):
        assert served.post(f"{path}?model=rm", BODIES[path]) == served.post(path, BODIES[path])
        served.post(f"{path}?model=other", BODIES[path], status=404)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify", {}),
        ("/classify", {"input": "a", "messages": TALK}),
        ("/classify", {"messages": []}),
        ("/classify", {"messages": TALK, "add_generation_prompt": True}),
        ("/classify", {"messages": TALK, "chat_template": "{{ messages }}"}),
        ("/classify", {"input": ["a", 3]}),
        ("/classify", {"input": [True]}),
        ("/classify", {"input": [[5, 10**40]]}),
        ("/get_reward", {"query": ["a", "b"], "prompts": ["a"]}),
        ("/get_reward", {"query": "a"}),
        ("/slime", {"prompt": "q"}),
        ("/v1/rewards", {"candidates": [[]]}),
        ("/v1/rewards", {"candidates": [TALK[:1]]}),
        ("/v1/rewards", {"candidates": ["a"], "principles": ["no_such_name"]}),
        ("/v1/rewards", {"candidates": ["a"], "principles": ["many words " * 500]}),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_form(served, path, body):
    found = ErrorBody.model_validate(served.post(path, body, status=400))
    assert (found.error.type, found.error.code) == ("invalid_request", 400)


def test_every_answer_of_the_description_is_declared(served):
    paths = served.client.get("/openapi.json").json()["paths"]
    assert set(paths) == {*BODIES, "/v1/models", "/health", "/metrics"}
    for path in BODIES:
        assert set(paths[path]["post"]["responses"]) == {"200", "4XX", "500", "503"}
    assert served.client.get("/docs").status_code == 200
    assert served.client.get("/no/such/page").json()["error"]["type"] == "not_found"
