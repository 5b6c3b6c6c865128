"""Attachments: from Discord's own hosts alone, over a real socket, counted while they come in."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from domain.errors import Code, UserError
from jobs.attachments import Attachments
from jobs.pictures import MAX_INPUT_BYTES

PNG = b"\x89PNG and so on"


class Cdn:
    """Discord's CDN, as badly as it may behave."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent = 0
        self.cut = asyncio.Event()
        self.server = TestServer(self._app())

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{kind}/{name:.*}", self.answer)
        return app

    def url(self, kind: str) -> str:
        return str(self.server.make_url(f"/{kind}/picture.png"))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        match request.match_info["kind"]:
            case "good":
                return web.Response(body=PNG)
            case "redirect":
                raise web.HTTPFound("/good/picture.png")
            case "missing":
                raise web.HTTPNotFound
            case "broken":
                raise web.HTTPInternalServerError
            case "packed":
                return web.Response(body=gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"})
            case "exact":
                return web.Response(body=bytes(MAX_INPUT_BYTES))
            case "endless":
                response = web.StreamResponse()
                await response.prepare(request)
                try:
                    while True:
                        await response.write(bytes(2**20))
                        self.sent += 2**20
                finally:
                    self.cut.set()
            case "slow":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"x")
                await self.cut.wait()
                return response
            case _:
                response = web.StreamResponse()
                response.content_length = 1000
                await response.prepare(request)
                await response.write(b"half")
                assert request.transport is not None
                request.transport.abort()
                return response


@pytest.fixture
async def cdn() -> AsyncIterator[Cdn]:
    cdn = Cdn()
    await cdn.server.start_server()
    try:
        yield cdn
    finally:
        cdn.cut.set()
        await cdn.server.close()


@pytest.fixture
async def attachments(cdn: Cdn) -> AsyncIterator[Attachments]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield Attachments(client, [str(cdn.server.make_url("/api/v10"))])


async def refusal(attachments: Attachments, url: str, size: int = 10) -> Code:
    with pytest.raises(UserError) as refused:
        await attachments.fetch(url, size)
    return refused.value.code


async def test_what_was_attached(attachments: Attachments, cdn: Cdn) -> None:
    assert await attachments.fetch(cdn.url("good"), len(PNG)) == PNG


async def test_the_largest_that_is_taken(attachments: Attachments, cdn: Cdn) -> None:
    assert len(await attachments.fetch(cdn.url("exact"), MAX_INPUT_BYTES)) == MAX_INPUT_BYTES


async def test_what_says_that_it_is_too_large_is_not_asked_for(attachments: Attachments, cdn: Cdn) -> None:
    assert await refusal(attachments, cdn.url("good"), MAX_INPUT_BYTES + 1) is Code.PICTURE_TOO_LARGE
    assert cdn.asked == []


async def test_what_lies_about_its_size_is_cut_off(attachments: Attachments, cdn: Cdn) -> None:
    assert await refusal(attachments, cdn.url("endless")) is Code.PICTURE_TOO_LARGE
    await cdn.cut.wait()
    assert cdn.sent < 2 * MAX_INPUT_BYTES


@pytest.mark.parametrize("kind", ["redirect", "missing", "broken", "half"])
async def test_what_is_not_to_be_had(attachments: Attachments, cdn: Cdn, kind: str) -> None:
    assert await refusal(attachments, cdn.url(kind)) is Code.PICTURE_GONE
    assert len(cdn.asked) == 1


async def test_nothing_is_unpacked(attachments: Attachments, cdn: Cdn) -> None:
    data = await attachments.fetch(cdn.url("packed"), 10)
    assert len(data) < 10**5


async def test_a_server_that_sends_a_byte_and_then_nothing(
    attachments: Attachments, cdn: Cdn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.attachments.TOTAL_SECONDS", 0.05)
    assert await refusal(attachments, cdn.url("slow")) is Code.PICTURE_GONE


async def test_a_server_that_is_not_there(attachments: Attachments, cdn: Cdn) -> None:
    url = cdn.url("good")
    await cdn.server.close()
    assert await refusal(attachments, url) is Code.PICTURE_GONE


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x.png",
        "http://localhost:{port}/good/x.png",
        "https://127.0.0.1:{port}/good/x.png",
        "http://user@127.0.0.1:{port}/good/x.png",
        "http://user:word@127.0.0.1:{port}/good/x.png",
        "http://cdn.discordapp.com/x.png",
        "https://cdn.discordapp.com:8443/x.png",
        "https://cdn.discordapp.com.evil.example/x.png",
        "https://evil.example/cdn.discordapp.com/x.png",
        "https://cdn.discordapp.com@evil.example/x.png",
        "https://cdn.discordapp.com\\@evil.example/x.png",
        "https://evil.example#@cdn.discordapp.com/x.png",
        "https://[::1]/x.png",
        "https://169.254.169.254/latest/meta-data",
        "https://cdn.discordapp.com\n.evil.example/x.png",
        "https://cdn.discordapp\x00.com/x.png",
        "https://:443/x.png",
        "https://[cdn.discordapp.com/x.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//cdn.discordapp.com/x.png",
        "",
    ],
)
async def test_no_other_host(attachments: Attachments, cdn: Cdn, url: str) -> None:
    assert await refusal(attachments, url.replace("{port}", str(cdn.server.port))) is Code.PICTURE_GONE
    assert cdn.asked == []


@pytest.mark.parametrize("host", ["cdn.discordapp.com", "media.discordapp.net", "CDN.discordapp.com"])
async def test_discords_own_hosts(host: str) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(200, stream=httpx.ByteStream(PNG))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        data = await Attachments(client, []).fetch(f"https://{host}/attachments/1/2/x.png?ex=1", 10)
    assert (data, asked) == (PNG, [host.lower()])
