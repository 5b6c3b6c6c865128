"""WaveSpeedAI: submit, then poll.

Sources: the vendor's pages "HiDream I1 Dev" (API v2), "Hidream I1 Full", "Hidream E1 Full" and "Hidream O1 Image
Dev Text To Image" (API v3); the official SDK (wavespeed 2.0.5) for terminal statuses; the vendor's error codes.
An offer's target is the path of its endpoint.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from backends.addresses import Resolve, resolve
from backends.answers import GATEWAY, Answer
from backends.base import (
    Accepted,
    BackendFailed,
    BackendUnavailable,
    Call,
    Events,
    Health,
    HealthState,
    Made,
    Picture,
    RequestRefused,
    Working,
)
from backends.body import request_body
from backends.clock import Clock
from backends.download import OutputUnusable, connections
from backends.health import KeptHealth, down
from backends.http import PROBE_SECONDS, NoSuchRoute, Timeouts, Unanswered, media_type_of
from backends.limiter import Pace
from backends.wavespeed_protocol import FAILED, PASSING, REFUSAL_CODES, Prediction, failure, read, result_path
from backends.webhooks import Webhooks, secret_in, sleep_until_told
from config.parameters import Option
from config.settings import Settings
from domain.errors import Code, EaselError, OperatorError, UserError

OUTPUT_HOSTS = ("*.wavespeed.ai", "d2g64w682n9w0w.cloudfront.net")
"""Where its pictures lie; the second is the CDN host of the example in "Hidream E1 Full"."""

_MAX_STRANGE_POLLS = 5
"""So many answers in a row that make no sense, or know no such task, end the polling."""


class WaveSpeedBackend:
    """The hosted API of WaveSpeedAI. One picture a call."""

    key: Final = "wavespeed"
    resumes: Final = True
    repeatable_submit: Final = False

    def __init__(
        self,
        *,
        api_key: SecretStr,
        base_url: str,
        slots: int,
        output_hosts: Sequence[str] = (),
        base64_output: bool = False,
        safety_checker: bool = True,
        sync: bool = False,
        webhooks: Webhooks | None = None,
        clock: Clock | None = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._clock = clock or Clock()
        self._webhooks = webhooks
        self._pace = pace or Pace()
        self._slots = slots
        self._choices: Mapping[str, bool] = {
            "enable_base64_output": base64_output,
            "enable_safety_checker": safety_checker,
            "enable_sync_mode": sync,
        }
        self._api, self._outputs = connections(
            name=self.key,
            base_url=base_url,
            key=api_key,
            key_setting="WAVESPEED_API_KEY",
            output_hosts=(*OUTPUT_HOSTS, *output_hosts),
            clock=self._clock,
            timeouts=timeouts or Timeouts(),
            resolve=resolve,
        )
        self._health = KeptHealth(self._probe, self._clock)

    @classmethod
    def from_settings(cls, settings: Settings, webhooks: Webhooks | None = None) -> "WaveSpeedBackend | None":
        """The backend that the settings describe; None where there is no key. Raises OperatorError."""
        if settings.wavespeed_api_key is None:
            return None
        return cls(
            api_key=settings.wavespeed_api_key,
            base_url=str(settings.wavespeed_base_url),
            slots=settings.wavespeed_slots,
            output_hosts=settings.wavespeed_output_hosts,
            base64_output=settings.wavespeed_output == "base64",
            safety_checker=settings.wavespeed_safety_checker,
            sync=settings.wavespeed_sync,
            webhooks=webhooks,
        )

    async def run(self, call: Call) -> Events:
        """Submit once, then follow. See ``Backend.run``."""
        (picture,) = call.pictures
        body = request_body(call.offer, call.request, seed=picture.seed, pictures=await self._input_pictures(call))
        # The operator's choice, for those of the fields that this endpoint documents.
        body |= {field: choice for field, choice in self._choices.items() if field in call.offer.constants}
        patience = call.offer.deadline_seconds if body.get("enable_sync_mode") else None
        try:
            path = call.offer.target
            if self._webhooks is not None:
                path += f"?webhook={quote(self._webhooks.signed_url(self._webhook_secret), safe='')}"
            answer = await self._api.submit(path, body, seconds=patience)
        except BackendUnavailable as ended:
            self._remember(ended)
            raise
        prediction = self._accepted(answer)
        yield Accepted((picture.index,), prediction.id)
        async with aclosing(self._follow(call, picture, prediction.id, prediction)) as events:
            async for event in events:
                yield event

    async def resume(self, call: Call, remote_id: str) -> Events:
        """Poll a task that was accepted earlier. See ``Backend.resume``."""
        (picture,) = call.pictures
        async with aclosing(self._follow(call, picture, remote_id, None)) as events:
            async for event in events:
                yield event

    async def health(self) -> Health:
        """Whether it answers and takes the key; the balance as detail. Asked at most once a minute."""
        return await self._health.get()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()
        await self._outputs.aclose()

    async def _input_pictures(self, call: Call) -> list[str]:
        if Option.IMAGE not in call.offer.parameters or call.source is None:
            return []
        return [await self._uploaded(path) for path in (call.source, *call.references)]

    async def _uploaded(self, path: Path) -> str:
        content = await asyncio.to_thread(path.read_bytes)
        media_type = media_type_of(path)
        file = (f"picture{path.suffix.lower()}", content, media_type)
        try:
            answer = await self._api.upload("/api/v3/media/upload/binary", field="file", file=file)
        except NoSuchRoute:
            # The pages of other models say that a data URI is taken in the place of a URL.
            return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        match answer.body:
            case {"data": {"download_url": str(url)}} if url:
                return url
            case _:
                raise BackendUnavailable(self._api.invalid("the upload's answer has no URL"))

    def _accepted(self, answer: Answer) -> Prediction:
        reading = read(answer.body)
        if reading is None:
            raise self._api.unknown("an answer that makes no sense")
        if reading.prediction is not None and reading.prediction.id:
            return reading.prediction
        # Without an id nothing was accepted, as far as the answer says why.
        code = reading.code or 0
        if code in REFUSAL_CODES:
            raise RequestRefused(self._failure(code, reading.message))
        if 400 <= code < 500:
            ended = self._api.refusal(Answer(code, {"message": reading.message}, answer.retry_after))
            if isinstance(ended, BackendUnavailable):
                self._remember(ended)
            raise ended
        raise self._api.unknown("an answer without a task id")

    async def _follow(self, call: Call, picture: Picture, remote_id: str, prediction: Prediction | None) -> Events:
        until = self._clock.now() + call.offer.deadline_seconds
        path = result_path(call.offer, remote_id)
        delays = self._pace.delays()
        delay = 0.0 if prediction is None else next(delays)  # a task that is resumed may long be done
        strange = 0
        told = False
        while True:
            if prediction is not None:
                if prediction.status in FAILED:
                    raise BackendFailed(self._failure(prediction.code, prediction.error or prediction.status))
                if prediction.status == "completed":
                    break
                if prediction.status == "processing" and not told:
                    told = True
                    yield Working()
            if self._clock.now() + delay > until:
                raise self._api.too_late()
            await sleep_until_told(self._webhooks, self._clock, remote_id, delay)
            delay = next(delays)
            try:
                answer = await self._api.poll("GET", path, until=until, pace=self._pace)
            except Unanswered:
                raise self._api.too_late() from None
            reading = read(answer.body) if answer.ok else None
            prediction = None if reading is None else reading.prediction
            if prediction is not None and prediction.status:
                strange = 0
                continue
            if not answer.ok and answer.status != 404:
                raise self._api.unknown(f"HTTP {answer.status} for its result")
            if reading is not None and reading.code in PASSING:
                continue
            strange += 1
            if strange >= _MAX_STRANGE_POLLS:
                reason = "it knows no such task" if answer.status == 404 else "answers that make no sense"
                raise self._api.unknown(reason)
        yield await self._made(call, picture, prediction)

    async def _webhook_secret(self) -> SecretStr | None:
        """The account's secret for webhooks; None where it is not told."""
        try:
            answer = await self._api.ask("GET", "/api/v3/webhook/secret", seconds=PROBE_SECONDS)
        except Unanswered:
            return None
        return secret_in(answer.body)

    async def _made(self, call: Call, picture: Picture, prediction: Prediction) -> Made:
        cost = call.offer.price_of(call.request)
        if not prediction.outputs:
            if prediction.flagged:
                raise BackendFailed(UserError(Code.CONTENT_FLAGGED, backend=self.key), cost)
            raise BackendFailed(self._api.invalid("it says completed and names no picture"), cost)
        try:
            path = await self._outputs.save(prediction.outputs[0], call.workspace, str(picture.index))
        except OutputUnusable as error:
            raise BackendFailed(self._api.invalid(f"its picture cannot be fetched: {error.reason}"), cost) from None
        return Made(
            index=picture.index,
            path=path,
            seconds=prediction.seconds,
            cost=cost,
            flagged=prediction.flagged,
        )

    def _failure(self, code: int | None, text: str) -> EaselError:
        return failure(self.key, code, text, self._api.clean(text))

    def _remember(self, ended: BackendUnavailable) -> None:
        # A refused key or an empty purse stays so until the operator acts: the selector should know.
        if ended.error.code in (Code.BACKEND_KEY_REFUSED, Code.BACKEND_OUT_OF_CREDIT):
            self._health.turned_down(ended, self._slots)

    async def _probe(self) -> Health:
        try:
            answer = await self._api.ask("GET", "/api/v3/balance", seconds=PROBE_SECONDS)
        except Unanswered as error:
            return down(self._api.unreachable(error.reason), self._slots)
        if answer.status == 401:
            reason = self._api.text(answer.body)
            return down(
                OperatorError(Code.BACKEND_KEY_REFUSED, backend=self.key, status=401, reason=reason), self._slots
            )
        if answer.status in GATEWAY:
            return down(self._api.unreachable(f"HTTP {answer.status}"), self._slots)
        match answer.body:
            case {"data": {"balance": int(balance) | float(balance)}}:
                detail = f"balance ${balance:.2f}"
            case _:
                detail = f"balance not told (HTTP {answer.status})"
        return Health(HealthState.UP, self._slots, detail=detail)
