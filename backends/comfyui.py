"""ComfyUI: somebody's own server that runs graphs of nodes. Free, without a key, and never on the open internet.

Submit a graph, listen to its WebSocket for steps and previews, and look into the history: that is the truth. An
offer's target is the file of the diffusion model; its fields name inputs of the graph, as ``sampler.seed``.

The prompt's id is ours (the picture's submission id). The same id sent twice runs twice, so that before each submit
it is looked for in the queue and in the history.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final, assert_never
from urllib.parse import quote, urlencode

import aiohttp
import httpx
from pydantic import JsonValue

from backends.answers import Answer
from backends.base import (
    Accepted,
    BackendFailed,
    BackendUnavailable,
    Call,
    Event,
    Events,
    Health,
    HealthState,
    Made,
    OutcomeUnknown,
    Picture,
    Preview,
    Progress,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.body import Body, request_body
from backends.clock import Clock
from backends.comfyui_protocol import (
    FILES,
    MODEL_NODE,
    SAVE_NODE,
    Begun,
    Ended,
    Glimpse,
    Listener,
    Message,
    Over,
    Step,
    choices,
    ended,
    files_of,
    filled,
    listening,
    load_graph,
    places,
    refusal,
)
from backends.download import OutputFetcher, OutputUnusable
from backends.health import KeptHealth, down
from backends.http import PROBE_SECONDS, HostedApi, NoSuchRoute, Timeouts, Unanswered, media_type_of
from backends.limiter import Pace
from config.catalogue import Offer
from config.parameters import Option
from config.settings import Settings
from domain.errors import Code, InternalError, OperatorError
from domain.money import FREE

_MAX_SENDS: Final = 3
"""A submit whose answer was lost is looked up and sent at most so often."""
_AWAY_SECONDS: Final = 60.0
"""A server that does not answer for so long has lost what it was doing: its queue lives in its memory."""
_LOST_POLLS: Final = 3
"""So many looks in a row that find a prompt neither in the queue nor in the history: the server was started anew."""


class ComfyUIBackend:
    """One ComfyUI server. One picture a call."""

    key: Final = "comfyui"
    resumes: Final = True
    repeatable_submit: Final = True

    def __init__(
        self,
        *,
        base_url: str,
        slots: int,
        models: Mapping[str, str],
        clock: Clock | None = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """``models``: the offered ones, by key the file of the diffusion model."""
        self._clock = clock or Clock()
        self._pace = pace or Pace(first=1.0, longest=5.0)
        self._slots = slots
        self._models = models
        timeouts = timeouts or Timeouts()
        tls = httpx.create_ssl_context(trust_env=False)
        self._api = HostedApi(name=self.key, base_url=base_url, key=None, clock=self._clock, timeouts=timeouts, tls=tls)
        self._outputs = OutputFetcher(
            base_url=self._api.base_url,
            hosts=(),
            clock=self._clock,
            timeouts=timeouts,
            tls=tls,
            own_plain_http=True,
        )
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._health = KeptHealth(self._probe, self._clock)

    @classmethod
    def from_settings(cls, settings: Settings, offers: Mapping[str, Offer]) -> "ComfyUIBackend | None":
        """The backend that the settings describe; None where there is no URL."""
        if settings.comfyui_url is None:
            return None
        return cls(
            base_url=str(settings.comfyui_url),
            slots=settings.comfyui_slots,
            models={offer.model_key: offer.target for offer in offers.values() if offer.backend == cls.key},
        )

    async def run(self, call: Call) -> Events:
        """Look the prompt up, submit it where it is new, then follow. See ``Backend.run``."""
        (picture,) = call.pictures
        async with listening(self._web(), self._websocket(), picture.submission_id) as listener:
            prompt_id = await self._submitted(call, picture)
            yield Accepted((picture.index,), prompt_id)
            async with aclosing(self._follow(call, picture, prompt_id, listener)) as events:
                async for event in events:
                    yield event

    async def resume(self, call: Call, remote_id: str) -> Events:
        """Follow a prompt that was accepted earlier. See ``Backend.resume``."""
        (picture,) = call.pictures
        async with (
            listening(self._web(), self._websocket(), picture.submission_id) as listener,
            aclosing(self._follow(call, picture, remote_id, listener)) as events,
        ):
            async for event in events:
                yield event

    async def cancel(self, remote_id: str) -> None:
        """Take a prompt out of the queue, or interrupt it. See ``Cancelling.cancel``."""
        try:
            answer = await self._api.ask("GET", "/queue", seconds=PROBE_SECONDS)
            running, waiting = places(answer.body)
            if remote_id in waiting:
                await self._api.ask("POST", "/queue", json={"delete": [remote_id]}, seconds=PROBE_SECONDS)
            if remote_id in running:
                # Older versions interrupt whatever runs: so only while it is ours.
                await self._api.ask("POST", "/interrupt", json={"prompt_id": remote_id}, seconds=PROBE_SECONDS)
        except Unanswered:
            return

    async def health(self) -> Health:
        """Whether it answers, and which of the offered models it has the files of. Asked at most once a minute."""
        return await self._health.get()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
        await self._api.aclose()
        await self._outputs.aclose()

    # Submitting.

    async def _submitted(self, call: Call, picture: Picture) -> str:
        """The id of the prompt at the server, submitted now or earlier."""
        until = self._clock.now() + _AWAY_SECONDS
        if await self._known(picture.submission_id, until):
            return picture.submission_id
        graph = await self._graph(call, picture)
        body: Body = {"prompt": graph, "prompt_id": picture.submission_id, "client_id": picture.submission_id}
        lost: OutcomeUnknown | None = None
        for _ in range(_MAX_SENDS):
            try:
                answer = await self._api.send("/prompt", body)
            except OutcomeUnknown as unknown:
                lost = unknown
            else:
                if answer.status < 500:
                    return self._accepted(answer)
                lost = self._api.unknown(f"HTTP {answer.status}")
            if await self._known(picture.submission_id, until):
                return picture.submission_id
        assert lost is not None
        # It costs nothing, and the next start looks it up again.
        raise BackendUnavailable(self._api.unreachable(str(lost.error.parameters["reason"])))

    def _accepted(self, answer: Answer) -> str:
        match answer.body:
            case {"prompt_id": str(prompt_id)} if answer.ok and prompt_id:
                return prompt_id
        if answer.status == 400:
            refused = refusal(answer.body)
            if refused.missing_file is not None:
                name = self._api.clean(refused.missing_file)
                raise RequestRefused(OperatorError(Code.MODEL_NOT_FOUND, model=name, backend=self.key))
            reason = self._api.clean(refused.reason) or self._api.text(answer.body) or "it does not say why"
            raise RequestRefused(OperatorError(Code.BACKEND_REFUSED, backend=self.key, status=400, reason=reason))
        if answer.ok:
            raise BackendUnavailable(self._api.invalid("an answer without a prompt's id"))
        raise self._api.refusal(answer)

    async def _known(self, prompt_id: str, until: float) -> bool:
        """Whether the server has the prompt, waiting, running or over. Raises BackendUnavailable."""
        try:
            answer = await self._poll("/queue", until)
            if any(prompt_id in ids for ids in places(answer.body)):
                return True
            answer = await self._poll(_history(prompt_id), until)
        except Unanswered as error:
            raise BackendUnavailable(self._api.unreachable(error.reason)) from None
        return ended(answer.body, prompt_id) is not None

    async def _graph(self, call: Call, picture: Picture) -> Body:
        inputs = request_body(
            call.offer, call.request, seed=picture.seed, pictures=await self._input_pictures(call, picture)
        )
        inputs[f"{MODEL_NODE}.unet_name"] = call.offer.target
        # A name of its own: what is saved under a known name with the same inputs is not made again and not told.
        inputs[f"{SAVE_NODE}.filename_prefix"] = f"easel/{picture.submission_id}"
        return filled(await asyncio.to_thread(load_graph, call.offer.model_key), inputs)

    async def _input_pictures(self, call: Call, picture: Picture) -> list[str]:
        if Option.IMAGE not in call.offer.parameters or call.source is None:
            return []
        content = await asyncio.to_thread(call.source.read_bytes)
        name = f"easel-{picture.submission_id}{call.source.suffix.lower()}"
        try:
            answer = await self._api.upload(
                "/upload/image", field="image", file=(name, content, media_type_of(call.source))
            )
        except NoSuchRoute:
            raise BackendUnavailable(self._api.invalid("it takes no uploads")) from None
        match answer.body:
            case {"name": str(stored), **rest} if stored:
                subfolder = str(rest.get("subfolder", ""))
                return [f"{subfolder}/{stored}" if subfolder else stored]
        raise BackendUnavailable(self._api.invalid("the upload's answer has no name"))

    # Following.

    async def _follow(self, call: Call, picture: Picture, prompt_id: str, listener: Listener) -> Events:
        until = self._clock.now() + call.offer.deadline_seconds
        heard = self._clock.now()
        delays = self._pace.delays()
        lost, told = 0, False
        while True:
            try:
                over = ended((await self._look(_history(prompt_id))).body, prompt_id)
                if over is not None:
                    yield await self._made(call, picture, over)
                    return
                running, waiting = places((await self._look("/queue")).body)
                heard = self._clock.now()
                lost = 0 if prompt_id in running | waiting else lost + 1
                if prompt_id in running and not told:
                    told = True
                    yield Working()
            except Unanswered as error:
                if self._clock.now() - heard > _AWAY_SECONDS:
                    raise WorkerDied(self._api.unreachable(error.reason)) from None
            if lost >= _LOST_POLLS:
                raise WorkerDied(InternalError(Code.WORKER_DIED, backend=self.key))
            delay = next(delays)
            if self._clock.now() + delay > until:
                await self.cancel(prompt_id)
                raise BackendFailed(InternalError(Code.DEADLINE_PASSED, backend=self.key))
            look_at = self._clock.now() + delay
            while (message := await self._message(listener, look_at)) is not None and not isinstance(message, Over):
                event = _event(picture, message)
                told = told or isinstance(event, Working)
                yield event

    async def _message(self, listener: Listener, until: float) -> Message | None:
        """What is heard next; None where nothing is until then."""
        hearing = asyncio.create_task(listener.get())
        napping = asyncio.ensure_future(self._clock.sleep(max(0.0, until - self._clock.now())))
        try:
            await asyncio.wait([hearing, napping], return_when=asyncio.FIRST_COMPLETED)
            return hearing.result() if hearing.done() else None
        finally:
            hearing.cancel()
            napping.cancel()

    async def _made(self, call: Call, picture: Picture, over: Ended) -> Made:
        if over.interrupted:
            raise BackendFailed(self._failed("it was interrupted there"))
        if over.out_of_memory:
            raise BackendFailed(OperatorError(Code.OUT_OF_MEMORY, backend=self.key))
        if over.error is not None:
            raise BackendFailed(self._failed(self._api.clean(over.error)))
        if over.picture is None:
            raise BackendFailed(self._api.invalid("it says success and names no picture"))
        url = self._api.url(f"/view?{urlencode(over.picture)}")
        try:
            path = await self._outputs.save(url, call.workspace, str(picture.index))
        except OutputUnusable as error:
            raise BackendFailed(self._api.invalid(f"its picture cannot be fetched: {error.reason}")) from None
        return Made(index=picture.index, path=path, seconds=over.seconds, cost=FREE)

    # Health.

    async def _probe(self) -> Health:
        try:
            stats = await self._api.ask("GET", "/system_stats", seconds=PROBE_SECONDS)
            if not stats.ok or not isinstance(stats.body, dict):
                return down(self._api.unreachable(f"HTTP {stats.status} for /system_stats"), self._slots)
            info: dict[str, JsonValue] = {}
            for loader in FILES:
                info[loader] = (await self._api.ask("GET", f"/object_info/{loader}", seconds=PROBE_SECONDS)).body
        except Unanswered as error:
            return down(self._api.unreachable(error.reason), self._slots)
        missing = {key: await asyncio.to_thread(_missing, info, key, file) for key, file in self._models.items()}
        absent = [f"{key} ({files[0]})" for key, files in missing.items() if files]
        if self._models and len(absent) == len(self._models):
            first = next(iter(missing.values()))[0]
            return down(OperatorError(Code.MODEL_NOT_FOUND, model=first, backend=self.key), self._slots)
        detail = _described(stats.body)
        if absent:
            detail += f"; without {', '.join(absent)}"
        return Health(HealthState.UP, self._slots, detail=self._api.clean(detail))

    # Small things.

    async def _poll(self, path: str, until: float) -> Answer:
        return await self._api.poll("GET", path, until=until, pace=self._pace)

    async def _look(self, path: str) -> Answer:
        """One look. Raises Unanswered, for an answer that says nothing too."""
        answer = await self._api.ask("GET", path)
        if not answer.ok or not isinstance(answer.body, dict):
            raise Unanswered(f"HTTP {answer.status}")
        return answer

    def _web(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))
        return self._session

    def _websocket(self) -> str:
        return self._api.url("/ws").replace("http", "ws", 1)

    def _failed(self, reason: str) -> OperatorError:
        return OperatorError(Code.BACKEND_FAILED, backend=self.key, reason=reason)


def _history(prompt_id: str) -> str:
    return f"/history/{quote(prompt_id, safe='')}"


def _event(picture: Picture, message: Begun | Step | Glimpse) -> Event:
    match message:
        case Begun():
            return Working()
        case Step():
            return Progress(picture.index, message.step, message.steps)
        case Glimpse():
            return Preview(picture.index, message.data, message.media_type)
        case _:
            assert_never(message)


def _missing(info: Mapping[str, JsonValue], model_key: str, file: str) -> list[str]:
    """Files of a model's graph that the server says it does not have."""
    graph = filled(load_graph(model_key), {f"{MODEL_NODE}.unet_name": file})
    return [
        name
        for loader, field, name in files_of(graph)
        if (known := choices(info.get(loader), loader, field)) is not None and name not in known
    ]


def _described(stats: Mapping[str, JsonValue]) -> str:
    system, devices = stats.get("system"), stats.get("devices")
    version = system.get("comfyui_version", "") if isinstance(system, dict) else ""
    named = [
        str(device.get("name", ""))
        for device in (devices if isinstance(devices, list) else ())
        if isinstance(device, dict)
    ]
    return f"ComfyUI {version}".strip() + (f" on {', '.join(named)}" if named else "")
