"""Jobs a second through the whole queue, beside other queues on SQLite, with an fsync probe of the disk.

    python -m benchmarks.queue [--jobs N]

Easel's row is the real thing: intake (quota checked, reserved and job queued in one transaction), the dispatcher
(started in fair order), a backend that answers at once, the picture checked and written, quota settled. The other
rows carry a job in and out of a queue and do nothing else. What makes rows unequal stands beside them. Everything
runs on the same disk, one after the other; the ratio is to the first row.
"""

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from huey import SqliteHuey
from litequeue import LiteQueue
from rich.console import Console
from rich.table import Table

from domain.job import JobState
from jobs.events import StateChanged
from tests.building import open_house
from tests.doubles import Paint, ScriptedBackend

MEMBERS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One queue's result."""

    name: str
    per_second: float
    commits: str
    """Commits a job, and what is synced."""
    unequal: str = ""
    """Why it cannot be compared; empty where it can."""


def fsyncs_a_second(folder: Path, times: int = 200) -> float:
    """How often the disk takes 4 KiB for good."""
    with (folder / "probe").open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(times):
            file.write(bytes(4096))
            os.fsync(file.fileno())
        return times / (time.perf_counter() - began)


def plain_sqlite(folder: Path, jobs: int) -> Row:
    """The yardstick: one thread, one connection, WAL and FULL; three commits a job as Easel has."""
    with closing(sqlite3.connect(folder / "plain.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, user INT, state TEXT) STRICT")
        began = time.perf_counter()
        for number in range(jobs):
            connection.execute("INSERT INTO jobs VALUES (?, ?, 'queued')", (number, number % MEMBERS))
        for state in ("running", "finished"):
            for number in range(jobs):
                connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, number))
        return Row("one sqlite3 thread", jobs / (time.perf_counter() - began), "3, FULL", "no quota, no order, no file")


def huey(folder: Path, jobs: int) -> Row:
    """huey with SqliteStorage, synchronous=FULL, results stored."""
    queue = SqliteHuey("benchmark", filename=str(folder / "huey.db"), fsync=True, results=True)
    ran = 0

    @queue.task()  # type: ignore[untyped-decorator]
    def paint(user: int) -> int:
        nonlocal ran
        ran += 1
        return user

    began = time.perf_counter()
    for number in range(jobs):
        paint(number % MEMBERS)
    while (task := queue.dequeue()) is not None:
        queue.execute(task)
    took = time.perf_counter() - began
    assert ran == jobs
    queue.storage.close()
    return Row("huey[sqlite]", jobs / took, "3, FULL", "no quota, no fair order, no picture; lost when killed")


def litequeue(folder: Path, jobs: int) -> Row:
    """litequeue: put, pop, done, with synchronous set to FULL."""
    queue = LiteQueue(str(folder / "lite.db"))
    queue.conn.execute("PRAGMA synchronous = FULL")
    began = time.perf_counter()
    for number in range(jobs):
        queue.put(str(number % MEMBERS))
    done = 0
    while (message := queue.pop()) is not None:
        queue.done(message.message_id)
        done += 1
    took = time.perf_counter() - began
    assert done == jobs
    queue.close()
    return Row("litequeue", jobs / took, "3, FULL (its default is NORMAL)", "no quota, no fair order, no picture")


def easel(folder: Path, jobs: int) -> Row:
    """Intake, dispatch, picture, settle."""
    return Row(
        "Easel",
        jobs / asyncio.run(_easel(folder, jobs)),
        "4, FULL; 2 syncs of the picture's file and folder",
        "does all of it; several coroutines on one writer",
    )


async def _easel(folder: Path, jobs: int) -> float:
    backend = ScriptedBackend("worker", [Paint(size=(16, 16))])
    limit = 100_000
    async with open_house(
        folder / "easel", {"worker": backend}, easel_default_daily_images=limit, easel_max_queued=limit
    ) as house:
        with house.events.listen() as events:
            began = time.perf_counter()
            for number in range(jobs):
                await house.ask(user=1 + number % MEMBERS)
            finished = 0
            async for event in events:
                finished += isinstance(event, StateChanged) and event.state is JobState.FINISHED
                if finished == jobs:
                    return time.perf_counter() - began
    raise AssertionError


ROWS: tuple[Callable[[Path, int], Row], ...] = (plain_sqlite, huey, litequeue, easel)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Jobs a second through the queue.")
    parser.add_argument("--jobs", type=int, default=300)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = fsyncs_a_second(folder)
        rows = [measure(folder, jobs) for measure in ROWS]
        after = fsyncs_a_second(folder)
    table = Table(
        title=f"{jobs} jobs of {MEMBERS} members; the disk takes {before:.0f} fsyncs a second ({after:.0f} after)"
    )
    for column in ("queue", "jobs/s", "ratio", "commits a job", "unequal"):
        table.add_column(column, justify="right" if column in ("jobs/s", "ratio") else "left")
    for row in rows:
        ratio = row.per_second / rows[0].per_second
        table.add_row(row.name, f"{row.per_second:.0f}", f"{ratio:.2f}", row.commits, row.unequal)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
