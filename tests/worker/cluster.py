"""A real Ray on this machine, started and stopped as the documented command does it."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.worker.conftest import ROOT

STARTING_SECONDS = 600
"""Ray, a proxy, a controller and two torches on two busy cores."""
TOKEN = "a-token-of-the-cluster-tests"


class Machine:
    """A process of ``bot.py cluster`` and all that Ray starts for it; ``cpus``: how many replicas find room there."""

    def __init__(self, log: Path, cpus: int) -> None:
        self._log = log
        self._cpus = cpus
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *arguments: str, **settings: str) -> None:
        """Returns at once."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "RAY_"))}
        given |= {"EASEL_WORKER_TOKEN": TOKEN, "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": self._cpus})}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "bot.py", "cluster", *arguments], cwd=ROOT, env=given | settings, stderr=log
            )

    async def says(self, pattern: str) -> None:
        """Wait until its log has such a line."""
        assert self._process is not None
        async with asyncio.timeout(STARTING_SECONDS):
            while re.search(pattern, self._log.read_text()) is None:
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """All of them."""
        if self._process is None or self._process.returncode is not None:
            return []
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def replicas(self) -> list[psutil.Process]:
        """The processes that have a worker's app in them."""
        return [process for process in self.processes() if "ServeReplica:Worker" in _command(process)]

    async def lose(self) -> None:
        """As a machine goes whose power fails: everything at once, and nothing is said."""
        for process in reversed(self.processes()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await self.stop()

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


class Cluster:
    """The first machine, with the bundled model. It is started again on the same ports."""

    def __init__(self, folder: Path, *, replicas: int = 2, cpus: int | None = None, **settings: str) -> None:
        """``replicas``: so many always; ``settings`` may say otherwise. ``cpus``: room for so many on this machine."""
        self._folder = folder
        self.port = free_port()
        # Ray takes the next one as well.
        self._ray_port = free_port(together=2)
        self._settings = {
            "EASEL_LOCAL_MODEL": "tiny",
            "EASEL_CLUSTER_MIN_REPLICAS": str(replicas),
            "EASEL_CLUSTER_MAX_REPLICAS": str(replicas),
        } | settings
        self.first = Machine(folder / "cluster.log", cpus or replicas)
        self.joined: list[Machine] = []

    @property
    def url(self) -> str:
        """Serve's HTTP proxy; the same after every start."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, cpus: int | None = None, **settings: str) -> None:
        """Returns once the worker is served: the first replica has its model, or all of a fixed number."""
        await self.begin(cpus=cpus, **settings)
        await self.first.says(r"listening on 127\.0\.0\.1")

    async def begin(self, *, cpus: int | None = None, **settings: str) -> None:
        """Returns at once. What is said here holds from now on."""
        self._settings |= settings
        if cpus is not None:
            self.first = Machine(self._folder / "cluster.log", cpus)
        ports = ["--port", str(self.port), "--ray-port", str(self._ray_port)]
        await self.first.start(*ports, **self._settings)

    async def join(self, cpus: int = 1) -> Machine:
        """Another machine, as far as Ray can tell."""
        machine = Machine(self._folder / f"machine{len(self.joined)}.log", cpus)
        self.joined.append(machine)
        await machine.start("--join", f"127.0.0.1:{self._ray_port}")
        return machine

    def replicas(self) -> list[psutil.Process]:
        """Those of all machines."""
        return [replica for machine in (self.first, *self.joined) for replica in machine.replicas()]

    def memory(self) -> int:
        """Bytes that all of Ray's processes have resident, shared pages counted in each."""
        return sum(process.memory_info().rss for process in self.first.processes())

    async def stop(self) -> int:
        """SIGTERM to all machines; returns the first one's exit status."""
        for machine in self.joined:
            await machine.stop()
        self.joined.clear()
        return await self.first.stop()
