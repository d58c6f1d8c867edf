"""The reward of sampled answers: what scorers say of them, shaped, and noted for the watch.

Shapes: N answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from accelerate.utils import gather_object
from numpy.typing import NDArray

from tamis.metrics.diversity import distinct_frac, repeated_frac, self_bleu, words_of
from tamis.policy.rl.config import ShapingConfig
from tamis.policy.sampling.responses import answer_turn
from tamis.principles.principle import Principle, Stance
from tamis.principles.sample import sample_principles, with_interventions
from tamis.types import Conversation, Message

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HELD_OUT = -1  # the step whose draws held-out prompts keep


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, an answer to it, and the principles that it is scored under, perhaps none."""

    prompt: Conversation
    answer: Conversation
    principles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of N answers, and how far the members of an ensemble are apart about each."""

    score_N: Floats
    spread_N: Floats | None = None


Score = Callable[[Sequence[Asked]], Scored]


@dataclass(frozen=True, slots=True)
class Guide:
    """Which principles answers are scored under.

    All answers to one prompt in one step get the same, since they are compared with each other
    (deviation from SALMON, arXiv 2310.05910, which draws for each answer and has a critic).

    Attributes:
        fixed: always there, behind the drawn ones.
        known: to draw from.
        num_drawn: how many are drawn.
        seed: of the draws, which depend on it, the step and the prompt alone.
        types: of prompts that have one; principles may be drawn more often for it.
    """

    fixed: tuple[Stance, ...] = ()
    known: tuple[Principle, ...] = ()
    num_drawn: int = 0
    seed: int = 0
    types: Mapping[Conversation, str] = field(default_factory=dict)

    def texts(self, step: int, number: int, prompt: Conversation = ()) -> tuple[str, ...]:
        """Return the words of the principles for a prompt, by its number, in a step."""
        drawn: list[Stance] = []
        if self.num_drawn:
            rng = np.random.default_rng([self.seed, step + 1, number])
            drawn = sample_principles(
                self.known,
                rng=rng,
                num_sampled=self.num_drawn,
                prompt_type=self.types.get(prompt),
            )
        return tuple(stance.text for stance in with_interventions(drawn, self.fixed))


@dataclass(frozen=True, slots=True)
class Judged:
    """What scores answers while a policy is trained.

    Attributes:
        score: gives the rewards before they are shaped.
        gold: only watched, on held-out prompts.
        guide: the principles that ``score`` gets.
    """

    score: Score
    gold: Score | None = None
    guide: Guide = field(default_factory=Guide)


@dataclass(frozen=True, slots=True)
class Shape:
    """What becomes of scores: first cut to plus and minus ``clip``, then shaped."""

    config: ShapingConfig
    clip: float | None = None

    def rewards(self, score_N: Floats, *, num_tokens_N: Floats, finished_N: Bools) -> Floats:
        """Return the rewards.

        >>> Shape(ShapingConfig(no_stop_penalty=6.0), clip=0.8).rewards(
        ...     np.array([2.0, -0.5]), num_tokens_N=np.ones(2), finished_N=np.array([False, True])
        ... ).tolist()
        [-5.2, -0.5]
        """
        config = self.config
        cut_N = score_N if self.clip is None else np.clip(score_N, -self.clip, self.clip)
        share_N = np.minimum(config.bonus_cap, num_tokens_N / config.bonus_tokens)
        return np.asarray(
            cut_N
            - config.no_stop_penalty * ~finished_N
            - config.length_penalty * num_tokens_N
            + config.length_bonus * share_N,
            np.float64,
        )


@dataclass(frozen=True, slots=True)
class Noted:
    """What one call saw: N answers of all processes.

    Attributes:
        number_N: of the prompts.
        score_N: before they were cut and shaped.
        reward_N: what is optimised.
        num_tokens_N: tokens of an answer, its end token included.
        finished_N: whether it ended by itself.
        texts: of the answers.
        spread_N: of the members of an ensemble.
        gold_N: scores that are only watched.
    """

    number_N: NDArray[np.int64]
    score_N: Floats
    reward_N: Floats
    num_tokens_N: Floats
    finished_N: Bools
    texts: tuple[str, ...]
    spread_N: Floats | None = None
    gold_N: Floats | None = None

    def each_prompt_once(self) -> Noted:
        """Return the first answer to each prompt, by its number."""
        _, at_N = np.unique(self.number_N, return_index=True)
        spread_N, gold_N = self.spread_N, self.gold_N
        return Noted(
            self.number_N[at_N],
            self.score_N[at_N],
            self.reward_N[at_N],
            self.num_tokens_N[at_N],
            self.finished_N[at_N],
            tuple(self.texts[at] for at in at_N),
            None if spread_N is None else spread_N[at_N],
            None if gold_N is None else gold_N[at_N],
        )


@final
class PolicyReward:
    """The reward function that TRL's trainers call, which remembers what it saw.

    Besides ``prompt``, the data set has ``number`` (of the prompt) and ``held_out``: answers to
    held-out prompts are scored by ``gold``, too, and noted apart.
    """

    def __init__(self, judged: Judged, shape: Shape, *, end_ids: frozenset[int]) -> None:
        """Take what scores, what becomes of scores, and the tokens that end an answer."""
        self.__name__ = "tamis"  # under which TRL logs it
        self._judged, self._shape, self._end_ids = judged, shape, end_ids
        self._trained: list[Noted] = []
        self._held_out: list[Noted] = []

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        completion_ids: Sequence[Sequence[int]],
        number: Sequence[int],
        held_out: Sequence[bool],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        """Return the reward of each completion.

        Raises:
            DataError: a text cannot be scored, or its score is not finite.
        """
        watched = bool(held_out[0])  # a batch is one or the other
        step = HELD_OUT if watched else int(trainer_state.global_step)
        guide = self._judged.guide
        asked = [
            Asked(prompt, _answer(completion), guide.texts(step, at, prompt))
            for prompt, completion, at in zip(
                map(_turns, prompts), completions, number, strict=True
            )
        ]
        scored = self._judged.score(asked)
        num_tokens_N = np.array([len(ids) for ids in completion_ids], np.float64)
        finished_N = np.array([ids[-1] in self._end_ids for ids in completion_ids], bool)
        reward_N = self._shape.rewards(
            scored.score_N, num_tokens_N=num_tokens_N, finished_N=finished_N
        )
        noted = Noted(
            np.array(number, np.int64),
            scored.score_N,
            reward_N,
            num_tokens_N,
            finished_N,
            tuple(one.answer[-1].content for one in asked),
            scored.spread_N,
        )
        if watched and self._judged.gold is not None:
            # the gold scorer is no principle-conditioned model
            gold = self._judged.gold([replace(one, principles=()) for one in asked])
            noted = replace(noted, gold_N=gold.score_N)
        (self._held_out if watched else self._trained).extend(gather_object([noted]))
        for name, value in _metrics(noted):
            log_metric(name, value)
        return [float(value) for value in reward_N]

    def take_trained(self) -> Noted | None:
        """Return what was seen of training prompts since the last time, and forget it."""
        noted, self._trained = self._trained, []
        return _joined(noted)

    def take_held_out(self) -> Noted | None:
        """Return what was seen of held-out prompts since the last time, and forget it."""
        noted, self._held_out = self._held_out, []
        return _joined(noted)


def _metrics(noted: Noted) -> list[tuple[str, float]]:
    """Return what TRL shows beside its own figures, in every tracker."""
    found = [
        ("score/mean", float(noted.score_N.mean())),
        ("score/std", float(noted.score_N.std())),
        ("finished_frac", float(noted.finished_N.mean())),
    ]
    if noted.spread_N is not None:
        found.append(("score/spread", float(noted.spread_N.mean())))
    if noted.gold_N is not None:
        found.append(("gold/mean", float(noted.gold_N.mean())))
    texts = diversity_of(noted.texts)
    return found + [(f"text/{name}", value) for name, value in texts.items() if value is not None]


def diversity_of(texts: Sequence[str]) -> dict[str, float | None]:
    """Return how many words are new, within an answer and among all; see `tamis.metrics`."""
    words = [words_of(text) for text in texts]
    alike = self_bleu(words) if len(words) > 1 else None
    return {
        "distinct_1": distinct_frac(words, order=1),
        "distinct_2": distinct_frac(words, order=2),
        "repeated_frac": float(np.mean([repeated_frac(own) for own in words])),
        "self_bleu": None if alike is None else float(np.mean(alike)),
    }


def _joined(parts: Sequence[Noted]) -> Noted | None:
    if not parts:
        return None
    return Noted(
        np.concatenate([part.number_N for part in parts]),
        np.concatenate([part.score_N for part in parts]),
        np.concatenate([part.reward_N for part in parts]),
        np.concatenate([part.num_tokens_N for part in parts]),
        np.concatenate([part.finished_N for part in parts]),
        tuple(text for part in parts for text in part.texts),
        _joined_column([part.spread_N for part in parts]),
        _joined_column([part.gold_N for part in parts]),
    )


def _joined_column(columns: Sequence[Floats | None]) -> Floats | None:
    known = [column_N for column_N in columns if column_N is not None]
    return np.concatenate(known) if len(known) == len(columns) else None


def _answer(messages: Sequence[dict[str, Any]]) -> Conversation:
    """Return a completion as sampled responses are kept, so that both get the same score."""
    *before, last = _turns(messages)
    return (*before, *answer_turn(last.content))


def _turns(messages: Sequence[dict[str, Any]]) -> Conversation:
    return tuple(Message(turn["role"], turn["content"] or "") for turn in messages)
