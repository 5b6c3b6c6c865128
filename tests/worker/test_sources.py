"""Input pictures are hostile until decoded."""

import base64
import io
import struct
import zlib

import pytest
from PIL import Image

from backends.worker.sources import decode_source
from domain.errors import Code, UserError


def encoded(image: Image.Image, file_format: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return base64.b64encode(file.getvalue()).decode()


def bomb(width: int, height: int) -> str:
    """A PNG whose header promises more than its few bytes hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")).decode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_read(file_format: str) -> None:
    image = decode_source(encoded(Image.new("RGB", (8, 4), "red"), file_format))
    assert (image.size, image.mode) == ((8, 4), "RGB")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    assert decode_source(encoded(Image.new(mode, (4, 4)), "PNG")).mode == "RGB"


def test_what_is_transparent_lies_on_white() -> None:
    image = decode_source(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "PNG"))
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_source(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).size == (4, 8)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", Code.PICTURE_UNREADABLE),
        ("???", Code.PICTURE_UNREADABLE),
        (base64.b64encode(b"just text").decode(), Code.PICTURE_UNREADABLE),
        (encoded(Image.new("RGB", (8, 8)), "GIF"), Code.PICTURE_UNREADABLE),
        (encoded(Image.new("RGB", (64, 64)), "PNG")[:80], Code.PICTURE_UNREADABLE),
        (bomb(8, 8), Code.PICTURE_UNREADABLE),
        (bomb(10_000, 10_000), Code.PICTURE_TOO_MANY_PIXELS),
        (bomb(60_000, 60_000), Code.PICTURE_TOO_MANY_PIXELS),
    ],
    ids=["empty", "no-base64", "text", "gif", "cut", "header-only", "large", "bomb"],
)
def test_anything_else_is_refused(text: str, code: Code) -> None:
    with pytest.raises(UserError) as refused:
        decode_source(text)
    assert refused.value.code is code
