"""A base loss as a user writes it: a module of one's own, named by its dotted path."""

from torch import Tensor

BOUNDED = False


def squared_hinge(gap_B: Tensor, *, at: float = 1.0) -> Tensor:
    """Return ``max(0, at - gap)^2``.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.
        at: the gap from which on nothing is to be done.

    >>> import torch
    >>> squared_hinge(torch.tensor([-1.0, 2.0])).tolist()
    [4.0, 0.0]
    """
    return (at - gap_B).clamp(min=0).square()
