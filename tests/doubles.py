"""Test doubles that several rooms use."""

import asyncio
import io
import random
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from PIL import Image

from backends.base import (
    Accepted,
    BackendUnavailable,
    Call,
    CallEnded,
    Event,
    Events,
    Health,
    HealthState,
    Made,
    Progress,
)
from domain.errors import Code, OperatorError
from domain.money import MicroUSD


@dataclass(frozen=True)
class Accept:
    """The provider takes the call: one ``Accepted`` for all its pictures."""

    remote_id: str | None = None
    """Default: ``remote-`` and the first picture's submission id."""


@dataclass(frozen=True)
class Steps:
    """A progress event for every step of every picture."""

    count: int = 2


@dataclass(frozen=True)
class Paint:
    """A real little PNG for every picture of the call (or only the one with this index)."""

    index: int | None = None
    seconds: float | None = 1.0
    cost: MicroUSD | None = None
    flagged: bool = False
    size: tuple[int, int] = (16, 16)
    noisy: bool = False
    """Made of noise, which no encoder makes small."""


Step = Event | CallEnded | asyncio.Event | Accept | Steps | Paint
"""An event is yielded, a ``CallEnded`` raised, an ``asyncio.Event`` waited for."""
Script = Sequence[Step]


class ScriptedBackend:
    """A backend that does as it is told.

    ``scripts`` are played by the next calls, one each; after them ``script`` is. A resumed call plays
    ``resume_script``. Nothing is real except the pictures.
    """

    def __init__(
        self,
        key: str = "worker",
        script: Script = (Steps(), Paint()),
        resume_script: Script = (Paint(),),
        *,
        resumes: bool = False,
        repeatable_submit: bool = False,
        slots: int = 1,
    ) -> None:
        self.key = key
        self.resumes = resumes
        self.repeatable_submit = repeatable_submit
        self.script = script
        self.resume_script = resume_script
        self.scripts: deque[Script] = deque()
        self.health_now = Health(HealthState.UP, slots)
        self.calls: list[Call] = []
        """Every call that was submitted, in order."""
        self.resumed: list[tuple[Call, str]] = []
        self.running = 0
        """Streams that are open now."""
        self.most_running = 0
        self.cancelled: list[Call] = []
        """Calls whose stream was closed before its end."""
        self.accepted = 0
        self.closed = False

    async def run(self, call: Call) -> Events:
        self.calls.append(call)
        if self.health_now.state is HealthState.DOWN:
            raise BackendUnavailable(OperatorError(Code.BACKEND_UNREACHABLE, backend=self.key, reason="scripted"))
        script = self.scripts.popleft() if self.scripts else self.script
        async with aclosing(self._play(call, script)) as events:
            async for event in events:
                yield event

    async def resume(self, call: Call, remote_id: str) -> Events:
        self.resumed.append((call, remote_id))
        async with aclosing(self._play(call, self.resume_script)) as events:
            async for event in events:
                yield event

    async def health(self) -> Health:
        return self.health_now

    async def aclose(self) -> None:
        self.closed = True

    async def _play(self, call: Call, script: Script) -> AsyncGenerator[Event, None]:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        ended = False
        try:
            for step in script:
                match step:
                    case CallEnded():
                        ended = True
                        raise step
                    case asyncio.Event():
                        await step.wait()
                    case Accept():
                        self.accepted += 1
                        remote_id = step.remote_id or f"remote-{call.pictures[0].submission_id}"
                        yield Accepted(tuple(picture.index for picture in call.pictures), remote_id)
                    case Steps():
                        for picture in call.pictures:
                            for number in range(1, step.count + 1):
                                yield Progress(picture.index, number, step.count)
                    case Paint():
                        for picture in call.pictures:
                            if step.index in (None, picture.index):
                                yield _made(call, step, picture.index, picture.seed)
                    case _:
                        yield step
            ended = True
        finally:
            self.running -= 1
            if not ended:
                self.cancelled.append(call)


def _made(call: Call, step: Paint, index: int, seed: int) -> Made:
    path = call.workspace / f"{index}.png"
    content = io.BytesIO()
    if step.noisy:
        pixels = random.Random(seed).randbytes(3 * step.size[0] * step.size[1])
        image = Image.frombytes("RGB", step.size, pixels)
    else:
        image = Image.new("RGB", step.size, (seed % 256, seed // 256 % 256, index))
    image.save(content, "png")
    path.write_bytes(content.getvalue())
    return Made(index=index, path=path, seconds=step.seconds, cost=step.cost, flagged=step.flagged)


class FakeClock:
    """A clock that only ``sleep`` moves; ``slept`` keeps every nap. Fits ``backends.clock.Clock``."""

    def __init__(self, start: float = 1000.0) -> None:
        self.time = start
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)
