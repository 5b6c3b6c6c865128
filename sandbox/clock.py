"""Time as the sandbox sees it, so that a test can let three seconds or fifteen minutes pass without waiting."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Unix time in seconds, and a way to wait for a moment of it."""

    def time(self) -> float: ...

    async def wait_until(self, moment: float) -> None: ...


class SystemClock:
    """The machine's own time."""

    def time(self) -> float:
        return time.time()

    async def wait_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.time()))


class ManualClock:
    """A clock that stands still until :meth:`advance` moves it. It starts at the real time."""

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self._now

    async def wait_until(self, moment: float) -> None:
        if moment <= self._now:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (moment, future)
        self._waiting.append(entry)
        try:
            await future
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def advance(self, seconds: float) -> None:
        """Move time forward and wake everybody whose moment has come."""
        self._now += seconds
        for moment, future in list(self._waiting):
            if moment <= self._now and not future.done():
                future.set_result(None)
