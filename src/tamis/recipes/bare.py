"""Models that learned to read principles, where they are to score answers without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tamis.errors import ConfigError
from tamis.evaluate import GapScores
from tamis.evaluate.scorers import OpenedScorer, ScorerOptions, kind_of
from tamis.evaluate.scorers.calibrated import CALIBRATED
from tamis.evaluate.scorers.checkpoint import checkpoint_in
from tamis.evaluate.scorers.opening import CHECKPOINT, split_name
from tamis.evaluate.scorers.weights import config_file, model_at
from tamis.models.source import locate
from tamis.policy.rl.config import RewardConfig
from tamis.principles.layout import Layout, is_conditioned
from tamis.principles.recorded import recorded_layout, recorded_layout_in
from tamis.runs import read_json
from tamis.types import Pair


def layout_of_scorer(text: str) -> Layout | None:
    """Return the layout of principles that a scorer's checkpoint records; no model is loaded.

    Args:
        text: see `scorer_from`; whatever is no checkpoint has none.

    Raises:
        ConfigError: it is a hub id that cannot be reached.
        DataError: nothing is there.
    """
    kind, address = kind_of(split_name(text)[1])
    if kind not in (CHECKPOINT, CALIBRATED):
        return None
    model = model_at(checkpoint_in(address), options=ScorerOptions())
    folder = Path(locate(model.path))
    if folder.is_dir():
        return recorded_layout_in(folder)
    file = config_file(model.path, revision=model.revision)
    content = None if file is None else read_json(file)
    return recorded_layout(content) if isinstance(content, dict) else None


def check_principled(reward: RewardConfig) -> None:
    """Refuse a reward that asks a model without the principles that it learned to read.

    A model of rewards sees nothing but answers of a policy, which carry none. Scorers that are only
    watched (``gold``) are never asked under principles, so they are not refused.

    Raises:
        ConfigError: a scorer records a layout of principles, and none are named or drawn; or see
            `layout_of_scorer`.
        DataError: nothing is there.
    """
    if reward.principles or reward.draw:
        return
    for text in reward.scorers:
        if layout_of_scorer(text) is not None:
            raise ConfigError(
                f"{text} learned to read principles, and the reward names none; expected "
                "reward.principles (--principle), or reward.draw above 0"
            )


def telling(scorer: OpenedScorer, *, notice: Callable[[str], None]) -> OpenedScorer:
    """Return a scorer that says once when it reads pairs without the principles that it learned.

    Nothing is said of pairs that carry principles already, and of scores that are kept from before.
    """
    if scorer.inner is not None:
        inner = telling(scorer.inner.scorer, notice=notice)
        return replace(scorer, inner=replace(scorer.inner, scorer=inner))
    model, told = scorer.model, set[str]()
    if model is None:
        return scorer

    def score(pairs: Sequence[Pair]) -> GapScores:
        found = scorer.score(pairs)
        is_bare = not told and any(not is_conditioned(pair) for pair in pairs)
        if is_bare and recorded_layout(model().model.config) is not None:
            told.add(scorer.name)
            notice(
                f"{scorer.name} learned to read principles and scores conversations without any, "
                "which it was never trained on; name some with --principle, or as principles.bench "
                "of a recipe"
            )
        return found

    return replace(scorer, score=score)
