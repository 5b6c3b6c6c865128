"""A real worker for all crash tests, and a fresh stage for each."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.crash.stage import PATIENCE, ROOT, Stage
from tests.servers.wavespeed import WaveSpeedServer


@pytest.fixture(scope="session")
def worker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real worker with the bundled model, on a port of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "bot.py", "worker", "--port", "0", "--exit-with-stdin"],
            cwd=ROOT,
            env={**environment, "EASEL_LOCAL_MODEL": "tiny"},
            stdin=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        yield f"http://{_address(process, log)}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(log.read_text())


@pytest.fixture
async def stage(tmp_path: Path, worker_url: str) -> AsyncIterator[Stage]:
    """A sandbox and a stand-in for WaveSpeed; all bots end with the test."""
    async with Sandbox(acknowledge_seconds=PATIENCE) as discord, WaveSpeedServer() as wavespeed:
        stage = Stage(discord, wavespeed, worker_url, tmp_path / "data")
        try:
            yield stage
        finally:
            for process in stage.bots:
                if process.returncode is None:
                    process.kill()
                    await asyncio.shield(process.wait())
