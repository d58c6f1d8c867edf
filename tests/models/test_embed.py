"""One vector a text, from a frozen encoder."""

import numpy as np
import torch
from transformers import AutoModel

from tamis.models.config import ModelConfig
from tamis.models.embed import sentence_vectors
from tamis.models.tokenise import encode_conversations, load_tokenizer
from tamis.types import Message


def talk(text):
    return (Message("user", text), Message("assistant", "good dog"))


def test_a_vector_is_the_mean_of_the_last_states_and_long_texts_lose_their_start(
    tiny_bert, tmp_path
):
    config = ModelConfig(path=tiny_bert)
    long, end = "fox " * 200, "what a question, 12345?"
    chunks = [[talk("a fox"), talk(long + end)], [talk("a fox"), talk("bad " * 99 + long + end)]]
    vectors = sentence_vectors(config, chunks, work=tmp_path)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], vectors[3])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3

    model = AutoModel.from_pretrained(tiny_bert).eval()
    texts = [text for chunk in chunks for text in chunk]
    for ids, vector in zip(
        encode_conversations(load_tokenizer(config), texts, max_length=64), vectors, strict=True
    ):
        assert len(ids) <= 64
        with torch.no_grad():
            mean = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(vector, mean.numpy(), atol=1e-5)
