"""Runware, spoken to over real sockets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backends.base import (
    Accepted,
    BackendFailed,
    Call,
    HealthState,
    Made,
    OutcomeUnknown,
    PictureFailed,
    RequestRefused,
    Working,
)
from backends.runware import RunwareBackend
from backends.runware_protocol import Delivery
from config.catalogue import Offer
from config.loading import load
from domain.accelerators import AcceleratorOptions
from domain.errors import Code, OperatorError
from domain.money import micro_usd
from domain.request import Lora, LoraStage, PictureFormat, Size
from tests.backends.calls import CATALOGUE, collect, make_call, offer
from tests.backends.conftest import IMPATIENT, runware
from tests.domain.test_accelerators import EVERYTHING
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.runware import Plan, RunwareServer

FULL = offer("runware:hidream-i1-full")


@pytest.fixture
def server(runware_server: RunwareServer) -> RunwareServer:
    return runware_server


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return make_call(FULL, tmp_path)


async def test_a_picture_is_submitted_once_polled_and_fetched(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    async with runware(server, clock) as backend:
        events = await collect(backend.run(call))
    uuid = call.pictures[0].submission_id
    path = call.workspace / "0.png"
    assert events == [Accepted((0,), uuid), Working(), Made(0, path, cost=micro_usd("0.0083"))]
    assert Image.open(path).size == (1024, 1024)
    assert [received.route for received in server.received] == ["submit", "poll", "poll", "output"]
    assert list(server.tasks) == [uuid]


async def test_the_task_says_everything_and_leaves_nothing_to_defaults(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    async with runware(server, clock) as backend:
        await collect(backend.run(call))
    assert server.received[0].body == [
        {
            "taskType": "imageInference",
            "taskUUID": call.pictures[0].submission_id,
            "model": "runware:97@1",
            "numberResults": 1,
            "deliveryMethod": "async",
            "outputType": "URL",
            "outputQuality": 95,
            "safety": {"checkContent": False},
            "includeCost": True,
            "positivePrompt": "a red circle",
            "width": 1024,
            "height": 1024,
            "seed": 7,
            "steps": 30,
            "outputFormat": "PNG",
        }
    ]


async def test_every_option_of_a_member_has_its_field(server: RunwareServer, clock: FakeClock, tmp_path: Path) -> None:
    call = make_call(
        FULL,
        tmp_path,
        negative_prompt="blur",
        size=Size(512, 768),
        steps=40,
        guidance=5.25,
        scheduler="Euler a",
        loras=(Lora(model="civitai:1@2", weight=0.8, stage=LoraStage.HIGH),),
        speed="fast",
        format=PictureFormat.JPEG,
    )
    async with runware(server, clock) as backend:
        await collect(backend.run(call))
    (task,) = server.received[0].body
    assert {
        "negativePrompt": "blur",
        "width": 512,
        "height": 768,
        "steps": 40,
        "CFGScale": 5.25,
        "scheduler": "Euler a",
        "lora": [{"model": "civitai:1@2", "weight": 0.8, "transformer": "high"}],
        "acceleratorOptions": {"teaCache": True, "teaCacheDistance": 0.45},
        "outputFormat": "JPG",
    }.items() <= task.items()


@pytest.mark.parametrize("model", ["hidream-i1-full", "hidream-i1-dev", "hidream-i1-fast"])
async def test_every_model_of_theirs(server: RunwareServer, clock: FakeClock, tmp_path: Path, model: str) -> None:
    async with runware(server, clock) as backend:
        assert isinstance((await collect(backend.run(make_call(offer(f"runware:{model}"), tmp_path))))[-1], Made)


PERCENTAGES: dict[str, Any] = {"fbCache": True, "cacheStartStepPercentage": 10, "cacheEndStepPercentage": 90}


def with_word(options: dict[str, Any]) -> Offer:
    """Full's offer, in which ``mine`` stands for these options."""
    presets = {"runware": {"mine": AcceleratorOptions.model_validate(options)}}
    mine = CATALOGUE.with_presets(presets).offer("runware:hidream-i1-full")
    assert mine is not None
    return mine


@pytest.mark.parametrize("options", [EVERYTHING, PERCENTAGES])
async def test_all_accelerator_options_have_a_way_in_as_an_operators_word(
    server: RunwareServer, clock: FakeClock, tmp_path: Path, options: dict[str, Any]
) -> None:
    async with runware(server, clock) as backend:
        await collect(backend.run(make_call(with_word(options), tmp_path, speed="mine")))
    assert server.received[0].body[0]["acceleratorOptions"] == options


async def test_a_cache_that_ends_after_the_last_step_is_not_sent(
    server: RunwareServer, clock: FakeClock, tmp_path: Path
) -> None:
    async with runware(server, clock) as backend:
        with pytest.raises(RequestRefused) as ended:
            await collect(backend.run(make_call(with_word(EVERYTHING), tmp_path, speed="mine", steps=20)))
    assert ended.value.error.code is Code.STEPS_TOO_FEW
    assert ended.value.error.parameters == {"option": "cacheEndStep 28", "steps": 20, "minimum": 28}
    assert server.received == []


DELIVERIES = {
    "sync": Delivery(method="sync"),
    "base64": Delivery(output="base64"),
    "data-uri": Delivery(output="data-uri", quality=20),
    "everything": Delivery(
        quality=99,
        ttl_seconds=60,
        check_content=True,
        upload_endpoint="https://bucket.example/a?signature=1",
    ),
}


@pytest.mark.parametrize("name", DELIVERIES)
async def test_what_the_operator_decides(server: RunwareServer, clock: FakeClock, call: Call, name: str) -> None:
    async with runware(server, clock, delivery=DELIVERIES[name]) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    (task,) = server.received[0].body
    assert DELIVERIES[name].fields().items() <= task.items()
    if name == "everything":
        assert (task["ttl"], task["safety"]) == (60, {"checkContent": True, "mode": "fast"})
    assert server.count("poll") == (0 if name == "sync" else 2)


def test_the_time_to_live_is_only_for_urls() -> None:
    assert "ttl" not in Delivery(output="base64", ttl_seconds=60).fields()


async def test_the_settings_describe_it(tmp_path: Path) -> None:
    assert RunwareBackend.from_settings(load({}, tmp_path)) is None
    environment = {
        "RUNWARE_API_KEY": "k",
        "RUNWARE_DELIVERY": "sync",
        "RUNWARE_OUTPUT": "data-uri",
        "RUNWARE_QUALITY": "50",
        "RUNWARE_TTL_SECONDS": "90",
        "RUNWARE_SAFETY": "fast",
        "RUNWARE_UPLOAD_ENDPOINT": "https://bucket.example/a",
        "RUNWARE_OUTPUT_HOSTS": "a.example",
    }
    backend = RunwareBackend.from_settings(load(environment, tmp_path))
    assert backend is not None
    assert backend._delivery == Delivery("sync", "data-uri", 50, 90, True, "https://bucket.example/a")
    await backend.aclose()


@pytest.mark.parametrize(
    "setting", [("RUNWARE_QUALITY", "19"), ("RUNWARE_TTL_SECONDS", "59"), ("RUNWARE_SAFETY", "max")]
)
def test_settings_out_of_range(setting: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        load(dict([setting]), tmp_path)
    assert refused.value.parameters["setting"] == setting[0]


async def test_several_pictures_are_one_task_and_are_told_as_they_come(
    server: RunwareServer, clock: FakeClock, tmp_path: Path
) -> None:
    server.plan = Plan(one_by_one=True)
    call = make_call(FULL, tmp_path, seeds=(7, 8, 9), count=3)
    polls_at = []
    async with runware(server, clock) as backend:
        async for event in backend.run(call):
            if isinstance(event, Made):
                polls_at.append((event.index, server.count("poll")))
    assert polls_at == [(0, 2), (1, 3), (2, 4)]
    assert server.submits == 1
    assert server.received[0].body[0]["numberResults"] == 3
    assert {path.name for path in call.workspace.iterdir()} == {"0.png", "1.png", "2.png"}


async def test_seeds_that_the_vendor_chose_are_told(server: RunwareServer, clock: FakeClock, tmp_path: Path) -> None:
    server.plan = Plan(seeds=(555, 7, 2**63 - 1))
    call = make_call(FULL, tmp_path, seeds=(7, 8, 9), count=3)
    async with runware(server, clock) as backend:
        made = {event.index: event.seed for event in await collect(backend.run(call)) if isinstance(event, Made)}
    # The seed that was asked for first stays with the first picture.
    assert made == {0: None, 1: 2**63 - 1, 2: 555}


@pytest.mark.parametrize("method", ["async", "sync"])
async def test_some_pictures_fail_and_the_others_are_kept(
    server: RunwareServer, clock: FakeClock, tmp_path: Path, method: str
) -> None:
    server.plan = Plan(failures=(1,), message="out of memory")
    call = make_call(FULL, tmp_path, seeds=(7, 8, 9), count=3)
    async with runware(server, clock, delivery=Delivery(method=method)) as backend:
        events = await collect(backend.run(call))
    assert sum(isinstance(event, Made) for event in events) == 2
    (failed,) = [event for event in events if isinstance(event, PictureFailed)]
    assert failed.index == 1
    assert failed.failure.code is Code.BACKEND_FAILED
    assert failed.failure.parameters["reason"] == "out of memory"
    assert failed.cost == 0


async def test_the_true_cost_is_told_and_where_there_is_none_the_price_is(
    server: RunwareServer, clock: FakeClock, tmp_path: Path
) -> None:
    async with runware(server, clock) as backend:
        for cost, expected in [(0.0083, "0.0083"), (0.0, "0"), (None, "0.036")]:
            server.plan = Plan(cost=cost)
            call = make_call(FULL, tmp_path, submission=str(cost), size=Size(2048, 2048))
            made = (await collect(backend.run(call)))[-1]
            assert isinstance(made, Made)
            assert made.cost == micro_usd(expected)


async def test_the_nsfw_mark_is_honoured(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.plan = Plan(nsfw=True)
    async with runware(server, clock, delivery=Delivery(check_content=True)) as backend:
        made = (await collect(backend.run(call)))[-1]
    assert isinstance(made, Made)
    assert made.flagged


async def test_older_answers_say_pending(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.plan = Plan(pending="pending", polls=3)
    async with runware(server, clock) as backend:
        events = await collect(backend.run(call))
    assert [type(event) for event in events] == [Accepted, Working, Made]


async def test_polls_begin_after_a_second_and_grow_apart(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.plan = Plan(polls=15)
    async with runware(server, clock) as backend:
        await collect(backend.run(call))
    assert clock.slept[0] == 1
    assert clock.slept == sorted(clock.slept)


@pytest.mark.parametrize(
    ("code", "parameter", "expected", "option"),
    [
        ("invalidSteps", "steps", Code.BACKEND_REFUSED, "steps"),
        ("invalidCFGScale", ["CFGScale"], Code.BACKEND_REFUSED, "guidance"),
        ("invalidHeight", "height", Code.BACKEND_REFUSED, "size"),
        ("invalidLoraModel", "lora[0].model", Code.BACKEND_REFUSED, "lora"),
        ("incompatibleParameters", ["x", "acceleratorOptions.teaCache"], Code.BACKEND_REFUSED, "speed"),
        ("invalidTtl", "ttl", Code.BACKEND_REFUSED, None),
        ("nsfwContentDetected", None, Code.CONTENT_FLAGGED, None),
        ("inferenceError", None, Code.BACKEND_FAILED, None),
        ("timeoutProvider", None, Code.BACKEND_FAILED, None),
    ],
)
async def test_errors_name_what_the_person_typed(
    server: RunwareServer, clock: FakeClock, call: Call, code: str, parameter: Any, expected: Code, option: str | None
) -> None:
    server.plan = Plan(failures=(0,), code=code, parameter=parameter)
    async with runware(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is expected
    assert ended.value.error.parameters.get("option") == option
    assert server.submits == 1


async def test_a_used_task_uuid_is_looked_up_and_never_replaced(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    async with runware(server, clock) as backend:
        first = await collect(backend.run(call))
        again = await collect(backend.run(call))
    assert first[0] == again[0] == Accepted((0,), call.pictures[0].submission_id)
    assert isinstance(again[-1], Made)
    assert len(server.tasks) == 1


async def test_a_resumed_task_is_asked_for_at_once_and_never_submitted(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    async with runware(server, clock) as backend:
        events = backend.run(call)
        accepted = await anext(events)
        assert isinstance(accepted, Accepted)
        await events.aclose()
        server.set_plan(polls=0)
        resumed = await collect(backend.resume(call, accepted.remote_id))
    assert [type(event) for event in resumed] == [Made]
    assert clock.slept == [0]
    assert server.submits == 1


@pytest.mark.parametrize("vendors_own", [False, True])
async def test_a_task_of_which_some_pictures_were_kept_before_is_resumed_for_the_others(
    server: RunwareServer, clock: FakeClock, tmp_path: Path, vendors_own: bool
) -> None:
    server.plan = Plan(seeds=(7, 501, 502) if vendors_own else (), one_by_one=True)
    call = make_call(FULL, tmp_path, seeds=(7, 8, 9), count=3)
    async with runware(server, clock) as backend:
        events = backend.run(call)
        accepted = await anext(events)
        assert isinstance(accepted, Accepted)
        first = [await anext(events) for _ in range(2)][-1]
        assert isinstance(first, Made)
        assert first.index == 0
        await events.aclose()
        rest = replace(call, pictures=call.pictures[1:])
        made = [event for event in await collect(backend.resume(rest, accepted.remote_id)) if isinstance(event, Made)]
    assert sorted(event.index for event in made) == [1, 2]
    pixels = [Image.open(event.path).convert("RGB").getpixel((0, 0)) for event in (first, *made)]
    assert len(set(pixels)) == 3
    assert server.submits == 1


async def test_an_unknown_task_ends_as_unknown(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    async with runware(server, clock) as backend:
        with pytest.raises(OutcomeUnknown):
            await collect(backend.resume(call, "00000000-0000-4000-8000-000000000000"))
    assert server.submits == 0


async def test_health_tells_the_balance_and_is_kept_a_minute(server: RunwareServer, clock: FakeClock) -> None:
    async with runware(server, clock) as backend:
        health = await backend.health()
        assert (health.state, health.slots, health.detail) == (HealthState.UP, 3, "balance $7.25")
        await backend.health()
    assert server.count("account") == 1


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault(401, {"errors": [{"code": "invalidApiKey", "message": "no"}]}), HealthState.DOWN),
        (Fault(400, {"errors": [{"code": "invalidApiKey", "message": "no"}]}), HealthState.DOWN),
        (Fault(500), HealthState.DOWN),
        (Fault(cut="before"), HealthState.DOWN),
        (Fault(404), HealthState.UP),
        (Fault(429), HealthState.UP),
        (Fault(raw="<html>"), HealthState.UP),
        (Fault(json={"data": [{"balance": {"amount": 3}}]}), HealthState.UP),
        (Fault(json={"data": [{"balance": {"currency": "USD", "free": 3.5}}]}), HealthState.UP),
    ],
)
async def test_health_never_raises(server: RunwareServer, clock: FakeClock, fault: Fault, state: HealthState) -> None:
    server.fail("account", fault)
    async with runware(server, clock) as backend:
        assert (await backend.health()).state is state


async def test_who_does_not_say_how_it_is_is_down(server: RunwareServer, clock: FakeClock) -> None:
    server.fail("account", Fault(silent=True))
    async with runware(server, clock, timeouts=IMPATIENT) as backend:
        assert (await backend.health()).state is HealthState.DOWN
