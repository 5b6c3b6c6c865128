"""Pictures on disk: what people send is checked and cleaned, what backends make is checked and kept.

All Pillow work runs in threads, never on the event loop. Files get their names only when they are whole
(written beside, synced, renamed), so that a name in the database is a picture on disk.
"""

import asyncio
import errno
import hashlib
import io
import os
import shutil
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from domain.errors import Code, OperatorError, UserError
from domain.job import StoredPicture
from domain.request import InputPicture, PictureFormat
from jobs.colours import in_srgb, profile_of, to_srgb
from jobs.picture_threads import PictureThreads

MAX_INPUT_BYTES: Final = 25 * 1024 * 1024
"""The most that Discord lets a bot's request carry, and the largest input we read."""
MAX_PIXELS: Final = 40_000_000
"""Above every size that an offer makes (16.8 million pixels) and every phone's camera in use."""
MIN_SIDE: Final = 16
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What people may send. Animated files give their first frame."""
KEEP_FREE_BYTES: Final = 256 * 1024 * 1024
"""Space that is left on the disk for everything else."""
UNPACKED_AT_A_TIME: Final = 2
"""Pictures that are unpacked at the same time: each may take half a gigabyte for a moment."""
THUMBNAIL_SIDE: Final = 512
SHEET_GAP: Final = 8
"""Pixels between two pictures on a sheet."""
_FIT_QUALITIES: Final = (95, 90, 80, 65, 50)
_DAMAGE: Final = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    OverflowError,
    ArithmeticError,
    LookupError,
    AttributeError,
    TypeError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise for files that are damaged or made to harm."""


class NotAPictureError(Exception):
    """A backend's output is not a picture that we can read."""


class Pictures:
    """The pictures folder. Names are ours alone; nothing outside the folder is ever touched."""

    def __init__(self, folder: Path, limit_bytes: int, keep_seconds: float) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._keep_seconds = keep_seconds
        self._workspaces = folder / "partial"
        self._threads = PictureThreads(UNPACKED_AT_A_TIME)
        folder.mkdir(parents=True, exist_ok=True)
        # What an earlier process was writing when it ended.
        shutil.rmtree(self._workspaces, ignore_errors=True)
        self._workspaces.mkdir()

    def path(self, name: str) -> Path:
        """Where the picture of that name lies. Raises ValueError for what is no file name of ours."""
        if not name or name != Path(name).name or name.startswith("."):
            raise ValueError(f"not a picture's name: {name!r}")
        return self._folder / name

    def check_space(self) -> None:
        """Raise OperatorError (DISK_FULL) where the disk has no room for another picture."""
        if shutil.disk_usage(self._folder).free < KEEP_FREE_BYTES:
            raise OperatorError(Code.DISK_FULL)

    async def accept(self, data: bytes, filename: str) -> InputPicture:
        """Check a picture that a person sent, turn it upright, drop all metadata, and keep it as a PNG.

        Raises UserError: PICTURE_TOO_LARGE, PICTURE_TOO_MANY_PIXELS or PICTURE_UNREADABLE; OperatorError
        (DISK_FULL).
        """
        return await self._threads.run(self._accept, data, filename)

    async def keep(self, job_id: str, index: int, made: Path, wanted: PictureFormat) -> StoredPicture:
        """Check a backend's output, strip what it carries besides pixels, and keep it in the wanted format.

        Raises NotAPictureError, OperatorError (DISK_FULL).
        """
        return await self._threads.run(self._keep, job_id, index, made, wanted)

    async def read(self, name: str) -> bytes:
        """The file's bytes. Raises UserError (PICTURE_GONE) where it has been removed."""
        try:
            return await asyncio.to_thread(self.path(name).read_bytes)
        except FileNotFoundError as error:
            raise UserError(Code.PICTURE_GONE) from error

    async def remove(self, name: str) -> None:
        """Remove the file; one that is gone already is fine."""
        await asyncio.to_thread(self.path(name).unlink, missing_ok=True)

    async def as_input(self, name: str) -> InputPicture:
        """A picture that we made, as the input of an edit. Raises UserError (PICTURE_GONE)."""
        return await self.accept(await self.read(name), name)

    async def fit(self, name: str, limit_bytes: int) -> tuple[bytes, str]:
        """The file and a file name for it, re-encoded and at last made smaller where it is above the limit.

        Raises UserError: PICTURE_GONE, PICTURE_TOO_LARGE where not even one pixel would fit.
        """
        data = await self.read(name)
        if len(data) <= limit_bytes:
            return data, name
        return await self._threads.run(_shrink, data, name, limit_bytes)

    async def workspace(self, job_id: str) -> Path:
        """A new folder for the files of one call."""
        return await asyncio.to_thread(self._make_workspace, job_id)

    async def remove_workspace(self, workspace: Path) -> None:
        """Remove a call's folder and what is left in it."""
        await asyncio.to_thread(shutil.rmtree, workspace, True)

    async def thumbnail(self, name: str) -> bytes:
        """A small JPEG of the picture. Raises UserError (PICTURE_GONE)."""
        data = await self.read(name)
        return await self._threads.run(_thumbnail, data)

    async def sheet(self, names: Sequence[str]) -> bytes:
        """Several pictures small and side by side, as one JPEG. Raises UserError (PICTURE_GONE)."""
        contents = [await self.read(name) for name in names]
        return await self._threads.run(_sheet, contents)

    async def sweep(self, now: Callable[[], float] = time.time, kept: frozenset[str] = frozenset()) -> int:
        """Remove what is too old, then the oldest until the rest fits; returns how many files went.

        What is ``kept`` is never too old, and goes last where there is no room.
        """
        return await asyncio.to_thread(self._sweep, now(), kept)

    def _accept(self, data: bytes, filename: str) -> InputPicture:
        if len(data) > MAX_INPUT_BYTES:
            raise UserError(Code.PICTURE_TOO_LARGE, size=len(data), limit=MAX_INPUT_BYTES)
        try:
            with _damage_told():
                image = _upright(_open(io.BytesIO(data), FORMATS))
        except _TooManyPixelsError as error:
            raise UserError(
                Code.PICTURE_TOO_MANY_PIXELS, width=error.width, height=error.height, limit=MAX_PIXELS
            ) from error
        except NotAPictureError as error:
            raise UserError(Code.PICTURE_UNREADABLE, filename=filename[:100]) from error
        if min(image.size) < MIN_SIDE:
            raise UserError(Code.PICTURE_UNREADABLE, filename=filename[:100])
        encoded = _encode(image, PictureFormat.PNG)
        name = f"input-{hashlib.sha256(encoded).hexdigest()[:32]}.png"
        # Written again where it is there already: it starts a new term, and the sweep cannot take it in between.
        self._write(name, encoded)
        return InputPicture(name=name, width=image.width, height=image.height)

    def _keep(self, job_id: str, index: int, made: Path, wanted: PictureFormat) -> StoredPicture:
        with made.open("rb") as file, _damage_told():
            image = _open(file, ("PNG", "JPEG", "WEBP"))
            # A second JPEG compression with the same tables changes next to nothing.
            keeps_tables = (
                image.format == "JPEG"
                and image.mode == "RGB"
                and wanted is PictureFormat.JPEG
                and image.getexif().get(ExifTags.Base.Orientation, 1) == 1
                and to_srgb(profile_of(image), image.mode) is None
            )
            if not keeps_tables:
                image = _upright(image)
            encoded = _encode(image, wanted, keeps_tables=keeps_tables)
        name = f"{job_id}-{index}.{wanted.extension}"
        self._write(name, encoded)
        return StoredPicture(name, image.width, image.height, len(encoded))

    def _write(self, name: str, data: bytes) -> None:
        # A name of its own: the same picture may be on its way twice.
        partial = self._workspaces / f"{os.urandom(8).hex()}-{name}"
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path(name))
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OperatorError(Code.DISK_FULL) from error
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _make_workspace(self, job_id: str) -> Path:
        folder = self._workspaces / f"{job_id}-{os.urandom(4).hex()}"
        folder.mkdir()
        return folder

    def _sweep(self, now: float, kept: frozenset[str]) -> int:
        files = []
        for entry in os.scandir(self._folder):
            if entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                files.append((entry.name in kept, status.st_mtime, status.st_size, Path(entry.path)))
        files.sort(reverse=True)
        total, removed = 0, 0
        for is_kept, modified, size, path in files:
            total += size
            if (now - modified > self._keep_seconds and not is_kept) or total > self._limit_bytes:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


class _TooManyPixelsError(NotAPictureError):
    def __init__(self, width: int, height: int) -> None:
        super().__init__(f"{width}x{height} pixels are too many")
        self.width = width
        self.height = height


def _open(file: IO[bytes], formats: tuple[str, ...]) -> Image.Image:
    # The header is read first: nothing is unpacked before the pixels are counted.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=formats)
            if image.width * image.height > MAX_PIXELS:
                raise _TooManyPixelsError(image.width, image.height)
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _TooManyPixelsError(0, 0) from error
    return image


@contextmanager
def _damage_told() -> Iterator[None]:
    # Around all that Pillow does with a stranger's bytes: EXIF is read, and modes are converted, after loading.
    try:
        yield
    except _DAMAGE as error:
        raise NotAPictureError(str(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    """The pixels as a viewer shows them, as RGB in sRGB; transparency is laid on white."""
    profile = profile_of(image)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        seen = upright.convert("RGBA")
        colours = in_srgb(seen.convert("L" if upright.mode in ("L", "LA") else "RGB"), profile)
        opaque = Image.new("RGB", upright.size, "white")
        opaque.paste(colours, mask=seen.getchannel("A"))
        return opaque
    if upright.mode.startswith("I;16") or upright.mode == "I":
        return in_srgb(upright.convert("I").point([value / 257 for value in range(65536)], "L"), profile)
    return in_srgb(upright if upright.mode in ("L", "CMYK") else upright.convert("RGB"), profile)


def _encode(image: Image.Image, wanted: PictureFormat, *, quality: int = 95, keeps_tables: bool = False) -> bytes:
    buffer = io.BytesIO()
    # A fresh copy carries no EXIF, no text chunks, no colour profile: pixels alone, in sRGB.
    if keeps_tables:
        image.info = {}
        image.save(buffer, "JPEG", quality="keep", exif=b"", comment=b"", icc_profile=None)
        return buffer.getvalue()
    clean = Image.new(image.mode, image.size)
    clean.paste(image)
    match wanted:
        case PictureFormat.PNG:
            clean.save(buffer, "PNG", compress_level=6)
        case PictureFormat.JPEG:
            clean.save(buffer, "JPEG", quality=quality, subsampling=0)
        case PictureFormat.WEBP:
            clean.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _thumbnail(data: bytes) -> bytes:
    image = _open(io.BytesIO(data), ("PNG", "JPEG", "WEBP"))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return _encode(image.convert("RGB"), PictureFormat.JPEG, quality=85)


def _sheet(contents: Sequence[bytes]) -> bytes:
    thumbnails = [_open(io.BytesIO(_thumbnail(data)), ("JPEG",)) for data in contents]
    widths = [one.width for one in thumbnails]
    gaps = SHEET_GAP * (len(thumbnails) - 1)
    sheet = Image.new("RGB", (sum(widths) + gaps, max(one.height for one in thumbnails)), "white")
    for place, one in enumerate(thumbnails):
        sheet.paste(one, (sum(widths[:place]) + SHEET_GAP * place, 0))
    return _encode(sheet, PictureFormat.JPEG, quality=85)


def _shrink(data: bytes, name: str, limit_bytes: int) -> tuple[bytes, str]:
    image = _upright(_open(io.BytesIO(data), ("PNG", "JPEG", "WEBP")))
    stem = Path(name).stem
    while True:
        for quality in _FIT_QUALITIES:
            encoded = _encode(image, PictureFormat.JPEG, quality=quality)
            if len(encoded) <= limit_bytes:
                return encoded, f"{stem}.jpg"
        if image.size == (1, 1):
            raise UserError(Code.PICTURE_TOO_LARGE, size=len(encoded), limit=limit_bytes)
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))
