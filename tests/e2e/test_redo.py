"""Redo in …: the same wish in the next better or larger model that is at hand."""

from pathlib import Path

import pytest

from domain.job import JobState
from sandbox import Sandbox
from sandbox.model import Message
from tests.doubles import Accept, Paint, ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import private_answer
from tests.e2e.test_result_buttons import labels


@pytest.fixture
def vendor() -> ScriptedBackend:
    """A hosted backend: it has all models."""
    return ScriptedBackend("wavespeed", (Accept(), Paint()), resumes=True)


async def painted(bot: Bot, sandbox: Sandbox, **options: object) -> Message:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a fox", seed=7, options=options)
    result = await bot.result()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    return result


async def test_from_dev_to_full_to_o1_and_no_further(sandbox: Sandbox, vendor: ScriptedBackend, tmp_path: Path) -> None:
    async with bot_with(sandbox, vendor, tmp_path / "data") as bot:
        first = await painted(bot, sandbox, model="hidream-i1-dev", size="1536x864")
        bob = sandbox.user("bob")
        await bob.click(first, "Redo in HiDream-I1-Full")
        second = await bot.result(after=first)
        assert "HiDream-I1-Full" in second.text
        assert "Seed 7" in second.text
        assert second.pings.users == {bob.id}
        await bot.restart()
        pressed = await bob.click(second, "Redo in HiDream-O1-Image")
        third = await bot.result(after=second)
        assert pressed.followups == []
        assert not [label for label in labels(third) if label.startswith("Redo")]
        newest, _ = await bot.jobs_of(bob.id)
        # The shape stays; the pixels are those of the larger model.
        assert str(newest.request.size) == "2560x1440"
        assert newest.request.seed == 7


async def test_what_the_larger_model_does_not_take_is_left_out_and_that_is_said(
    sandbox: Sandbox, vendor: ScriptedBackend, tmp_path: Path
) -> None:
    other_vendor = ScriptedBackend("runware", (Accept(), Paint()), resumes=True)
    async with bot_with(sandbox, other_vendor, tmp_path / "data") as bot:
        first = await painted(bot, sandbox, model="hidream-i1-dev", steps=20, negative_prompt="people")
        bot.painter = vendor
        await bot.restart()
        alice = sandbox.user("alice")
        pressed = await alice.click(first, "Redo in HiDream-I1-Full")
        await bot.result(after=first)
        await sandbox.wait_until(lambda: bool(pressed.followups), what="the word of what was left out")
        assert pressed.followups[0].is_ephemeral
        assert "Left out: `negative_prompt`, `steps`." in pressed.followups[0].text
        newest, _ = await bot.jobs_of(alice.id)
        assert newest.request.negative_prompt is None
        assert newest.request.steps is None


async def test_a_model_that_the_server_does_not_allow_is_not_offered_and_an_old_button_says_why(
    sandbox: Sandbox, vendor: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, vendor, tmp_path / "data") as bot:
        first = await painted(bot, sandbox, model="hidream-i1-dev")
        assert "Redo in HiDream-I1-Full" in labels(first)
        ada, bob = sandbox.user("ada"), sandbox.user("bob")
        await private_answer(await ada.slash(sandbox.studio, "settings models", allow="hidream-i1-dev"))
        refused = await private_answer(await bob.click(first, "Redo in HiDream-I1-Full"))
        assert "HiDream-I1-Full" in refused.text
        await bob.click(first, "Reroll")
        second = await bot.result(after=first)
        assert labels(second) == ["Reroll", "Vary", "Edit", "⭐", "Details", "Delete"]
        assert len(await bot.jobs_of(bob.id)) == 1


async def test_a_forged_press_where_nothing_is_larger(bot: Bot, sandbox: Sandbox) -> None:
    first = await painted(bot, sandbox)
    assert not [label for label in labels(first) if label.startswith("Redo")]
    alice = sandbox.user("alice")
    [job] = await bot.jobs_of(alice.id)
    message = await alice.send(sandbox.studio, "hello")
    answer = await alice.click(message, f"easel:larger:{job.id}", raw=True)
    assert "does not work any more" in (await answer.response()).text
    assert len(await bot.jobs_of(alice.id)) == 1
