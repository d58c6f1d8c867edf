"""Settings of the reward server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tamis.types import Config

if TYPE_CHECKING:
    from tamis.metrics.ensemble import Ensemble
    from tamis.principles.layout import Layout

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"  # where several processes keep their counters

MAX_TEXTS = 65_536  # of a request, whatever the queue takes: reading them holds up all others

OverLength = Literal["cut", "refuse"]


class ServeConfig(Config):
    """Where the server listens, how much it takes on, and what it refuses."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8766, ge=0, le=65535, description="port; 0 takes a free one")
    workers: int = Field(
        1, ge=1, le=256, description="processes, each with a copy of every model and its own queue"
    )
    max_batch_tokens: int = Field(
        4096,
        ge=1,
        description="tokens of a forward pass at most (one longer text is one pass); on a CPU a "
        "pass ends at some 1,024",
    )
    gather_ms: float = Field(
        2.0, ge=0, le=1000, description="how long an idle model waits for more texts"
    )
    queue: int = Field(
        1024, ge=1, le=MAX_TEXTS, description="texts of a model that are accepted, not answered"
    )
    timeout_s: float = Field(120.0, gt=0, description="seconds until a request is given up")
    max_body_bytes: int = Field(4 << 20, ge=1, description="bytes of a request at most")
    max_text_chars: int = Field(
        4_000_000,
        ge=1,
        description="characters of all texts of a request at most; a prompt counts with each of "
        "its answers, a turn as 16 more, a token id as 4",
    )
    over_length: OverLength = Field(
        "cut", description="texts that the model cannot read whole: cut their start, or refuse them"
    )
    api_key_env: str | None = Field(
        None, min_length=1, description="variable with the key that requests must bring; unset: any"
    )
    log_text: bool = Field(False, description="log every text and its score")


@dataclass(frozen=True, slots=True)
class ServeSpec:
    """What to serve: under each name one checkpoint, or all of them together under one.

    ``checkpoints`` are directories, hub ids or ``package:name/dir``. With an ``ensemble`` there is
    one name; else there are as many names as checkpoints. ``principles`` is a file of those that
    requests name; ``None``: the shipped ones. ``asked`` are those (names, ``not:NAME``, or words)
    under which every model scores where a request names none, in ``layout``.
    """

    checkpoints: tuple[str, ...]
    names: tuple[str, ...]
    ensemble: Ensemble | None = None
    config: ServeConfig = field(default_factory=ServeConfig)
    trust_remote_code: bool = False
    principles: Path | None = None
    asked: tuple[str, ...] = ()
    layout: Layout = "prompt_first"
