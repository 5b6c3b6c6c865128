"""Where an operator's tools look: ``/metrics``, ``/healthz`` and ``/readyz`` on a port of their own."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from config.listening import ListenAddress
from domain.errors import Code, OperatorError
from jobs.metrics import Metrics

Checks = Callable[[], Mapping[str, bool]]
"""What has to hold for the bot to be ready: a name each, and whether it does."""


@asynccontextmanager
async def monitoring(metrics: Metrics, ready: Checks, address: ListenAddress) -> AsyncIterator[int]:
    """Serve until the end of the block; yields the port (another one where 0 was given).

    ``/healthz`` answers 200 as long as the event loop turns; ``/readyz`` 200 where all of ``ready`` hold, else 503.
    Raises OperatorError (SETTING_INVALID) where the address cannot be used.
    """

    async def page(_request: web.Request) -> web.Response:
        return web.Response(body=await metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readiness(_request: web.Request) -> web.Response:
        checks = dict(ready())
        status = 200 if all(checks.values()) else 503
        return web.Response(status=status, text=json.dumps(checks) + "\n", content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/metrics", page), web.get("/healthz", health), web.get("/readyz", readiness)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        try:
            await site.start()
        except OSError as error:
            raise OperatorError(
                Code.SETTING_INVALID,
                setting="EASEL_METRICS_LISTEN",
                problem=f"cannot listen at {address.host}:{address.port}: {error.strerror or error}",
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
