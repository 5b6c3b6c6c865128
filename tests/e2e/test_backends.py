"""What people see of backends: /models, /queue, and the settings that choose among them."""

import asyncio
from pathlib import Path
from typing import Any

from backends.base import Health, HealthState
from domain.guild import Policy
from domain.job import JobState
from sandbox import Sandbox
from sandbox.hands import Hands
from sandbox.model import Message
from tests.doubles import Accept, Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot
from tests.e2e.test_bad_input import private_answer


async def asked(who: Hands, sandbox: Sandbox, command: str, **options: Any) -> Message:
    return await private_answer(await who.slash(sandbox.studio, command, **options))


async def test_what_can_be_painted_with(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    alice, ada = sandbox.user("alice"), sandbox.user("ada")
    shown = await asked(alice, sandbox, "models")
    assert "What can be painted with here" in shown.text
    for model in bot.services.catalogue:
        assert model.name in shown.text
    assert "🟢 **worker** · free · about" in shown.text
    assert "`steps`" in shown.text

    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle")).response()
    await sandbox.wait_until(lambda: painter.running == 1, what="the painter")
    assert "🟡 **worker**" in (await asked(alice, sandbox, "models")).text
    go_on.set()
    await bot.result()

    await asked(ada, sandbox, "settings models", allow=next(iter(bot.services.catalogue)).key)
    shown = await asked(alice, sandbox, "models")
    assert shown.text.count("/imagine") + shown.text.count("/edit") == 1


MODEL = "hidream-i1-dev"
"""Both vendors below have it."""


async def with_two(sandbox: Sandbox, folder: Path, first: ScriptedBackend, second: ScriptedBackend) -> Bot:
    bot = Bot(sandbox, folder, first, others=(second,))
    await bot.start()
    return bot


async def test_two_jobs_are_painted_at_once_where_there_are_two_backends(sandbox: Sandbox, tmp_path: Path) -> None:
    go_on = asyncio.Event()
    first, second = (ScriptedBackend(key, (Accept(), go_on, Paint()), resumes=True) for key in ("wavespeed", "runware"))
    bot = await with_two(sandbox, tmp_path / "data", first, second)
    try:
        for name in ("alice", "bob"):
            await sandbox.user(name).slash(sandbox.studio, "imagine", prompt=f"of {name}", model=MODEL)
        await sandbox.wait_until(lambda: (first.running, second.running) == (1, 1), what="both to paint")
        go_on.set()
        result = await bot.result()
        other = await bot.result(after=result)
        assert {"wavespeed" in message.text for message in (result, other)} == {True, False}
        assert "runware" in result.text + other.text
    finally:
        await bot.stop()


async def test_two_gpus_paint_at_once(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    go_on = asyncio.Event()
    painter.script, painter.health_now = (Steps(1), go_on, Paint()), Health(HealthState.UP, slots=2)
    for name in ("alice", "bob", "ada"):
        await (await sandbox.user(name).slash(sandbox.studio, "imagine", prompt=f"of {name}")).response()
    await sandbox.wait_until(lambda: painter.running == 2, what="both to paint")
    go_on.set()
    for name in ("alice", "bob", "ada"):
        [job] = await bot.jobs_of(sandbox.user(name).id)
        await bot.until(job.id, JobState.POSTED)
    assert painter.most_running == 2


async def test_a_backend_that_is_down_is_stepped_over(sandbox: Sandbox, tmp_path: Path) -> None:
    first, second = (ScriptedBackend(key, (Accept(), Paint()), resumes=True) for key in ("wavespeed", "runware"))
    first.health_now = Health(HealthState.DOWN, slots=0)
    bot = await with_two(sandbox, tmp_path / "data", first, second)
    try:
        await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a boat", model=MODEL)
        result = await bot.result()
        assert "runware (the others are down)" in result.text
        assert len(second.calls) == 1
    finally:
        await bot.stop()


async def test_the_line_says_where_why_and_for_what(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    go_on = asyncio.Event()
    painter.script = (Steps(1), go_on, Paint())
    alice = sandbox.user("alice")
    await (await alice.slash(sandbox.studio, "imagine", prompt="first")).response()
    await sandbox.wait_until(lambda: painter.running == 1, what="the painter")
    await (await alice.slash(sandbox.studio, "imagine", prompt="second")).response()
    line = (await asked(sandbox.user("bob"), sandbox, "queue")).text
    assert "on worker (the only one that can)" in line
    assert "waits for worker (busy)" in line
    assert "🟡 worker: 1 of 1 busy" in line
    go_on.set()


async def test_admins_choose_among_backends(bot: Bot, sandbox: Sandbox) -> None:
    ada, alice = sandbox.user("ada"), sandbox.user("alice")
    guild = sandbox.guild.id
    assert "the cheapest first" in (await asked(ada, sandbox, "settings policy", policy="cheapest")).text
    assert "worker" in (await asked(ada, sandbox, "settings backends", backends=" Worker, ")).text
    assert "paid ones are used" in (await asked(ada, sandbox, "settings spillover", on=True)).text
    found = await bot.services.administration.settings(guild)
    assert (found.policy, found.allowed_backends, found.spill_to_paid) == (Policy.CHEAPEST, ("worker",), True)
    await asked(ada, sandbox, "settings backends", backends="all")
    assert (await bot.services.administration.settings(guild)).allowed_backends is None
    refused = await asked(ada, sandbox, "settings backends", backends="wavespeed")
    assert "`backends` can't be “wavespeed”" in refused.text
    offered = await ada.autocomplete(sandbox.studio, "settings backends", "backends", "wor")
    assert [choice["value"] for choice in offered] == ["worker"]
    assert "models" in {command["name"] for command in alice.commands(sandbox.studio)}
