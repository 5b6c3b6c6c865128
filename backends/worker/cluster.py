"""``bot.py cluster``: the worker's app on many machines, with Ray Serve: one replica a GPU, one job a replica.

The queue stays in the bot: it asks ``/health`` how many replicas there are and sends no more jobs than that. Two
applications are served: the worker itself under ``/``, and one small replica that answers ``/health`` for all of
them, because a worker's own answer would wait behind its job. A replica counts once its models are loaded.

Ray is started as a child (``ray start --block``) that ends with this process; another machine joins with
``bot.py cluster --join``. Ray's own ports listen on every address of the machine, whatever ``--host`` says, and who
can speak to them can run code: so they always ask for a token (RAY_AUTH_MODE). It is EASEL_WORKER_TOKEN, or, on
loopback without one, one that is made up and told to nobody.
"""

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from backends.worker.serve import is_loopback, needed
from config.settings import Settings
from domain.errors import Code, OperatorError

log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 7870
DEFAULT_RAY_PORT: Final = 6379
START_SECONDS: Final = 60.0
PROXY_SECONDS: Final = 60
STOP_SECONDS: Final = 40.0
"""Ray drains a node for up to 30 s."""


def run_cluster(settings: Settings, root: Path, *, host: str | None, port: int | None, ray_port: int | None) -> int:
    """Start Ray on this machine and serve the worker until SIGTERM or SIGINT; returns the exit status.

    Raises OperatorError (SETTING_INVALID) for what the operator has to mend first.
    """
    needed(settings)
    host, port, ray_port = host or "127.0.0.1", port or DEFAULT_PORT, ray_port or DEFAULT_RAY_PORT
    token = _token(settings, host)
    stop = threading.Event()
    _end_by_signals(stop, at_once=True)
    head = [
        *("--head", f"--node-ip-address={host}", f"--port={ray_port}", "--include-dashboard=false"),
        # Ray's client server cannot be left out; out of the way of another cluster's on this machine it can be put.
        f"--ray-client-server-port={ray_port + 1}",
    ]
    with _ray(root, token or secrets.token_hex(32), head) as node:
        _wait_for(host, ray_port, node, stop)
        # Imported now: Ray reads its token from the environment as it is at its import.
        from backends.worker import replicas

        replicas.connect(f"{host}:{ray_port}")
        # Ray has put its own in the place of ours.
        _end_by_signals(stop, at_once=True)
        try:
            least = settings.easel_cluster_min_replicas
            bounds = replicas.Bounds(least, max(least, settings.easel_cluster_max_replicas))
            replicas.deploy(settings, token, host=host, port=port, bounds=bounds)
        except (ConnectionError, RuntimeError, replicas.RayError) as error:
            log.exception("Ray Serve does not start")
            problem = f"Ray Serve does not start: {str(error).splitlines()[0]}"
            raise OperatorError(Code.SETTING_INVALID, setting="cluster", problem=problem) from error
        else:
            _end_by_signals(stop)
            log.info("listening on %s:%d", host, port)
            while not stop.is_set() and node.poll() is None:
                stop.wait(0.5)
        finally:
            replicas.close()
        return 0 if stop.is_set() else 1


def join_cluster(settings: Settings, root: Path, address: str) -> int:
    """Put this machine's GPUs into the cluster at ``address`` until SIGTERM or SIGINT; returns the exit status."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise OperatorError(Code.SETTING_INVALID, setting="--join", problem="is the first machine's, as HOST:PORT")
    token = _token(settings, host)
    if token is None:
        raise OperatorError(
            Code.SETTING_INVALID,
            setting="EASEL_WORKER_TOKEN",
            problem="is needed to join, the first machine's",
        )
    stop = threading.Event()
    _end_by_signals(stop)
    _wait_for_the_first(host, int(port), stop)
    with _ray(root, token, [f"--address={address}"]) as node:
        log.info("joining the cluster at %s", address)
        while not stop.is_set() and node.poll() is None:
            stop.wait(0.5)
        return 0 if stop.is_set() else 1


def _token(settings: Settings, host: str) -> str | None:
    if settings.easel_worker_token is not None:
        return settings.easel_worker_token.get_secret_value()
    if not is_loopback(host):
        raise OperatorError(
            Code.SETTING_INVALID,
            setting="EASEL_WORKER_TOKEN",
            problem=f"is needed for a cluster on {host}; without it only loopback is served",
        )
    return None


@contextlib.contextmanager
def _ray(root: Path, token: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """``ray start`` as a child, ended at the block's end with all that it started."""
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"})
    # A machine that loads weights is a slow one: Serve would take its proxy for broken, and kill it.
    for patience in ("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S"):
        os.environ.setdefault(patience, str(PROXY_SECONDS))
    # How often the proxy tells how busy the replicas are: more may be wanted.
    os.environ.setdefault("RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1")
    # Ray runs its workers at nice 15; painting is what this machine is for.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Replicas import us by name, wherever they run.
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    node = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a page of advice; what is wrong goes to stderr
        # Ctrl-C is for us; we end Ray last.
        start_new_session=True,
    )
    try:
        yield node
    finally:
        node.terminate()
        try:
            node.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


def _wait_for(host: str, port: int, node: "subprocess.Popen[bytes]", stop: threading.Event) -> None:
    """Wait until Ray listens. Raises OperatorError where Ray does not start."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            break
        except OSError as error:
            if stop.is_set() or node.poll() is not None or time.monotonic() > deadline:
                problem = f"Ray does not start there (port {port}); what it says stands above"
                raise OperatorError(Code.SETTING_INVALID, setting="--host", problem=problem) from error
            stop.wait(0.2)


def _wait_for_the_first(host: str, port: int, stop: threading.Event) -> None:
    """Wait until the first machine's Ray listens: both may be starting. Raises OperatorError where none does."""
    deadline = time.monotonic() + START_SECONDS
    while not stop.is_set():
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                problem = f"nobody listens at {host}:{port}; the first machine's `cluster` has to run"
                raise OperatorError(Code.SETTING_INVALID, setting="--join", problem=problem) from error
            stop.wait(0.5)


def _end_by_signals(stop: threading.Event, *, at_once: bool = False) -> None:
    """``at_once``: leave what is being waited for, through everything that has to be closed."""

    def end(_number: int, _frame: object) -> None:
        stop.set()
        if at_once:
            raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
