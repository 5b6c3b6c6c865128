"""Fetching what people attach: from Discord's own hosts alone, counted while it comes in."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import httpx

from domain.errors import Code, UserError
from jobs.pictures import MAX_INPUT_BYTES

DISCORD_HOSTS: Final = ("cdn.discordapp.com", "media.discordapp.net")
TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)


class Attachments:
    """Streams attachments into memory, at most ``MAX_INPUT_BYTES`` of each.

    ``base_urls`` are Discord's API and CDN as configured: their host and port are trusted as Discord's are, and
    with plain http only where they say so themselves.
    """

    def __init__(self, client: httpx.AsyncClient, base_urls: Iterable[str]) -> None:
        self._client = client
        self._origins = {_origin(url) for url in base_urls}
        self._origins |= {("https", host, 443) for host in DISCORD_HOSTS}

    async def fetch(self, url: str, declared_size: int) -> bytes:
        """The attachment's bytes.

        Raises UserError: PICTURE_TOO_LARGE before or while it comes in, PICTURE_GONE where it is not to be had.
        """
        if declared_size > MAX_INPUT_BYTES:
            raise UserError(Code.PICTURE_TOO_LARGE, size=declared_size, limit=MAX_INPUT_BYTES)
        if _origin(url) not in self._origins:
            raise UserError(Code.PICTURE_GONE)
        data = bytearray()
        try:
            async with self._client.stream("GET", url, follow_redirects=False, timeout=TIMEOUT) as response:
                if response.status_code != httpx.codes.OK:
                    raise UserError(Code.PICTURE_GONE)
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_INPUT_BYTES:
                        raise UserError(Code.PICTURE_TOO_LARGE, size=len(data), limit=MAX_INPUT_BYTES)
        except httpx.HTTPError as error:
            raise UserError(Code.PICTURE_GONE) from error
        return bytes(data)


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", 0
    if parts.username is not None or parts.password is not None:
        return "", "", 0
    return parts.scheme, parts.hostname or "", port or {"https": 443, "http": 80}.get(parts.scheme, 0)
