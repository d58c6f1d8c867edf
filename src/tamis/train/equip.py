"""What terms that read more than scores ask of the model, and bring to it."""

from __future__ import annotations

from transformers import PreTrainedModel, TrainingArguments

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.head import output_layer
from tamis.terms.view import Beginning
from tamis.train.assemble import WHERE, Assembled, assemble
from tamis.train.build import RewardModel, base_of, trainable_shape
from tamis.train.config import TrainConfig, ViewsConfig
from tamis.train.launched import hides_weights
from tamis.train.modules import attach
from tamis.train.reading import token_head
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


def checked_shape(model: ModelConfig, train: TrainConfig, *, pad_token_id: int) -> RewardModel:
    """Build what would be trained on the meta device, once the objective can be trained with it.

    Raises:
        ConfigError: what `tamis.train.fit.fit` would refuse when it has read the weights; they are
            not read here.
    """
    reward_model = trainable_shape(model, train, pad_token_id=pad_token_id)
    base = base_of(reward_model)
    check_readable(base, assemble(train), views=train.objective.views, is_hidden=hides_weights())
    if train.objective.form == "token":
        token_head(base)
    return reward_model


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
