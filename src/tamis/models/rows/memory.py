"""The states that enter a decoder's upper layers, computed once and kept on disk.

Frozen layers say the same of a text in every pass of every run. Where all layers below one are
frozen, what enters it is remembered, and only the layers from there on run.

Shapes: T tokens of a tree, or of all trees, S sequences read, D hidden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.rows.choose import LOW_PRECISION_TOLERANCE, TOLERANCE, row_plan
from tamis.models.rows.forward import TreeForward, trunk_layers
from tamis.models.rows.plan import RowPlan
from tamis.models.rows.tree import PrefixTree
from tamis.models.score import BATCH_TOKENS, ids_key, tree_batches
from tamis.models.start import weights_digest
from tamis.runs import progress
from tamis.runs.atomic import replace_atomically
from tamis.runs.scratch import Ragged, RaggedWriter

FORMAT = "1"
UNREAD = frozenset({"transformers_version", "mean", "std"})  # of a configuration, by the trunk


@final
class StateMemory:
    """What enters layer ``first`` of a model, for the sequences that were read.

    States are in float32 in one file, 4 D bytes a token; pages of it come and go.

    Attributes:
        first: the layer that the states enter.
        path: of the file.
        example: the shortest of the sequences.
    """

    def __init__(
        self,
        path: Path,
        *,
        first: int,
        example: Sequence[int],
        places: Mapping[bytes, int],
        rows: Ragged,
    ) -> None:
        """Open a file of states.

        Args:
            path: float32 [T, D], as ``.npy``.
            first: the layer that the states enter.
            example: one of the sequences.
            places: by `ids_key` of a sequence, which of ``rows`` it is.
            rows: where the file has the tokens of each sequence.
        """
        self.path, self.first, self.example = path, first, tuple(example)
        self._states_TD: NDArray[np.float32] = np.asarray(np.load(path, mmap_mode="r"))
        self._places, self._rows = places, rows

    def entering(self, tree: PrefixTree) -> Tensor | None:
        """Return the states of a tree's tokens, float32 [1, T, D] on the CPU.

        ``None`` where a sequence of the tree was not read; its beginning alone does not count.
        """
        source_T = np.empty(len(tree.token_ids), np.int64)
        for rows in tree.rows:
            place = self._places.get(ids_key([tree.token_ids[row] for row in rows]))
            if place is None:
                return None
            source_T[list(rows)] = self._rows[place]
        return torch.from_numpy(self._states_TD[source_T])[None]


def remember_states(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    first: int,
    folder: Path,
    identity: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> StateMemory:
    """Run the layers below ``first`` over each distinct sequence, or find that it was done before.

    What sequences of a batch begin with in common runs once (`tree_batches`). The states are
    written to one file in ``folder``, all or nothing, under a hash of the weights below ``first``,
    the model's configuration, ``first`` and the layout of the sequences: a later process with the
    same ones finds it, another model or other texts never do. Of several processes, let one call
    this first.

    Args:
        model: prepared by `choose_rows` for shared or packed rows.
        sequences: token ids of the texts to come, none empty.
        first: a layer, from 1 to that of the last.
        folder: where files of states are.
        identity: what stands for the weights and the configuration in the hash, where the caller
            knows them; hashing them costs about a second a gigabyte.
        batch_tokens: tokens of a batch.

    Raises:
        ConfigError: the model's rows are padded, it has no such layer, its layers do not pass on
            states of its hidden size, a sequence is empty, or the folder cannot be written.
    """
    forward = _forward(model)
    _check_first(model, first)
    texts = list({ids_key(ids): tuple(ids) for ids in sequences}.values())
    if not texts or not all(texts):
        raise ConfigError("states are remembered of at least one sequence, and of no empty one")
    layout = _lay_out(texts, plan=forward.plan, batch_tokens=batch_tokens, folder=folder)
    of_model = _model_digest(model, first=first) if identity is None else identity
    key = f"{FORMAT} {of_model} {first} {layout.digest}"
    path = folder / f"states-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    if not path.is_file():
        with _evaluated(model), torch.inference_mode():
            _write_states(path, model, layout=layout, texts=texts, first=first)
    example = min(texts, key=lambda ids: (len(ids), ids))
    return StateMemory(path, first=first, example=example, places=layout.places, rows=layout.rows)


def use_memory(model: PreTrainedModel, memory: StateMemory) -> None:
    """Let a model, in place, run only the layers from ``memory.first`` on where texts are known.

    A tree with a sequence that the memory does not know runs through all layers. Gradients reach
    the weights from ``memory.first`` on alone, which are all that may be trained, so freeze what is
    below before this, and leave it frozen. What dropout would do below does not happen. The next
    call of `choose_rows` lets go of the memory.

    Nothing is taken on trust: one sequence runs both ways, and the trunk's states have to agree.

    Args:
        model: prepared by `choose_rows` for shared or packed rows; inside adapters, not around
            them.
        memory: as `remember_states` returned it.

    Raises:
        ConfigError: the model's rows are padded, a weight below ``memory.first`` is trained, or the
            states are those of another model.
    """
    forward = _forward(model)
    _check_first(model, memory.first)
    forward.memory = None
    tree = forward.plan.tree([memory.example])
    with _evaluated(model):
        with torch.enable_grad():
            hidden_1TD = forward.reach(tree, layer=memory.first)
            trained = _trained_below(model, hidden_1TD)
        if trained is not None:
            raise ConfigError(
                f"{trained} is trained, and the states that enter layer {memory.first} are "
                "remembered; freeze all that is below it (lora.top_layers), or remember less"
            )
        remembered_1TD = memory.entering(tree)
        if remembered_1TD is None or remembered_1TD.shape != hidden_1TD.shape:
            raise ConfigError(f"{memory.path}: the states are those of another model")
        expected_SD = _read(model, tree)
        forward.memory = memory
        error = (_read(model, tree) - expected_SD).norm() / expected_SD.norm()
    if not float(error) <= TOLERANCE.get(model.dtype, LOW_PRECISION_TOLERANCE):
        forward.memory = None
        raise ConfigError(
            f"{memory.path}: the states are those of another model, or {type(model).__name__} "
            f"cannot begin at layer {memory.first}: with them its output differs by "
            f"{float(error):.0e} of its size"
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Batches of texts, and where the tokens of each text are when their trees are laid end to end.

    ``places`` says by key which of ``rows`` a text is; ``digest`` stands for all of it.
    """

    batches: Sequence[Sequence[int]]
    places: Mapping[bytes, int]
    rows: Ragged
    num_tokens: int
    digest: str


def _lay_out(
    texts: Sequence[tuple[int, ...]], *, plan: RowPlan, batch_tokens: int, folder: Path
) -> _Layout:
    batches = list(tree_batches(texts, batch_tokens=batch_tokens))
    places: dict[bytes, int] = {}
    num_tokens = 0
    digest = hashlib.sha256()
    with RaggedWriter(dtype=np.int32, folder=folder) as writer:
        for batch in batches:
            tree = plan.tree([texts[number] for number in batch])
            digest.update(np.asarray(tree.token_ids, np.int64).tobytes() + b"|")
            for number, rows in zip(batch, tree.rows, strict=True):
                key = ids_key(texts[number])
                places[key] = len(places)
                own = np.asarray(rows, np.int32) + num_tokens
                digest.update(key + own.tobytes())
                writer.add(own)
            num_tokens += len(tree.token_ids)
        rows_of_texts = writer.finish()
    return _Layout(batches, places, rows_of_texts, num_tokens, digest.hexdigest())


def _write_states(
    path: Path,
    model: PreTrainedModel,
    *,
    layout: _Layout,
    texts: Sequence[tuple[int, ...]],
    first: int,
) -> None:
    forward = _forward(model)
    width = int(model.config.get_text_config().hidden_size)
    head = {"descr": "<f4", "fortran_order": False, "shape": (layout.num_tokens, width)}

    def fill(temporary: Path) -> None:
        with temporary.open("wb") as file, progress("reading", total=len(texts)) as advance:
            np.lib.format.write_array_header_1_0(file, head)
            for batch in layout.batches:
                tree = forward.plan.tree([texts[number] for number in batch])
                states_TD = forward.reach(tree, layer=first)[0].float().cpu().numpy()
                if states_TD.shape != (len(tree.token_ids), width):
                    raise ConfigError(
                        f"layer {first} of {type(model).__name__} reads states of the shape "
                        f"{states_TD.shape}, expected {(len(tree.token_ids), width)}"
                    )
                file.write(states_TD.astype("<f4", copy=False).tobytes())
                advance(len(batch))

    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)  # of a process that was killed; it may be gigabytes
    replace_atomically(path, fill)


def _model_digest(model: PreTrainedModel, *, first: int) -> str:
    """Return a hash of what computes the states that enter a layer.

    That is the configuration and all of the trunk but the layers from ``first`` on; a last norm is
    in it without need.
    """
    trunk = model.base_model
    above = {id(layer) for layer in trunk_layers(model)[first:]}
    skipped = tuple(f"{name}." for name, part in trunk.named_modules() if id(part) in above)
    weights = {**dict(trunk.named_buffers()), **trunk.state_dict()}
    digest = weights_digest(
        (name, weight)
        for name, weight in sorted(weights.items())
        if isinstance(weight, Tensor) and not name.startswith(skipped)
    )
    settings = {
        name: value
        for name, value in model.config.to_dict().items()
        if name not in UNREAD and not name.startswith("_")
    }
    return f"{digest} {json.dumps(settings, sort_keys=True, default=str)}"


def _forward(model: PreTrainedModel) -> TreeForward:
    if isinstance(model.forward, TreeForward):
        return model.forward
    raise ConfigError(
        "states are remembered in shared or packed rows alone, and this "
        f"{type(model).__name__} has {row_plan(model).why}"
    )


def _check_first(model: PreTrainedModel, first: int) -> None:
    last = len(trunk_layers(model)) - 1
    if not 1 <= first <= last:
        raise ConfigError(
            f"states that enter layer {first} of {type(model).__name__} are to be remembered; "
            f"expected a layer from 1 to {last}"
        )


def _trained_below(model: PreTrainedModel, hidden_1TD: Tensor) -> str | None:
    """Return the name of a weight that is trained and changes these states."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if not hidden_1TD.requires_grad or not trained:
        return None
    weights = [weight for _, weight in trained]
    gradients = torch.autograd.grad(hidden_1TD.float().sum(), weights, allow_unused=True)
    found = zip(trained, gradients, strict=True)
    return next((name for (name, _), gradient in found if gradient is not None), None)


def _read(model: PreTrainedModel, tree: PrefixTree) -> Tensor:
    """Return the trunk's states at the last token of each sequence, float32 [S, D]."""
    with torch.no_grad():
        return (
            _forward(model)
            .states(
                tree,
                input_ids=torch.tensor([tree.token_ids], device=model.device),
                position_ids=torch.tensor([tree.positions], device=model.device),
            )
            .float()
        )


@contextmanager
def _evaluated(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was_training)
