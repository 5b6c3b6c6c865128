"""The worker as a backend: the bot's half. Imports no torch."""

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self, assert_never

import httpx
from pydantic import ValidationError

from backends.base import (
    BackendFailed,
    BackendUnavailable,
    Call,
    CallEnded,
    Event,
    Events,
    Figures,
    Health,
    HealthState,
    Loading,
    Lookups,
    Made,
    Picture,
    PictureFailed,
    Preview,
    Progress,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.worker import warmth
from backends.worker.process import WorkerProcess
from backends.worker.protocol import (
    JOB_EVENT,
    PROTOCOL_VERSION,
    ErrorEvent,
    FiguresBody,
    HealthBody,
    JobBody,
    JobEvent,
    LoadingEvent,
    LoraBody,
    PictureEvent,
    PreviewEvent,
    QueuedEvent,
    SpokenProtocol,
    StartedEvent,
    StepEvent,
)
from config.parameters import Option, PresetParameter
from domain.errors import Code, EaselError, InternalError, OperatorError, UserError
from domain.job import Failure

PREVIEW_EVERY: Final = 4
MAX_LINE_BYTES: Final = 24 << 20
"""A picture of 4 million random pixels in base64 has 17 million bytes."""
CONNECT_SECONDS: Final = 5.0
HEALTH_SECONDS: Final = 5.0
LAST_WORD_SECONDS: Final = 1.0
BUSY_RETRY_SECONDS: Final = 5.0
STARTING_RETRY_SECONDS: Final = 1.0
KEY_REFUSED_RETRY_SECONDS: Final = 60.0


class WorkerBackend:
    """Implements ``backends.base.Backend`` for a worker on a Unix socket or at a URL.

    What the operator has to mend (a model that is not there, out of memory) ends as BackendFailed with that
    error, so that the person reads the reason. Where the worker cannot be reached at all, the call ends as
    BackendUnavailable and may be run elsewhere.
    """

    key = "worker"
    resumes = False
    repeatable_submit = False

    def __init__(
        self, client: httpx.AsyncClient, process: WorkerProcess | None = None, *, preview_every: int = PREVIEW_EVERY
    ) -> None:
        """``process``: the worker that this bot started; it is stopped with the backend. ``preview_every``:
        steps between previews, 0 for none."""
        self._client = client
        self._process = process
        self._preview_every = preview_every

    @classmethod
    def on_socket(cls, process: WorkerProcess) -> Self:
        """For a worker that was started by us."""
        return cls(socket_client(process.socket), process)

    @classmethod
    def at_url(cls, url: str, token: str | None) -> Self:
        """For a worker that runs elsewhere."""
        return cls(_client(httpx.AsyncHTTPTransport(limits=_LIMITS), url, token))

    @property
    def is_elsewhere(self) -> bool:
        """Somebody else starts and stops it."""
        return self._process is None

    def run(self, call: Call) -> Events:
        """Make the call's pictures one after the other."""
        return self._run(call)

    def resume(self, call: Call, remote_id: str) -> Events:
        """Never called: nothing outlives us here."""
        raise NotImplementedError("the worker's jobs do not outlive their connection")

    async def health(self) -> Health:
        """Ask the worker."""
        try:
            response = await self._client.get("/health", timeout=HEALTH_SECONDS)
        except httpx.TransportError:
            if self._process is not None and self._process.pid is not None:
                return Health(HealthState.LOADING, slots=0, detail="the worker is starting")
            return _down(OperatorError(Code.BACKEND_UNREACHABLE, backend=self.key))
        if response.status_code == httpx.codes.UNAUTHORIZED:
            return _down(OperatorError(Code.BACKEND_KEY_REFUSED, backend=self.key))
        try:
            spoken = SpokenProtocol.model_validate_json(response.content).protocol
            if spoken != PROTOCOL_VERSION:
                reason = f"it speaks protocol {spoken} and this bot {PROTOCOL_VERSION}; update both to one version"
                return _down(OperatorError(Code.BACKEND_REFUSED, backend=self.key, reason=reason))
            body = HealthBody.model_validate_json(response.content)
        except ValidationError:
            return _down(OperatorError(Code.BACKEND_ANSWER_INVALID, backend=self.key))
        return _health(body)

    async def aclose(self) -> None:
        """Close connections and end the worker that we started."""
        await self._client.aclose()
        if self._process is not None:
            await self._process.stop()

    async def _run(self, call: Call) -> Events:
        alone = len(call.pictures) == 1
        for picture in call.pictures:
            try:
                async for event in self._make(call, picture):
                    yield event
            except (RequestRefused, BackendFailed) as ended:
                if alone:
                    raise
                yield PictureFailed(picture.index, Failure.of(ended.error))

    async def _make(self, call: Call, picture: Picture) -> Events:
        body = await asyncio.to_thread(self._body, call, picture)
        # One line may be long in coming (a model is loading); more than the call's deadline it never may.
        timeout = httpx.Timeout(call.offer.deadline_seconds, connect=CONNECT_SECONDS)
        try:
            async with self._client.stream(
                "POST",
                "/jobs",
                content=body,
                headers={
                    "Content-Type": "application/json",
                    warmth.HEADER: str(warmth.Wanted.of(call.request.model, call.request.prompt)),
                },
                timeout=timeout,
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise await self._refusal(response)
                lines = _lines(response)
                async for line in lines:
                    news = await self._translate(_parse(line), call, picture)
                    if news is not None:
                        yield news
                    if isinstance(news, Made):
                        await _end_of(lines)
                        return
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            starting = self._process is not None and self._process.pid is not None
            raise BackendUnavailable(
                OperatorError(Code.BACKEND_UNREACHABLE, backend=self.key),
                STARTING_RETRY_SECONDS if starting else BUSY_RETRY_SECONDS,
            ) from error
        except httpx.ReadTimeout as error:
            raise BackendFailed(InternalError(Code.DEADLINE_PASSED, seconds=call.offer.deadline_seconds)) from error
        except httpx.TransportError as error:
            raise WorkerDied(InternalError(Code.WORKER_DIED)) from error
        raise WorkerDied(InternalError(Code.WORKER_DIED))  # the stream ended without a last word

    def _body(self, call: Call, picture: Picture) -> bytes:
        request = call.request
        speed = call.offer.parameters.get(Option.SPEED)
        source = None if call.source is None else base64.b64encode(call.source.read_bytes()).decode("ascii")
        body = JobBody(
            job_id=call.job_id,
            model=request.model,
            variant=call.offer.target,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.size.width if request.size else None,
            height=request.size.height if request.size else None,
            seed=picture.seed,
            variations=request.variations_of(picture.index),
            steps=request.steps,
            guidance=request.guidance,
            loras=tuple(LoraBody(name=lora.model, weight=lora.weight) for lora in request.loras),
            accelerators=speed.options(request.speed) if isinstance(speed, PresetParameter) else None,
            source=source,
            preview_every=self._preview_every,
        )
        return body.model_dump_json(exclude_unset=True).encode()

    async def _translate(self, event: JobEvent, call: Call, picture: Picture) -> Event | None:
        match event:
            case QueuedEvent():
                return None
            case LoadingEvent():
                return Loading(event.seconds)
            case StartedEvent():
                return Working()
            case StepEvent():
                return Progress(picture.index, event.step, event.steps)
            case PreviewEvent():
                return Preview(picture.index, _decoded(event.data), event.media_type)
            case PictureEvent():
                path = call.workspace / f"{picture.index}.png"
                await asyncio.to_thread(_write, path, event.data)
                return Made(picture.index, path, seconds=event.seconds)
            case ErrorEvent():
                raise _ended(event)
            case _:
                assert_never(event)

    async def _refusal(self, response: httpx.Response) -> CallEnded:
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            return BackendUnavailable(
                OperatorError(Code.BACKEND_KEY_REFUSED, backend=self.key), KEY_REFUSED_RETRY_SECONDS
            )
        if status in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
            return BackendUnavailable(OperatorError(Code.BACKEND_RATE_LIMITED, backend=self.key), BUSY_RETRY_SECONDS)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return BackendFailed(OperatorError(Code.BACKEND_FAILED, backend=self.key, reason=f"HTTP {status}"))
        try:
            event = ErrorEvent.model_validate_json(b"".join([line async for line in _lines(response)]))
        except ValidationError:
            reason = f"HTTP {status}"
            return RequestRefused(OperatorError(Code.BACKEND_REFUSED, backend=self.key, reason=reason))
        return RequestRefused(_error(event))


_LIMITS = httpx.Limits(max_keepalive_connections=0)
"""A kept connection may lead to a worker that is gone, which would look like one that died with the job."""


def socket_client(path: Path) -> httpx.AsyncClient:
    """A client for a worker on a Unix socket."""
    return _client(httpx.AsyncHTTPTransport(uds=str(path), limits=_LIMITS), "http://worker", None)


def _client(transport: httpx.AsyncHTTPTransport, url: str, token: str | None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    # No proxy from the environment: neither a socket nor a worker of ours is reached through one.
    return httpx.AsyncClient(transport=transport, base_url=url, headers=headers, trust_env=False)


async def _end_of(lines: AsyncIterator[bytes]) -> None:
    """Let the worker hang up: behind a proxy, one that is cut off is busy for a moment longer than one that ended."""
    with contextlib.suppress(httpx.TransportError, TimeoutError):
        async with asyncio.timeout(LAST_WORD_SECONDS):
            async for _ in lines:
                pass


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Lines as they come. Raises BackendFailed for one that does not end."""
    pending = bytearray()
    async for chunk in response.aiter_bytes():
        first, *rest = chunk.split(b"\n")
        pending += first
        if len(pending) > MAX_LINE_BYTES:
            raise BackendFailed(OperatorError(Code.BACKEND_ANSWER_INVALID, backend=WorkerBackend.key))
        for part in rest:
            yield bytes(pending)
            pending = bytearray(part)
    if pending:
        yield bytes(pending)


def _parse(line: bytes) -> JobEvent:
    try:
        return JOB_EVENT.validate_json(line)
    except ValidationError as error:
        raise BackendFailed(OperatorError(Code.BACKEND_ANSWER_INVALID, backend=WorkerBackend.key)) from error


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BackendFailed(OperatorError(Code.BACKEND_ANSWER_INVALID, backend=WorkerBackend.key)) from error


def _write(path: Path, data: str) -> None:
    path.write_bytes(_decoded(data))


def _error(event: ErrorEvent) -> EaselError:
    match event.at_fault:
        case "request":
            return UserError(event.code, **event.parameters)
        case "operator":
            return OperatorError(event.code, **event.parameters)
        case "worker":
            return InternalError(event.code, **event.parameters)
        case _:
            assert_never(event.at_fault)


def _ended(event: ErrorEvent) -> CallEnded:
    error = _error(event)
    return RequestRefused(error) if event.at_fault == "request" else BackendFailed(error)


def _health(body: HealthBody) -> Health:
    problem = Failure(body.problem.code, body.problem.parameters) if body.problem is not None else None
    match body.state:
        case "ready":
            state = HealthState.UP
        case "loading":
            state, problem = HealthState.LOADING, None
        case "failed":
            state = HealthState.DOWN
        case _:
            assert_never(body.state)
    return Health(
        state,
        body.slots,
        problem,
        body.loading_seconds,
        detail=f"{body.device or 'starting'}, engine {body.version}",
        version=body.version,
        figures=_figures(body.figures) if body.figures is not None else None,
        replicas={number: _figures(figures) for number, figures in body.replicas.items()},
        models=frozenset(model.key for model in body.models) if body.models else None,
        loaded=frozenset(model.key for model in body.models if model.loaded) if body.models else None,
        loras=body.loras,
    )


def _figures(body: FiguresBody) -> Figures:
    caches = {name: Lookups(lookups.hits, lookups.misses) for name, lookups in body.caches.items()}
    return Figures(body.memory_used_bytes, body.memory_total_bytes, caches, body.busy_seconds)


def _down(problem: EaselError) -> Health:
    return Health(HealthState.DOWN, slots=1, problem=Failure.of(problem))
