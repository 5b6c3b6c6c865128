"""Faults for tests to order: refusals, cut connections and waits, for the next requests that match."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from enum import Enum


class Effect(Enum):
    ANSWER = "answer"
    """An error instead of the real answer; the request is not processed."""
    CUT_BEFORE = "cut before"
    """The connection breaks and nothing was done."""
    CUT_AFTER = "cut after"
    """The request is processed, and the connection breaks before the answer."""
    HOLD_BEFORE = "hold before"
    """The request waits to be processed until released."""
    HOLD_AFTER = "hold after"
    """The request is processed, and its answer waits until released."""


@dataclass
class Fault:
    """A fault in waiting. ``hits`` counts the requests it has struck."""

    effect: Effect
    method: str | None
    path: re.Pattern[str]
    left: int
    status: int = 500
    json: object = None
    headers: dict[str, str] = field(default_factory=dict)
    hits: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _struck: asyncio.Event = field(default_factory=asyncio.Event)

    async def struck(self, timeout: float = 60.0) -> None:
        """Wait until a request has run into this fault."""
        async with asyncio.timeout(timeout):
            await self._struck.wait()

    def release(self) -> None:
        """Let held requests go on."""
        self._released.set()

    async def wait(self) -> None:
        await self._released.wait()

    def strike(self) -> None:
        self.left -= 1
        self.hits += 1
        self._struck.set()


class Faults:
    """The faults ordered so far.

    ``path`` is a regular expression searched in the path after ``/api/v10`` (``"/messages$"``, ``"/callback"``).
    """

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def _order(self, fault: Fault) -> Fault:
        self._waiting.append(fault)
        return fault

    def rate_limit(
        self,
        path: str = "",
        *,
        method: str | None = None,
        times: int = 1,
        retry_after: float = 0.05,
        via: bool = True,
        is_global: bool = False,
    ) -> Fault:
        """Answer 429. Without ``via`` it looks like Cloudflare's ban, which discord.py raises at once."""
        body = {"message": "You are being rate limited.", "retry_after": retry_after, "global": is_global, "code": 0}
        headers = {"Retry-After": f"{max(1, round(retry_after))}", "X-RateLimit-Scope": "user"}
        if via:
            headers["Via"] = "1.1 google"
        if is_global:
            headers["X-RateLimit-Global"] = "true"
        return self._order(
            Fault(Effect.ANSWER, method, re.compile(path), times, status=429, json=body, headers=headers)
        )

    def error(
        self,
        path: str = "",
        *,
        status: int = 500,
        code: int = 0,
        message: str = "Internal Server Error",
        method: str | None = None,
        times: int = 1,
    ) -> Fault:
        """Answer any status with Discord's error JSON."""
        body = {"message": message, "code": code}
        return self._order(Fault(Effect.ANSWER, method, re.compile(path), times, status=status, json=body))

    def cut(self, path: str = "", *, processed: bool, method: str | None = None, times: int = 1) -> Fault:
        """Break the connection, before or after the request was processed."""
        effect = Effect.CUT_AFTER if processed else Effect.CUT_BEFORE
        return self._order(Fault(effect, method, re.compile(path), times))

    def hold(self, path: str = "", *, processed: bool = False, method: str | None = None, times: int = 1) -> Fault:
        """Make requests wait until :meth:`Fault.release`, before or after they were processed."""
        effect = Effect.HOLD_AFTER if processed else Effect.HOLD_BEFORE
        return self._order(Fault(effect, method, re.compile(path), times))

    def clear(self) -> None:
        """Forget all faults in waiting and release what is held."""
        for fault in self._waiting:
            fault.left = 0
            fault.release()
        self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault in waiting that matches a request; it counts as used."""
        for fault in self._waiting:
            if fault.left > 0 and fault.method in (None, method) and fault.path.search(path):
                fault.strike()
                return fault
        return None
