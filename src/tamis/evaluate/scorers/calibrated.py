"""A checkpoint whose scores are calibrated by the calibrator that lies in it.

``calibrated:runs/a`` beside ``runs/a`` shows what calibration changes. What is kept on disk are the
raw scores.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tamis.calibrate import (
    CALIBRATOR,
    Calibrator,
    Curve,
    Slope,
    apply,
    feature_values,
    read_calibrator,
)
from tamis.calibrate.features import CountTokens
from tamis.errors import ConfigError, DataError, TamisError
from tamis.evaluate import GapScores, PairScorer
from tamis.evaluate.scorers import checkpoint
from tamis.evaluate.scorers.opening import (
    CHECKPOINT,
    Held,
    Inner,
    OpenedScorer,
    kind_of,
    split_name,
)
from tamis.evaluate.scorers.options import ScorerOptions
from tamis.evaluate.scorers.weights import weights_identity
from tamis.metrics.ensemble import Centring
from tamis.models.source import loading, locate
from tamis.runs import fingerprint
from tamis.types import Pair

CALIBRATED, TOKENS = "calibrated", "tokens"
OPTIONS = checkpoint.OPTIONS
# what tells how the scores of a checkpoint are asked for, where no option says otherwise
AS_IT_IS: Mapping[str, int | str | None] = {
    "max_length": None,
    "dtype": "float32",
    "chat_template": None,
}


def open_scorer(
    address: str, *, options: ScorerOptions, notice: Callable[[str], None]
) -> OpenedScorer:
    """Open a folder with a model, or a run directory, and the calibrator in it.

    Raises:
        ConfigError: the checkpoint cannot be opened.
        DataError: nothing is there; or the calibrator is missing, damaged, or was fitted on the
            scores of other weights, or of a model that was asked otherwise.
    """
    raw = checkpoint.open_scorer(address, options=options, notice=notice)
    folder = Path(checkpoint.checkpoint_in(address))
    weights, asked = raw.identity.get("weights"), asked_of(raw.identity)
    calibrator = calibrator_beside(folder, weights=weights, asked=asked)
    if calibrator is None:
        raise DataError(
            f"{folder}: no {CALIBRATOR} there; `tamis calibrate` fits one on scored texts"
        )
    counter = Held(partial(token_counter, folder, with_code=options.trust_remote_code))
    wrap = partial(
        calibrated, calibrator=calibrator, count_tokens=lambda answers: counter.get()(answers)
    )
    return OpenedScorer(
        name=f"{raw.name} calibrated",
        score=wrap(raw.score),
        identity={
            **raw.identity,
            "kind": CALIBRATED,
            "calibrator": fingerprint(folder / CALIBRATOR),
        },
        release=raw.release,
        inner=Inner(raw, wrap),
        of_pairs=calibrator.needs_pairs,
        centring=lambda: calibrated_centring(calibrator, raw.centring()),
    )


def calibrated_centring(calibrator: Calibrator, raw: Centring | None) -> Centring | None:
    """Return mean and standard deviation by which calibrated scores are standardised.

    The mean is that of the scores the calibrator was fitted on, calibrated, or else the recorded
    one. Log odds have one unit, whatever the model: they are centred alone, and their divisor is 1.

    Args:
        calibrator: of the scores.
        raw: mean and standard deviation of the scores before, where they are known.
    """
    mean = calibrator.origin.score_mean
    if mean is None and raw is not None:
        mean = raw[0]
    if mean is None or (raw is None and calibrator.unit != "logit"):
        return None
    gaps = tuple(step for step in calibrator.steps if not isinstance(step, Slope | Curve))
    both = apply(replace(calibrator, steps=gaps), [[mean, mean]], features={})
    std = 1.0 if raw is None or calibrator.unit == "logit" else raw[1]
    return float(both[0, 0]), std


def calibrated(
    scorer: PairScorer, *, calibrator: Calibrator, count_tokens: CountTokens | None = None
) -> PairScorer:
    """Return a scorer with its scores calibrated.

    Args:
        scorer: the one whose scores the calibrator was fitted on.
        calibrator: from `calibrator_beside`, say.
        count_tokens: of answers, where the calibrator needs tokens.

    The scorer that is returned raises:
        ConfigError: tokens are needed and cannot be counted.
        DataError: a score is not finite.
    """

    def score(pairs: Sequence[Pair]) -> GapScores:
        found = scorer(pairs)
        scores_P2 = np.stack([found.chosen_N, found.rejected_N], axis=1).astype(np.float64)
        answers = [side[-1].content for pair in pairs for side in (pair.chosen, pair.rejected)]
        features = {
            name: feature_values(name, answers, count_tokens=count_tokens).reshape(-1, 2)
            for name in calibrator.features
        }
        after_P2 = apply(calibrator, scores_P2, features=features)
        return GapScores(after_P2[:, 0], after_P2[:, 1])

    return score


def asked_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint's identity that says how its scores are asked for."""
    return {name: identity.get(name) for name in AS_IT_IS}


def check_calibrators(known: Mapping[str, Calibrator | None]) -> None:
    """Refuse models, by name, that have no calibrated scores of single answers.

    Raises:
        ConfigError: one has no calibrator, or one that calibrates gaps between answers alone.
    """
    for name, calibrator in known.items():
        if calibrator is None:
            raise ConfigError(
                f"{name}: no {CALIBRATOR} there, so there are no calibrated scores; "
                "`tamis calibrate` fits one, or choose raw"
            )
        if calibrator.needs_pairs:
            raise ConfigError(
                f"{name}: its calibrator (method {calibrator.method}) calibrates gaps between two "
                "answers, not single scores; fit another with `tamis calibrate`, or choose raw"
            )


def calibrator_beside(
    folder: Path, *, weights: str | None = None, asked: Mapping[str, Any] | None = None
) -> Calibrator | None:
    """Return the calibrator that lies in a checkpoint, or ``None``.

    Args:
        folder: the checkpoint.
        weights: the identity of the weights, where it is known already.
        asked: how the scores are asked for that it is to be applied to (see `asked_of`), where that
            is known.

    Raises:
        DataError: it is damaged, or was fitted on the scores of other weights, or of a model that
            was asked otherwise.
    """
    path = folder / CALIBRATOR
    if not path.is_file():
        return None
    calibrator = read_calibrator(path)
    found = weights or weights_identity(str(folder))["weights"]
    if calibrator.origin.model not in (None, found):
        raise DataError(
            f"{path}: it was fitted on the scores of other weights than those beside it; fit it "
            "again with `tamis calibrate`, or remove it"
        )
    fitted = calibrator.origin.asked
    for name, value in (asked or {}).items():
        if fitted is not None and fitted.get(name) != value:
            raise DataError(
                f"{path}: it was fitted on scores with {name} {_plain(fitted.get(name))}, not "
                f"{_plain(value)}; set the option as it was, or fit again with `tamis calibrate`"
            )
    return calibrator


def _plain(value: Any) -> str:
    return "as the model has it" if value is None else str(value)


def calibration_note(folder: Path) -> dict[str, Any] | None:
    """Return what a report says of the calibrator in a checkpoint, or ``None`` without one.

    A calibrator that cannot be used is a ``problem`` here, and an error only where it is asked for.
    """
    try:
        calibrator = calibrator_beside(folder)
    except TamisError as error:
        return {"problem": str(error)}
    if calibrator is None:
        return None
    return {
        "method": calibrator.method,
        "features": list(calibrator.features),
        "num_texts": calibrator.origin.num_texts,
        "data": calibrator.origin.data,
    }


def calibration_notes(scorers: Sequence[str], *, data: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what a report says of the calibrators in checkpoints, of those that have one.

    ``applied`` says whether the scorer's text asks for it, ``fitted_on`` which of the files it was
    fitted on, ``sentence`` what a user should know.

    Args:
        scorers: their texts.
        data: fingerprints of files that the scorers are measured on, by name.

    Raises:
        DataError: a path where nothing is.
    """
    found = []
    for text in scorers:
        kind, address = kind_of(split_name(text)[1])
        if kind not in (CHECKPOINT, CALIBRATED):
            continue
        note = calibration_note(Path(checkpoint.checkpoint_in(address)))
        if note is not None:
            applied = kind == CALIBRATED
            same = [name for name, digest in data.items() if digest == note.get("data")]
            sentence = _sentence(note, applied=applied, same=same)
            found.append(
                {
                    "scorer": text,
                    "applied": applied,
                    "fitted_on": same,
                    "sentence": sentence,
                    **note,
                }
            )
    return found


def _sentence(note: Mapping[str, Any], *, applied: bool, same: Sequence[str]) -> str:
    if "problem" in note:
        return f"not calibrated: {note['problem']}"
    method = note["method"]
    if not applied:
        return f"scores are raw; a calibrator ({method}) lies in the checkpoint: --calibrated"
    text = f"scores are calibrated by {method}, fitted on {note['num_texts']:,} answers"
    return f"{text}: those of {', '.join(same)}, which flatters it there" if same else text


def with_calibrators(scorers: Sequence[str]) -> list[str]:
    """Return the texts of scorers with that of each checkpoint as a calibrated one.

    Raises:
        ConfigError: there is no checkpoint among them.

    >>> with_calibrators(["a=runs/a", "longest"])
    ['a=calibrated:runs/a', 'longest']
    """
    found = []
    for text in scorers:
        name, rest = split_name(text)
        kind, address = kind_of(rest)
        front = "" if name is None else f"{name}="
        found.append(f"{front}{CALIBRATED}:{address}" if kind == CHECKPOINT else text)
    if found == list(scorers):
        raise ConfigError("no checkpoint among the scorers: there is no calibrator to apply")
    return found


def token_counter(folder: Path, *, with_code: bool = False) -> CountTokens:
    """Return what counts the tokens of answers, as the tokenizer of a checkpoint splits them.

    Code that comes with it is run ``with_code`` alone.

    Raises:
        ConfigError: the tokenizer cannot be loaded.
    """
    with loading(str(folder)):
        tokenizer = AutoTokenizer.from_pretrained(locate(str(folder)), trust_remote_code=with_code)

    return partial(token_lengths, tokenizer)


def token_lengths(tokenizer: PreTrainedTokenizerBase, answers: Sequence[str]) -> list[int]:
    """Return how many tokens each answer has, without those that the tokenizer adds."""
    if not answers:
        return []
    rows = tokenizer(list(answers), add_special_tokens=False, verbose=False)["input_ids"]
    return [len(row) for row in rows]
