"""The scalar head of a reward model: where it is, how it starts, and that it computes in float32.

Shapes: D hidden, T tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tamis.errors import ConfigError

HEAD_NAMES = ("score", "classifier")
INIT_SCALE = 0.1


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32, whatever the type of its input or of autocast.

    Scores near 10 in bfloat16 lie 0.06 apart, which turns small gaps into ties.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias`` in float32."""
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast(device_type=input.device.type, enabled=False):
            return nn.functional.linear(input.float(), self.weight.float(), bias)


def head_name(model: PreTrainedModel) -> str:
    """Return the attribute of the head: ``score`` (decoders) or ``classifier`` (encoders).

    Raises:
        ConfigError: the architecture has neither.
    """
    for name in HEAD_NAMES:
        if isinstance(getattr(model, name, None), nn.Module):
            return name
    raise ConfigError(
        f"{type(model).__name__} has no head called 'score' or 'classifier'; "
        "choose an architecture whose sequence classification class has one"
    )


def use_float32_head(model: PreTrainedModel) -> None:
    """Replace, in place, each linear layer of the head by one that computes in float32."""
    name = head_name(model)
    head = getattr(model, name)
    if isinstance(head, nn.Linear):
        setattr(model, name, _in_float32(head))
        return
    for path, module in list(head.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, attribute = path.rpartition(".")
            setattr(head.get_submodule(parent), attribute, _in_float32(module))


def initialise_head(model: PreTrainedModel, *, seed: int) -> None:
    """Draw, in place, the weights of the output layer from a normal distribution; its bias is 0.

    The standard deviation is 0.1 / sqrt(D + 1): hidden states of unit scale then give gaps of
    about 0.1, so that training starts at a loss of ln 2 for any pair. (Huang et al. 2024, "The N+
    Implementation Details of RLHF with PPO", detail 11, take 1 / sqrt(D + 1), with which a trunk
    whose last norm has large weights can start far above ln 2.)
    """
    output = output_layer(model)
    with torch.no_grad():
        output.weight.copy_(initial_weight(output.in_features, seed=seed)[None])
        if output.bias is not None:
            output.bias.zero_()


def initial_weight(size: int, *, seed: int) -> Tensor:
    """Draw the weights of a new head [D] from ``seed`` alone; see `initialise_head`."""
    generator = torch.Generator().manual_seed(seed)
    std = INIT_SCALE / math.sqrt(size + 1)
    return torch.empty(size).normal_(std=std, generator=generator)


def drop_before_head(model: PreTrainedModel, *, frac: float) -> None:
    """Let a share of the head's inputs be zeroed, in place, while the model is in training mode.

    A text that occurs in several pairs of a batch is computed once, so it has one draw there.
    """

    def drop(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first = nn.functional.dropout(inputs[0], frac, training=head.training)
        return (first, *inputs[1:])

    getattr(model, head_name(model)).register_forward_pre_hook(drop)


def train_head_alone(model: PreTrainedModel) -> None:
    """Freeze all weights of a model but those of its head, in place."""
    model.requires_grad_(False)
    getattr(model, head_name(model)).requires_grad_(True)


def output_layer(model: PreTrainedModel) -> nn.Linear:
    """Return the last linear layer of the head, which has one output.

    Raises:
        ConfigError: the head has no linear layer with one output.
    """
    layers = [m for m in getattr(model, head_name(model)).modules() if isinstance(m, nn.Linear)]
    if not layers or layers[-1].out_features != 1:
        raise ConfigError(f"the head of {type(model).__name__} has no linear layer with one output")
    return layers[-1]


def _in_float32(layer: nn.Linear) -> Float32Linear:
    with torch.device("meta"):  # draws nothing from the global generator
        copy = Float32Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    weights = {name: weight.float() for name, weight in layer.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    return copy
