"""From an interaction to its acknowledgement, with 50 in flight: ``python -m benchmarks.acknowledgement``.

The real bot in a process of its own, the sandbox on loopback, SQLite on disk with synchronous=FULL: what is timed
holds parsing, the checks, the reservation and the job's row in one commit, and the answer on its way back. A probe
of the disk's fsync stands beside it, because that is what most of the time goes into.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox import Sandbox
from sandbox.hands import Hands

ROOT = Path(__file__).parents[1]
IN_FLIGHT = 50
REQUESTS = 400
PROBES = 200


async def main() -> None:
    """Run it and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Sandbox() as discord:
            process = await _start(discord, folder)
            try:
                users = [discord.add_user(f"member{number}", discord.guild) for number in range(IN_FLIGHT)]
                await _burst(discord, users, IN_FLIGHT)  # warm
                one = await _burst(discord, users[:1], 100)
                many = await _burst(discord, users, REQUESTS)
            finally:
                process.terminate()
                await process.wait()
        probe = _fsync(folder / "probe")
    table = Table(
        "", "p50 ms", "p99 ms", "a second", title="interaction → acknowledgement, reserved and queued on disk"
    )
    table.add_row("1 in flight", *_figures(*one))
    table.add_row(f"{IN_FLIGHT} in flight", *_figures(*many))
    table.add_row("fsync of one page (probe)", *_figures(probe, sum(probe)))
    Console().print(table)


async def _start(discord: Sandbox, folder: Path) -> asyncio.subprocess.Process:
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


async def _burst(discord: Sandbox, users: list[Hands], requests: int) -> tuple[list[float], float]:
    """Seconds of each request, and of all; every user has one in flight."""
    left = iter(range(requests))
    seconds: list[float] = []

    async def ask(user: Hands) -> None:
        for _ in left:
            started = time.perf_counter()
            used = await user.slash(discord.studio, "imagine", prompt="a red star on a blue background")
            await used.acknowledged()
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*map(ask, users))
    return seconds, time.perf_counter() - started


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
