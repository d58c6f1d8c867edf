"""The loss that is unbiased under a known share of flipped labels. Shapes: B pairs of a batch."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from tamis.errors import ConfigError

BOUNDED = False


def noise_corrected(gap_B: Tensor, *, flip_rate: float = 0.1) -> Tensor:
    """Return the loss whose mean over flips of the label is the Bradley-Terry loss of the truth.

        ((1 - rho) phi(gap) - rho phi(-gap)) / (1 - 2 rho) = phi(gap) - rho / (1 - 2 rho) gap

    with ``phi = -log sigmoid`` and ``rho = flip_rate``, the share of labels that are flipped,
    whatever the pair. It is convex and falls everywhere: without a lower bound, it pulls gaps apart
    for as long as training lasts. Stop early, or add a term that limits scores. A target below 1
    that stems from the same noise would count it twice. Reference: Natarajan et al. 2013, lemma 1,
    for one rate of flips in both directions; written so that no two large numbers are subtracted.

    Args:
        gap_B: reward of the better answer minus that of the worse, minus the margin.
        flip_rate: at least 0, below 0.5; 0 is Bradley-Terry.

    Returns:
        The loss of each pair, negative where the gap is large, in the type of ``gap_B``.

    Raises:
        ConfigError: ``flip_rate`` is out of range.

    >>> import torch
    >>> noise_corrected(torch.tensor([-8.0, 0.0, 8.0]), flip_rate=0.25).tolist()
    [12.000335693359375, 0.6931471824645996, -3.999664545059204]
    """
    if not 0 <= flip_rate < 0.5:
        raise ConfigError(
            f"noise_corrected: flip_rate is {flip_rate}, expected a number in [0, 0.5)"
        )
    return -logsigmoid(gap_B) - flip_rate / (1 - 2 * flip_rate) * gap_B
