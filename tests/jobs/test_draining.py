"""Emptying a bot before it is stopped."""

import asyncio
from pathlib import Path

from domain.job import Card, JobState
from jobs.draining import Left, draining
from tests.building import open_house
from tests.doubles import Paint, ScriptedBackend


async def test_what_is_left_is_told_until_nothing_is(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", [go_on, Paint()])}) as house:
        first, second = [await house.ask() for _ in range(2)]
        await house.reached(first.id, JobState.RUNNING)
        told = []
        async for left in draining(house.database, house.jobs, look_seconds=0.01):
            told.append(left)
            match left:
                case Left(waiting=1, under_way=1):
                    go_on.set()
                case Left(to_post=2):
                    for job in (first, second):
                        await house.outbox.begin(job.id)
                        await house.outbox.posted(job.id, Card(1, 2))
        assert told[0] == Left(1, 1, 0)
        assert told[-1] == Left(0, 0, 0)


async def test_an_empty_bot_is_drained_at_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        assert [left async for left in draining(house.database, house.jobs)] == [Left(0, 0, 0)]
