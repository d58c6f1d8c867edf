"""The parts of the stages' JSON reports that the report shows; other keys of a file are ignored.

The files are checked against these records when read (see ``read.load_record``), so a section can
rely on every field. What a stage may leave out has a default here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tamis.report.bench_records import (
    BestOf,
    Ceiling,
    FigureRow,
    LengthFigures,
    Probability,
    ScoreFigures,
)
from tamis.types import Interval


@dataclass(frozen=True, slots=True)
class Contradictions:
    """Pairs that also occur with their sides swapped; an example has ``rows`` and ``ids``."""

    num_pairs: int = 0
    examples: list[dict[str, list[Any]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DataReport:
    """``data/report.json``."""

    num_rows: int
    num_pairs: int
    num_dropped: int
    dropped: dict[str, int]
    source: str = ""
    fingerprint: str | None = None
    convention: str | None = None
    contradictory: Contradictions = field(default_factory=Contradictions)
    splits: dict[str, int] = field(default_factory=dict)
    num_groups: int | None = None
    chosen_longer_frac: float | None = None
    has_votes: bool = False
    has_gold: bool = False
    length_check: str = ""


@dataclass(frozen=True, slots=True)
class VoteSide:
    """One way of voting (in-sample, cross-fitted or out-of-bag), in a few numbers."""

    negative_mean_frac: float
    voter_correlation: float | None = None
    num_votes: int | None = None


@dataclass(frozen=True, slots=True)
class ConvergenceStep:
    """How the vote of some voters correlates with that of all, and with that of as many others."""

    num_voters: int
    with_final: float
    with_others: float | None = None


@dataclass(frozen=True, slots=True)
class ConvergenceReport:
    """How a vote settles as voters are added, and what is predicted of two votes like it."""

    num_voters: int
    steps: list[ConvergenceStep]
    two_votes: float
    two_doubled: float
    enough_at: float
    sentence: str
    two_votes_at_most: float | None = None
    num_enough: int | None = None


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """How well one suspicion score finds wrong labels; ``arm`` and ``per_seed`` in studies only."""

    name: str
    auroc: Interval | None
    average_precision: Interval | None = None
    arm: str = ""
    chance_average_precision: float | None = None
    per_seed: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Against:
    """The vote compared with a truth."""

    num_wrong: int
    wrong_frac: float
    rows: list[DetectionRow]
    chance_average_precision: float | None = None


@dataclass(frozen=True, slots=True)
class Truths:
    """The vote compared with gold labels and with the majority of people."""

    gold: Against | None = None
    votes: Against | None = None


@dataclass(frozen=True, slots=True)
class VoteReport:
    """``vote/report.json``."""

    num_voters: int
    num_pairs: int
    headline: str
    kind: str = ""
    num_folds: int | None = None
    fold_by: str | None = None
    in_sample: VoteSide | None = None
    cross_fitted: VoteSide | None = None
    out_of_bag: VoteSide | None = None
    convergence: ConvergenceReport | None = None
    against: Truths | None = None


@dataclass(frozen=True, slots=True)
class RepairTruth:
    """What denoising did to the labels that are known to be wrong."""

    wrong_before_frac: float
    wrong_after_frac: float
    num_repaired: int
    num_broken: int
    num_wrong_dropped: int = 0
    num_right_dropped: int = 0


@dataclass(frozen=True, slots=True)
class WrongReport:
    """How P(label wrong) was estimated."""

    method: str
    expected_wrong_frac: float
    assumption: str
    evidence: list[str] = field(default_factory=list)
    noise_rate: float | None = None
    noise_rate_low: float | None = None
    noise_rate_high: float | None = None
    num_trusted: int = 0
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class DenoiseReport:
    """``denoise/report.json``."""

    policy: str
    num_pairs: int
    num_changed: int
    changed_frac: float
    reasons: dict[str, int]
    settings: dict[str, Any] = field(default_factory=dict)
    mean_weight: float | None = None
    against_gold: RepairTruth | None = None
    wrong: WrongReport | None = None


@dataclass(frozen=True, slots=True)
class LossPoint:
    """Training loss and accuracy at one step."""

    step: int
    loss: float
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """``train/report.json``."""

    num_pairs: int
    num_steps: int
    loss: list[LossPoint]
    num_left_out: dict[str, int] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    score_scale: dict[str, dict[str, float]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    draws: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of a benchmark."""

    name: str
    num_items: int
    accuracy: Interval | float
    baselines: dict[str, Interval | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark's accuracy, with what simple rules reach on it."""

    name: str
    num_items: int
    accuracy: Interval
    title: str = ""
    ties_frac: float = 0.0
    baselines: dict[str, Interval | float] = field(default_factory=dict)
    beats_longest: Interval | None = None
    subsets: list[Subset] = field(default_factory=list)
    figures: list[FigureRow] = field(default_factory=list)
    length: LengthFigures = field(default_factory=LengthFigures)
    probability: Probability = field(default_factory=Probability)
    best_of: BestOf = field(default_factory=BestOf)
    ceiling: Ceiling | None = None
    scores: ScoreFigures | None = None
    warnings: list[str] = field(default_factory=list)
    version: str = ""
    commit: str | None = None
    fingerprint: str = ""
    num_dropped: int = 0


@dataclass(frozen=True, slots=True)
class BenchReport:
    """``bench/report.json``; ``calibrators`` are those in checkpoints, with a ``sentence``."""

    benchmarks: list[Benchmark]
    calibrators: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compared:
    """One benchmark answered by the model trained on verdicts and by its baseline."""

    name: str
    num_items: int
    accuracy: Interval
    baseline: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class CompareReport:
    """``compare/report.json``."""

    benchmarks: list[Compared]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a study: which labels a reward model was trained on and what it reached."""

    noise: str
    labels: str
    accuracy: Interval
    wrong_frac: float | None = None
    per_seed: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference between two arms."""

    noise: str
    contrast: str
    difference: Interval


@dataclass(frozen=True, slots=True)
class Named:
    """An accuracy with a name."""

    name: str
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Reached:
    """An accuracy."""

    accuracy: Interval


@dataclass(frozen=True, slots=True)
class StudyReport:
    """``study/report.json``; ``denoised`` names the arm that is compared with "raw" first."""

    arms: list[Arm]
    denoised: str = "denoised"
    title: str = ""
    num_seeds: int = 0
    seeds: list[int] = field(default_factory=list)
    noise_frac: dict[str, Any] = field(default_factory=dict)
    detection: list[DetectionRow] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    baselines: list[Named] = field(default_factory=list)
    checkpoint: Reached | None = None
    findings: list[str] = field(default_factory=list)
