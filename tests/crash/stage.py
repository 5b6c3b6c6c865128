"""What the crash tests play on: a sandbox, a stand-in for WaveSpeed, a real worker, and bots that are killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from db.database import Database
from db.jobs import JobStore
from db.ledger import LedgerStore
from domain.job import WITHOUT_PICTURE, Job, JobState
from domain.quota import Subject, Unit
from sandbox import Sandbox
from sandbox.model import Message
from tests.servers.wavespeed import WaveSpeedServer

ROOT = Path(__file__).parents[2]
PATIENCE = 180.0
"""Seconds after which a test gives up waiting; nothing is timed."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Edge = tuple[JobState, JobState]


@dataclass
class Stage:
    """One sandbox with one data folder; bots come and go on it."""

    discord: Sandbox
    wavespeed: WaveSpeedServer
    worker_url: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    bots: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start_bot(self, moment: str = "never", edge: Edge | None = None) -> asyncio.subprocess.Process:
        """Start a bot and wait until it takes jobs, or until it has killed itself."""
        arguments = [moment, *(state.value for state in edge or ())]
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.crash.killed_bot", *arguments],
            cwd=ROOT,
            env=self._environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder.parent / "bot.log").open("ab"),
        )
        self.bots.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await process.stdout.readline()
        assert line.strip() == b"easel ready" or process.returncode is not None or not line, line
        return process

    async def killed(self, process: asyncio.subprocess.Process) -> None:
        """Wait until the bot has killed itself at its edge."""
        async with asyncio.timeout(PATIENCE):
            status = await process.wait()
        assert status == -signal.SIGKILL, f"the bot ended with {status}: the edge was not reached by a kill"

    async def stop_bots(self) -> None:
        """SIGTERM, and wait."""
        for process in self.bots:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[tuple[Database, JobStore]]:
        """Look into the bot's database."""
        async with Database.open(self.folder / "easel.db") as database:
            yield database, JobStore(database, boot=0)

    async def jobs(self) -> list[Job]:
        """Everybody's jobs in the guild, oldest first."""
        async with self.database() as (_, store):
            found: list[Job] = []
            for name in ("alice", "bob"):
                found += reversed(await store.history(self.discord.guild.id, self.discord.user(name).id, 100))
        return sorted(found, key=lambda job: job.created_at)

    async def until(self, condition: Callable[[list[Job]], bool]) -> list[Job]:
        """Look again and again until the jobs are as wanted: another process moves them."""
        async with asyncio.timeout(PATIENCE):
            while not condition(jobs := await self.jobs() if (self.folder / "easel.db").exists() else []):
                await asyncio.sleep(0.05)
        return jobs

    async def until_over(self, count: int = 1) -> list[Job]:
        """Wait until so many jobs are over, and everybody knows."""
        return await self.until(lambda jobs: len(jobs) == count and all(map(is_over, jobs)))

    def posts(self) -> list[Message]:
        """Messages with pictures that are in any channel now."""
        channels = [self.discord.channel(name) for name in ("studio", "playground")]
        found = [message for channel in channels for message in self.discord.messages_in(channel)]
        return [message for message in found if "Reroll" in [button.label for button in message.buttons]]

    def card_texts(self) -> list[str]:
        """What stands on messages without pictures."""
        found = self.discord.messages_in(self.discord.studio)
        return [message.text for message in found if not message.attachments]

    async def books(self) -> "Books":
        """The ledger's sums for Alice and Bob together; it has to add up."""
        async with self.database() as (database, _):
            ledger = LedgerStore(database)
            assert await ledger.check() == []
            async with database.reading() as reader:
                sums = [
                    await ledger.balance(reader, 0, Subject.OPERATOR, 0, unit, EPOCH)
                    for unit in (Unit.IMAGES, Unit.MONEY)
                ]
        return Books(held=sum(balance.held for balance in sums), images=sums[0].used, micro_usd=sums[1].used)

    def accepted(self) -> int:
        """Paid tasks that the stand-in has accepted."""
        return len(self.wavespeed.tasks)

    def _environment(self) -> dict[str, str]:
        ours = ("EASEL_", "WAVESPEED_", "RUNWARE_", "COMFYUI_", "OPENAI_")
        given = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {
            **given,
            "DISCORD_TOKEN": self.discord.token,
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "DISCORD_CDN_URL": self.discord.cdn_url,
            "EASEL_DATA_DIR": str(self.folder),
            "EASEL_GRACE_SECONDS": "0",
            "EASEL_LOCAL_MODEL": "tiny",
            "EASEL_WORKER_URL": self.worker_url,
            "WAVESPEED_API_KEY": self.wavespeed.key,
            "WAVESPEED_BASE_URL": self.wavespeed.url,
            **self.environment,
        }


@dataclass(frozen=True)
class Books:
    """What the ledger says of everything."""

    held: int
    images: int
    micro_usd: int


def is_over(job: Job) -> bool:
    """Posted, or ended without a picture and told."""
    return job.state in (JobState.POSTED, JobState.UNDELIVERABLE) or (job.state in WITHOUT_PICTURE and job.told)
