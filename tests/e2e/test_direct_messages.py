"""Outside servers, where the operator allows it: the bot's own conversation, and wherever an account brings it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest

from domain.guild import OUTSIDE
from domain.job import Job, JobState
from domain.safety import EVERYWHERE, Ban
from sandbox import ClientRefuses, InteractionType, Sandbox
from sandbox.hands import Hands, Invocation
from sandbox.model import Channel, Message
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_administration import told
from tests.e2e.test_bad_input import png, private_answer

PATIENCE = 60.0


@pytest.fixture
async def outside(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> AsyncIterator[Bot]:
    """A bot that works outside servers, too."""
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_DIRECT_MESSAGES="local") as bot:
        yield bot


async def jobs_of(bot: Bot, who: Hands) -> list[Job]:
    return await bot.services.jobs.history(OUTSIDE, who.id, 100)


async def asked(who: Hands, channel: Channel, prompt: str = "a red circle") -> tuple[Invocation, Message]:
    """A wish and its card."""
    invocation = await who.slash(channel, "imagine", prompt=prompt)
    return invocation, await invocation.response(PATIENCE)


async def becomes_result(sandbox: Sandbox, card: Message) -> None:
    await sandbox.wait_until(lambda: bool(card.attachments) and "Reroll" in labels(card), PATIENCE, "the result")


async def direct_result(sandbox: Sandbox, who: Hands) -> Message:
    channel = await who.direct_channel()
    return await sandbox.wait_for_message(channel, lambda m: bool(m.attachments) and "Reroll" in labels(m), PATIENCE)


def labels(message: Message) -> list[str]:
    return [button.label for button in message.buttons]


def touched(sandbox: Sandbox, channel: Channel) -> list[str]:
    """What the bot tried with its own token in a channel."""
    return [request.path for request in sandbox.requests if f"/channels/{channel.id}" in request.path]


def followed_up(sandbox: Sandbox) -> list[int]:
    """How each attempt at a follow-up was answered."""
    return [
        request.status
        for request in sandbox.requests
        if request.method == "POST" and request.path.removeprefix("/api/v10").startswith("/webhooks/")
    ]


# Where it is off.


async def test_without_the_operators_word_nothing_is_offered_outside_servers(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    for channel in (await alice.direct_channel(), sandbox.furniture.group, sandbox.furniture.book_club):
        assert alice.commands(channel) == []
    for command in sandbox.commands.registered(None):
        assert (command["contexts"], command["integration_types"]) == ([0], [0])


async def test_a_hostile_client_gets_nothing_there_either(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    imagine = next(c for c in sandbox.commands.registered(None) if c["name"] == "imagine")
    data = {
        "id": imagine["id"],
        "name": "imagine",
        "type": 1,
        "options": [{"name": "prompt", "type": 3, "value": "a red circle"}],
    }
    for channel in (await alice.direct_channel(), sandbox.furniture.group, sandbox.furniture.book_club):
        answer = await private_answer(await alice.forge(channel, InteractionType.COMMAND, data))
        assert "only inside a server" in answer.text
    assert await jobs_of(bot, alice) == []


# The bot's own conversation.


async def test_a_direct_message_is_answered_with_a_picture(outside: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    channel = await alice.direct_channel()
    _, card = await asked(alice, channel)
    result = await direct_result(sandbox, alice)
    assert result.pings.users == {alice.id}
    await outside.gone(card)
    [job] = await jobs_of(outside, alice)
    assert (await outside.until(job.id, JobState.POSTED)).place.is_outside
    history = await private_answer(await alice.slash(channel, "history"))
    assert f"https://discord.com/channels/@me/{channel.id}/{result.id}" in history.text

    await alice.click(result, "Reroll")
    again = await sandbox.wait_for_message(channel, lambda m: bool(m.attachments), PATIENCE, after=result)
    modal = await (await alice.click(again, "Edit")).modal(PATIENCE)
    await alice.submit_modal(modal, {"Prompt": "a blue circle"})
    blue = await sandbox.wait_for_message(channel, lambda m: bool(m.attachments), PATIENCE, after=again)
    assert "a blue circle" in blue.text


async def test_a_direct_message_can_be_edited_and_deleted_again(outside: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    channel = await alice.direct_channel()
    await alice.slash(channel, "edit", image=png(), prompt="make it blue")
    result = await direct_result(sandbox, alice)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.POSTED)
    question = await private_answer(await alice.click(result, "Delete"))
    await alice.click(question, "Delete for good")
    await sandbox.wait_until(lambda: question.text == "Deleted.", PATIENCE, "the last word")
    assert result.deleted
    assert (await outside.job(job.id)).pictures == ()


@pytest.mark.parametrize("command", ["about", "privacy", "quota", "queue", "models", "favourites", "history"])
async def test_what_makes_sense_outside_servers_works_there(outside: Bot, sandbox: Sandbox, command: str) -> None:
    alice = sandbox.user("alice")
    for channel in (await alice.direct_channel(), sandbox.furniture.conversation):
        answer = await private_answer(await alice.slash(channel, command))
        assert "incident" not in answer.text.casefold()
        assert "only inside a server" not in answer.text


async def test_what_needs_a_server_is_not_offered_and_says_so(outside: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    channel = sandbox.furniture.book_club
    offered = {command["name"] for command in alice.commands(channel)}
    assert {"imagine", "edit", "Edit avatar", "Report picture"} <= offered
    assert not offered & {"settings", "quotas", "usage", "gallery"}
    command = next(c for c in sandbox.commands.registered(None) if c["name"] == "gallery")
    data = {"id": command["id"], "name": "gallery", "type": 1}
    answer = await private_answer(await alice.forge(channel, InteractionType.COMMAND, data))
    assert "only inside a server" in answer.text


# Where an account brings the bot.


@pytest.mark.parametrize("place", ["book_club", "conversation", "group"])
async def test_where_an_account_brings_it_the_card_becomes_the_result(
    outside: Bot, sandbox: Sandbox, painter: ScriptedBackend, place: str
) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(2), go_on, Paint())
    alice = sandbox.user("alice")
    channel = getattr(sandbox.furniture, place)
    _, card = await asked(alice, channel)
    assert not card.is_ephemeral
    await sandbox.wait_until(lambda: "Painting" in card.text, PATIENCE, "progress")
    go_on.set()
    await becomes_result(sandbox, card)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.POSTED)
    assert not card.deleted
    assert sandbox.messages_in(channel) == [card]
    assert touched(sandbox, channel) == []
    assert followed_up(sandbox) == []


async def test_others_who_read_along_can_press_its_buttons(outside: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    group = sandbox.furniture.group
    _, card = await asked(alice, group)
    await becomes_result(sandbox, card)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.POSTED)
    again = await (await bob.click(card, "Reroll")).response(PATIENCE)
    await becomes_result(sandbox, again)
    assert [job.place.user_id for job in await jobs_of(outside, bob)] == [bob.id]
    assert "somebody else's" in (await private_answer(await bob.click(card, "Delete"))).text
    # Elsewhere nobody learns of it.
    sandbox.world.application.installed_by.add(bob.id)
    answer = await private_answer(await bob.slash(await bob.direct_channel(), "reroll", job=job.id))
    assert "There is no job" in answer.text


async def test_its_person_can_delete_it_there(outside: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    invocation, card = await asked(alice, sandbox.furniture.book_club)
    await becomes_result(sandbox, card)
    [job] = await jobs_of(outside, alice)
    job = await outside.until(job.id, JobState.POSTED)
    files = [outside.services.pictures.path(picture.name) for picture in job.pictures]
    # However long ago it was made.
    sandbox.expire_token(invocation.interaction)
    modal = await (await alice.click(card, "Delete")).modal(PATIENCE)
    assert "Delete this picture for good?" in str(modal.payload)
    assert not card.deleted
    await alice.submit_modal(modal)
    await outside.gone(card)
    await sandbox.wait_until(lambda: not any(file.exists() for file in files), PATIENCE, "the end of the file")


async def test_when_the_interaction_is_over_it_comes_as_a_direct_message(
    outside: Bot, sandbox: Sandbox, painter: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.progress.LEAVING_SECONDS", 2000.0)
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice = sandbox.user("alice")
    channel = sandbox.furniture.group
    invocation, card = await asked(alice, channel)
    # Where it will be is said while that is still possible.
    await sandbox.wait_until(lambda: "direct message to you" in card.text, PATIENCE, "a word where to look")
    sandbox.expire_token(invocation.interaction)
    go_on.set()
    result = await direct_result(sandbox, alice)
    assert f"<#{channel.id}>" in result.text
    assert card.attachments == []
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.POSTED)
    # In the conversation it is a message like any other.
    question = await private_answer(await alice.click(result, "Delete"))
    await alice.click(question, "Delete for good")
    await sandbox.wait_until(lambda: question.text == "Deleted.", PATIENCE, "the last word")
    assert result.deleted


async def test_a_failure_after_the_interaction_is_told_directly(
    outside: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on)
    alice = sandbox.user("alice")
    invocation, _ = await asked(alice, sandbox.furniture.conversation)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.RUNNING)
    sandbox.expire_token(invocation.interaction)
    await outside.services.dispatcher.cancel(job.id)
    said = await sandbox.wait_for_message(await alice.direct_channel(), lambda m: "Cancelled" in m.text, PATIENCE)
    assert "Try again" in labels(said)


async def test_the_sixth_follow_up_is_a_direct_message(
    outside: Bot, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = sandbox.user("alice")
    _, card = await asked(alice, sandbox.furniture.group)
    await becomes_result(sandbox, card)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.POSTED)
    pages = [discord.Embed(description=f"page {number}") for number in range(7)]
    monkeypatch.setattr("cogs.results.details", lambda *_: pages)
    used = await alice.click(card, "Details")
    await sandbox.wait_for_message(await alice.direct_channel(), lambda m: "page 6" in m.text, PATIENCE)
    assert [message.text for message in used.followups] == [f"page {number}" for number in range(1, 6)]
    assert followed_up(sandbox) == [200] * 5


async def test_a_restart_goes_on_with_the_same_message(
    outside: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    painter.script = (Steps(1), asyncio.Event())
    alice = sandbox.user("alice")
    _, card = await asked(alice, sandbox.furniture.book_club)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.RUNNING)
    await outside.stop()
    painter.script = (Paint(),)
    await outside.start()
    await becomes_result(sandbox, card)
    await outside.until(job.id, JobState.POSTED)
    assert sandbox.messages_in(sandbox.furniture.book_club) == [card]
    assert touched(sandbox, sandbox.furniture.book_club) == []


async def test_a_restart_after_the_interaction_brings_it_directly(
    outside: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    painter.script = (Steps(1), asyncio.Event())
    alice = sandbox.user("alice")
    invocation, _ = await asked(alice, sandbox.furniture.group)
    [job] = await jobs_of(outside, alice)
    await outside.until(job.id, JobState.RUNNING)
    await outside.stop()
    sandbox.expire_token(invocation.interaction)
    painter.script = (Paint(),)
    await outside.start()
    await direct_result(sandbox, alice)
    await outside.until(job.id, JobState.POSTED)


# What may be asked for there.


async def test_what_costs_money_is_refused(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    paid = ScriptedBackend("wavespeed", resumes=True)
    bot = Bot(sandbox, tmp_path / "data", painter, {"EASEL_DIRECT_MESSAGES": "local"}, (paid,))
    await bot.start()
    try:
        alice = sandbox.user("alice")
        for channel in (await alice.direct_channel(), sandbox.furniture.group):
            answer = await private_answer(
                await alice.slash(channel, "imagine", prompt="a red circle", model="hidream-i1-dev")
            )
            assert "costs money" in answer.text
            models = await alice.autocomplete(channel, "imagine", "model", "")
            assert [choice["value"] for choice in models] == ["tiny"]
        # In a server the same is a matter of its quotas.
        assert len(await alice.autocomplete(sandbox.studio, "imagine", "model", "")) > 1
        assert await jobs_of(bot, alice) == []
        assert paid.calls == []
    finally:
        await bot.stop()


async def test_a_wish_for_adults_is_refused_whatever_the_channel_says(outside: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    sandbox.set_age_restricted(sandbox.furniture.book_club, True)
    for channel in (await alice.direct_channel(), sandbox.furniture.group, sandbox.furniture.book_club):
        answer = await private_answer(await alice.slash(channel, "imagine", prompt="a nude woman"))
        assert "switched off here" in answer.text
    assert await jobs_of(outside, alice) == []


async def test_what_the_service_marks_is_told_to_its_person_alone(
    outside: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    painter.script = (Steps(1), Paint(flagged=True))
    alice = sandbox.user("alice")
    invocation, card = await asked(alice, sandbox.furniture.group)
    said = await invocation.followup(1, PATIENCE)
    assert said.visible_to == alice.id
    assert "did not let the picture through" in said.text
    await outside.gone(card)
    assert [m for m in sandbox.messages_in(sandbox.furniture.group) if m.attachments] == []


async def test_who_is_banned_by_the_operator_is_banned_there(outside: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await outside.services.safeguards.ban(Ban(alice.id, EVERYWHERE, "", 0))
    answer = await private_answer(await alice.slash(sandbox.furniture.group, "imagine", prompt="a red circle"))
    assert "does not let you use me" in answer.text


async def test_all_that_is_outside_has_one_quota_of_its_own(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    settings = {"EASEL_DIRECT_MESSAGES": "local", "EASEL_DIRECT_DAILY_IMAGES": "1"}
    async with bot_with(sandbox, painter, tmp_path / "data", **settings) as bot:
        alice = sandbox.user("alice")
        await asked(alice, await alice.direct_channel())
        await direct_result(sandbox, alice)
        refused = await private_answer(await alice.slash(sandbox.furniture.group, "imagine", prompt="a red circle"))
        assert "0 of your 1" in refused.text
        await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response(PATIENCE)
        await bot.result()


# Servers that the operator has chosen.


async def test_chosen_servers_and_conversations_have_commands_and_other_servers_have_none(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    settings = {"EASEL_DIRECT_MESSAGES": "local", "EASEL_GUILDS": str(sandbox.guild.id)}
    async with bot_with(sandbox, painter, tmp_path / "data", **settings) as bot:
        alice = sandbox.user("alice")
        assert "settings" in {c["name"] for c in sandbox.user("ada").commands(sandbox.studio)}
        other = sandbox.channel("general", sandbox.furniture.other_guild)
        for channel in (sandbox.furniture.book_club, other):
            assert alice.commands(channel) == []
            with pytest.raises(ClientRefuses):
                await alice.slash(channel, "imagine", prompt="a red circle")
        _, card = await asked(alice, sandbox.furniture.group)
        await becomes_result(sandbox, card)
        await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response(PATIENCE)
        await bot.result()


async def test_a_servers_own_rules_hold_for_who_brings_the_bot_there(outside: Bot, sandbox: Sandbox) -> None:
    await told(sandbox, "settings channels", allow=sandbox.channel("playground"))
    alice = sandbox.user("alice")
    answer = await private_answer(await alice.slash(sandbox.studio, "imagine", prompt="a red circle"))
    assert "other channels" in answer.text
