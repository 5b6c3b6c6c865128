"""Pictures: what strangers send is checked and cleaned, what backends make is kept whole or not at all."""

import asyncio
import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageChops, PngImagePlugin

from domain.errors import Code, EaselError, OperatorError, UserError
from domain.request import PictureFormat
from jobs.pictures import MAX_INPUT_BYTES, MAX_PIXELS, NotAPictureError, Pictures

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

FORMATS = {"PNG": "RGB", "JPEG": "RGB", "WEBP": "RGB", "GIF": "P", "BMP": "RGB", "TIFF": "RGB"}
SECRET = b"taken at home"


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "pictures", limit_bytes=10**9, keep_seconds=3600)


def halves(mode: str = "RGB", size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


async def accepted(pictures: Pictures, data: bytes, name: str = "picture.png") -> Image.Image:
    """What is kept of the data."""
    kept = await pictures.accept(data, name)
    with Image.open(pictures.path(kept.name)) as image:
        image.load()
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (kept.width, kept.height))
    return image


async def refusal(pictures: Pictures, data: bytes, name: str = "picture.png") -> EaselError:
    with pytest.raises(UserError) as refused:
        await pictures.accept(data, name)
    assert files(pictures) == []
    return refused.value


def files(pictures: Pictures) -> list[str]:
    return sorted(str(path.relative_to(pictures.path("x").parent)) for path in pictures.path("x").parent.rglob("*.*"))


def near(image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int], within: int = 12) -> bool:
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return all(abs(one - other) <= within for one, other in zip(found, colour, strict=True))


# What people send.


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_format_that_people_have(pictures: Pictures, kind: str) -> None:
    image = await accepted(pictures, encoded(halves(FORMATS[kind]), kind))
    assert near(image, (5, 5), (255, 0, 0))
    assert near(image, (60, 5), (0, 0, 255))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"),
        ("L", "JPEG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("F", "TIFF"), ("I", "TIFF"),
        ("YCbCr", "TIFF"), ("I;16", "TIFF"), ("RGBX", "TIFF"), ("PA", "TIFF"), ("LA", "TIFF"), ("1", "TIFF"),
    ],
)  # fmt: skip
async def test_every_mode_becomes_rgb_or_is_refused(pictures: Pictures, mode: str, kind: str) -> None:
    picture = Image.new(mode, (32, 32)) if mode in ("LAB", "I;16", "PA") else halves("L").convert(mode)
    try:
        await accepted(pictures, encoded(picture, kind))
    except UserError as error:
        refused = (mode, error.code)
    else:
        return
    assert refused in [(strange, Code.PICTURE_UNREADABLE) for strange in ("LAB", "PA", "F")]


async def test_sixteen_bits_keep_their_brightness(pictures: Pictures) -> None:
    grey = Image.frombytes("I;16", (32, 32), struct.pack("<1024H", *[32768] * 1024))
    for kind in ("PNG", "TIFF"):
        assert near(await accepted(pictures, encoded(grey, kind)), (5, 5), (127, 127, 127), within=1)


async def test_cmyk_keeps_its_colours(pictures: Pictures) -> None:
    image = await accepted(pictures, encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95))
    assert near(image, (5, 5), (255, 0, 0), within=25)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
async def test_what_is_transparent_becomes_white(pictures: Pictures, mode: str) -> None:
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (16, 0, 32, 32))
    data = encoded(clear.convert(mode) if mode != "P" else clear.quantize(4), "PNG")
    image = await accepted(pictures, data)
    assert near(image, (5, 5), (255, 255, 255))
    assert near(image, (25, 5), (0, 0, 0))


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 0)), ("L", 76), ("P", 0)])
async def test_a_transparent_colour(pictures: Pictures, mode: str, colour: Any) -> None:
    image = Image.new(mode, (32, 32), colour)
    if mode == "P":
        image.putpalette([255, 0, 0])
    assert near(await accepted(pictures, encoded(image, "PNG", transparency=colour)), (5, 5), (255, 255, 255))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
async def test_of_what_moves_the_first_frame_is_taken(pictures: Pictures, kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(await accepted(pictures, data), (5, 5), (255, 0, 0))


async def test_a_photo_of_two_pictures(pictures: Pictures) -> None:
    data = encoded(halves(), "MPO", save_all=True, append_images=[halves()])
    assert near(await accepted(pictures, data, "photo.jpg"), (5, 5), (255, 0, 0))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
async def test_turned_upright_and_without_a_word_of_where_it_was_taken(pictures: Pictures, kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    options: dict[str, Any] = {"exif": exif}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", SECRET.decode())
        options["pnginfo"] = text
    if kind == "JPEG":
        options |= {"comment": SECRET, "xmp": b"http://ns.adobe.com/xap/1.0/\x00" + SECRET}
    data = encoded(halves(), kind, icc_profile=SECRET, **options)
    assert SECRET in data
    image = await accepted(pictures, data)
    assert image.size == (32, 64)
    assert near(image, (5, 5), (255, 0, 0))
    assert near(image, (5, 60), (0, 0, 255))
    assert SECRET not in pictures.path(files(pictures)[0]).read_bytes()
    assert not image.getexif()
    assert not image.info


async def test_what_a_file_is_counts_and_not_what_it_is_called(pictures: Pictures) -> None:
    for name in ("picture.jpg", "picture.exe", "../../../etc/passwd", "", "\x00", "x" * 5000):
        await accepted(pictures, encoded(halves()), name)
    (kept,) = files(pictures)
    assert kept.startswith("input-")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"Dear bot, please paint a fox.",
        b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>",
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><svg>&e;</svg>",
        b"%PDF-1.4",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
        b"P6 64 64 255\n" + bytes(64 * 64 * 3),
    ],
)
async def test_what_is_no_picture(pictures: Pictures, data: bytes) -> None:
    error = await refusal(pictures, data, "x" * 500)
    assert error.code is Code.PICTURE_UNREADABLE
    assert error.parameters["filename"] == "x" * 100


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_file_that_is_cut_off(pictures: Pictures, kind: str) -> None:
    noise = Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3))
    data = encoded(noise, kind)
    error = await refusal(pictures, data[: len(data) // 2])
    assert error.code is Code.PICTURE_UNREADABLE


@pytest.mark.parametrize("kind", FORMATS)
async def test_files_that_are_damaged_are_refused_and_nothing_else(pictures: Pictures, kind: str) -> None:
    dice = random.Random(kind)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    whole = encoded(halves(FORMATS[kind]), kind, **options)
    told = set()
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 3, 10))):
            damaged[dice.randrange(min(len(damaged), dice.choice((64, 10**9))))] = dice.randrange(256)
        try:
            await pictures.accept(bytes(damaged), "damaged")
        except UserError as error:
            told.add(error.code)
    assert Code.PICTURE_UNREADABLE in told
    assert told <= {Code.PICTURE_UNREADABLE, Code.PICTURE_TOO_MANY_PIXELS}


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG whose header says what it likes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS, 2), (8000, 5001)])
async def test_the_pixels_are_counted_before_anything_is_unpacked(pictures: Pictures, size: tuple[int, int]) -> None:
    error = await refusal(pictures, png_of(*size, zlib.compress(bytes(10**7))))
    assert error.code is Code.PICTURE_TOO_MANY_PIXELS


async def test_a_bomb_in_a_text_chunk(pictures: Pictures) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 80_000_000, zip=True)
    assert (await refusal(pictures, encoded(halves(), pnginfo=text))).code is Code.PICTURE_UNREADABLE


async def test_too_many_bytes(pictures: Pictures) -> None:
    error = await refusal(pictures, encoded(halves()) + bytes(MAX_INPUT_BYTES))
    assert (error.code, error.parameters["limit"]) == (Code.PICTURE_TOO_LARGE, MAX_INPUT_BYTES)


async def test_too_small_to_edit(pictures: Pictures) -> None:
    assert (await refusal(pictures, encoded(halves(size=(64, 15))))).code is Code.PICTURE_UNREADABLE


async def test_the_same_picture_many_times_at_once_is_one_file(pictures: Pictures) -> None:
    data = encoded(halves())
    kept = await asyncio.gather(*(pictures.accept(data, str(number)) for number in range(20)))
    assert len(set(kept)) == 1
    assert files(pictures) == [kept[0].name]


# What backends make.


@pytest.mark.parametrize("wanted", PictureFormat)
@pytest.mark.parametrize("made", ["PNG", "JPEG", "WEBP"])
async def test_kept_in_the_wanted_format(pictures: Pictures, tmp_path: Path, made: str, wanted: PictureFormat) -> None:
    (tmp_path / "made").write_bytes(encoded(halves(), made, quality=95))
    kept = await pictures.keep("job", 2, tmp_path / "made", wanted)
    assert kept.name == f"job-2.{wanted.extension}"
    data = await pictures.read(kept.name)
    assert (kept.width, kept.height, kept.bytes) == (64, 32, len(data))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == wanted.value.upper()
        assert near(image.convert("RGB"), (5, 5), (255, 0, 0))


async def test_png_is_kept_pixel_for_pixel(pictures: Pictures, tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3))
    noise.save(tmp_path / "made.png")
    kept = await pictures.keep("job", 0, tmp_path / "made.png", PictureFormat.PNG)
    with Image.open(pictures.path(kept.name)) as image:
        assert ImageChops.difference(image, noise).getbbox() is None


@pytest.mark.parametrize("wanted", PictureFormat)
@pytest.mark.parametrize("made", ["PNG", "JPEG", "WEBP"])
async def test_nothing_but_pixels_is_kept(pictures: Pictures, tmp_path: Path, made: str, wanted: PictureFormat) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    more: dict[str, Any] = {"comment": SECRET} if made == "JPEG" else {}
    (tmp_path / "made").write_bytes(encoded(halves(), made, exif=exif, icc_profile=SECRET, **more))
    kept = await pictures.keep("job", 0, tmp_path / "made", wanted)
    data = await pictures.read(kept.name)
    assert SECRET not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (kept.width, kept.height) == (32, 64)
        assert not image.getexif()


async def test_what_a_backend_must_not_send(pictures: Pictures, tmp_path: Path) -> None:
    for data in (b"", b"no picture", encoded(halves("P"), "GIF"), png_of(50_000, 50_000, b""), encoded(halves())[:90]):
        (tmp_path / "made").write_bytes(data)
        with pytest.raises(NotAPictureError):
            await pictures.keep("job", 0, tmp_path / "made", PictureFormat.PNG)
    assert files(pictures) == []


# Files.


@pytest.mark.parametrize(("number", "error"), [(28, OperatorError), (122, OperatorError), (5, OSError)])
@pytest.mark.parametrize("step", ["fsync", "replace"])
async def test_no_name_without_a_whole_picture(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, error: type[Exception]
) -> None:
    def fails(*values: object) -> None:
        raise OSError(number, os.strerror(number))

    halves().save(tmp_path / "made.png")
    monkeypatch.setattr("jobs.pictures.os.fsync" if step == "fsync" else "pathlib.Path.replace", fails)
    with pytest.raises(error):
        await pictures.keep("job", 0, tmp_path / "made.png", PictureFormat.PNG)
    with pytest.raises(error):
        await pictures.accept(encoded(halves()), "x")
    assert files(pictures) == []


async def test_what_an_earlier_process_was_writing_is_removed(pictures: Pictures, tmp_path: Path) -> None:
    workspace = await pictures.workspace("job")
    (workspace / "half.png").write_bytes(b"half")
    kept = await pictures.accept(encoded(halves()), "x")
    Pictures(tmp_path / "pictures", limit_bytes=1, keep_seconds=1)
    assert not workspace.exists()
    assert files(pictures) == [kept.name]


async def test_workspaces_are_apart(pictures: Pictures) -> None:
    one, other = await pictures.workspace("job"), await pictures.workspace("job")
    assert one != other
    (one / "file").write_text("x")
    await pictures.remove_workspace(one)
    await pictures.remove_workspace(one)
    assert other.is_dir()
    assert not one.exists()


@pytest.mark.parametrize("name", ["../easel.db", "/etc/passwd", "a/b.png", ".hidden", "..", "partial/x.png", ""])
def test_names_never_leave_the_folder(pictures: Pictures, name: str) -> None:
    with pytest.raises(ValueError):
        pictures.path(name)


async def test_a_picture_that_is_gone(pictures: Pictures) -> None:
    for asked in (pictures.read("gone.png"), pictures.as_input("gone.png"), pictures.fit("gone.png", 10**6)):
        with pytest.raises(UserError) as gone:
            await asked
        assert gone.value.code is Code.PICTURE_GONE


async def test_a_picture_of_ours_as_the_input_of_an_edit(pictures: Pictures, tmp_path: Path) -> None:
    halves().save(tmp_path / "made.png")
    kept = await pictures.keep("job", 0, tmp_path / "made.png", PictureFormat.WEBP)
    taken = await pictures.as_input(kept.name)
    assert (taken.width, taken.height) == (64, 32)
    assert taken.name != kept.name


async def test_made_to_fit(pictures: Pictures, tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (256, 256), random.Random(1).randbytes(256 * 256 * 3))
    noise.save(tmp_path / "made.png")
    kept = await pictures.keep("job", 0, tmp_path / "made.png", PictureFormat.PNG)
    whole, name = await pictures.fit(kept.name, kept.bytes)
    assert (whole, name) == (await pictures.read(kept.name), "job-0.png")
    for limit in (kept.bytes - 1, 40_000, 5_000, 1_000):
        data, name = await pictures.fit(kept.name, limit)
        assert len(data) <= limit
        assert name == "job-0.jpg"
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
    with pytest.raises(UserError) as refused:
        await pictures.fit(kept.name, 10)
    assert refused.value.code is Code.PICTURE_TOO_LARGE


async def test_the_sweep_takes_what_is_old_and_then_the_oldest(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "pictures", limit_bytes=2500, keep_seconds=100)
    for name, age in (("new.png", 0), ("young.png", 50), ("middle.png", 90), ("old.png", 101)):
        pictures.path(name).write_bytes(bytes(1000))
        os.utime(pictures.path(name), (1000 - age, 1000 - age))
    workspace = await pictures.workspace("job")
    assert await pictures.sweep(lambda: 1000) == 2
    assert files(pictures) == ["new.png", "young.png"]
    assert workspace.exists()
    assert await pictures.sweep(lambda: 1000) == 0


async def test_the_sweep_keeps_favourites_longer_and_takes_them_last(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "pictures", limit_bytes=2500, keep_seconds=100)
    for name, age in (("new.png", 0), ("young.png", 50), ("loved.png", 1000), ("old.png", 101)):
        pictures.path(name).write_bytes(bytes(1000))
        os.utime(pictures.path(name), (1000 - age, 1000 - age))
    assert await pictures.sweep(lambda: 1000, frozenset({"loved.png", "gone.png"})) == 2
    assert files(pictures) == ["loved.png", "new.png"]
    assert await pictures.sweep(lambda: 1000) == 1


async def test_a_thumbnail_is_a_small_jpeg(pictures: Pictures) -> None:
    kept = await pictures.accept(encoded(Image.new("RGBA", (2000, 1000), (200, 30, 30, 255))), "x")
    small = Image.open(io.BytesIO(await pictures.thumbnail(kept.name)))
    assert (small.format, small.size) == ("JPEG", (512, 256))
    with pytest.raises(UserError) as gone:
        await pictures.thumbnail("gone.png")
    assert gone.value.code is Code.PICTURE_GONE


async def test_what_is_sent_again_starts_a_new_term(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "pictures", limit_bytes=10**9, keep_seconds=100)
    kept = await pictures.accept(encoded(halves()), "x")
    written = pictures.path(kept.name).stat().st_mtime
    os.utime(pictures.path(kept.name), (1, 1))
    await pictures.accept(encoded(halves()), "x")
    assert await pictures.sweep(lambda: written + 50) == 0


def test_a_full_disk_is_told_to_the_operator(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.check_space()
    monkeypatch.setattr("jobs.pictures.KEEP_FREE_BYTES", 10**18)
    with pytest.raises(OperatorError) as full:
        pictures.check_space()
    assert full.value.code is Code.DISK_FULL
