"""The generalised cross-entropy. Shapes: B pairs of a batch."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from tamis.errors import ConfigError

BOUNDED = True


def generalised_cross_entropy(gap_B: Tensor, *, q: float = 0.7) -> Tensor:
    """Return ``(1 - p^q) / q`` with ``p = sigmoid(gap)``: no label costs more than 1 / q.

    Between Bradley-Terry (``q`` towards 0) and the absolute error ``1 - p`` (``q = 1``). A pair
    that is badly misordered hardly pulls any more: a wrong label is left alone, and so is a right
    one that the model has the wrong way round. Reference: Zhang and Sabuncu 2018 (the loss L_q),
    for two classes.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.
        q: above 0, at most 1; 0.7 is the paper's.

    Returns:
        The loss of each pair, in [0, 1 / q], in the type of ``gap_B``.

    Raises:
        ConfigError: ``q`` is out of range.

    >>> import torch
    >>> generalised_cross_entropy(torch.tensor([-1e4, 0.0]), q=0.5).tolist()
    [2.0, 0.5857864618301392]
    """
    if not 0 < q <= 1:
        raise ConfigError(f"generalised_cross_entropy: q is {q}, expected a number in (0, 1]")
    return -(q * logsigmoid(gap_B)).expm1() / q
