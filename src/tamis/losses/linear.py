"""The linear loss. Shapes: B pairs of a batch."""

from torch import Tensor

BOUNDED = False


def linear(gap_B: Tensor) -> Tensor:
    """Return ``-gap``: every pair pulls its answers apart with the same force, for ever.

    With demonstrations as the better answers and samples of the current policy as the others, a
    step against its gradient goes up ``E_demo[grad r] - E_policy[grad r]``, which is ``beta`` times
    the gradient of the log likelihood of demonstrations under the policy that a reward model
    induces. Bradley-Terry on the same pairs is its surrogate that comes to rest. It has no lower
    bound: sample again before the policy is far from its samples, stop early, or add a term that
    limits scores. A target t below 1 counts as ``2 t - 1``. Reference: AIHF (Li et al. 2024, arXiv
    2406.06874), the gradient of its likelihood of demonstrations.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.

    Returns:
        The loss of each pair, negative where the gap is positive, in the type of ``gap_B``.

    >>> import torch
    >>> linear(torch.tensor([-2.0, 0.5])).tolist()
    [2.0, -0.5]
    """
    return -gap_B
