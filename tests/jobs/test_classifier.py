"""The classifier over a real socket: what it says counts, and what it can't say is never taken for a yes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr

from domain.errors import Code, OperatorError
from domain.request import ImageRequest, Kind
from domain.safety import Blocked
from jobs.classifier import MAX_BYTES, Classifier
from jobs.moderation import ModeratorError, Verdict
from tests.building import open_house


class Server:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = {"results": [{"flagged": False, "categories": {}}]}
        self.status = 200
        self.hangs = False
        self.over = asyncio.Event()
        self.asked: list[tuple[Any, str | None]] = []

    async def moderate(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json(), request.headers.get("Authorization")))
        if self.hangs:
            await self.over.wait()
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@asynccontextmanager
async def classifier(server: Server) -> AsyncIterator[Classifier]:
    app = web.Application()
    app.router.add_post("/v1/moderations", server.moderate)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    # However busy the machine, an answer is waited for; that none comes is known at once.
    seconds = 0.1 if server.hangs else 60
    async with httpx.AsyncClient(trust_env=False) as client:
        yield Classifier(client, f"http://127.0.0.1:{port}/v1/", SecretStr("key"), "some-model", seconds)
    server.over.set()
    await runner.cleanup()


def wish(negative: str | None = None) -> ImageRequest:
    return ImageRequest(kind=Kind.IMAGINE, model="hosted", prompt="a boat", negative_prompt=negative)


def result(*categories: str, flagged: bool = True) -> dict[str, Any]:
    return {"flagged": flagged, "categories": dict.fromkeys(categories, True) | {"hate": False} | {"new": None}}


async def test_what_is_asked() -> None:
    server = Server()
    server.answer = {"results": [result(flagged=False), result(flagged=False)]}
    async with classifier(server) as asked:
        assert await asked.review(wish("a fox"), Blocked()) == Verdict()
    assert server.asked == [({"input": ["a boat", "a fox"], "model": "some-model"}, "Bearer key")]


@pytest.mark.parametrize(
    ("results", "code", "adult"),
    [
        ([result("sexual")], None, True),
        ([result("violence")], None, False),
        ([result("violence", "sexual")], None, True),
        ([result("sexual", "sexual/minors")], Code.PROMPT_BLOCKED, False),
        ([result("harassment")], Code.PROMPT_BLOCKED, False),
        ([{"flagged": True}], Code.PROMPT_BLOCKED, False),
    ],
)
async def test_what_it_says(results: list[Any], code: Code | None, adult: bool) -> None:
    server = Server()
    server.answer = {"results": results}
    async with classifier(server) as asked:
        verdict = await asked.review(wish(), Blocked())
    assert (verdict.refusal.code if verdict.refusal else None, verdict.adult) == (code, adult)


async def test_what_is_not_wanted_may_be_named() -> None:
    server = Server()
    server.answer = {"results": [result(flagged=False), result("sexual", "violence/graphic")]}
    async with classifier(server) as asked:
        assert await asked.review(wish("nude, gore"), Blocked()) == Verdict()
        server.answer = {"results": [result(flagged=False), result("sexual/minors")]}
        assert (await asked.review(wish("…"), Blocked())).refusal is not None


@pytest.mark.parametrize(
    "broken",
    [
        {"status": 500},
        {"status": 429},
        {"status": 302},
        {"answer": "no json"},
        {"answer": {"results": []}},
        {"answer": {"results": [{}]}},
        {"answer": {"results": [result(), result()]}},
        {"answer": "x" * (MAX_BYTES + 1)},
        {"hangs": True},
    ],
    ids=str,
)
async def test_what_it_can_not_say(broken: dict[str, Any]) -> None:
    server = Server()
    for name, value in broken.items():
        setattr(server, name, value)
    async with classifier(server) as asked:
        with pytest.raises(ModeratorError):
            await asked.review(wish(), Blocked())


async def test_nothing_hosted_is_asked_while_it_is_down(tmp_path: Path) -> None:
    server = Server()
    server.status = 503
    async with classifier(server) as asked, open_house(tmp_path, working=False, moderators=[asked]) as house:
        with pytest.raises(OperatorError) as refused:
            await house.ask("hosted")
        assert refused.value.code is Code.MODERATION_BROKEN
        assert (await house.ask("both")).offers == ("worker:both",)
