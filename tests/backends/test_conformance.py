"""Every backend passes these: it is what the dispatcher relies on."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from backends.base import (
    Accepted,
    BackendFailed,
    BackendUnavailable,
    CallEnded,
    HealthState,
    Made,
    PictureFailed,
    RequestRefused,
)
from tests.backends.calls import collect
from tests.backends.conformance import HARNESSES, RESUMING, Harness


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    async with HARNESSES[request.param]() as harness:
        yield harness


async def test_a_call_ends_with_every_picture_in_its_workspace(harness: Harness, tmp_path: Path) -> None:
    call = harness.call(tmp_path)
    events = await collect(harness.backend.run(call))
    ends = [event for event in events if isinstance(event, Made | PictureFailed)]
    assert [end.index for end in ends] == [picture.index for picture in call.pictures]
    for end in ends:
        assert isinstance(end, Made)
        assert end.path.parent == call.workspace
        with Image.open(end.path) as picture:
            picture.load()
    assert harness.submits() == 1


async def test_the_workspace_holds_nothing_but_the_pictures(harness: Harness, tmp_path: Path) -> None:
    call = harness.call(tmp_path)
    events = await collect(harness.backend.run(call))
    made = {event.path for event in events if isinstance(event, Made)}
    assert set(call.workspace.iterdir()) == made


async def test_who_resumes(harness: Harness, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["harness"]
    assert harness.backend.resumes is (name in RESUMING)


@pytest.mark.parametrize("harness", RESUMING, indirect=True)
async def test_accepted_comes_before_anything_else_that_is_told(harness: Harness, tmp_path: Path) -> None:
    call = harness.call(tmp_path)
    events = await collect(harness.backend.run(call))
    assert isinstance(events[0], Accepted)
    assert events[0].remote_id
    assert events[0].indexes == (0,)
    assert sum(isinstance(event, Accepted) for event in events) == 1


@pytest.mark.parametrize("harness", RESUMING, indirect=True)
async def test_what_was_accepted_is_resumed_without_a_second_submit(harness: Harness, tmp_path: Path) -> None:
    call = harness.call(tmp_path)
    events = harness.backend.run(call)
    accepted = await anext(events)
    assert isinstance(accepted, Accepted)
    await events.aclose()
    resumed = await collect(harness.backend.resume(call, accepted.remote_id))
    assert isinstance(resumed[-1], Made)
    assert not any(isinstance(event, Accepted) for event in resumed)
    assert harness.submits() == 1


async def test_a_request_that_is_turned_down(harness: Harness, tmp_path: Path) -> None:
    harness.refuse()
    with pytest.raises(RequestRefused):
        await collect(harness.backend.run(harness.call(tmp_path)))


async def test_nobody_there(harness: Harness, tmp_path: Path) -> None:
    vanished = harness.vanish()
    if inspect.isawaitable(vanished):
        await vanished
    with pytest.raises(BackendUnavailable) as ended:
        await collect(harness.backend.run(harness.call(tmp_path)))
    assert ended.value.retry_after > 0
    assert (await harness.backend.health()).state is HealthState.DOWN


async def test_work_that_fails_afterwards(harness: Harness, tmp_path: Path) -> None:
    harness.fail_afterwards()
    with pytest.raises(BackendFailed):
        await collect(harness.backend.run(harness.call(tmp_path)))
    assert harness.submits() == 1


async def test_after_bad_news_the_next_call_works(harness: Harness, tmp_path: Path) -> None:
    harness.refuse()
    with pytest.raises(CallEnded):
        await collect(harness.backend.run(harness.call(tmp_path)))
    assert isinstance((await collect(harness.backend.run(harness.call(tmp_path))))[-1], Made)


async def test_closing_the_stream_lets_everything_go(harness: Harness, tmp_path: Path) -> None:
    harness.never_end()
    events = harness.backend.run(harness.call(tmp_path))
    await anext(events)
    await events.aclose()
    await harness.settled()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_health(harness: Harness) -> None:
    health = await harness.backend.health()
    assert health.state is HealthState.UP
    assert health.slots >= 1
    assert health.problem is None


async def test_it_can_be_closed_twice(harness: Harness) -> None:
    await harness.backend.aclose()
    await harness.backend.aclose()
