"""SimCSE: a text, or the difference of a pair, is told apart from the others of its batch.

Shapes: B pairs of a batch, N samples.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamis.terms.contrast import On, cosines, sample_set
from tamis.terms.view import Need, TermSettings, View


class Settings(TermSettings):
    """Settings of the term ``simcse``."""

    on: On = Field(
        "pairs",
        description="pairs: what is told apart are texts; differences: chosen minus rejected, "
        "and its negation",
    )
    temperature: float = Field(0.05, gt=0, description="what cosines are divided by")


def needs(settings: Settings) -> set[Need]:  # noqa: ARG001
    """Return that the term compares two views."""
    return {"views"}


def loss(view: View, *, settings: Settings) -> Tensor:
    """Return the mean contrastive loss of the two samples of each pair.

        l_i = -log( exp(cos(s_i, t_i) / tau) / sum_j exp(cos(s_i, t_j) / tau) )

    with the vectors ``s`` and ``t`` that the head reads in two dropout views, over the samples of
    the batch (see `tamis.terms.contrast.sample_set`). Reference: Wang et al. 2024 ("Secrets of RLHF
    II", arXiv 2401.06080, eq 9), coefficient 1, batches of 16; the temperature is not published and
    is that of SimCSE (Gao et al. 2021). Deviations: by default what is dropped out is the vector
    itself (``train.objective.views``), because today's decoders have no dropout inside; equal texts
    are one sample; a sample's negatives are those of its micro-batch, so that parts and processes
    change the loss.

    Cost: nothing beside the trunk that can be measured; N x N numbers, with N at most twice the
    micro-batch.

    Args:
        view: with ``vectors``.
        settings: ``on`` and ``temperature``.

    >>> from tamis.terms.view import Vectors
    >>> one, place = torch.ones(1), torch.zeros(1, dtype=torch.int64)
    >>> vectors = Vectors(torch.eye(2).repeat(2, 1, 1), place, place + 1)
    >>> view = View(one, one, target_B=one, margin_B=one, columns={}, vectors=vectors)
    >>> loss(view, settings=Settings(temperature=1.0)).exp().round(decimals=3).tolist()
    [1.3680000305175781]
    """
    assert view.vectors is not None
    samples_2ND, own_B2 = sample_set(view.vectors, on=settings.on)
    cosine_NN = cosines(samples_2ND[0], samples_2ND[1])
    itself_N = torch.arange(len(cosine_NN), device=cosine_NN.device)
    loss_N = cross_entropy(cosine_NN / settings.temperature, itself_N, reduction="none")
    return loss_N[own_B2].mean(dim=1)
