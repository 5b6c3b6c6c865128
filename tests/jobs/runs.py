"""A house with one backend that plays a script, and a look at it afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from backends.base import (
    CallEnded,
)
from domain.errors import Code, EaselError
from domain.job import JobState
from domain.money import MicroUSD
from domain.quota import Unit
from tests.building import House, open_house
from tests.doubles import Accept, Paint, ScriptedBackend, Steps

PRICE = 10_000
ERROR = EaselError(Code.BACKEND_FAILED, backend="somewhere")
OVER = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN)


def ended(kind: type[CallEnded]) -> CallEnded:
    return kind(ERROR)


@asynccontextmanager
async def house_with(folder: Path, backend: ScriptedBackend, **more: Any) -> AsyncIterator[House]:
    async with open_house(folder, {backend.key: backend}, **more) as house:
        yield house
        # Whatever happened: nothing is held, no slot is taken, no stream is open, and the ledger adds up.
        assert await house.ledger.check() == []
        if not house.dispatcher.under_way:
            assert house.fleet.facts()[backend.key].busy == 0
            assert backend.running == 0


async def nothing_is_held(house: House) -> bool:
    return all([(await house.counted(unit))[1] == 0 for unit in Unit])


def local(*script: Any, **more: Any) -> ScriptedBackend:
    return ScriptedBackend("worker", script or (Steps(), Paint()), **more)


def hosted(*script: Any, **more: Any) -> ScriptedBackend:
    options: dict[str, Any] = {"resumes": True, "slots": 4}
    return ScriptedBackend("wavespeed", script or (Accept(), Paint(cost=MicroUSD(PRICE))), **options | more)
