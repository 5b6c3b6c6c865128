"""The worker under Ray Serve: real Ray, real replicas, a real bot; replicas and machines are lost under way.

One cluster of two machines (two of Ray's nodes, on loopback) serves for all of it, as starting one takes longest.
"""

import asyncio
import importlib.util
import os
import re
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from backends.base import HealthState, Lookups, Made, Preview, Progress
from backends.worker.client import WorkerBackend
from domain.job import UNDER_WAY, Job, JobState
from sandbox import Sandbox
from sandbox.hands import Hands
from tests.backends.calls import collect, make_call, offer
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot
from tests.worker.cluster import TOKEN, Cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed"),
]

JOBS = int(os.environ.get("TEST_CLUSTER_JOBS", "100"))
USERS = 10
PATIENCE_SECONDS = 300
MANY = 10_000
OVER = frozenset({JobState.POSTED, JobState.FAILED, JobState.CANCELLED})
TWO_MODELS = {"EASEL_LOCAL_EDIT_MODEL": "tiny", "EASEL_CLUSTER_WARM_SECONDS": "5"}
"""So long a job waits for its warm replica: however slow the machine is, one that is done has said so by then."""
AS_MANY_AS_ARE_BUSY = {
    "EASEL_CLUSTER_MIN_REPLICAS": "1",
    "EASEL_CLUSTER_MAX_REPLICAS": "2",
    "EASEL_CLUSTER_UPSCALE_SECONDS": "0",
    "EASEL_CLUSTER_DOWNSCALE_SECONDS": "2",
    "EASEL_CLUSTER_WARM_SECONDS": "0",
}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Two machines with room for one replica each; both are starting."""
    running = Cluster(tmp_path, replicas=2, cpus=1, **TWO_MODELS)
    try:
        await running.begin()
        await running.join()
        yield running
    finally:
        await running.stop()


async def test_a_hundred_jobs_outlive_replicas_and_machines(cluster: Cluster, sandbox: Sandbox, tmp_path: Path) -> None:
    backend = WorkerBackend.at_url(cluster.url, TOKEN)
    await slots(backend, 2)
    assert [len(machine.replicas()) for machine in (cluster.first, *cluster.joined)] == [1, 1]
    await what_a_stranger_is_told(cluster)
    await a_stream_of_steps_previews_and_a_picture(backend, tmp_path)
    await each_model_finds_its_replica(backend, tmp_path)

    users = [sandbox.add_user(f"painter{number}") for number in range(USERS)]
    settings = {"EASEL_DEFAULT_DAILY_IMAGES": "1000", "EASEL_METRICS_LISTEN": "0"}
    bot = Bot(sandbox, tmp_path / "data", cast(ScriptedBackend, backend), settings)
    await bot.start()
    try:
        for number in range(JOBS):
            await ask(users, sandbox, number)
        await until(lambda: enough(len, bot, users, JOBS))
        # Cancels, of jobs that wait and of jobs that run.
        for job in [*await by_state(bot, users, JobState.QUEUED), *await by_state(bot, users, JobState.RUNNING)][:6]:
            user = next(user for user in users if user.id == job.place.user_id)
            await user.slash(sandbox.studio, "cancel", job=job.id)
        await what_the_metrics_tell(bot)

        await until(lambda: enough(under_way, bot, users, 2))
        await cluster.joined[0].lose()
        # The bot follows: one slot, until another machine joins.
        await metric(bot, "easel_backend_slots", 'place="worker"', 1)
        await some_more(bot, users, JOBS // 20)
        # It cost the job that was there one start, and no other job anything.
        starts = [job.starts for job in await all_jobs(bot, users)]
        assert sum(max(0, number - 1) for number in starts) <= 1
        assert not [job for job in await all_jobs(bot, users) if job.state is JobState.FAILED]
        await cluster.join()
        await metric(bot, "easel_backend_slots", 'place="worker"', 2)

        cluster.first.replicas()[0].kill()
        await some_more(bot, users, JOBS // 20)
        for replica in cluster.replicas():
            replica.kill()
        await some_more(bot, users, JOBS // 20)
        # All of Ray, and the bot as well.
        assert await cluster.stop() == 0
        await bot.stop()
        await cluster.start(cpus=2, **AS_MANY_AS_ARE_BUSY)
        bot.painter = cast(ScriptedBackend, WorkerBackend.at_url(cluster.url, TOKEN))
        await bot.start()
        # All replicas are busy, which asks for another one; when all is done, it goes.
        await busy_until_there_are_two(bot, users, sandbox)
        await some_more(bot, users, MANY)
        await metric(bot, "easel_backend_slots", 'place="worker"', 1)
        await what_became_of_all(bot, sandbox, users)
    finally:
        await bot.stop()
        await backend.aclose()
        await bot.painter.aclose()


async def ask(users: list[Hands], sandbox: Sandbox, number: int) -> None:
    user = users[number % USERS]
    await user.slash(sandbox.studio, "imagine", prompt=f"a red circle {number}", steps=8, seed=number)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await true():
            await asyncio.sleep(0.05)


async def slots(backend: WorkerBackend, number: int) -> None:
    async def there() -> bool:
        return (await backend.health()).slots == number

    await until(there)


async def metric(bot: Bot, name: str, labels: str, wanted: float) -> None:
    """Wait until the bot tells it so."""
    sample = re.compile(rf"^{name}{{{labels}}} {wanted:.1f}$", re.MULTILINE)

    async def told() -> bool:
        return sample.search(await metrics(bot)) is not None

    await until(told)


async def metrics(bot: Bot) -> str:
    assert bot.services.metrics is not None
    return (await bot.services.metrics.page()).decode()


async def what_a_stranger_is_told(cluster: Cluster) -> None:
    """Neither the workers nor their state are for who has no token."""
    for token in (None, "another-token"):
        stranger = WorkerBackend.at_url(cluster.url, token)
        health = await stranger.health()
        assert health.state is HealthState.DOWN
        await stranger.aclose()


async def a_stream_of_steps_previews_and_a_picture(backend: WorkerBackend, folder: Path) -> None:
    events = await collect(backend.run(make_call(offer("worker:tiny"), folder, steps=6)))
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4, 5, 6]
    assert any(isinstance(event, Preview) for event in events)
    assert isinstance(events[-1], Made)


async def each_model_finds_its_replica(backend: WorkerBackend, folder: Path) -> None:
    """Two models by turns, two replicas that are both free: neither ever has to change its model."""
    fox, bluer = offer("worker:tiny"), "make it blue"
    edit = offer("worker:tiny-edit")
    busy = backend.run(make_call(fox, new(folder), steps=28, prompt="a fox"))
    async for event in busy:
        if isinstance(event, Progress) and event.step == 1:
            # The one that paints the fox is warm for no edit.
            await collect(backend.run(make_call(edit, new(folder), steps=1, prompt=bluer)))
    for _ in range(5):
        await collect(backend.run(make_call(fox, new(folder), steps=1, prompt="a fox")))
        await collect(backend.run(make_call(edit, new(folder), steps=1, prompt=bluer)))
    await models_changed(backend, 2, of=13)
    # A prompt goes before a model. From now on both have the same model.
    await collect(backend.run(make_call(fox, new(folder), steps=1, prompt=bluer)))
    await models_changed(backend, 3, of=14)


def new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


async def models_changed(backend: WorkerBackend, times: int, *, of: int) -> None:
    """So many of so many jobs came to a replica that had another model before, or none."""

    async def changes() -> Lookups:
        found = [figures.caches["model"] for figures in (await backend.health()).replicas.values()]
        return Lookups(sum(one.hits for one in found), sum(one.misses for one in found))

    async def all_reported() -> bool:
        now = await changes()
        return now.hits + now.misses == of

    await until(all_reported)
    assert (await changes()).misses == times


async def what_the_metrics_tell(bot: Bot) -> None:
    """Each replica's memory, work and caches."""

    async def both_told() -> bool:
        page = await metrics(bot)
        return all(
            re.search(rf'^easel_worker_{name}{{[^}}]*replica="{number}"[^}}]*}} [1-9]', page, re.MULTILINE)
            for number in (0, 1)
            for name in ("memory_bytes", "busy_seconds_total", "cache_lookups_total")
        )

    await until(both_told)


async def all_jobs(bot: Bot, users: list[Hands]) -> list[Job]:
    return [job for user in users for job in await bot.jobs_of(user.id)]


async def enough(count: Callable[[list[Job]], int], bot: Bot, users: list[Hands], number: int) -> bool:
    return count(await all_jobs(bot, users)) >= number


def under_way(jobs: list[Job]) -> int:
    return sum(job.state in UNDER_WAY for job in jobs)


def over(jobs: list[Job]) -> int:
    return sum(job.state in OVER for job in jobs)


async def by_state(bot: Bot, users: list[Hands], state: JobState) -> list[Job]:
    return [job for job in await all_jobs(bot, users) if job.state is state][:3]


async def some_more(bot: Bot, users: list[Hands], number: int) -> None:
    """Wait until so many more jobs are over, or all are."""
    jobs = await all_jobs(bot, users)
    wanted = min(over(jobs) + number, len(jobs))
    await until(lambda: enough(over, bot, users, wanted))


async def busy_until_there_are_two(bot: Bot, users: list[Hands], sandbox: Sandbox) -> None:
    """However fast the first replica is, it always has a job."""

    async def two() -> bool:
        jobs = await all_jobs(bot, users)
        if len(jobs) - over(jobs) < 3:
            await ask(users, sandbox, len(jobs))
        return 'easel_backend_slots{place="worker"} 2.0\n' in await metrics(bot)

    await until(two)


async def what_became_of_all(bot: Bot, sandbox: Sandbox, users: list[Hands]) -> None:
    posted = 0
    for user in users:
        jobs = await bot.jobs_of(user.id)
        done = [job for job in jobs if job.state is JobState.POSTED]
        posted += len(done)
        for job in jobs:
            assert job.state in OVER
            assert (job.failure is not None) == (job.state is not JobState.POSTED)
        # Charged once for each picture that was posted, and for nothing else.
        assert charged(bot.folder, user.id) == (len(done), 0)
    results = [
        message
        for message in sandbox.messages_in(sandbox.studio)
        if not message.deleted and "Reroll" in [button.label for button in message.buttons]
    ]
    assert len(results) == posted
    assert posted >= JOBS // 2


def charged(folder: Path, user_id: int) -> tuple[int, int]:
    """Pictures that the ledger has counted for a member, and those that it still holds."""
    with closing(sqlite3.connect(folder / "easel.db")) as database:
        used, held = database.execute(
            "SELECT sum(used), sum(held) FROM balances WHERE subject = 'member' AND subject_id = ? AND unit = 'images'",
            (user_id,),
        ).fetchone()
    return used, held
