"""What happens for every fault at every hosted backend: who reads what, what is charged, how often it was sent.

``python -m tests.backends.fault_matrix`` prints the table; ``test_fault_matrix`` holds it to the rules.
"""

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from backends.base import (
    Backend,
    BackendFailed,
    BackendUnavailable,
    CallEnded,
    Made,
    OutcomeUnknown,
    PictureFailed,
    WorkerDied,
)
from cogs.ui.texts import of_error, of_failure
from config.catalogue import Offer
from domain.money import MicroUSD, format_usd
from tests.backends.calls import CATALOGUE, make_call, offer
from tests.backends.conftest import IMPATIENT, NEVER_CONNECTED, QUICK, comfyui, openai, runware, wavespeed
from tests.doubles import FakeClock
from tests.servers.comfyui import ComfyUIServer
from tests.servers.hosted import Fault, HostedServer
from tests.servers.openai_images import OpenAIImagesServer
from tests.servers.runware import RunwareServer
from tests.servers.wavespeed import WaveSpeedServer


@dataclass(frozen=True)
class Vendor:
    """One hosted backend, its stand-in, and the stand-in's names for things."""

    make_server: Callable[[], HostedServer]
    make_backend: Callable[..., AbstractAsyncContextManager[Backend]]
    offer: Offer
    poll: str | None
    """None where the answer to the submit has the picture."""
    repeatable: bool
    failed_codes: dict[str, dict[str, Any]]
    """Plans of work that fails after it was accepted."""
    never_ends: dict[str, Any] | None
    accepted: Callable[[Any], int]
    names_urls: bool = True
    """The server says where a picture lies; otherwise we do."""


def _priced(key: str) -> Offer:
    """An offer of a server that is usually free, at a price: then the rules for paid calls hold."""
    found = CATALOGUE.with_own(key.partition(":")[0], {}, MicroUSD(10_000)).offer(key)
    assert found is not None
    return found


VENDORS = {
    "wavespeed": Vendor(
        WaveSpeedServer,
        wavespeed,
        offer("wavespeed:hidream-i1-dev"),
        "result",
        False,
        {
            str(code): {"statuses": ("failed",), "code": code, "error": "no"}
            for code in (1200, 1400, 1401, 1402, 1403, 1405, 5000, 5003, 5004)
        }
        | {status: {"statuses": (status,)} for status in ("failed", "cancelled", "timeout", "deleted")},
        {"statuses": ("processing",)},
        lambda server: len(server.tasks),
    ),
    "runware": Vendor(
        RunwareServer,
        runware,
        offer("runware:hidream-i1-full"),
        "poll",
        True,
        {
            code: {"failures": (0,), "code": code, "message": "no"}
            for code in ("inferenceError", "timeoutProvider", "nsfwContentDetected", "invalidSteps")
        },
        {"polls": 10**9},
        lambda server: len(server.tasks),
    ),
    "comfyui": Vendor(
        ComfyUIServer,
        comfyui,
        offer("comfyui:hidream-i1-dev"),
        "history",
        True,
        {
            "error": {"error": "no"},
            "out of memory": {"error": "no", "exception": "torch.OutOfMemoryError"},
            "interrupted": {"interrupted": True},
            "nothing saved": {"output": "nothing"},
        },
        {"looks": 10**9},
        lambda server: len(server.prompts),
        names_urls=False,
    ),
    "openai": Vendor(
        OpenAIImagesServer,
        openai,
        _priced("openai:hidream-i1-dev"),
        None,
        False,
        {
            code: {"error": code, "status": 400}
            for code in ("content_policy_violation", "moderation_blocked", "invalid_value")
        },
        None,
        lambda server: len(server.made),
    ),
}

ANSWERS: dict[str, Fault] = {
    "400": Fault(400, {"message": "no"}),
    "401": Fault(401, {"message": "no"}),
    "402": Fault(402, {"message": "no"}),
    "403": Fault(403, {"message": "no"}),
    "404": Fault(404, {"message": "no"}),
    "429": Fault(429),
    "429, Retry-After": Fault(429, headers={"Retry-After": "17"}),
    "500": Fault(500),
    "502": Fault(502),
    "503": Fault(503),
    "504": Fault(504),
    "cut before the answer": Fault(cut="before"),
    "cut mid-body": Fault(cut="middle"),
    "invalid JSON": Fault(raw="<html>"),
    "wrong types": Fault(json={"data": 5, "errors": 5}),
}
OUTPUTS = ("missing", "text", "redirect:http://127.0.0.1:1/a", "url:https://evil.example/a.png")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    vendor: str
    fault: str
    ended: str
    reads: str
    charged: int
    """Micro-dollars."""
    sent: int
    accepted: int


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """A port at which connections hang: its queue is full and nobody takes from it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for one in waiting:
                one.close()


def cases(vendor: Vendor) -> dict[str, Callable[[HostedServer], None]]:
    """Every fault that a server can show, by name."""

    def failing(route: str, *faults: Fault) -> Callable[[HostedServer], None]:
        return lambda server: server.fail(route, *faults)

    def planned(plan: dict[str, Any]) -> Callable[[HostedServer], None]:
        return lambda server: server.set_plan(**plan)

    lost = {"500", "502", "503", "504", "cut before the answer", "cut mid-body", "invalid JSON", "wrong types"}
    silent = Fault(silent=True, accepted=True)
    found: dict[str, Callable[[HostedServer], None]] = {"nothing": lambda server: None}
    for name, fault in ANSWERS.items():
        found[f"submit: {name}"] = failing("submit", fault)
        if name in lost:
            found[f"submit, taken: {name}"] = failing("submit", Fault(**(vars(fault) | {"accepted": True})))
    found["submit, taken: silence"] = failing("submit", silent)
    if vendor.poll is not None:
        for name, fault in ANSWERS.items():
            found[f"poll: {name}"] = failing(vendor.poll, *[fault] * 2)
        found["poll: silence"] = failing(vendor.poll, Fault(silent=True))
    for name, plan in vendor.failed_codes.items():
        found[f"failed: {name}"] = planned(plan)
    if vendor.never_ends is not None:
        found["never ends"] = planned(vendor.never_ends)
    for output in OUTPUTS:
        if output.startswith("url:") and not vendor.names_urls:
            continue
        found[f"output: {output}"] = planned({"output": output})
    return found


async def play(name: str, fault: str) -> Row:
    """Show one fault to one backend."""
    vendor = VENDORS[name]
    clock = FakeClock()
    async with vendor.make_server() as server:
        if fault == "connect refused":
            await server.stop()
        elif fault != "connect timeout":
            cases(vendor)[fault](server)
        timeouts = IMPATIENT if "silence" in fault else QUICK
        with nobody_accepts() as deaf:
            more: dict[str, Any] = {}
            if fault == "connect timeout":
                timeouts, more = NEVER_CONNECTED, {"base_url": deaf}
            async with vendor.make_backend(server, clock, timeouts=timeouts, **more) as backend:
                ended, reads, charged = await _outcome(backend, vendor.offer)
        return Row(name, fault, ended, reads, charged, server.count("submit"), vendor.accepted(server))


def faults(name: str) -> list[str]:
    """The names of all faults for one backend."""
    return ["connect refused", "connect timeout", *cases(VENDORS[name])]


async def _outcome(backend: Backend, offer: Offer) -> tuple[str, str, int]:
    with tempfile.TemporaryDirectory() as folder:
        assert offer.price is not None
        try:
            async for event in backend.run(make_call(offer, Path(folder))):
                match event:
                    case Made():
                        return "picture", "", event.cost or 0
                    case PictureFailed():
                        return "picture failed", of_failure(event.failure), event.cost
                    case _:
                        pass
        except OutcomeUnknown as ended:
            return "unknown", of_error(ended.error), offer.price
        except BackendFailed as ended:
            return "failed", of_error(ended.error), ended.cost
        except WorkerDied as ended:
            return "runs again", of_error(ended.error), 0
        except BackendUnavailable as ended:
            return f"again in {ended.retry_after:g} s", of_error(ended.error), 0
        except CallEnded as ended:
            return "refused", of_error(ended.error), 0
    return "lost", "", 0


async def main() -> None:
    """Print the table."""
    console = Console(width=200)
    for name in VENDORS:
        table = Table("fault", "ends as", "the person reads", "charged", "sent", "accepted", title=name)
        for fault in faults(name):
            row = await play(name, fault)
            charged = format_usd(MicroUSD(row.charged))
            table.add_row(row.fault, row.ended, row.reads, charged, str(row.sent), str(row.accepted))
        console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
