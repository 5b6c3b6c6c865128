"""/edit with up to three pictures, where a model takes them."""

from pathlib import Path

import pytest
from PIL import Image

from domain.job import JobState
from sandbox import Sandbox
from sandbox.hands import Invocation
from sandbox.model import File, Message
from tests.doubles import Accept, Paint, ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import bomb, nothing_happened, png, private_answer

SIZES = ((64, 48), (80, 40), (32, 96))


@pytest.fixture
def vendor() -> ScriptedBackend:
    """A hosted backend: it has models for one picture and for several."""
    return ScriptedBackend("wavespeed", (Accept(), Paint()), resumes=True)


async def followed_up(sandbox: Sandbox, sent: Invocation) -> Message:
    await sandbox.wait_until(lambda: bool(sent.followups), what="the refusal")
    return sent.followups[0]


async def test_three_pictures_reach_the_backend_in_order_and_a_reroll_has_them_again(
    sandbox: Sandbox, vendor: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, vendor, tmp_path / "data") as bot:
        alice = sandbox.user("alice")
        image, second, third = (png(size) for size in SIZES)
        await alice.slash(sandbox.studio, "edit", prompt="put these into it", image=image, image2=second, image3=third)
        first = await bot.result()
        # The usual model takes one picture, so that the first that takes three is used.
        assert "HiDream-O1-Image-Dev-Edit" in first.text
        await alice.click(first, "Reroll")
        await bot.result(after=first)
        for call in vendor.calls:
            assert call.source is not None
            assert tuple(Image.open(path).size for path in (call.source, *call.references)) == SIZES
        # All go with the last job that needs them.
        new, old = await bot.jobs_of(alice.id)
        paths = [bot.services.pictures.path(picture.name) for picture in old.request.inputs]
        for job, stay in ((new, True), (old, False)):
            job = await bot.until(job.id, JobState.POSTED)

            async def unposted(job: object) -> None:
                return None

            await bot.services.removal.remove(job, unposted)
            assert [path.exists() for path in paths] == [stay] * 3


async def test_a_model_that_takes_one_says_so_before_anything_is_fetched(
    sandbox: Sandbox, vendor: ScriptedBackend, tmp_path: Path
) -> None:
    async with bot_with(sandbox, vendor, tmp_path / "data") as bot:
        alice = sandbox.user("alice")
        answer = await private_answer(
            await alice.slash(
                sandbox.studio, "edit", prompt="make it blue", model="hidream-e1-full", image=png(), image2=png()
            )
        )
        assert "`image2` can't be set for HiDream-E1-Full" in answer.text
        await nothing_happened(bot, sandbox, alice)


@pytest.mark.parametrize("option", ["image2", "image3"])
async def test_each_is_checked(sandbox: Sandbox, vendor: ScriptedBackend, tmp_path: Path, option: str) -> None:
    async with bot_with(sandbox, vendor, tmp_path / "data") as bot:
        alice = sandbox.user("alice")
        for wrong, said in (
            (bomb(), "too many pixels"),
            (File("notes.png", b"no picture at all", "image/png"), "can't be read"),
        ):
            options = {"image": png(), option: wrong}
            sent = await alice.slash(sandbox.studio, "edit", prompt="make it blue", options=options)
            assert said in (await followed_up(sandbox, sent)).text
            await nothing_happened(bot, sandbox, alice)


async def test_where_no_model_takes_several_there_is_no_such_option(bot: Bot, sandbox: Sandbox) -> None:
    [edit] = [command for command in sandbox.user("alice").commands(sandbox.studio) if command["name"] == "edit"]
    assert not {"image2", "image3"} & {option["name"] for option in edit["options"]}
