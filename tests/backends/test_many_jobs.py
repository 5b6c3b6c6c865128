"""Two hundred paid jobs at once: all finish, each is accepted once, and their pictures never are all in memory."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from backends.limiter import Pace
from backends.wavespeed import WaveSpeedBackend
from domain.job import JobState
from domain.request import Size
from jobs.events import StateChanged
from tests.backends.calls import CATALOGUE
from tests.backends.conftest import QUICK
from tests.building import Clock, open_house

OVER = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN)
JOBS = 200
PER_SECOND = 25
PICTURE_BYTES = 4 * 2**20
ROOT = Path(__file__).parents[2]


class RealClock(Clock):
    """The time of day."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@asynccontextmanager
async def stand_in(**plan: Any) -> AsyncIterator[str]:
    """A stand-in in a process of its own, so that its memory is not ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.servers.wavespeed", "--key", "k", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().removeprefix("listening on ").strip()
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{url}/control/plan", json=plan)
            # However slowly this machine starts jobs, some of them are too early.
            early = {"route": "submit", "status": 429, "headers": {"Retry-After": "1"}, "times": 5}
            await client.post(f"{url}/control/fault", json=early)
        yield url
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow
async def test_two_hundred_jobs_at_once(tmp_path: Path) -> None:
    process = psutil.Process()
    highest = 0

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(0.02)

    async with stand_in(per_second=PER_SECOND, padding=PICTURE_BYTES, statuses=["processing", "completed"]) as url:
        backend = WaveSpeedBackend(
            api_key=SecretStr("k"),
            base_url=url,
            slots=JOBS,
            pace=Pace(first=0.5),
            timeouts=QUICK,
        )
        only = CATALOGUE.restricted_to(["wavespeed"], [])
        try:
            async with open_house(
                tmp_path,
                {"wavespeed": backend},
                clock=RealClock(),
                catalogue=only,
                easel_daily_budget_usd=1000,
                easel_default_daily_images=JOBS,
            ) as house:
                before = process.memory_info().rss
                watching = asyncio.create_task(watch())
                with house.events.listen() as events:
                    left = set()
                    for seed in range(JOBS):
                        left.add((await house.ask("hidream-i1-dev", size=Size(512, 512), seed=seed)).id)
                    jobs = set(left)
                    async with asyncio.timeout(300):
                        async for event in events:
                            if isinstance(event, StateChanged) and event.state in OVER:
                                left.discard(event.job_id)
                            if not left:
                                break
                watching.cancel()
                ended = [await house.job(job_id) for job_id in jobs]
                assert await house.ledger.check() == []
        finally:
            await backend.aclose()
        async with httpx.AsyncClient(trust_env=False) as client:
            state = (await client.get(f"{url}/control/state")).json()
    assert {job.state for job in ended} == {JobState.FINISHED}
    assert {job.starts for job in ended} == {1}
    assert state["accepted"] == JOBS
    assert sorted(task["body"]["seed"] for task in state["tasks"]) == list(range(JOBS))
    # Some were too early, and then all of them kept still for the second that was asked for.
    assert JOBS < state["requests"]["submit"] <= 3 * JOBS
    assert highest - before < JOBS * PICTURE_BYTES / 4
