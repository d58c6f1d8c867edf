"""Scores under principles that the caller chooses."""

from __future__ import annotations

from collections.abc import Sequence

from tamis.errors import ConfigError
from tamis.models.checkpoint import Scorer
from tamis.models.score import PairScores, score_pairs
from tamis.models.tokenise import encode_conversations
from tamis.principles.layout import Layout, condition_pairs, room_problem, shortest_around
from tamis.principles.recorded import check_layout
from tamis.types import Pair


def score_under(
    scorer: Scorer,
    pairs: Sequence[Pair],
    *,
    texts: Sequence[str],
    layout: Layout = "prompt_first",
) -> PairScores:
    """Score both sides of each pair as a principle-conditioned reward model reads them.

    Without ``texts`` the scores are those of the conversations alone (`score_pairs`). Where a side
    is too long, it loses tokens at its start, so the principles stay whole.

    Raises:
        ConfigError: the principles alone are longer than the model reads, or it was trained with
            the other layout.
        DataError: a pair carries principles already, or the template refuses it.
    """
    if not texts:
        return score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
    check_layout(scorer.model.config, layout)
    (ids,) = encode_conversations(scorer.tokenizer, [shortest_around(texts)], max_length=None)
    problem = room_problem(len(ids), limit=scorer.max_length)
    if problem is not None:
        raise ConfigError(problem)
    conditioned = list(condition_pairs(pairs, texts=texts, layout=layout))
    return score_pairs(scorer.model, scorer.tokenizer, conditioned, max_length=scorer.max_length)
