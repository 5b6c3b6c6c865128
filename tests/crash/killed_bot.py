"""``python -m tests.crash.killed_bot before|after SOURCE TARGET``: the real bot, killed at one move of a job.

The process kills itself with SIGKILL right before or right after the transaction of the move is committed: no
handler runs, no buffer is flushed. With ``never`` it is the real bot. Polls come quickly, so that tests do; with
``patient`` the first comes after five minutes, so that only a webhook can bring a picture.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import bot
from backends.comfyui import ComfyUIBackend
from backends.limiter import Pace
from backends.runware import RunwareBackend
from backends.wavespeed import WaveSpeedBackend
from db import commits, database
from db.commits import Part
from db.connection import ThreadConnection
from db.database import Database, Transaction
from db.jobs import JobStore
from domain.job import JobState

Work = Callable[[ThreadConnection], Coroutine[Any, Any, Any]]


def kill_at(moment: str, source: JobState, target: JobState) -> None:
    """Make this process kill itself at the move from ``source`` to ``target``."""
    move, transaction, commit = JobStore._move, Database.transaction, commits.commit_together
    moved = False

    async def watched_move(
        self: JobStore, tx: Transaction, job_id: str, left: JobState, entered: JobState, *more: Any
    ) -> None:
        nonlocal moved
        await move(self, tx, job_id, left, entered, *more)
        moved = moved or (left, entered) == (source, target)

    @asynccontextmanager
    async def watched_transaction(self: Database) -> AsyncIterator[Transaction]:
        async with transaction(self) as tx:
            yield tx
            if moved and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        if moved:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watched_commit(writer: ThreadConnection, parts: Sequence[Part]) -> None:
        if moment == "before":
            for part in parts:
                part.work = _then_killed(part.work, lambda: moved)
        await commit(writer, parts)
        if moved:
            os.kill(os.getpid(), signal.SIGKILL)

    database.commit_together = watched_commit  # type: ignore[attr-defined]
    JobStore._move = watched_move  # type: ignore[method-assign,assignment]
    Database.transaction = watched_transaction  # type: ignore[method-assign]


def _then_killed(work: Work, has_moved: Callable[[], bool]) -> Work:
    async def watched(tx: ThreadConnection) -> Any:
        result = await work(tx)
        if has_moved():
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return watched


def poll(pace: Pace) -> None:
    """Ask stand-ins at this pace, and not after one or two seconds."""
    backends: tuple[Any, ...] = (WaveSpeedBackend, RunwareBackend, ComfyUIBackend)
    for backend in backends:
        backend.__init__ = _with_pace(backend.__init__, pace)


def _with_pace(init: Callable[..., None], pace: Pace) -> Callable[..., None]:
    def paced(self: object, **given: Any) -> None:
        init(self, **given, pace=pace)

    return paced


if __name__ == "__main__":
    moment, *edge = sys.argv[1:]
    if moment not in ("never", "patient"):
        kill_at(moment, JobState(edge[0]), JobState(edge[1]))
    poll(Pace(first=300, longest=300) if moment == "patient" else Pace(first=0.05, longest=0.2))
    sys.exit(bot.main(["run"]))
