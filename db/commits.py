"""Several pieces of writing committed together: each is kept whole or not at all, and the disk is synced once."""

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from db.connection import ThreadConnection, to_its_end


@dataclass(slots=True, eq=False)
class Part:
    """One piece of writing, and who waits for it."""

    work: Callable[[ThreadConnection], Coroutine[Any, Any, Any]]
    done: asyncio.Future[Any]
    context: contextvars.Context
    """Of who waits: log lines name their job."""
    result: Any = None
    error: Exception | None = None
    is_over: bool = False
    """Committed, or nothing of it is kept."""

    def tell(self) -> None:
        """Who waits goes on; on the event loop."""
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        elif self.is_over:
            self.done.set_result(self.result)
        else:
            self.done.set_exception(sqlite3.ProgrammingError("the database was closed before it could be written"))


async def commit_together(writer: ThreadConnection, parts: Sequence[Part]) -> None:
    """Do the parts in order, on the writer's thread: what breaks in one is its own, but for a lost transaction."""
    try:
        await writer.execute("BEGIN IMMEDIATE")
        try:
            for part in parts:
                if not part.done.cancelled():
                    await _do(writer, part)
            await writer.commit()
        except BaseException:
            await writer.rollback()
            raise
    except Exception as error:  # noqa: BLE001 -- it is told to everybody who waits
        for part in parts:
            part.error = error
    for part in parts:
        part.is_over = True


async def _do(writer: ThreadConnection, part: Part) -> None:
    await writer.execute("SAVEPOINT part")
    try:
        part.result = part.context.run(to_its_end, partial(part.work, writer))
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not writer.in_transaction:
            # A full disk, for one, ends the whole transaction, and the others' parts with it.
            raise
        part.error = error
        await writer.execute("ROLLBACK TO part")
    await writer.execute("RELEASE part")
