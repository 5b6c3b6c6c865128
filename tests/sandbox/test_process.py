"""The sandbox as a child process."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]


async def start(*arguments: str) -> tuple[Process, str]:
    """Start it; the process, and the address that its one line of output names."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--port", "0", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    assert line.startswith("sandbox ready http://127.0.0.1:")
    return process, line.split()[-1]


async def test_it_serves_and_stops_when_stdin_ends() -> None:
    process, url = await start("--token", "chosen", "--exit-with-stdin")
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            assert response.status == 200
        headers = {"Authorization": "Bot chosen"}
        async with session.get(url + "api/v10/users/@me", headers=headers) as response:
            assert (await response.json())["username"] == "Easel"
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_sigterm_ends_it_cleanly_with_a_page_open() -> None:
    process, url = await start()
    async with aiohttp.ClientSession() as session:
        async with session.get(url + "sandbox/state") as response:
            me = (await response.json())["me"]["id"]
        async with session.get(f"{url}sandbox/events?user={me}") as stream:
            assert await stream.content.readline()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 60) == 0
    assert process.stderr is not None
    assert await process.stderr.read() == b""


async def test_a_taken_port_is_one_clear_line() -> None:
    first, url = await start("--exit-with-stdin")
    port = url.rstrip("/").rsplit(":", 1)[1]
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--port", port, stdout=PIPE, stderr=PIPE, cwd=ROOT
    )
    _, complaint = await asyncio.wait_for(second.communicate(), 60)
    assert second.returncode == 1
    assert complaint.decode().startswith(f"sandbox: cannot listen on port {port}:")
    assert complaint.count(b"\n") == 1
    assert first.stdin is not None
    first.stdin.close()
    assert await asyncio.wait_for(first.wait(), 60) == 0
