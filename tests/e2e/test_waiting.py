"""While a job waits for a backend that is down, its card says so, and it can be taken back."""

import asyncio

from backends.base import Health, HealthState
from domain.job import JobState
from sandbox import Sandbox
from sandbox.model import Message
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot

DOWN = Health(HealthState.DOWN, slots=0)
UP = Health(HealthState.UP, slots=1)


async def says(sandbox: Sandbox, card: Message, text: str) -> None:
    await sandbox.wait_until(lambda: text in card.text, what=f"“{text}” on the card")


async def test_a_card_says_that_it_is_paused_and_goes_on_by_itself(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    go_on = asyncio.Event()
    painter.scripts.append([Steps(1), go_on, Paint()])
    running = await (await alice.slash(sandbox.studio, "imagine", prompt="the first")).response()
    await says(sandbox, running, "step 1")
    waiting = await (await bob.slash(sandbox.studio, "imagine", prompt="the second")).response()
    assert "Next in line" in waiting.text
    # The GPU goes away while somebody waits for it …
    painter.health_now = DOWN
    await says(sandbox, waiting, "Paused: the GPU is being restarted")
    # … and who comes meanwhile reads it at once.
    late = await (await alice.slash(sandbox.studio, "imagine", prompt="the third")).response()
    assert "Paused" in late.text
    await alice.click(late, "Cancel")
    await says(sandbox, late, "Cancelled")
    painter.health_now = UP
    await says(sandbox, waiting, "Next in line")
    go_on.set()
    [job] = await bot.jobs_of(bob.id)
    await bot.until(job.id, JobState.POSTED)
    await bot.gone(waiting)


async def test_several_jobs_at_once_each_have_a_card_of_their_own(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice = sandbox.user("alice")
    go_on = asyncio.Event()
    painter.scripts.append([Steps(1), go_on, Paint()])
    prompts = ["a red circle", "a blue boat", "a green tree"]
    cards = [await (await alice.slash(sandbox.studio, "imagine", prompt=prompt)).response() for prompt in prompts]
    await says(sandbox, cards[0], "step 1")
    await says(sandbox, cards[1], "Next in line")
    await says(sandbox, cards[2], "2nd in line")
    for card, prompt in zip(cards, prompts, strict=True):
        assert prompt in card.text
        assert [button.label for button in card.buttons] == ["Cancel"]
    go_on.set()
    for card in cards:
        await bot.gone(card)
