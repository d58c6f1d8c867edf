"""The states that enter a decoder's upper layers, computed once and kept on disk.

Frozen layers say the same of a text in every pass of every run. Where all layers below one are
frozen, what enters it is remembered, and only the layers from there on run.

Shapes: T tokens of a tree, or of all trees, S sequences read, D hidden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.rows.choose import LOW_PRECISION_TOLERANCE, TOLERANCE, row_plan
from tamis.models.rows.forward import TreeForward, trunk_layers
from tamis.models.rows.plan import RowPlan
from tamis.models.rows.shards import Ids, Shard, found_shards, shard_of, unread
from tamis.models.rows.tree import PrefixTree
from tamis.models.score import BATCH_TOKENS, ids_key, tree_batches
from tamis.models.start import weights_digest
from tamis.runs import progress, write_array
from tamis.runs.atomic import replace_atomically
from tamis.runs.scratch import Ragged, RaggedWriter

FORMAT = "2"
UNREAD = frozenset({"transformers_version", "mean", "std"})  # of a configuration, by the trunk
SHARD_TEXTS = 1000


@final
class StateMemory:
    """What enters layer ``first`` of a model, for the sequences that were read.

    States are in float32 in files, 4 D bytes a token; pages of them come and go.

    Attributes:
        first: the layer that the states enter.
        paths: of the files.
        example: the shortest of the sequences.
        tolerance: how far, of its size, the output with these states may be from that without.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        first: int,
        example: Sequence[int],
        places: Mapping[bytes, int],
        rows: Ragged,
        tolerance: float = TOLERANCE[torch.float32],
    ) -> None:
        """Open files of states.

        Args:
            paths: float32 [T, D] each, as ``.npy``; their tokens are counted on from file to file.
            first: the layer that the states enter.
            example: one of the sequences.
            places: by `ids_key` of a sequence, which of ``rows`` it is.
            rows: where the files have the tokens of each sequence.
            tolerance: see above.
        """
        self.tolerance = tolerance
        self.paths, self.first, self.example = tuple(paths), first, tuple(example)
        self._states = [np.asarray(np.load(path, mmap_mode="r")) for path in paths]
        self._ends = np.cumsum([len(states_TD) for states_TD in self._states])
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
        file_T = np.searchsorted(self._ends, source_T, side="right")
        found_TD = np.empty((len(source_T), self._states[0].shape[1]), np.float32)
        for file in np.unique(file_T):
            is_here_T = file_T == file
            states_TD = self._states[file]
            found_TD[is_here_T] = states_TD[source_T[is_here_T] + len(states_TD) - self._ends[file]]
        return torch.from_numpy(found_TD)[None]


def remember_states(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    first: int,
    folder: Path,
    identity: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
    shard_texts: int = SHARD_TEXTS,
) -> StateMemory:
    """Run the layers below ``first`` over each distinct sequence, or find that it was done before.

    What sequences of a batch begin with in common runs once (`tree_batches`). The states are
    written to files in ``folder``, each with those of at most ``shard_texts`` sequences, under a
    hash of the weights below ``first``, the model's configuration, ``first``, the form of the rows
    and the sequences. A later process with the same model finds them, and reads those sequences
    alone that no file has; of one that was killed all files but the last are there. States of a
    sequence are the same but for rounding with whatever it was read. Of several processes, let one
    call this first.

    Args:
        model: prepared by `choose_rows` for shared or packed rows.
        sequences: token ids of the texts to come, none empty.
        first: a layer, from 1 to that of the last.
        folder: where files of states are.
        identity: what stands for the weights and the configuration in the hash, where the caller
            knows them; hashing them costs about a second a gigabyte.
        batch_tokens: tokens of a batch.
        shard_texts: sequences of a file at most.

    Raises:
        ConfigError: the model's rows are padded, it has no such layer, its layers do not pass on
            states of its hidden size, a sequence is empty, or the folder cannot be written.
        DataError: a file in ``folder`` is damaged.
    """
    forward = _forward(model)
    texts = {ids_key(ids): tuple(ids) for ids in sequences}
    if not texts or not all(texts.values()):
        raise ConfigError("states are remembered of at least one sequence, and of no empty one")
    name = _name(model, first=first, identity=identity, batch_tokens=batch_tokens)
    shards = [
        shard for shard in found_shards(folder, name) if not texts.keys().isdisjoint(shard.keys)
    ]
    missing = unread(texts, shards)
    with _evaluated(model), torch.inference_mode(), progress("reading", total=len(missing)) as tell:
        for start in range(0, len(missing), shard_texts):
            shard = shard_of(folder, name, missing[start : start + shard_texts])
            _write_shard(shard, model, first=first, batch_tokens=batch_tokens, advance=tell)
            shards.append(shard)
    places, rows = _lay_out(shards, plan=forward.plan, batch_tokens=batch_tokens, folder=folder)
    return StateMemory(
        [shard.path for shard in shards],
        first=first,
        example=min(texts.values(), key=lambda ids: (len(ids), ids)),
        places=places,
        rows=rows,
        tolerance=_tolerance(model),
    )


def unread_texts(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    first: int,
    folder: Path,
    identity: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Ids]:
    """Return the distinct sequences that no file has, in lexical order.

    Neighbours in it begin alike, so several processes may each read a run of it, and a later
    `remember_states` finds what they wrote. The arguments are as there.

    Raises:
        ConfigError: the model's rows are padded, or it has no such layer.
        DataError: a file in ``folder`` is damaged.
    """
    name = _name(model, first=first, identity=identity, batch_tokens=batch_tokens)
    texts = {ids_key(ids): tuple(ids) for ids in sequences}
    return unread(texts, found_shards(folder, name))


def use_memory(model: PreTrainedModel, memory: StateMemory) -> None:
    """Let a model, in place, run only the layers from ``memory.first`` on where texts are known.

    A tree with a sequence that the memory does not know runs through all layers. Gradients reach
    the weights from ``memory.first`` on alone, which are all that may be trained, so freeze what is
    below before this, and leave it frozen. What dropout would do below does not happen. The next
    call of `choose_rows` lets go of the memory.

    Nothing is taken on trust: one sequence runs both ways, and the trunk's states have to agree, as
    well as the model that was read with, or this one, computes them: states that a bfloat16 model
    gave may enter the same model in float32.

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
            raise ConfigError(f"{memory.paths[0].parent}: the states are those of another model")
        expected_SD = _read(model, tree)
        forward.memory = memory
        error = (_read(model, tree) - expected_SD).norm() / expected_SD.norm()
    if not float(error) <= max(memory.tolerance, _tolerance(model)):
        forward.memory = None
        raise ConfigError(
            f"{memory.paths[0].parent}: the states are those of another model, or "
            f"{type(model).__name__} cannot begin at layer {memory.first}: with them its output "
            f"differs by {float(error):.0e} of its size"
        )


def _name(model: PreTrainedModel, *, first: int, identity: str | None, batch_tokens: int) -> str:
    """Return what the names of a model's files begin with."""
    forward = _forward(model)
    _check_first(model, first)
    of_model = _model_digest(model, first=first) if identity is None else identity
    key = f"{FORMAT} {of_model} {first} {forward.plan.kind} {batch_tokens}"
    return f"states-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _trees(
    texts: Sequence[Ids], *, plan: RowPlan, batch_tokens: int
) -> Iterator[tuple[Sequence[int], PrefixTree]]:
    """Yield the batches of a shard, with the tree of each."""
    for batch in tree_batches(texts, batch_tokens=batch_tokens):
        yield batch, plan.tree([texts[number] for number in batch])


def _lay_out(
    shards: Sequence[Shard], *, plan: RowPlan, batch_tokens: int, folder: Path
) -> tuple[dict[bytes, int], Ragged]:
    """Return where the tokens of each text are when the trees of all shards are laid end to end."""
    places: dict[bytes, int] = {}
    num_tokens = 0
    with RaggedWriter(dtype=np.int32, folder=folder) as writer:
        for shard in shards:
            for batch, tree in _trees(shard.texts, plan=plan, batch_tokens=batch_tokens):
                for number, rows in zip(batch, tree.rows, strict=True):
                    if shard.keys[number] not in places:
                        places[shard.keys[number]] = len(places)
                        writer.add(np.asarray(rows, np.int32) + num_tokens)
                num_tokens += len(tree.token_ids)
        return places, writer.finish()


def _write_shard(
    shard: Shard,
    model: PreTrainedModel,
    *,
    first: int,
    batch_tokens: int,
    advance: Callable[[int], None],
) -> None:
    forward = _forward(model)
    width = int(model.config.get_text_config().hidden_size)
    trees = list(_trees(shard.texts, plan=forward.plan, batch_tokens=batch_tokens))
    num_tokens = sum(len(tree.token_ids) for _, tree in trees)
    head = {"descr": "<f4", "fortran_order": False, "shape": (num_tokens, width)}

    def fill(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, head)
            for batch, tree in trees:
                states_TD = forward.reach(tree, layer=first)[0].float().cpu().numpy()
                if states_TD.shape != (len(tree.token_ids), width):
                    raise ConfigError(
                        f"layer {first} of {type(model).__name__} reads states of the shape "
                        f"{states_TD.shape}, expected {(len(tree.token_ids), width)}"
                    )
                file.write(states_TD.astype("<f4", copy=False).tobytes())
                advance(len(batch))

    for left in shard.path.parent.glob(f".{shard.path.name}.*.tmp"):
        left.unlink(missing_ok=True)  # of a process that was killed; it may be gigabytes
    flat = [number for ids in shard.texts for number in (len(ids), *ids)]
    write_array(shard.ids_path, np.array(flat, np.int64))
    replace_atomically(shard.path, fill)


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


def _tolerance(model: PreTrainedModel) -> float:
    return TOLERANCE.get(model.dtype, LOW_PRECISION_TOLERANCE)


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
