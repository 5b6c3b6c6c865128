"""The CDN: attachments by their unguessable path, avatars drawn from a name and a colour."""

from __future__ import annotations

import io
from functools import lru_cache
from urllib.parse import unquote

from aiohttp import web
from PIL import Image, ImageDraw, ImageFont

from sandbox.world import World

PREFIX = "/cdn"
AVATAR_PIXELS = 128

_SHOWN_INLINE = {"image/png", "image/jpeg", "image/webp", "image/gif"}


class Cdn:
    """Serves what :meth:`sandbox.world.World.keep_attachment` keeps."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX + "/attachments/{path:.*}", self._attachment),
            web.get(PREFIX + "/avatars/{user_id}/{file}", self._avatar),
            web.get(PREFIX + "/embed/avatars/{file}", self._default_avatar),
        ]

    async def _attachment(self, request: web.Request) -> web.StreamResponse:
        found = self._world.attachments.get("attachments/" + unquote(request.match_info["path"]))
        if found is None:
            raise web.HTTPNotFound(text="This content is no longer available.")
        headers = {"Content-Type": found.content_type, "X-Content-Type-Options": "nosniff"}
        if found.content_type not in _SHOWN_INLINE:
            # Uploaded text must never run as a page of the sandbox's own origin.
            headers |= {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox"}
        return web.Response(body=found.data, headers=headers)

    async def _avatar(self, request: web.Request) -> web.StreamResponse:
        user_id = request.match_info["user_id"]
        user = self._world.users.get(int(user_id)) if user_id.isdecimal() else None
        if user is None:
            raise web.HTTPNotFound
        return web.Response(body=draw_avatar(user.name[:1].upper(), user.accent), content_type="image/png")

    async def _default_avatar(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=draw_avatar("?", "#5865f2"), content_type="image/png")


@lru_cache(maxsize=256)
def draw_avatar(letter: str, accent: str) -> bytes:
    """A square PNG of one colour with a white letter in its middle."""
    image = Image.new("RGB", (AVATAR_PIXELS, AVATAR_PIXELS), accent)
    font = ImageFont.load_default(size=AVATAR_PIXELS // 2)
    middle = AVATAR_PIXELS / 2
    ImageDraw.Draw(image).text((middle, middle), letter, fill="white", font=font, anchor="mm")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
