"""WaveSpeedAI, spoken to over real sockets."""

import asyncio
import base64
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from backends.base import Accepted, BackendFailed, Call, HealthState, Made, OutcomeUnknown, RequestRefused, Working
from backends.wavespeed import WaveSpeedBackend
from config.loading import load
from domain.errors import Code
from domain.request import MAX_SEED, InputPicture, Size
from tests.backends.calls import collect, make_call, offer
from tests.backends.conftest import IMPATIENT, wavespeed
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.wavespeed import Plan, WaveSpeedServer


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return make_call(offer("wavespeed:hidream-i1-dev"), tmp_path)


async def test_a_picture_is_submitted_once_polled_and_fetched(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    async with wavespeed(server, clock) as backend:
        events = await collect(backend.run(call))
    task_id = next(iter(server.tasks))
    path = call.workspace / "0.png"
    assert events == [
        Accepted((0,), task_id),
        Working(),
        Made(0, path, seconds=1.5, cost=call.offer.price),
    ]
    assert Image.open(path).size == (1024, 1024)
    assert server.submits == 1
    assert [(received.method, received.path) for received in server.received] == [
        ("POST", "/api/v2/wavespeed-ai/hidream-i1-dev"),
        ("GET", f"/api/v2/predictions/{task_id}/result"),
        ("GET", f"/api/v2/predictions/{task_id}/result"),
        ("GET", f"/outputs/{task_id}"),
    ]


async def test_the_body_holds_what_the_page_lists_and_nothing_is_left_to_its_defaults(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    call = make_call(offer("wavespeed:hidream-i1-dev"), tmp_path, seeds=(MAX_SEED,), size=Size(512, 1536))
    async with wavespeed(server, clock) as backend:
        await collect(backend.run(call))
    assert server.received[0].body == {
        "prompt": "a red circle",
        "size": "512*1536",
        "seed": MAX_SEED,
        "enable_base64_output": False,
        "enable_safety_checker": True,
    }


async def test_an_edit_uploads_its_picture_first_and_sends_the_url(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    call = make_call(offer("wavespeed:hidream-e1-full"), tmp_path)
    assert call.source is not None
    async with wavespeed(server, clock) as backend:
        events = await collect(backend.run(call))
    assert isinstance(events[-1], Made)
    assert list(server.uploads.values()) == [call.source.read_bytes()]
    submit = next(received for received in server.received if received.route == "submit")
    assert submit.path == "/api/v3/wavespeed-ai/hidream-e1-full"
    assert submit.body == {
        "prompt": "a red circle",
        "image": f"{server.url}/media/{next(iter(server.uploads))}",
        "seed": 7,
        "enable_base64_output": False,
        "enable_safety_checker": True,
    }
    assert [received.route for received in server.received][:2] == ["upload", "submit"]


@pytest.mark.parametrize("model", ["hidream-o1-image-edit", "hidream-o1-image-dev-edit"])
async def test_an_edit_with_references_uploads_each_and_sends_them_in_order(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path, model: str
) -> None:
    references = [tmp_path / "second.png", tmp_path / "third.png"]
    inputs = [InputPicture(name=path.name, width=16, height=16) for path in references]
    for path, colour in zip(references, ("red", "blue"), strict=True):
        Image.new("RGB", (16, 16), colour).save(path)
    call = make_call(offer(f"wavespeed:{model}"), tmp_path, references=tuple(inputs))
    call = replace(call, references=tuple(references))
    assert call.source is not None
    async with wavespeed(server, clock) as backend:
        events = await collect(backend.run(call))
    assert isinstance(events[-1], Made)
    assert list(server.uploads.values()) == [path.read_bytes() for path in (call.source, *references)]
    (task,) = server.tasks.values()
    assert task.body["images"] == [f"{server.url}/media/{name}" for name in server.uploads]


@pytest.mark.parametrize(("model", "field"), [("hidream-e1-full", "image"), ("hidream-o1-image-edit", "images")])
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_where_nothing_can_be_uploaded_the_picture_travels_in_the_request(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path, model: str, field: str, status: int
) -> None:
    call = make_call(offer(f"wavespeed:{model}"), tmp_path)
    assert call.source is not None
    server.fail("upload", Fault(status))
    async with wavespeed(server, clock) as backend:
        events = await collect(backend.run(call))
    assert isinstance(events[-1], Made)
    (task,) = server.tasks.values()
    sent = task.body[field] if field == "image" else task.body[field][0]
    head, content = sent.split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(content) == call.source.read_bytes()


async def test_the_id_is_told_before_the_first_poll(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    async with wavespeed(server, clock) as backend:
        events = backend.run(call)
        assert isinstance(await anext(events), Accepted)
        assert server.count("result") == 0
        await events.aclose()
    assert server.count("result") == 0


async def test_polls_begin_after_two_seconds_and_grow_apart(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    server.plan = Plan(statuses=("created", *["processing"] * 20, "completed"))
    async with wavespeed(server, clock) as backend:
        await collect(backend.run(call))
    assert clock.slept[0] >= 2
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == 10


async def test_a_resumed_task_is_polled_at_once_and_never_submitted(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    async with wavespeed(server, clock) as backend:
        events = backend.run(call)
        accepted = await anext(events)
        assert isinstance(accepted, Accepted)
        await events.aclose()
        server.set_plan(statuses=("completed",))
        events_after = await collect(backend.resume(call, accepted.remote_id))
    assert [type(event) for event in events_after] == [Made]
    assert clock.slept == [0]
    assert server.submits == 1


async def test_an_unknown_task_ends_as_unknown(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    async with wavespeed(server, clock) as backend:
        with pytest.raises(OutcomeUnknown) as ended:
            await collect(backend.resume(call, "../gone?x=1"))
    assert ended.value.error.parameters["reason"] == "it knows no such task"
    assert {received.path for received in server.received} == {"/api/v2/predictions/..%2Fgone%3Fx%3D1/result"}
    assert server.submits == 0


@pytest.mark.parametrize("output", ["picture", "string", "base64", "data-uri"])
async def test_every_way_to_hand_over_a_picture(
    server: WaveSpeedServer, clock: FakeClock, call: Call, output: str
) -> None:
    server.plan = Plan(output=output)
    async with wavespeed(server, clock) as backend:
        events = await collect(backend.run(call))
    made = events[-1]
    assert isinstance(made, Made)
    assert Image.open(io.BytesIO(made.path.read_bytes())).format == "PNG"


@pytest.mark.parametrize(
    ("nsfw", "flagged"),
    [(None, False), ((), False), ((False,), False), ((True,), True), (True, True), (False, False)],
)
async def test_the_nsfw_mark_is_honoured_in_all_its_shapes(
    server: WaveSpeedServer, clock: FakeClock, call: Call, nsfw: object, flagged: bool
) -> None:
    server.plan = Plan(nsfw=nsfw)
    async with wavespeed(server, clock) as backend:
        made = (await collect(backend.run(call)))[-1]
    assert isinstance(made, Made)
    assert made.flagged is flagged


async def test_a_flagged_task_without_a_picture_says_so(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.plan = Plan(nsfw=(True,), output="empty")
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.CONTENT_FLAGGED


@pytest.mark.parametrize(
    ("status", "code", "error", "expected"),
    [
        ("failed", 1200, "content moderation", Code.CONTENT_FLAGGED),
        ("failed", None, "error 1200: content moderation", Code.CONTENT_FLAGGED),
        ("failed", 1400, "bad size", Code.BACKEND_REFUSED),
        ("failed", 1401, "bad seed", Code.BACKEND_REFUSED),
        ("failed", 1402, "cannot load media", Code.BACKEND_FAILED),
        ("failed", 1403, "failed", Code.BACKEND_FAILED),
        ("failed", 1405, "failed", Code.BACKEND_FAILED),
        ("failed", 5000, "internal", Code.BACKEND_FAILED),
        ("failed", 5003, "overloaded", Code.BACKEND_FAILED),
        ("failed", 5004, "timed out", Code.BACKEND_FAILED),
        ("failed", None, "", Code.BACKEND_FAILED),
        ("cancelled", None, "", Code.BACKEND_FAILED),
        ("timeout", None, "", Code.BACKEND_FAILED),
        ("deleted", None, "", Code.BACKEND_FAILED),
    ],
)
async def test_a_task_that_failed_afterwards_costs_nothing_and_is_not_sent_again(
    server: WaveSpeedServer, clock: FakeClock, call: Call, status: str, code: int | None, error: str, expected: Code
) -> None:
    server.plan = Plan(statuses=("processing", status), code=code, error=error)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is expected
    assert ended.value.cost == 0
    assert server.submits == 1


async def test_a_failure_that_is_told_at_once_is_still_accepted_first(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    server.plan = Plan(submit_status="failed", error="out of luck")
    async with wavespeed(server, clock) as backend:
        events = backend.run(call)
        assert isinstance(await anext(events), Accepted)
        with pytest.raises(BackendFailed) as ended:
            await anext(events)
    assert ended.value.error.parameters["reason"] == "out of luck"
    assert server.count("result") == 0


async def test_a_passing_code_around_a_poll_ends_nothing(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.fail("result", *[Fault(json={"code": 5004, "message": "still working"})] * 8)
    async with wavespeed(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.submits == 1


async def test_a_status_that_never_ends_runs_into_the_deadline(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    server.plan = Plan(statuses=("processing",))
    begun = clock.now()
    async with wavespeed(server, clock) as backend:
        with pytest.raises(OutcomeUnknown) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.DEADLINE_PASSED
    assert clock.now() - begun <= call.offer.deadline_seconds
    assert server.submits == 1


IMAGINE = ["hidream-i1-dev", "hidream-i1-full", "hidream-o1-image-dev", "hidream-o1-image"]
EDIT = ["hidream-e1-full", "hidream-o1-image-dev-edit", "hidream-o1-image-edit"]


@pytest.mark.parametrize("model", IMAGINE + EDIT)
async def test_every_model_of_theirs(server: WaveSpeedServer, clock: FakeClock, tmp_path: Path, model: str) -> None:
    call = make_call(offer(f"wavespeed:{model}"), tmp_path)
    async with wavespeed(server, clock) as backend:
        made = (await collect(backend.run(call)))[-1]
    assert isinstance(made, Made)
    size = call.offer.size_of(call.request) or Size(1024, 1024)
    assert Image.open(made.path).size == tuple(size)
    assert server.count("upload") == (model in EDIT)


async def test_the_operator_chooses_the_way_out_and_the_safety_checker_where_there_is_one(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    async with wavespeed(server, clock, base64_output=True, safety_checker=False) as backend:
        for model in ("hidream-i1-dev", "hidream-i1-full"):
            await collect(backend.run(make_call(offer(f"wavespeed:{model}"), tmp_path)))
    dev, full = (received.body for received in server.received if received.route == "submit")
    assert (dev["enable_base64_output"], dev["enable_safety_checker"]) == (True, False)
    assert full["enable_base64_output"] is True
    assert "enable_safety_checker" not in full
    assert server.count("output") == 0


async def test_in_sync_mode_the_picture_comes_with_the_submit(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    async with wavespeed(server, clock, sync=True) as backend:
        events = await collect(backend.run(make_call(offer("wavespeed:hidream-o1-image-dev"), tmp_path)))
    assert [type(event) for event in events] == [Accepted, Made]
    assert server.count("result") == 0


async def test_sync_mode_that_ends_too_early_is_polled(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    server.plan = Plan(sync_status="processing")
    async with wavespeed(server, clock, sync=True) as backend:
        events = await collect(backend.run(make_call(offer("wavespeed:hidream-o1-image-dev"), tmp_path)))
    assert [type(event) for event in events] == [Accepted, Working, Made]
    assert server.submits == 1


async def test_a_request_that_the_offer_cannot_honour_is_not_sent(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    call = make_call(offer("wavespeed:hidream-i1-dev"), tmp_path, size=Size(2048, 2048))
    async with wavespeed(server, clock) as backend:
        with pytest.raises(RequestRefused) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.OPTION_OUT_OF_RANGE
    assert server.received == []


async def test_health_tells_the_balance_and_is_kept_a_minute(server: WaveSpeedServer, clock: FakeClock) -> None:
    async with wavespeed(server, clock) as backend:
        health = await backend.health()
        assert (health.state, health.slots, health.detail) == (HealthState.UP, 3, "balance $12.50")
        clock.time += 59
        await backend.health()
        assert server.count("balance") == 1
        clock.time += 2
        await backend.health()
        assert server.count("balance") == 2


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault(401, {"message": "bad key"}), HealthState.DOWN),
        (Fault(502), HealthState.DOWN),
        (Fault(503), HealthState.DOWN),
        (Fault(504), HealthState.DOWN),
        (Fault(500), HealthState.UP),
        (Fault(501), HealthState.UP),
        (Fault(cut="before"), HealthState.DOWN),
        (Fault(404), HealthState.UP),
        (Fault(429), HealthState.UP),
        (Fault(raw="<html>"), HealthState.UP),
        (Fault(json={"data": {"balance": "12"}}), HealthState.UP),
    ],
)
async def test_health_never_raises(server: WaveSpeedServer, clock: FakeClock, fault: Fault, state: HealthState) -> None:
    server.fail("balance", fault)
    async with wavespeed(server, clock) as backend:
        assert (await backend.health()).state is state


async def test_health_of_nobody(clock: FakeClock, server: WaveSpeedServer) -> None:
    await server.stop()
    async with wavespeed(server, clock) as backend:
        health = await backend.health()
    assert health.state is HealthState.DOWN
    assert health.problem is not None
    assert health.problem.code is Code.BACKEND_UNREACHABLE


async def test_the_settings_describe_it(tmp_path: Path) -> None:
    assert WaveSpeedBackend.from_settings(load({}, tmp_path)) is None
    backend = WaveSpeedBackend.from_settings(
        load(
            {"WAVESPEED_API_KEY": "k", "WAVESPEED_SLOTS": "9", "WAVESPEED_OUTPUT_HOSTS": "a.example, *.b.example"},
            tmp_path,
        )
    )
    assert backend is not None
    await backend.aclose()


async def test_many_calls_at_once_all_end(server: WaveSpeedServer, clock: FakeClock, tmp_path: Path) -> None:
    server.fail("result", *[Fault(429, headers={"Retry-After": "20"})] * 5)
    calls = []
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        calls.append(make_call(offer("wavespeed:hidream-i1-dev"), folder, seeds=(number,), size=Size(512, 512)))
    async with wavespeed(server, clock) as backend:
        ended = await asyncio.gather(*[collect(backend.run(call)) for call in calls])
    assert all(isinstance(events[-1], Made) for events in ended)
    assert server.submits == len(server.tasks) == 50
    assert len({call.workspace.joinpath("0.png").read_bytes() for call in calls}) == 50


async def test_who_does_not_say_how_it_is_is_down(server: WaveSpeedServer, clock: FakeClock) -> None:
    server.fail("balance", Fault(silent=True))
    async with wavespeed(server, clock, timeouts=IMPATIENT) as backend:
        assert (await backend.health()).state is HealthState.DOWN
