"""What people who come from Midjourney type, from their hands to the painter."""

import pytest

from domain.request import Size
from sandbox import Sandbox
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot
from tests.e2e.test_bad_input import nothing_happened, private_answer


async def test_flags_are_options_and_no_part_of_the_prompt(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice = sandbox.user("alice")
    await alice.slash(
        sandbox.studio, "imagine", prompt="a red circle --ar 16:9 --seed 7 --no people --steps 9 --count 2 --model tiny"
    )
    result = await bot.result()
    assert "--" not in result.text
    assert "Seed 7 to 8" in result.text
    [job] = await bot.jobs_of(alice.id)
    assert job.request.prompt == "a red circle"
    assert job.request.negative_prompt == "people"
    assert (job.request.steps, job.request.count) == (9, 2)
    # The closest that the bundled model makes: its only size.
    assert job.request.size == Size(128, 128)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a boat --stylize 100", "--stylize"),
        ("a boat --@everyone", "a boat"),
        ("a boat --seed", "needs a value"),
        ("a boat --seed 7", "given twice"),
        ("--ar 1:1", "`prompt` is empty"),
    ],
)
async def test_what_cannot_be_meant_is_said_privately(bot: Bot, sandbox: Sandbox, prompt: str, said: str) -> None:
    alice = sandbox.user("alice")
    invocation = await alice.slash(sandbox.studio, "imagine", prompt=prompt, seed=8)
    if "@" in prompt:
        # No flag's name: it stays a part of the prompt, and pings nobody.
        result = await bot.result()
        assert said in result.text
        assert not result.pings.everyone
        return
    assert said in (await private_answer(invocation)).text
    await nothing_happened(bot, sandbox, alice)


async def test_a_ratio_in_the_size_and_flags_in_the_modal_and_in_reroll(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", size="portrait", seed=7)
    first = await bot.result()
    modal = await (await alice.click(first, "Edit")).modal()
    await alice.submit_modal(modal, {"prompt": "a blue circle --ar landscape"})
    second = await bot.result(after=first)
    await alice.slash(sandbox.studio, "reroll", prompt="a green circle --count 2")
    await bot.result(after=second)
    green, blue, red = await bot.jobs_of(alice.id)
    assert [job.request.size for job in (red, blue, green)] == [Size(128, 128)] * 3
    assert [job.request.prompt for job in (red, blue, green)] == ["a red circle", "a blue circle", "a green circle"]
    assert green.request.count == 2


async def test_ratios_are_not_offered_where_there_is_one_size(bot: Bot, sandbox: Sandbox) -> None:
    found = await sandbox.user("alice").autocomplete(sandbox.studio, "imagine", "size", "", prompt="x")
    assert [choice["value"] for choice in found] == ["128x128"]
