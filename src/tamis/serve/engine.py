"""Loaded checkpoints, and from their raw scores to everything that an answer tells.

Shapes: K models, N texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from huggingface_hub import snapshot_download
from scipy.special import expit, softmax
from torch import nn

from tamis.calibrate import Calibrator, Curve, Slope, apply, feature_values
from tamis.calibrate.config import Feature
from tamis.data.read import split_revision
from tamis.errors import ConfigError
from tamis.evaluate.scorers.calibrated import (
    AS_IT_IS,
    calibrated_centring,
    calibrator_beside,
    token_lengths,
)
from tamis.evaluate.scorers.checkpoint import checkpoint_in
from tamis.metrics.ensemble import (
    Centring,
    Ensemble,
    Scale,
    ensemble_scores,
    recorded,
    scale_from,
    scale_of,
    standardised,
)
from tamis.models.checkpoint import Scorer, load_any_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_sequences
from tamis.models.source import loading, locate
from tamis.models.tokenise import pad_id_of
from tamis.serve.config import OverLength, ServeConfig
from tamis.serve.principled import NO_PRINCIPLES, Under, encode_under
from tamis.serve.texts import Cut, Encoded, Encoder, Text, Turns
from tamis.types import Message

FloatArray = npt.NDArray[np.float64]
Ids = tuple[int, ...]

WEIGHTS = "*.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack", "*.gguf")
CODE = ("*.py",)
WARM_UP = tuple(
    Turns((Message("user", "Question?"),), (Message("assistant", "Answer. " * count),))
    for count in (0, 1, 8, 64)
)


@dataclass(frozen=True, slots=True)
class Member:
    """A checkpoint that is loaded, with its calibrator where one lies beside it.

    ``mean`` is the score of an average answer: of those that the calibrator was fitted on, else of
    those that the configuration tells of, else 0. ``label`` is the name of the one output, ``name``
    what the model is called in messages, and ``centring`` what its configuration records of its
    scores.
    """

    scorer: Scorer
    encoder: Encoder
    calibrator: Calibrator | None
    mean: float
    label: str
    batch_tokens: int
    name: str = "a model"
    centring: Centring | None = None

    def score(self, sequences: Sequence[Ids]) -> FloatArray:
        """Return the raw score of each sequence; it may be NaN or infinite."""
        return score_sequences(
            self.scorer.model,
            sequences,
            pad_id=pad_id_of(self.scorer.tokenizer),
            batch_tokens=self.batch_tokens,
        ).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Scores:
    """What is known of N texts.

    Attributes:
        raw_N: the score of the model, or of the ensemble; of ``min`` and ``lower`` in standard
            deviations (see `Ensemble`).
        std_N: the spread of the members' scores, standardised where each records how; ``None`` for
            one model.
        calibrated_N: after the calibrators; ``None`` where one calibrates gaps only.
        adjusted_N: after the parts of the calibrators that take out features such as length alone;
            ``None`` where there are none, NaN for a text whose answer is not known.
        probability_N: P(the answer is preferred to one with the model's mean score) in [0, 1].
        num_tokens_N: tokens read.
        truncated_N: whether some were cut.
        standardised_N: ``raw_N`` in standard deviations above the mean, each model's own; ``None``
            where a model does not record them.
    """

    raw_N: FloatArray
    std_N: FloatArray | None
    calibrated_N: FloatArray | None
    adjusted_N: FloatArray | None
    probability_N: FloatArray
    num_tokens_N: npt.NDArray[np.int64]
    truncated_N: npt.NDArray[np.bool_]
    standardised_N: FloatArray | None = None


def load_member(path: str, config: ServeConfig, *, trust_remote_code: bool = False) -> Member:
    """Load a checkpoint and its calibrator, and score a few texts once.

    Raises:
        ConfigError: it cannot be loaded, has no trained head or no weights in safetensors, or
            gives a score that is not finite.
        DataError: nothing is there, or its calibrator is damaged or fitted on other weights.
    """
    folder = safe_folder(path, with_code=trust_remote_code)
    calibrator = calibrator_beside(Path(folder), asked=AS_IT_IS)
    scorer = load_any_scorer(ModelConfig(path=folder, trust_remote_code=trust_remote_code))
    member = Member(
        scorer,
        encoder_of(scorer, over_length=config.over_length),
        calibrator,
        mean=_mean_of(scorer, calibrator),
        label=next(iter((scorer.model.config.id2label or {}).values()), "LABEL_0"),
        batch_tokens=config.max_batch_tokens,
        name=path,
        centring=_centring_of(scorer),
    )
    warm_up(member, path=path)
    return member


def _mean_of(scorer: Scorer, calibrator: Calibrator | None) -> float:
    if calibrator is not None and calibrator.origin.score_mean is not None:
        return calibrator.origin.score_mean
    found = getattr(scorer.model.config, "mean", None)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else 0.0


def _centring_of(scorer: Scorer) -> Centring | None:
    config = scorer.model.config
    return recorded(getattr(config, "mean", None), getattr(config, "std", None))


def encoder_of(scorer: Scorer, *, over_length: OverLength = "cut") -> Encoder:
    """Return what turns texts into token ids of a model."""
    embeddings = cast(nn.Embedding, scorer.model.get_input_embeddings())
    return Encoder(
        scorer.tokenizer,
        max_length=scorer.max_length,
        vocabulary=int(embeddings.num_embeddings),
        over_length=over_length,
    )


def safe_folder(path: str, *, with_code: bool = False) -> str:
    """Return the directory of a checkpoint whose weights are safetensors.

    A run directory stands for the checkpoint in it. Of a hub id, perhaps with ``@REVISION``,
    everything is fetched but weights in other forms, and code unless ``with_code``.

    Raises:
        ConfigError: it cannot be reached, or its weights have another form.
        DataError: nothing is there.
    """
    with loading(path):
        address, revision = split_revision(checkpoint_in(path))
        location = locate(address)
        if not Path(location).is_dir():
            left_out = [*PICKLED, *(() if with_code else CODE)]
            location = snapshot_download(location, revision=revision, ignore_patterns=left_out)
    if not any(Path(location).glob(WEIGHTS)):
        raise ConfigError(
            f"{path}: expected weights in safetensors ({WEIGHTS}), found none; other files may "
            "run code when they are read"
        )
    return location


def warm_up(member: Member, *, path: str) -> None:
    """Score texts of several lengths.

    Raises:
        ConfigError: a score is not finite.
    """
    encoded = member.encoder.encode(WARM_UP, cut=Cut(member.encoder.max_length))
    scores_N = member.score([text.ids for text in encoded])
    bad_N = scores_N[~np.isfinite(scores_N)]
    if bad_N.size:
        raise ConfigError(f"{path}: the score of a text is {bad_N[0]}; expected a finite number")


def score_texts(
    members: Sequence[Member],
    texts: Sequence[Text],
    *,
    ensemble: Ensemble | None = None,
    cut: Cut | None = None,
    under: Under = NO_PRINCIPLES,
) -> Scores:
    """Score texts here and now, without a queue, perhaps under principles.

    Raises:
        DataError: a text cannot be read, or a score is not finite.
    """
    encoded_KN = [encode_under(m.encoder, texts, under=under, cut=cut) for m in members]
    raw_KN = np.stack(
        [
            member.score([text.ids for text in encoded_N])
            for member, encoded_N in zip(members, encoded_KN, strict=True)
        ]
    )
    return put_together(members, raw_KN, encoded_KN, ensemble=ensemble)


def check_together(members: Sequence[Member], ensemble: Ensemble | None) -> Scale | None:
    """Return what standardises the members of an ensemble, or ``None`` where nothing does.

    Raises:
        ConfigError: it standardises them, and one does not record the mean and the standard
            deviation of its scores.
    """
    centrings, names = [m.centring for m in members], [m.name for m in members]
    return scale_of(centrings, names=names, ensemble=ensemble or Ensemble())


def put_together(
    members: Sequence[Member],
    raw_KN: FloatArray,
    encoded_KN: Sequence[Sequence[Encoded]],
    *,
    ensemble: Ensemble | None,
) -> Scores:
    """Return everything that raw scores of K models say of N texts.

    An ensemble combines raw scores, calibrated scores and gaps alike, each by its own rule. Gaps
    have one zero, an answer with the mean score, and are never standardised.

    Raises:
        ConfigError: see `check_together`.
        DataError: a score is not finite.
    """
    how, scale = ensemble or Ensemble(), check_together(members, ensemble)
    known = scale_from([member.centring for member in members])

    def combined(values_KN: Sequence[FloatArray], by: Scale | None = None) -> FloatArray:
        return ensemble_scores(np.stack(values_KN), ensemble=how, scale=by)

    encoded_N = encoded_KN[0]
    raw_N = combined(list(raw_KN), scale)
    parts = [
        _Calibrated.of(member, raw_N, encoded_N)
        for member, raw_N, encoded_N in zip(members, raw_KN, encoded_KN, strict=True)
    ]
    adjusts = any(part.adjusts for part in parts)
    known_N = np.array([text.answer is not None for text in encoded_N], bool)
    adjusted_N = np.where(known_N, combined([part.adjusted_N for part in parts], scale), np.nan)
    per_text = [part.calibrated_N for part in parts if part.calibrated_N is not None]
    return Scores(
        raw_N=raw_N,
        std_N=_spread(raw_KN, None if how.is_of_one_zero else known) if len(members) > 1 else None,
        calibrated_N=(
            combined(per_text, scale and _calibrated_scale(members))
            if len(per_text) == len(parts)
            else None
        ),
        adjusted_N=adjusted_N if adjusts else None,
        probability_N=expit(combined([part.gap_N for part in parts])),
        num_tokens_N=np.array([len(text.ids) for text in encoded_N], np.int64),
        truncated_N=np.array(
            [any(text.truncated for text in texts) for texts in zip(*encoded_KN, strict=True)], bool
        ),
        standardised_N=None if known is None else combined(list(raw_KN), known),
    )


def _spread(raw_KN: FloatArray, scale: Scale | None) -> FloatArray:
    return np.asarray((raw_KN if scale is None else standardised(raw_KN, scale)).std(axis=0))


def _calibrated_scale(members: Sequence[Member]) -> Scale | None:
    """Return what standardises calibrated scores of models that record how theirs are."""
    return scale_from(
        [
            m.centring if m.calibrator is None else calibrated_centring(m.calibrator, m.centring)
            for m in members
        ]
    )


def best_of(scores: Scores) -> FloatArray:
    """Return P(each of the N answers is the best one), which sums to 1.

    The softmax of the calibrated scores (of the raw ones where there are none): Plackett and Luce's
    model, which for two answers is Bradley and Terry's.

    >>> one = np.zeros(2)
    >>> best_of(Scores(one, None, one, None, one, one.astype(int), one.astype(bool))).tolist()
    [0.5, 0.5]
    """
    logits_N = scores.raw_N if scores.calibrated_N is None else scores.calibrated_N
    return np.asarray(softmax(logits_N)) if logits_N.size else logits_N


@dataclass(frozen=True, slots=True)
class _Calibrated:
    """What one member's calibrator makes of its scores; without one, they stay as they are.

    ``gap_N`` is the calibrated gap to an answer with the mean score.
    """

    adjusts: bool
    adjusted_N: FloatArray
    calibrated_N: FloatArray | None
    gap_N: FloatArray

    @classmethod
    def of(cls, member: Member, raw_N: FloatArray, encoded_N: Sequence[Encoded]) -> _Calibrated:
        calibrator = member.calibrator
        if calibrator is None or not len(raw_N):
            return cls(False, raw_N, raw_N, raw_N - member.mean)
        features = tuple(s for s in calibrator.steps if isinstance(s, Slope | Curve))
        gaps = tuple(s for s in calibrator.steps if not isinstance(s, Slope | Curve))
        adjusted_N = _without_features(
            member, replace(calibrator, steps=features), raw_N, encoded_N
        )
        scale = replace(calibrator, steps=gaps)
        pairs_N2 = np.stack([adjusted_N, np.full_like(adjusted_N, member.mean)], axis=1)
        paired_N2 = apply(scale, pairs_N2, features={})
        return cls(
            bool(features),
            adjusted_N,
            None if calibrator.needs_pairs else apply(scale, adjusted_N, features={}),
            paired_N2[:, 0] - paired_N2[:, 1],
        )


def _without_features(
    member: Member, calibrator: Calibrator, raw_N: FloatArray, encoded_N: Sequence[Encoded]
) -> FloatArray:
    """Take out what features explain, of the texts whose answer is known; the others stay."""
    known_N = np.array([text.answer is not None for text in encoded_N], bool)
    answers = [text.answer for text in encoded_N if text.answer is not None]
    count_tokens = partial(token_lengths, member.scorer.tokenizer)
    features: dict[str, FloatArray] = {
        name: feature_values(name, answers, count_tokens=count_tokens)
        for name in cast(tuple[Feature, ...], calibrator.features)
    }
    adjusted_N = raw_N.copy()
    if answers:
        adjusted_N[known_N] = apply(calibrator, raw_N[known_N], features=features)
    return adjusted_N
