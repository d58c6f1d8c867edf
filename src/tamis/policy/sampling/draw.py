"""Drawing the next token of each response with one random number.

torch draws from a distribution over V tokens with V exponential random numbers a response; with a
vocabulary of 49,152 that is a third of what sampling from SmolLM2-135M takes on a CPU. Where the
sum of the probabilities up to a token first exceeds a uniform random number, the same distribution
is drawn from with one.

Shape legend: R responses, V tokens of the vocabulary, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tamis.policy.sampling.config import Sampling


class DrawToken(LogitsProcessor):
    """Draws a token from each row of scores and leaves it alone above minus infinity.

    Greedy decoding behind it takes what was drawn. The random numbers are those of torch's own
    generator on the device of the scores.
    """

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Return 0 for the token that was drawn and minus infinity for all others, [R, V]."""
        drawn_R1 = draw_token(scores)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn_R1, 0.0)


def draw_token(scores_RV: Tensor) -> Tensor:
    """Return a token for each row of logits, [R, 1]; one at minus infinity is never drawn."""
    # in float64, since 49,152 sums in float32 round rare tokens
    sums_RV = scores_RV.softmax(dim=-1, dtype=torch.float32).cumsum(dim=-1, dtype=torch.float64)
    total_R1 = sums_RV[:, -1:]
    below_R1 = torch.nextafter(total_R1, torch.zeros_like(total_R1))
    at_R1 = torch.minimum(torch.rand_like(total_R1) * total_R1, below_R1)
    return torch.searchsorted(sums_RV, at_R1, right=True)


def chance(how: Sampling) -> dict[str, Any]:
    """Return what ``generate`` is told of how tokens are drawn."""
    if how.temperature == 0:
        return {"do_sample": False}
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(how.temperature)]
    if how.top_k > 0:
        steps.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        steps.append(TopPLogitsWarper(how.top_p))
    return {"do_sample": False, "logits_processor": LogitsProcessorList([*steps, DrawToken()])}
