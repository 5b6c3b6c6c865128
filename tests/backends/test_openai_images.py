"""Servers with OpenAI's images API, spoken to over real sockets."""

import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import JsonValue, SecretStr

from backends import answers, download
from backends.base import (
    BackendFailed,
    BackendUnavailable,
    Call,
    CallEnded,
    HealthState,
    Made,
    OutcomeUnknown,
    PictureFailed,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.openai_images import OpenAIImagesBackend
from config.loading import load
from domain.errors import Code, UserError
from domain.money import MicroUSD
from domain.request import Size
from tests.backends.calls import CATALOGUE, collect, make_call, offer
from tests.backends.conftest import IMPATIENT, openai
from tests.doubles import FakeClock
from tests.servers.hosted import KEY, Fault
from tests.servers.openai_images import OpenAIImagesServer

PRICE = MicroUSD(30_000)
PAID = CATALOGUE.with_own("openai", {}, PRICE)
OFFERS = [one.model_key for one in CATALOGUE.offers().values() if one.backend == "openai"]


@pytest.fixture
async def server() -> AsyncIterator[OpenAIImagesServer]:
    async with OpenAIImagesServer() as server:
        yield server


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return make_call(offer("openai:hidream-i1-full"), tmp_path)


@pytest.fixture
def paid(tmp_path: Path) -> Call:
    priced = PAID.offer("openai:hidream-i1-full")
    assert priced is not None
    return make_call(priced, tmp_path)


@pytest.mark.parametrize("model", OFFERS)
async def test_every_model(server: OpenAIImagesServer, clock: FakeClock, tmp_path: Path, model: str) -> None:
    call = make_call(offer(f"openai:{model}"), tmp_path)
    async with openai(server, clock) as backend:
        events = await collect(backend.run(call))
    assert [type(event) for event in events] == [Working, Made]
    assert server.made[0]["model"] == call.offer.target


async def test_what_is_left_open_is_not_sent_except_the_seed(
    server: OpenAIImagesServer, clock: FakeClock, call: Call
) -> None:
    async with openai(server, clock) as backend:
        await collect(backend.run(call))
    assert server.made == [
        {
            "model": "HiDream-ai/HiDream-I1-Full",
            "prompt": "a red circle",
            "n": 1,
            "size": "1024x1024",
            "response_format": "b64_json",
            "seed": 7,
        }
    ]


async def test_an_answer_with_a_picture_is_read_off_the_event_loop(
    server: OpenAIImagesServer, clock: FakeClock, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    read = answers._json

    def noted(content: bytes) -> JsonValue:
        threads.append(threading.get_ident())
        return read(content)

    monkeypatch.setattr(answers, "_json", noted)
    monkeypatch.setattr(answers, "LARGE_ANSWER_BYTES", 1000)
    monkeypatch.setattr(download, "DECODED_AT_A_TIME", 64)
    async with openai(server, clock) as backend:
        made = (await collect(backend.run(call)))[-1]
    assert isinstance(made, Made)
    with Image.open(made.path) as image:
        image.load()
    assert threading.get_ident() not in threads
    assert threads


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),  # half an emoji
        (b"[" * 100_000, None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_what_a_server_may_answer(content: bytes, value: JsonValue) -> None:
    assert answers._json(content) == value


async def test_every_option(server: OpenAIImagesServer, clock: FakeClock, tmp_path: Path) -> None:
    call = make_call(
        offer("openai:hidream-i1-full"),
        tmp_path,
        negative_prompt="a wolf",
        size=Size(512, 768),
        steps=20,
        guidance=4.5,
    )
    async with openai(server, clock) as backend:
        made = (await collect(backend.run(call)))[-1]
    assert isinstance(made, Made)
    with Image.open(made.path) as image:
        assert image.size == (512, 768)
    body = server.made[0]
    assert [body[name] for name in ("negative_prompt", "size", "num_inference_steps", "guidance_scale")] == [
        "a wolf",
        "512x768",
        20,
        4.5,
    ]


async def test_an_edit_is_sent_as_multipart(server: OpenAIImagesServer, clock: FakeClock, tmp_path: Path) -> None:
    call = make_call(offer("openai:hidream-e1.1"), tmp_path, guidance=2.5)
    assert call.source is not None
    async with openai(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.received[0].path == "/v1/images/edits"
    assert server.sources == [call.source.read_bytes()]
    assert server.made[0] == {
        "model": "HiDream-ai/HiDream-E1-1",
        "prompt": "a red circle",
        "n": 1,
        "response_format": "b64_json",
        "seed": 7,
        "guidance_scale": 2.5,
    }


async def test_pictures_by_url(server: OpenAIImagesServer, clock: FakeClock, call: Call) -> None:
    async with openai(server, clock, output="url") as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.made[0]["response_format"] == "url"
    assert server.count("output") == 1


async def test_several_pictures_of_one_call(server: OpenAIImagesServer, clock: FakeClock, tmp_path: Path) -> None:
    call = make_call(offer("openai:hidream-i1-dev"), tmp_path, seeds=(7, 8, 9))
    async with openai(server, clock) as backend:
        events = await collect(backend.run(call))
        assert [event.index for event in events if isinstance(event, Made)] == [0, 1, 2]
        server.set_plan(output="fewer")
        events = await collect(backend.run(call))
    assert [type(event) for event in events] == [Working, Made, Made, PictureFailed]
    assert server.made[0]["n"] == 3


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
async def test_the_url_may_have_the_version_or_not(
    server: OpenAIImagesServer, clock: FakeClock, call: Call, base: str
) -> None:
    async with openai(server, clock, base_urls=[server.url + base]) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)


async def test_without_a_key_none_is_sent(clock: FakeClock, call: Call) -> None:
    async with OpenAIImagesServer(key="") as server, openai(server, clock, api_key=None) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
        assert (await backend.health()).state is HealthState.UP


async def test_the_price_of_an_operator(server: OpenAIImagesServer, clock: FakeClock, paid: Call) -> None:
    assert paid.offer.is_paid
    async with openai(server, clock) as backend:
        made = (await collect(backend.run(paid)))[-1]
    assert isinstance(made, Made)
    assert made.cost == PRICE


LOST = [Fault(cut="before", accepted=True), Fault(cut="middle", accepted=True), Fault(silent=True, accepted=True)]


@pytest.mark.parametrize("fault", LOST, ids=["cut", "cut in the middle", "silence"])
async def test_a_lost_answer_is_made_again_where_it_is_free_and_unknown_where_it_is_not(
    server: OpenAIImagesServer, clock: FakeClock, call: Call, paid: Call, fault: Fault
) -> None:
    server.fail("submit", fault, fault)
    async with openai(server, clock, timeouts=IMPATIENT) as backend:
        with pytest.raises(WorkerDied):
            await collect(backend.run(call))
        with pytest.raises(OutcomeUnknown):
            await collect(backend.run(paid))
    assert server.submits == 2


@pytest.mark.parametrize(
    ("fault", "free", "code"),
    [
        (Fault(500, {"error": {"message": "CUDA out of memory"}}), BackendFailed, Code.BACKEND_FAILED),
        (Fault(501), BackendFailed, Code.BACKEND_FAILED),
        (Fault(503), BackendUnavailable, Code.BACKEND_UNREACHABLE),
        (Fault(raw="<html>"), BackendFailed, Code.BACKEND_ANSWER_INVALID),
        (Fault(json={"data": 5}), BackendFailed, Code.BACKEND_ANSWER_INVALID),
    ],
)
async def test_a_failure_is_a_failure_where_it_is_free_and_unknown_where_it_is_not(
    server: OpenAIImagesServer,
    clock: FakeClock,
    call: Call,
    paid: Call,
    fault: Fault,
    free: type[CallEnded],
    code: Code,
) -> None:
    server.fail("submit", fault, fault)
    async with openai(server, clock) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(call))
        assert (type(ended.value), ended.value.error.code) == (free, code)
        with pytest.raises(OutcomeUnknown):
            await collect(backend.run(paid))


@pytest.mark.parametrize(
    ("status", "error", "ending", "code"),
    [
        (400, "content_policy_violation", RequestRefused, Code.CONTENT_FLAGGED),
        (400, "moderation_blocked", RequestRefused, Code.CONTENT_FLAGGED),
        (404, "model_not_found", RequestRefused, Code.MODEL_NOT_FOUND),
        (429, "insufficient_quota", BackendUnavailable, Code.BACKEND_OUT_OF_CREDIT),
        (429, "rate_limit_exceeded", BackendUnavailable, Code.BACKEND_RATE_LIMITED),
        (400, "invalid_value", RequestRefused, Code.BACKEND_REFUSED),
        (401, "invalid_api_key", BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    ],
)
async def test_errors_by_their_code(
    server: OpenAIImagesServer,
    clock: FakeClock,
    paid: Call,
    status: int,
    error: str,
    ending: type[CallEnded],
    code: Code,
) -> None:
    server.set_plan(error=error, status=status)
    async with openai(server, clock) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(paid))
    assert (type(ended.value), ended.value.error.code) == (ending, code)
    assert server.made == []


@pytest.mark.parametrize("output", ["none", "nothing", "missing", "text", "url:https://evil.example/a.png"])
async def test_an_output_that_cannot_be_used_is_paid_for(
    server: OpenAIImagesServer, clock: FakeClock, paid: Call, output: str
) -> None:
    server.set_plan(output=output)
    async with openai(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(paid))
    assert (ended.value.error.code, ended.value.cost) == (Code.BACKEND_ANSWER_INVALID, PRICE)
    assert list(paid.workspace.iterdir()) == []


async def test_what_one_server_does_not_take_the_next_one_gets(
    server: OpenAIImagesServer, clock: FakeClock, paid: Call
) -> None:
    async with OpenAIImagesServer() as gone, OpenAIImagesServer() as busy:
        await gone.stop()
        busy.fail("submit", Fault(429))
        async with openai(server, clock, base_urls=[gone.url, busy.url, server.url]) as backend:
            assert isinstance((await collect(backend.run(paid)))[-1], Made)
            health = await backend.health()
            assert (health.state, health.slots) == (HealthState.UP, 4)
            assert health.detail.startswith("2 of 3 servers; models HiDream-ai/HiDream-I1-Dev")
            # Neither is asked again so soon.
            assert isinstance((await collect(backend.run(paid)))[-1], Made)
    assert (busy.submits, server.submits) == (1, 2)


async def test_what_may_have_been_taken_is_not_given_to_the_next_one(
    server: OpenAIImagesServer, clock: FakeClock, paid: Call
) -> None:
    async with OpenAIImagesServer() as first:
        first.fail("submit", Fault(cut="before", accepted=True))
        async with openai(server, clock, base_urls=[first.url, server.url]) as backend:
            with pytest.raises(OutcomeUnknown):
                await collect(backend.run(paid))
    assert (first.submits, server.submits) == (1, 0)


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault(401), HealthState.DOWN),
        (Fault(503), HealthState.DOWN),
        (Fault(cut="before"), HealthState.DOWN),
        (Fault(404), HealthState.UP),
        (Fault(raw="<html>"), HealthState.UP),
    ],
)
async def test_health(server: OpenAIImagesServer, clock: FakeClock, fault: Fault, state: HealthState) -> None:
    server.fail("models", fault)
    async with openai(server, clock) as backend:
        assert (await backend.health()).state is state


async def test_nothing_can_be_resumed(server: OpenAIImagesServer, clock: FakeClock, call: Call) -> None:
    async with openai(server, clock) as backend:
        with pytest.raises(OutcomeUnknown):
            await collect(backend.resume(call, "id"))


async def test_the_key_is_nowhere(clock: FakeClock, paid: Call, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("httpx", "httpcore", "backends"):
        caplog.set_level(logging.DEBUG, name)
    async with OpenAIImagesServer(key="canary-123") as server:
        server.fail("submit", Fault(400, {"error": {"message": "the key canary-123 may not"}}))
        async with openai(server, clock, api_key=SecretStr("canary-123")) as backend:
            with pytest.raises(CallEnded) as ended:
                await collect(backend.run(paid))
            seen = f"{vars(backend)!r} {await backend.health()!r}"
    assert "HTTP Request: POST" in caplog.text
    assert "canary" not in f"{ended.value!r} {ended.value.error!r} {seen} {caplog.text}"


async def test_the_settings_describe_it(tmp_path: Path) -> None:
    assert OpenAIImagesBackend.from_settings(load({}, tmp_path)) is None
    given: dict[str, Any] = {
        "OPENAI_IMAGES_URL": "http://10.0.0.5:8000, http://10.0.0.6:8000/v1",
        "OPENAI_IMAGES_API_KEY": KEY,
        "OPENAI_IMAGES_MODELS": "hidream-i1-dev=mine",
        "OPENAI_IMAGES_PRICE_USD": "0.03",
    }
    settings = load(given, tmp_path)
    backend = OpenAIImagesBackend.from_settings(settings)
    assert backend is not None
    assert [str(server.api.base_url) for server in backend._servers] == ["http://10.0.0.5:8000", "http://10.0.0.6:8000"]
    await backend.aclose()
    own = CATALOGUE.with_own("openai", settings.openai_images_models, PRICE)
    (mine,) = [one for one in own.offers().values() if one.backend == "openai"]
    assert (mine.key, mine.target, mine.price) == ("openai:hidream-i1-dev", "mine", PRICE)
    with pytest.raises(UserError):
        CATALOGUE.with_own("openai", {"tiny": None})
