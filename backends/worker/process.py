"""The worker as a child of the bot: started, watched, restarted, and never left behind.

The child's standard input is a pipe that nobody writes to. When the bot dies, however it dies, the kernel closes
the pipe, and the child ends (``--exit-with-stdin``).
"""

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
HEALTHY_SECONDS: Final = 60.0
"""A worker that lived this long earns a quick restart."""
MAX_SOCKET_PATH: Final = 100
"""Bytes; the kernel's limit is 107."""
MAX_LOG_LINE: Final = 2000

MakeCommand = Callable[[Path], Sequence[str]]


def worker_command(root: Path) -> MakeCommand:
    """The command that starts this program's own worker on a socket."""

    def command(uds: Path) -> Sequence[str]:
        return (sys.executable, str(root / "bot.py"), "worker", "--uds", str(uds), "--exit-with-stdin")

    return command


class WorkerProcess:
    """Keeps one worker alive between ``start`` and ``stop``."""

    def __init__(
        self,
        command: MakeCommand,
        *,
        environment: Mapping[str, str] | None = None,
        working_folder: Path | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``command`` makes the argument list for a socket's path; ``environment`` replaces the bot's own."""
        self._command = command
        self._environment = environment
        self._working_folder = working_folder
        self._sleep = sleep
        self._folder: Path | None = None
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Task[None]] = set()

    @property
    def socket(self) -> Path:
        """Where the worker listens; it stays the same over restarts. Only between ``start`` and ``stop``."""
        assert self._folder is not None
        return self._folder / "worker.sock"

    @property
    def pid(self) -> int | None:
        """The child's process id; None while none runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def start(self) -> None:
        """Start the child and keep it alive. Raises OSError when it cannot be started at all."""
        self._folder = _socket_folder()
        self._process = await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, after ``grace`` seconds SIGKILL; the socket's folder is removed."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process, grace)
        await asyncio.gather(*self._readers)
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None

    async def _end(self, process: Process, grace: float) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            log.warning("the worker did not end within %g s of SIGTERM: killing it", grace)
            process.kill()
            await process.wait()

    async def _spawn(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self._command(self.socket),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=PIPE,
            env=self._environment,
            cwd=self._working_folder,
            # A Ctrl-C in the terminal is for the bot, which then ends the worker in its own time.
            start_new_session=True,
        )
        assert process.stderr is not None
        reader = asyncio.create_task(_log_lines(process.stderr))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        return process

    async def _supervise(self) -> None:
        pause = FIRST_PAUSE
        while True:
            assert self._process is not None
            started = time.monotonic()
            status = await self._process.wait()
            if time.monotonic() - started >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            log.error("the worker ended (%s); starting another in %g s", _how(status), pause)
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                self._process = await self._spawn()
            except OSError:
                log.exception("the worker could not be started")


def _socket_folder() -> Path:
    """A fresh folder that only we can enter, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="easel-"))
    if len(str(folder / "worker.sock").encode()) > MAX_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="easel-", dir="/tmp"))
    return folder


def _how(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


async def _log_lines(stream: asyncio.StreamReader) -> None:
    """Log every line; of a progress bar's overwritten ones, the last."""
    pending = b""
    while chunk := await stream.read(8192):
        *lines, pending = (pending + chunk).split(b"\n")
        pending = pending[-MAX_LOG_LINE:]
        for line in lines:
            _log_line(line)
    _log_line(pending)


def _log_line(line: bytes) -> None:
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace").rstrip()
    if text:
        log.info("worker: %s", text[:MAX_LOG_LINE])
