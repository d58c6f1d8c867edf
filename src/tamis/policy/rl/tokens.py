"""What models say of the tokens of sampled answers, from what TRL's trainers compute in any case.

Shapes: N answers of a process, T tokens, K sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

PERPLEXITY = "perplexity"  # under which it is logged
POOLED = ("kl", "entropy", PERPLEXITY)


def watching_tokens(kind: Any) -> Any:
    """Return a trainer of TRL that logs figures of tokens over all tokens of all answers.

    TRL takes the plain mean of what its batches came to, in which a short last batch counts as
    much as a full one; here ``kl`` and ``entropy`` are weighted by tokens. The perplexity of
    answers under the reference is logged beside them: ``exp(-sum of log probabilities / number of
    tokens)``, end tokens included; of the distributions at the temperature of the run, as all that
    these trainers measure. Of the held-out answers it is logged as ``eval_perplexity``. Without a
    reference there is none, and no ``kl``.

    Args:
        kind: ``GRPOTrainer`` or ``RLOOTrainer``. Both ask for log probabilities last under the
            reference, before answers are scored.
    """
    return type("Watching", (_Watching, kind), {})


class _Watching:
    """What stands before a trainer of TRL; the figures of calls wait in its ``_metrics``."""

    model: Any
    accelerator: Any
    beta: float
    _metrics: dict[str, dict[str, list[float]]]
    _last_NT: torch.Tensor | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # tokens by mode: of every call that samples, and of every loss, which may be of a part
        self._sampled: dict[str, list[float]] = {"train": [], "eval": []}
        self._fitted: dict[str, list[float]] = {"train": [], "eval": []}

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Log what TRL logs, with figures of tokens over all of them."""
        mode = self._mode()
        figures = self._metrics[mode]
        for name in POOLED:
            for tokens in (self._fitted[mode], self._sampled[mode]):
                if figures.get(name) and len(figures[name]) == len(tokens):
                    figures[name] = [pooled(figures[name], tokens)]
                    break
        if figures.get(PERPLEXITY):
            figures[PERPLEXITY] = [math.exp(value) for value in figures[PERPLEXITY]]
        self._fitted[mode].clear()
        self._sampled[mode].clear()
        super().log(logs, *args, **options)  # type: ignore[misc]

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **options)  # type: ignore[misc]
        self._last_NT = found[0].detach()
        return found

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        found = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        log_prob_NT, self._last_NT = self._last_NT, None
        mask_NT = found["completion_mask"]
        if self.beta and log_prob_NT is not None:
            nats, tokens = self._sums(-log_prob_NT * mask_NT, mask_NT)
            self._metrics[self._mode()][PERPLEXITY].append(nats / max(tokens, 1.0))
        else:
            (tokens,) = self._sums(mask_NT)
        self._sampled[self._mode()].append(tokens)
        return found

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
        self._fitted[self._mode()].extend(self._sums(inputs["completion_mask"]))
        return loss

    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _sums(self, *parts: torch.Tensor) -> list[float]:
        """Return the sum of each part over all processes."""
        sums_1K = torch.stack([part.sum().float() for part in parts])[None]
        return [float(value) for value in self.accelerator.gather(sums_1K).sum(dim=0)]


def pooled(values: Sequence[float], tokens: Sequence[float]) -> float:
    """Return the mean of values, each weighted by its tokens.

    >>> pooled([1.0, 3.0], [300.0, 100.0])
    1.5
    """
    return sum(map(float.__mul__, values, tokens)) / max(sum(tokens), 1.0)
