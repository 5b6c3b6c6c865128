"""The worker as a child: restarted when it dies, ended with the bot, and never left behind."""

import asyncio
import json
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from backends.base import HealthState, Made, Progress, WorkerDied
from backends.worker.client import WorkerBackend
from backends.worker.process import WorkerProcess, worker_command
from tests.backends.calls import collect, make_call, offer
from tests.worker.conftest import ROOT, until

TINY = offer("worker:tiny")

REAL_WORKER = """
import logging, sys
from pathlib import Path
from backends.worker.serve import run_worker
from config.loading import load
logging.basicConfig(level="INFO")
settings = load({"EASEL_LOCAL_MODEL": "tiny"}, Path("/nonexistent"))
sys.exit(run_worker(settings, host=None, port=None, uds=Path(sys.argv[1]), exit_with_stdin=True))
"""

BOT = """
import asyncio, sys
from backends.worker.process import WorkerProcess
async def main():
    process = WorkerProcess(lambda uds: (sys.executable, "-c", sys.argv[1], str(uds)))
    await process.start()
    print(process.pid, process.socket, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def real_worker(uds: Path) -> Sequence[str]:
    return (sys.executable, "-c", REAL_WORKER, str(uds))


def script(code: str) -> WorkerProcess:
    """A child that does something simpler than working."""
    return WorkerProcess(lambda uds: (sys.executable, "-c", code, str(uds)), sleep=no_pause)


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def running(process: WorkerProcess) -> AsyncIterator[WorkerProcess]:
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_killed_worker_is_worker_died_and_another_one_takes_its_place(tmp_path: Path) -> None:
    """The whole road: a real child with the bundled model, killed in the middle of a picture."""
    process = WorkerProcess(real_worker, working_folder=ROOT, sleep=no_pause)
    await process.start()
    backend = WorkerBackend.on_socket(process)
    try:
        await until_up(backend)
        mode = process.socket.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE(process.socket.parent.stat().st_mode) == 0o700
        first = process.pid
        assert first is not None
        events = backend.run(make_call(TINY, tmp_path, steps=50))
        while await anext(events) != Progress(0, 3, 50):
            pass
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await collect(events)
        await until(lambda: process.pid not in (None, first))
        await until_up(backend)
        assert isinstance((await collect(backend.run(make_call(TINY, tmp_path, steps=1))))[-1], Made)
    finally:
        socket, last = process.socket, process.pid
        await backend.aclose()
    assert last is not None
    assert gone(last)
    assert not socket.parent.exists()


async def until_up(backend: WorkerBackend) -> None:
    while (await backend.health()).state is not HealthState.UP:
        await asyncio.sleep(0.05)


async def test_while_the_child_is_starting_the_backend_is_loading() -> None:
    async with running(script("import time; time.sleep(600)")) as process:
        backend = WorkerBackend.on_socket(process)
        assert (await backend.health()).state is HealthState.LOADING


async def test_the_bot_killed_alone_takes_the_worker_with_it() -> None:
    bot = await asyncio.create_subprocess_exec(sys.executable, "-c", BOT, REAL_WORKER, stdout=subprocess.PIPE, cwd=ROOT)
    assert bot.stdout is not None
    pid, socket = (await bot.stdout.readline()).decode().split()
    try:
        await until(Path(socket).exists)
        assert not gone(int(pid))
        bot.send_signal(signal.SIGKILL)
        await bot.wait()
        await until(lambda: gone(int(pid)))
        assert not Path(socket).exists()
    finally:
        if not gone(int(pid)):
            os.kill(int(pid), signal.SIGKILL)
        Path(socket).parent.rmdir()


async def test_the_end_of_standard_input_ends_the_worker(tmp_path: Path) -> None:
    worker = await asyncio.create_subprocess_exec(
        *real_worker(tmp_path / "w.sock"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    assert worker.stdin is not None
    await until((tmp_path / "w.sock").exists)
    worker.stdin.close()
    assert await worker.wait() == 0


async def test_pauses_between_restarts_grow_to_a_minute() -> None:
    pauses: list[float] = []
    enough = asyncio.Event()

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            enough.set()
            await asyncio.Event().wait()

    process = WorkerProcess(lambda _uds: ("/bin/false",), sleep=note)
    async with running(process):
        await enough.wait()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_what_the_worker_writes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    code = "import sys, time; sys.stderr.write('0%\\r50%\\r100%\\n' + 'x' * 100000 + '\\nlast'); time.sleep(600)"
    process = script(code)
    async with running(process):
        await until(lambda: "worker: 100%" in caplog.messages)
        await until(lambda: any("xxx" in message for message in caplog.messages))
    assert "worker: last" in caplog.messages
    assert "worker: 50%" not in caplog.messages
    assert max(map(len, caplog.messages)) < 2100


async def test_a_worker_that_ignores_sigterm_is_killed() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(sys.argv[1], 'w'); time.sleep(600)"
    )
    process = script(code)
    await process.start()
    pid, ready = process.pid, process.socket
    await until(ready.exists)
    await process.stop(grace=0.1)
    assert pid is not None
    assert gone(pid)


async def test_a_worker_that_cannot_be_started_is_said_so_at_once() -> None:
    process = WorkerProcess(lambda _uds: ("/nowhere/python",))
    with pytest.raises(OSError, match="nowhere"):
        await process.start()
    await process.stop()


async def test_the_environment_is_the_one_given(tmp_path: Path) -> None:
    code = f"import json, os, time; json.dump(dict(os.environ), open({str(tmp_path / 'env')!r}, 'w')); time.sleep(600)"
    process = WorkerProcess(lambda _uds: (sys.executable, "-c", code), environment={"EASEL_LOCAL_MODEL": "tiny"})
    async with running(process):
        await until(lambda: (tmp_path / "env").exists() and (tmp_path / "env").stat().st_size > 0)
    assert json.loads((tmp_path / "env").read_text())["EASEL_LOCAL_MODEL"] == "tiny"
    assert "PATH" not in json.loads((tmp_path / "env").read_text())


async def test_a_deep_temporary_folder_does_not_make_the_socket_s_path_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    async with running(script("import time; time.sleep(600)")) as process:
        assert len(str(process.socket).encode()) <= 100
    assert not any(deep.iterdir())


def test_the_command_starts_our_own_door() -> None:
    command = worker_command(Path("/srv/easel"))(Path("/tmp/w.sock"))
    assert command == (
        sys.executable,
        "/srv/easel/bot.py",
        "worker",
        "--uds",
        "/tmp/w.sock",
        "--exit-with-stdin",
    )
