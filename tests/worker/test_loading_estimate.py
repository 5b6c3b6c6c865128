"""Who waits for a model that is loading is told about how long, with what is compiled after its weights are read."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backends.worker.acceleration.accelerate import Means
from backends.worker.engine import speeding
from backends.worker.engine.interface import WarmsUp
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.jobs import READ_BYTES_PER_SECOND, Job, JobQueue
from backends.worker.protocol import LoadingEvent
from backends.worker.variants import VARIANTS, LocalModel
from tests.worker.conftest import GatedEngine, body

WEIGHTS = int(15 * READ_BYTES_PER_SECOND)
"""Bytes that are read in fifteen seconds; torch itself takes five."""


@dataclass
class CompilingEngine(GatedEngine):
    """One that says how long it compiles."""

    warm_up_seconds: float = 90.0


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Loading:
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.queue = JobQueue(GatedEngine, WEIGHTS, max_waiting=8, clock=self.clock)

    def told(self) -> float:
        job = Job(body(), None)
        self.queue.submit(job)
        event = job.events.get_nowait()
        assert isinstance(event, LoadingEvent)
        self.queue.cancel(job)
        return event.seconds


async def test_reading_the_weights_is_counted_down() -> None:
    loading = Loading()
    assert loading.told() == 20.0
    loading.clock.now += 12
    assert loading.told() == 8.0


async def test_what_is_compiled_is_told_as_soon_as_it_is_known() -> None:
    loading = Loading()
    loading.clock.now += 6
    loading.queue.engine = CompilingEngine()
    assert loading.told() == 20.0 + 90.0 - 6.0


async def test_what_takes_longer_is_not_said_to_be_done_in_a_moment() -> None:
    loading = Loading()
    loading.clock.now += 300
    assert loading.told() == 30.0


def test_the_engine_says_how_long_it_compiles_for_all_its_models(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, editor_folder: Path
) -> None:
    assert isinstance(engine, WarmsUp)
    assert engine.warm_up_seconds == 0  # a CPU compiles nothing
    monkeypatch.setattr(speeding, "means", lambda speed, hardware: Means(grouped=True, compiled=True))
    models = [LocalModel("tiny", VARIANTS["dev"], "tiny"), LocalModel("tiny-edit", VARIANTS["e1"], str(editor_folder))]
    assert TorchEngine(models, llama="unused").warm_up_seconds == 2 * speeding.COMPILING_SECONDS
