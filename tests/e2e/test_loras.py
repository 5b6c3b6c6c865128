"""LoRAs of the GPU worker in /imagine: offered as one types, and sent on by name and weight."""

from dataclasses import replace
from pathlib import Path

from cogs.options import options_for
from domain.job import JobState
from domain.request import Kind, Lora
from sandbox import Sandbox
from tests.doubles import Accept, Paint, ScriptedBackend
from tests.e2e.conftest import Bot, bot_with


async def offered(bot: Bot, sandbox: Sandbox, typed: str) -> list[str]:
    alice = sandbox.user("alice")
    choices = await alice.autocomplete(sandbox.studio, "imagine", "lora", typed, prompt="x")
    return [str(choice["value"]) for choice in choices]


async def test_they_are_listed_and_painted_with(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    painter.health_now = replace(painter.health_now, loras=("ink", "wash.v2"))
    async with bot_with(sandbox, painter, tmp_path / "data", EASEL_LORA_DIR=str(tmp_path)) as bot:
        await sandbox.wait_until(lambda: bot.services.loras() == ["ink", "wash.v2"], what="the worker's first answer")
        assert await offered(bot, sandbox, "") == ["ink", "wash.v2"]
        assert await offered(bot, sandbox, "WA") == ["WA", "wash.v2"]
        # What was typed stays a choice: it may have a weight, or be a hosted service's LoRA.
        assert await offered(bot, sandbox, "ink=0.5,wa") == ["ink=0.5,wa", "ink=0.5, wash.v2"]
        alice = sandbox.user("alice")
        await alice.slash(sandbox.studio, "imagine", prompt="a fox", options={"lora": "ink=0.5, wash.v2"})
        await bot.result()
        [job] = await bot.jobs_of(alice.id)
        await bot.until(job.id, JobState.POSTED)
    assert painter.calls[0].request.loras == (Lora(model="ink", weight=0.5), Lora(model="wash.v2"))


async def test_without_a_folder_there_is_no_such_option(bot: Bot) -> None:
    assert "lora" not in [option.name for option in options_for(Kind.IMAGINE, bot.services.catalogue)]


async def test_the_operators_names_stand_for_runwares_ids(sandbox: Sandbox, tmp_path: Path) -> None:
    vendor = ScriptedBackend("runware", (Accept(), Paint()), resumes=True)
    named = "ink=civitai:123@456, civitai:7@8"
    async with bot_with(sandbox, vendor, tmp_path / "data", RUNWARE_LORAS=named) as bot:
        alice = sandbox.user("alice")
        choices = await alice.autocomplete(sandbox.studio, "imagine", "lora", "", prompt="x")
        assert [(choice["name"], choice["value"]) for choice in choices] == [
            ("ink", "civitai:123@456"),
            ("civitai:7@8", "civitai:7@8"),
        ]
        await alice.slash(sandbox.studio, "imagine", prompt="a fox", options={"lora": "civitai:123@456=0.5"})
        await bot.result()
    assert vendor.calls[0].request.loras == (Lora(model="civitai:123@456", weight=0.5),)
