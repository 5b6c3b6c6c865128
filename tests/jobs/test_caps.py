"""How many jobs a member and a server may have waiting and under way, where admins allow fewer than the operator."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Code, EaselError
from domain.guild import Action
from domain.job import JobState
from tests.building import GUILD, USER, House, open_house
from tests.doubles import Paint, ScriptedBackend, Steps

ADMIN = 1


async def set_caps(
    house: House, *, queued: int | None = None, running: int | None = None, all_in: int | None = None
) -> None:
    await house.administration.set_caps(
        GUILD, ADMIN, max_queued_per_user=queued, max_running_per_user=running, max_queued=all_in
    )


async def refusal(house: House, **more: Any) -> tuple[Code, object] | None:
    try:
        await house.ask(**more)
    except EaselError as error:
        return error.code, error.parameters.get("limit")
    return None


async def test_a_servers_members_have_fewer_jobs_than_the_operator_allows(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_max_queued_per_user=4) as house:
        await set_caps(house, queued=2)
        for _ in range(2):
            await house.ask()
        assert await refusal(house) == (Code.QUEUE_FULL_FOR_USER_HERE, 2)
        assert await refusal(house, user=USER + 1) is None
        # Elsewhere the operator's own cap holds, over all servers.
        for _ in range(2):
            await house.ask(guild=GUILD + 1)
        assert await refusal(house, guild=GUILD + 1) == (Code.QUEUE_FULL_FOR_USER, 4)
        assert await refusal(house) == (Code.QUEUE_FULL_FOR_USER, 4)


async def test_a_server_has_so_many_waiting_and_no_more(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await set_caps(house, all_in=2)
        first, _ = [await house.ask(user=user) for user in (1, 2)]
        assert await refusal(house, user=3) == (Code.QUEUE_FULL_HERE, 2)
        assert await refusal(house, user=3, guild=GUILD + 1) is None
        await house.dispatcher.cancel(first.id)
        assert await refusal(house, user=3) is None


async def test_caps_are_changed_one_by_one_and_taken_back(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await set_caps(house, queued=1)
        await set_caps(house, running=3)
        settings = await house.administration.settings(GUILD)
        assert (settings.max_queued_per_user, settings.max_running_per_user, settings.max_queued) == (1, 3, None)
        await house.ask()
        assert await refusal(house) == (Code.QUEUE_FULL_FOR_USER_HERE, 1)
        await set_caps(house, queued=0)
        assert await refusal(house) is None
        newest = await house.administration.record(GUILD)
        assert [(entry.action, dict(entry.details)) for entry in newest] == [
            (Action.CAPS_SET, {"max_queued_per_user": 0}),
            (Action.CAPS_SET, {"max_running_per_user": 3}),
            (Action.CAPS_SET, {"max_queued_per_user": 1}),
        ]


@pytest.mark.parametrize("at_once", [40])
async def test_many_at_once_never_pass_a_cap(tmp_path: Path, at_once: int) -> None:
    async with open_house(tmp_path, working=False) as house:
        await set_caps(house, queued=3)
        outcomes = await asyncio.gather(*(refusal(house) for _ in range(at_once)))
        assert outcomes.count(None) == 3


async def test_a_servers_members_have_fewer_under_way_and_the_line_knows(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    worker = ScriptedBackend("worker", (Steps(1), go_on, Paint()), slots=3)
    async with open_house(tmp_path, {"worker": worker}) as house:
        await set_caps(house, running=1)
        first, second, other = [await house.ask(user=user) for user in (1, 1, 2)]
        elsewhere = await house.ask(user=1, guild=GUILD + 1)
        for job in (first, other, elsewhere):
            await house.reached(job.id, JobState.RUNNING)
        # There is a slot for it, but not for its member here.
        assert (await house.job(second.id)).state is JobState.QUEUED
        standing = await house.queue.standing(second.id)
        assert standing is not None
        assert standing.position == 1
        # A little more than the job before it takes: others come, and go before a member's second.
        assert standing.wait_seconds == pytest.approx(10.2, abs=0.2)
        go_on.set()
        await house.reached(second.id, JobState.FINISHED)
        assert worker.most_running == 3
