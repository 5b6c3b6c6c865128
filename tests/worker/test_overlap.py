"""What a finished picture still needs of the CPU is done beside the next job, and previews beside their own steps."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from backends.worker import jobs
from backends.worker.engine.interface import Painted
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.jobs import Job, JobQueue, working
from backends.worker.protocol import PictureEvent, StepEvent
from tests.worker.conftest import Recorder, body

PATIENCE = 60
"""Seconds until something that will never happen is given up."""


async def test_the_next_jobs_first_step_is_done_before_the_last_ones_file_is_made(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder is held until then: if the next job waited for it, it would be held for ever."""
    stepped = threading.Event()
    order: list[str] = []
    encode: Callable[[Painted], PictureEvent] = jobs._picture_event

    def held(painted: Painted) -> PictureEvent:
        if painted.image.size == (96, 64):
            assert stepped.wait(PATIENCE)
            order.append("file")
        return encode(painted)

    monkeypatch.setattr(jobs, "_picture_event", held)
    queue = JobQueue(lambda: engine, weights_bytes=0, max_waiting=8)
    first, second = Job(body(steps=2, width=96, height=64), None), Job(body(steps=2), None)

    async def follow_second() -> None:
        async for event in second.follow():
            if isinstance(event, StepEvent) and event.step == 1:
                order.append("step")
                stepped.set()

    async with working(queue):
        queue.submit(first)
        queue.submit(second)
        following = asyncio.create_task(follow_second())
        events = [event async for event in first.follow()]
        await following
    assert isinstance(events[-1], PictureEvent)
    assert order == ["step", "file"]


def test_a_step_does_not_wait_for_the_preview_before_it(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first preview is held until the last step is done."""
    done = threading.Event()
    save: Any = Image.Image.save

    def held(image: Image.Image, *arguments: Any, **options: Any) -> None:
        assert done.wait(PATIENCE)
        save(image, *arguments, **options)

    class LastStep(Recorder):
        def step(self, step: int, steps: int) -> None:
            super().step(step, steps)
            if step == steps:
                done.set()

    recorder = LastStep()
    monkeypatch.setattr(Image.Image, "save", held)
    engine.make(body(steps=4, preview_every=1), None, recorder)
    assert len(recorder.steps) == 4
    assert len(recorder.previews) == 3


def test_all_previews_are_handed_over_in_their_order_before_the_picture(engine: TorchEngine) -> None:
    ours, again = Recorder(), Recorder()
    for recorder in (ours, again):
        engine.make(body(steps=6, preview_every=2), None, recorder)
    assert [one.data for one in ours.previews] == [one.data for one in again.previews]
    assert len({one.data for one in ours.previews}) == 2


def test_an_error_while_a_preview_is_made_fails_the_job(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="encoder error"):
        engine.make(body(preview_every=1), None, Recorder())
