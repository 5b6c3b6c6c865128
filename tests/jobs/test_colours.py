"""Pictures with a colour profile keep the colours that people saw; a profile that says nothing changes nothing."""

import io
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from domain.request import PictureFormat
from jobs.colours import MAX_PROFILE_BYTES, in_srgb, to_srgb
from jobs.pictures import Pictures

# Columns X, Y, Z of the primaries, adapted to D50 (as in the profiles that Apple and Adobe publish).
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
GAMMA = 2.19921875
COLOURS = [(200, 60, 50), (100, 180, 90), (60, 70, 200), (128, 128, 128), (250, 240, 230)]
"""Within sRGB in each of the spaces."""


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A version 2 profile of a screen: https://www.color.org/ICC1V42.pdf, 7.2 and 7.3."""
    name = b"Wide\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    everything = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    table, content, at = b"", b"", 132 + 12 * len(everything)
    for tag, data in everything.items():
        padded = data + bytes(-len(data) % 4)
        table += tag + struct.pack(">II", at + len(content), len(data))
        content += padded
    header = bytearray(128)
    header[8:24] = b"\x02\x10\0\0mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = _fixed(0.9642) + _fixed(1.0) + _fixed(0.8249)
    header[0:4] = struct.pack(">I", at + len(content))
    return bytes(header) + struct.pack(">I", len(everything)) + table + content


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


WHITE = {b"wtpt": _xyz((0.9642, 1.0, 0.8249))}


def matrix_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float = GAMMA) -> bytes:
    """A profile of three primaries and one gamma."""
    tags = dict(WHITE)
    for letter, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {letter + b"XYZ": _xyz(primary), letter + b"TRC": _curve(gamma)}
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", {**WHITE, b"kTRC": _curve(gamma)})


def as_srgb(colour: tuple[int, int, int], primaries: tuple[tuple[float, float, float], ...]) -> list[float]:
    """The same colour in sRGB, by the definition of the spaces (IEC 61966-2-1)."""
    linear = (np.array(colour) / 255) ** GAMMA
    seen = np.linalg.solve(np.array(SRGB).T, np.array(primaries).T @ linear).clip(0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return [float(value) for value in encoded * 255]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "pictures", limit_bytes=10**9, keep_seconds=3600)


async def colour_of(pictures: Pictures, data: bytes) -> tuple[int, int, int]:
    """The middle of what is kept, which carries no profile any more."""
    kept = await pictures.accept(data, "picture")
    with Image.open(pictures.path(kept.name)) as image:
        assert "icc_profile" not in image.info
        found = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    red, green, blue = found
    return int(red), int(green), int(blue)


@pytest.mark.parametrize("primaries", [DISPLAY_P3, ADOBE_RGB], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
async def test_colours_are_converted_from_the_profile_to_srgb(
    pictures: Pictures, primaries: tuple[tuple[float, float, float], ...], kind: str
) -> None:
    lossless: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    exact = lossless.get(kind, {})
    for colour in COLOURS:
        data = encoded(Image.new("RGB", (32, 32), colour), kind, icc_profile=matrix_profile(primaries), **exact)
        assert await colour_of(pictures, data) == pytest.approx(as_srgb(colour, primaries), abs=3)


async def test_what_is_transparent_is_converted_before_it_is_laid_on_white(pictures: Pictures) -> None:
    icc = matrix_profile(ADOBE_RGB)
    colour = COLOURS[1]
    opaque = encoded(Image.new("RGBA", (32, 32), (*colour, 255)), "PNG", icc_profile=icc)
    assert await colour_of(pictures, opaque) == pytest.approx(as_srgb(colour, ADOBE_RGB), abs=2)
    clear = encoded(Image.new("RGBA", (32, 32), (*colour, 0)), "PNG", icc_profile=icc)
    assert await colour_of(pictures, clear) == (255, 255, 255)
    palette = encoded(Image.new("RGB", (32, 32), colour).quantize(2), "PNG", icc_profile=icc)
    assert await colour_of(pictures, palette) == pytest.approx(as_srgb(colour, ADOBE_RGB), abs=2)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
async def test_greys_are_converted_too(pictures: Pictures, mode: str) -> None:
    # Half of the light is 188 of 255 in sRGB.
    values = {"L": 128, "LA": (128, 255), "I;16": 32896}
    grey = Image.new(mode, (32, 32), values[mode])  # type: ignore[arg-type]
    data = encoded(grey, "PNG", icc_profile=grey_profile(1.0))
    assert await colour_of(pictures, data) == pytest.approx((188, 188, 188), abs=1)


async def test_a_profile_of_srgb_changes_no_bit(pictures: Pictures) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for colour in COLOURS:
        assert await colour_of(pictures, encoded(Image.new("RGB", (32, 32), colour), "PNG", icc_profile=icc)) == colour


@pytest.mark.parametrize(
    ("mode", "icc"),
    [
        ("RGB", b"no profile at all"),
        ("RGB", matrix_profile(ADOBE_RGB)[:200]),
        ("RGB", bytes(128)),
        ("RGB", grey_profile(1.0)),
        ("L", matrix_profile(ADOBE_RGB)),
        ("RGB", matrix_profile(ADOBE_RGB) + bytes(MAX_PROFILE_BYTES)),
    ],
    ids=["words", "cut off", "zeros", "of greys", "of colours", "too large"],
)
def test_a_profile_that_does_not_fit_the_picture_is_ignored(mode: str, icc: bytes) -> None:
    picture = Image.new(mode, (8, 8), 100 if mode == "L" else COLOURS[0])
    assert to_srgb(icc, mode) is None
    assert in_srgb(picture, icc).tobytes() == picture.convert("RGB").tobytes()


def test_a_damaged_profile_harms_nobody() -> None:
    dice = random.Random(1)
    whole = matrix_profile(DISPLAY_P3)
    picture = Image.new("RGB", (8, 8), COLOURS[0])
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 3, 10))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        converted = in_srgb(picture, bytes(damaged))
        assert (converted.mode, converted.size) == ("RGB", (8, 8))


@pytest.mark.parametrize("wanted", [PictureFormat.JPEG, PictureFormat.PNG])
async def test_what_a_backend_makes_is_converted_too(pictures: Pictures, tmp_path: Path, wanted: PictureFormat) -> None:
    made = tmp_path / "made.jpg"
    image = Image.new("RGB", (32, 32), COLOURS[0])
    image.save(made, "JPEG", quality=100, subsampling=0, icc_profile=matrix_profile(DISPLAY_P3))
    kept = await pictures.keep("abcdefghjk", 0, made, wanted)
    with Image.open(pictures.path(kept.name)) as found:
        assert found.getpixel((16, 16)) == pytest.approx(as_srgb(COLOURS[0], DISPLAY_P3), abs=4)
