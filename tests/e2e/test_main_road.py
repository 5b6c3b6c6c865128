"""/imagine, /edit and /reroll from a user's hands to a picture in the channel."""

import asyncio
import io

from PIL import Image

from backends.base import Loading, Preview, Progress
from domain.job import JobState
from jobs.events import StepDone
from sandbox import Sandbox
from sandbox.model import File
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import PATIENCE_SECONDS, Bot


def picture(size: tuple[int, int] = (64, 48)) -> File:
    data = io.BytesIO()
    Image.new("RGB", size, "teal").save(data, "png")
    return File("boat.png", data.getvalue(), "image/png")


async def test_imagine_answers_with_a_card_and_ends_in_one_result(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    card = await invocation.response()
    assert not card.is_ephemeral
    assert "a red circle" in card.versions[0].embeds[0]["description"]
    result = await bot.result()
    assert len(result.attachments) == 1
    assert result.pings.users == {alice.id}
    assert alice.mention in result.content
    for shown in ("a red circle", "Seed 7", "HiDream tiny", "worker", "1.0 s", "free"):
        assert shown in result.text
    assert [button.label for button in result.buttons][:3] == ["Reroll", "Vary subtly", "Vary strongly"]
    await bot.gone(card)
    assert [message.id for message in sandbox.messages_in(sandbox.studio) if not message.deleted] == [result.id]
    [job] = await bot.jobs_of(alice.id)
    job = await bot.until(job.id, JobState.POSTED)
    assert job.result is not None
    assert job.result.message_id == result.id


async def test_progress_is_seen_on_the_card_and_cancel_is_offered(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(4), go_on, Paint())
    invocation = await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
    card = await invocation.response()
    assert [button.label for button in card.buttons] == ["Cancel"]
    await sandbox.wait_until(lambda: "step 4 of 4" in card.text, what="the last step on the card")
    go_on.set()
    await bot.result()


async def test_steps_taken_before_the_card_is_there_are_shown_on_it(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(4), go_on, Paint())
    held = sandbox.faults.hold("/callback$")
    with bot.services.events.listen() as events:
        invocation = await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in events:
                if isinstance(event, StepDone) and event.step == 4:
                    break
    held.release()
    card = await invocation.response()
    await sandbox.wait_until(lambda: "step 4 of 4" in card.text, what="the last step on the card")
    go_on.set()
    await bot.result()


async def test_several_pictures_come_in_one_message(bot: Bot, sandbox: Sandbox) -> None:
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="four circles", seed=7, count=4)
    result = await bot.result()
    assert len(result.attachments) == 4
    assert "Seed 7 to 10" in result.text


async def test_a_spoiler_is_hidden(bot: Bot, sandbox: Sandbox) -> None:
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="the end", spoiler=True)
    result = await bot.result()
    assert result.attachments[0].is_spoiler


async def test_edit_fetches_the_attachment_and_changes_it(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    invocation = await sandbox.user("alice").slash(
        sandbox.studio, "edit", image=picture(), prompt="make it blue", seed=7
    )
    card = await invocation.response()
    assert not card.is_ephemeral
    result = await bot.result()
    assert "make it blue" in result.text
    assert "HiDream tiny edit" in result.text
    source = painter.calls[0].source
    assert source is not None
    assert Image.open(source).size == (64, 48)
    await bot.gone(card)


async def test_reroll_takes_the_last_job_and_a_new_seed(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    first = await bot.result()
    await alice.slash(sandbox.studio, "reroll")
    await bot.result(after=first)
    new, old = await bot.jobs_of(alice.id)
    assert new.request.prompt == "a red circle"
    assert new.parent_id == old.id
    assert new.tasks[0].seed != 7


async def test_reroll_takes_the_seed_the_prompt_and_the_count_given(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    first = await bot.result()
    [job] = await bot.jobs_of(alice.id)
    await alice.slash(sandbox.studio, "reroll", job=job.id, seed=9, prompt="a blue circle", count=2)
    result = await bot.result(after=first)
    assert "Seed 9 to 10" in result.text
    assert "a blue circle" in result.text
    assert len(result.attachments) == 2


async def test_the_buttons_reroll_and_edit(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    first = await bot.result()
    await bob.click(first, "Reroll")
    second = await bot.result(after=first)
    assert second.pings.users == {bob.id}
    modal = await (await alice.click(first, "Edit")).modal()
    assert [item["value"] for item in modal.fields] == ["a red circle", "7"]
    await alice.submit_modal(modal, {"prompt": "a green circle"})
    third = await bot.result(after=second)
    assert "a green circle" in third.text
    assert "Seed 7" in third.text


async def test_buttons_and_an_open_modal_live_through_a_restart(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    first = await bot.result()
    modal = await (await alice.click(first, "Edit")).modal()
    await bot.restart()
    await alice.click(first, "Reroll")
    second = await bot.result(after=first)
    await alice.submit_modal(modal, {"prompt": "a green circle"})
    third = await bot.result(after=second)
    assert "a green circle" in third.text


async def test_the_card_says_that_the_model_is_loading_and_shows_a_preview(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    loaded, go_on = asyncio.Event(), asyncio.Event()
    preview = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(preview, "jpeg")
    painter.script = (
        Loading(40),
        loaded,
        Progress(0, 3, 28),
        Preview(0, preview.getvalue(), "image/jpeg"),
        go_on,
        Paint(),
    )
    card = await (await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    await sandbox.wait_until(lambda: "Model loading, about 40 s" in card.text, what="the loading")
    loaded.set()
    await sandbox.wait_until(lambda: "step 3 of 28" in card.text and bool(card.attachments), what="the preview")
    assert [attachment.filename for attachment in card.attachments] == ["preview.jpg"]
    go_on.set()
    result = await bot.result()
    assert result.id != card.id
    await bot.gone(card)
