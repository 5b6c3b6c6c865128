"""/privacy and /about over the wire."""

import asyncio
import io
import json
from pathlib import Path

from config.blocklist import Use
from domain.job import JobState
from sandbox import Sandbox
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import private_answer


async def paint(bot: Bot, sandbox: Sandbox, who: str = "alice", prompt: str = "a secret boat") -> str:
    hands = sandbox.user(who)
    await (await hands.slash(sandbox.studio, "imagine", prompt=prompt)).response()
    [job, *_] = await bot.jobs_of(hands.id)
    await bot.until(job.id, JobState.POSTED)
    return job.id


async def test_what_is_kept_and_for_how_long(bot: Bot, sandbox: Sandbox) -> None:
    answer = await private_answer(await sandbox.user("alice").slash(sandbox.studio, "privacy"))
    for part in ("Your prompts", "30 days", "The ledger", "hosted service", "/privacy"):
        assert part in answer.text


async def test_my_data_as_a_file_for_me_alone(bot: Bot, sandbox: Sandbox) -> None:
    job_id = await paint(bot, sandbox)
    await paint(bot, sandbox, "bob", "somebody else's")
    answer = await private_answer(await sandbox.user("alice").slash(sandbox.studio, "privacy", action="export"))
    [attachment] = answer.attachments
    assert attachment.filename == "easel-my-data.json"
    data = json.load(io.BytesIO(attachment.data))
    assert [job["id"] for job in data["jobs"]] == [job_id]
    assert data["jobs"][0]["request"]["prompt"] == "a secret boat"
    assert "somebody" not in json.dumps(data)


async def test_deleting_asks_first_and_then_leaves_nothing(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    job_id = await paint(bot, sandbox)
    theirs = await paint(bot, sandbox, "bob", "a boat of bob's")
    question = await private_answer(await alice.slash(sandbox.studio, "privacy", action="delete"))
    assert "Nothing brings it back" in question.text
    file = (await bot.job(job_id)).pictures[0].name
    assert bot.services.pictures.path(file).exists()
    await (await alice.click(question, "Delete all of it for good")).acknowledged()
    [message] = [m for m in sandbox.messages_in(sandbox.studio) if "secret" in m.text]
    await bot.gone(message)
    await sandbox.wait_until(lambda: not bot.services.pictures.path(file).exists(), what="the file's end")
    async with asyncio.timeout(60):
        while (await bot.job(job_id)).place.user_id:
            await asyncio.sleep(0.01)
    assert await bot.jobs_of(alice.id) == []
    assert "It has begun" in question.text
    assert not question.buttons
    assert (await bot.job(theirs)).request.prompt == "a boat of bob's"
    assert "a boat of bob's" in "".join(m.text for m in sandbox.messages_in(sandbox.studio) if not m.deleted)


async def test_what_is_being_painted_is_cancelled_and_forgotten_after_a_restart(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    painter.script = (Steps(1), asyncio.Event(), Paint())
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="a secret boat")).response()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.RUNNING)
    await bot.services.erasures.ask(alice.id)
    await bot.restart()
    await bot.gone(card)
    async with asyncio.timeout(60):
        while (await bot.job(job.id)).place.user_id:
            await asyncio.sleep(0.05)
    assert (await bot.job(job.id)).request.prompt == "…"


async def test_what_this_is(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_OPERATOR_CONTACT="ada@example.org"):
        answer = await private_answer(await sandbox.user("alice").slash(sandbox.studio, "about"))
    for part in ("Easel", "Version", "ada@example.org", "HiDream", "MIT licence", "exploiting or harming minors"):
        assert part in answer.text
    assert answer.text.count("\n- ") == len(Use)
