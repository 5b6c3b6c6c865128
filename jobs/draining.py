"""Emptying a bot before it is stopped: nothing new comes in, and what is there is painted and posted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from db.database import Database
from db.jobs import JobStore

LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Left:
    """Jobs that are not over."""

    waiting: int
    under_way: int
    to_post: int

    @property
    def nothing(self) -> bool:
        """Whether the bot can be stopped and nobody notices."""
        return not (self.waiting or self.under_way or self.to_post)


async def draining(database: Database, jobs: JobStore, look_seconds: float = LOOK_SECONDS) -> AsyncIterator[Left]:
    """What is left, each time that it has become something else; ends once nothing is."""
    told: Left | None = None
    while True:
        async with database.reading() as reader:
            left = Left(*await jobs.left(reader))
        if left != told:
            told = left
            yield left
        if left.nothing:
            return
        await asyncio.sleep(look_seconds)
