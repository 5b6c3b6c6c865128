"""How long the bot and the worker take from SIGTERM to their end, idle and in the middle of a job; what becomes of it.

    python -m benchmarks.graceful_stop

The bot runs as ``bot.py run`` against the sandbox, with the bundled model on a worker that it starts itself; the worker
alone as ``bot.py worker``. After a stop in the middle of a job the bot is started again: the job has to be posted once
and charged once, or the benchmark fails.
"""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends.base import Call, CallEnded, HealthState, Made, Picture, Progress
from backends.worker.client import WorkerBackend
from config.catalogue import Catalogue
from domain.request import ImageRequest, Kind
from sandbox import Sandbox
from tests.worker.processes import Worker

ROOT: Final = Path(__file__).parents[1]
STEPS: Final = 28
OFFER: Final = Catalogue.load().offers()["worker:tiny"]


def row(name: str, seconds: float, became: str) -> None:
    print(f"{name:<44} {seconds:>6.2f} s   {became}", flush=True)


async def worker_idle(folder: Path) -> None:
    worker, backend = await started(folder)
    began = time.monotonic()
    await worker.stop()
    row("worker, idle", time.monotonic() - began, "")
    await backend.aclose()


async def worker_at_work(folder: Path, grace: str) -> None:
    worker, backend = await started(folder, EASEL_GRACE_SECONDS=grace)
    request = ImageRequest(kind=Kind.IMAGINE, model="tiny", prompt="a red circle", seed=1, steps=STEPS)
    call = Call("1", OFFER, request, (Picture(0, 1, "1"),), None, folder)
    began, stopping, became = 0.0, None, "its job is lost to the bot, which runs it again"
    try:
        async for event in backend.run(call):
            if isinstance(event, Progress) and stopping is None:
                began, stopping = time.monotonic(), asyncio.create_task(worker.stop())
            if isinstance(event, Made):
                became = "its job's picture came"
    except CallEnded as ended:
        became = f"its job ended with {type(ended).__name__}, which the bot runs again"
    assert stopping is not None
    await stopping
    row(f"worker, in a job, grace {grace} s", time.monotonic() - began, became)
    await backend.aclose()


async def started(folder: Path, **settings: str) -> tuple[Worker, WorkerBackend]:
    worker = Worker(folder, **settings)
    await worker.start()
    backend = WorkerBackend.at_url(worker.url, None)
    while (await backend.health()).state is not HealthState.UP:
        await asyncio.sleep(0.1)
    return worker, backend


class Bot:
    """``bot.py run`` on a data folder of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path, grace: str) -> None:
        ours = ("EASEL_", "WAVESPEED_", "RUNWARE_", "COMFYUI_", "OPENAI_", "DISCORD_")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "DISCORD_TOKEN": sandbox.token,
            "DISCORD_API_URL": sandbox.api_url,
            "DISCORD_GATEWAY_URL": sandbox.gateway_url,
            "DISCORD_CDN_URL": sandbox.cdn_url,
            "EASEL_DATA_DIR": str(folder / "data"),
            "EASEL_LOCAL_MODEL": "tiny",
            "EASEL_GRACE_SECONDS": grace,
        }
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self._folder / "bot.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, str(ROOT / "bot.py"), "run"],
                cwd=self._folder,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line.strip() == b"easel ready", (self._folder / "bot.log").read_text()

    async def stop(self) -> float:
        """Seconds from SIGTERM to the end of the bot, which ends its worker first."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        assert await self._process.wait() == 0
        return time.monotonic() - began

    def told(self) -> str:
        """What the log says of the stop."""
        found = re.search(r"(\d+) were given back", (self._folder / "bot.log").read_text())
        return f"{found[1]} given back" if found else ""

    async def reached(self, *states: str) -> None:
        """Wait until the newest job is in such a state."""
        while self.look("SELECT state FROM jobs ORDER BY created_at DESC LIMIT 1") not in states:
            await asyncio.sleep(0.02)

    def look(self, question: str) -> object:
        with closing(sqlite3.connect(self._folder / "data" / "easel.db")) as database:
            found = database.execute(question).fetchone()
        return found[0] if found else None


async def bot_alone(folder: Path, grace: str, *, at_work: bool) -> None:
    async with Sandbox() as sandbox:
        bot = Bot(sandbox, folder, grace)
        await bot.start()
        user = sandbox.add_user("painter")
        # The first picture is there once the worker has its model.
        await user.slash(sandbox.studio, "imagine", prompt="a blue square", steps=1, seed=1)
        await bot.reached("posted")
        if at_work:
            await user.slash(sandbox.studio, "imagine", prompt="a red circle", steps=STEPS, seed=2)
            await bot.reached("running")
        seconds = await bot.stop()
        became = ""
        if at_work:
            state, told = bot.look("SELECT state FROM jobs ORDER BY created_at DESC LIMIT 1"), bot.told()
            await bot.start()
            await bot.reached("posted")
            await bot.stop()
            used = bot.look("SELECT sum(used) FROM balances WHERE subject = 'member' AND unit = 'images'")
            results = [one for one in sandbox.messages_in(sandbox.studio) if one.attachments and not one.deleted]
            assert (len(results), used) == (2, 2), (len(results), used)
            became = f"left it {state} ({told}); after the next start posted once, charged once"
        row(f"bot with its worker, {'in a job' if at_work else 'idle'}, grace {grace} s", seconds, became)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:

        def new() -> Path:
            return Path(tempfile.mkdtemp(dir=folder))

        await worker_idle(new())
        await worker_at_work(new(), "20")
        await worker_at_work(new(), "0")
        await bot_alone(new(), "20", at_work=False)
        await bot_alone(new(), "20", at_work=True)
        await bot_alone(new(), "0", at_work=True)


if __name__ == "__main__":
    asyncio.run(main())
