"""A sandbox for each test, a real discord.py client to connect to it, and bare REST calls."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord.ext import commands
from PIL import Image

from sandbox import ManualClock, Sandbox

OPENAPI = Path(__file__).parents[3] / "shared" / "discord" / "openapi.json"


class Bot(commands.AutoShardedBot):
    """A plain bot; nothing of discord.py is changed but the three base URLs."""

    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(command_prefix=commands.when_mentioned, intents=intents, guild_ready_timeout=0.05)
        self.failures: list[Exception] = []
        self.failed = asyncio.Event()

        @self.tree.error
        async def keep(interaction: discord.Interaction, error: discord.app_commands.AppCommandError) -> None:
            self.failures.append(error)
            self.failed.set()


Setup = Callable[[Bot], None]
Connect = Callable[..., Awaitable[Bot]]


class Rest:
    """Bare calls of the REST API with the bot's token."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self._sandbox = sandbox
        self._session = session

    async def __call__(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        token: str | None = None,
        data: aiohttp.FormData | None = None,
    ) -> tuple[int, Any]:
        """The status and JSON of an answer."""
        headers = {"Authorization": f"Bot {token or self._sandbox.token}"}
        url = self._sandbox.api_url + path
        async with self._session.request(method, url, json=json, data=data, headers=headers) as response:
            body = await response.json() if response.content_type == "application/json" else None
            return response.status, body


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sandbox(clock: ManualClock) -> AsyncIterator[Sandbox]:
    """A sandbox whose clock stands still; both sides must have kept to Discord's description at the end."""
    async with Sandbox(clock=clock, openapi=OPENAPI if OPENAPI.exists() else None) as running:
        yield running
    assert running.violations == []


@pytest.fixture
async def rest(sandbox: Sandbox) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(sandbox, session)


def point_at(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send discord.py to the sandbox."""
    monkeypatch.setattr(discord.http.Route, "BASE", sandbox.api_url)
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(sandbox.gateway_url))
    monkeypatch.setattr(discord.asset.Asset, "BASE", sandbox.cdn_url)


@pytest.fixture
async def connect(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """Start a bot: ``await connect(setup)`` lets ``setup`` add commands, syncs them and waits until it is ready."""
    async with AsyncExitStack() as stack:
        point_at(sandbox, monkeypatch)

        async def start(setup: Setup = lambda bot: None, intents: discord.Intents | None = None) -> Bot:
            bot = Bot(intents or discord.Intents(guilds=True, guild_messages=True, dm_messages=True))
            setup(bot)
            await bot.login(sandbox.token)
            await bot.tree.sync()
            running = asyncio.create_task(bot.connect())

            async def stop() -> None:
                await bot.close()
                await running

            stack.push_async_callback(stop)
            async with asyncio.timeout(60):
                await bot.wait_until_ready()
            return bot

        yield start


def picture(width: int = 32, height: int = 16, color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, "PNG")
    return buffer.getvalue()
