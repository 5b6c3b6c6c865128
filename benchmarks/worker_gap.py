"""How long the worker stands idle between two jobs.

    python benchmarks/worker_gap.py [jobs]

A real worker with the bundled model is started as a child, as the bot starts it, and the bot's own client sends one
job after the other: the next as soon as the last picture is on disk. A job's line "started" and its picture's
``seconds`` (first step to last pixel) bound what the engine did; the rest of each round is the gap. A second run
sends every job before the last is done, so that the next one waits in the worker's own line.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends.base import Call, HealthState, Made, Picture
from backends.worker.client import WorkerBackend
from backends.worker.process import WorkerProcess, worker_command
from config.catalogue import Catalogue
from domain.request import ImageRequest, Kind

ROOT = Path(__file__).parents[1]
STEPS = 4
OFFER = Catalogue.load().offers()["worker:tiny"]


@dataclass(frozen=True)
class Row:
    """One job: when its picture was there, and what the engine took for it."""

    ended: float
    computed: float


async def paint(backend: WorkerBackend, number: int, folder: Path) -> Row:
    workspace = folder / str(number)
    workspace.mkdir()
    request = ImageRequest(kind=Kind.IMAGINE, model="tiny", prompt="a red circle", seed=number, steps=STEPS)
    call = Call(str(number), OFFER, request, (Picture(0, number, str(number)),), None, workspace)
    computed = 0.0
    async for event in backend.run(call):
        if isinstance(event, Made):
            assert event.seconds is not None
            computed = event.seconds
    return Row(time.monotonic(), computed)


async def in_turn(backend: WorkerBackend, jobs: int, folder: Path) -> list[Row]:
    """The next job is sent when the last picture has arrived."""
    return [await paint(backend, number, folder) for number in range(jobs)]


async def overlapping(backend: WorkerBackend, jobs: int, folder: Path) -> list[Row]:
    """The next job waits in the worker while one computes."""
    rows: list[Row] = []
    running: list[asyncio.Task[Row]] = []
    for number in range(jobs):
        running.append(asyncio.create_task(paint(backend, jobs + number, folder)))
        if len(running) > 1:
            rows.append(await running.pop(0))
    return [*rows, await running.pop()]


def report(name: str, rows: list[Row]) -> None:
    gaps = sorted(max(0.0, after.ended - before.ended - after.computed) * 1000 for before, after in pairwise(rows))
    computed = statistics.median(row.computed for row in rows) * 1000
    print(
        f"{name:<12} jobs {len(rows):>4}   computing p50 {computed:7.1f} ms   "
        f"gap p50 {statistics.median(gaps):6.1f} ms   p99 {gaps[int(len(gaps) * 0.99)]:6.1f} ms   "
        f"gap / computing {statistics.median(gaps) / computed:.2f}"
    )


async def main(jobs: int) -> None:
    process = WorkerProcess(worker_command(ROOT), environment={"EASEL_LOCAL_MODEL": "tiny"}, working_folder=Path("/"))
    await process.start()
    backend = WorkerBackend.on_socket(process)
    try:
        while (await backend.health()).state is not HealthState.UP:
            await asyncio.sleep(0.1)
        with tempfile.TemporaryDirectory() as folder:
            await paint(backend, 2 * jobs, Path(folder))
            report("in turn", await in_turn(backend, jobs, Path(folder)))
            report("overlapping", await overlapping(backend, jobs, Path(folder)))
    finally:
        await backend.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
