"""The command that serves reward models over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from tamis.cli.extras import needing
from tamis.cli.options import (
    PrinciplesFile,
    PrinciplesLayout,
    ensemble_of,
    override,
    principles_of,
)
from tamis.errors import ConfigError

if TYPE_CHECKING:
    from tamis.metrics.ensemble import Ensemble
    from tamis.serve.config import ServeSpec

    class Serve(Protocol):
        """What serves until a signal."""

        def __call__(self, spec: ServeSpec, *, announce: Callable[[str], None]) -> None:
            """Serve."""


Checkpoints = Annotated[
    list[str],
    typer.Argument(help="Checkpoint, run directory, hub id or package:name/dir; perhaps several."),
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="Name in requests, of each (default: as given on this line)."),
]
EnsembleHow = Annotated[
    str | None,
    typer.Option(
        help="Serve several as one: mean, min, lower (mean - L * std), raw_min, raw_lower."
    ),
]
Penalty = Annotated[float | None, typer.Option(help="L of --ensemble lower (default 1).")]
Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port (default 8766; 0 takes a free one).")]
Workers = Annotated[
    int | None, typer.Option(help="Processes, each with a copy of every model (default 1).")
]
MaxBatchTokens = Annotated[
    int | None, typer.Option(help="Tokens of a forward pass at most (default 4096).")
]
QueueTexts = Annotated[
    int | None, typer.Option(help="Accepted texts of a model at most; more get 503 (default 1024).")
]
TimeoutS = Annotated[
    float | None, typer.Option("--timeout-s", help="Seconds for a request at most (default 120).")
]
MaxBodyBytes = Annotated[
    int | None, typer.Option(help="Bytes of a request at most (default 4194304).")
]
MaxTextChars = Annotated[
    int | None,
    typer.Option(help="Characters of all texts of a request at most (default 4000000)."),
]
OverLength = Annotated[
    str | None, typer.Option(help="cut the start of texts that are too long (default), or refuse.")
]
ApiKeyEnv = Annotated[
    str | None, typer.Option(help="Variable with the key that requests must bring.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run model code that comes with weights.")
]
LogText = Annotated[
    bool, typer.Option("--log-text", help="Log every text and its score to standard error.")
]

Principles = Annotated[
    list[str] | None,
    typer.Option(
        "--principle",
        help="Score under it where a request names none: NAME, not:NAME, or words (repeatable).",
    ),
]

# the options that are settings of the server under the same name
SETTINGS = (
    "host",
    "port",
    "workers",
    "max_batch_tokens",
    "queue",
    "timeout_s",
    "max_body_bytes",
    "max_text_chars",
    "over_length",
    "api_key_env",
    "log_text",
)


def serve(
    checkpoint: Checkpoints,
    name: Names = None,
    ensemble: EnsembleHow = None,
    penalty: Penalty = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    max_batch_tokens: MaxBatchTokens = None,
    queue: QueueTexts = None,
    timeout_s: TimeoutS = None,
    max_body_bytes: MaxBodyBytes = None,
    max_text_chars: MaxTextChars = None,
    over_length: OverLength = None,
    api_key_env: ApiKeyEnv = None,
    log_text: LogText = False,
    principle: Principles = None,
    principles: PrinciplesFile = None,
    layout: PrinciplesLayout = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Serve reward models to RL trainers, each in its own wire format.

    Endpoints: /v1/rewards, /get_reward (OpenRLHF), /classify, /pooling, /score (vLLM),
    /v1/embeddings (SGLang, OpenAI), /v1/score/evaluation (LLaMA-Factory), /slime, /v1/models,
    /health, /metrics; /docs describes them. Prints the address when it answers. SIGTERM or Ctrl-C
    ends it after the answers to what was accepted. A principle-conditioned model scores under
    --principle on all of them; /v1/rewards can name others.
    """
    flags = {name: value for name, value in locals().items() if name in SETTINGS}
    together = _together(checkpoint, how=ensemble, penalty=penalty)
    serve_models = _server()
    from tamis.remote.http import is_loopback
    from tamis.serve.config import ServeConfig, ServeSpec

    config = override(ServeConfig, {}, flags)
    spec = ServeSpec(
        checkpoints=tuple(checkpoint),
        names=_names(name, checkpoint, together=together is not None),
        ensemble=together,
        config=config,
        trust_remote_code=trust_remote_code,
        principles=principles,
        asked=tuple(principle or ()),
        layout=principles_of({}, file=principles, layout=layout).layout,
    )

    def announce(address: str) -> None:
        if config.api_key_env is None and not is_loopback(config.host):
            typer.echo(f"no key is asked for: whoever reaches {config.host} can ask", err=True)
        typer.echo(f"serving: {address}")

    serve_models(spec, announce=announce)


def _server() -> Serve:
    """Return what serves.

    Raises:
        ConfigError: a package that it needs is missing.
    """
    # a server counts for itself: where it has several processes, it names their directory itself.
    # Before the counters are imported, since they look for it then
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    with needing("serve", what="the server"):
        from tamis.serve.run import serve
    return serve


def _together(checkpoints: list[str], *, how: str | None, penalty: float | None) -> Ensemble | None:
    """Return how several checkpoints score as one, or ``None`` where they are served apart."""
    if how is None and penalty is None:
        return None
    return ensemble_of(len(checkpoints), how=how, penalty=penalty)


def _names(given: list[str] | None, checkpoints: list[str], *, together: bool) -> tuple[str, ...]:
    """Return the names in requests: one for an ensemble, else one for each checkpoint.

    Raises:
        ConfigError: there are more or fewer, or one is there twice.
    """
    wanted = 1 if together else len(checkpoints)
    names = tuple(given or (["+".join(checkpoints)] if together else checkpoints))
    if len(names) != wanted:
        raise ConfigError(f"{len(names)} names: expected {wanted}, one for each served model")
    if len(set(names)) < len(names) or not all(names):
        raise ConfigError(f"the names {', '.join(map(repr, names))}: expected different ones")
    return names
