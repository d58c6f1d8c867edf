"""Scorers of benchmarks: one checkpoint, or several as an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tamis.evaluate import GapScores, PairScorer
from tamis.metrics.ensemble import Ensemble, ensemble_scores
from tamis.models.checkpoint import Scorer, load_scorer
from tamis.models.score import PairScores
from tamis.types import Pair

Score = Callable[[Scorer, Sequence[Pair]], PairScores]


def scorer_of(checkpoints: Sequence[Path], *, ensemble: Ensemble, score: Score) -> PairScorer:
    """Return the scorer of one checkpoint, or of several together.

    Of several, each is loaded, asked and let go in turn for every set of pairs, so that memory
    holds one model.

    Args:
        checkpoints: at least one.
        ensemble: how the scores of several are put together.
        score: scores both sides of pairs with a loaded model.

    Raises:
        ConfigError: a checkpoint cannot be loaded, or has no trained head.
    """
    if len(checkpoints) > 1:
        return lambda pairs: _together(checkpoints, pairs, ensemble=ensemble, score=score)
    scorer = load_scorer(str(checkpoints[0]))

    def alone(pairs: Sequence[Pair]) -> GapScores:
        found = score(scorer, pairs)
        return GapScores(found.chosen_N, found.rejected_N)

    return alone


def _together(
    checkpoints: Sequence[Path], pairs: Sequence[Pair], *, ensemble: Ensemble, score: Score
) -> GapScores:
    found = [score(load_scorer(str(path)), pairs) for path in checkpoints]
    return GapScores(
        ensemble_scores(np.stack([scores.chosen_N for scores in found]), ensemble=ensemble),
        ensemble_scores(np.stack([scores.rejected_N for scores in found]), ensemble=ensemble),
    )
