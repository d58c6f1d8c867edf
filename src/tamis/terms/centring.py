"""Reward centring: scores stay around zero. Shapes: B pairs of a batch."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from tamis.terms.view import TermSettings, View


class Settings(TermSettings):
    """Settings of the term ``centring``."""

    coefficient: float = Field(0.01, ge=0, description="what the term is multiplied with")


def loss(view: View, *, settings: Settings) -> Tensor:  # noqa: ARG001
    """Return ``(r_chosen + r_rejected)^2`` of each pair.

    A gap says nothing of where its two scores lie, so that they are free to drift, and the further
    they are from zero the more of a gap is lost in half precision. Reference: Eisenstein et al.
    2023 ("Helping or Herding?"), who choose one of all equivalent Bradley-Terry models by it, at a
    coefficient of 0.01; equal to ``center_rewards_coefficient`` of TRL where all weights are 1.

    Cost: nothing that can be measured, and no memory.

    Args:
        view: of which only the scores are read.
        settings: not read; the coefficient is the objective's to apply.

    >>> import torch
    >>> one = torch.ones(1)
    >>> view = View(3 * one, -one, target_B=one, margin_B=one, columns={})
    >>> loss(view, settings=Settings()).tolist()
    [4.0]
    """
    return (view.score_chosen_B + view.score_rejected_B).square()
