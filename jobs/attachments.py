"""Fetching what people attach: from Discord's own hosts alone, counted while it comes in."""

import asyncio
from collections.abc import Iterable
from typing import Final

import httpx

from domain.errors import Code, UserError
from jobs.pictures import MAX_INPUT_BYTES

DISCORD_HOSTS: Final = ("cdn.discordapp.com", "media.discordapp.net")
TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)
TOTAL_SECONDS: Final = 60.0
"""A server that sends a byte now and then is not waited for."""


class Attachments:
    """Streams attachments into memory, at most ``MAX_INPUT_BYTES`` of each.

    ``base_urls`` are Discord's API and CDN as configured: their host and port are trusted as Discord's are, and
    with plain http only where they say so themselves.
    """

    def __init__(self, client: httpx.AsyncClient, base_urls: Iterable[str]) -> None:
        self._client = client
        self._origins = {_origin(url) for url in base_urls}
        self._origins |= {("https", host, 443) for host in DISCORD_HOSTS}

    def accepts(self, url: str) -> bool:
        """Whether the address is one of Discord's own, where alone anything is fetched."""
        return _origin(url) in self._origins

    async def fetch(self, url: str, declared_size: int) -> bytes:
        """The attachment's bytes.

        Raises UserError: PICTURE_TOO_LARGE before or while it comes in, PICTURE_GONE where it is not to be had.
        """
        if declared_size > MAX_INPUT_BYTES:
            raise UserError(Code.PICTURE_TOO_LARGE, size=declared_size, limit=MAX_INPUT_BYTES)
        if not self.accepts(url):
            raise UserError(Code.PICTURE_GONE)
        data = bytearray()
        try:
            async with (
                asyncio.timeout(TOTAL_SECONDS),
                self._client.stream(
                    "GET",
                    url,
                    # Nothing is unpacked here: what is packed all the same is no picture.
                    headers={"Accept-Encoding": "identity"},
                    follow_redirects=False,
                    timeout=TIMEOUT,
                ) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise UserError(Code.PICTURE_GONE)
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > MAX_INPUT_BYTES:
                        raise UserError(Code.PICTURE_TOO_LARGE, size=len(data), limit=MAX_INPUT_BYTES)
        except (httpx.HTTPError, TimeoutError) as error:
            raise UserError(Code.PICTURE_GONE) from error
        return bytes(data)


def _origin(url: str) -> tuple[str, str, int]:
    # Read as the client will read it, so that both see the same host.
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return "", "", 0
    if parts.userinfo:
        return "", "", 0
    return parts.scheme, parts.host, parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
