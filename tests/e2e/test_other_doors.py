"""Editing what is in a message, somebody's avatar, or behind a link."""

from pathlib import Path

import pytest
from PIL import Image

from domain.job import JobState
from sandbox import Sandbox
from sandbox.model import Message
from sandbox.permissions import Permission
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import nothing_happened, png, private_answer


def link_to(sandbox: Sandbox, message: Message) -> str:
    return f"https://discord.com/channels/{message.guild_id}/{message.channel_id}/{message.id}"


async def result_of(bot: Bot, sandbox: Sandbox) -> Message:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    result = await bot.result()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    return result


async def test_the_menu_of_a_message_edits_its_picture_also_after_a_restart(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    message = await bob.send(sandbox.studio, "look", files=[png((64, 48))])
    modal = await (await alice.message_command(message, "Edit picture")).modal()
    await bot.restart()
    await alice.submit_modal(modal, {"prompt": "make it blue --seed 7"})
    result = await bot.result()
    assert "make it blue" in result.text
    assert "Seed 7" in result.text
    assert result.pings.users == {alice.id}
    source = painter.calls[0].source
    assert source is not None
    assert Image.open(source).size == (64, 48)


async def test_a_link_in_a_message_is_followed_to_discords_own_servers_alone(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    foreign = await alice.send(sandbox.studio, "http://169.254.169.254/latest/cat.png")
    assert "no picture" in (await private_answer(await alice.message_command(foreign, "Edit picture"))).text
    upload = await alice.send(sandbox.channel("playground"), "here", files=[png()])
    linking = await alice.send(sandbox.studio, f"see {upload.attachments[0].url} there")
    modal = await (await alice.message_command(linking, "Edit picture")).modal()
    await alice.submit_modal(modal, {"prompt": "make it blue"})
    await bot.result()


async def test_the_menu_of_a_person_edits_their_avatar(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    modal = await (await alice.user_command(sandbox.studio, bob.user, "Edit avatar")).modal()
    await alice.submit_modal(modal, {"prompt": "give it a hat"})
    result = await bot.result()
    assert result.pings.users == {alice.id}
    source = painter.calls[0].source
    assert source is not None


async def test_a_link_to_a_result_is_as_good_as_an_upload(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    first = await result_of(bot, sandbox)
    await sandbox.user("bob").slash(sandbox.studio, "edit", prompt="make it blue", link=link_to(sandbox, first))
    await bot.result(after=first)
    source = painter.calls[-1].source
    assert source is not None
    # The double paints the seed as the colour.
    assert Image.open(source).getpixel((0, 0)) == (7, 0, 0)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("http://169.254.169.254/cat.png", "Discord's own"),
        ("https://cdn.discordapp.com.evil.example/cat.png", "Discord's own"),
        ("https://user@cdn.discordapp.com/cat.png", "Discord's own"),
        ("file:///etc/passwd", "Discord's own"),
        ("https://discord.com/channels/1/2/3", "no picture"),
        ("https://discord.com/channels/@me/2/3", "no picture"),
        ("x", "Discord's own"),
    ],
)
async def test_no_other_link_is_followed(bot: Bot, sandbox: Sandbox, link: str, said: str) -> None:
    alice = sandbox.user("alice")
    answer = await private_answer(await alice.slash(sandbox.studio, "edit", prompt="make it blue", link=link))
    assert said in answer.text
    await nothing_happened(bot, sandbox, alice)


async def test_a_forged_form_gets_nowhere_else_either(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    message = await alice.send(sandbox.studio, "look", files=[png()])
    modal = await (await alice.message_command(message, "Edit picture")).modal()
    sent = await alice.submit_modal(modal, {"prompt": "make it blue", "link": "http://127.0.0.1:1/x.png"}, raw=True)
    assert "Discord's own" in (await private_answer(sent)).text
    await alice.delete(message)
    await nothing_happened(bot, sandbox, alice)


async def test_a_message_in_a_channel_that_the_member_cannot_read_does_not_exist(bot: Bot, sandbox: Sandbox) -> None:
    first = await result_of(bot, sandbox)
    bob = sandbox.user("bob")
    sandbox.overwrite(sandbox.studio, bob.user, deny=Permission.VIEW_CHANNEL)
    answer = await private_answer(
        await bob.slash(
            sandbox.channel("playground"), "edit", prompt="make it blue", link=link_to(sandbox, first), raw=True
        )
    )
    assert "no picture" in answer.text
    assert await bot.jobs_of(bob.id) == []


@pytest.mark.parametrize("both", [True, False])
async def test_exactly_one_picture_is_wanted(bot: Bot, sandbox: Sandbox, both: bool) -> None:
    alice = sandbox.user("alice")
    given = {"image": png(), "link": f"{sandbox.cdn_url}/attachments/1/2/a.png"} if both else {}
    answer = await private_answer(await alice.slash(sandbox.studio, "edit", prompt="make it blue", options=given))
    assert "either an `image` or a `link`" in answer.text
    await nothing_happened(bot, sandbox, alice)


async def test_without_a_model_for_edits_the_menus_are_not_there(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_LOCAL_EDIT_MODEL=""):
        names = {command["name"] for command in sandbox.user("ada").commands(sandbox.studio)}
        assert not names & {"edit", "Edit picture", "Edit avatar"}
