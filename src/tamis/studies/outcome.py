"""What one cell of a study found, and the files that keep it, so that a study can go on.

Shape legend: N training pairs, M test pairs.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.models.config import ModelConfig
from tamis.models.source import locate
from tamis.runs import fingerprint, write_bytes
from tamis.studies.material import Bench
from tamis.vote.heads import Labels

CELL_FORM = 3  # raised where cells of an earlier version would be wrong

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One noise under one seed on one data set.

    Attributes:
        wrong_N: whether a label goes against the truth; meaningless where it is not known.
        known_N: whether the truth is known.
        turned_N: whether a label goes against the stored orientation.
        suspicion: scores by name, higher = more suspicious [N].
        credit: of each arm on the test pairs [M].
        figures: single numbers by name.
        chance_N: P(label wrong) fitted on a few trusted labels, NaN on these and where nothing is
            known; None where the noise knows no trusted labels.
        labels: what some arms ask, for models that are fine-tuned on the same.
    """

    wrong_N: Bools
    known_N: Bools
    turned_N: Bools
    suspicion: Mapping[str, Floats]
    credit: Mapping[str, Floats]
    figures: Mapping[str, float]
    chance_N: Floats | None = None
    labels: Mapping[str, Labels] = field(default_factory=dict)


def bench_identity(bench: Bench) -> dict[str, Any]:
    """Return what every cell of a data set depends on: its pairs, and how cells are computed."""
    digest = hashlib.sha256()
    for pair in (*bench.train, *bench.test):
        digest.update(f"{pair.id} {pair.votes} {pair.margin}\n".encode())
    return {"form": CELL_FORM, "pairs": digest.hexdigest()}


def model_identity(model: ModelConfig) -> dict[str, Any]:
    """Return what a model is, wherever it lies: its settings and the hash of its files."""
    known = model.model_dump(exclude={"path"})
    return {**known, "weights": fingerprint(Path(locate(model.path)))}


def cell_path(folder: Path, **identity: Any) -> Path:
    """Return where the outcome of a cell is kept; all that it depends on is in its name.

    >>> one, other = (cell_path(Path("cells"), bench="ukp", seed=seed) for seed in (0, 1))
    >>> one == cell_path(Path("cells"), seed=0, bench="ukp"), one == other
    (True, False)
    """
    text = json.dumps(identity, sort_keys=True, default=str)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def save_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome to one file, atomically; suspicion and chance keep seven digits."""
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(outcome, name) for name in ("wrong_N", "known_N", "turned_N")
    }
    for name, values_N in outcome.suspicion.items():
        arrays[f"suspicion/{name}"] = values_N.astype(np.float32)
    for name, credit_M in outcome.credit.items():
        arrays[f"credit/{name}"] = (2 * credit_M).astype(np.int8)
    for name, figure in outcome.figures.items():
        arrays[f"figures/{name}"] = np.array(figure, np.float64)
    if outcome.chance_N is not None:
        arrays["chance_N"] = outcome.chance_N.astype(np.float32)
    for name, asked in outcome.labels.items():
        columns = (asked.target_N, asked.margin_N, asked.weight_N)
        arrays[f"labels/{name}"] = np.stack(columns).astype(np.float32)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    write_bytes(path, stream.getvalue())


def load_outcome(path: Path) -> Outcome | None:
    """Read what `save_outcome` wrote; None where there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
            found: dict[str, dict[str, Any]] = {}
            for name in arrays:
                kind, _, of = name.partition("/")
                found.setdefault(kind, {})[of] = arrays[name]
            chance_N = arrays.get("chance_N")
            return Outcome(
                wrong_N=arrays["wrong_N"],
                known_N=arrays["known_N"],
                turned_N=arrays["turned_N"],
                suspicion={k: v.astype(np.float64) for k, v in found["suspicion"].items()},
                credit={k: v.astype(np.float64) / 2 for k, v in found["credit"].items()},
                figures={k: float(v) for k, v in found["figures"].items()},
                chance_N=None if chance_N is None else chance_N.astype(np.float64),
                labels={
                    k: Labels(*v.astype(np.float64)) for k, v in found.get("labels", {}).items()
                },
            )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"{path}: expected the outcome of a cell: {error}; remove the file"
        ) from error
