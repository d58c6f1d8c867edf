"""The Plackett-Luce loss of rankings. Shapes: B pairs of a batch, W texts that win some of them."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

BOUNDED = False


def plackett_luce(gap_B: Tensor, *, winner_B: Tensor) -> Tensor:
    """Return each pair's share of the negative log-likelihood of the rankings that pairs make up.

    A text ``i`` that beats the texts ``j`` of the batch is the best of them with probability
    softmax, which costs

        L_i = log(exp(s_i) + sum_j exp(s_j + margin_ij)) - s_i = softplus(log sum_j exp(-gap_ij))

    and is shared equally by the pairs that ``i`` wins. So the sum over the batch is the sum of
    ``L_i`` over winners: for all pairs of a total order the Plackett-Luce likelihood, for the best
    of n against the rest one softmax, for a pair alone Bradley-Terry, bit for bit. The pairs that a
    text wins have to be in one batch; those that are in another make a likelihood of their own
    there. A pair that is there twice counts twice. Reference: Plackett 1975; Zhu, Jordan and Jiao
    2023 ("Principled RLHF from Pairwise or K-wise Comparisons"), with margins added.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.
        winner_B: a number for the better answer of each pair, the same for the same text.

    Returns:
        The shares in nats, in the type of ``gap_B``.

    >>> import torch
    >>> gap_B = torch.zeros(3)  # three texts without a difference: a beats b and c, b beats c
    >>> plackett_luce(gap_B, winner_B=torch.tensor([0, 0, 1])).sum().exp().round().item()
    6.0
    """
    winner_W, place_B = torch.unique(winner_B, return_inverse=True)
    lead_B = -gap_B
    top_W = torch.full_like(winner_W, -torch.inf, dtype=gap_B.dtype)
    top_W = top_W.scatter_reduce(0, place_B, lead_B.detach(), "amax")
    rest_W = torch.zeros_like(top_W).index_add(0, place_B, (lead_B - top_W[place_B]).exp())
    loss_W = -logsigmoid(-(top_W + rest_W.log()))
    return (loss_W / torch.bincount(place_B))[place_B]
