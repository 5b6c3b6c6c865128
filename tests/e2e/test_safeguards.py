"""Blocked words, bans and reports, over the wire."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from domain.guild import MAX_BLOCKED_PATTERNS, Action
from domain.job import JobState
from domain.safety import EVERYWHERE, Ban, BlockKind
from jobs.safeguards import OPERATOR, REPORTS_A_DAY
from sandbox import Sandbox
from sandbox.model import Message
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_administration import told
from tests.e2e.test_bad_input import nothing_happened, private_answer


async def refused(bot: Bot, sandbox: Sandbox, **options: Any) -> str:
    alice = sandbox.user("alice")
    answer = await private_answer(await alice.slash(sandbox.studio, "imagine", options=options))
    await nothing_happened(bot, sandbox, alice)
    return answer.text


async def test_words_and_patterns_of_a_server(bot: Bot, sandbox: Sandbox) -> None:
    assert "are refused now" in await told(sandbox, "settings block", word="Greg Rutkowski")
    await told(sandbox, "settings block", pattern=r"\bby\s+banksy\b")
    assert "“Greg Rutkowski” is not allowed" in await refused(bot, sandbox, prompt="a boat by gr3g r-u-t-k-o-w-s-k-i")
    assert "not allowed here" in await refused(bot, sandbox, prompt="a wall by  Banksy")
    listed = await told(sandbox, "settings blocked")
    assert "Greg Rutkowski" in listed
    assert "banksy" in listed
    assert "blocked already" in await told(sandbox, "settings block", word="Greg Rutkowski")
    choices = await sandbox.user("ada").autocomplete(sandbox.studio, "settings unblock", "text", "greg")
    assert [choice["value"] for choice in choices] == ["Greg Rutkowski"]
    await told(sandbox, "settings unblock", text="Greg Rutkowski")
    assert "is not blocked here" in await told(sandbox, "settings unblock", text="Greg Rutkowski")
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a boat by Greg Rutkowski")
    await bot.result()
    record = [entry.action for entry in await bot.services.administration.record(sandbox.guild.id)]
    assert record == [Action.UNBLOCKED, Action.BLOCKED, Action.BLOCKED]


async def test_what_can_not_be_blocked(bot: Bot, sandbox: Sandbox) -> None:
    assert "Give at least one option" in await told(sandbox, "settings block")
    assert "can't be looked for" in await told(sandbox, "settings block", word="***")
    assert "can't be used: missing" in await told(sandbox, "settings block", pattern="(")
    assert "would fit every text" in await told(sandbox, "settings block", pattern=".*")
    guild = sandbox.guild.id
    for number in range(MAX_BLOCKED_PATTERNS):
        await bot.services.safeguards.block(guild, BlockKind.PATTERN, f"x{number}", 1)
    assert f"The list is full (entries: {MAX_BLOCKED_PATTERNS})" in await told(sandbox, "settings block", pattern="y")


async def test_another_servers_words_do_not_count(bot: Bot, sandbox: Sandbox) -> None:
    await bot.services.safeguards.block(sandbox.furniture.other_guild.id, BlockKind.WORD, "boat", 1)
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a boat")
    await bot.result()


async def test_a_ban_in_one_server(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    said = await told(sandbox, "settings ban", member=alice.user, reason="@everyone spam")
    assert f"<@{alice.id}> can't use me in this server any more: @\u200beveryone spam" in said
    assert "do not let you use me here" in await refused(bot, sandbox, prompt="a boat")
    assert f"<@{alice.id}>" in await told(sandbox, "settings bans")
    await told(sandbox, "settings unban", member=alice.user)
    assert "not banned here" in await told(sandbox, "settings unban", member=alice.user)
    await alice.slash(sandbox.studio, "imagine", prompt="a boat")
    result = await bot.result()
    # Buttons of before are a door like any other.
    await told(sandbox, "settings ban", member=alice.user)
    answer = await private_answer(await alice.click(result, "Reroll"))
    assert "do not let you use me here" in answer.text


async def test_a_ban_by_the_operator_holds_everywhere(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await bot.services.safeguards.ban(Ban(alice.id, EVERYWHERE, "", OPERATOR))
    assert "My operator does not let you" in await refused(bot, sandbox, prompt="a boat")
    # Admins can't lift it.
    assert "not banned here" in await told(sandbox, "settings unban", member=alice.user)


async def made(bot: Bot, sandbox: Sandbox) -> tuple[str, Message]:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a boat")
    result = await bot.result()
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    return job.id, result


async def test_a_report_reaches_admins_and_operator(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    log, operators = sandbox.channel("playground"), sandbox.channel("nsfw")
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_OPERATOR_CHANNEL=str(operators.id)) as bot:
        await told(sandbox, "settings log", channel=log)
        job_id, result = await made(bot, sandbox)
        bob = sandbox.user("bob")
        modal = await (await bob.message_command(result, "Report picture")).modal()
        answer = await private_answer(await bob.submit_modal(modal, {"reason": "it shows <@&1> me"}))
        assert "Thank you" in answer.text
        for channel in (log, operators):
            post = sandbox.messages_in(channel)[-1]
            assert job_id in post.text
            assert f"<@{bob.id}>" in post.text
            assert "it shows \\<@\u200b&1> me" in post.text
            assert str(result.id) in post.text
        [report] = await bot.services.safeguards.reports()
        assert (report.job_id, report.reporter_id) == (job_id, bob.id)
        again = await private_answer(await bob.slash(sandbox.studio, "report", job=job_id))
        assert "reported this already" in again.text


async def test_what_can_not_be_reported(bot: Bot, sandbox: Sandbox) -> None:
    bob = sandbox.user("bob")
    said = await bob.send(sandbox.studio, "hello")
    answer = await private_answer(await bob.message_command(said, "Report picture"))
    assert "no picture of mine" in answer.text
    answer = await private_answer(await bob.slash(sandbox.studio, "report", job="nonsense"))
    assert "There is no job" in answer.text


async def test_reports_are_counted(bot: Bot, sandbox: Sandbox) -> None:
    bob = sandbox.user("bob")
    job_id, _ = await made(bot, sandbox)
    job = await bot.job(job_id)
    for number in range(REPORTS_A_DAY):
        other = replace(job, id=f"job{number}")
        await bot.services.safeguards.report(other, bob.id, "")
    answer = await private_answer(await bob.slash(sandbox.studio, "report", job=job_id))
    assert f"{REPORTS_A_DAY} reports within a day" in answer.text
