"""The hinge loss. Shapes: B pairs of a batch."""

from torch import Tensor

BOUNDED = False


def hinge(gap_B: Tensor) -> Tensor:
    """Return ``max(0, 1 - gap)``: pairs that are right by 1 or more are done with.

    The verdict's margin asks for more than 1 where it is positive. Reference: Herbrich, Graepel and
    Obermayer 1999 (ranking with support vectors), without the penalty on the weights.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.

    Returns:
        The loss of each pair, in the type of ``gap_B``.

    >>> import torch
    >>> hinge(torch.tensor([-2.0, 0.0, 0.5, 3.0])).tolist()
    [3.0, 1.0, 0.5, 0.0]
    """
    return (1 - gap_B).clamp(min=0)
