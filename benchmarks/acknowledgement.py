"""From an interaction to its acknowledgement, with 50 in flight: ``python -m benchmarks.acknowledgement``.

The real bot in a process of its own, the sandbox on loopback, SQLite on disk with synchronous=FULL: what is timed
holds parsing, the checks, the reservation and the job's row in one commit, and the answer on its way back. A probe
of the disk's fsync stands beside it, because that is what most of the time goes into.

Then the same while other members' pictures of almost 10 MB, the most that a server without boosts takes, come in from
a server with OpenAI's API (a stand-in in this process), are checked, stored and posted. The sandbox that receives them
runs in this process too, and takes its share of the machine: how much CPU time each took for one acknowledgement is
told beside the times, since those say more of a machine that has other things to do than of the bot.
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from PIL import Image
from rich.console import Console
from rich.table import Table

from sandbox import CallbackType, Sandbox
from sandbox.hands import Hands

ROOT = Path(__file__).parents[1]
IN_FLIGHT = 50
REQUESTS = 400
PROBES = 200
PAINTERS = 4
"""Members who have a large picture painted, one after the other."""
SIDE = 1780
"""Pixels of a square of noise that makes a PNG of almost 10 MB."""


async def main() -> None:
    """Run it and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Sandbox() as discord, _painter() as url:
            process = await _start(discord, folder, url)
            try:
                users = [discord.add_user(f"member{number}", discord.guild) for number in range(IN_FLIGHT)]
                await _burst(discord, users, IN_FLIGHT, process.pid)  # warm
                one = await _burst(discord, users[:1], 100, process.pid)
                many = await _burst(discord, users, REQUESTS, process.pid)
                posted = discord.wait_for_message(
                    discord.channel("playground"), lambda message: bool(message.attachments), timeout=60
                )
                painters = [
                    asyncio.create_task(_paint_on(discord, discord.add_user(f"painter{number}", discord.guild)))
                    for number in range(PAINTERS)
                ]
                first = await posted
                before = _pictures(discord)
                meanwhile = await _burst(discord, users, REQUESTS, process.pid)
                pictures = _pictures(discord) - before
                for painter in painters:
                    painter.cancel()
            finally:
                process.terminate()
                await process.wait()
        probe = _fsync(folder / "probe")
    table = Table(
        *["", "p50 ms", "p99 ms", "a second", "deferred", "loop, CPU ms", "bot, CPU ms", "sandbox, CPU ms"],
        title="interaction → acknowledgement, reserved and queued on disk",
    )
    table.add_row("1 in flight", *one.figures())
    table.add_row(f"{IN_FLIGHT} in flight", *many.figures())
    size = len(first.attachments[0].data) / 1e6
    table.add_row(f"{IN_FLIGHT} in flight, while {pictures} pictures of {size:.1f} MB are posted", *meanwhile.figures())
    table.add_row("fsync of one page (probe)", *_figures(probe, sum(probe)))
    Console().print(table)


@contextlib.asynccontextmanager
async def _painter() -> AsyncIterator[str]:
    """The address of a server with OpenAI's images API that gives the same large picture to everybody."""
    file = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), os.urandom(SIDE * SIDE * 3)).save(file, "PNG", compress_level=1)
    answer = {"created": 0, "data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]}
    body = json.dumps(answer).encode()

    async def models(_request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "HiDream-ai/HiDream-I1-Dev", "object": "model"}]})

    async def generate(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/images/generations", generate)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _paint_on(discord: Sandbox, member: Hands) -> None:
    """One large picture after the other, until cancelled."""
    while True:
        before = _pictures(discord)
        used = await member.slash(discord.channel("playground"), "imagine", prompt="noise", model="hidream-i1-dev")
        await used.acknowledged()
        while _pictures(discord) == before:
            await asyncio.sleep(0.02)


def _pictures(discord: Sandbox) -> int:
    return sum(bool(message.attachments) for message in discord.messages_in(discord.channel("playground")))


async def _start(discord: Sandbox, folder: Path, painter: str) -> asyncio.subprocess.Process:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EASEL_")},
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
        "DISCORD_CDN_URL": discord.cdn_url,
        "EASEL_DATA_DIR": str(folder / "data"),
        "EASEL_LOCAL_MODEL": "tiny",
        # Nobody listens there: jobs are taken in and wait.
        "EASEL_WORKER_URL": "http://127.0.0.1:1",
        "OPENAI_IMAGES_URL": painter,
        "OPENAI_IMAGES_SLOTS": str(PAINTERS),
        "EASEL_MAX_QUEUED_PER_USER": "1000",
        "EASEL_MAX_QUEUED": "100000",
        "EASEL_DEFAULT_DAILY_IMAGES": "100000",
        "EASEL_GRACE_SECONDS": "0",
    }
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "bot.py", "run"], cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"easel ready\n"
    return process


@dataclass(frozen=True)
class _Burst:
    seconds: list[float]
    """Of each request."""
    total: float
    deferred: int
    """Acknowledgements that only said that the bot is thinking."""
    cpu: Mapping[str, float]
    """Seconds of CPU time that the bot's event loop, all of the bot, and this process took."""

    def figures(self) -> tuple[str, ...]:
        """The row of the table."""
        cpu = (f"{seconds * 1000 / len(self.seconds):.1f}" for seconds in self.cpu.values())
        return *_figures(self.seconds, self.total), str(self.deferred), *cpu


def _cpu(bot: int) -> dict[str, float]:
    # The event loop's thread is the process's first. https://docs.kernel.org/scheduler/sched-stats.html
    threads = Path(f"/proc/{bot}/task").iterdir()
    nanoseconds = {thread.name: int((thread / "schedstat").read_text().split()[0]) for thread in threads}
    return {
        "loop": nanoseconds[str(bot)] / 1e9,
        "bot": sum(nanoseconds.values()) / 1e9,
        "sandbox": time.process_time(),
    }


async def _burst(discord: Sandbox, users: list[Hands], requests: int, bot: int) -> _Burst:
    """So many requests; every user has one in flight."""
    left = iter(range(requests))
    seconds: list[float] = []
    deferred = 0

    async def ask(user: Hands) -> None:
        nonlocal deferred
        for _ in left:
            started = time.perf_counter()
            used = await user.slash(discord.studio, "imagine", prompt="a red star on a blue background", model="tiny")
            answer = await used.acknowledged()
            deferred += answer is CallbackType.DEFERRED_MESSAGE
            seconds.append(time.perf_counter() - started)

    before, started = _cpu(bot), time.perf_counter()
    await asyncio.gather(*map(ask, users))
    total = time.perf_counter() - started
    after = _cpu(bot)
    return _Burst(seconds, total, deferred, {name: after[name] - before[name] for name in after})


def _fsync(path: Path) -> list[float]:
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(PROBES):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return seconds


def _figures(seconds: list[float], total: float) -> tuple[str, str, str]:
    percentiles = statistics.quantiles(seconds, n=100)
    return f"{percentiles[49] * 1000:.1f}", f"{percentiles[98] * 1000:.1f}", f"{len(seconds) / total:.0f}"


if __name__ == "__main__":
    asyncio.run(main())
