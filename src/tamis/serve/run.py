"""Serving until a signal: listening, draining, and several processes."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
import uvicorn
from fastapi import FastAPI

from tamis.errors import ConfigError
from tamis.principles.principle import load_principles
from tamis.runs.memory import keep_freed_memory
from tamis.serve.app import Service, make_app, open_service
from tamis.serve.config import ServeConfig, ServeSpec
from tamis.serve.principled import under_named
from tamis.serve.security import READ_OUT_S, key_from
from tamis.serve.supervise import Again, supervise

BACKLOG = 4096  # connections that the kernel keeps until they are accepted
KEEP_ALIVE_S = 75  # longer than clients pause between requests
POLL_S = 0.01
LINGER_S = 0.5  # after the last answer, so that who asks again hears a refusal, not a broken line
# then, for connections to end: one that never sends its whole request never would, but a refusal
# waits for the rest of a body that comes late
CLOSE_S = READ_OUT_S + 1
SIGNALS = (signal.SIGTERM, signal.SIGINT)

Announce = Callable[[str], None]
log = logging.getLogger("tamis.serve")


def serve(spec: ServeSpec, *, announce: Announce) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what was accepted, refuse the rest, and return.

    Args:
        spec: what to serve, and how.
        announce: given the address as soon as requests are answered.

    Raises:
        ConfigError: a checkpoint cannot be served, or not under the principles that are asked for,
            one of which may be unknown; the key is missing; or the address cannot be listened on.
        DataError: the file of principles cannot be read.
    """
    key_from(spec.config.api_key_env)
    load_principles(spec.principles)
    under_named(spec.asked, layout=spec.layout, file=spec.principles)
    config = spec.config
    with _bound(config, shared=config.workers > 1) as listener:
        address = _address(config.host, listener.getsockname()[1])
        if config.workers == 1:
            serve_on(listener, spec, ready=lambda: announce(address))
        else:
            port = listener.getsockname()[1]
            supervise(spec, work, port=port, ready=lambda: announce(address))


def work(spec: ServeSpec, port: int, ready: Callable[[], None]) -> None:
    """Serve in one of several processes that share a port, with its share of the cores."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // spec.config.workers))
    config = spec.config.model_copy(update={"port": port})
    with _bound(config, shared=True) as listener:
        serve_on(listener, spec, ready=ready)


def serve_on(listener: socket.socket, spec: ServeSpec, *, ready: Callable[[], None]) -> None:
    """Load the models and answer requests until a signal."""
    keep_freed_memory()
    _allow_connections()
    _log_to_stderr()
    service = open_service(spec)
    for line in service.notices():
        log.warning(line)
    with _deaf_at_last():
        try:
            server = http_server(make_app(service, key=key_from(spec.config.api_key_env)))
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(_serve(server, listener, service, ready=ready))
        finally:
            service.close()


def http_server(app: FastAPI) -> uvicorn.Server:
    """Return the HTTP server of an application, not started."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",  # its messages hold those of errors, which may hold texts
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSE_S,
        )
    )


async def _serve(
    server: uvicorn.Server,
    listener: socket.socket,
    service: Service,
    *,
    ready: Callable[[], None],
) -> None:
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():
        await asyncio.sleep(POLL_S)
    stop = asyncio.Event()
    again = Again()

    def on_signal() -> None:
        server.force_exit = again.came() or server.force_exit  # the second one does not wait
        stop.set()

    if threading.current_thread() is threading.main_thread():
        # instead of the server's own handlers, which end with the signal and not with 0
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
    ready()
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
    await _drain(server, service)
    server.should_exit = True
    stopping.cancel()
    await running
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:  # whoever asks again now is about to be obeyed
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _deaf_at_last() -> Iterator[None]:
    """Put back the handlers of signals, which nobody hears while the models are closed."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _drain(server: uvicorn.Server, service: Service) -> None:
    """Wait until all requests that are inside have their answer; new ones are refused meanwhile."""
    door = service.door
    door.is_open = False
    deadline = asyncio.get_running_loop().time() + service.config.timeout_s
    while door.num_inside and not server.force_exit:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(POLL_S)
    lingering = asyncio.get_running_loop().time() + LINGER_S
    while not server.force_exit and asyncio.get_running_loop().time() < lingering:
        await asyncio.sleep(POLL_S)


@contextmanager
def _bound(config: ServeConfig, *, shared: bool) -> Iterator[socket.socket]:
    """Bind the address; with ``shared``, other processes may bind it, too."""
    host = config.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, config.port))
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"cannot listen on {host}, port {config.port}: {reason}; "
                "choose another with --host or --port"
            ) from error
        yield listener


def _address(host: str, port: int) -> str:
    name = host.strip("[]")
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}"


def _allow_connections() -> None:
    """Take as many connections at once as the system allows a process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _log_to_stderr() -> None:
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
