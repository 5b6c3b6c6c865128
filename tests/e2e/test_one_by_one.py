"""Pictures that come one by one are shown on the card while the others are made."""

import asyncio
import io

import pytest
from PIL import Image

from sandbox import Sandbox
from tests.doubles import Paint, ScriptedBackend
from tests.e2e.conftest import Bot


@pytest.mark.parametrize("spoiler", [False, True])
async def test_finished_pictures_are_on_the_card(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend, spoiler: bool
) -> None:
    second, third = asyncio.Event(), asyncio.Event()
    painter.scripts.extend([[Paint(size=(64, 32))], [second, Paint(size=(64, 32))], [third, Paint()]])
    alice = sandbox.user("alice")
    card = await (
        await alice.slash(sandbox.studio, "imagine", prompt="a red circle", count=3, spoiler=spoiler)
    ).response()
    await sandbox.wait_until(lambda: "1 of 3 pictures are done on worker" in card.text, what="the first picture")
    second.set()
    await sandbox.wait_until(lambda: "2 of 3 pictures are done on worker" in card.text, what="the second picture")
    if spoiler:
        assert card.attachments == []
    else:
        (sheet,) = card.attachments
        assert sheet.filename == "preview.jpg"
        image = Image.open(io.BytesIO(sheet.data))
        assert (image.width, image.height) == (64 + 8 + 64, 32)
    third.set()
    result = await bot.result()
    assert len(result.attachments) == 3
    await bot.gone(card)
