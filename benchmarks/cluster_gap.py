"""One worker process beside Ray with one replica and with two: pictures a minute, gaps, first words, memory.

    python -m benchmarks.cluster_gap [jobs]

The bot's own client sends the bundled model's jobs, as many at a time as there are slots, the next as soon as a slot's
picture is on disk. The gap is what a round takes beyond what the engine computed; the first word is the time from
sending a job to "started", which is what a progress line on a card waits for. Memory is resident, shared pages counted
in each process, of all processes that serve.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil

from backends.base import Call, HealthState, Made, Picture, Working
from backends.worker.client import WorkerBackend
from backends.worker.process import WorkerProcess, worker_command
from config.catalogue import Catalogue
from domain.request import ImageRequest, Kind
from tests.worker.cluster import TOKEN, Cluster

ROOT: Final = Path(__file__).parents[1]
STEPS: Final = 8
OFFER: Final = Catalogue.load().offers()["worker:tiny"]


@dataclass
class Rows:
    """What was measured of one way to serve."""

    gaps: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)


async def paint(backend: WorkerBackend, number: int, folder: Path, rows: Rows) -> None:
    workspace = folder / str(number)
    workspace.mkdir()
    request = ImageRequest(kind=Kind.IMAGINE, model="tiny", prompt="a red circle", seed=number, steps=STEPS)
    call = Call(str(number), OFFER, request, (Picture(0, number, str(number)),), None, workspace)
    began = time.monotonic()
    async for event in backend.run(call):
        if isinstance(event, Working):
            rows.first_words.append(time.monotonic() - began)
        if isinstance(event, Made):
            assert event.seconds is not None
            rows.computed.append(event.seconds)
            rows.gaps.append(time.monotonic() - began - event.seconds)


async def measure(name: str, backend: WorkerBackend, slots: int, jobs: int, memory: float) -> None:
    rows, numbers = Rows(), iter(range(jobs))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(slots):
            await paint(backend, jobs + number, Path(folder), Rows())

        async def lane() -> None:
            for number in numbers:
                await paint(backend, number, Path(folder), rows)

        began = time.monotonic()
        await asyncio.gather(*(lane() for _ in range(slots)))
        minutes = (time.monotonic() - began) / 60
    gaps = sorted(gap * 1000 for gap in rows.gaps)
    print(
        f"{name:<20} {slots:>5} {jobs / minutes:>9.0f} {statistics.median(rows.computed) * 1000:>10.0f} ms "
        f"{statistics.median(gaps):>8.1f} ms {gaps[int(len(gaps) * 0.95)]:>8.1f} ms "
        f"{statistics.median(rows.first_words) * 1000:>9.1f} ms {memory:>7.0f} MiB",
        flush=True,
    )


async def ready(backend: WorkerBackend, slots: int) -> None:
    while (health := await backend.health()).state is not HealthState.UP or health.slots < slots:
        await asyncio.sleep(0.2)


async def plain(jobs: int) -> None:
    process = WorkerProcess(worker_command(ROOT), environment={"EASEL_LOCAL_MODEL": "tiny"}, working_folder=Path("/"))
    await process.start()
    backend = WorkerBackend.on_socket(process)
    try:
        await ready(backend, 1)
        assert process.pid is not None
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        await measure("one process", backend, 1, jobs, memory)
    finally:
        await backend.aclose()


async def with_ray(replicas: int, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), replicas=replicas)
        backend = WorkerBackend.at_url(cluster.url, TOKEN)
        try:
            await cluster.start()
            await ready(backend, replicas)
            await measure(f"Ray, {replicas} replica(s)", backend, replicas, jobs, cluster.memory() / 2**20)
        finally:
            await backend.aclose()
            await cluster.stop()


async def main(jobs: int) -> None:
    print(
        f"{'':<20} {'slots':>5} {'pictures/min':>9} {'computing p50':>10} {'gap p50':>8} {'gap p95':>8} "
        f"{'first word p50':>9} {'memory':>7}"
    )
    await plain(jobs)
    await with_ray(1, jobs)
    await with_ray(2, jobs)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
