"""What a hostile client can send: each gets one clear private message; nothing is queued, charged or posted."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from domain.job import Place
from jobs.quotas import Asker
from sandbox import Sandbox
from sandbox.events import InteractionCreated
from sandbox.hands import Hands, Invocation
from sandbox.interactions import InteractionType
from sandbox.model import File, Message
from sandbox.permissions import Permission
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot, bot_with


def png(size: tuple[int, int] = (64, 64)) -> File:
    data = io.BytesIO()
    Image.new("RGB", size, "teal").save(data, "png")
    return File("boat.png", data.getvalue(), "image/png")


def bomb() -> File:
    """A small file that unpacks to a hundred million pixels."""
    data = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(data, "png", optimize=True)
    return File("bomb.png", data.getvalue(), "image/png")


async def private_answer(invocation: Invocation) -> Message:
    """The only answer that was given, which only its person can see."""
    await invocation.acknowledged()
    sent = [invocation.interaction.response, *invocation.followups]
    shown = [message for message in sent if message is not None and not message.deleted]
    assert len(shown) == 1
    assert shown[0].is_ephemeral
    return shown[0]


async def nothing_happened(bot: Bot, sandbox: Sandbox, who: Hands) -> None:
    """No job, no charge, no message that anybody else can see."""
    assert await bot.jobs_of(who.id) == []
    usages = await bot.services.quotas.usage(Asker(Place(sandbox.guild.id, sandbox.studio.id, who.id)))
    assert [(usage.used, usage.held) for usage in usages] == [(0, 0)] * len(usages)
    assert [message for message in sandbox.messages_in(sandbox.studio) if not message.deleted] == []
    assert bot.painter.calls == []


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": " \n\t "}),
        ("prompt", {"prompt": "x" * 5000}),
        ("prompt", {}),
        ("size", {"prompt": "a boat", "size": "99999x1"}),
        ("size", {"prompt": "a boat", "size": "huge"}),
        ("size", {"prompt": "a boat", "size": "64x64"}),
        ("seed", {"prompt": "a boat", "seed": -1}),
        ("seed", {"prompt": "a boat", "seed": 2**31}),
        ("seed", {"prompt": "a boat", "seed": 10**30}),
        ("count", {"prompt": "a boat", "count": 0}),
        ("count", {"prompt": "a boat", "count": 5}),
        ("steps", {"prompt": "a boat", "steps": 0}),
        ("steps", {"prompt": "a boat", "steps": 51}),
        ("guidance", {"prompt": "a boat", "guidance": -0.5}),
        ("guidance", {"prompt": "a boat", "guidance": 1e9}),
        ("format", {"prompt": "a boat", "format": "tiff"}),
        ("model", {"prompt": "a boat", "model": "@everyone"}),
        ("model", {"prompt": "a boat", "model": "tiny-edit"}),
        ("negative_prompt", {"prompt": "a boat", "negative_prompt": "x" * 2001}),
    ],
)
async def test_imagine_refuses(bot: Bot, sandbox: Sandbox, option: str, values: Mapping[str, Any]) -> None:
    alice = sandbox.user("alice")
    answer = await private_answer(await alice.slash(sandbox.studio, "imagine", raw=True, options=values))
    if values:
        assert f"`{option}`" in answer.text
    assert not answer.pings
    await nothing_happened(bot, sandbox, alice)


async def test_options_of_the_wrong_type_are_refused(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    command = next(command for command in alice.commands(sandbox.studio) if command["name"] == "imagine")
    data = {
        "id": command["id"],
        "name": "imagine",
        "type": 1,
        "options": [
            {"type": 3, "name": "prompt", "value": "a boat"},
            {"type": 3, "name": "seed", "value": "seven"},
        ],
    }
    answer = await private_answer(await alice.forge(sandbox.studio, InteractionType.COMMAND, data))
    assert "`seed`" in answer.text
    await nothing_happened(bot, sandbox, alice)


@pytest.mark.parametrize(
    "file",
    [
        File("notes.txt", b"not a picture", "text/plain"),
        File("notes.png", b"not a picture", "image/png"),
        File("cut.png", png().data[:60], "image/png"),
        bomb(),
        png((4, 4)),
    ],
    ids=["text", "text that lies", "cut off", "bomb", "too small"],
)
async def test_edit_refuses_what_is_no_usable_picture(bot: Bot, sandbox: Sandbox, file: File) -> None:
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "edit", image=file, prompt="make it blue")
    await invocation.acknowledged()
    await sandbox.wait_until(
        lambda: any(
            message is not None and message.is_ephemeral
            for message in (invocation.interaction.response, *invocation.followups)
        ),
        what="the private refusal",
    )
    answer = await private_answer(invocation)
    assert "`image`" in answer.text
    await nothing_happened(bot, sandbox, alice)


async def test_edit_refuses_an_attachment_that_is_not_on_discords_hosts(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    command = next(command for command in alice.commands(sandbox.studio) if command["name"] == "edit")
    attachment = {
        "id": "1",
        "filename": "boat.png",
        "size": 100,
        "url": "http://169.254.169.254/latest/meta-data/",
        "proxy_url": "http://169.254.169.254/latest/meta-data/",
        "content_type": "image/png",
    }
    data = {
        "id": command["id"],
        "name": "edit",
        "type": 1,
        "resolved": {"attachments": {"1": attachment}},
        "options": [
            {"type": 11, "name": "image", "value": "1"},
            {"type": 3, "name": "prompt", "value": "make it blue"},
        ],
    }
    invocation = await alice.forge(sandbox.studio, InteractionType.COMMAND, data)
    await sandbox.wait_until(lambda: bool(invocation.followups), what="the refusal")
    assert "picture" in (await private_answer(invocation)).text
    await nothing_happened(bot, sandbox, alice)


async def test_mentions_and_markdown_in_a_prompt_do_nothing(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    prompt = f"@everyone @here {bob.mention} **bold** [link](https://example.com) `code` ||spoiler||\n# big"
    await alice.slash(sandbox.studio, "imagine", prompt=prompt)
    result = await bot.result()
    assert result.pings.users == {alice.id}
    assert not result.pings.everyone
    for acting in ("@everyone", "@here", bob.mention, "**bold**", "[link](", "||spoiler||", "\n# big"):
        assert acting not in result.text


async def test_another_guilds_job_does_not_exist(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    other = sandbox.channel("general", sandbox.furniture.other_guild)
    await bob.slash(other, "imagine", prompt="a secret")
    result = await bot.result(other)
    [job] = await bot.services.jobs.history(sandbox.furniture.other_guild.id, bob.id, 1)
    bot.painter.calls.clear()
    for name in ("reroll", "cancel"):
        answer = await private_answer(await alice.slash(sandbox.studio, name, job=job.id))
        assert "no job" in answer.text
        assert "secret" not in answer.text
    for custom_id in (f"easel:reroll:{job.id}", f"easel:edit:{job.id}", f"easel:cancel:{job.id}"):
        message = await alice.send(sandbox.studio, "hello")
        answer = await private_answer(await alice.click(message, custom_id, raw=True))
        assert "secret" not in answer.text
        await alice.delete(message)
    await nothing_happened(bot, sandbox, alice)
    assert not result.deleted


@pytest.mark.parametrize(
    "custom_id",
    ["", "x", "easel:reroll:nosuchjob", "easel:reroll:", "easel:reroll:" + "x" * 80, "easel:history:99999", "old:1"],
)
async def test_a_stale_or_forged_button_is_answered(bot: Bot, sandbox: Sandbox, custom_id: str) -> None:
    alice = sandbox.user("alice")
    message = await alice.send(sandbox.studio, "hello")
    await private_answer(await alice.click(message, custom_id, raw=True))
    await alice.delete(message)
    await nothing_happened(bot, sandbox, alice)


@pytest.mark.parametrize("custom_id", ["nobody's", "easel:edit:nosuchjob"])
async def test_a_forged_modal_is_answered(bot: Bot, sandbox: Sandbox, custom_id: str) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    modal = await (await alice.click(await bot.result(), "Edit")).modal()
    modal.payload["custom_id"] = custom_id
    await private_answer(await alice.submit_modal(modal, raw=True))
    assert len(await bot.jobs_of(alice.id)) == 1


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("prompt", "  ", "`prompt`"),
        ("prompt", "x" * 2001, "`prompt`"),
        ("seed", "9999999999", "`seed`"),
        ("seed", "no", "`seed`"),
    ],
)
async def test_what_the_modal_brings_is_checked_again(
    bot: Bot, sandbox: Sandbox, field: str, value: str, named: str
) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    modal = await (await alice.click(await bot.result(), "Edit")).modal()
    answer = await private_answer(await alice.submit_modal(modal, {field: value}, raw=True))
    assert named in answer.text
    assert len(await bot.jobs_of(alice.id)) == 1


async def test_a_button_of_a_job_that_is_gone_from_the_database_is_answered(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    result = await bot.result()
    component = next(iter(result.components))["components"][0]
    component["custom_id"] = "easel:reroll:0000000000"
    answer = await private_answer(await alice.click(result, "Reroll"))
    assert "no job" in answer.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("quotas set", {"limit": 5}),
        ("quotas list", {}),
        ("quotas remove", {"rule": "1"}),
        ("quotas grant", {"amount": 5}),
    ],
)
async def test_a_plain_member_cannot_use_quotas(
    bot: Bot, sandbox: Sandbox, name: str, values: Mapping[str, Any]
) -> None:
    alice = sandbox.user("alice")
    options = {**values, **({"member": alice.user} if "grant" in name else {})}
    answer = await private_answer(await alice.slash(sandbox.studio, name, raw=True, options=options))
    assert "Manage Server" in answer.text
    assert await bot.services.quotas.rules(sandbox.guild.id) == []
    await nothing_happened(bot, sandbox, alice)


async def test_missing_permissions_are_named_before_anything_is_queued(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    readonly = sandbox.channel("gallery-readonly")
    answer = await private_answer(await alice.slash(readonly, "imagine", prompt="a red circle"))
    assert "Send Messages" in answer.text
    sandbox.overwrite(sandbox.studio, sandbox.world.bot, deny=Permission.ATTACH_FILES | Permission.EMBED_LINKS)
    for name, options in (("imagine", {}), ("edit", {"image": png()})):
        answer = await private_answer(await alice.slash(sandbox.studio, name, prompt="a boat", options=options))
        assert "Attach Files" in answer.text
        assert "Embed Links" in answer.text
    await nothing_happened(bot, sandbox, alice)


async def test_missing_permissions_in_a_thread_are_named(bot: Bot, sandbox: Sandbox) -> None:
    thread = sandbox.furniture.thread
    parent = sandbox.channel("playground")
    sandbox.overwrite(parent, sandbox.world.bot, deny=Permission.SEND_MESSAGES_IN_THREADS)
    answer = await private_answer(await sandbox.user("alice").slash(thread, "imagine", prompt="a red circle"))
    assert "Send Messages in Threads" in answer.text


async def test_an_interaction_that_comes_twice_is_queued_once(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await invocation.response()
    sandbox.world.hub.publish(InteractionCreated(invocation.interaction))
    await bot.result()
    assert len(await bot.jobs_of(alice.id)) == 1


async def test_a_guild_that_is_not_on_the_list_is_refused(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    other = sandbox.furniture.other_guild
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_GUILDS=str(sandbox.guild.id)):
        alice = sandbox.user("alice")
        assert {"imagine", "edit"} <= {command["name"] for command in alice.commands(sandbox.studio)}
        channel = sandbox.channel("general", other)
        assert alice.commands(channel) == []
        data = {"id": "1", "name": "imagine", "type": 1, "options": [{"type": 3, "name": "prompt", "value": "x"}]}
        answer = await private_answer(await alice.forge(channel, InteractionType.COMMAND, data))
        assert "operator" in answer.text
        message = await alice.send(channel, "hello")
        answer = await private_answer(await alice.click(message, "easel:reroll:0000000000", raw=True))
        assert "operator" in answer.text
