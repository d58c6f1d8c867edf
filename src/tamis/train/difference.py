"""How far apart a reward model scores the responses to one prompt, which MetaRM makes larger.

Shapes: M prompts, Q pairs of responses to the same prompt, k responses to a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ResponsePairs:
    """The Q pairs of responses to the same prompt: which two, and how many responses there are.

    Responses are numbered from 0 over all prompts; each pair is there once.
    """

    first_Q: Places
    second_Q: Places
    count_Q: Places


def response_pairs(counts: Sequence[int]) -> ResponsePairs:
    """Return the pairs of responses of prompts that have so many of them, at least two each.

    >>> pairs = response_pairs([2, 3])
    >>> pairs.first_Q.tolist(), pairs.second_Q.tolist(), pairs.count_Q.tolist()
    ([0, 2, 2, 3], [1, 3, 4, 4], [2, 3, 3, 3])
    """
    first, second = zip(*(np.triu_indices(count, k=1) for count in counts), strict=True)
    num_pairs = [len(one) for one in first]
    start_Q = np.repeat(np.cumsum([0, *counts[:-1]]), num_pairs)
    return ResponsePairs(
        first_Q=np.concatenate(first) + start_Q,
        second_Q=np.concatenate(second) + start_Q,
        count_Q=np.repeat(counts, num_pairs),
    )


def difference_loss(gap_Q: Tensor, *, count_Q: Tensor, num_prompts: int) -> Tensor:
    """Return each pair's part of the difference loss, [Q]; their sum is

        J = 1/M sum over prompts of 2/k^2 sum_{i<j} sigmoid(abs(r_i - r_j))

    J of a prompt lies in [(k - 1) / (2k), (k - 1) / k): the first where all its scores are equal,
    and it is *maximised*. Equal scores have no gradient. Reference: MetaRM, arXiv 2405.00438
    (equation 11 of arXiv 2401.06080). The mean over prompts is ours: the papers do not write how
    they are reduced.

    Args:
        gap_Q: the score of one response minus that of another to the same prompt.
        count_Q: how many responses k the prompt has, at least 2.
        num_prompts: M, of all micro-batches of all processes together.

    >>> two = torch.tensor([2])
    >>> float(difference_loss(torch.zeros(1), count_Q=two, num_prompts=1))
    0.25
    """
    return torch.sigmoid(gap_Q.abs()) * 2.0 / (count_Q.square() * num_prompts)


def spread(gap_Q: Tensor, *, count_Q: Tensor, num_prompts: int) -> Tensor:
    """Return each pair's part of the mean absolute difference within a prompt, over M prompts [Q].

        1/M sum over prompts of 2/(k (k - 1)) sum_{i<j} abs(r_i - r_j)

    >>> two = torch.tensor([2])
    >>> float(spread(torch.tensor([-3.0]), count_Q=two, num_prompts=1))
    3.0
    """
    return gap_Q.abs() * 2.0 / (count_Q * (count_Q - 1) * num_prompts)
