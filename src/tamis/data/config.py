"""What the data stage reads and how it decides."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tamis.types import Config


class DataConfig(Config):
    """Where the preference data is, how its columns are read and what is kept of it."""

    path: str = Field(
        min_length=1,
        description="A JSONL, JSON, CSV, TSV or Parquet file (plain or gzip), a directory saved by "
        "datasets, or the id of a data set on the hub",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Columns under other names: field (prompt, chosen, rejected, margin, votes, "
        "group, split, gold, ...) -> column of the file",
    )
    convention: str | None = Field(
        None,
        description="The column convention, by module name or dotted path; recognised where unset",
    )
    hub_config: str | None = Field(None, description="The configuration of a data set on the hub")
    hub_split: str = Field(
        "train", description="The split of a data set on the hub or of a saved directory"
    )
    test_frac: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="The share of groups that becomes test, among rows that carry no split",
    )
    seed: int = Field(0, description="Seed of the hash that draws the test groups")
    every: int = Field(
        1, ge=1, description="Read one of so many source rows, from the first one on"
    )
    limit: int | None = Field(
        None, ge=1, description="At most so many rows, the first of those read"
    )
    max_dropped_frac: float = Field(
        0.5,
        ge=0,
        le=1,
        description="More than this share dropped (ties aside) is an error",
    )
    on_contradiction: Literal["keep", "drop"] = Field(
        "keep",
        description="What becomes of two pairs that say the opposite about the same answers",
    )
