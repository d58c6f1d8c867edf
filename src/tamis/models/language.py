"""The language model head of a decoder, and log-probabilities without a table of all logits.

Shapes: T tokens, Q tokens that are predicted, D hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tamis.errors import ConfigError, shorten
from tamis.models.config import ModelConfig
from tamis.models.load import load_language_model

CHUNK_LOGITS = 2**24  # 64 MiB of float32
PROBE_TOKENS = 8
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.05}


class LanguageHead(nn.Module):
    """Logits of the next token, a linear function of a decoder's last states, perhaps capped.

    Its weights are no parameters: they are frozen, or (``weight_VD`` is ``None``) the input
    embeddings of the decoder, which are given with each call and trained with it.
    """

    weight_VD: Tensor | None
    bias_V: Tensor | None

    def __init__(
        self, *, weight_VD: Tensor | None, bias_V: Tensor | None, softcap: float | None
    ) -> None:
        super().__init__()
        self.register_buffer("weight_VD", weight_VD, persistent=False)
        self.register_buffer("bias_V", bias_V, persistent=False)
        self.softcap = softcap

    def forward(self, states_QD: Tensor, embeddings_VD: Tensor) -> Tensor:
        """Return the logits of the tokens that follow [Q, V], in float32 or better."""
        weight_VD = embeddings_VD if self.weight_VD is None else self.weight_VD
        bias_V = None if self.bias_V is None else self.bias_V.to(weight_VD.dtype)
        logits_QV = linear(states_QD.to(weight_VD.dtype), weight_VD, bias_V)
        logits_QV = logits_QV.to(torch.promote_types(logits_QV.dtype, torch.float32))
        if self.softcap is None:
            return logits_QV
        return self.softcap * torch.tanh(logits_QV / self.softcap)


def load_language_head(config: ModelConfig) -> LanguageHead:
    """Return the language model head of a checkpoint; of its layers, one is loaded for a check.

    Raises:
        ConfigError: see `language_head`, or the checkpoint cannot be loaded.
    """
    one_layer = config.model_copy(update={"num_layers": 1})
    return language_head(load_language_model(one_layer), path=config.path)


def language_head(model: PreTrainedModel, *, path: str) -> LanguageHead:
    """Return the head of a language model, checked against the model's own logits.

    Raises:
        ConfigError: the model reads in both directions, or its logits are another function of its
            states than a linear one with a cap.
    """
    output: nn.Linear = cast(Any, model).get_output_embeddings()
    embeddings_VD = _embeddings(model)
    is_tied = output.weight.data_ptr() == embeddings_VD.data_ptr()
    head = LanguageHead(
        weight_VD=None if is_tied else output.weight.detach(),
        bias_V=None if output.bias is None else output.bias.detach(),
        softcap=getattr(model.config.get_text_config(), "final_logit_softcapping", None),
    )
    ids_2T = torch.arange(PROBE_TOKENS, device=model.device).repeat(2, 1) % len(embeddings_VD)
    ids_2T[1, -1] = (ids_2T[1, -1] + 1) % len(embeddings_VD)
    with torch.no_grad():
        states_2TD = model.base_model(input_ids=ids_2T).last_hidden_state
        wanted_2TV = model(input_ids=ids_2T).logits.float()
        found_2TV = head.to(model.device)(states_2TD, embeddings_VD)
    tolerance = TOLERANCE.get(model.dtype, max(TOLERANCE.values()))
    if not torch.allclose(states_2TD[0, :-1], states_2TD[1, :-1], atol=tolerance):
        raise ConfigError(
            f"model {shorten(path)} reads texts in both directions; expected a decoder with its "
            "language model head, such as a base or a chat model"
        )
    if not torch.allclose(found_2TV, wanted_2TV, rtol=tolerance, atol=tolerance):
        raise ConfigError(
            f"model {shorten(path)}: the logits of {type(model).__name__} are more than its "
            "language model head on its last states; expected another decoder"
        )
    return head


def next_log_probs(
    head: LanguageHead,
    states_QD: Tensor,
    target_Q: Tensor,
    *,
    embeddings_VD: Tensor,
    chunk_logits: int = CHUNK_LOGITS,
) -> Tensor:
    """Return the log-probability of each token after the state before it, float32 or better [Q].

    Logits are made for a few tokens at a time, at most ``chunk_logits`` numbers (or one token), and
    made again on the way back: neither they nor their gradient are ever there for all tokens.
    """
    num_rows = max(1, chunk_logits // len(embeddings_VD))

    def chunk(states: Tensor, target: Tensor) -> Tensor:
        return -cross_entropy(head(states, embeddings_VD), target, reduction="none")

    parts = [
        cast(Tensor, checkpoint(chunk, *part, use_reentrant=False, preserve_rng_state=False))
        for part in zip(
            torch.split(states_QD, num_rows), torch.split(target_Q, num_rows), strict=True
        )
    ]
    return torch.cat(parts)


def _embeddings(model: PreTrainedModel) -> Tensor:
    return cast(nn.Embedding, model.get_input_embeddings()).weight
