"""What has to be told, until it is told; and the stream of events."""

import asyncio
from pathlib import Path

import pytest

from db.jobs import StaleMoveError
from domain.errors import Code
from domain.job import Card, Failure, JobState
from jobs.events import BACKLOG, EventStream, QueueMoved, StateChanged
from tests.building import open_house
from tests.doubles import Paint, ScriptedBackend


async def test_posted_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", [Paint()])}) as house:
        await house.outbox.wait()  # the start itself
        job = await house.ask()
        await house.outbox.wait()
        await house.reached(job.id, JobState.FINISHED)
        assert [due.id for due in await house.outbox.due()] == [job.id]
        with pytest.raises(StaleMoveError):
            await house.outbox.posted(job.id, Card(1, 2))
        await house.outbox.begin(job.id)
        with pytest.raises(StaleMoveError):
            await house.outbox.begin(job.id)
        assert [due.state for due in await house.outbox.due()] == [JobState.POSTING]
        await house.outbox.posted(job.id, Card(1, 2))
        posted = await house.job(job.id)
        assert (posted.state, posted.result, posted.told) == (JobState.POSTED, Card(1, 2), True)
        assert await house.outbox.due() == []


async def test_undeliverable(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", [Paint()])}) as house:
        job = await house.reached((await house.ask()).id, JobState.FINISHED)
        await house.outbox.begin(job.id)
        await house.outbox.undeliverable(job.id, Failure(Code.DISCORD_REFUSED))
        assert (await house.job(job.id)).failure == Failure(Code.DISCORD_REFUSED)
        assert await house.outbox.due() == []


async def test_an_ending_without_a_picture_is_due_until_it_is_told(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        job = await house.ask()
        await house.dispatcher.cancel(job.id)
        await house.outbox.wait()
        assert [due.id for due in await house.outbox.due()] == [job.id]
        await house.outbox.told(job.id)
        assert await house.outbox.due() == []


async def test_where_the_card_is(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        job = await house.ask()
        for card in (Card(1, 2), Card(1, 3), None):
            await house.outbox.set_card(job.id, card)
            assert (await house.job(job.id)).card == card


async def test_every_listener_hears_everything_from_now_on() -> None:
    stream = EventStream()
    stream.publish(QueueMoved())
    with stream.listen() as one, stream.listen() as other:
        stream.publish(StateChanged("job", JobState.QUEUED))
        for listener in (one, other):
            assert await anext(listener) == StateChanged("job", JobState.QUEUED)
        waiting = asyncio.ensure_future(anext(one))
        await asyncio.sleep(0)
        stream.publish(QueueMoved())
        assert await waiting == QueueMoved()


async def test_a_listener_that_lags_loses_the_oldest() -> None:
    stream = EventStream()
    with stream.listen() as events:
        for number in range(BACKLOG + 5):
            stream.publish(StateChanged(str(number), JobState.QUEUED))
        assert await anext(events) == StateChanged("5", JobState.QUEUED)
    stream.publish(QueueMoved())
