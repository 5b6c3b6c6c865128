"""Prompts and results that not everybody is to see, over the wire."""

import asyncio

import pytest

from domain.errors import Code
from domain.guild import NsfwPolicy
from domain.job import JobState
from sandbox import Sandbox
from sandbox.hands import Invocation
from sandbox.model import Channel, Message
from sandbox.permissions import Permission
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot
from tests.e2e.test_bad_input import nothing_happened, png, private_answer


async def allow(bot: Bot, sandbox: Sandbox, policy: NsfwPolicy) -> None:
    await bot.services.administration.change(sandbox.guild.id, 1, nsfw=policy)


async def restrict(bot: Bot, sandbox: Sandbox, channel: Channel, restricted: bool) -> None:
    """Change the channel, and wait until the bot knows."""
    known = asyncio.create_task(bot.client.wait_for("guild_channel_update", timeout=60))
    await asyncio.sleep(0)
    sandbox.set_age_restricted(channel, restricted)
    await known


def pictures_in(sandbox: Sandbox, channel: Channel) -> list[Message]:
    return [message for message in sandbox.messages_in(channel) if message.attachments and not message.deleted]


def shown_in(sandbox: Sandbox, channel: Channel) -> list[Message]:
    """What everybody can see."""
    return [m for m in sandbox.messages_in(channel) if not m.deleted and not m.is_ephemeral]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": "u n d r e s s her, n4ked s c h o o l g i r l"}, "may not be used for this: exploiting or harming"),
        ({"prompt": "a boat", "negative_prompt": "child pоrn"}, "may not be used for this"),
        ({"prompt": "a boat --no child porn"}, "may not be used for this"),
        ({"prompt": "a nude woman"}, "switched off here"),
    ],
)
async def test_a_prompt_is_refused_in_private(bot: Bot, sandbox: Sandbox, options: dict[str, str], said: str) -> None:
    alice = sandbox.user("alice")
    answer = await private_answer(await alice.slash(sandbox.studio, "imagine", options=options))
    assert said in answer.text
    await nothing_happened(bot, sandbox, alice)


async def test_an_instruction_is_refused_before_anything_is_fetched_or_shown(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    answer = await private_answer(
        await alice.slash(sandbox.studio, "edit", image=png(), prompt="please remove her clothes")
    )
    assert "nudity without the consent" in answer.text
    await nothing_happened(bot, sandbox, alice)


async def test_every_other_door_is_moderated_too(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a boat", seed=7)
    result = await bot.result()
    modal = await (await alice.click(result, "Edit")).modal()
    answer = await private_answer(await alice.submit_modal(modal, {"prompt": "undress her", "seed": ""}))
    assert "may not be used for this" in answer.text
    [job] = await bot.jobs_of(alice.id)
    again = await alice.slash(sandbox.studio, "reroll", job=job.id, prompt="undress her")
    assert "may not be used for this" in (await private_answer(again)).text
    assert len(await bot.jobs_of(alice.id)) == 1


async def test_pictures_for_adults_only_where_adults_are(bot: Bot, sandbox: Sandbox) -> None:
    await allow(bot, sandbox, NsfwPolicy.AGE_RESTRICTED)
    alice, adults = sandbox.user("alice"), sandbox.channel("nsfw")
    answer = await private_answer(await alice.slash(sandbox.studio, "imagine", prompt="a nude woman"))
    assert "age-restricted" in answer.text
    await alice.slash(adults, "imagine", prompt="a nude woman")
    result = await bot.result(adults)
    assert not result.attachments[0].filename.startswith("SPOILER_")
    await allow(bot, sandbox, NsfwPolicy.SPOILER)
    await alice.slash(adults, "imagine", prompt="a nude man")
    result = await bot.result(adults, after=result)
    assert result.attachments[0].filename.startswith("SPOILER_")


async def test_a_thread_is_as_its_channel_is(bot: Bot, sandbox: Sandbox) -> None:
    await allow(bot, sandbox, NsfwPolicy.AGE_RESTRICTED)
    alice = sandbox.user("alice")
    thread = sandbox.furniture.thread
    channel = sandbox.guild.channels[thread.parent_id or 0]
    answer = await private_answer(await alice.slash(thread, "imagine", prompt="a nude woman"))
    assert "age-restricted" in answer.text
    await restrict(bot, sandbox, channel, True)
    await alice.slash(thread, "imagine", prompt="a nude woman")
    await bot.result(thread)


async def test_a_channel_that_everybody_may_read_meanwhile_gets_nothing(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    await allow(bot, sandbox, NsfwPolicy.AGE_RESTRICTED)
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice, adults = sandbox.user("alice"), sandbox.channel("nsfw")
    invocation = await alice.slash(adults, "imagine", prompt="a nude woman")
    await invocation.response()
    await restrict(bot, sandbox, adults, False)
    go_on.set()
    [job] = await bot.jobs_of(alice.id)
    job = await bot.until(job.id, JobState.UNDELIVERABLE)
    assert job.failure is not None
    assert job.failure.code is Code.CONTENT_WITHHELD
    assert shown_in(sandbox, adults) == []
    assert "belongs in an age-restricted channel" in await told_alone(sandbox, invocation)


@pytest.mark.parametrize("picture", [Paint(flagged=True), Paint()], ids=["marked", "not marked"])
async def test_what_the_server_allows_no_more_is_withheld(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend, picture: Paint
) -> None:
    alice, ada, adults = sandbox.user("alice"), sandbox.user("ada"), sandbox.channel("nsfw")
    await allow(bot, sandbox, NsfwPolicy.AGE_RESTRICTED)
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, picture)
    invocation = await alice.slash(adults, "imagine", prompt="a nude woman")
    await invocation.response()
    await (await ada.slash(sandbox.studio, "settings nsfw", policy="off")).response()
    go_on.set()
    [job] = await bot.jobs_of(alice.id)
    job = await bot.until(job.id, JobState.UNDELIVERABLE)
    assert job.failure is not None
    assert job.failure.code is Code.CONTENT_WITHHELD
    assert "the server does not allow it" in await told_alone(sandbox, invocation)
    assert shown_in(sandbox, adults) == []
    assert pictures_in(sandbox, await alice.direct_channel()) == []


async def told_alone(sandbox: Sandbox, invocation: Invocation) -> str:
    await sandbox.wait_until(lambda: any(m.is_ephemeral for m in invocation.followups), what="a private message")
    return next(message.text for message in invocation.followups if message.is_ephemeral)


@pytest.mark.parametrize("policy", list(NsfwPolicy))
async def test_what_a_safety_check_marks(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend, policy: NsfwPolicy
) -> None:
    await allow(bot, sandbox, policy)
    painter.script = (Steps(1), Paint(flagged=True))
    alice, adults = sandbox.user("alice"), sandbox.channel("nsfw")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a beach")
    assert "safety check" in await told_alone(sandbox, invocation)
    await sandbox.wait_until(lambda: shown_in(sandbox, sandbox.studio) == [], what="the card's end")
    invocation = await alice.slash(adults, "imagine", prompt="a beach")
    if policy is NsfwPolicy.OFF:
        assert "safety check" in await told_alone(sandbox, invocation)
        await sandbox.wait_until(lambda: shown_in(sandbox, adults) == [], what="the card's end")
    else:
        result = await bot.result(adults)
        assert result.attachments[0].filename.startswith("SPOILER_") is (policy is NsfwPolicy.SPOILER)


async def test_the_others_of_several_pictures_are_posted(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    painter.scripts.extend([(Paint(),), (Paint(flagged=True),)])
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a beach", count=2)
    result = await bot.result()
    assert len(result.attachments) == 1
    assert "safety check" in result.text


async def test_a_marked_picture_goes_nowhere_else(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    await allow(bot, sandbox, NsfwPolicy.AGE_RESTRICTED)
    painter.script = (Paint(flagged=True),)
    alice, adults = sandbox.user("alice"), sandbox.channel("nsfw")
    await alice.slash(adults, "imagine", prompt="a beach")
    result = await bot.result(adults)
    link = f"https://discord.com/channels/{sandbox.guild.id}/{adults.id}/{result.id}"
    used = await alice.slash(sandbox.studio, "edit", prompt="make it blue", options={"link": link})
    await used.acknowledged()
    await sandbox.wait_until(lambda: shown_in(sandbox, sandbox.studio) == [], what="the end of the look at the picture")
    [job] = await bot.jobs_of(alice.id)
    assert job.place.channel_id == adults.id


async def test_no_direct_message_carries_pictures_for_adults(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    await allow(bot, sandbox, NsfwPolicy.AGE_RESTRICTED)
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice, adults = sandbox.user("alice"), sandbox.channel("nsfw")
    await (await alice.slash(adults, "imagine", prompt="a nude woman")).response()
    sandbox.overwrite(adults, sandbox.world.bot, deny=Permission.SEND_MESSAGES)
    go_on.set()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.UNDELIVERABLE)
    assert pictures_in(sandbox, await alice.direct_channel()) == []
