"""A finished picture's way from a provider to a file in the call's workspace.

The provider names a URL, or sends base64 or a data URI. All three are hostile until checked: only the
provider's own hosts are asked, over https, at public addresses, for so many bytes of a picture.
"""

import asyncio
import base64
import binascii
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from pydantic import SecretStr

from backends.addresses import PrivateAddress, PublicOnlyTransport, Resolve, is_loopback, resolve
from backends.answers import TRANSIENT, describe
from backends.clock import Clock
from backends.http import HostedApi, Timeouts, same_origin

MAX_PICTURE_BYTES = 64 * 2**20
MAX_REDIRECTS = 3
DECODED_AT_A_TIME = 2**16
"""Characters of base64; a multiple of four, so that each piece stands for itself."""
_DELAYS = (1.0, 2.0, 4.0)
"""Seconds before the second, third and last attempt: a CDN can be a moment behind."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class OutputUnusable(Exception):
    """The picture cannot be had. ``reason`` is short and names no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _TryAgain(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutputFetcher:
    """Fetches what one provider made.

    ``hosts`` are its hosts for pictures, ``*.`` in front stands for any subdomain. The origin of ``base_url`` is
    allowed too, and it alone may be plain http (where it is on loopback) or lie at a private address.
    ``own_plain_http``: it may be plain http anywhere, because the URLs are made by us and not by a provider.
    """

    def __init__(
        self,
        *,
        base_url: httpx.URL,
        hosts: Sequence[str],
        clock: Clock,
        timeouts: Timeouts,
        tls: ssl.SSLContext,
        resolve: Resolve = resolve,
        max_bytes: int = MAX_PICTURE_BYTES,
        own_plain_http: bool = False,
    ) -> None:
        self._own_plain_http = own_plain_http
        self._base_url = base_url
        self._hosts = tuple(host.lower() for host in hosts)
        self._clock = clock
        self._timeouts = timeouts
        self._max_bytes = max_bytes
        limits = httpx.Limits(max_keepalive_connections=0)
        # Compressed answers are not asked for: the cap counts what is read, and pictures do not shrink.
        headers = {"User-Agent": "easel", "Accept": "image/*", "Accept-Encoding": "identity"}
        self._own = httpx.AsyncClient(
            headers=headers, timeout=timeouts.httpx, limits=limits, trust_env=False, verify=tls
        )
        self._public = httpx.AsyncClient(
            headers=headers,
            timeout=timeouts.httpx,
            trust_env=False,
            transport=PublicOnlyTransport(
                httpx.AsyncHTTPTransport(verify=tls, limits=limits, trust_env=False), resolve
            ),
        )

    async def save(self, output: str, folder: Path, stem: str) -> Path:
        """Write the picture to ``folder/stem.<png|jpg|webp>`` and return that path. Raises OutputUnusable."""
        partial = folder / f"{stem}.part"
        try:
            if output[:8].lower().startswith(("http://", "https://")):
                await self._fetch(output, partial)
            else:
                content = await asyncio.to_thread(self._decode, output)
                await asyncio.to_thread(partial.write_bytes, content)
            extension = await asyncio.to_thread(_extension, partial)
            if extension is None:
                raise OutputUnusable("it is not a picture")
            return await asyncio.to_thread(partial.rename, folder / f"{stem}.{extension}")
        except OutputUnusable:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        await self._own.aclose()
        await self._public.aclose()

    def _decode(self, output: str) -> bytes:
        if output[:5].lower() == "data:":
            head, comma, output = output.partition(",")
            if not comma or not head.lower().endswith(";base64"):
                raise OutputUnusable("it is not a data URI in base64")
        if len(output) > self._max_bytes // 3 * 4 + 4:
            raise OutputUnusable("it is too large")
        try:
            return b"".join(_decoded(output))
        except (binascii.Error, ValueError):
            raise OutputUnusable("it is neither a URL nor base64") from None

    async def _fetch(self, url: str, path: Path) -> None:
        reason = ""
        for delay in (0.0, *_DELAYS):
            if delay:
                await self._clock.sleep(delay)
            try:
                async with asyncio.timeout(self._timeouts.total):
                    return await self._follow(url, path)
            except _TryAgain as error:
                reason = error.reason
            except PrivateAddress:
                raise OutputUnusable("its host leads to a private address") from None
            except (httpx.RequestError, OSError) as error:
                reason = describe(error)
        raise OutputUnusable(reason)

    async def _follow(self, text: str, path: Path) -> None:
        url = self._checked(text)
        for _hop in range(MAX_REDIRECTS + 1):
            client = self._own if same_origin(url, self._base_url) else self._public
            async with client.stream("GET", url) as response:
                if response.status_code not in _REDIRECTS:
                    await self._write(response, path)
                    return
                url = self._checked(response.headers.get("Location", ""), url)
        raise OutputUnusable("it is redirected too often")

    def _checked(self, text: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            url = httpx.URL(text) if base is None else base.join(text)
        except (httpx.InvalidURL, ValueError):
            raise OutputUnusable("its URL is malformed") from None
        if url.userinfo or not url.host:
            raise OutputUnusable("its URL is malformed")
        if same_origin(url, self._base_url):
            if url.scheme == "https" or self._own_plain_http or is_loopback(url.host):
                return url
            raise OutputUnusable("its URL is not https")
        if not self._allowed(url.host.lower()):
            raise OutputUnusable("its host is not one of the provider's")
        if url.scheme != "https":
            raise OutputUnusable("its URL is not https")
        if url.port not in (None, 443):
            raise OutputUnusable("its port is not one of the provider's")
        return url

    def _allowed(self, host: str) -> bool:
        return any(
            host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:])) for allowed in self._hosts
        )

    async def _write(self, response: httpx.Response, path: Path) -> None:
        status = response.status_code
        if status == 404 or status in TRANSIENT:
            raise _TryAgain(f"HTTP {status}")
        if status != 200:
            raise OutputUnusable(f"HTTP {status}")
        announced = response.headers.get("Content-Length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise OutputUnusable("it is too large")
        total = 0
        with await asyncio.to_thread(path.open, "wb") as file:
            async for chunk in response.aiter_raw(2**18):
                total += len(chunk)
                if total > self._max_bytes:
                    raise OutputUnusable("it is too large")
                await asyncio.to_thread(file.write, chunk)


def _decoded(text: str) -> Iterator[bytes]:
    # In pieces: while one is decoded no other thread can run, and the event loop is one of them.
    for start in range(0, len(text), DECODED_AT_A_TIME):
        piece = base64.b64decode(text[start : start + DECODED_AT_A_TIME], validate=True)
        if not piece or (len(piece) % 3 and start + DECODED_AT_A_TIME < len(text)):
            raise ValueError("padding in the middle")
        yield piece


def connections(
    *,
    name: str,
    base_url: str,
    key: SecretStr,
    key_setting: str,
    output_hosts: Sequence[str],
    clock: Clock,
    timeouts: Timeouts,
    resolve: Resolve,
) -> tuple[HostedApi, OutputFetcher]:
    """A vendor's API, and the way to what it makes; both with the same trusted certificates."""
    tls = httpx.create_ssl_context(trust_env=False)
    api = HostedApi(
        name=name, base_url=base_url, key=key, key_setting=key_setting, clock=clock, timeouts=timeouts, tls=tls
    )
    outputs = OutputFetcher(
        base_url=api.base_url, hosts=output_hosts, clock=clock, timeouts=timeouts, tls=tls, resolve=resolve
    )
    return api, outputs


def _extension(path: Path) -> str | None:
    """The kind of picture that a file begins like: the usual three, by their magic bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None
