"""One vector a text from a frozen encoder, to tell how alike texts are.

Shapes: M texts, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.models.config import ModelConfig
from tamis.models.features import pooled_features
from tamis.models.tokenise import encode_conversations, load_tokenizer
from tamis.runs.scratch import RaggedWriter, scratch_array
from tamis.types import Conversation


def sentence_vectors(
    config: ModelConfig, chunks: Iterable[Sequence[Conversation]], *, work: Path
) -> NDArray[np.float32]:
    """Return the mean of the last hidden states of each conversation, [M, D], in a scratch file.

    A conversation is rendered as for training. A text that is too long loses its oldest tokens.
    Each distinct text is computed once, and kept in ``work``: see `pooled_features`.

    Args:
        config: the encoder; any model does.
        chunks: M conversations, a list of them at a time, one at least.
        work: a folder.

    Raises:
        ConfigError: the model cannot be loaded, or the folder cannot be written.
        DataError: the encoder's chat template refuses a conversation.
    """
    tokenizer = load_tokenizer(config)
    max_length = int(tokenizer.model_max_length)
    with RaggedWriter(dtype=np.int32, folder=work) as writer:
        for chunk in chunks:
            for ids in encode_conversations(tokenizer, chunk, max_length=max_length):
                writer.add(ids)
        sequences = writer.finish()
    vectors_MD = np.zeros((0, 0), np.float32)
    for found in pooled_features(config, sequences, cache=work):
        last_UD = found.features_ULD[:, -1]
        if not len(vectors_MD):
            shape = (len(sequences), last_UD.shape[1])
            vectors_MD = scratch_array(shape, dtype=np.float32, folder=work)
        vectors_MD[found.rows] = last_UD[found.which]
    return vectors_MD
