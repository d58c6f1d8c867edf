"""How answers are scored: by one scorer or by several together, under principles where wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tamis.errors import ConfigError
from tamis.evaluate import GapScores, PairScorer
from tamis.evaluate.cache import SCORES, kept_scores
from tamis.evaluate.scorers import OpenedScorer, ScorerOptions, scorer_from
from tamis.metrics.ensemble import Ensemble, Scale, ensemble_scores, scale_of
from tamis.principles.layout import Layout, condition_pairs, is_conditioned
from tamis.principles.scoring import score_under
from tamis.recipes.bare import telling
from tamis.runs import write_text
from tamis.runs.stage import KEY
from tamis.types import Pair


@dataclass(frozen=True, slots=True)
class Scoring:
    """What scores answers, and how.

    Attributes:
        scorers: what each is says `scorer_from`; several make one ensemble.
        ensemble: how the scores of several are put together, by default their mean.
        principles: the words of those under which answers are scored, perhaps none.
        keeps_own: pairs that carry principles, as held-out examples do, are scored under those;
            else they are refused.
        layout: of the principles.
        options: of the scorers.
    """

    scorers: Sequence[str]
    ensemble: Ensemble | None = None
    principles: Sequence[str] = ()
    keeps_own: bool = False
    layout: Layout = "prompt_first"
    options: ScorerOptions = field(default_factory=ScorerOptions)


def open_scorers(scoring: Scoring, *, notice: Callable[[str], None]) -> list[OpenedScorer]:
    """Open the scorers, each of which scores under the principles; no model is loaded yet.

    Where there are none, models that learned to read some say so when they score pairs without.

    Raises:
        ConfigError: there is none, the ensemble standardises one whose scores nobody measured, or
            see `scorer_from`.
        DataError: a file or folder is missing.
    """
    if not scoring.scorers:
        raise ConfigError("no scorer: name a checkpoint, a rule, a file or a server")
    opened = [scorer_from(text, options=scoring.options, notice=notice) for text in scoring.scorers]
    _scale(opened, scoring.ensemble)
    if not scoring.principles:
        return [telling(scorer, notice=notice) for scorer in opened]
    texts, layout, keeps_own = scoring.principles, scoring.layout, scoring.keeps_own
    return [under(scorer, texts=texts, layout=layout, keeps_own=keeps_own) for scorer in opened]


def check_scores_alone(scorer: OpenedScorer, *, instead: str = "a reward model or a rule") -> None:
    """Refuse a scorer that has no score for a single answer.

    Args:
        scorer: any.
        instead: what the user may name in its place.

    Raises:
        ConfigError: it compares two answers, as a judge does.
    """
    if scorer.of_pairs:
        what = "a judge" if scorer.identity.get("kind") == "judge" else "it"
        raise ConfigError(
            f"{scorer.name}: {what} compares two answers and scores none alone; expected {instead}"
        )


def under(
    scorer: OpenedScorer, *, texts: Sequence[str], layout: Layout, keeps_own: bool = False
) -> OpenedScorer:
    """Return a scorer that reads principles behind every answer.

    A model of this process is refused principles that are longer than it reads (`score_under`);
    what others are sent, they may cut. With ``keeps_own``, pairs that all carry principles already
    are scored under those.

    Raises:
        ConfigError: the scores are calibrated, which was fitted without principles.
    """

    if scorer.inner is not None:
        raise ConfigError(f"{scorer.name}: its calibrator was fitted without principles")

    def score(pairs: Sequence[Pair]) -> GapScores:
        if keeps_own and all(is_conditioned(pair) for pair in pairs):
            return scorer.score(pairs)
        if scorer.model is None:
            return scorer.score(list(condition_pairs(pairs, texts=texts, layout=layout)))
        found = score_under(scorer.model(), pairs, texts=texts, layout=layout)
        return GapScores(found.chosen_N, found.rejected_N)

    identity = {**scorer.identity, "principles": list(texts), "layout": layout}
    return replace(scorer, score=score, identity=identity)


def together(
    scorers: Sequence[OpenedScorer], *, folder: Path, ensemble: Ensemble | None
) -> PairScorer:
    """Return the scorer that several make together, or that one is, with its scores kept.

    Of several, each is asked and let go in turn for every set of pairs, so that memory holds one
    model.

    Args:
        scorers: at least one.
        folder: of a stage, where scores are kept (see `kept_scores`); it is made with the first.
        ensemble: how the scores of several are put together, by default their mean.
    """
    how, scale = ensemble or Ensemble(), _scale(scorers, ensemble)
    asked = [kept_scores(_claiming(scorer, folder), path=folder / SCORES) for scorer in scorers]
    if len(asked) == 1:
        return asked[0]

    def score(pairs: Sequence[Pair]) -> GapScores:
        found = []
        for scorer, ask in zip(scorers, asked, strict=True):
            found.append(ask(pairs))
            scorer.release()
        sides = ([each.chosen_N for each in found], [each.rejected_N for each in found])
        unread = [each.unread_N for each in found if each.unread_N is not None]
        chosen_N, rejected_N = (
            ensemble_scores(np.stack(side), ensemble=how, scale=scale) for side in sides
        )
        return GapScores(chosen_N, rejected_N, np.sum(unread, axis=0) if unread else None)

    return score


def _scale(scorers: Sequence[OpenedScorer], ensemble: Ensemble | None) -> Scale | None:
    """Return what standardises the scorers of an ensemble; see `scale_of`."""
    how = ensemble or Ensemble()
    if how.members == "raw":  # hub ids need not be reached for it
        return None
    names = [scorer.name for scorer in scorers]
    return scale_of([scorer.centring() for scorer in scorers], names=names, ensemble=how)


def _claiming(scorer: OpenedScorer, folder: Path) -> OpenedScorer:
    """Return a scorer that, once it has scored, says that a folder is a stage's."""
    if scorer.inner is not None:
        inner = _claiming(scorer.inner.scorer, folder)
        return replace(scorer, inner=replace(scorer.inner, scorer=inner))

    def score(pairs: Sequence[Pair]) -> GapScores:
        found = scorer.score(pairs)
        write_text(folder / KEY, "scores")
        return found

    return replace(scorer, score=score) if scorer.is_kept else scorer
