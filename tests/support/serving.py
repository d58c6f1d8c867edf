"""A served tiny model, without a network or with one, and a model that waits until it is let go."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from fastapi.testclient import TestClient

from tamis.cli import main
from tamis.metrics.ensemble import Ensemble
from tamis.models.checkpoint import save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.tokenise import load_tokenizer
from tamis.principles.principle import Principle
from tamis.serve.app import Service, make_app, service_of
from tamis.serve.config import ServeConfig
from tamis.serve.engine import Member
from tamis.serve.principled import NO_PRINCIPLES, Under
from tamis.serve.run import http_server

LONGEST_S = 300  # for what comes at once on a machine that is not busy
TALK = [{"role": "user", "content": "Say something."}, {"role": "assistant", "content": "A fox."}]
# a body that each endpoint answers with 200
BODIES: dict[str, dict[str, Any]] = {
    "/get_reward": {"query": ["a"], "prompts": ["a"], "labels": [None]},
    "/classify": {"input": "a"},
    "/pooling": {"input": "a"},
    "/score": {"queries": "q", "documents": ["a"]},
    "/v1/embeddings": {"input": "a"},
    "/v1/score/evaluation": {"model": "model", "messages": ["a"]},
    "/slime": {"prompt": "q", "response": "a", "label": None},
    "/v1/rewards": {"messages": TALK[:1], "candidates": ["a"]},
}


def write_checkpoint(base: str, path: Path, *, seed: int, **card: Any) -> str:
    """Write a reward model with scores as far apart as those of a trained one."""
    config = ModelConfig(path=base)
    model = load_reward_model(config, seed=seed)
    with torch.no_grad():
        output_layer(model).weight.mul_(30)
    save_checkpoint(model, load_tokenizer(config), path, card=card)
    return str(path)


@dataclass
class Served:
    """A client of a service in this process."""

    client: TestClient
    service: Service

    def post(self, path: str, body: Any, *, status: int = 200) -> Any:
        """Send a body, which must be answered with ``status``."""
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def figure(self, line: str) -> float:
        """A number of the page of counters, by name and labels; 0 where there is none."""
        return figure_in(self.client.get("/metrics").text, line)


def figure_in(page: str, line: str) -> float:
    """A number of a page of counters, by name and labels; 0 where there is none."""
    found = [row for row in page.splitlines() if row.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


@contextmanager
def serving(
    *members: Member,
    name: str = "rm",
    ensemble: Ensemble | None = None,
    key: str | None = None,
    principles: Sequence[Principle] | None = None,
    under: Under = NO_PRINCIPLES,
    **config: Any,
) -> Iterator[Served]:
    """Serve loaded models: one under a name, several as an ensemble."""
    service = service_of(
        {name: list(members)},
        ensemble=ensemble,
        config=ServeConfig(**config),
        principles=principles,
        under=under,
    )
    try:
        app = make_app(service, key=key)
        yield Served(TestClient(app, raise_server_exceptions=False), service)
    finally:
        service.close()


@contextmanager
def listening(*members: Member, name: str = "rm", **config: Any) -> Iterator[tuple[str, Served]]:
    """Serve loaded models over HTTP, from a thread of this process; gives the address, too."""
    with serving(*members, name=name, **config) as served, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        http = http_server(make_app(served.service))
        thread = threading.Thread(target=http.run, args=([listener],))
        thread.start()
        try:
            while not http.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", served
        finally:
            http.should_exit = True
            thread.join()


@dataclass(frozen=True)
class Hold:
    """A model that is held back: whether a pass has begun, and whether passes may end."""

    began: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def wait(self, *_: object) -> None:
        """Begin a pass, and wait until it may end."""
        self.began.set()
        assert self.go.wait(LONGEST_S)


@contextmanager
def held_back(member: Member) -> Iterator[Hold]:
    """Let no pass of a model end before ``go`` is set."""
    hold = Hold()
    hook = member.scorer.model.register_forward_pre_hook(hold.wait)
    try:
        yield hold
    finally:
        hold.go.set()
        hook.remove()


@contextmanager
def broken(member: Member) -> Iterator[None]:
    """Let a model give NaN."""

    def spoil(_: object, __: object, output: Any) -> Any:
        output.logits = output.logits * float("nan")
        return output

    hook = member.scorer.model.register_forward_hook(spoil)
    try:
        yield
    finally:
        hook.remove()


# one process imports everything once, and every server is forked from it
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tamis.serve.run"])


@contextmanager
def server(*arguments: object, **environment: str) -> Iterator[tuple[BaseProcess, str]]:
    """Run the command in a process of its own, and give it with its address; kill it at the end."""
    told, tell = FORKS.Pipe(duplex=False)
    given = ["serve", *map(str, arguments)]
    process = FORKS.Process(target=_run_command, args=(given, environment, tell))
    process.start()
    tell.close()
    try:
        with os.fdopen(os.dup(told.fileno())) as printed:
            line = printed.readline()
            assert line.startswith("serving: http://127.0.0.1:"), line
            yield process, line.removeprefix("serving: ").strip()
    finally:
        process.kill()
        process.join()
        told.close()


def _run_command(arguments: list[str], environment: dict[str, str], tell: Connection) -> None:
    torch.set_num_threads(1)
    os.environ.update(environment)
    sys.stdout = os.fdopen(os.dup(tell.fileno()), "w")
    main(arguments)
