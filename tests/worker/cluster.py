"""A real Ray on this machine, started and stopped as the documented command does it."""

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path

import psutil

from tests.worker.conftest import ROOT

STARTING_SECONDS = 600
"""Ray, a proxy, a controller and two torches on two busy cores."""
TOKEN = "a-token-of-the-cluster-tests"


def free_ports() -> tuple[int, int]:
    """A port for the bot, and one for Ray with the next one free as well."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            two.bind(("", 0))
            try:
                three.bind(("", two.getsockname()[1] + 1))
            except (OSError, OverflowError):
                continue
            return one.getsockname()[1], two.getsockname()[1]


class Cluster:
    """``bot.py cluster`` with the bundled model."""

    def __init__(self, folder: Path, *, replicas: int = 2) -> None:
        self._log = folder / "cluster.log"
        self._replicas = str(replicas)
        self.port, self._ray_port = free_ports()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Serve's HTTP proxy; the same after every start."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns once every replica has its model."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "RAY_"))}
        settings = {
            "EASEL_LOCAL_MODEL": "tiny",
            "EASEL_WORKER_TOKEN": TOKEN,
            "EASEL_CLUSTER_MIN_REPLICAS": self._replicas,
            "EASEL_CLUSTER_MAX_REPLICAS": self._replicas,
        }
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "bot.py", "cluster", "--port", str(self.port), "--ray-port", str(self._ray_port)],
                cwd=ROOT,
                env={**given, **settings},
                stderr=log,
            )
        async with asyncio.timeout(STARTING_SECONDS):
            while re.search(r"listening on 127\.0\.0\.1", self._log.read_text()) is None:
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.2)

    def replicas(self) -> list[psutil.Process]:
        """The processes that have a worker's app in them."""
        assert self._process is not None
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if "ServeReplica:Worker" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def memory(self) -> int:
        """Bytes that all of Ray's processes have resident, shared pages counted in each."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()
