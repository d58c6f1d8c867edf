"""Running a decoder over a prefix tree, and parts of it.

Shapes: T tokens, S sequences, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from tamis.models.head import head_name
from tamis.models.rows.attention import (
    IMPLEMENTATION,
    AttendReads,
    Attends,
    AttendTree,
    KeysTaken,
    Rule,
    TakeKeys,
    UnsupportedAttentionError,
)
from tamis.models.rows.flex import AttendFlex
from tamis.models.rows.plan import RowPlan
from tamis.models.rows.tree import PrefixTree
from tamis.models.rows.varlen import AttendVarlen

Kernel = Literal["sdpa", "flex", "varlen"]


class LayerReached(Exception):  # noqa: N818
    """Carries the hidden states that enter a layer out of the model: no error."""

    def __init__(self, hidden_1TD: Tensor) -> None:
        super().__init__()
        self.hidden_1TD = hidden_1TD


class Memory(Protocol):
    """Knows the states that enter a layer, for some texts (see `tamis.models.rows.memory`)."""

    @property
    def first(self) -> int:
        """The layer that they enter."""
        ...

    def entering(self, tree: PrefixTree) -> Tensor | None:
        """Return the states of a tree's tokens [1, T, D], or ``None`` where it lacks a text."""
        ...


@dataclass(frozen=True)
class TreePass:
    """One pass of a model over a tree; it travels through the model's keyword arguments.

    Attributes:
        tree: the layout.
        attends: what computes attention.
        reads_S: ``tree.reads`` as a tensor on the model's device.
        trimmed: the last layer computes keys and values of all tokens and the rest of the S read
            ones alone; the model's output then has S tokens.
        first: layers below are skipped, and ``entering_1TD`` enters this one.
        stop: raise `LayerReached` where this layer would start.
    """

    tree: PrefixTree
    attends: Attends
    reads_S: Tensor
    trimmed: bool
    first: int = 0
    entering_1TD: Tensor | None = None
    stop: int | None = None

    def attend(self, query: Tensor, *, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """Return the attention output."""
        return self.attends.attend(query, key=key, value=value, rule=rule)


class TreeForward:
    """A reward model's ``forward`` that also takes ``tree``; without it, it is what it was.

    With ``tree`` (and ``input_ids`` and ``position_ids`` of shape [1, T]) it returns one logit a
    sequence, [S, 1]: the trunk runs once over the tree and the head on the read positions alone.
    Everything between is the model's own code; only its attention function is exchanged, and its
    last layer run in two steps where ``trimmed``. Where ``memory`` knows all sequences of the tree,
    only the layers from ``memory.first`` on run (see `tamis.models.rows.memory.use_memory`).
    """

    def __init__(
        self, model: PreTrainedModel, plan: RowPlan, *, trimmed: bool, kernel: Kernel
    ) -> None:
        self.plan = plan
        self.memory: Memory | None = None
        self._model = model
        self._plain: Callable[..., Any] = model.forward
        self._configs = _configs(model)
        self._own = [config._attn_implementation for config in self._configs]
        self.trimmed = trimmed
        self.kernel = kernel
        layers = trunk_layers(model)
        for index, layer in enumerate(layers):
            layer.forward = _in_passes(layer, index, is_last=index == len(layers) - 1)

    def __call__(self, *args: Any, tree: PrefixTree | None = None, **kwargs: Any) -> Any:
        """Return what the model returns, or the logits [S, 1] of the sequences of ``tree``."""
        if tree is None:
            for config, own in zip(self._configs, self._own, strict=True):
                config._attn_implementation = own
            return self._plain(*args, **kwargs)
        # adapters pass the arguments that nobody gave, too
        states_SD = self.states(
            tree, input_ids=kwargs["input_ids"], position_ids=kwargs["position_ids"]
        )
        logits_S1 = getattr(self._model, head_name(self._model))(states_SD)
        return SequenceClassifierOutput(logits=logits_S1)

    def states(self, tree: PrefixTree, *, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """Return the trunk's output at the last token of each sequence, [S, D]."""
        run = self._remembering(tree, device=input_ids.device)
        return self.read(run, input_ids=input_ids, position_ids=position_ids)

    def all_states(self, tree: PrefixTree) -> Tensor:
        """Return the trunk's output at all tokens of a tree, [T, D].

        Raises:
            UnsupportedAttentionError: the last layer is computed for scored tokens alone.
        """
        if self.trimmed:
            raise UnsupportedAttentionError("its last layer runs for scored tokens alone")
        device = self._model.device
        return self._run(
            self._remembering(tree, device=device),
            input_ids=torch.tensor([tree.token_ids], device=device),
            position_ids=torch.tensor([tree.positions], device=device),
        )[0]

    def reach(self, tree: PrefixTree, *, layer: int) -> Tensor:
        """Return the states that enter a layer, [1, T, D]; the layers below run, and no other."""
        device = self._model.device
        run = self.start(tree, device=device, stop=layer)
        input_ids = torch.tensor([tree.token_ids], device=device)
        position_ids = torch.tensor([tree.positions], device=device)
        try:
            self.read(run, input_ids=input_ids, position_ids=position_ids)
        except LayerReached as reached:
            return reached.hidden_1TD
        raise UnsupportedAttentionError(f"its layers do not run one by one up to {layer}")

    def start(
        self,
        tree: PrefixTree,
        *,
        device: torch.device,
        first: int = 0,
        entering_1TD: Tensor | None = None,
        stop: int | None = None,
    ) -> TreePass:
        """Return a pass over ``tree``, or over the layers from ``first`` to before ``stop``."""
        attends = _attends(self.kernel, tree, device)
        reads_S = torch.tensor(tree.reads, device=device)
        return TreePass(
            tree, attends, reads_S, self.trimmed, first=first, entering_1TD=entering_1TD, stop=stop
        )

    def read(self, run: TreePass, *, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """Return the trunk's output of a pass at the last token of each sequence, [S, D].

        Raises:
            LayerReached: the pass was to stop at a layer.
        """
        hidden_1TD = self._run(run, input_ids=input_ids, position_ids=position_ids)
        return hidden_1TD[0] if run.trimmed else hidden_1TD[0].index_select(0, run.reads_S)

    def _remembering(self, tree: PrefixTree, *, device: torch.device) -> TreePass:
        """Return a pass that begins where the memory ends, if it knows the tree."""
        entering_1TD = None if self.memory is None else self.memory.entering(tree)
        if self.memory is None or entering_1TD is None:
            return self.start(tree, device=device)
        entering_1TD = entering_1TD.to(device, self._model.dtype)
        return self.start(tree, device=device, first=self.memory.first, entering_1TD=entering_1TD)

    def _run(self, run: TreePass, *, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        # stays on until the next plain call, because checkpointed layers run again in backward
        for config in self._configs:
            config._attn_implementation = IMPLEMENTATION
        output = self._model.base_model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False, tree=run
        )
        hidden_1TD: Tensor = output.last_hidden_state
        return hidden_1TD

    def remove(self) -> None:
        """Give the model back as it was."""
        for config, own in zip(self._configs, self._own, strict=True):
            config._attn_implementation = own
        for layer in trunk_layers(self._model):
            del layer.forward
        del self._model.forward


def use_trees(
    model: PreTrainedModel, plan: RowPlan, *, trimmed: bool, kernel: Kernel
) -> TreeForward:
    """Let ``model(tree=..., input_ids=..., position_ids=...)`` work; see `TreeForward`.

    Raises:
        UnsupportedAttentionError: the model's layers are not found.
    """
    forward = TreeForward(model, plan, trimmed=trimmed, kernel=kernel)
    model.forward = forward
    return forward


def _attends(kernel: Kernel, tree: PrefixTree, device: torch.device) -> Attends:
    if kernel == "flex":
        return AttendFlex(tree, device)
    return AttendVarlen(tree, device) if kernel == "varlen" else AttendTree(tree)


def trunk_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of the trunk.

    Raises:
        UnsupportedAttentionError: there is no list of ``num_hidden_layers`` modules.
    """
    count = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UnsupportedAttentionError(f"no list of its {count} layers was found")


def _configs(model: PreTrainedModel) -> list[PretrainedConfig]:
    found = {id(m.config): m.config for m in model.modules() if isinstance(m, PreTrainedModel)}
    return list(found.values())


def _in_passes(layer: nn.Module, index: int, *, is_last: bool) -> Callable[..., Any]:
    """Return the forward of a layer that obeys a `TreePass` among its keyword arguments."""
    plain: Callable[..., Any] = layer.forward

    def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        run = kwargs.get("tree")
        if not isinstance(run, TreePass):
            return plain(hidden, *args, **kwargs)
        if index < run.first:
            return hidden
        if index == run.first and run.entering_1TD is not None:
            hidden = run.entering_1TD
        if index == run.stop:
            raise LayerReached(hidden)
        if is_last and run.trimmed:
            return _read_layer(plain, run, hidden, args, kwargs)
        return plain(hidden, *args, **kwargs)

    return forward


def _read_layer(
    plain: Callable[..., Any],
    run: TreePass,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a layer for the read tokens alone: they need the keys and values of all, no more.

    The layer's own code computes both: a first run ends where keys and values are known, a second
    one gets the read tokens and attends from them.
    """
    try:
        plain(hidden, *args, **{**kwargs, "tree": TakeKeys()})
    except KeysTaken as taken:
        num_tokens = hidden.shape[1]
        attends: Attends = AttendReads(run.tree, taken.key, taken.value)
        if isinstance(run.attends, AttendFlex):
            attends = run.attends.reading(taken.key, taken.value)
        at_reads = {
            name: _at_reads(value, run.reads_S, num_tokens=num_tokens)
            for name, value in kwargs.items()
            if name != "tree"
        }
        hidden_1SD = hidden.index_select(1, run.reads_S)
        others = [_at_reads(value, run.reads_S, num_tokens=num_tokens) for value in args]
        return plain(hidden_1SD, *others, tree=attends, **at_reads)
    raise UnsupportedAttentionError("its last layer has no attention")


def _at_reads(value: Any, reads_S: Tensor, *, num_tokens: int) -> Any:
    """Return the rows of the read tokens of whatever has one row a token: [1, T, ...]."""
    if isinstance(value, tuple):
        return tuple(_at_reads(part, reads_S, num_tokens=num_tokens) for part in value)
    if isinstance(value, Tensor) and value.ndim > 1 and value.shape[1] == num_tokens:
        return value.index_select(1, reads_S)
    return value
