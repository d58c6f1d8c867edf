"""A real decoder, whole and cut to eight layers: shared rows score as padded rows do."""

import pytest
import torch

from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows, row_plan
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.padded import pad_right
from tamis.models.score import score_pairs, score_sequences
from tamis.models.tokenise import encode_conversations, load_tokenizer, pad_id_of
from tamis.studies.decoder import smollm2_checkpoint
from tamis.types import Message, Pair

PROMPTS = (
    "Name the capital of France, and say in one sentence why it became the capital.",
    "My neighbour plays the drums at night. How do I ask him to stop without a quarrel?",
)
ANSWERS = (
    "Paris. It grew where roads met the Seine, and kings settled there.",
    "Paris.",
    "I would knock in the afternoon, bring a cake, and ask for quiet after ten.",
    "Call the police at once!",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(smollm2_checkpoint(tmp_path_factory.mktemp("models")))


def conversations() -> list[tuple[Message, ...]]:
    return [
        (Message("user", prompt), Message("assistant", answer))
        for prompt in PROMPTS
        for answer in ANSWERS
    ]


@pytest.mark.slow
@pytest.mark.parametrize("num_layers", [None, 8])
def test_shared_rows_score_as_padded_rows_do(checkpoint: str, num_layers: int | None) -> None:
    config = ModelConfig(path=checkpoint, max_length=128, num_layers=num_layers)
    tokenizer = load_tokenizer(config)
    model = load_reward_model(config, seed=0, pad_token_id=pad_id_of(tokenizer))
    sequences = encode_conversations(tokenizer, conversations(), max_length=128)
    ids_ST, mask_ST = pad_right(sequences, pad_id=pad_id_of(tokenizer))
    with torch.no_grad():
        padded_S = model(input_ids=ids_ST, attention_mask=mask_ST).logits[:, 0]
    assert padded_S.std() > 1e-3
    plan = choose_rows(model, max_length=128)
    assert plan.kind == "shared", plan.why
    tree = plan.tree(sequences)
    assert len(tree.token_ids) < 0.6 * sum(map(len, sequences))
    with torch.no_grad():
        inputs = model_inputs(sequences, plan=plan, pad_id=pad_id_of(tokenizer))
        shared_S = model(**inputs).logits[:, 0]
    torch.testing.assert_close(shared_S, padded_S, atol=1e-5, rtol=0)
    scores_S = score_sequences(model, sequences, pad_id=pad_id_of(tokenizer), batch_tokens=150)
    torch.testing.assert_close(torch.from_numpy(scores_S), padded_S, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_end_token_is_read_and_not_the_newline_after_it(checkpoint: str) -> None:
    """SmolLM2's template ends a turn with its end token and a newline, like Qwen's."""
    config = ModelConfig(path=checkpoint, max_length=128, num_layers=2)
    tokenizer = load_tokenizer(config)
    sequences = encode_conversations(tokenizer, conversations()[:1], max_length=128)
    assert tokenizer.convert_ids_to_tokens([sequences[0][-1]]) == ["<|im_end|>"]
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    model = load_reward_model(config, seed=0, pad_token_id=pad_id_of(tokenizer))
    choose_rows(model, max_length=128)
    assert row_plan(model).kind == "shared"
    prompt, answers = conversations()[0][:1], [text[1:] for text in conversations()[:2]]
    pair = Pair("p", prompt, answers[0], answers[1], group="g", row=0)
    scores = score_pairs(model, tokenizer, [pair], max_length=128)
    assert scores.chosen_N[0] != scores.rejected_N[0]
