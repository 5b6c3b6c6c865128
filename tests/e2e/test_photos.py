"""A photo loses where and by whom it was taken before any backend gets it, whatever door it came in by."""

import io

import pytest
from PIL import ExifTags, Image

from sandbox import Sandbox
from sandbox.model import File
from tests.e2e.conftest import Bot

SECRET = b"51.5007N-Alice's-phone"


def photo(colour: str = "teal") -> File:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, "jpeg", exif=exif, comment=SECRET)
    assert SECRET in data.getvalue()
    return File("photo.jpg", data.getvalue(), "image/jpeg")


@pytest.mark.parametrize("door", ["upload", "link", "link to a message's file", "menu", "avatar"])
async def test_what_a_backend_gets(bot: Bot, sandbox: Sandbox, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = sandbox.user("alice")
    message = await alice.send(sandbox.studio, "look", files=[photo()])
    url = message.attachments[0].url
    match door:
        case "upload":
            await alice.slash(sandbox.studio, "edit", prompt="make it blue", image=photo())
        case "link":
            await alice.slash(sandbox.studio, "edit", prompt="make it blue", options={"link": url})
        case "link to a message's file":
            linking = await alice.send(sandbox.studio, f"see {url}")
            modal = await (await alice.message_command(linking, "Edit picture")).modal()
            await alice.submit_modal(modal, {"prompt": "make it blue"})
        case "avatar":
            monkeypatch.setattr("sandbox.cdn.draw_avatar", lambda letter, accent: photo().data)
            modal = await (await alice.user_command(sandbox.studio, sandbox.user("bob").user, "Edit avatar")).modal()
            await alice.submit_modal(modal, {"prompt": "make it blue"})
        case _:
            modal = await (await alice.message_command(message, "Edit picture")).modal()
            await alice.submit_modal(modal, {"prompt": "make it blue"})
    result = await bot.result()
    [call] = bot.painter.calls
    assert call.source is not None
    sent = call.source.read_bytes()
    assert SECRET not in sent
    image = Image.open(io.BytesIO(sent))
    assert not image.getexif()
    assert not image.info
    # Nor does anything of it lie in the folder, or come back.
    for file in bot.services.pictures.path("x").parent.rglob("*"):
        assert file.is_dir() or SECRET not in file.read_bytes()
    assert SECRET not in result.attachments[0].data
