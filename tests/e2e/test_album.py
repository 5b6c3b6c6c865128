"""Finding pictures again: history with search, families, favourites and the gallery, as members see them."""

import asyncio
import io
import os
from pathlib import Path

import aiosqlite
from PIL import Image

from domain.job import Job, JobState
from sandbox import Sandbox
from sandbox.hands import Hands
from sandbox.model import Channel, ComponentType, Message
from sandbox.permissions import Permission
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import private_answer


async def paint(
    bot: Bot, sandbox: Sandbox, who: Hands, prompt: str, channel: Channel | None = None, **options: object
) -> Job:
    """A result that is posted."""
    await (await who.slash(channel or sandbox.studio, "imagine", prompt=prompt, options=options)).response()
    [job, *_] = await bot.jobs_of(who.id)
    return await bot.until(job.id, JobState.POSTED)


def message_of(sandbox: Sandbox, job: Job) -> Message:
    assert job.result is not None
    channel = sandbox.studio if job.result.channel_id == sandbox.studio.id else sandbox.channel("playground")
    return next(m for m in sandbox.messages_in(channel) if m.id == job.result.message_id)


def link(job: Job) -> str:
    assert job.result is not None
    return f"/{job.result.channel_id}/{job.result.message_id}"


async def opened(who: Hands, channel: Channel, name: str, **options: object) -> Message:
    return await private_answer(await who.slash(channel, name, options=options))


def labels(message: Message) -> list[str]:
    return [button.label for button in message.buttons]


# History.


async def test_history_is_searched_and_the_search_stays_while_pages_are_turned_also_after_a_restart(
    bot: Bot, sandbox: Sandbox
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    for number in range(8):
        await paint(bot, sandbox, alice, f"a Boat 100% of wood, no {number}")
    await paint(bot, sandbox, alice, "a fox")
    await paint(bot, sandbox, bob, "a boat of bob's")
    page = await opened(alice, sandbox.studio, "history", search="  boat 100%   of ")
    assert "no 7" in page.text
    assert "no 2" in page.text
    assert "no 1" not in page.text
    assert "fox" not in page.text
    assert "bob" not in page.text
    await bot.restart()
    await alice.click(page, "Older")
    await sandbox.wait_until(lambda: "no 1" in page.text, what="the next page")
    assert "no 0" in page.text
    assert "fox" not in page.text
    assert labels(page) == ["Newer"]
    assert "Nothing with “100\\_%”" in (await opened(alice, sandbox.studio, "history", search="100_%")).text


async def test_the_longest_search_still_turns_pages(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    word = "é?:%_" * 10
    for _ in range(7):
        await paint(bot, sandbox, alice, word)
    page = await opened(alice, sandbox.studio, "history", search=word)
    await alice.click(page, "Older")
    await sandbox.wait_until(lambda: labels(page) == ["Newer"], what="the next page")
    refused = await alice.slash(sandbox.studio, "history", options={"search": word + "x"}, raw=True)
    assert "at most 50" in (await private_answer(refused)).text


# Families.


async def test_the_family_of_a_picture(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    first = await paint(bot, sandbox, alice, "a red circle", seed=7)

    async def pressed(who: Hands, job: Job, button: str) -> Job:
        before = {job.id for job in await bot.jobs_of(who.id)}
        await (await who.click(message_of(sandbox, job), button)).response()
        [new] = [job for job in await bot.jobs_of(who.id) if job.id not in before]
        return await bot.until(new.id, JobState.POSTED)

    varied = await pressed(bob, first, "Vary strongly")
    rerolled = await pressed(alice, varied, "Reroll")
    modal = await (await alice.click(message_of(sandbox, rerolled), "Edit picture")).modal()
    await alice.submit_modal(modal, {"prompt": "make it blue"})
    edited = await bot.result(after=message_of(sandbox, rerolled))
    [newest, *_] = await bot.jobs_of(alice.id)
    newest = await bot.until(newest.id, JobState.POSTED)
    await alice.slash(sandbox.studio, "imagine", prompt="not of the family")

    pressed_details = await bob.click(message_of(sandbox, varied), "Details")
    await pressed_details.acknowledged()
    details = pressed_details.interaction.response
    assert details is not None
    tree = await private_answer(await bob.click(details, "Family"))
    again = await opened(bob, sandbox.studio, "history", job=varied.id)
    assert again.text == tree.text
    lines = tree.text.splitlines()
    for depth, (said, job) in enumerate(
        (("", first), ("↳ varied: ", varied), ("↳ rerolled: ", rerolled), ("↳ edited: ", newest))
    ):
        [line] = [line for line in lines if link(job) in line]
        assert line.startswith("\u2003" * depth + said)
        assert f"<@{job.place.user_id}>" in line
    assert "not of the family" not in tree.text
    assert tree.text.count("**") == 2
    assert edited.id == int(link(newest).rpartition("/")[2])


async def test_of_relatives_in_other_channels_nothing_is_told(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    first = await paint(bot, sandbox, alice, "a secret", seed=7)
    again = await alice.slash(sandbox.channel("playground"), "reroll", job=first.id, prompt="no secret")
    await again.response()
    [child, _] = await bot.jobs_of(alice.id)
    await bot.until(child.id, JobState.POSTED)
    sandbox.overwrite(sandbox.studio, bob.user, deny=Permission.VIEW_CHANNEL)
    tree = await opened(bob, sandbox.channel("playground"), "history", job=child.id)
    assert "can't see" in tree.text
    assert "a secret" not in tree.text
    assert first.id not in tree.text
    refused = await opened(bob, sandbox.channel("playground"), "history", job=first.id)
    assert "no job" in refused.text


# Favourites.


async def test_a_star_makes_a_favourite_and_takes_it_away(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    job = await paint(bot, sandbox, alice, "a red circle", seed=7)
    result = message_of(sandbox, job)
    assert "no favourites" in (await opened(bob, sandbox.studio, "favourites")).text
    assert "kept for 365 days" in (await private_answer(await bob.click(result, "⭐"))).text
    await bot.restart()
    page = await opened(bob, sandbox.channel("playground"), "favourites")
    assert "a red circle" in page.text
    assert link(job) in page.text
    shown = Image.open(io.BytesIO(page.attachments[0].data))
    assert shown.format == "JPEG"
    assert "no favourites" in (await opened(alice, sandbox.studio, "favourites")).text
    assert "any more" in (await private_answer(await bob.click(result, "⭐"))).text
    assert "no favourites" in (await opened(bob, sandbox.studio, "favourites")).text


async def test_a_double_click_on_the_star_is_one(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    result = message_of(sandbox, await paint(bot, sandbox, alice, "a red circle"))
    await private_answer(await alice.click(result, "⭐"))
    await (await alice.click(result, "⭐")).acknowledged()
    assert "a red circle" in (await opened(alice, sandbox.studio, "favourites")).text


async def test_retention_keeps_favourites_longer(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_PICTURES_DAYS="1") as bot:
        alice = sandbox.user("alice")
        loved, other = [await paint(bot, sandbox, alice, prompt) for prompt in ("loved", "other")]
        await private_answer(await alice.click(message_of(sandbox, loved), "⭐"))
        for job in (loved, other):
            os.utime(bot.services.pictures.path(job.pictures[0].name), (1, 1))
        await bot.services.pictures.sweep(kept=await bot.services.album.kept_longer())
        assert bot.services.pictures.path(loved.pictures[0].name).exists()
        assert not bot.services.pictures.path(other.pictures[0].name).exists()
        # Those that were swept are told apart from those that are there.
        await private_answer(await alice.click(message_of(sandbox, other), "⭐"))
        assert len((await opened(alice, sandbox.studio, "favourites")).attachments) == 1


async def test_the_sweep_of_a_start_knows_the_favourites(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_PICTURES_DAYS="1") as bot:
        alice = sandbox.user("alice")
        loved = await paint(bot, sandbox, alice, "loved")
        await private_answer(await alice.click(message_of(sandbox, loved), "⭐"))
        path = bot.services.pictures.path(loved.pictures[0].name)
        os.utime(path, (1, 1))
        await bot.restart()
        assert path.exists()


# The gallery.


async def without_gallery(bot: Bot, sandbox: Sandbox) -> None:
    """What an admin sets."""
    async with aiosqlite.connect(bot.folder / "easel.db") as connection:
        await connection.execute(
            "INSERT INTO guilds (guild_id, settings) VALUES (?, ?)", (sandbox.guild.id, '{"gallery": false}')
        )
        await connection.commit()


async def test_the_gallery_shows_what_everybody_was_shown(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    await paint(bot, sandbox, alice, "a red circle", spoiler=True)
    await paint(bot, sandbox, bob, "a blue boat", count=2)
    gone = await paint(bot, sandbox, alice, "a mistake")
    question = await private_answer(await alice.click(message_of(sandbox, gone), "Delete"))
    await alice.click(question, "Delete for good")
    await sandbox.wait_until(lambda: question.text == "Deleted.", what="the end of it")
    page = await opened(alice, sandbox.studio, "gallery")
    assert page.text.index("a blue boat") < page.text.index("a red circle")
    assert "2 pictures" in page.text
    assert "a mistake" not in page.text
    [gallery] = [part for part in page.components[0]["components"] if part["type"] == ComponentType.MEDIA_GALLERY]
    assert [item["spoiler"] for item in gallery["items"]] == [False, True]
    found = await opened(alice, sandbox.studio, "gallery", search="BOAT")
    assert "a red circle" not in found.text
    assert len(found.attachments) == 1


async def test_its_pages_are_turned_also_after_a_restart(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    for number in range(8):
        await paint(bot, sandbox, alice, f"picture no {number}")
    page = await opened(alice, sandbox.studio, "gallery")
    assert len(page.attachments) == 6
    await bot.restart()
    await alice.click(page, "Older")
    await sandbox.wait_until(lambda: len(page.attachments) == 2, what="the next page")
    assert "no 1" in page.text
    assert "no 2" not in page.text
    await alice.click(page, "Newer")
    await sandbox.wait_until(lambda: len(page.attachments) == 6, what="the first page")


async def test_a_member_can_leave_it_and_come_back(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    await paint(bot, sandbox, alice, "a red circle")
    page = await opened(alice, sandbox.studio, "gallery")
    await alice.click(page, "Leave my pictures out")
    await sandbox.wait_until(lambda: labels(page) == ["Show my pictures again"], what="the gallery without them")
    assert "a red circle" not in (await opened(bob, sandbox.studio, "gallery")).text
    await alice.click(page, "Show my pictures again")
    await sandbox.wait_until(lambda: labels(page) == ["Leave my pictures out"], what="the gallery with them")
    assert "a red circle" in (await opened(bob, sandbox.studio, "gallery")).text


async def test_what_is_in_channels_that_one_cannot_read_or_that_are_age_restricted_stays_there(
    bot: Bot, sandbox: Sandbox
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    nsfw = sandbox.furniture.nsfw
    await paint(bot, sandbox, alice, "a secret")
    await paint(bot, sandbox, alice, "for adults", nsfw)
    await paint(bot, sandbox, alice, "for all", sandbox.channel("playground"))
    sandbox.overwrite(sandbox.studio, bob.user, deny=Permission.VIEW_CHANNEL)
    page = await opened(bob, sandbox.channel("playground"), "gallery")
    assert "for all" in page.text
    assert "a secret" not in page.text
    assert "for adults" not in page.text
    assert "for adults" in (await opened(bob, nsfw, "gallery")).text


async def test_a_server_that_wants_no_gallery_has_none(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await paint(bot, sandbox, alice, "a red circle")
    page = await opened(alice, sandbox.studio, "gallery")
    await without_gallery(bot, sandbox)
    assert "switched the gallery off" in (await opened(alice, sandbox.studio, "gallery")).text
    pressed = await alice.click(page, "Leave my pictures out")
    await sandbox.wait_until(lambda: bool(pressed.followups), what="the refusal")
    assert "switched the gallery off" in pressed.followups[0].text


# Originals.


async def details_of(bot: Bot, sandbox: Sandbox, who: Hands, job: Job) -> Message:
    return await private_answer(await who.click(message_of(sandbox, job), "Details"))


async def test_the_original_carries_what_it_was_made_with_and_the_posted_one_does_not(
    bot: Bot, sandbox: Sandbox
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    job = await paint(bot, sandbox, alice, "a red circle", seed=7, count=2)
    assert b"a red circle" not in message_of(sandbox, job).attachments[0].data
    details = await details_of(bot, sandbox, bob, job)
    await bot.restart()
    pressed = await bob.click(details, "Original")
    await sandbox.wait_until(lambda: len(pressed.followups) == 2, what="both originals")
    for seed, message in zip((7, 8), pressed.followups, strict=True):
        assert message.is_ephemeral
        text = Image.open(io.BytesIO(message.attachments[0].data)).info["parameters"]
        assert text.startswith("a red circle\n")
        assert f"Seed: {seed}," in text


async def test_the_operator_can_have_originals_without_text(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_EMBED_PARAMETERS="false") as bot:
        alice = sandbox.user("alice")
        job = await paint(bot, sandbox, alice, "a red circle")
        pressed = await alice.click(await details_of(bot, sandbox, alice, job), "Original")
        await sandbox.wait_until(lambda: bool(pressed.followups), what="the original")
        data = pressed.followups[0].attachments[0].data
        assert data == bot.services.pictures.path(job.pictures[0].name).read_bytes()


async def test_what_is_too_large_for_the_server_is_made_smaller_and_that_is_said(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    bot.painter.scripts.append([Steps(), Paint(size=(2000, 2000), noisy=True)])
    job = await paint(bot, sandbox, alice, "noise")
    assert job.pictures[0].bytes > 10 * 2**20
    posted = message_of(sandbox, job)
    assert len(posted.attachments[0].data) <= 10 * 2**20
    assert "Made smaller" in posted.text
    pressed = await alice.click(await details_of(bot, sandbox, alice, job), "Original")
    await sandbox.wait_until(lambda: bool(pressed.followups), what="the original")
    assert "the best that fits" in pressed.followups[0].text
    assert len(pressed.followups[0].attachments[0].data) <= 10 * 2**20


async def test_the_original_is_offered_where_it_fits(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    room, sandbox.guild.filesize_limit = sandbox.guild.filesize_limit, 200_000
    bot.painter.scripts.append([Steps(), Paint(size=(400, 400), noisy=True)])
    job = await paint(bot, sandbox, alice, "noise")
    posted = message_of(sandbox, job)
    assert len(posted.attachments[0].data) <= 200_000 < job.pictures[0].bytes
    assert "Made smaller" in posted.text
    sandbox.guild.filesize_limit = room
    pressed = await alice.click(await details_of(bot, sandbox, alice, job), "Original")
    await sandbox.wait_until(lambda: bool(pressed.followups), what="the original")
    [original] = pressed.followups[0].attachments
    assert "best that fits" not in pressed.followups[0].text
    kept = Image.open(bot.services.pictures.path(job.pictures[0].name))
    assert Image.open(io.BytesIO(original.data)).tobytes() == kept.tobytes()


async def test_the_original_of_what_could_not_be_delivered_is_found_through_the_history(
    bot: Bot, sandbox: Sandbox
) -> None:
    go_on = asyncio.Event()
    bot.painter.scripts.append([go_on, Paint()])
    alice = sandbox.user("alice")
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    sandbox.overwrite(sandbox.studio, sandbox.world.bot, deny=Permission.SEND_MESSAGES)
    sandbox.faults.error("/users/@me/channels", status=403, code=50007, message="Cannot send messages to this user")
    go_on.set()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.UNDELIVERABLE)
    family = await opened(alice, sandbox.studio, "history", job=job.id)
    pressed = await alice.click(family, "Original")
    await sandbox.wait_until(lambda: bool(pressed.followups), what="the original")
    assert pressed.followups[0].attachments
