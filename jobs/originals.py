"""Pictures as they were made, to be downloaded: with what they were made with written into the file as text.

The text has the shape that Stable Diffusion web UI gave it and that most tools for such pictures read, and stands
where it stands there: in PNG the text chunk ``parameters``, in JPEG and WebP the EXIF user comment
(https://github.com/AUTOMATIC1111/stable-diffusion-webui, ``modules/images.py``). Pixels are not touched: the text is
put between what is in the file already. Files of ours carry no other metadata, an input's least of all.
"""

import asyncio
import struct
import zlib
from typing import Final

from PIL import ExifTags, Image

from config.catalogue import Catalogue, Offer
from config.parameters import IntegerParameter, NumberParameter, Option
from domain.job import Job, Task
from domain.request import PictureFormat
from jobs.pictures import Pictures

_PNG_START: Final = 8 + 25
"""Signature and IHDR, which comes first: https://www.w3.org/TR/png-3/#11IHDR"""
_MAX_SEGMENT: Final = 65_533
"""Bytes of a JPEG segment after its length."""
_HAS_EXIF: Final = 0x08
"""https://developers.google.com/speed/webp/docs/riff_container#extended_file_format"""


class Originals:
    """Hands out pictures as they were made. ``embeds``: with their parameters as text."""

    def __init__(self, pictures: Pictures, catalogue: Catalogue, *, embeds: bool) -> None:
        self._pictures = pictures
        self._catalogue = catalogue
        self._embeds = embeds

    async def of(self, job: Job, task: Task) -> tuple[bytes, str]:
        """The picture's file and a name for it. Raises UserError (PICTURE_GONE)."""
        assert task.picture is not None
        data = await self._pictures.read(task.picture.name)
        if self._embeds:
            text = parameters_text(job, task, self._catalogue)
            data = await asyncio.to_thread(with_text, data, text, job.request.format)
        return data, task.picture.name


def parameters_text(job: Job, task: Task, catalogue: Catalogue) -> str:
    """What the picture was made with: the prompt, then what to leave out, then ``Name: value`` by name."""
    request = job.request
    model = next((model.name for model in catalogue if model.key == request.model), request.model)
    offer = catalogue.offer(job.offer) if job.offer is not None else None
    variations = request.variations_of(task.index)
    values = {
        "Steps": _used(Option.STEPS, request.steps, offer),
        "Sampler": request.scheduler,
        "CFG scale": _used(Option.GUIDANCE, request.guidance, offer),
        "Seed": task.seed,
        "Variation seed": ", ".join(str(variation.seed) for variation in variations) or None,
        "Variation seed strength": ", ".join(f"{variation.strength:g}" for variation in variations) or None,
        "Size": f"{task.picture.width}x{task.picture.height}" if task.picture is not None else None,
        "Model": model,
        "Loras": ", ".join(map(str, request.loras)) or None,
        "Speed": request.speed,
        "Backend": (job.offer or "").partition(":")[0] or None,
        "Job": job.id,
        "Version": "Easel",
    }
    lines = [request.prompt]
    if request.negative_prompt is not None:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {_quoted(str(value))}" for name, value in values.items() if value is not None))
    return "\n".join(lines)


def with_text(data: bytes, text: str, kind: PictureFormat) -> bytes:
    """The file with the text in it. ``data`` is a file of ours: whole, and without metadata."""
    match kind:
        case PictureFormat.PNG:
            content = b"parameters\0\0\0\0\0" + text.encode()
            return data[:_PNG_START] + _chunk(b"iTXt", content) + data[_PNG_START:]
        case PictureFormat.JPEG:
            segment = _exif(text)
            if len(segment) > _MAX_SEGMENT:
                return data
            return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
        case PictureFormat.WEBP:
            return _webp(data, _exif(text).removeprefix(b"Exif\0\0"))


def _used(option: Option, given: float | None, offer: Offer | None) -> float | None:
    """What was given, else what the offer takes for it where that is known."""
    parameter = offer.parameters.get(option) if offer is not None else None
    if given is None and isinstance(parameter, IntegerParameter | NumberParameter):
        return parameter.default
    return given


def _quoted(value: str) -> str:
    return f'"{value}"' if "," in value else value


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _exif(text: str) -> bytes:
    exif = Image.Exif()
    # The comment begins with the name of its encoding: Exif 2.3, 4.6.5.
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()


def _webp(data: bytes, exif: bytes) -> bytes:
    chunks = data[12:]
    if chunks[:4] == b"VP8X":
        chunks = chunks[:8] + bytes([chunks[8] | _HAS_EXIF]) + chunks[9:]
    else:
        width, height = _webp_size(chunks)
        head = bytes([_HAS_EXIF, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = b"VP8X" + struct.pack("<I", len(head)) + head + chunks
    chunks += b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _webp_size(chunks: bytes) -> tuple[int, int]:
    """Width and height of a simple lossy file: RFC 6386, 9.1, which is what we write."""
    width, height = struct.unpack("<HH", chunks[14:18])
    return width & 0x3FFF, height & 0x3FFF
