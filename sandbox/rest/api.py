"""The way of every REST request: faults, token, rate limit, body, handler, checks against Discord's description."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox import errors
from sandbox.errors import ApiError
from sandbox.faults import Effect, Faults
from sandbox.openapi import Description
from sandbox.ratelimits import RateLimits
from sandbox.rest import application, channels, interactions, messages, reactions
from sandbox.rest.call import TABLE, Call, Reply, Route, Services
from sandbox.uploads import Body, read_body

PREFIX = "/api/v10"
KEPT_REQUESTS = 50_000

_TOPICS = (application, channels, interactions, messages, reactions)


@dataclass(frozen=True)
class Record:
    """A request that was made and the answer it got."""

    at: float
    method: str
    path: str
    template: str
    json: Any
    files: tuple[str, ...]
    status: int
    answer: Any
    """The answer's JSON; None where there was none or the connection was cut."""


class Api:
    """Serves the routes of :data:`sandbox.rest.call.TABLE`, strictly."""

    def __init__(
        self,
        services: Services,
        token: str,
        rate_limits: RateLimits,
        faults: Faults,
        description: Description | None,
    ) -> None:
        self._services = services
        self._token = token
        self._rate_limits = rate_limits
        self._faults = faults
        self._description = description
        self.requests: list[Record] = []
        self.violations: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """The routes, those with more fixed parts first, so that @me wins over {user_id}."""
        assert _TOPICS
        ordered = sorted(TABLE, key=lambda route: [part.startswith("{") for part in route.template.split("/")])
        made = [web.route(route.method, PREFIX + route.template, self._handler(route)) for route in ordered]
        return [*made, web.route("*", "/api/{rest:.*}", self._unknown)]

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        """A route that the sandbox has not got: loud, so that nobody mistakes it for Discord's own answer."""
        self.violations.append(f"{request.method} {request.path}: the sandbox has no such route")
        fault = {"message": f"501: the sandbox has no route {request.method} {request.path}", "code": 0}
        return _answer(Reply(501, fault), {})

    def _handler(self, route: Route) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._serve(route, request)

        return handle

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(PREFIX)
        parameters = dict(request.match_info)
        body = Body()
        fault = self._faults.take(request.method, path)
        headers: dict[str, str] = {}
        if fault is not None and fault.effect is Effect.CUT_BEFORE:
            await request.read()
            self._record(route, request, body, Reply(0))
            return self._cut(request)
        if fault is not None and fault.effect is Effect.HOLD_BEFORE:
            await fault.wait()
        try:
            if route.needs_token and request.headers.get("Authorization") != f"Bot {self._token}":
                raise errors.unauthorized()
            if fault is not None and fault.effect is Effect.ANSWER:
                await request.read()
                reply, headers = Reply(fault.status, fault.json), dict(fault.headers)
            else:
                passes, headers = self._rate_limits.take(route.method, route.template, parameters)
                if passes:
                    body = await read_body(request)
                    self._check_request(route, request, body)
                    call = Call(self._services, parameters, dict(request.query), body)
                    reply = await route.handler(call)
                else:
                    reply = _limited(headers)
        except ApiError as error:
            reply = Reply(error.status, error.payload())
        self._check_answer(route, reply)
        self._record(route, request, body, reply)
        if fault is not None and fault.effect is Effect.HOLD_AFTER:
            await fault.wait()
        if fault is not None and fault.effect is Effect.CUT_AFTER:
            return self._cut(request)
        return _answer(reply, headers)

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _record(self, route: Route, request: web.Request, body: Body, reply: Reply) -> None:
        path = request.path.removeprefix(PREFIX)
        files = tuple(file.filename for _, file in sorted(body.files.items()))
        now = self._services.world.clock.time()
        record = Record(now, route.method, path, route.template, body.json, files, reply.status, reply.json)
        if len(self.requests) >= KEPT_REQUESTS:
            del self.requests[: KEPT_REQUESTS // 2]
        self.requests.append(record)
        self._services.world.hub.wake()

    def _check_request(self, route: Route, request: web.Request, body: Body) -> None:
        if self._description is not None:
            is_multipart = request.content_type == "multipart/form-data"
            self.violations += self._description.check_request(route.method, route.template, body.json, is_multipart)

    def _check_answer(self, route: Route, reply: Reply) -> None:
        if self._description is not None:
            self.violations += self._description.check_answer(route.method, route.template, reply.status, reply.json)


def _limited(headers: dict[str, str]) -> Reply:
    retry_after = float(headers["X-RateLimit-Reset-After"])
    headers |= {"Retry-After": str(int(retry_after) + 1), "Via": "1.1 google", "X-RateLimit-Scope": "user"}
    return Reply(
        429, {"message": "You are being rate limited.", "retry_after": retry_after, "global": False, "code": 0}
    )


def _answer(reply: Reply, headers: dict[str, str]) -> web.Response:
    if reply.json is None:
        return web.Response(status=reply.status, headers=headers)
    # discord.py takes an answer for JSON only if the type is exactly this, without a charset.
    headers = headers | {"Content-Type": "application/json"}
    return web.Response(status=reply.status, body=json.dumps(reply.json).encode(), headers=headers)
