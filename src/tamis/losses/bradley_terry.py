"""The Bradley-Terry loss. Shapes: B pairs of a batch."""

from torch import Tensor
from torch.nn.functional import logsigmoid

BOUNDED = False


def bradley_terry(gap_B: Tensor) -> Tensor:
    """Return ``-log sigmoid(gap)``, the negative log-likelihood that the better answer wins.

    Written as log-sigmoid, never as log(sigmoid + eps), which loses its gradient on badly
    misordered pairs. Reference: Bradley and Terry 1952; Ouyang et al. 2022, equation 1 (without its
    factor 1 / (K choose 2): the reduction is the trainer's).

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.

    Returns:
        The loss of each pair in nats, in the type of ``gap_B``.

    >>> import torch
    >>> bradley_terry(torch.tensor([0.0, -20.0])).tolist()
    [0.6931471824645996, 20.0]
    """
    return -logsigmoid(gap_B)
