"""Several real workers on TCP: found, used, killed and found again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.base import Health, HealthState
from backends.worker.client import WorkerBackend
from backends.worker.places import discovered_models, place_names, worker_places
from config.catalogue import Catalogue
from config.settings import Settings
from domain.job import JobState
from domain.quota import Unit
from tests.building import Clock, House, open_house
from tests.worker.conftest import ROOT
from tests.worker.processes import Worker

PATIENCE_SECONDS = 300
"""Workers load torch anew while other tests compute."""


class RealClock(Clock):
    def __call__(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    both = Worker(tmp_path / "one"), Worker(tmp_path / "two")
    await asyncio.gather(*(worker.start() for worker in both))
    try:
        yield both
    finally:
        await asyncio.gather(*(worker.stop() for worker in both))


async def eventually(house: House, condition: Callable[[dict[str, Health]], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition(house.fleet.health()):
            house.fleet.look_again()
            await asyncio.sleep(0.05)


def all_up(health: dict[str, Health]) -> bool:
    return all(found.state is HealthState.UP for found in health.values())


@pytest.mark.slow
async def test_workers_are_killed_and_every_job_is_painted_and_charged_once(
    workers: tuple[Worker, Worker], tmp_path: Path
) -> None:
    settings = Settings.model_validate({"easel_worker_urls": ",".join(worker.url for worker in workers)})
    places = await worker_places(settings, ROOT)
    assert list(places) == [f"worker {worker.url.removeprefix('http://')}" for worker in workers]
    catalogue = Catalogue.load().restricted_to(["worker"], await discovered_models(places.values()))
    assert [model.key for model in catalogue] == ["tiny"]
    async with open_house(tmp_path / "data", places, clock=RealClock(), catalogue=catalogue) as house:
        await eventually(house, all_up)
        assert house.fleet.facts()["worker"].slots == 2

        jobs = [await house.ask("tiny", steps=28, seed=number) for number in range(6)]
        await eventually(house, lambda _: house.fleet.facts()["worker"].busy == 2)
        await workers[0].kill()
        starts = 0
        for job in jobs:
            ended = await house.reached(job.id, JobState.FINISHED, JobState.FAILED)
            assert ended.state is JobState.FINISHED, ended.failure
            starts += ended.starts
        # One retry for the job that was lost; the others noticed nothing.
        assert starts <= len(jobs) + 1
        assert await house.counted(Unit.IMAGES) == (6, 0)

        # All of them: jobs wait, and are painted when the workers are back.
        await workers[1].kill()
        await eventually(house, lambda health: all(found.state is HealthState.DOWN for found in health.values()))
        late = [await house.ask("tiny", steps=2, seed=number) for number in range(3)]
        await asyncio.gather(*(worker.start() for worker in workers))
        await eventually(house, all_up)
        for job in late:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await house.job(job.id)).state is not JobState.FINISHED:
                    await asyncio.sleep(0.05)
        assert await house.counted(Unit.IMAGES) == (9, 0)
        assert await house.ledger.check() == []
    for backend in places.values():
        await backend.aclose()


async def test_a_worker_of_another_protocol_is_named_as_such() -> None:
    answer = b'{"protocol": 99, "state": "splendid", "from": "the future"}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        backend = WorkerBackend.at_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", None)
        health = await backend.health()
        await backend.aclose()
    assert health.state is HealthState.DOWN
    assert health.problem is not None
    assert "protocol 99" in str(health.problem.parameters["reason"])


def test_names_of_places() -> None:
    assert place_names(["http://gpu:7870"]) == ["worker"]
    assert place_names(["http://gpu1:7870", "http://gpu2:8000/easel"]) == ["worker gpu1:7870", "worker gpu2:8000/easel"]


def test_worker_urls_are_each_one_worker() -> None:
    settings = Settings.model_validate(
        {"easel_worker_url": "http://a:1", "easel_worker_urls": "http://b:2, http://a:1/"}
    )
    assert settings.worker_urls == ("http://a:1", "http://b:2")
