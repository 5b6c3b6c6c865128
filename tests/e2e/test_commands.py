"""The other commands: the line, cancelling, the history and the quotas."""

import asyncio
from pathlib import Path

import pytest

from domain.job import JobState
from sandbox import Sandbox
from sandbox.interactions import CallbackType
from sandbox.options import ClientRefuses
from sandbox.permissions import Permission
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import private_answer


async def test_only_what_works_is_registered(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_LOCAL_EDIT_MODEL=""):
        commands = {command["name"]: command for command in sandbox.user("ada").commands(sandbox.studio)}
        assert set(commands) == {
            "imagine", "compose", "reroll", "queue", "cancel", "history", "favourites", "gallery", "models", "quota",
            "usage", "quotas", "settings", "about", "privacy", "report", "Report picture",
        }  # fmt: skip
        assert [option["name"] for option in commands["imagine"]["options"]] == [
            "prompt", "model", "size", "count", "seed", "negative_prompt", "steps", "guidance", "speed", "format",
            "spoiler",
        ]  # fmt: skip
        assert all(command["contexts"] == [0] for command in commands.values())
        assert all(command["integration_types"] == [0] for command in commands.values())


async def test_members_are_not_offered_the_admins_command(bot: Bot, sandbox: Sandbox) -> None:
    assert "quotas" not in {command["name"] for command in sandbox.user("alice").commands(sandbox.studio)}
    assert "quotas" in {command["name"] for command in sandbox.user("ada").commands(sandbox.studio)}


async def test_nothing_works_in_direct_messages(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    with pytest.raises(ClientRefuses):
        await alice.slash(await alice.direct_channel(), "imagine", prompt="a red circle")


async def test_the_line_and_places_in_it(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    await (await alice.slash(sandbox.studio, "imagine", prompt="under way")).response()
    await sandbox.wait_until(lambda: painter.running == 1, what="the painter")
    second = await (await alice.slash(sandbox.studio, "imagine", prompt="second of alice")).response()
    third = await (await alice.slash(sandbox.studio, "imagine", prompt="third of alice")).response()
    assert "2nd in line (place 2)" in third.text
    newcomer = await (await bob.slash(sandbox.studio, "imagine", prompt="first of bob")).response()
    assert "Next in line" in newcomer.text
    await sandbox.wait_until(lambda: "3rd in line (place 3)" in third.text, what="the new place on the card")
    line = await private_answer(await bob.slash(sandbox.studio, "queue"))
    assert "under way" in line.text
    assert line.text.index("first of bob") < line.text.index("second of alice") < line.text.index("third of alice")
    assert not line.pings
    assert not second.deleted
    go_on.set()


async def test_cancel_takes_back_what_waits_and_what_is_painted(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    never = asyncio.Event()
    painter.script = (Steps(1), never, Paint())
    alice = sandbox.user("alice")
    running = await (await alice.slash(sandbox.studio, "imagine", prompt="one")).response()
    await sandbox.wait_until(lambda: "step 1 of 1" in running.text, what="the step")
    waiting = await (await alice.slash(sandbox.studio, "imagine", prompt="two")).response()
    assert "Cancelled job" in (await private_answer(await alice.slash(sandbox.studio, "cancel"))).text
    await sandbox.wait_until(lambda: "Cancelled." in waiting.text, what="the end on the card")
    await alice.click(running, "Cancel")
    await sandbox.wait_until(lambda: "Cancelled." in running.text, what="the end on the card")
    assert "Nothing was charged." in running.text
    assert [job.state for job in await bot.jobs_of(alice.id)] == [JobState.CANCELLED] * 2
    answer = await private_answer(await alice.slash(sandbox.studio, "cancel"))
    assert "nothing waiting" in answer.text
    [_, job] = await bot.jobs_of(alice.id)
    assert "over already" in (await private_answer(await alice.slash(sandbox.studio, "cancel", job=job.id))).text


async def test_only_those_who_manage_messages_cancel_for_others(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    never = asyncio.Event()
    painter.script = (Steps(1), never, Paint())
    alice, bob, ada = sandbox.user("alice"), sandbox.user("bob"), sandbox.user("ada")
    card = await (await alice.slash(sandbox.studio, "imagine", prompt="one")).response()
    [job] = await bot.jobs_of(alice.id)
    assert "somebody else's" in (await private_answer(await bob.click(card, "Cancel"))).text
    assert "somebody else's" in (await private_answer(await bob.slash(sandbox.studio, "cancel", job=job.id))).text
    assert [choice["value"] for choice in await bob.autocomplete(sandbox.studio, "cancel", "job", "")] == []
    assert [choice["value"] for choice in await ada.autocomplete(sandbox.studio, "cancel", "job", "")] == [job.id]
    await ada.click(card, "Cancel")
    await bot.until(job.id, JobState.CANCELLED)


async def test_what_is_asked_for_in_a_channel_that_one_cannot_read_stays_there(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    never = asyncio.Event()
    painter.script = (Steps(1), never, Paint())
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    secret = sandbox.channel("playground")
    sandbox.overwrite(secret, bob.user, deny=Permission.VIEW_CHANNEL)
    await (await alice.slash(secret, "imagine", prompt="a surprise for bob")).response()
    [job] = await bot.jobs_of(alice.id)
    line = await private_answer(await bob.slash(sandbox.studio, "queue"))
    assert "somebody in another channel" in line.text
    assert "surprise" not in line.text
    assert job.id not in line.text
    for name in ("reroll", "cancel"):
        answer = await private_answer(await bob.slash(sandbox.studio, name, job=job.id))
        assert "no job" in answer.text
        assert "surprise" not in answer.text
    assert "surprise" in (await private_answer(await alice.slash(sandbox.studio, "queue"))).text


async def test_the_history_has_pages(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    assert "not painted anything" in (await private_answer(await alice.slash(sandbox.studio, "history"))).text
    for number in range(8):
        await (await alice.slash(sandbox.studio, "imagine", prompt=f"picture number {number}")).response()
    page = await private_answer(await alice.slash(sandbox.studio, "history"))
    assert "picture number 7" in page.text
    assert "picture number 1" not in page.text
    await (await alice.click(page, "Older")).acknowledged()
    await sandbox.wait_until(lambda: "picture number 0" in page.text, what="the older page")
    assert [button.label for button in page.buttons] == ["Newer"]
    await (await alice.click(page, "Newer")).acknowledged()
    await sandbox.wait_until(lambda: "picture number 7" in page.text, what="the newer page")
    other = await private_answer(await sandbox.user("bob").slash(sandbox.studio, "history"))
    assert "picture" not in other.text.replace("Your pictures", "")


async def test_quota_and_the_rules_that_admins_set(bot: Bot, sandbox: Sandbox) -> None:
    alice, ada = sandbox.user("alice"), sandbox.user("ada")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    answer = await private_answer(await alice.slash(sandbox.studio, "quota"))
    assert "50 pictures a day" in answer.text
    assert "1 used" in answer.text
    assert "49 left" in answer.text

    said = await private_answer(await ada.slash(sandbox.studio, "quotas set", limit=2, each_member=True))
    assert "each member: 2 pictures a day" in said.text
    said = await private_answer(await ada.slash(sandbox.studio, "quotas set", limit=1.5, unit="money", window="month"))
    assert "the whole server: $1.50 a month" in said.text
    rules = await private_answer(await ada.slash(sandbox.studio, "quotas list"))
    assert "each member: 2 pictures a day" in rules.text
    assert "the whole server: $1.50 a month" in rules.text

    refusal = await private_answer(await alice.slash(sandbox.studio, "imagine", prompt="two more", count=2))
    assert "That is 2 pictures, and 1 of your 2 pictures a day is left (1 used)." in refusal.text
    assert len(await bot.jobs_of(alice.id)) == 1

    await private_answer(await ada.slash(sandbox.studio, "quotas grant", member=alice.user, amount=1))
    assert "2 left" in (await private_answer(await alice.slash(sandbox.studio, "quota"))).text
    [money] = [
        choice["value"]
        for choice in await ada.autocomplete(sandbox.studio, "quotas remove", "rule", "money")
        if "$" in choice["name"]
    ] or [str(rule.id) for rule in await bot.services.quotas.rules(sandbox.guild.id) if rule.unit == "money"]
    assert "removed" in (await private_answer(await ada.slash(sandbox.studio, "quotas remove", rule=money))).text
    assert "no `rule`" in (await private_answer(await ada.slash(sandbox.studio, "quotas remove", rule=money))).text


async def test_rules_for_a_member_a_role_and_a_channel(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob, ada = sandbox.user("alice"), sandbox.user("bob"), sandbox.user("ada")
    role = next(role for role in sandbox.guild.roles.values() if role.name == "Booster")
    await private_answer(await ada.slash(sandbox.studio, "quotas set", limit=0, each_member=True))
    await private_answer(await ada.slash(sandbox.studio, "quotas set", limit=3, role=role))
    await private_answer(
        await ada.slash(sandbox.studio, "quotas set", options={"limit": 1, "channel": sandbox.studio, "window": "hour"})
    )
    refusal = await private_answer(await alice.slash(sandbox.studio, "imagine", prompt="a red circle"))
    assert "0 of your 0 pictures a day" in refusal.text
    await bob.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    refusal = await private_answer(await bob.slash(sandbox.studio, "imagine", prompt="a red circle"))
    assert "this channel’s 1 picture an hour" in refusal.text
    await private_answer(await ada.slash(sandbox.studio, "quotas set", limit=1, member=alice.user))
    await alice.slash(sandbox.channel("playground"), "imagine", prompt="a red circle")
    await bot.result(sandbox.channel("playground"))


@pytest.mark.parametrize(
    "options",
    [
        {"limit": -1},
        {"limit": 0.5},
        {"limit": 1e300},
        {"limit": 1, "unit": "apples"},
        {"limit": 1, "window": "century"},
    ],
)
async def test_impossible_rules_are_refused(bot: Bot, sandbox: Sandbox, options: dict[str, object]) -> None:
    ada = sandbox.user("ada")
    answer = await private_answer(await ada.slash(sandbox.studio, "quotas set", raw=True, options=options))
    assert f"`{list(options)[-1]}`" in answer.text
    assert await bot.services.quotas.rules(sandbox.guild.id) == []


async def test_a_rule_speaks_of_one_thing(bot: Bot, sandbox: Sandbox) -> None:
    ada = sandbox.user("ada")
    both = await ada.slash(sandbox.studio, "quotas set", limit=1, member=ada.user, each_member=True)
    assert "`member`" in (await private_answer(both)).text


async def test_autocomplete_knows_models_sizes_and_jobs(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    models = await alice.autocomplete(sandbox.studio, "imagine", "model", "", prompt="x")
    assert [choice["value"] for choice in models] == ["tiny"]
    assert await alice.autocomplete(sandbox.studio, "imagine", "model", "no such", prompt="x") == []
    sizes = await alice.autocomplete(sandbox.studio, "imagine", "size", "", prompt="x")
    assert [choice["value"] for choice in sizes] == ["128x128"]
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    jobs = await alice.autocomplete(sandbox.studio, "reroll", "job", "red")
    assert [choice["value"] for choice in jobs] == [(await bot.jobs_of(alice.id))[0].id]


async def test_a_double_click_on_reroll_makes_one_job(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    first = await bot.result()
    clicks = [await alice.click(first, "Reroll") for _ in range(3)]
    for click in clicks:
        await click.acknowledged()
    await bot.result(after=first)
    assert len(await bot.jobs_of(alice.id)) == 2


async def test_a_slow_database_means_a_deferred_answer(
    bot: Bot, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.answers.FAST_SECONDS", 0.0)
    alice, ada = sandbox.user("alice"), sandbox.user("ada")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    assert await invocation.acknowledged() is CallbackType.DEFERRED_MESSAGE
    await bot.result()
    assert invocation.interaction.response is not None
    await bot.gone(invocation.interaction.response)
    await private_answer(await ada.slash(sandbox.studio, "quotas set", limit=0))
    refused = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await sandbox.wait_until(lambda: bool(refused.followups), what="the private refusal")
    assert "this server’s 0 pictures a day" in (await private_answer(refused)).text


async def test_what_is_unexpected_has_an_id_that_the_log_has_too(
    bot: Bot, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the hidden cause")

    monkeypatch.setattr(bot.services.quotas, "usage", broken)
    answer = await private_answer(await sandbox.user("alice").slash(sandbox.studio, "quota"))
    assert "went wrong on our side" in answer.text
    assert "hidden cause" not in answer.text
    incident = answer.text.split("`")[1]
    assert len([record for record in caplog.records if incident in record.getMessage()]) == 1
