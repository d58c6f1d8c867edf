"""Which layout a model gets: tried on the model itself, against padded rows, before it is used.

Shapes: S sequences, T tokens, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.rows.attention import UnsupportedAttentionError
from tamis.models.rows.forward import Kernel, TreeForward, use_trees
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.padded import pad_right
from tamis.models.rows.plan import RowKind, RowPlan

PROBE_TOKENS = 40
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
LOW_PRECISION_TOLERANCE = 0.2
KINDS: tuple[RowKind, ...] = ("shared", "packed")
KERNEL_NAMES: dict[Kernel, str] = {
    "flex": "FlexAttention",
    "varlen": "variable-length attention",
    "sdpa": "scaled dot product attention",
}


@dataclass(frozen=True, slots=True)
class _Way:
    kind: RowKind
    kernel: Kernel
    trimmed: bool


def choose_rows(
    model: PreTrainedModel,
    *,
    wanted: Literal["auto", "shared", "packed", "padded"] = "auto",
    max_length: int,
    states: Literal["scored", "all"] = "scored",
) -> RowPlan:
    """Choose the layout and prepare the model for it, in place.

    ``shared`` computes each common prefix once, ``packed`` whole sequences without padding,
    ``padded`` rows of equal length. A decoder whose attention goes through transformers'
    interface can have the first two. Nothing is taken on trust: a few sequences of random tokens
    are run both ways, longer than the model's attention window where ``max_length`` is, and the
    trunk's states have to agree; else the next simpler way is tried, at last padded rows.

    Args:
        model: as `load_reward_model` returned it, on the device where it will run.
        wanted: ``auto`` takes the first that is exact.
        max_length: tokens of the longest sequence to come.
        states: ``all`` computes the last layer for all tokens, not for the scored ones alone.

    Raises:
        ConfigError: ``shared`` or ``packed`` was asked for and the model cannot have it.
    """
    if isinstance(model.forward, TreeForward):
        model.forward.remove()
    if wanted == "padded":
        return RowPlan("padded", "padded rows: as asked")
    problem = ""
    for way in _ways(model):
        if wanted not in ("auto", way.kind) or (way.trimmed and states == "all"):
            continue
        try:
            error = _probe(model, way, max_length=max_length)
        except Exception as found:
            problem = problem or _reason(found)
            continue
        if error <= TOLERANCE.get(model.dtype, LOW_PRECISION_TOLERANCE):
            plan = _plan(way, error=error)
            use_trees(model, plan, trimmed=way.trimmed, kernel=way.kernel)
            return plan
        problem = problem or f"its states differ by {error:.0e} from those of padded rows"
    if wanted != "auto":
        raise ConfigError(
            f"rows is {wanted!r}, which {type(model).__name__} cannot have: {problem}"
        )
    return RowPlan("padded", f"padded rows in blocks of similar length: {problem}")


def row_plan(model: PreTrainedModel) -> RowPlan:
    """Return how a model was prepared by `choose_rows`; padded rows where it was not."""
    if isinstance(model.forward, TreeForward):
        return model.forward.plan
    return RowPlan("padded", "padded rows in blocks of similar length")


def _ways(model: PreTrainedModel) -> list[_Way]:
    """Return what to try, in order: shared prefixes, else packed rows, each by the fastest kernel.

    Variable-length attention is for half precision on CUDA; its last layer is never trimmed.
    """
    if model.device.type != "cuda":
        return [_Way(kind, "sdpa", trimmed) for kind in KINDS for trimmed in (True, False)]
    return [
        *(_Way("shared", "flex", trimmed) for trimmed in (True, False)),
        _Way("packed", "varlen", trimmed=False),
        *(_Way("packed", "flex", trimmed) for trimmed in (True, False)),
        *(_Way(kind, "sdpa", trimmed) for kind in KINDS for trimmed in (True, False)),
    ]


def _plan(way: _Way, *, error: float) -> RowPlan:
    what = "common prefixes are computed once, nothing" if way.kind == "shared" else "nothing"
    last = ", the last layer for scored tokens alone" if way.trimmed else ""
    return RowPlan(
        way.kind,
        f"{way.kind} rows by {KERNEL_NAMES[way.kernel]}: {what} is padded{last} "
        f"(equal to padded rows here to {error:.0e})",
    )


def _probe(model: PreTrainedModel, way: _Way, *, max_length: int) -> float:
    """Return the largest distance between states of tree and padded rows, in units of their spread.

    All sequences end with the same token, so that their states differ by what they attend to.
    """
    sequences = _probe_sequences(model, max_length=max_length)
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            padded_SD = _padded_states(model, sequences)
            plan = RowPlan(way.kind, "")
            forward = use_trees(model, plan, trimmed=way.trimmed, kernel=way.kernel)
            try:
                inputs = model_inputs(sequences, plan=forward.plan, pad_id=0)
                tree_SD = forward.states(
                    inputs["tree"],
                    input_ids=inputs["input_ids"].to(model.device),
                    position_ids=inputs["position_ids"].to(model.device),
                ).float()
            finally:
                forward.remove()
    finally:
        model.train(was_training)
    spread = torch.pdist(padded_SD).min()
    if not bool(spread > 0):
        raise UnsupportedAttentionError("its states do not depend on the text")
    return float((tree_SD - padded_SD).norm(dim=1).max() / spread)


def _padded_states(model: PreTrainedModel, sequences: list[list[int]]) -> Tensor:
    ids_ST, mask_ST = pad_right(sequences, pad_id=sequences[0][0])
    output = model.base_model(
        input_ids=ids_ST.to(model.device), attention_mask=mask_ST.to(model.device)
    )
    last_S = mask_ST.sum(dim=1).to(model.device) - 1
    states_STD: Tensor = output.last_hidden_state
    return states_STD[torch.arange(len(sequences), device=model.device), last_S].float()


def _probe_sequences(model: PreTrainedModel, *, max_length: int) -> list[list[int]]:
    vocabulary = int(cast(nn.Embedding, model.get_input_embeddings()).num_embeddings)
    rng = np.random.default_rng(0)
    length = min(max_length, max(PROBE_TOKENS, _longest_reach(model, max_length) + PROBE_TOKENS))
    prompt = rng.integers(vocabulary, size=length // 2).tolist()
    rest = max(1, length - len(prompt) - 1)
    end = int(rng.integers(vocabulary))
    answers = [rng.integers(vocabulary, size=size).tolist() for size in (rest, rest // 2 + 1, 3)]
    alone = rng.integers(vocabulary, size=max(2, length // 3)).tolist()
    return [[*prompt, *answer, end] for answer in answers] + [[*alone, end]]


def _longest_reach(model: PreTrainedModel, max_length: int) -> int:
    """Return the widest window or chunk of the attention that a text of ``max_length`` leaves."""
    config = model.config.get_text_config().to_dict()
    reaches = [config.get(name) for name in ("sliding_window", "attention_chunk_size")]
    return max((r for r in reaches if isinstance(r, int) and r < max_length), default=0)


def _reason(error: Exception) -> str:
    if isinstance(error, UnsupportedAttentionError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
