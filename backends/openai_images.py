"""Servers that speak OpenAI's images API: vLLM-Omni, SGLang, LocalAI, and hosted vendors.

POST /v1/images/generations (JSON) and /v1/images/edits (multipart); the answer has the pictures, so that there is
nothing to resume and no id. ``seed``, ``negative_prompt``, ``num_inference_steps`` and ``guidance_scale`` are not in
the standard: they are the names that vLLM-Omni and SGLang take. An offer's target is the model's id at the server.

Several servers are one backend: a call goes to the one with the fewest, and to the next where one refuses to take it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from backends.addresses import Resolve, resolve
from backends.answers import GATEWAY, Answer
from backends.base import (
    BackendFailed,
    BackendUnavailable,
    Call,
    CallEnded,
    Event,
    Events,
    Health,
    HealthState,
    Made,
    OutcomeUnknown,
    PictureFailed,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.body import Body, request_body
from backends.clock import Clock
from backends.download import OutputFetcher, OutputUnusable
from backends.health import KeptHealth, down
from backends.http import OPERATOR_SECONDS, PROBE_SECONDS, HostedApi, Timeouts, Unanswered, media_type_of
from config.catalogue import Offer
from config.parameters import Option
from config.settings import Settings
from domain.errors import Code, InternalError, OperatorError, UserError
from domain.job import Failure

_FLAGGED: Final = frozenset({"content_policy_violation", "moderation_blocked"})
_NO_CREDIT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_NO_MODEL: Final = frozenset({"model_not_found"})
"""Values of an error's ``code``, from OpenAI's pages."""


class _Image(BaseModel):
    b64_json: str | None = None
    url: str | None = None


class _Images(BaseModel):
    data: list[_Image]


@dataclass(slots=True)
class _Server:
    api: HostedApi
    outputs: OutputFetcher
    health: KeptHealth
    running: int = 0
    away_until: float = 0.0
    """On the clock: it refused for a reason of its own, so that others are tried first."""


class OpenAIImagesBackend:
    """One or several servers with the same models."""

    key: Final = "openai"
    resumes: Final = False
    repeatable_submit: Final = False

    def __init__(
        self,
        *,
        base_urls: Sequence[str],
        api_key: SecretStr | None,
        slots: int,
        output: Literal["base64", "url"] = "base64",
        output_hosts: Sequence[str] = (),
        patience_seconds: float | None = None,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        """``slots`` is for each server; ``patience_seconds`` bounds a call where the offer allows longer."""
        self._clock = clock or Clock()
        self._slots = slots
        self._output = output
        self._patience = patience_seconds
        timeouts = timeouts or Timeouts()
        tls = httpx.create_ssl_context(trust_env=False)
        self._servers: list[_Server] = []
        for url in base_urls:
            api = HostedApi(
                name=self.key,
                base_url=_without_version(url),
                key=api_key,
                key_setting="OPENAI_IMAGES_API_KEY",
                clock=self._clock,
                timeouts=timeouts,
                tls=tls,
            )
            outputs = OutputFetcher(
                base_url=api.base_url,
                hosts=tuple(output_hosts),
                clock=self._clock,
                timeouts=timeouts,
                tls=tls,
                resolve=resolve,
            )
            self._servers.append(_Server(api, outputs, KeptHealth(_Probe(api, slots), self._clock)))

    @classmethod
    def from_settings(cls, settings: Settings) -> "OpenAIImagesBackend | None":
        """The backend that the settings describe; None where there is no URL. Raises OperatorError."""
        if not settings.openai_images_url:
            return None
        return cls(
            base_urls=[str(url) for url in settings.openai_images_url],
            api_key=settings.openai_images_api_key,
            slots=settings.openai_images_slots,
            output=settings.openai_images_output,
            output_hosts=settings.openai_images_output_hosts,
        )

    async def run(self, call: Call) -> Events:
        """Send it, and hand out what the answer has. See ``Backend.run``."""
        body = self._body(call)
        content = None
        if Option.IMAGE in call.offer.parameters and call.source is not None:
            content = await asyncio.to_thread(call.source.read_bytes)
        yield Working()
        begun = self._clock.now()
        server, answer = await self._sent(call, body, content)
        images = self._images(server, call, answer)
        seconds = (self._clock.now() - begun) / len(call.pictures)
        for number in range(len(call.pictures)):
            yield await self._made(server, call, number, images, seconds)

    async def resume(self, call: Call, remote_id: str) -> Events:
        """There is nothing to ask for: see ``resumes``."""
        raise OutcomeUnknown(InternalError(Code.OUTCOME_UNKNOWN, backend=self.key))
        yield  # makes it a stream

    async def health(self) -> Health:
        """Up where one server is; each is asked at most once a minute."""
        found = await asyncio.gather(*[server.health.get() for server in self._servers])
        up = [health for health in found if health.state is HealthState.UP]
        if not up:
            return found[0]
        detail = up[0].detail if len(found) == 1 else f"{len(up)} of {len(found)} servers; {up[0].detail}"
        return Health(HealthState.UP, sum(health.slots for health in up), detail=detail)

    async def aclose(self) -> None:
        """Close all connections."""
        for server in self._servers:
            await server.api.aclose()
            await server.outputs.aclose()

    # Sending.

    def _body(self, call: Call) -> Body:
        return {
            "model": call.offer.target,
            "n": len(call.pictures),
            "response_format": "b64_json" if self._output == "base64" else "url",
            **request_body(call.offer, call.request, seed=call.pictures[0].seed),
        }

    async def _sent(self, call: Call, body: Body, content: bytes | None) -> tuple[_Server, Answer]:
        """The server that took it and what it said. Raises CallEnded where none took it, or its answer was lost."""
        ended: BackendUnavailable | None = None
        now = self._clock.now()
        for server in sorted(self._servers, key=lambda server: (server.away_until > now, server.running)):
            server.running += 1
            try:
                return server, await self._sent_to(server, call, body, content)
            except BackendUnavailable as unavailable:
                # It was not taken; where the next one takes it, nobody needs to know.
                ended = unavailable
                server.away_until = now + unavailable.retry_after
                if unavailable.error.code is not Code.BACKEND_RATE_LIMITED:
                    server.health.turned_down(unavailable, self._slots)
            finally:
                server.running -= 1
        assert ended is not None
        raise ended

    async def _sent_to(self, server: _Server, call: Call, body: Body, content: bytes | None) -> Answer:
        patience = min(call.offer.deadline_seconds, self._patience or call.offer.deadline_seconds)
        try:
            if content is None or call.source is None:
                answer = await server.api.send("/v1/images/generations", body, seconds=patience)
            else:
                parameter = call.offer.parameters[Option.IMAGE]
                file = (f"picture{call.source.suffix.lower()}", content, media_type_of(call.source))
                answer = await server.api.send(
                    "/v1/images/edits",
                    seconds=patience,
                    form={name: str(value) for name, value in body.items()},
                    files={parameter.fields[0]: file},
                )
        except OutcomeUnknown as unknown:
            if call.offer.is_paid:
                raise
            # It costs nothing to make it again.
            raise WorkerDied(server.api.unreachable(str(unknown.error.parameters["reason"]))) from None
        if not answer.ok:
            raise self._refusal(server.api, call.offer, answer)
        return answer

    def _refusal(self, api: HostedApi, offer: Offer, answer: Answer) -> CallEnded:
        reason = api.text(answer.body)
        match _code(answer):
            case code if code in _FLAGGED:
                return RequestRefused(UserError(Code.CONTENT_FLAGGED, backend=self.key))
            case code if code in _NO_MODEL:
                return RequestRefused(OperatorError(Code.MODEL_NOT_FOUND, model=offer.target, backend=self.key))
            case code if code in _NO_CREDIT:
                return BackendUnavailable(
                    OperatorError(Code.BACKEND_OUT_OF_CREDIT, backend=self.key, reason=reason), OPERATOR_SECONDS
                )
        if answer.status >= 500 and not offer.is_paid:
            if answer.status in GATEWAY:
                return BackendUnavailable(api.unreachable(f"HTTP {answer.status}"))
            return BackendFailed(
                OperatorError(Code.BACKEND_FAILED, backend=self.key, reason=reason or f"HTTP {answer.status}")
            )
        return api.refusal(answer)

    # What came back.

    def _images(self, server: _Server, call: Call, answer: Answer) -> list[_Image]:
        try:
            images = _Images.model_validate(answer.body).data
        except ValidationError:
            if call.offer.is_paid:
                raise server.api.unknown("an answer that makes no sense") from None
            raise BackendFailed(server.api.invalid("an answer that makes no sense")) from None
        if not images:
            raise BackendFailed(server.api.invalid("it names no picture"), call.offer.price_of(call.request))
        return images

    async def _made(self, server: _Server, call: Call, number: int, images: Sequence[_Image], seconds: float) -> Event:
        picture, cost = call.pictures[number], call.offer.price_of(call.request)
        try:
            output = images[number].b64_json or images[number].url if number < len(images) else None
            if output is None:
                raise OutputUnusable("it names fewer pictures than were asked for")
            path = await server.outputs.save(output, call.workspace, str(picture.index))
        except OutputUnusable as error:
            invalid = server.api.invalid(f"its picture cannot be fetched: {error.reason}")
            if len(call.pictures) == 1:
                raise BackendFailed(invalid, cost) from None
            return PictureFailed(picture.index, Failure.of(invalid), cost)
        return Made(index=picture.index, path=path, seconds=seconds, cost=cost)


class _Probe:
    """Asks one server for its models: many servers do not have that route, and are well all the same."""

    def __init__(self, api: HostedApi, slots: int) -> None:
        self._api = api
        self._slots = slots

    async def __call__(self) -> Health:
        try:
            answer = await self._api.ask("GET", "/v1/models", seconds=PROBE_SECONDS)
        except Unanswered as unanswered:
            return down(self._api.unreachable(unanswered.reason), self._slots)
        if answer.status in (401, 403):
            reason = self._api.text(answer.body)
            error = OperatorError(Code.BACKEND_KEY_REFUSED, backend=self._api.name, status=answer.status, reason=reason)
            return down(error, self._slots)
        if answer.status in GATEWAY:
            return down(self._api.unreachable(f"HTTP {answer.status}"), self._slots)
        match answer.body:
            case {"data": list(models)} if answer.ok:
                names = [str(model.get("id", "")) for model in models if isinstance(model, dict)]
                detail = f"models {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
            case _:
                detail = f"models not told (HTTP {answer.status})"
        return Health(HealthState.UP, self._slots, detail=self._api.clean(detail))


def _code(answer: Answer) -> str:
    match answer.body:
        case {"error": {"code": str(code)}} if 400 <= answer.status < 500:
            return code
    return ""


def _without_version(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")
