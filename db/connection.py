"""A connection on a thread of its own, on which a whole piece of work can be done at one visit.

aiosqlite takes every statement to its thread and back, which costs more than most statements do: intake alone makes
some forty of them. Here the work goes to the thread instead.
"""

import contextvars
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


class ThreadConnection(aiosqlite.Connection):
    """aiosqlite's connection; on its own thread, what is awaited is done at once."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        connect = partial(sqlite3.connect, path, isolation_level=None, timeout=busy_seconds)
        super().__init__(connect, iter_chunk_size=64)

    async def at_one_visit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run all of ``work`` on the connection's thread; it ends there even where nobody waits for it any more.

        ``work`` may await this connection alone, and must not touch what belongs to the event loop: raises
        RuntimeError where it waits for anything else.
        """
        context = contextvars.copy_context()
        result: T = await super()._execute(context.run, to_its_end, work)  # type: ignore[no-untyped-call]
        return result

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is self._thread:
            return fn(*args, **kwargs)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]


def to_its_end(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of ``work``, which must not wait for anything: raises RuntimeError where it does."""
    coroutine = work()
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for something else than its connection")
