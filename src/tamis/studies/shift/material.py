"""What the shift study trains on and measures on: pairs of HH-RLHF, and of sets unlike it.

Shape legend: M pairs of a test set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tamis.errors import ConfigError
from tamis.metrics import cluster_ids, text_ids
from tamis.studies.material import MIN_GROUPS, read_files
from tamis.studies.shift.records import TestSet
from tamis.types import Config, Conversation, Pair

PARTS = ("hh_helpful_base", "hh_harmless_base")
PLAIN_SETS = {
    "eval_hhh_alignment": "HHH-Alignment",
    "eval_llmbar_natural": "LLMBar natural",
    "eval_mt_bench_human": "MT-bench human",
    "eval_xstest": "XSTest",
}
GRADED_SETS = {"eval_rm_bench_safety": "RM-Bench safety", "eval_rm_bench_code": "RM-Bench code"}
# fewer pairs of sets whose texts are long, where time is short: of code they are four times as long
# as those of HH
SHARES = {
    "eval_mt_bench_human": 0.33,
    "eval_xstest": 0.5,
    "eval_rm_bench_safety": 0.4,
    "eval_rm_bench_code": 0.24,
}
DIFFICULTIES = ("easy", "normal", "hard")
IN_DISTRIBUTION, HELD_OUT = "HH-RLHF", "HH-RLHF, held out"
# streams of random numbers; those of test sets count on from the last
TRAIN_STREAM, META_STREAM, SHIFT_STREAM, POOL_STREAM, JUDGE_STREAM, SET_STREAM = range(1, 7)

Part = Sequence[Pair]
Drawing = np.random.Generator


class Sizes(Config):
    """How much of everything the study reads; whole groups are drawn."""

    num_train: int = Field(480, ge=20, description="training pairs of a seed, of both parts of HH")
    num_pool: int = Field(
        1440, ge=20, description="pairs that trainings draw from; judges learn from the others"
    )
    num_held_out: int = Field(
        400, ge=20, description="pairs in distribution at most, all of them unseen"
    )
    per_set: int = Field(300, ge=20, description="pairs of a data set at most")
    cut_long: bool = Field(True, description="of sets with long texts a quarter to a half of that")
    num_prompts: int = Field(48, ge=4, description="prompts that shifted policies answer")
    num_meta: int = Field(64, ge=4, description="prompts of the answers that MetaRM reads")
    num_proxy: int = Field(600, ge=10, description="pairs of HH that the proxy judge learns from")
    num_gold: int = Field(4000, ge=10, description="other pairs of HH for the gold judge, at most")
    num_graded: int = Field(
        4000, ge=50, description="pairs of AlpacaEval for the gold judge, at most"
    )

    @model_validator(mode="after")
    def _check_pool(self) -> Sizes:
        if self.num_pool < self.num_train:
            raise ValueError(
                f"num_pool is {self.num_pool} and num_train {self.num_train}: expected a pool of "
                "at least the pairs of a training"
            )
        return self


@dataclass(frozen=True, slots=True)
class Material:
    """The pairs of the study, all in the orientation of their labels.

    Attributes:
        pool: the training pairs of HH-RLHF, both parts.
        parts: those of them that training draws from, helpful and harmless.
        sizes: how much is drawn.
        proxy: pairs of the pool that the proxy judge learns from, and no training.
        gold: pairs of the pool that the gold judge learns from, and neither proxy nor training.
        meta_prompts: prompts of the pool that no training and no judge sees, for the meta set.
        shift_prompts: prompts of HH test pairs that are in no test set, for shifted policies.
        sets: the test sets, the one in distribution first.
        num_overlapping: test pairs that were left out, as their prompt is one of the pool.
    """

    pool: Sequence[Pair]
    parts: tuple[Part, Part]
    sizes: Sizes
    proxy: Sequence[Pair]
    gold: Sequence[Pair]
    meta_prompts: Sequence[Conversation]
    shift_prompts: Sequence[Conversation]
    sets: Sequence[TestSet]
    num_overlapping: int

    def train(self, seed: int) -> list[Pair]:
        """Return the training pairs of a seed, drawn by whole groups.

        Raises:
            ConfigError: a part has too few pairs.
        """
        rng = np.random.default_rng([seed, TRAIN_STREAM])
        return _of_both(self.parts, self.sizes.num_train, rng=rng)

    def pairs(self) -> list[Pair]:
        """Return the pairs of the pool and of all test sets."""
        return [*self.pool, *(pair for one in self.sets for pair in one.pairs)]

    def clusters(self, test_set: TestSet) -> NDArray[np.int64]:
        """Return what to resample for intervals: groups [M], or texts [M, 2] if few.

        Sets of one data set number their groups alike, so that they can be resampled together.
        """
        of_data = [one for one in self.sets if one.dataset == test_set.dataset]
        names = sorted({_group(pair) for one in of_data for pair in one.pairs})
        own = [_group(pair) for pair in test_set.pairs]
        if len(set(own)) < MIN_GROUPS:
            return text_ids(test_set.pairs)
        return cluster_ids([*names, *own])[len(names) :]


def read_material(data: Path | None, *, sizes: Sizes) -> Material:
    """Read all data sets and draw from them; what is drawn depends on ``sizes`` alone.

    Whole groups are drawn; of the prompts of RM-Bench one pair of each difficulty. Test pairs whose
    prompt is a training prompt, but for case and white space, are left out. Judges learn from no
    conversation that opens with the question of a prompt that is answered.

    Args:
        data: the folder with the development data sets.
        sizes: how much is drawn.

    Raises:
        ConfigError: a file is not there, or HH has too few pairs.
    """
    hh = [read_files(data, name) for name in PARTS]
    train, test = ([[p for p in part if p.split == s] for part in hh] for s in ("train", "test"))
    pool = [pair for part in train for pair in part]
    unseen = [unseen_by(pool, part) for part in test]
    num_overlapping = sum(map(len, test)) - sum(map(len, unseen))
    meta = _of_both(_one_a_group(train), sizes.num_meta, rng=_rng(META_STREAM))
    shift = _of_both(_one_a_group(unseen), sizes.num_prompts, rng=_rng(SHIFT_STREAM))
    held_out = _of_both(
        _without(unseen, shift), sizes.num_held_out, rng=_rng(SET_STREAM), short="allowed"
    )
    sets = [TestSet(HELD_OUT, IN_DISTRIBUTION, False, held_out)]
    for number, (name, title) in enumerate((PLAIN_SETS | GRADED_SETS).items(), start=1):
        found = read_files(data, name)
        new = unseen_by(pool, found)
        num_overlapping += len(found) - len(new)
        most = round(sizes.per_set * (SHARES.get(name, 1.0) if sizes.cut_long else 1.0))
        draw = _graded_sets if name in GRADED_SETS else _plain_sets
        sets += draw(title, new, most, rng=_rng(SET_STREAM + number))
    left = _without(train, meta)
    drawn = _of_both(left, sizes.num_pool, rng=_rng(POOL_STREAM))
    num_helpful = sizes.num_pool - sizes.num_pool // 2
    answered = [pair.prompt for pair in (*meta, *shift)]
    proxy, gold = _for_judges(_without(left, drawn), answered, sizes=sizes)
    return Material(
        pool=pool,
        parts=(drawn[:num_helpful], drawn[num_helpful:]),
        sizes=sizes,
        proxy=proxy,
        gold=gold,
        meta_prompts=[pair.prompt for pair in meta],
        shift_prompts=[pair.prompt for pair in shift],
        sets=sets,
        num_overlapping=num_overlapping,
    )


def first_question(prompt: Conversation) -> str:
    """Return what a conversation opens with, without case and with single spaces.

    >>> from tamis.types import Message
    >>> first_question((Message("user", "Why  ME?"), Message("assistant", "Why not.")))
    'why me?'
    """
    opening = next((message.content for message in prompt if message.role == "user"), "")
    return " ".join(opening.casefold().split())


def unseen_by(pool: Iterable[Pair], pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs whose prompt is no prompt of the pool, but for case and white space."""
    known = {_prompt_key(pair) for pair in pool}
    return [pair for pair in pairs if _prompt_key(pair) not in known]


def without_questions(pairs: Iterable[Pair], prompts: Iterable[Conversation]) -> list[Pair]:
    """Return the pairs of conversations that open with other questions than these prompts."""
    asked = {first_question(prompt) for prompt in prompts}
    return [pair for pair in pairs if first_question(pair.prompt) not in asked]


def _for_judges(
    parts: Sequence[Part], answered: Sequence[Conversation], *, sizes: Sizes
) -> tuple[list[Pair], list[Pair]]:
    """Return different groups of pairs: those of the proxy, and those of gold."""
    others = [without_questions(part, answered) for part in parts]
    rng = _rng(JUDGE_STREAM)
    proxy = _of_both(others, sizes.num_proxy, rng=rng)
    gold = _of_both(_without(others, proxy), sizes.num_gold, rng=rng, short="allowed")
    return proxy, gold


def _rng(stream: int) -> Drawing:
    return np.random.default_rng(stream)


def _plain_sets(title: str, pairs: Part, most: int, *, rng: Drawing) -> list[TestSet]:
    return [TestSet(title, title, True, some_of(pairs, most, rng=rng))]


def _graded_sets(title: str, pairs: Part, most: int, *, rng: Drawing) -> list[TestSet]:
    """Draw prompts, and of each a pair of every difficulty; they share texts where they can."""
    of_group: dict[str, list[Pair]] = {}
    for pair in pairs:
        of_group.setdefault(_group(pair), []).append(pair)
    whole = [n for n in sorted(of_group) if len({_difficulty(p) for p in of_group[n]}) == 3]
    drawn: dict[str, list[Pair]] = {level: [] for level in DIFFICULTIES}
    for place in rng.permutation(len(whole))[: most // len(DIFFICULTIES)]:
        pairs_of = of_group[whole[place]]
        order = [pairs_of[at] for at in rng.permutation(len(pairs_of))]
        read: set[Conversation] = set()
        for level in DIFFICULTIES:
            pair = min(
                (p for p in order if _difficulty(p) == level),
                key=lambda p: (p.chosen not in read) + (p.rejected not in read),
            )
            read |= {pair.chosen, pair.rejected}
            drawn[level].append(pair)
    return [TestSet(f"{title}, {level}", title, True, some) for level, some in drawn.items()]


def _of_both(
    parts: Sequence[Part],
    num: int,
    *,
    rng: Drawing,
    short: Literal["refused", "allowed"] = "refused",
) -> list[Pair]:
    """Draw so many pairs, half of them from each part."""
    drawn: list[Pair] = []
    for name, part, wanted in zip(PARTS, parts, (num - num // 2, num // 2), strict=True):
        some = some_of(part, wanted, rng=rng)
        if len(some) < wanted and short == "refused":
            raise ConfigError(
                f"{name}: {wanted} pairs are asked for and {len(some)} can be drawn; expected "
                "smaller numbers of training pairs and prompts"
            )
        drawn += some
    return drawn


def some_of(pairs: Part, most: int, *, rng: Drawing) -> list[Pair]:
    """Keep whole groups in random order, each that fits, until there are ``most``."""
    sizes = Counter(_group(pair) for pair in pairs)
    names = sorted(sizes)
    kept: set[str] = set()
    total = 0
    for place in rng.permutation(len(names)):
        if total + sizes[names[place]] <= most:
            kept.add(names[place])
            total += sizes[names[place]]
    return [pair for pair in pairs if _group(pair) in kept]


def _one_a_group(parts: Iterable[Part]) -> list[Part]:
    """Return the first pair of each group."""
    return [list({_group(pair): pair for pair in reversed(part)}.values())[::-1] for part in parts]


def _without(parts: Iterable[Part], taken: Iterable[Pair]) -> list[Part]:
    """Return the pairs of other groups."""
    groups = {_group(pair) for pair in taken}
    return [[pair for pair in part if _group(pair) not in groups] for part in parts]


def _group(pair: Pair) -> str:
    return pair.group or pair.id


def _difficulty(pair: Pair) -> str:
    return pair.subset.rpartition("/")[2]


def _prompt_key(pair: Pair) -> str:
    return " ".join(" ".join(message.content for message in pair.prompt).casefold().split())
