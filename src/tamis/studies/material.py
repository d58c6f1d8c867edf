"""What the studies run on: pairs whose truth is known, and frozen features of them.

Every data set is brought into one form: pairs in the orientation of the best label there is, split
into training and test pairs, with what is known of how close each pair is, and with the features of
one or several models side by side. Votes of people say how close a pair is and what single people
said; they are never features.

Shape legend: N training pairs, M test pairs, D feature dimensions of all models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.data import DataConfig, prepare
from tamis.errors import ConfigError
from tamis.metrics import cluster_ids, text_ids
from tamis.models.config import ModelConfig
from tamis.models.encoded import EncodedPairs, store_pairs
from tamis.models.features import pooled_features
from tamis.models.tokenise import load_tokenizer
from tamis.runs.scratch import scratch_array
from tamis.studies.demo_data import gold_pairs
from tamis.terms.pcrm import Settings
from tamis.terms.pcrm import bounds as gap_bounds
from tamis.terms.similarity import angular_similarity, length_similarity
from tamis.types import Pair
from tamis.vote.frozen import depth_scales, flatten, frozen_differences

MIN_GROUPS = 20  # of test pairs, to draw groups for an interval and not texts
LEAST_GROUPS = 10  # of training pairs, to hold whole groups out
LEAST_VOTES = 3

TITLES = {
    "ukp": "UKPConvArg1",
    "humour": "Humour",
    "pandalm": "PandaLM",
    "hh": "HH-RLHF",
    "alpaca": "AlpacaEval, graded",
}

Floats = NDArray[np.float64]
Features = NDArray[np.float32]
Models = Mapping[str, ModelConfig]
Name = Literal["ukp", "humour", "pandalm", "hh", "alpaca"]


@dataclass(frozen=True, slots=True)
class Bench:
    """One data set of a study.

    Attributes:
        name: short, for tables.
        train: N pairs in true orientation; a study corrupts their labels.
        test: M pairs in true orientation, of other texts or prompts; they stay as they are.
        features: of each model by name, the differences of train [N, D] and test [M, D].
        distance_N: how far a pair is from a tie, in the data set's own unit; None = not known.
        bounds: PCRM's bound on the gap of each training pair [N], by prior.
    """

    name: str
    train: Sequence[Pair]
    test: Sequence[Pair]
    features: Mapping[str, tuple[Features, Features]]
    distance_N: Floats | None
    bounds: Mapping[str, Floats]

    def joined(self) -> tuple[Features, Features]:
        """Return the features of all models side by side, of train [N, D] and of test [M, D]."""
        sides = list(self.features.values())
        if len(sides) == 1:
            return sides[0]
        train_ND, test_MD = (np.concatenate(parts, axis=1) for parts in zip(*sides, strict=True))
        return train_ND, test_MD

    @property
    def train_clusters(self) -> NDArray[np.int64]:
        """What to resample for intervals over training pairs: their two texts [N, 2]."""
        return text_ids(self.train)

    @property
    def test_clusters(self) -> NDArray[np.int64]:
        """What to resample for intervals over test pairs: groups [M], or texts [M, 2] if few."""
        group_M = cluster_ids([pair.group or pair.id for pair in self.test])
        return text_ids(self.test) if len(np.unique(group_M)) < MIN_GROUPS else group_M

    @property
    def has_groups(self) -> bool:
        """Whether training pairs come in groups whose texts other groups do not have."""
        groups = {pair.group or pair.id for pair in self.train}
        return LEAST_GROUPS <= len(groups) < len(self.train) / 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How many pairs of a data set are used at most, whole groups of them."""

    train: int = 12_000
    test: int = 2_500


def bench_title(name: str) -> str:
    """Return the name of a data set as its authors write it."""
    return TITLES.get(name, name)


def load_bench(
    name: Name, *, data: Path | None, models: Models, cache: Path, limits: Limits
) -> Bench:
    """Read a data set, and compute (or find in ``cache``) the features of all models.

    ``data`` is the folder with the development data sets; UKPConvArg1 comes with Tamis.

    Raises:
        ConfigError: a file is not there, or a model cannot be loaded.
    """
    return make_bench(name, some_pairs(name, data=data, limits=limits), models=models, cache=cache)


def some_pairs(name: Name, *, data: Path | None, limits: Limits) -> list[Pair]:
    """Return the training and the test pairs of a data set, in true orientation.

    Raises:
        ConfigError: a file is not there.
    """
    pairs = READERS[name](data)
    train = _limited([p for p in pairs if p.split == "train"], limits.train)
    return [*train, *_limited([p for p in pairs if p.split == "test"], limits.test)]


def make_bench(name: str, pairs: Sequence[Pair], *, models: Models, cache: Path) -> Bench:
    """Compute features and bounds of pairs that are in true orientation, train before test."""
    num_train = sum(pair.split == "train" for pair in pairs)
    train, test = pairs[:num_train], pairs[num_train:]
    features = {
        label: _scaled(frozen_differences(pairs, model=model, cache=cache), num_train=num_train)
        for label, model in models.items()
    }
    known = [pair.margin for pair in train]
    distance_N = None
    if not any(margin is None for margin in known):
        distance_N = np.abs(np.array(known, dtype=np.float64))
    encoder = next(iter(models.values()))
    # of all pairs: these texts, in these chunks, have been read for the features
    of_all = _bounds(pairs, encoder, cache=cache)
    bounds = {prior: bound_N[:num_train] for prior, bound_N in of_all.items()}
    return Bench(name, train, test, features, distance_N, bounds)


def _scaled(diff_NLD: Features, *, num_train: int) -> tuple[Features, Features]:
    scale_L = depth_scales(diff_NLD[:num_train])
    flat_ND = flatten(diff_NLD, scale_L=scale_L)
    return flat_ND[:num_train], flat_ND[num_train:]


def _bounds(pairs: Sequence[Pair], encoder: ModelConfig, *, cache: Path) -> dict[str, Floats]:
    """Return PCRM's published bounds, with likeness by lengths in tokens and by the encoder.

    Unlike the term in training, the encoder reads what the heads' features are made of.
    """
    tokenizer = load_tokenizer(encoder)
    stored = store_pairs(tokenizer, pairs, max_length=int(tokenizer.model_max_length), folder=cache)
    length_N2 = np.array(
        [(len(p.chosen) - p.num_prefix, len(p.rejected) - p.num_prefix) for p in stored], np.int64
    )
    alike = {
        "length": length_similarity(length_N2[:, 0], length_N2[:, 1]),
        "cosine": _angles(stored, encoder, cache=cache),
    }
    found = {}
    for prior, similarity_N in alike.items():
        settings = Settings.model_validate({"prior": prior})
        beta1, beta3 = settings.betas()
        found[prior] = gap_bounds(similarity_N, beta1=beta1, beta2=settings.beta2, beta3=beta3)
    return found


def _angles(stored: EncodedPairs, encoder: ModelConfig, *, cache: Path) -> Floats:
    vectors_MD: Features | None = None
    for texts in pooled_features(encoder, stored.sequences, cache=cache):
        last_UD = texts.features_ULD[:, -1]
        if vectors_MD is None:
            shape = (2 * len(stored), last_UD.shape[1])
            vectors_MD = scratch_array(shape, dtype=np.float32, folder=cache)
        vectors_MD[texts.rows] = last_UD[texts.which]
    assert vectors_MD is not None  # there are pairs
    return angular_similarity(vectors_MD[::2], vectors_MD[1::2])


def _limited(pairs: list[Pair], most: int) -> list[Pair]:
    """Keep whole groups, in an order drawn once, until they would be too many."""
    if len(pairs) <= most:
        return pairs
    sizes: dict[str, int] = {}
    for pair in pairs:
        sizes[pair.group] = sizes.get(pair.group, 0) + 1
    kept, total = set(), 0
    names = sorted(sizes)
    for place in np.random.default_rng(0).permutation(len(names)):
        if total + sizes[names[place]] <= most:
            kept.add(names[place])
            total += sizes[names[place]]
    if kept:
        return [pair for pair in pairs if pair.group in kept]
    rows = np.sort(np.random.default_rng(0).permutation(len(pairs))[:most])  # one large group
    return [pairs[row] for row in rows]


def read_files(data: Path | None, *names: str) -> list[Pair]:
    """Read files of a folder: their training and test pairs, in the orientation of their labels.

    Raises:
        ConfigError: a file is not there.
    """
    found: list[Pair] = []
    for name in names:
        path = None if data is None else data / f"{name}.jsonl.gz"
        if path is None or not path.is_file():
            raise ConfigError(
                f"the data set {name} is not here: expected {name}.jsonl.gz in the folder that "
                "--data or TAMIS_DATA_DIR names; `tamis study noise --quick` needs none"
            )
        pairs = prepare(DataConfig(path=str(path))).pairs
        found += [replace(pair, gold=1.0) for pair in pairs if pair.split in ("train", "test")]
    return found


def _voted(pairs: Sequence[Pair]) -> list[Pair]:
    """Keep the pairs on which at least three people decided."""
    return [
        pair
        for pair in pairs
        if pair.votes is not None and pair.votes.chosen + pair.votes.rejected >= LEAST_VOTES
    ]


READERS: Mapping[Name, Callable[[Path | None], list[Pair]]] = {
    "ukp": lambda _: sorted(gold_pairs(), key=lambda pair: pair.split == "test"),
    "humour": lambda data: _voted(read_files(data, "humour_votes")),
    "pandalm": lambda data: _voted(read_files(data, "pandalm_human")),
    "hh": lambda data: read_files(data, "hh_harmless_base", "hh_helpful_base"),
    "alpaca": lambda data: read_files(data, "alpacaeval_gpt4turbo_graded"),
}
