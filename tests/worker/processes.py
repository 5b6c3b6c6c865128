"""Real workers on TCP, each a process that a test may kill and start again."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from tests.ports import free_port
from tests.worker.conftest import ROOT

STARTING_SECONDS = 300


class Worker:
    """``bot.py worker`` with the bundled model; started again on the same port."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._log = folder / "worker.log"
        self._settings = settings
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens; the same after every start."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Returns once it listens; the model may still be loading."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "bot.py", "worker", "--port", str(self._port), "--exit-with-stdin"],
                cwd=ROOT,
                env={**given, "EASEL_LOCAL_MODEL": "tiny", **self._settings},
                stdin=asyncio.subprocess.PIPE,
                stderr=log,
            )
        async with asyncio.timeout(STARTING_SECONDS):
            while (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", self._log.read_text())) is None:
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.05)
        self._port = int(found[1])

    async def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM; does nothing where it does not run."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()
