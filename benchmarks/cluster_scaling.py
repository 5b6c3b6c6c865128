"""A cluster that grows while all replicas are busy and shrinks under work: slots over time, and the ends of all jobs.

    python -m benchmarks.cluster_scaling [seconds]

Between one and three replicas of the bundled model. The bot's own client keeps as many jobs going as ``/health`` has
slots until there are three; then one job at a time, so that replicas go while jobs run. Each job has to end with its
picture: one that was on a replica that goes is what a scale-down must not lose.
"""

import asyncio
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends.base import Call, CallEnded, Made, Picture
from backends.worker.client import WorkerBackend
from config.catalogue import Catalogue
from domain.request import ImageRequest, Kind
from tests.worker.cluster import TOKEN, Cluster

STEPS: Final = 28
MOST: Final = 3
PATIENCE: Final = 240.0
OFFER: Final = Catalogue.load().offers()["worker:tiny"]


class Load:
    """Keeps ``wanted`` jobs going."""

    def __init__(self, backend: WorkerBackend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder
        self._numbers = itertools.count()
        self._going: set[asyncio.Task[None]] = set()
        self.ends: Counter[str] = Counter()

    async def keep(self, wanted: int) -> None:
        self._going = {task for task in self._going if not task.done()}
        for _ in range(wanted - len(self._going)):
            self._going.add(asyncio.create_task(self._paint(next(self._numbers))))

    async def end(self) -> None:
        await asyncio.gather(*self._going)

    async def _paint(self, number: int) -> None:
        workspace = self._folder / str(number)
        workspace.mkdir()
        request = ImageRequest(kind=Kind.IMAGINE, model="tiny", prompt=f"circle {number}", seed=number, steps=STEPS)
        call = Call(str(number), OFFER, request, (Picture(0, number, str(number)),), None, workspace)
        end = "no picture"
        try:
            async for event in self._backend.run(call):
                if isinstance(event, Made):
                    end = "picture"
        except CallEnded as ended:
            end = type(ended).__name__
        self.ends[end] += 1


async def main(seconds: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cluster = Cluster(
            folder,
            replicas=1,
            cpus=MOST,
            EASEL_CLUSTER_MAX_REPLICAS=str(MOST),
            EASEL_CLUSTER_UPSCALE_SECONDS="1",
            EASEL_CLUSTER_DOWNSCALE_SECONDS=seconds,
        )
        backend = WorkerBackend.at_url(cluster.url, TOKEN)
        load = Load(backend, folder)
        try:
            await cluster.start()
            began, seen = time.monotonic(), -1
            # What is wanted of the slots, and how many jobs to keep going meanwhile (None: one for each).
            for phase, until, jobs in (("all busy", MOST, None), ("one at a time", MOST - 1, 1), ("nothing", 1, 0)):
                deadline = time.monotonic() + PATIENCE
                while (slots := (await backend.health()).slots) != until:
                    if slots != seen:
                        print(f"{time.monotonic() - began:>6.1f} s  {phase:<14} {slots} slots", flush=True)
                        seen = slots
                    assert time.monotonic() < deadline, f"{slots} slots, and not {until}"
                    await load.keep(slots if jobs is None else jobs)
                    await asyncio.sleep(0.2)
                print(f"{time.monotonic() - began:>6.1f} s  {phase:<14} {slots} slots", flush=True)
                seen = slots
            await load.end()
            print("jobs that ended with", dict(load.ends))
        finally:
            await backend.aclose()
            await cluster.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "3"))
