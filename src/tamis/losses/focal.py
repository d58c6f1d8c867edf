"""The focal loss. Shapes: B pairs of a batch."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from tamis.errors import ConfigError

BOUNDED = False


def focal(gap_B: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Return ``-(1 - p)^gamma log p`` with ``p = sigmoid(gap)``: pairs that are right count less.

    The focus on what is still misordered is also a focus on wrong labels. ``gamma = 0`` is
    Bradley-Terry. Computed from log-sigmoids alone. Reference: Lin et al. 2017, equation 4, with
    the gap as the logit and without class weights.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.
        gamma: at least 0.

    Returns:
        The loss of each pair in nats, in the type of ``gap_B``.

    Raises:
        ConfigError: ``gamma`` is negative.

    >>> import torch
    >>> focal(torch.tensor([-20.0, 0.0]), gamma=1.0).tolist()
    [20.0, 0.3465735912322998]
    """
    if gamma < 0:
        raise ConfigError(f"focal: gamma is {gamma}, expected a number of at least 0")
    return -logsigmoid(gap_B) * (gamma * logsigmoid(-gap_B)).exp()
