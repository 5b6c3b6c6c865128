"""/compose: a form for long prompts, and what the model reads of them."""

from sandbox import Sandbox
from sandbox.hands import Invocation
from sandbox.model import Message
from tests.e2e.conftest import Bot
from tests.e2e.test_bad_input import nothing_happened, private_answer


async def note(sandbox: Sandbox, sent: Invocation) -> Message:
    """What is said in private beside the card."""
    await sandbox.wait_until(lambda: bool(sent.followups), what="the note")
    [message] = sent.followups
    assert message.is_ephemeral
    return message


async def test_a_form_with_room_for_two_thousand_characters_also_after_a_restart(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    modal = await (await alice.slash(sandbox.studio, "compose")).modal()
    await bot.restart()
    prompt = ("a very long wish " * 200)[:1990].strip() + " -- end"
    filled = {"prompt": prompt, "negative_prompt": "people", "model": ["tiny"], "size": "square", "seed": "7"}
    sent = await alice.submit_modal(modal, filled)
    result = await bot.result()
    assert "Seed 7" in result.text
    [job] = await bot.jobs_of(alice.id)
    assert job.request.prompt == prompt
    assert job.request.negative_prompt == "people"
    assert str(job.request.size) == "128x128"
    said = (await note(sandbox, sent)).text
    assert "By estimate" in said
    assert "reads the first 128" in said


async def test_the_counter_says_how_much_room_is_left(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    modal = await (await alice.slash(sandbox.studio, "compose")).modal()
    sent = await alice.submit_modal(modal, {"prompt": "a red circle --seed 7"})
    await bot.result()
    assert "about 3 of the 128 tokens that HiDream tiny reads" in (await note(sandbox, sent)).text
    [job] = await bot.jobs_of(alice.id)
    assert (job.request.prompt, job.request.seed) == ("a red circle", 7)


async def test_imagine_says_it_where_the_end_is_not_read_and_is_silent_otherwise(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    short = await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    first = await bot.result()
    assert short.followups == []
    long = await alice.slash(sandbox.studio, "imagine", prompt="a red circle " * 50)
    await bot.result(after=first)
    assert "reads the first 128" in (await note(sandbox, long)).text


async def test_a_forged_form_is_checked_as_the_command_is(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    modal = await (await alice.slash(sandbox.studio, "compose")).modal()
    for wrong, said in (
        ({"prompt": "  "}, "is empty"),
        ({"prompt": "x" * 2001}, "at most 2000"),
        ({"prompt": "x", "seed": "-1"}, "`seed`"),
        ({"prompt": "x", "size": "10x10"}, "`size`"),
        ({"prompt": "x", "model": ["nothing"]}, "no `model`"),
    ):
        answer = await private_answer(await alice.submit_modal(modal, wrong, raw=True))
        assert said in answer.text
    await nothing_happened(bot, sandbox, alice)
