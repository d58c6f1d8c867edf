"""SwAV: two views of a text, or of the difference of a pair, belong to the same prototypes.

Shapes: B pairs of a batch, N samples, K prototypes, Q queued samples, D hidden.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from tamis.terms.contrast import On, cosines, sample_set
from tamis.terms.view import Beginning, Need, TermSettings, View

# as published, by what is compared
PROTOTYPES: dict[On, int] = {"pairs": 50, "differences": 20}
COEFFICIENTS: dict[On, float] = {"pairs": 0.1, "differences": 0.5}
QUEUE_FACTOR = 2


class Settings(TermSettings):
    """Settings of the term ``swav``; what is left out is as published for ``on``."""

    coefficient: float = Field(
        COEFFICIENTS["pairs"],
        ge=0,
        description="what the term is multiplied with; left out: 0.1 (pairs), 0.5 (differences)",
    )
    on: On = Field(
        "pairs",
        description="pairs: what is assigned are texts; differences: chosen minus rejected, and "
        "its negation",
    )
    prototypes: int | None = Field(
        None, ge=2, description="number of prototypes; None = 50 (pairs), 20 (differences)"
    )
    temperature: float = Field(0.1, gt=0, description="what cosines are divided by")
    epsilon: float = Field(
        0.05, gt=0, description="how soft the codes are: Sinkhorn's entropic weight"
    )
    iterations: int = Field(3, ge=1, description="iterations of Sinkhorn")
    queue: int | None = Field(
        None,
        ge=0,
        description="samples of earlier batches that take part in the codes where a batch has "
        "fewer than there are prototypes; None = twice as many as prototypes",
    )

    @model_validator(mode="before")
    @classmethod
    def _published(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("on") not in COEFFICIENTS:
            return content
        return {"coefficient": COEFFICIENTS[content["on"]], **content}

    def num_prototypes(self) -> int:
        """Return the number of prototypes, the published one where none was given."""
        return PROTOTYPES[self.on] if self.prototypes is None else self.prototypes


class Prototypes(nn.Module):
    """Prototypes [K, D], trained, and the queue of earlier samples in both views [2, Q, D]."""

    queue_2QD: Tensor
    num_queued: Tensor

    def __init__(self, num_prototypes: int, *, size: int, queue: int, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weight_KD = nn.Parameter(torch.randn(num_prototypes, size, generator=draw))
        self.register_buffer("queue_2QD", torch.zeros(2, queue, size))
        self.register_buffer("num_queued", torch.zeros((), dtype=torch.int64))

    def queued(self) -> Tensor:
        """Return the samples in the queue, the newest first."""
        return self.queue_2QD[:, : int(self.num_queued)]

    def push(self, samples_2ND: Tensor) -> None:
        """Put samples into the queue, and let go what no longer fits."""
        length = self.queue_2QD.shape[1]
        held = torch.cat([samples_2ND.detach().to(self.queue_2QD.dtype), self.queued()], dim=1)
        held = held[:, :length]
        self.queue_2QD[:, : held.shape[1]] = held
        self.num_queued.fill_(held.shape[1])


def needs(settings: Settings) -> set[Need]:  # noqa: ARG001
    """Return that the term compares two views."""
    return {"views"}


def module(beginning: Beginning, *, settings: Settings) -> Prototypes:
    """Return prototypes drawn from a normal distribution, with an empty queue."""
    num_prototypes = settings.num_prototypes()
    queue = QUEUE_FACTOR * num_prototypes if settings.queue is None else settings.queue
    return Prototypes(num_prototypes, size=beginning.hidden_size, queue=queue, seed=beginning.seed)


def loss(view: View, *, settings: Settings) -> Tensor:
    """Return the mean swapped prediction loss of the two samples of each pair.

        l(s, t) = -sum_k q_t(k) log p_s(k) - sum_k q_s(k) log p_t(k)
        p_s(k) = softmax_k(cos(s, c_k) / temperature)

    with the vectors ``s`` and ``t`` that the head reads in two dropout views, and codes ``q`` that
    spread the samples of a view evenly over the prototypes (see `sinkhorn`). No gradient goes
    through the codes. Reference: Wang et al. 2024 ("Secrets of RLHF II", arXiv 2401.06080, eqs 7
    and 8): 50 prototypes and coefficient 0.1 on pairs, 20 and 0.5 on differences, batches of 16;
    temperature, epsilon and iterations are not published there and are those of SwAV (Caron et al.
    2020). Deviations: those of `tamis.terms.simcse.loss`; prototypes are normalised where they are
    used, not in place; they are trained from the first step on; codes are made from the samples of
    a micro-batch, and of a queue where those are fewer than the prototypes, which begins to count
    before it is full.

    Cost: nothing beside the trunk that can be measured; K x D prototypes with their gradient and
    two moments, and a queue of 4 K x D numbers by default.

    Args:
        view: with ``vectors`` and, as ``module``, what `module` made, which queues what it sees
            while it is in training mode.
        settings: all but ``coefficient`` and the sizes.
    """
    assert view.vectors is not None
    prototypes = cast(Prototypes, view.module)
    samples_2ND, own_B2 = sample_set(view.vectors, on=settings.on)
    num_samples, (num_prototypes, _) = samples_2ND.shape[1], prototypes.weight_KD.shape
    cosine_2NK = cosines(samples_2ND, prototypes.weight_KD)
    with torch.no_grad():
        seen = cosine_2NK
        if num_samples < num_prototypes:
            seen = torch.cat([cosine_2NK, cosines(prototypes.queued(), prototypes.weight_KD)], 1)
        codes_2NK = torch.stack(
            [
                sinkhorn(part, epsilon=settings.epsilon, iterations=settings.iterations)
                for part in seen
            ]
        )[:, :num_samples]
        if prototypes.training:
            prototypes.push(normalize(samples_2ND, dim=-1))
    loss_N = swapped_prediction(cosine_2NK / settings.temperature, codes_2NK=codes_2NK)
    return loss_N[own_B2].mean(dim=1)


def swapped_prediction(logits_2NK: Tensor, *, codes_2NK: Tensor) -> Tensor:
    """Return the cross entropy of each view's prototypes with the codes of the other, summed [N].

    >>> logits, codes = torch.zeros(2, 1, 4), torch.full((2, 1, 4), 0.25)
    >>> (swapped_prediction(logits, codes_2NK=codes) / 2).exp().tolist()
    [4.0]
    """
    return -(codes_2NK.flip(0) * log_softmax(logits_2NK, dim=-1)).sum(dim=(0, 2))


def sinkhorn(cosine_NK: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Return codes: how much each sample belongs to each prototype, [N, K].

    They maximise the cosines plus ``epsilon`` times the entropy where each sample is spread over
    the prototypes with sum 1, and each prototype has the same share of the samples, N / K; the
    latter as nearly as so many iterations bring it about. Computed on logarithms.

    >>> sinkhorn(torch.eye(2), epsilon=1.0, iterations=1).sum(dim=1).tolist()
    [1.0, 1.0]
    """
    num_samples, num_prototypes = cosine_NK.shape
    share = math.log(num_samples / num_prototypes)
    log_code_NK = cosine_NK / epsilon
    for _ in range(iterations):
        log_code_NK = log_code_NK - log_code_NK.logsumexp(dim=0, keepdim=True) + share
        log_code_NK = log_code_NK - log_code_NK.logsumexp(dim=1, keepdim=True)
    return log_code_NK.exp()
