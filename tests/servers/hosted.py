"""What the stand-ins for hosted APIs share: real sockets, real pictures, faults on demand, and a control door.

A stand-in speaks a vendor's documents and nothing else: what the documents do not allow it refuses. Every
request is kept, so that a test can count what was sent.
"""

import argparse
import asyncio
import dataclasses
import hashlib
import io
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web
from PIL import Image

KEY = "test-key-0123456789"


@dataclass(frozen=True)
class Fault:
    """One bad answer. Without anything set it is ``200 {}``."""

    status: int = 200
    json: Any = None
    raw: str | None = None
    """Sent instead of JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: Literal["before", "middle"] | None = None
    """The connection is cut before the answer, or in the middle of its body."""
    silent: bool = False
    """There is never an answer."""
    accepted: bool = False
    """The work is taken all the same: only the answer is lost."""


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    route: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None


class Refused(Exception):
    """The documents do not allow this request."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.more = more


class HostedServer:
    """Base of the stand-ins. ``async with`` it; ``url`` is the base URL to configure."""

    def __init__(self, key: str = KEY, port: int = 0) -> None:
        self.key = key
        self.received: list[Received] = []
        self._port = port
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.when_silent: Callable[[], None] | None = None
        """Called once a request has come that is never answered: then a test lets time pass."""

    # What a test does.

    def fail(self, route: str, *faults: Fault) -> None:
        """The next requests to this route get these answers, in order."""
        self._faults[route].extend(faults)

    def count(self, route: str) -> int:
        """Requests that came to this route, good and bad."""
        return sum(received.route == route for received in self.received)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**27)
        self.add_routes(app)
        app.router.add_get("/control/state", self._control_state)
        app.router.add_post("/control/fault", self._control_fault)
        app.router.add_post("/control/plan", self._control_plan)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Listen no more: connections are refused from here on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What a stand-in brings.

    def add_routes(self, app: web.Application) -> None:
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What a test in another process may want to know."""
        counts: defaultdict[str, int] = defaultdict(int)
        for received in self.received:
            counts[received.route] += 1
        return {"requests": dict(counts)}

    def set_plan(self, **plan: Any) -> None:
        """Change what happens to work that comes from now on, and to work that is under way."""
        raise NotImplementedError

    # What stand-ins use.

    def note(self, request: web.Request, route: str, body: Any = None) -> Fault | None:
        """Keep the request, and hand out the fault that waits for it."""
        self.received.append(Received(route, request.method, request.rel_url.raw_path, dict(request.headers), body))
        waiting = self._faults[route]
        return waiting.popleft() if waiting else None

    async def inject(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.silent:
            if self.when_silent is not None:
                self.when_silent()
            await asyncio.Event().wait()
        if fault.cut == "middle":
            response = web.StreamResponse(status=fault.status, headers=fault.headers)
            response.content_length = 1000
            await response.prepare(request)
            await response.write(b'{"data":')
            await asyncio.sleep(0.01)  # let the head leave before the cut
        if fault.cut is not None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault.raw is not None:
            return web.Response(status=fault.status, text=fault.raw, headers=fault.headers)
        return web.json_response(
            fault.json if fault.json is not None else {}, status=fault.status, headers=fault.headers
        )

    def authorize(self, request: web.Request) -> None:
        if request.headers.getall("Authorization", []) != [f"Bearer {self.key}"]:
            raise Refused(401, "invalid API key")

    # The control door, for tests in other processes. It asks for no key.

    async def _control_state(self, request: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _control_fault(self, request: web.Request) -> web.Response:
        given = await request.json()
        route, times = given.pop("route"), given.pop("times", 1)
        self.fail(route, *[Fault(**given)] * times)
        return web.json_response({})

    async def _control_plan(self, request: web.Request) -> web.Response:
        self.set_plan(**await request.json())
        return web.json_response({})


def picture(width: int, height: int, seed: int, prompt: str, kind: str = "png") -> bytes:
    """A real picture: one colour that the seed and the prompt choose, so that the same wish looks the same."""
    digest = hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), (digest[0], digest[1], digest[2])).save(encoded, kind)
    return encoded.getvalue()


def replaced(plan: Any, changes: Mapping[str, Any]) -> Any:
    """A plan with some fields changed; lists from JSON become tuples."""
    return dataclasses.replace(
        plan, **{name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    )


def serve(make: Callable[[str, int], HostedServer], name: str) -> None:
    """``python -m tests.servers.<name> --port N``: prints ``listening on URL`` and serves until it is killed."""
    parser = argparse.ArgumentParser(description=f"A strict stand-in for {name}")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    arguments = parser.parse_args()

    async def main() -> None:
        async with make(arguments.key, arguments.port) as server:
            print(f"listening on {server.url}", flush=True)
            await asyncio.Event().wait()

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
