"""The worker's ASGI app. Any ASGI server can serve it; ``serve`` does it with uvicorn."""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.worker.engine.interface import MakeEngine, Measured
from backends.worker.jobs import Job, JobQueue, QueueFull, error_event, working
from backends.worker.loras import LoraFolder
from backends.worker.protocol import ErrorEvent, FiguresBody, HealthBody, JobBody, ModelBody, ModelsBody
from backends.worker.sources import decode_source
from backends.worker.variants import LocalModel
from config.catalogue import first_problem
from domain.errors import Code, UserError

log = logging.getLogger(__name__)

ENGINE_VERSION: Final = "3"
"""Changes when the same seed may give other pixels."""
MAX_BODY_BYTES: Final = 40 << 20
MAX_WAITING: Final = 8
"""The real queue is the bot's; here wait those that the bot's gate let through at the same moment."""


def create_app(
    make_engine: MakeEngine,
    models: Sequence[LocalModel],
    *,
    token: str | None = None,
    loras: LoraFolder | None = None,
    weights_bytes: int = 0,
    max_waiting: int = MAX_WAITING,
) -> Starlette:
    """The app. ``make_engine`` is called on the engine's thread once the server is up.

    With a ``token`` every request has to carry it as a bearer token. ``loras`` are listed beside the models.
    """
    queue = JobQueue(make_engine, weights_bytes, max_waiting)
    endpoints = _Endpoints(queue, models, loras or LoraFolder(None))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with working(queue):
            yield

    app = Starlette(
        routes=[
            Route("/jobs", endpoints.make, methods=["POST"]),
            Route("/health", endpoints.health),
            Route("/models", endpoints.models),
        ],
        middleware=[Middleware(BearerToken, token=token)] if token is not None else [],
        lifespan=lifespan,
    )
    app.state.queue = queue
    app.state.health = endpoints.health_body
    return app


class BearerToken:
    """Lets in who knows the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                refusal = Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Endpoints:
    def __init__(self, queue: JobQueue, models: Sequence[LocalModel], loras: LoraFolder) -> None:
        self._queue = queue
        self._models = tuple(models)
        self._loras = loras

    async def make(self, request: Request) -> Response:
        # A page in a browser can send a form anywhere, but not JSON without asking first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refusal(415, "the body has to be application/json")
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                return _refusal(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        try:
            body = JobBody.model_validate_json(bytes(raw))
        except ValidationError as error:
            return _refusal(422, first_problem(error))
        model = next((model for model in self._models if model.key == body.model), None)
        if model is None:
            return _error(404, error_event(UserError(Code.MODEL_UNKNOWN, model=body.model[:100])))
        try:
            variant = model.variant_named(body.variant)
            if body.accelerators is not None and variant is not None:
                body.accelerators.check_steps(body.steps or variant.steps)
            source = None if body.source is None else await asyncio.to_thread(decode_source, body.source)
        except UserError as error:
            return _error(422, error_event(error))
        job = Job(body.model_copy(update={"source": None}), source)
        try:
            self._queue.submit(job)
        except QueueFull:
            return Response(status_code=503, headers={"Retry-After": "5"})
        return _JobStream(self._queue, job)

    async def health(self, _request: Request) -> Response:
        return Response((await self.health_body()).model_dump_json(), media_type="application/json")

    async def health_body(self) -> HealthBody:
        """How the worker is now."""
        queue, engine = self._queue, self._queue.engine
        problems = engine.problems if engine is not None else {}
        working_models = queue.loading or (engine is not None and engine.loaded)
        return HealthBody(
            state="loading" if queue.loading else "ready" if working_models else "failed",
            version=ENGINE_VERSION,
            busy=queue.busy,
            waiting=queue.waiting,
            device=engine.device if engine is not None else "",
            loading_seconds=queue.loading_seconds if queue.loading else None,
            problem=next((error_event(problem) for problem in problems.values()), None),
            figures=self._figures(),
            models=self._model_bodies(),
            loras=await asyncio.to_thread(self._loras.names),
        )

    async def models(self, _request: Request) -> Response:
        body = ModelsBody(models=self._model_bodies(), loras=await asyncio.to_thread(self._loras.names))
        return Response(body.model_dump_json(), media_type="application/json")

    def _figures(self) -> FiguresBody | None:
        engine = self._queue.engine
        if not isinstance(engine, Measured):
            return None
        return engine.figures().model_copy(update={"busy_seconds": self._queue.busy_seconds})

    def _model_bodies(self) -> tuple[ModelBody, ...]:
        engine = self._queue.engine
        loaded = engine.loaded if engine is not None else frozenset()
        return tuple(
            ModelBody(
                key=model.key,
                kind=model.kind.value,
                variant=model.variant.name,
                loaded=model.key in loaded,
            )
            for model in self._models
        )


class _JobStream(Response):
    """A job's events, one a line. However the connection ends before the job does, the job is cancelled."""

    media_type = "application/x-ndjson"

    def __init__(self, queue: JobQueue, job: Job) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._queue = queue
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._queue.cancel(self._job)
            for task in (sending, gone):
                task.cancel()
            for result in await asyncio.gather(sending, gone, return_exceptions=True):
                # A server may say by an OSError from ``send`` that nobody listens any more.
                if isinstance(result, Exception) and not isinstance(result, OSError):
                    raise result

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._job.follow():
            line = event.model_dump_json().encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refusal(status: int, reason: str) -> Response:
    return _error(
        status,
        ErrorEvent(at_fault="request", code=Code.BACKEND_REFUSED, parameters={"backend": "worker", "reason": reason}),
    )


def _error(status: int, event: ErrorEvent) -> Response:
    return Response(event.model_dump_json(), status_code=status, media_type="application/json")
