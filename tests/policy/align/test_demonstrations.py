import json

import pytest
import torch

from tamis.data.responses import Responses, read_responses
from tamis.errors import DataError
from tamis.losses.bradley_terry import bradley_terry
from tamis.policy.align.demonstrations import demonstration_pairs, read_demonstrations
from tamis.types import Message, Verdict


def user(text):
    return (Message("user", text),)


def said(text):
    return (Message("assistant", text),)


DEMOS = [(user("q"), said("good")), (user("r"), said("fine")), (user("s"), said("none"))]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_demonstrations_are_read_in_every_form(tmp_path):
    rows = [
        {"prompt": "q", "response": "good"},
        {"question": "q", "completion": [{"role": "assistant", "content": "good"}]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}]},
    ]
    found = read_demonstrations(write(tmp_path / "demos.jsonl", rows))
    assert found == [DEMOS[0]] * 3


def test_a_transcript_meets_the_samples_for_the_same_prompt(tmp_path):
    text = "\n\nHuman: q\n\nAssistant:"
    found = read_demonstrations(write(tmp_path / "d.jsonl", [{"prompt": text, "chosen": " good"}]))
    assert found == [DEMOS[0]]
    samples = write(tmp_path / "s.jsonl", [{"prompt": text, "responses": [" bad", " good"]}])
    pairs = demonstration_pairs(found, read_responses(samples))
    assert [(pair.prompt, pair.rejected) for pair in pairs.pairs] == [(user("q"), said("bad"))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "response": " "}, "field 'response': expected an answer"),
        ({"messages": [{"role": "user", "content": "q"}]}, "field 'messages': expected an answer"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "expected a prompt before"),
        ({"prompt": "q"}, "row 0 .*'messages'"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path, row, message):
    path = write(tmp_path / "demos.jsonl", [row])
    with pytest.raises(DataError, match=message):
        read_demonstrations(path)


def test_demonstrations_are_paired_with_samples_of_their_prompts():
    samples = [
        Responses(user("q"), (said("bad"), said("good"), ()), 0),
        Responses(user("q"), (said("bad"), said("worse")), 1),
        Responses(user("other"), (said("x"),), 2),
        Responses(user("r"), (said("no"),), 3),
    ]
    found = demonstration_pairs(DEMOS, samples, weight=0.5)
    sides = [(pair.prompt, pair.chosen, pair.rejected) for pair in found.pairs]
    assert sides == [
        (user("q"), said("good"), said("bad")),
        (user("q"), said("good"), said("worse")),
        (user("r"), said("fine"), said("no")),
    ]
    assert (found.num_identical, found.num_without_sample) == (1, 1)
    assert found.verdicts[0] == Verdict(found.pairs[0].id, weight=0.5, reason="demonstration")
    assert len({pair.id for pair in found.pairs}) == 3


def test_the_linear_surrogate_is_a_margin_under_bradley_terry():
    samples = [Responses(user("q"), (said("bad"),), 0)]
    (verdict,) = demonstration_pairs(DEMOS, samples, form="linear").verdicts
    assert (verdict.target, verdict.weight) == (1.0, 1.0)
    delta_B = torch.linspace(-20, 20, 9, requires_grad=True)
    loss_B = bradley_terry(delta_B - verdict.margin)
    (slope_B,) = torch.autograd.grad(loss_B.sum(), delta_B)
    assert slope_B.tolist() == [-1.0] * 9
    assert (loss_B + delta_B - verdict.margin).abs().max() < 1e-5


def test_without_a_pair_there_is_nothing_to_train_on():
    with pytest.raises(DataError, match="3 have no sample for their prompt"):
        demonstration_pairs(DEMOS, [])
