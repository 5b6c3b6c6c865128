"""The worker under Ray Serve: real Ray, real replicas, a real bot; replicas are killed under way."""

import asyncio
import importlib.util
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from backends.base import HealthState, Made, Preview, Progress
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
OVER = frozenset({JobState.POSTED, JobState.FAILED, JobState.CANCELLED})


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    running = Cluster(tmp_path)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


async def all_replicas(backend: WorkerBackend) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await backend.health()).slots < 2:
            await asyncio.sleep(0.2)


async def test_a_hundred_jobs_outlive_their_replicas(cluster: Cluster, sandbox: Sandbox, tmp_path: Path) -> None:
    backend = WorkerBackend.at_url(cluster.url, TOKEN)
    await all_replicas(backend)
    await what_a_stranger_is_told(cluster)
    await a_stream_of_steps_previews_and_a_picture(backend, tmp_path)

    users = [sandbox.add_user(f"painter{number}") for number in range(USERS)]
    bot = Bot(sandbox, tmp_path / "data", cast(ScriptedBackend, backend), {"EASEL_DEFAULT_DAILY_IMAGES": "1000"})
    await bot.start()
    try:
        for number in range(JOBS):
            await users[number % USERS].slash(
                sandbox.studio, "imagine", prompt=f"a red circle {number}", steps=8, seed=number
            )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await all_jobs(bot, users)) < JOBS:
                await asyncio.sleep(0.1)
        # Cancels, of jobs that wait and of jobs that run.
        for job in [*await by_state(bot, users, JobState.QUEUED), *await by_state(bot, users, JobState.RUNNING)][:6]:
            user = next(user for user in users if user.id == job.place.user_id)
            await user.slash(sandbox.studio, "cancel", job=job.id)

        await under_way(bot, users)
        cluster.replicas()[0].kill()
        await some_more(bot, users, JOBS // 10)
        for replica in cluster.replicas():
            replica.kill()
        await some_more(bot, users, JOBS // 10)
        # All of Ray, and the bot as well.
        assert await cluster.stop() == 0
        await bot.stop()
        await cluster.start()
        bot.painter = cast(ScriptedBackend, WorkerBackend.at_url(cluster.url, TOKEN))
        await bot.start()
        await some_more(bot, users, JOBS)
        await what_became_of_all(bot, sandbox, users)
    finally:
        await bot.stop()
        await backend.aclose()
        await bot.painter.aclose()


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


async def all_jobs(bot: Bot, users: list[Hands]) -> list[Job]:
    return [job for user in users for job in await bot.jobs_of(user.id)]


async def by_state(bot: Bot, users: list[Hands], state: JobState) -> list[Job]:
    return [job for job in await all_jobs(bot, users) if job.state is state][:3]


async def under_way(bot: Bot, users: list[Hands]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(job.state in UNDER_WAY for job in await all_jobs(bot, users)) < 2:
            await asyncio.sleep(0.02)


async def some_more(bot: Bot, users: list[Hands], number: int) -> None:
    """Wait until so many more jobs are over, or all are."""

    async def over() -> int:
        return sum(job.state in OVER for job in await all_jobs(bot, users))

    before = await over()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await over() < min(before + number, JOBS):
            await asyncio.sleep(0.1)


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
