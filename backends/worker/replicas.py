"""The worker's app as Ray Serve's deployments. Imports Ray, which reads its settings from the environment then."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, ProxyLocation, RequestRouterConfig
from ray.serve.exceptions import RayServeException
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.worker.protocol import HealthBody
from backends.worker.reports import REPORT_SECONDS, Reports
from backends.worker.serve import needed, worker_app
from backends.worker.service import BearerToken
from config.settings import Settings

__all__ = ["Bounds", "RayError", "close", "connect", "deploy"]

log = logging.getLogger(__name__)

WORKER: Final = "Worker"
"""Name of the deployment and of its application."""
STATUS: Final = "Status"
"""The same of the one that answers for all."""
TARGET_ONGOING: Final = 0.8
"""Jobs a replica at which another one is wanted: the bot never sends more than one each, so that all being busy is
what asks for more."""
LOOK_BACK_SECONDS: Final = 5.0
"""Jobs are counted as a mean over so long, so that the moment between two jobs is not taken for idleness."""
FIRST_MACHINE: Final = "node:__internal_head__"
"""What Ray calls the one that has 1 of this resource."""
STATUS_SECONDS: Final = 0.5
"""How long an answer about the replicas is good for."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many replicas there may be."""

    minimum: int
    maximum: int


class _Replica:
    """One worker on one GPU. Serve counts it as running when ``_LoadedFirst`` lets the app's start end."""

    def __init__(self, settings: Settings, token: str | None) -> None:
        self._settings = settings
        self._token = token

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return _LoadedFirst(worker_app(self._settings, self._token))


class _LoadedFirst:
    """The app, started only when its models are loaded, and reporting from then on."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def when_loaded(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                while self._app.state.queue.loading:  # noqa: ASYNC110 (the queue tells jobs, not us)
                    await asyncio.sleep(0.1)
            await send(message)

        async with _reporting(self._app):
            await self._app(scope, receive, when_loaded)


@asynccontextmanager
async def _reporting(app: Starlette) -> AsyncIterator[None]:
    """Tell the one that answers ``/health`` how this replica is, again and again."""

    async def report() -> None:
        status = serve.get_deployment_handle(STATUS, app_name=STATUS)
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if app.state.queue.loading:
                continue
            body: HealthBody = await app.state.health()
            try:
                await status.note.remote(serve.get_replica_context().rank.rank, body.model_dump_json())
            except (RayError, RayServeException) as error:
                # It is being started anew; the next report finds it.
                log.debug("nobody takes the report: %s", error)

    task = asyncio.create_task(report(), name="reports")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


class _Status:
    """Answers ``/health`` for all replicas together."""

    def __init__(self, settings: Settings, token: str | None) -> None:
        self._reports = Reports(needed(settings))
        self._token = token
        self._counted: tuple[float, Mapping[str, int]] = (0.0, {})

    def __serve_build_asgi_app__(self) -> ASGIApp:
        guards = [Middleware(BearerToken, token=self._token)] if self._token is not None else []
        app = Starlette(middleware=guards)
        # Serve hands its prefix over as the root's path, and what is left of /health is no path to route by.
        app.router.redirect_slashes = False
        app.router.default = self._health
        return app

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._reports.together(await asyncio.to_thread(self._states), time.monotonic())
        answer = Response(body.model_dump_json(), media_type="application/json")
        await answer(scope, receive, send)

    async def note(self, number: int, report: str) -> None:
        """A replica's own ``HealthBody``, as JSON."""
        self._reports.note(number, HealthBody.model_validate_json(report), time.monotonic())

    def _states(self) -> Mapping[str, int]:
        """How many replicas are in which of Serve's states."""
        asked, states = self._counted
        if time.monotonic() - asked > STATUS_SECONDS:
            application = serve.status().applications.get(WORKER)
            deployment = application.deployments.get(WORKER) if application is not None else None
            found = deployment.replica_states if deployment is not None else {}
            states = {str(getattr(state, "value", state)): count for state, count in found.items()}
            self._counted = (time.monotonic(), states)
        return states


def connect(address: str) -> None:
    """Make this process a client of the Ray at ``host:port``."""
    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)


def close() -> None:
    """Take the applications down and leave Ray."""
    serve.shutdown()
    ray.shutdown()


def deploy(settings: Settings, token: str | None, *, host: str, port: int, bounds: Bounds) -> None:
    """Serve the worker on the Ray that this process is connected to; returns when the first replica is ready."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    serve.start(
        # A machine that joins has not the address that the first one listens at.
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host=host, port=port),
        logging_config={"enable_access_log": False, "log_level": settings.easel_log_level},
    )
    scaling: dict[str, Any] = (
        {"num_replicas": bounds.minimum}
        if bounds.minimum == bounds.maximum
        else {
            "autoscaling_config": {
                "min_replicas": bounds.minimum,
                "max_replicas": bounds.maximum,
                "target_ongoing_requests": TARGET_ONGOING,
                "look_back_period_s": LOOK_BACK_SECONDS,
                "upscale_delay_s": settings.easel_cluster_upscale_seconds,
                "downscale_delay_s": settings.easel_cluster_downscale_seconds,
            }
        }
    )
    status = serve.deployment(
        name=STATUS,
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": 0, "resources": {FIRST_MACHINE: 0.001}},
        num_replicas=1,
    )(serve.ingress()(_Status))
    worker = serve.deployment(
        name=WORKER,
        max_ongoing_requests=1,
        ray_actor_options={"num_gpus": 1} if gpus else {"num_cpus": 1},
        request_router_config=RequestRouterConfig(
            request_router_class="backends.worker.routing:WarmFirst",
            request_router_kwargs={"patience": settings.easel_cluster_warm_seconds},
        ),
        # A replica that goes lets its job end first.
        graceful_shutdown_timeout_s=settings.easel_grace_seconds,
        **scaling,
    )(serve.ingress()(_Replica))
    serve.run(status.bind(settings, token), name=STATUS, route_prefix="/health")
    serve.run(worker.bind(settings, token), name=WORKER, route_prefix="/")
