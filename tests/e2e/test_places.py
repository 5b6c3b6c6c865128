"""Threads and forum posts: what works in a channel works there, and the pictures come where they were asked for."""

import pytest

from domain.job import JobState
from sandbox import Sandbox
from sandbox.model import Channel
from sandbox.permissions import Permission
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot
from tests.e2e.test_bad_input import png, private_answer


@pytest.fixture(params=["thread", "forum post", "private thread"])
def place(request: pytest.FixtureRequest, sandbox: Sandbox) -> Channel:
    alice, furniture = sandbox.user("alice").user, sandbox.furniture
    match request.param:
        case "thread":
            return furniture.thread
        case "forum post":
            return sandbox.world.add_thread(furniture.forum, "A lighthouse", alice)
        case _:
            thread = sandbox.world.add_thread(sandbox.studio, "Between us", alice, private=True)
            assert thread.thread is not None
            thread.thread.member_ids.append(sandbox.world.bot.id)
            return thread


async def test_everything_happens_in_the_thread(bot: Bot, sandbox: Sandbox, place: Channel) -> None:
    alice = sandbox.user("alice")
    card = await (await alice.slash(place, "imagine", prompt="a lighthouse", seed=7)).response()
    first = await bot.result(place)
    assert card.channel_id == first.channel_id == place.id
    assert "Seed 7" in first.text
    assert first.pings.users == {alice.id}
    await bot.gone(card)
    await alice.slash(place, "edit", prompt="make it blue", image=png())
    edited = await bot.result(place, after=first)
    await alice.click(edited, "Reroll")
    again = await bot.result(place, after=edited)
    parent = sandbox.guild.channels[place.parent_id or 0]
    assert sandbox.messages_in(parent) == []
    [job, *_] = await bot.jobs_of(alice.id)
    job = await bot.until(job.id, JobState.POSTED)
    assert f"/{place.id}/{again.id}" in (await private_answer(await alice.slash(place, "history"))).text


async def test_a_thread_that_cannot_be_written_in_is_named_before_anything_is_queued(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend, place: Channel
) -> None:
    alice, parent = sandbox.user("alice"), sandbox.guild.channels[place.parent_id or 0]
    sandbox.overwrite(parent, sandbox.world.bot, deny=Permission.SEND_MESSAGES_IN_THREADS)
    answer = await private_answer(await alice.slash(place, "imagine", prompt="a lighthouse"))
    assert "Send Messages in Threads" in answer.text
    assert painter.calls == []
    assert await bot.jobs_of(alice.id) == []


async def test_what_goes_on_in_a_thread_goes_on_after_a_restart(bot: Bot, sandbox: Sandbox, place: Channel) -> None:
    alice = sandbox.user("alice")
    held = sandbox.faults.hold("/messages$", processed=False, method="POST")
    card = await (await alice.slash(place, "imagine", prompt="a lighthouse")).response()
    await held.struck()
    await bot.stop()
    sandbox.faults.clear()
    await bot.start()
    assert (await bot.result(place)).pings.users == {alice.id}
    await bot.gone(card)
