"""``bot.py worker``: serves the app on a Unix socket or on TCP with uvicorn."""

import importlib.util
import ipaddress
import logging
import os
import signal
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from backends.worker.variants import LocalModel, local_models
from config.settings import Settings
from domain.errors import Code, OperatorError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from backends.worker.engine.interface import Engine

log = logging.getLogger(__name__)

DEFAULT_PORT = 7870


def run_worker(
    settings: Settings, *, host: str | None, port: int | None, uds: Path | None, exit_with_stdin: bool
) -> int:
    """Serve the models that the settings name until SIGTERM or SIGINT; returns the exit status.

    On a Unix socket (``uds``) the file's mode, 0600, guards it. On TCP the bearer token does; without one only
    a loopback address is served. ``exit_with_stdin``: end at once when standard input is closed, so that the
    worker never outlives who started it.
    Raises OperatorError (SETTING_INVALID) for what the operator has to mend first.
    """
    needed(settings)
    import uvicorn

    token = settings.easel_worker_token.get_secret_value() if settings.easel_worker_token else None
    app = worker_app(settings, None if uds is not None else token)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.easel_grace_seconds)),
        )
    )
    # uvicorn raises a signal that it handled once more when it is done: that must not end us before our own end.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, server.handle_exit)
    listener = listen_uds(uds) if uds is not None else listen_tcp(host or "127.0.0.1", port, token)
    if exit_with_stdin:
        threading.Thread(target=_exit_with_stdin, args=(uds,), daemon=True).start()
    log.info("listening on %s", uds if uds is not None else "{}:{}".format(*listener.getsockname()[:2]))
    try:
        server.run(sockets=[listener])
    finally:
        if uds is not None:
            uds.unlink(missing_ok=True)
    if app.state.queue.loading:
        # Half-loaded weights are worth no wait, and a thread inside torch can't be told to stop.
        logging.shutdown()
        os._exit(0)
    return 0 if server.started else 1


def needed(settings: Settings) -> tuple[LocalModel, ...]:
    """The models to serve. Raises OperatorError (SETTING_INVALID) where there are none, or a package is missing."""
    for package in ("torch", "diffusers", "transformers", "starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise OperatorError(
                Code.SETTING_INVALID,
                setting="EASEL_LOCAL_MODEL",
                problem=f"needs the packages of the extra `worker`, and {package} is not installed",
            )
    models = local_models(settings.easel_local_model, settings.easel_local_edit_model)
    if not models:
        raise OperatorError(
            Code.SETTING_INVALID, setting="EASEL_LOCAL_MODEL", problem="the worker needs a model to serve"
        )
    return models


def worker_app(settings: Settings, token: str | None) -> "Starlette":
    """The app that serves the models of the settings, whoever runs it."""
    from backends.worker.engine.weights import bytes_on_disk
    from backends.worker.loras import LoraFolder
    from backends.worker.service import create_app

    models = needed(settings)
    loras = LoraFolder(settings.easel_lora_dir)

    def make_engine() -> "Engine":
        from backends.worker.engine.torch_engine import TorchEngine

        return TorchEngine(
            models,
            settings.easel_llama,
            loras=loras,
            speed=settings.easel_local_speed,
            memory=settings.easel_local_memory,
            vae_pixels=settings.easel_local_vae_pixels,
        )

    return create_app(
        make_engine,
        models,
        token=token,
        loras=loras,
        weights_bytes=sum(bytes_on_disk(model) for model in models),
    )


def listen_uds(path: Path) -> socket.socket:
    """A socket that only we may connect to (mode 0600). Raises OperatorError (SETTING_INVALID)."""
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # left by a worker that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The mode has to be right from the first moment on.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        raise OperatorError(
            Code.SETTING_INVALID, setting="--uds", problem=f"cannot listen there: {error.strerror or error}"
        ) from error
    listener.listen()
    return listener


def listen_tcp(host: str, port: int | None, token: str | None) -> socket.socket:
    """A socket on TCP; without a token on loopback alone. Raises OperatorError (SETTING_INVALID)."""
    if token is None and not is_loopback(host):
        raise OperatorError(
            Code.SETTING_INVALID,
            setting="EASEL_WORKER_TOKEN",
            problem=f"is needed to listen on {host}; without it only loopback is served",
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, DEFAULT_PORT if port is None else port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise OperatorError(
            Code.SETTING_INVALID, setting="--host", problem=f"cannot listen there: {error.strerror or error}"
        ) from error
    listener.listen()
    return listener


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _exit_with_stdin(uds: Path | None) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    # Not sys.exit: the engine's thread may be deep inside a kernel, and the GPU has to be free now.
    if uds is not None:
        uds.unlink(missing_ok=True)
    os._exit(0)
