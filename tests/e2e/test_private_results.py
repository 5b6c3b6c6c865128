"""Where a server shows results to who asked alone: nobody else sees card, picture or job, whatever happens."""

import asyncio

from backends.base import BackendFailed
from domain.errors import Code, EaselError
from domain.job import JobState
from sandbox import Sandbox
from sandbox.model import Message
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot
from tests.e2e.test_administration import told
from tests.e2e.test_bad_input import png, private_answer


def public(sandbox: Sandbox) -> list[Message]:
    return [m for m in sandbox.messages_in(sandbox.studio) if not m.is_ephemeral and not m.deleted]


async def test_the_card_becomes_the_result_for_one_pair_of_eyes(bot: Bot, sandbox: Sandbox) -> None:
    await told(sandbox, "settings results", private=True)
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")).response()
    assert card.visible_to == alice.id
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    assert len(card.attachments) == 1
    assert "Reroll" in [button.label for button in card.buttons]
    assert public(sandbox) == []
    # What others ask for by its id is not there for them.
    answer = await private_answer(await bob.slash(sandbox.studio, "reroll", job=job.id))
    assert "There is no job" in answer.text
    answer = await private_answer(await bob.slash(sandbox.studio, "gallery"))
    assert "secret" not in answer.text
    # Its buttons are doors like any other, and as private.
    again = await (await alice.click(card, "Reroll")).response()
    assert again.visible_to == alice.id
    assert public(sandbox) == []


async def test_an_edit_is_private_from_its_first_word(bot: Bot, sandbox: Sandbox) -> None:
    await told(sandbox, "settings results", private=True)
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "edit", prompt="make it blue", image=png())).response()
    assert card.visible_to == alice.id
    await sandbox.wait_until(lambda: bool(card.attachments) and "Reroll" in str(card.components), what="the result")
    assert public(sandbox) == []


async def test_when_the_interaction_is_over_it_comes_as_a_direct_message(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    await told(sandbox, "settings results", private=True)
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")
    await invocation.response()
    sandbox.expire_token(invocation.interaction)
    go_on.set()
    direct = await bot.result(await alice.direct_channel())
    assert "for you alone" in direct.text
    assert public(sandbox) == []


async def test_a_failure_is_told_as_privately(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    await told(sandbox, "settings results", private=True)
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, BackendFailed(EaselError(Code.BACKEND_FAILED, backend="worker", reason="x")))
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")
    card = await invocation.response()
    go_on.set()
    await sandbox.wait_until(lambda: "failed" in card.text, what="the news")
    go_on.clear()
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")
    await invocation.response()
    sandbox.expire_token(invocation.interaction)
    go_on.set()
    channel = await alice.direct_channel()
    await sandbox.wait_for_message(channel, lambda message: "failed" in message.text)
    assert public(sandbox) == []


async def test_a_restart_goes_on_with_the_same_card(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    await told(sandbox, "settings results", private=True)
    painter.script = (Steps(1), asyncio.Event())
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")).response()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.RUNNING)
    await bot.stop()
    painter.script = (Paint(),)
    await bot.start()
    await sandbox.wait_until(lambda: bool(card.attachments) and "Reroll" in str(card.components), what="the result")
    assert public(sandbox) == []


async def test_it_can_be_deleted_by_its_person(bot: Bot, sandbox: Sandbox) -> None:
    await told(sandbox, "settings results", private=True)
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")).response()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    form = await (await alice.click(card, "Delete")).modal()
    assert not card.deleted
    said = await (await alice.submit_modal(form)).followup()
    assert (said.text, said.visible_to) == ("Deleted.", alice.id)
    assert card.deleted
    assert (await bot.job(job.id)).pictures == ()
