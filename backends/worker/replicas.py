"""The worker's app as Ray Serve's deployments. Imports Ray, which reads its settings from the environment then."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.worker.protocol import HealthBody, ModelBody
from backends.worker.serve import needed, worker_app
from backends.worker.service import ENGINE_VERSION, BearerToken
from config.settings import Settings

__all__ = ["Bounds", "RayError", "close", "connect", "deploy"]

WORKER: Final = "Worker"
"""Name of the deployment and of its application."""
TARGET_ONGOING: Final = 0.8
"""Jobs a replica at which another one is wanted: the bot never sends more than one each, so that all being busy is
what asks for more."""
UPSCALE_SECONDS: Final = 10.0
DOWNSCALE_SECONDS: Final = 600.0
"""A replica that is not needed for so long goes; its weights were dear to load."""
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
    """The app, started only when its models are loaded."""

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

        await self._app(scope, receive, when_loaded)


class _Status:
    """Answers ``/health`` for all replicas together."""

    def __init__(self, settings: Settings, token: str | None) -> None:
        self._models = needed(settings)
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
        states = await asyncio.to_thread(self._states)
        running = states.get("RUNNING", 0)
        coming = sum(states.get(state, 0) for state in ("STARTING", "RECOVERING", "UPDATING", "PENDING_MIGRATION"))
        state: Literal["ready", "loading", "failed"] = "ready" if running else "loading" if coming else "failed"
        body = HealthBody(
            state=state,
            version=ENGINE_VERSION,
            slots=running,
            device=f"Ray, {running} running, {coming} starting",
            models=tuple(
                ModelBody(key=model.key, kind=model.kind.value, variant=model.variant.name, loaded=running > 0)
                for model in self._models
            ),
        )
        answer = Response(body.model_dump_json(), media_type="application/json")
        await answer(scope, receive, send)

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
                "upscale_delay_s": UPSCALE_SECONDS,
                "downscale_delay_s": DOWNSCALE_SECONDS,
            }
        }
    )
    status = serve.deployment(
        name="Status", max_ongoing_requests=100, ray_actor_options={"num_cpus": 0}, num_replicas=1
    )(serve.ingress()(_Status))
    worker = serve.deployment(
        name=WORKER,
        max_ongoing_requests=1,
        ray_actor_options={"num_gpus": 1} if gpus else {"num_cpus": 1},
        # A replica that goes lets its job end first.
        graceful_shutdown_timeout_s=settings.easel_grace_seconds,
        **scaling,
    )(serve.ingress()(_Replica))
    serve.run(status.bind(settings, token), name="status", route_prefix="/health")
    serve.run(worker.bind(settings, token), name=WORKER, route_prefix="/")
