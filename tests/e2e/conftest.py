"""The whole bot against the sandbox: real discord.py, real sockets, real SQLite. Only the painter is a double."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot import house
from cogs.client import EaselBot, point_at
from cogs.services import Services
from config.loading import load
from config.settings import Settings
from domain.job import Job, JobState
from sandbox import Sandbox
from sandbox.model import Channel, Message
from tests.doubles import ScriptedBackend

PATIENCE_SECONDS = 60.0
"""After which a test has failed: for the bot's acknowledgements as well, since a busy machine is not what is tested."""
OPENAPI = Path(__file__).parents[3] / "shared" / "discord" / "openapi.json"


@dataclass
class Bot:
    """A bot that runs against a sandbox and can be stopped and started again on the same data."""

    sandbox: Sandbox
    folder: Path
    painter: ScriptedBackend = field(default_factory=ScriptedBackend)
    environment: dict[str, str] = field(default_factory=dict)
    others: tuple[ScriptedBackend, ...] = ()
    """Further backends, after the painter."""
    services: Services = field(init=False)
    client: EaselBot = field(init=False)
    _stack: AsyncExitStack | None = None

    async def start(self, before: Callable[[Services], None] | None = None) -> None:
        """Start it and wait until it takes commands."""
        settings = self._settings()
        point_at(settings)
        stack = AsyncExitStack()
        self.services = await stack.enter_async_context(
            house(settings, {backend.key: backend for backend in (self.painter, *self.others)})
        )
        if before is not None:
            before(self.services)
        self.client = await stack.enter_async_context(EaselBot(self.services, guild_ready_timeout=0.05))
        connection = asyncio.create_task(self.client.start(self.sandbox.token))
        stack.push_async_callback(_ended, connection)
        self._stack = stack
        ready = asyncio.create_task(self.client.commands_synced.wait())
        await asyncio.wait({ready, connection}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS)
        if connection.done():
            await connection
        assert ready.done(), "the bot did not get ready"

    async def stop(self) -> None:
        """Close it as SIGTERM does."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await self.client.close()
            await stack.aclose()

    async def restart(self) -> None:
        """Stop and start again."""
        await self.stop()
        await self.start()

    async def job(self, job_id: str) -> Job:
        """The job as it stands in the database."""
        job = await self.services.jobs.get(job_id)
        assert job is not None
        return job

    async def jobs_of(self, user_id: int) -> list[Job]:
        """All jobs of a user in Easel Studio, newest first."""
        return await self.services.jobs.history(self.sandbox.guild.id, user_id, 100)

    async def until(self, job_id: str, *states: JobState) -> Job:
        """Wait until the job is in one of these states."""
        with self.services.events.listen() as events:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (job := await self.job(job_id)).state not in states:
                    await anext(events)
        return job

    async def result(self, channel: Channel | None = None, *, after: Message | None = None) -> Message:
        """The first message with pictures and the button Reroll, in whatever language."""

        def is_result(message: Message) -> bool:
            rerolls = [button for button in message.buttons if (button.custom_id or "").startswith("easel:reroll:")]
            return bool(message.attachments) and bool(rerolls)

        return await self.sandbox.wait_for_message(channel or self.sandbox.studio, is_result, after=after)

    async def gone(self, message: Message) -> None:
        """Wait until the message is deleted."""
        await self.sandbox.wait_until(lambda: message.deleted, what="the message's end")

    def _settings(self) -> Settings:
        environment = {
            "DISCORD_TOKEN": self.sandbox.token,
            "DISCORD_API_URL": self.sandbox.api_url,
            "DISCORD_GATEWAY_URL": self.sandbox.gateway_url,
            "DISCORD_CDN_URL": self.sandbox.cdn_url,
            "EASEL_DATA_DIR": str(self.folder),
            "EASEL_LOCAL_MODEL": "tiny",
            "EASEL_LOCAL_EDIT_MODEL": "tiny",
            "EASEL_GRACE_SECONDS": "0",
        }
        return load({**environment, **self.environment}, folder=self.folder.parent)


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine neither defers answers nor takes a double click for two; tests about these say so themselves."""
    monkeypatch.setattr("cogs.answers.FAST_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("cogs.client.DOUBLE_CLICK_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A Discord of our own; a request or an answer that Discord's description does not know fails the test."""
    openapi = OPENAPI if OPENAPI.is_file() else None
    async with Sandbox(openapi=openapi, acknowledge_seconds=PATIENCE_SECONDS) as running:
        yield running
        assert running.violations == []


@pytest.fixture
def painter() -> ScriptedBackend:
    """The backend of the bot; tests give it scripts."""
    return ScriptedBackend()


@pytest.fixture
async def bot(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> AsyncIterator[Bot]:
    """A bot that runs and takes commands."""
    running = Bot(sandbox, tmp_path / "data", painter)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def bot_with(sandbox: Sandbox, painter: ScriptedBackend, folder: Path, **environment: str) -> AsyncIterator[Bot]:
    """A bot with other settings."""
    running = Bot(sandbox, folder, painter, environment)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
