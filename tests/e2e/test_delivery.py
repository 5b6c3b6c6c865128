"""Outcomes reach their person, once, whatever Discord and the process do meanwhile."""

import asyncio
from pathlib import Path

import pytest

from backends.base import BackendFailed
from domain.errors import Code, OperatorError
from domain.job import Card, JobState
from sandbox import Sandbox
from sandbox.model import Message
from sandbox.permissions import Permission
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot


def results_in(sandbox: Sandbox) -> list[Message]:
    return [m for m in sandbox.messages_in(sandbox.studio) if m.attachments and not m.deleted]


async def test_a_cut_connection_after_posting_does_not_post_twice(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    fault = sandbox.faults.cut("/messages$", processed=True, method="POST")
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    [job] = await bot.jobs_of(alice.id)
    job = await bot.until(job.id, JobState.POSTED)
    assert fault.hits == 1
    [result] = results_in(sandbox)
    assert job.result == Card(sandbox.studio.id, result.id)


async def test_refusals_that_pass_are_waited_for(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    sandbox.faults.rate_limit("/messages$", method="POST", via=False)
    sandbox.faults.cut("/messages$", processed=False, method="POST")
    sandbox.faults.error("/messages$", method="POST", status=503)
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    assert len(results_in(sandbox)) == 1


async def test_a_channel_that_closed_meanwhile_means_a_direct_message(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice = sandbox.user("alice")
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)).response()
    sandbox.overwrite(sandbox.studio, sandbox.world.bot, deny=Permission.SEND_MESSAGES)
    go_on.set()
    direct = await bot.result(await alice.direct_channel())
    assert "Seed 7" in direct.text
    assert f"<#{sandbox.studio.id}>" in direct.text
    assert results_in(sandbox) == []


async def test_nobody_to_reach_leaves_it_in_the_history(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice = sandbox.user("alice")
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    sandbox.overwrite(sandbox.studio, sandbox.world.bot, deny=Permission.SEND_MESSAGES)
    sandbox.faults.error("/users/@me/channels", status=403, code=50007, message="Cannot send messages to this user")
    go_on.set()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.UNDELIVERABLE)
    history = await (await alice.slash(sandbox.studio, "history")).response()
    assert "could not be delivered" in history.text


async def test_a_file_that_discord_finds_too_large_is_made_smaller(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    fault = sandbox.faults.error("/messages$", method="POST", status=413, code=40005, message="Too large")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    assert fault.hits == 1


async def test_a_post_cut_off_by_a_kill_is_found_and_not_repeated(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    held = sandbox.faults.hold("/messages$", processed=True, method="POST")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    card = await invocation.response()
    await held.struck()
    [job] = await bot.jobs_of(alice.id)
    assert job.state is JobState.POSTING
    [result] = results_in(sandbox)
    # Discord forgets nonces after a few minutes: only the channel's history can tell.
    sandbox.messages._nonces.clear()
    await bot.stop()
    held.release()
    await bot.start()
    job = await bot.until(job.id, JobState.POSTED)
    assert job.result == Card(sandbox.studio.id, result.id)
    assert [message.id for message in results_in(sandbox)] == [result.id]
    await bot.gone(card)


async def test_a_picture_that_was_finished_but_not_posted_is_posted_at_the_next_start(
    bot: Bot, sandbox: Sandbox
) -> None:
    alice = sandbox.user("alice")
    held = sandbox.faults.hold("/messages$", processed=False, method="POST")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    card = await invocation.response()
    await held.struck()
    await bot.stop()
    sandbox.faults.clear()
    await bot.start()
    await bot.result()
    await bot.gone(card)
    assert len(results_in(sandbox)) == 1


async def test_a_job_whose_answer_was_cut_off_finds_its_card_again(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (go_on, Paint())
    alice = sandbox.user("alice")
    sandbox.faults.cut("/callback", processed=True)
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await invocation.acknowledged()
    [job] = await bot.jobs_of(alice.id)
    card = invocation.interaction.response
    assert card is not None
    await sandbox.wait_until(lambda: "Painting" in card.text, what="progress on the card")
    go_on.set()
    await bot.result()
    await bot.gone(card)
    assert job.id == (await bot.jobs_of(alice.id))[0].id


async def test_a_job_whose_interaction_died_gets_a_card_of_its_own(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (go_on, Paint())
    alice = sandbox.user("alice")
    sandbox.faults.error("/callback", status=404, code=10062, message="Unknown interaction")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    card = await sandbox.wait_for_message(sandbox.studio, lambda message: "a red circle" in message.text)
    assert [button.label for button in card.buttons] == ["Cancel"]
    go_on.set()
    await bot.result()
    await bot.gone(card)


async def test_a_failure_is_told_on_the_card(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    painter.script = (BackendFailed(OperatorError(Code.BACKEND_FAILED, backend="worker", reason="no *luck*")),)
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    await sandbox.wait_until(lambda: "failed" in card.text, what="the failure on the card")
    assert "no \\*luck\\*" in card.text
    assert "Nothing was charged." in card.text
    assert not card.deleted
    assert results_in(sandbox) == []
    painter.script = (Paint(),)
    await alice.click(card, "Try again")
    await bot.result()


async def test_a_failure_without_a_card_is_told_in_a_message(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (
        go_on,
        BackendFailed(OperatorError(Code.BACKEND_FAILED, backend="worker", reason="no luck")),
    )
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    await sandbox.user("ada").delete(card)
    go_on.set()
    told = await sandbox.wait_for_message(sandbox.studio, lambda message: "no luck" in message.text)
    assert told.pings.users == {alice.id}


async def test_a_result_never_waits_for_a_progress_edit(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(4), go_on, Paint())
    held = sandbox.faults.hold("/messages/[0-9]+$", method="PATCH")
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
    await held.struck()
    go_on.set()
    await bot.result()
    held.release()


async def test_what_waits_goes_on_after_a_restart(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    never = asyncio.Event()
    painter.script = (never, Paint())
    alice = sandbox.user("alice")
    cards = []
    for prompt in ("a red circle", "a blue circle"):
        cards.append(await (await alice.slash(sandbox.studio, "imagine", prompt=prompt)).response())
    await bot.stop()
    painter.script = (Paint(),)
    await bot.start()
    await sandbox.wait_until(lambda: len(results_in(sandbox)) == 2, what="both pictures")
    for card in cards:
        await bot.gone(card)


async def test_several_restarts_leave_one_post_a_job(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    running = Bot(sandbox, tmp_path / "data", painter)
    await running.start()
    for number in range(3):
        invocation = await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt=f"circle {number}")
        await invocation.response()
        await running.restart()
    await sandbox.wait_until(lambda: len(results_in(sandbox)) == 3, what="three pictures")
    await running.stop()
    assert len(results_in(sandbox)) == 3


async def test_an_outcome_that_could_not_be_noted_is_found_and_noted_later(
    bot: Bot, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.delivery.PAUSE_SECONDS", 0.0)
    posted, failures = bot.services.outbox.posted, 1

    async def fail_once(job_id: str, result: Card) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("the disk is full")
        await posted(job_id, result)

    monkeypatch.setattr(bot.services.outbox, "posted", fail_once)
    await (await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    [job] = await bot.jobs_of(sandbox.user("alice").id)
    sandbox.messages._nonces.clear()
    job = await bot.until(job.id, JobState.POSTED)
    [result] = results_in(sandbox)
    assert job.result == Card(sandbox.studio.id, result.id)


async def test_a_dead_interaction_token_and_a_new_session_keep_nothing_from_arriving(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    go_on = asyncio.Event()
    painter.script = (go_on, Paint())
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    card = await invocation.response()
    sandbox.expire_token(invocation.interaction)
    sandbox.gateway.reconnect()
    go_on.set()
    await bot.result()
    await bot.gone(card)
