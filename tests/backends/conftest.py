import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from backends.clock import Clock
from backends.comfyui import ComfyUIBackend
from backends.http import Timeouts
from backends.openai_images import OpenAIImagesBackend
from backends.runware import RunwareBackend
from backends.wavespeed import WaveSpeedBackend
from tests.backends.calls import CATALOGUE
from tests.doubles import FakeClock
from tests.servers.comfyui import ComfyUIServer
from tests.servers.hosted import KEY, HostedServer
from tests.servers.openai_images import OpenAIImagesServer
from tests.servers.runware import RunwareServer
from tests.servers.wavespeed import WaveSpeedServer

QUICK = Timeouts(connect=60, write=60, read=60, pool=60, total=60)
"""Far longer than anything on loopback takes, so that only silence runs into it."""
IMPATIENT = Timeouts(connect=15, write=15, read=15, pool=15, total=15)
"""For answers that never come: these seconds are over as soon as the server has fallen silent."""
NEVER_CONNECTED = Timeouts(connect=0.05, write=60, read=60, pool=60, total=60)
"""For connections that nobody takes."""


def let_time_pass() -> None:
    """Set the event loop's clock forward: whoever is ``IMPATIENT`` gives up now, however busy the machine is."""
    loop = asyncio.get_running_loop()
    until_now = loop.time
    loop.time = lambda: until_now() + IMPATIENT.total + 1  # type: ignore[method-assign]


def _arrange(server: HostedServer, given: dict[str, Any]) -> None:
    """Where patience is short, it ends once the server is silent."""
    server.when_silent = let_time_pass if given.get("timeouts") is IMPATIENT else None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def wavespeed(server: WaveSpeedServer, clock: FakeClock, **more: Any) -> AsyncIterator[WaveSpeedBackend]:
    """A backend that speaks to the server and never waits."""
    _arrange(server, more)
    settings: dict[str, Any] = {
        "api_key": SecretStr(KEY),
        "base_url": server.url,
        "slots": 3,
        "clock": Clock(clock.now, clock.sleep),
        "timeouts": QUICK,
    }
    backend = WaveSpeedBackend(**(settings | more))
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def runware(server: RunwareServer, clock: FakeClock, **more: Any) -> AsyncIterator[RunwareBackend]:
    """A backend that speaks to the server and never waits."""
    _arrange(server, more)
    settings: dict[str, Any] = {
        "api_key": SecretStr(KEY),
        "base_url": f"{server.url}/v1",
        "slots": 3,
        "clock": Clock(clock.now, clock.sleep),
        "timeouts": QUICK,
    }
    backend = RunwareBackend(**(settings | more))
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def comfyui(server: ComfyUIServer, fake: FakeClock, **more: Any) -> AsyncIterator[ComfyUIBackend]:
    """A backend that speaks to the server and never waits."""
    _arrange(server, more)
    settings: dict[str, Any] = {
        "base_url": server.url,
        "slots": 1,
        "models": {one.model_key: one.target for one in CATALOGUE.offers().values() if one.backend == "comfyui"},
        "clock": Clock(fake.now, fake.sleep),
        "timeouts": QUICK,
    }
    backend = ComfyUIBackend(**(settings | more))
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def openai(server: OpenAIImagesServer, fake: FakeClock, **more: Any) -> AsyncIterator[OpenAIImagesBackend]:
    """A backend that speaks to the server and never waits."""
    _arrange(server, more)
    timeouts: Timeouts = more.setdefault("timeouts", QUICK)
    settings: dict[str, Any] = {
        "base_urls": [more.pop("base_url", server.url)],
        "api_key": SecretStr(KEY),
        "slots": 2,
        "patience_seconds": timeouts.total,
        "clock": Clock(fake.now, fake.sleep),
    }
    backend = OpenAIImagesBackend(**(settings | more))
    try:
        yield backend
    finally:
        await backend.aclose()


@pytest.fixture
async def runware_server() -> AsyncIterator[RunwareServer]:
    async with RunwareServer() as server:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[WaveSpeedServer]:
    async with WaveSpeedServer() as server:
        yield server
