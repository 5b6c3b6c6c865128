"""Vary subtly and Vary strongly: another seed's noise in the same picture, told, kept and made again."""

from pathlib import Path

from domain.job import Job, JobState
from jobs.variations import Strength
from sandbox import Sandbox
from sandbox.hands import Hands
from sandbox.invocation import Invocation
from sandbox.model import Message
from tests.doubles import Accept, Paint, ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_album import message_of
from tests.e2e.test_bad_input import private_answer
from tests.e2e.test_result_buttons import labels, painted


async def posted(bot: Bot, sandbox: Sandbox, who: Hands, known: list[Job]) -> tuple[Message, Job]:
    """The job of somebody's that was not known, and its result."""
    [new] = [job for job in await bot.jobs_of(who.id) if job.id not in {job.id for job in known}]
    job = await bot.until(new.id, JobState.POSTED)
    return message_of(sandbox, job), job


async def pressed(bot: Bot, sandbox: Sandbox, who: Hands, message: Message, button: str) -> tuple[Message, Job]:
    """What comes of a press."""
    known = await bot.jobs_of(who.id)
    await (await who.click(message, button)).response()
    return await posted(bot, sandbox, who, known)


async def told(sandbox: Sandbox, answer: Invocation, words: str) -> None:
    """Wait for what is said after the answer, to its person alone."""
    await sandbox.wait_until(lambda: bool(answer.followups), what=words)
    assert answer.followups[0].is_ephemeral
    assert words in answer.followups[0].text


async def test_varied_pictures_keep_their_seeds_and_get_some_of_another_s_noise(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    first = await painted(bot, sandbox, count=2, negative_prompt="people", spoiler=True)
    bob = sandbox.user("bob")
    for button, strength, shown in (("Vary subtly", Strength.SUBTLE, "0.2"), ("Vary strongly", Strength.STRONG, "0.5")):
        result, job = await pressed(bot, sandbox, bob, first, button)
        [variation] = job.request.variations
        assert variation.strength == strength.share
        assert variation.seed != 7
        assert f"Seed 7 to 8 · variation {variation.seed}, strength {shown}" in result.text
        assert result.pings.users == {bob.id}
        assert result.attachments[0].is_spoiler
        # All else is as it was, in the job and in what the painter gets.
        [parent] = await bot.jobs_of(sandbox.user("alice").id)
        assert job.request.model_copy(update={"variations": ()}) == parent.request
        assert job.parent_id == parent.id
        assert painter.calls[-1].request == job.request


async def test_a_variation_of_a_variation_keeps_what_made_its_parent(bot: Bot, sandbox: Sandbox) -> None:
    first = await painted(bot, sandbox)
    alice = sandbox.user("alice")
    second, child = await pressed(bot, sandbox, alice, first, "Vary strongly")
    await bot.restart()
    _, grandchild = await pressed(bot, sandbox, alice, second, "Vary subtly")
    assert grandchild.request.variations[:1] == child.request.variations
    assert [one.strength for one in grandchild.request.variations] == [0.5, 0.2]


async def test_details_history_and_family_tell_of_it(bot: Bot, sandbox: Sandbox) -> None:
    first = await painted(bot, sandbox)
    alice = sandbox.user("alice")
    second, job = await pressed(bot, sandbox, alice, first, "Vary subtly")
    [variation] = job.request.variations
    details = await private_answer(await alice.click(second, "Details"))
    assert f"`variation_seed` {variation.seed}\n`variation_strength` 0.2\n" in details.text
    family = await private_answer(await alice.click(details, "Family"))
    assert "↳ varied: **" in family.text
    assert f"Seed 7 · variation {variation.seed}, strength 0.2" in family.text
    history = await private_answer(await alice.slash(sandbox.studio, "history"))
    assert f"Seed 7 · variation {variation.seed}, strength 0.2" in history.text
    of_the_first = await private_answer(await alice.click(first, "Details"))
    assert "variation" not in of_the_first.text


async def test_reroll_with_the_same_seed_makes_the_variation_again_and_with_another_none(
    bot: Bot, sandbox: Sandbox
) -> None:
    first = await painted(bot, sandbox)
    alice = sandbox.user("alice")
    _, varied = await pressed(bot, sandbox, alice, first, "Vary subtly")

    async def rerolled(seed: int) -> tuple[Message, Job]:
        known = await bot.jobs_of(alice.id)
        await (await alice.slash(sandbox.studio, "reroll", options={"job": varied.id, "seed": seed})).response()
        return await posted(bot, sandbox, alice, known)

    again, same = await rerolled(7)
    assert same.request == varied.request
    _, other = await rerolled(8)
    assert other.request.variations == ()
    known = await bot.jobs_of(alice.id)
    modal = await (await alice.click(again, "Edit")).modal()
    await (await alice.submit_modal(modal, {"prompt": "a blue circle", "seed": "7"})).response()
    result, reworded = await posted(bot, sandbox, alice, known)
    assert (reworded.request.prompt, reworded.request.variations) == ("a blue circle", varied.request.variations)
    _, new = await pressed(bot, sandbox, alice, result, "Reroll")
    assert new.request.variations == ()


async def test_a_backend_that_cannot_blend_goes_on_with_the_seeds_that_follow_and_says_so(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    vendor = ScriptedBackend("wavespeed", (Accept(), Paint()), resumes=True)
    async with bot_with(sandbox, vendor, tmp_path / "data") as bot:
        first = await painted(bot, sandbox, model="hidream-i1-dev", count=2)
        assert labels(first)[:4] == ["Reroll", "Vary", "Edit", "⭐"]
        bob = sandbox.user("bob")
        [job] = await bot.jobs_of(sandbox.user("alice").id)
        message = await bob.send(sandbox.studio, "hello")
        # The last is forged, or of a time when the server's own GPU painted.
        for custom_id in (f"easel:vary:{job.id}", f"easel:vary-strongly:{job.id}"):
            known = await bot.jobs_of(bob.id)
            answer = await bob.click(message, custom_id, raw=True)
            await answer.response()
            result, varied = await posted(bot, sandbox, bob, known)
            assert "Seed 9 to 10" in result.text
            assert varied.request.variations == ()
            await told(sandbox, answer, "wavespeed can't blend one seed with another")


async def test_a_button_of_an_earlier_version_goes_on_with_the_seeds_that_follow(bot: Bot, sandbox: Sandbox) -> None:
    await painted(bot, sandbox, count=2)
    alice = sandbox.user("alice")
    known = await bot.jobs_of(alice.id)
    message = await alice.send(sandbox.studio, "hello")
    answer = await alice.click(message, f"easel:vary:{known[0].id}", raw=True)
    await answer.response()
    result, _ = await posted(bot, sandbox, alice, known)
    assert "Seed 9 to 10" in result.text
    assert answer.followups == []
