"""The reward function of verl: ``compute_score`` of one sample, or of a whole batch.

verl hands over the decoded response without its prompt, so the data set has to bring the prompt
along in ``extra_info``, as ``prompt``, ``messages`` or ``question``: text or messages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, final

from tamis.errors import ConfigError, DataError
from tamis.serve.engine import Scores
from tamis.serve.inprocess import CHECKPOINT_VARIABLE, RewardSettings, loaded, texts_of
from tamis.serve.principled import under_named

PROMPTS = ("prompt", "messages", "question")


@final
class Reward(dict[str, float]):
    """A reward by the names of its parts; item 0, which verl's prime manager reads, is the score.

    >>> reward = Reward(score=1.5, truncated=0.0)
    >>> reward[0], list(reward)
    (1.5, ['score', 'truncated'])
    """

    def __missing__(self, key: object) -> float:
        """Return the score as item 0."""
        if key == 0:
            return self["score"]
        raise KeyError(key)


def compute_score(  # noqa: PLR0913 - a flat list of names is what verl passes on
    data_source: Any = None,  # noqa: ARG001
    solution_str: str | None = None,
    ground_truth: Any = None,  # noqa: ARG001
    extra_info: Mapping[str, Any] | None = None,
    *,
    solution_strs: Sequence[str] | None = None,
    extra_infos: Sequence[Mapping[str, Any] | None] | None = None,
    checkpoint: str | None = None,
    principles: str | Sequence[str] = (),
    layout: str = "prompt_first",
    principle_file: str | None = None,
    **_: Any,
) -> Reward | list[Reward]:
    """Return the reward of a response, or of each response of a batch (names in the plural).

    A reward is ``score`` (raw, what verl trains on), ``probability`` (that the response is
    preferred to one with the model's mean score), ``truncated`` (0 or 1) and, where the checkpoint
    records by what, ``standardised`` (the score in standard deviations above the mean).

    Args:
        data_source: not read.
        solution_str: the response.
        ground_truth: not read.
        extra_info: with the prompt.
        solution_strs: the responses of a batch; verl's ``batch`` manager sends them.
        extra_infos: with their prompts.
        checkpoint: the reward model; verl passes it on from ``reward_kwargs``. Unset: the variable
            ``TAMIS_REWARD_MODEL`` names it.
        principles: from ``reward_kwargs``, too: see `tamis.serve.inprocess.reward_func`.
        layout: of the principles.
        principle_file: of those that are named.

    Raises:
        ConfigError: no checkpoint is named, a principle or the layout is unknown, or the checkpoint
            learned the other layout.
        DataError: there is no response, or a prompt is missing.
    """
    path = checkpoint or os.environ.get(CHECKPOINT_VARIABLE)
    if not path:
        raise ConfigError(
            f"no reward model: set {CHECKPOINT_VARIABLE}, or checkpoint in verl's reward_kwargs"
        )
    under = under_named(principles, layout=layout, file=principle_file)
    settings = RewardSettings((path,), under=under)
    if solution_strs is not None:
        infos = list(extra_infos) if extra_infos is not None else [None] * len(solution_strs)
        return _rewards(settings, list(solution_strs), infos)
    if solution_str is None:
        raise DataError("compute_score: expected solution_str or solution_strs, found neither")
    return _rewards(settings, [solution_str], [extra_info])[0]


def _rewards(
    settings: RewardSettings,
    solutions: Sequence[str],
    infos: Sequence[Mapping[str, Any] | None],
) -> list[Reward]:
    if not len(solutions):
        return []
    prompts = [_prompt(info, number) for number, info in enumerate(infos)]
    texts = texts_of(prompts, solutions, plain="turns")
    scores = loaded(settings).scores(texts)
    return [
        Reward(
            score=float(scores.raw_N[number]),
            probability=float(scores.probability_N[number]),
            truncated=float(scores.truncated_N[number]),
            **_standardised(scores, number),
        )
        for number in range(len(solutions))
    ]


def _standardised(scores: Scores, number: int) -> dict[str, float]:
    values_N = scores.standardised_N
    return {} if values_N is None else {"standardised": float(values_N[number])}


def _prompt(info: Mapping[str, Any] | None, number: int) -> Any:
    for name in PROMPTS:
        if info and info.get(name) is not None:
            return info[name]
    raise DataError(
        f"extra_info of sample {number}: expected the prompt as {', '.join(PROMPTS)}, found "
        f"{sorted(info) if info else 'nothing'}"
    )
