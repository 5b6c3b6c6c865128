"""What costs money is asked about in private first; the card that follows is a new message that all can see."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.job import JobState
from sandbox import Sandbox
from sandbox.hands import Hands
from sandbox.model import Message
from tests.doubles import Accept, Paint, ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import nothing_happened, private_answer

MODEL = "hidream-i1-dev"


@pytest.fixture
def painter() -> ScriptedBackend:
    """A hosted backend: its pictures cost $0.012 each."""
    return ScriptedBackend("wavespeed", (Accept(), Paint()), resumes=True)


@pytest.fixture
async def paid(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> AsyncIterator[Bot]:
    """A bot that asks before each paid job."""
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_CONFIRM_ABOVE_USD="0") as bot:
        yield bot


def labels(message: Message) -> list[str]:
    return [str(button.label) for button in message.buttons]


async def question(sandbox: Sandbox, hands: Hands, **options: object) -> Message:
    """What the person alone is asked."""
    values = {"prompt": "a red circle", "model": MODEL} | options
    return await private_answer(await hands.slash(sandbox.studio, "imagine", options=values))


async def says(sandbox: Sandbox, message: Message, words: str) -> None:
    await sandbox.wait_until(lambda: words in message.text, what=f"“{words}”")


async def test_a_yes_brings_a_public_card_and_then_the_picture(
    paid: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice, ada = sandbox.user("alice"), sandbox.user("ada")
    await ada.slash(sandbox.studio, "quotas set", limit=2, unit="money", window="month")
    asked = await question(sandbox, alice)
    assert "at most $0.012 of this server's $2.00 left this month" in asked.text
    assert labels(asked) == ["Paint it", "Cancel"]
    await nothing_happened(paid, sandbox, alice)
    await alice.click(asked, "Paint it")
    result = await paid.result()
    assert not result.is_ephemeral
    assert result.pings.users == {alice.id}
    await says(sandbox, asked, "Accepted, for at most $0.012")
    assert asked.buttons == []
    assert len(painter.calls) == 1
    [job] = await paid.jobs_of(alice.id)
    await paid.until(job.id, JobState.POSTED)


async def test_a_no_leaves_nothing(paid: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    asked = await question(sandbox, alice)
    await alice.click(asked, "Cancel")
    await says(sandbox, asked, "nothing was charged")
    assert asked.buttons == []
    await nothing_happened(paid, sandbox, alice)


async def test_the_question_outlives_a_restart(paid: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    asked = await question(sandbox, alice, count=2)
    await paid.restart()
    await alice.click(asked, "Paint it")
    assert len((await paid.result()).attachments) == 2


async def test_a_double_click_is_one_job_and_an_old_button_answers_politely(
    paid: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice = sandbox.user("alice")
    asked = await question(sandbox, alice)
    (confirm, _) = (button.custom_id for button in asked.buttons)
    await alice.click(asked, "Paint it")
    await alice.click(asked, str(confirm), raw=True)
    await paid.result()
    await says(sandbox, asked, "Accepted")
    await paid.restart()
    late = await alice.click(asked, str(confirm), raw=True)
    await sandbox.wait_until(lambda: bool(late.followups), what="an answer to the old button")
    assert late.followups[0].is_ephemeral
    assert "answered already" in late.followups[0].text
    assert len(painter.calls) == 1
    assert len(await paid.jobs_of(alice.id)) == 1


async def test_reroll_vary_and_the_forms_pass_the_same_door(paid: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.click(await question(sandbox, alice), "Paint it")
    result = await paid.result()
    for button in ("Reroll", "Vary"):
        asked = await private_answer(await alice.click(result, button))
        assert labels(asked) == ["Paint it", "Cancel"]
    modal = await (await alice.click(result, "Edit")).modal()
    again = await private_answer(await alice.submit_modal(modal, {"prompt": "a blue circle"}))
    assert "at most $0.012" in again.text
    assert len(await paid.jobs_of(alice.id)) == 1
    await alice.click(again, "Paint it")
    second = await paid.result(after=result)
    assert "a blue circle" in second.text


async def test_an_edit_is_asked_about_once_its_picture_was_looked_at(paid: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.click(await question(sandbox, alice), "Paint it")
    result = await paid.result()
    modal = await (await alice.click(result, "Edit picture")).modal()
    invocation = await alice.submit_modal(modal, {"prompt": "make it blue"})
    await sandbox.wait_until(lambda: bool(invocation.followups), what="the question")
    # The card that said "Checking…" is gone.
    asked = await private_answer(invocation)
    assert labels(asked) == ["Paint it", "Cancel"]
    await alice.click(asked, "Paint it")
    assert "make it blue" in (await paid.result(after=result)).text


async def test_below_the_amount_the_card_tells_the_price_at_once(
    sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path
) -> None:
    painter.script = (asyncio.Event(),)
    async with bot_with(sandbox, painter, tmp_path / "data") as bot:
        alice = sandbox.user("alice")
        invocation = await alice.slash(sandbox.studio, "imagine", prompt="a boat", model=MODEL, count=3)
        await invocation.acknowledged()
        card = invocation.interaction.response
        assert card is not None
        assert not card.is_ephemeral
        assert "at most $0.036" in card.text
        [job] = await bot.jobs_of(alice.id)
        await bot.until(job.id, JobState.SUBMITTING)
