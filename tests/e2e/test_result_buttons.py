"""The buttons under a result: each is checked again when it is pressed, and all of them outlive a restart."""

from pathlib import Path

import pytest
from PIL import Image

from domain.job import JobState
from sandbox import Sandbox
from sandbox.model import Message
from sandbox.permissions import Permission
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import private_answer


def labels(message: Message) -> list[str]:
    return [button.label for button in message.buttons]


async def painted(bot: Bot, sandbox: Sandbox, **options: object) -> Message:
    """A result of Alice's with seed 7."""
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle", seed=7, options=options)
    result = await bot.result()
    [job] = await bot.jobs_of(sandbox.user("alice").id)
    await bot.until(job.id, JobState.POSTED)
    return result


async def deleted(sandbox: Sandbox, question: Message) -> None:
    """Wait for the word that it is done."""
    await sandbox.wait_until(lambda: question.text == "Deleted." and not question.buttons, what="the last word")


async def test_one_picture_has_one_button_to_edit_it_and_four_have_four(bot: Bot, sandbox: Sandbox) -> None:
    first = await painted(bot, sandbox)
    again = ["Reroll", "Vary subtly", "Vary strongly", "Edit", "⭐"]
    assert labels(first) == [*again, "Edit picture", "Details", "Delete"]
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="four", count=4)
    four = await bot.result(after=first)
    pictures = ["Edit picture 1", "Edit picture 2", "Edit picture 3", "Edit picture 4"]
    assert labels(four) == [*again, *pictures, "Details", "Delete"]
    assert [len(row["components"]) for row in four.components] == [5, 4, 2]


async def test_no_edit_is_offered_without_a_model_for_it(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_LOCAL_EDIT_MODEL="") as bot:
        result = await painted(bot, sandbox)
        assert "Edit picture" not in labels(result)
        alice = sandbox.user("alice")
        [job] = await bot.jobs_of(alice.id)
        message = await alice.send(sandbox.studio, "hello")
        await private_answer(await alice.click(message, f"easel:picture:{job.id}:0", raw=True))
        assert len(await bot.jobs_of(alice.id)) == 1


async def test_one_picture_of_several_becomes_the_source_of_an_edit(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    first = await painted(bot, sandbox, count=2, spoiler=True)
    await bot.restart()
    bob = sandbox.user("bob")
    modal = await (await bob.click(first, "Edit picture 2")).modal()
    assert modal.title == "Edit picture 2"
    await bot.restart()
    await bob.submit_modal(modal, {"prompt": "make it blue"})
    second = await bot.result(after=first)
    assert "make it blue" in second.text
    assert second.pings.users == {bob.id}
    source = painter.calls[-1].source
    assert source is not None
    # The double paints a picture's seed and number as its colour.
    assert Image.open(source).getpixel((0, 0)) == (8, 0, 1)
    assert second.attachments[0].is_spoiler
    assert f"https://discord.com/channels/{sandbox.guild.id}/{sandbox.studio.id}/{first.id}" in second.text


async def test_an_edits_quota_is_asked_again(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_DEFAULT_DAILY_IMAGES="1") as bot:
        first = await painted(bot, sandbox)
        alice = sandbox.user("alice")
        modal = await (await alice.click(first, "Edit picture")).modal()
        invocation = await alice.submit_modal(modal, {"prompt": "make it blue"})
        await sandbox.wait_until(lambda: bool(invocation.followups), what="the refusal")
        assert "your 1 picture a day" in (await private_answer(invocation)).text
        await private_answer(await alice.click(first, "Vary subtly"))
        assert len(await bot.jobs_of(alice.id)) == 1


async def test_details_tell_everything_to_the_presser_alone(bot: Bot, sandbox: Sandbox) -> None:
    prompt = "*a red circle* " * 130
    alice = sandbox.user("alice")
    await alice.slash(
        sandbox.studio, "imagine", prompt=prompt.strip(), seed=7, count=2, negative_prompt="people " * 280, steps=9
    )
    result = await bot.result()
    [job] = await bot.jobs_of(alice.id)
    invocation = await sandbox.user("bob").click(result, "Details")
    await sandbox.wait_until(lambda: bool(invocation.followups), what="the second page")
    pages = [invocation.interaction.response, *invocation.followups]
    assert all(page is not None and page.is_ephemeral for page in pages)
    shown = "\n".join(page.text for page in pages if page is not None)
    assert shown.count("red circle") == 130
    assert shown.count("people") == 280
    for said in (job.id, "`steps` 9", "Seed 7", "Seed 8", "worker:tiny", "the only one that can", "1.0 s", "free"):
        assert said in shown


async def test_delete_asks_first_and_then_removes_post_and_files(bot: Bot, sandbox: Sandbox) -> None:
    result = await painted(bot, sandbox, count=2)
    alice = sandbox.user("alice")
    [job] = await bot.jobs_of(alice.id)
    files = [bot.services.pictures.path(picture.name) for picture in job.pictures]
    question = await private_answer(await alice.click(result, "Delete"))
    assert not result.deleted
    assert all(file.exists() for file in files)
    await bot.restart()
    await alice.click(question, "Delete for good")
    await deleted(sandbox, question)
    assert result.deleted
    assert not any(file.exists() for file in files)
    job = await bot.job(job.id)
    assert job.pictures == ()
    history = await private_answer(await alice.slash(sandbox.studio, "history"))
    assert "removed" in history.text
    assert str(result.id) not in history.text


async def test_only_the_owner_and_who_manages_messages_may_delete(bot: Bot, sandbox: Sandbox) -> None:
    result = await painted(bot, sandbox)
    bob = sandbox.user("bob")
    [job] = await bot.jobs_of(sandbox.user("alice").id)
    assert "somebody else's" in (await private_answer(await bob.click(result, "Delete"))).text
    # Who forges the second button has not been asked, and may not either.
    message = await bob.send(sandbox.studio, "hello")
    assert (
        "somebody else's" in (await private_answer(await bob.click(message, f"easel:remove:{job.id}", raw=True))).text
    )
    assert not result.deleted
    sandbox.overwrite(sandbox.studio, bob.user, allow=Permission.MANAGE_MESSAGES)
    question = await private_answer(await bob.click(result, "Delete"))
    await bob.click(question, "Delete for good")
    await deleted(sandbox, question)
    assert result.deleted


async def test_a_source_that_another_job_uses_stays(bot: Bot, sandbox: Sandbox) -> None:
    first = await painted(bot, sandbox)
    alice = sandbox.user("alice")
    modal = await (await alice.click(first, "Edit picture")).modal()
    await alice.submit_modal(modal, {"prompt": "make it blue"})
    edited = await bot.result(after=first)
    await alice.click(edited, "Reroll")
    again = await bot.result(after=edited)
    new, old, _ = await bot.jobs_of(alice.id)
    assert old.request.source is not None
    assert old.request.source == new.request.source
    source = bot.services.pictures.path(old.request.source.name)
    for message, job, stays in ((edited, old, True), (again, new, False)):
        await bot.until(job.id, JobState.POSTED)
        question = await private_answer(await alice.click(message, "Delete"))
        await alice.click(question, "Delete for good")
        await deleted(sandbox, question)
        assert message.deleted
        assert source.exists() is stays


async def test_a_removed_picture_cannot_be_edited(bot: Bot, sandbox: Sandbox) -> None:
    result = await painted(bot, sandbox)
    alice = sandbox.user("alice")
    [job] = await bot.jobs_of(alice.id)
    await bot.services.pictures.remove(job.pictures[0].name)
    assert "not there any more" in (await private_answer(await alice.click(result, "Edit picture"))).text


@pytest.mark.parametrize("action", ["vary", "vary-subtly", "details", "delete", "remove", "picture"])
async def test_another_guilds_job_does_not_exist(bot: Bot, sandbox: Sandbox, action: str) -> None:
    bob = sandbox.user("bob")
    other = sandbox.channel("general", sandbox.furniture.other_guild)
    await bob.slash(other, "imagine", prompt="a secret")
    result = await bot.result(other)
    [job] = await bot.services.jobs.history(sandbox.furniture.other_guild.id, bob.id, 1)
    message = await bob.send(sandbox.studio, "hello")
    custom_id = f"easel:{action}:{job.id}" + (":0" if action == "picture" else "")
    answer = await private_answer(await bob.click(message, custom_id, raw=True))
    assert "no job" in answer.text
    assert "secret" not in answer.text
    assert not result.deleted


async def test_delete_works_again_where_discord_failed_between(bot: Bot, sandbox: Sandbox) -> None:
    result = await painted(bot, sandbox)
    alice = sandbox.user("alice")
    question = await private_answer(await alice.click(result, "Delete"))
    sandbox.faults.error(f"/messages/{result.id}$", method="DELETE", status=403)
    refused = await alice.click(question, "Delete for good")
    await sandbox.wait_until(lambda: bool(refused.followups), what="the word that it failed")
    assert "Discord did not" in refused.followups[0].text
    assert not result.deleted
    question = await private_answer(await alice.click(result, "Delete"))
    await alice.click(question, "Delete for good")
    await deleted(sandbox, question)
    assert result.deleted
