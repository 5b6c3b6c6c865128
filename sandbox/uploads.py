"""Files on their way in: request bodies with files, and attachments made of them."""

from __future__ import annotations

import io
import json
import mimetypes
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web
from PIL import Image, UnidentifiedImageError

from sandbox import errors
from sandbox.errors import FormErrors
from sandbox.model import Attachment, Channel, File, Json
from sandbox.world import World

MOST_FILES = 10
MOST_REQUEST_BYTES = 100 * 1024 * 1024

_PICTURES = {"image/png", "image/jpeg", "image/webp", "image/gif"}


@dataclass
class Body:
    """A request's JSON and the files beside it, by the number in ``files[N]``."""

    json: Any = None
    files: dict[int, File] = field(default_factory=dict)


async def read_body(request: web.Request) -> Body:
    """Read JSON, or multipart with ``payload_json`` and ``files[N]``.

    Raises:
        ApiError: no JSON (50109), or more bytes than any guild allows (40005).
    """
    if not request.can_read_body:
        return Body()
    if (request.content_length or 0) > MOST_REQUEST_BYTES:
        raise errors.too_large()
    if request.content_type == "multipart/form-data":
        return await _read_multipart(request)
    raw = await request.read()
    if not raw:
        return Body()
    return Body(_parse(raw))


async def _read_multipart(request: web.Request) -> Body:
    body = Body()
    total = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise errors.invalid_json()
        data = bytes(await part.read(decode=False))
        total += len(data)
        if total > MOST_REQUEST_BYTES:
            raise errors.too_large()
        name = part.name or ""
        if name == "payload_json":
            body.json = _parse(data)
        elif match := re.fullmatch(r"files\[(\d+)\]", name):
            body.files[int(match[1])] = File(part.filename or "unknown", data, part.headers.get("Content-Type"))
        else:
            raise errors.form_error(name or "_form", "BASE_TYPE_CHOICES", "Unknown form field.")
    return body


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise errors.invalid_json() from None


def clean_filename(name: str) -> str:
    """A filename as Discord keeps it: letters, digits, dots, dashes and underscores."""
    cleaned = re.sub(r"[^\w.\-]", "", name.replace(" ", "_"), flags=re.UNICODE).lstrip(".")
    return cleaned or "unknown"


def make_attachment(
    world: World, channel_id: int, file: File, *, ephemeral: bool = False, filename: str | None = None
) -> Attachment:
    """Put a file on the CDN. Content type and picture size come from the bytes, not from the sender's word."""
    name = clean_filename(filename or file.filename)
    content_type, width, height = inspect(name, file.data)
    attachment = Attachment(
        world.ids.next(), name, content_type, file.data, "", width, height, file.description, ephemeral
    )
    world.keep_attachment(attachment, channel_id)
    return attachment


def inspect(filename: str, data: bytes) -> tuple[str, int | None, int | None]:
    """Content type, width and height in pixels (None for what is no picture)."""
    guessed = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    try:
        with Image.open(io.BytesIO(data)) as image:
            mime = Image.MIME.get(image.format or "", "")
            if mime in _PICTURES:
                return mime, image.width, image.height
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, ValueError, SyntaxError):
        pass
    return guessed, None, None


def new_attachments(
    world: World, channel: Channel, body: Json, files: dict[int, File], *, ephemeral: bool
) -> list[Attachment]:
    """The attachments that the uploaded files become, described by the body's ``attachments`` entries.

    Raises:
        ApiError: a file over the guild's limit (40005), or entries that name no file (50035).
    """
    limit = world.filesize_limit(channel)
    if any(len(file.data) > limit for file in files.values()):
        raise errors.too_large()
    named = {str(entry.get("id")): entry for entry in body.get("attachments") or []}
    made = []
    for number, file in sorted(files.items()):
        entry = named.get(str(number), {})
        described = File(file.filename, file.data, file.content_type, entry.get("description"))
        made.append(make_attachment(world, channel.id, described, ephemeral=ephemeral, filename=entry.get("filename")))
    return made


def kept_attachments(body: Json, files: dict[int, File], existing: list[Attachment]) -> list[Attachment]:
    """Which attachments of a message an edit keeps: those it lists, or all if it lists none at all."""
    listed = body.get("attachments")
    if listed is None:
        return list(existing) if "attachments" not in body else []
    ids = {str(entry.get("id")) for entry in listed}
    return [attachment for attachment in existing if str(attachment.id) in ids]


def check_attachments(body: Json, files: dict[int, File], existing: list[Attachment], wrong: FormErrors) -> None:
    """Note attachment entries that are too many, too long or belong to no file."""
    entries = body.get("attachments")
    kept = kept_attachments(body, files, existing) if entries is None or isinstance(entries, list) else []
    if len(kept) + len(files) > MOST_FILES:
        wrong.add("attachments", "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_FILES} or fewer in length.")
    if entries is None:
        return
    wrong.count("attachments", entries, most=MOST_FILES)
    if not isinstance(entries, list):
        return
    known = {str(number) for number in files} | {str(attachment.id) for attachment in existing}
    for index, entry in enumerate(entries):
        path = f"attachments.{index}"
        if str(entry.get("id")) not in known:
            wrong.add(f"{path}.id", "ATTACHMENT_NOT_FOUND", "Attachment data for the uploaded file not found.")
        if entry.get("filename") is not None:
            wrong.length(f"{path}.filename", entry["filename"], most=1024, least=1)
        if entry.get("description") is not None:
            wrong.length(f"{path}.description", entry["description"], most=1024)
