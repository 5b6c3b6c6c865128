"""Webhooks over real sockets: a genuine one wakes the poller, nothing else does."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backends.base import Accepted, Made
from backends.clock import Clock
from backends.limiter import Pace
from backends.webhooks import MAX_BODY_BYTES, Webhooks, secret_in
from config.listening import LOOPBACK, ListenAddress
from config.loading import load
from domain.errors import Code, OperatorError
from tests.backends.calls import make_call, offer
from tests.backends.conftest import runware, wavespeed
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.runware import RunwareServer
from tests.servers.wavespeed import Task, WaveSpeedServer

SLOW = Pace(first=3600, longest=3600)
"""Who waits this long has not been woken."""


class Now:
    """Seconds since the epoch, which the tests set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def webhooks(now: Now) -> AsyncIterator[Webhooks]:
    webhooks = Webhooks("http://127.0.0.1:1", now=now)
    async with webhooks.listening(ListenAddress(LOOPBACK, 0)) as port:
        webhooks._public_url = f"http://127.0.0.1:{port}"
        yield webhooks


async def submitted(server: WaveSpeedServer, webhooks: Webhooks, clock: FakeClock, folder: Path) -> Task:
    """A task that was submitted and is not polled yet."""
    async with wavespeed(server, clock, webhooks=webhooks) as backend:
        events = backend.run(make_call(offer("wavespeed:hidream-i1-dev"), folder))
        assert isinstance(await anext(events), Accepted)
        await events.aclose()
    return next(iter(server.tasks.values()))


async def test_a_genuine_webhook_of_wavespeed_wakes_the_poller(
    server: WaveSpeedServer, webhooks: Webhooks, clock: FakeClock, tmp_path: Path
) -> None:
    server.set_plan(statuses=("completed",))
    patient = offer("wavespeed:hidream-i1-dev").model_copy(update={"deadline_seconds": 10_000})
    async with wavespeed(server, clock, webhooks=webhooks) as backend:
        backend._clock, backend._pace = Clock(), SLOW
        events = backend.run(make_call(patient, tmp_path))
        assert isinstance(await anext(events), Accepted)
        (task,) = server.tasks.values()
        assert task.webhook.startswith(webhooks._public_url)
        made = asyncio.ensure_future(anext(events))
        assert await server.call_webhook(task) == 200
        async with asyncio.timeout(60):
            assert isinstance(await made, Made)
        await events.aclose()
    assert server.count("result") == 1


async def test_a_webhook_of_runware_wakes_the_poller_at_a_path_that_nobody_can_guess(
    webhooks: Webhooks, clock: FakeClock, tmp_path: Path
) -> None:
    patient = offer("runware:hidream-i1-full").model_copy(update={"deadline_seconds": 10_000})
    async with RunwareServer() as server, runware(server, clock, webhooks=webhooks) as backend:
        server.set_plan(polls=0)
        backend._clock, backend._pace = Clock(), SLOW
        events = backend.run(make_call(patient, tmp_path))
        assert isinstance(await anext(events), Accepted)
        (task,) = server.tasks.values()
        url = task.body["webhookURL"]
        assert len(url.rpartition("/")[2]) >= 43
        made = asyncio.ensure_future(anext(events))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(url[:-1], json={})).status_code == 404
            assert (await client.post(url, content=b"\x00anything")).status_code == 200
        async with asyncio.timeout(60):
            assert isinstance(await made, Made)
        await events.aclose()


@pytest.mark.parametrize(
    ("age", "signature", "status"),
    [
        (0, None, 200),
        (299, None, 200),
        (310, None, 400),
        (-310, None, 400),
        (0, "v3," + "0" * 64, 401),
        (0, "v3,é", 401),
        (0, "v2," + "0" * 64, 400),
        (0, "", 400),
    ],
)
async def test_who_may_wake(
    server: WaveSpeedServer,
    webhooks: Webhooks,
    clock: FakeClock,
    tmp_path: Path,
    age: int,
    signature: str | None,
    status: int,
) -> None:
    task = await submitted(server, webhooks, clock, tmp_path)
    async with wavespeed(server, clock, webhooks=webhooks) as backend:
        webhooks.signed_url(backend._webhook_secret)
        assert await server.call_webhook(task, age=age, signature=signature) == status
    assert list(webhooks._early) == ([task.id] if status == 200 else [])


async def test_the_same_webhook_twice_wakes_once(
    server: WaveSpeedServer, webhooks: Webhooks, clock: FakeClock, tmp_path: Path
) -> None:
    task = await submitted(server, webhooks, clock, tmp_path)
    async with wavespeed(server, clock, webhooks=webhooks) as backend:
        webhooks.signed_url(backend._webhook_secret)
        assert await server.call_webhook(task) == 200
        await webhooks.sleep(Clock(), task.id, 3600)  # woken already
        assert await server.call_webhook(task) == 200
        assert not webhooks._early
        assert await server.call_webhook(task, number=2) == 200
        assert list(webhooks._early) == [task.id]


async def test_a_secret_that_was_changed_is_asked_for_again_but_not_at_every_forgery(
    server: WaveSpeedServer, webhooks: Webhooks, clock: FakeClock, tmp_path: Path, now: Now
) -> None:
    task = await submitted(server, webhooks, clock, tmp_path)
    async with wavespeed(server, clock, webhooks=webhooks) as backend:
        webhooks.signed_url(backend._webhook_secret)
        assert await server.call_webhook(task) == 200
        server.webhook_secret = "whsec_another"
        for number in range(2, 6):
            assert await server.call_webhook(task, number=number) == 401
        assert server.count("secret") == 1
        now.offset = 61
        assert await server.call_webhook(task, number=9) == 200
        assert server.count("secret") == 2
        server.fail("secret", Fault(500))
        now.offset = 122
        assert await server.call_webhook(task, number=10) == 200, "it still fits: nobody has to be asked"


async def test_what_is_too_large_or_makes_no_sense(webhooks: Webhooks) -> None:
    url = webhooks.private_url("task")
    async with httpx.AsyncClient(trust_env=False) as client:
        signed = url.replace("/runware/", "/wavespeed?").partition("?")[0]
        assert (await client.post(signed, content=bytes(MAX_BODY_BYTES + 1))).status_code == 413
        assert (await client.post(signed, headers={"webhook-timestamp": "9" * 400})).status_code == 400
        assert (await client.get(url)).status_code == 405


async def test_what_is_kept_has_an_end() -> None:
    webhooks = Webhooks("http://127.0.0.1:1")
    for number in range(10_000):
        webhooks.wake(str(number))
        webhooks.private_url(str(number))
    assert len(webhooks._early) == len(webhooks._paths) == 4096


@pytest.mark.parametrize("body", [{"data": {"secret": "s"}}, {"data": "s"}, {"secret": "s"}])
def test_where_the_secret_stands(body: dict[str, object]) -> None:
    found = secret_in(body)  # type: ignore[arg-type]
    assert found is not None
    assert found.get_secret_value() == "s"


def test_half_of_the_settings_is_refused(tmp_path: Path) -> None:
    assert Webhooks.from_settings(load({}, tmp_path)) is None
    both = {"EASEL_WEBHOOK_LISTEN": "127.0.0.1:8080", "EASEL_WEBHOOK_PUBLIC_URL": "https://easel.example/"}
    assert Webhooks.from_settings(load(both, tmp_path)) is not None
    for name in both:
        rest = {other: value for other, value in both.items() if other != name}
        with pytest.raises(OperatorError) as refused:
            Webhooks.from_settings(load(rest, tmp_path))
        assert refused.value.parameters["setting"] == name
    with pytest.raises(OperatorError) as refused:
        load({"EASEL_WEBHOOK_LISTEN": "nowhere"}, tmp_path)
    assert refused.value.code is Code.SETTING_INVALID


async def test_a_port_that_is_taken_is_named() -> None:
    async with Webhooks("http://x").listening(ListenAddress(LOOPBACK, 0)) as port:
        with pytest.raises(OperatorError) as refused:
            async with Webhooks("http://x").listening(ListenAddress(LOOPBACK, port)):
                pass
    assert refused.value.parameters["setting"] == "EASEL_WEBHOOK_LISTEN"
