"""What terms that read more than scores ask of the model, and bring to it."""

from __future__ import annotations

from transformers import PreTrainedModel, TrainingArguments

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.head import output_layer
from tamis.terms.view import Beginning
from tamis.train.assemble import WHERE, Assembled
from tamis.train.build import RewardModel, base_of
from tamis.train.config import ViewsConfig
from tamis.train.modules import attach
from tamis.train.views import dropout_modules


def check_readable(
    model: PreTrainedModel, assembled: Assembled, *, views: ViewsConfig, is_hidden: bool
) -> None:
    """Check that the states that terms need can be read.

    Args:
        model: inside adapters and wrappers.
        assembled: the objective.
        views: how two views are made.
        is_hidden: DeepSpeed or FSDP version 1 holds the weights.

    Raises:
        ConfigError: the weights are spread over processes in a way that hides them from terms, or
            dropout is to be inside a model that has none.
    """
    for term in assembled.needs.values():
        if is_hidden:
            raise ConfigError(
                f"{WHERE}.{term} reads states of the model, which works neither with DeepSpeed nor "
                "with FSDP version 1; launch with DDP or FSDP2"
            )
    if "views" in assembled.needs and views.where == "inside" and not dropout_modules(model):
        raise ConfigError(
            f"train.objective.views.where is inside, and {type(model).__name__} has no dropout "
            "modules; choose read"
        )


def equip(
    reward_model: RewardModel,
    assembled: Assembled,
    *,
    model: ModelConfig,
    arguments: TrainingArguments,
) -> None:
    """Make what terms train beside the model a part of it, in place, and tell the Trainer.

    Raises:
        ConfigError: a term cannot be made for this model.
    """
    if not assembled.modules:
        return
    base = base_of(reward_model)
    beginning = Beginning(model, hidden_size=output_layer(base).in_features, seed=arguments.seed)
    modules = {name: make(beginning) for name, make in assembled.modules.items()}
    attach(reward_model, modules, device=base.device)
    # what the model returns does not depend on them, so DDP would take them for unused
    arguments.ddp_find_unused_parameters = False
