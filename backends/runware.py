"""Runware: tasks in an array, idempotent by their ``taskUUID``.

Sources: the vendor's page "HiDream-I1 Full" (runware:97@1) for every field, its pages on errors, task polling and
account management, the official SDK (runware-sdk 1.8.0) for error codes. An offer's target is the model's AIR id.

The ``taskUUID`` is the first picture's submission id, stored before anything is sent. A submit whose answer was
lost is therefore looked up, and sent again with the same id where the vendor does not know it.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final
from uuid import uuid4

from pydantic import SecretStr

from backends.addresses import Resolve, resolve
from backends.answers import Answer
from backends.base import (
    Accepted,
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
    Picture,
    PictureFailed,
    RequestRefused,
    Working,
)
from backends.body import Body, request_body
from backends.clock import Clock
from backends.download import OutputUnusable, connections
from backends.health import KeptHealth, down
from backends.http import OPERATOR_SECONDS, PROBE_SECONDS, Timeouts, Unanswered
from backends.limiter import Pace
from backends.runware_protocol import Answered, Delivery, Problem, Result, balance, read
from backends.webhooks import Webhooks, sleep_until_told
from config.catalogue import Offer
from config.settings import Settings
from domain.errors import Code, EaselError, OperatorError
from domain.job import Failure
from domain.money import FREE, MicroUSD, micro_usd

OUTPUT_HOSTS = ("*.runware.ai",)
"""Where its pictures lie: im.runware.ai in the page's examples."""

_MAX_SENDS = 3
"""A submit whose answer was lost is sent at most so often, always with the same taskUUID."""
_MAX_STRANGE_POLLS = 5


@dataclass(slots=True)
class _Following:
    """What is known of one task while it is followed."""

    left: list[Picture]
    seen: set[str] = field(default_factory=set)
    """imageUUIDs that were dealt with."""
    failure: EaselError | None = None

    def fresh(self, answered: Answered, seeds: Sequence[int] | None) -> list[Result]:
        """The results that belong to the pictures that are left.

        ``seeds``, given for a task that is resumed, are those of the whole job: the vendor tells all results of
        the task again, those too that were kept before.
        """
        fresh = [result for result in answered.results if result.uuid not in self.seen]
        if seeds is None:
            return fresh[: len(self.left)]
        wanted = {picture.seed for picture in self.left}
        matched = [result for result in fresh if result.seed in wanted]
        if answered.processing:
            return matched
        kept = set(seeds) - wanted
        others = [result for result in fresh if result.seed not in wanted | kept]
        # Of the seeds that the vendor chose itself, those that came first were kept before.
        room = len(self.left) - len(matched)
        return matched + others[len(others) - room :] if room > 0 else matched


class RunwareBackend:
    """The REST API of Runware. One task for all the pictures of a call."""

    key: Final = "runware"
    resumes: Final = True
    repeatable_submit: Final = True

    def __init__(
        self,
        *,
        api_key: SecretStr,
        base_url: str,
        slots: int,
        output_hosts: Sequence[str] = (),
        delivery: Delivery | None = None,
        webhooks: Webhooks | None = None,
        clock: Clock | None = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._clock = clock or Clock()
        self._webhooks = webhooks
        self._pace = pace or Pace(first=1.0)
        self._slots = slots
        self._delivery = delivery or Delivery()
        self._api, self._outputs = connections(
            name=self.key,
            base_url=base_url,
            key=api_key,
            key_setting="RUNWARE_API_KEY",
            output_hosts=(*OUTPUT_HOSTS, *output_hosts),
            clock=self._clock,
            timeouts=timeouts or Timeouts(),
            resolve=resolve,
        )
        self._health = KeptHealth(self._probe, self._clock)

    @classmethod
    def from_settings(cls, settings: Settings, webhooks: Webhooks | None = None) -> "RunwareBackend | None":
        """The backend that the settings describe; None where there is no key. Raises OperatorError."""
        if settings.runware_api_key is None:
            return None
        endpoint = settings.runware_upload_endpoint
        return cls(
            api_key=settings.runware_api_key,
            base_url=str(settings.runware_base_url),
            slots=settings.runware_slots,
            output_hosts=settings.runware_output_hosts,
            webhooks=webhooks,
            delivery=Delivery(
                method=settings.runware_delivery,
                output=settings.runware_output,
                quality=settings.runware_quality,
                ttl_seconds=settings.runware_ttl_seconds,
                check_content=settings.runware_safety == "fast",
                upload_endpoint=None if endpoint is None else str(endpoint),
            ),
        )

    async def run(self, call: Call) -> Events:
        """Submit, and look up what was lost on the way; then follow. See ``Backend.run``."""
        task = self._task(call)
        uuid = call.pictures[0].submission_id
        try:
            answered = await self._submit(call, task, uuid)
        except BackendUnavailable as ended:
            if ended.error.code in (Code.BACKEND_KEY_REFUSED, Code.BACKEND_OUT_OF_CREDIT):
                self._health.turned_down(ended, self._slots)
            raise
        yield Accepted(tuple(picture.index for picture in call.pictures), uuid)
        async with aclosing(self._follow(call, uuid, answered, resumed=False)) as events:
            async for event in events:
                yield event

    async def resume(self, call: Call, remote_id: str) -> Events:
        """Ask for the results of a task that was accepted earlier. See ``Backend.resume``."""
        async with aclosing(self._follow(call, remote_id, None, resumed=True)) as events:
            async for event in events:
                yield event

    async def health(self) -> Health:
        """Whether it answers and takes the key; the balance as detail. Asked at most once a minute."""
        return await self._health.get()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()
        await self._outputs.aclose()

    # Submitting.

    def _task(self, call: Call) -> Body:
        body = request_body(call.offer, call.request, seed=call.pictures[0].seed)
        uuid = call.pictures[0].submission_id
        webhook: Body = {} if self._webhooks is None else {"webhookURL": self._webhooks.private_url(uuid)}
        return {
            "taskType": "imageInference",
            "taskUUID": uuid,
            "model": call.offer.target,
            "numberResults": len(call.pictures),
            **self._delivery.fields(),
            **webhook,
            **body,
        }

    async def _submit(self, call: Call, task: Body, uuid: str) -> Answered | None:
        """The answer of an accepted task; None where only its acceptance is known."""
        patience = call.offer.deadline_seconds if self._delivery.method == "sync" else None
        lost: OutcomeUnknown | None = None
        for delay in (2.0, 5.0, 0.0)[:_MAX_SENDS]:
            try:
                answer = await self._api.send("", [task], seconds=patience)
                if answer.status >= 500 or answer.status == 408:
                    raise self._api.unknown(f"HTTP {answer.status}")
                return self._judge(call.offer, answer, uuid)
            except OutcomeUnknown as unknown:
                lost = unknown
            except CallEnded:
                # Turned down now; but was an earlier one, whose answer was lost, accepted?
                if lost is None or not await self._knows(uuid):
                    raise
                return None
            await self._clock.sleep(delay)
            if await self._knows(uuid):
                return None
        assert lost is not None
        raise lost

    def _judge(self, offer: Offer, answer: Answer, uuid: str) -> Answered | None:
        answered = read(answer.body, uuid)
        if any(problem.code == "conflictTaskUUID" for problem in answered.problems):
            return None
        if answer.ok and (answered.results or answered.processing or answered.acknowledged):
            return answered
        if answered.problems:
            raise self._refusal(offer, answered.problems[0], answer)
        if not answer.ok:
            raise self._api.refusal(answer)
        raise self._api.unknown("an answer that makes no sense")

    async def _knows(self, uuid: str) -> bool:
        """Whether the vendor has the task. Raises OutcomeUnknown where it cannot be asked."""
        until = self._clock.now() + 60
        try:
            answer = await self._api.poll("POST", "", until=until, pace=self._pace, json=[_get_response(uuid)])
        except Unanswered as error:
            raise self._api.unknown(error.reason) from None
        answered = read(answer.body, uuid)
        if answered.results or answered.processing:
            return True
        return any(not problem.is_unknown_task for problem in answered.problems) and answer.status < 400

    def _refusal(self, offer: Offer, problem: Problem, answer: Answer) -> CallEnded:
        """What an error of a task that was not accepted means."""
        reason = self._api.clean(problem.message)
        if problem.is_key:
            return BackendUnavailable(
                OperatorError(Code.BACKEND_KEY_REFUSED, backend=self.key, status=answer.status, reason=reason),
                OPERATOR_SECONDS,
            )
        if problem.is_credit:
            return BackendUnavailable(
                OperatorError(Code.BACKEND_OUT_OF_CREDIT, backend=self.key, reason=reason), OPERATOR_SECONDS
            )
        if problem.is_rate_limit:
            return self._api.refusal(Answer(429, None, answer.retry_after))
        if problem.is_safety:
            return RequestRefused(problem.error(self.key, reason, offer))
        if answer.status in (401, 402, 403, 429):
            return self._api.refusal(answer)
        return RequestRefused(problem.error(self.key, reason, offer))

    # Following.

    async def _follow(self, call: Call, uuid: str, answered: Answered | None, *, resumed: bool) -> Events:
        until = self._clock.now() + call.offer.deadline_seconds
        following = _Following(list(call.pictures))
        delays = self._pace.delays()
        delay = 0.0 if answered is None else next(delays)
        strange = 0
        told = False
        while True:
            if answered is not None:
                fresh = following.fresh(answered, call.request.seeds() if resumed else None)
                for result in fresh:
                    following.seen.add(result.uuid)
                    yield await self._finish(call, following, result)
                if answered.problems and not answered.processing and not answered.problems[0].is_unknown_task:
                    problem = answered.problems[0]
                    following.failure = problem.error(self.key, self._api.clean(problem.message), call.offer)
                if not following.left or following.failure is not None:
                    break
                if answered.processing and not told:
                    told = True
                    yield Working()
                strange = 0 if fresh or answered.processing or answered.acknowledged else strange + 1
                if strange >= _MAX_STRANGE_POLLS:
                    break
            if self._clock.now() + delay > until:
                raise self._api.too_late()
            await sleep_until_told(self._webhooks, self._clock, uuid, delay)
            delay = next(delays)
            answered = await self._ask(uuid, until)
        for event in self._leftovers(call, following):
            yield event

    async def _ask(self, uuid: str, until: float) -> Answered:
        try:
            answer = await self._api.poll("POST", "", until=until, pace=self._pace, json=[_get_response(uuid)])
        except Unanswered:
            raise self._api.too_late() from None
        if answer.status in (401, 402, 403):
            raise self._api.unknown(f"HTTP {answer.status} for its results")
        return read(answer.body, uuid)

    async def _finish(self, call: Call, following: _Following, result: Result) -> Event:
        # A seed of the vendor's own goes to the last picture: the first is the one whose seed a person may have typed.
        strange = following.left[0 if result.seed is None else -1]
        picture = next((one for one in following.left if one.seed == result.seed), strange)
        following.left.remove(picture)
        cost = call.offer.price_of(call.request) if result.cost is None else _micro(result.cost)
        if result.output is None:
            error = self._api.invalid("it says success and names no picture")
            return PictureFailed(picture.index, Failure.of(error), cost)
        try:
            path = await self._outputs.save(result.output, call.workspace, str(picture.index))
        except OutputUnusable as unusable:
            error = self._api.invalid(f"its picture cannot be fetched: {unusable.reason}")
            return PictureFailed(picture.index, Failure.of(error), cost)
        return Made(
            index=picture.index,
            path=path,
            cost=cost,
            seed=None if result.seed == picture.seed else result.seed,
            flagged=result.flagged,
        )

    def _leftovers(self, call: Call, following: _Following) -> list[Event]:
        """The pictures that never came: all of them end the call, some of them only themselves."""
        if not following.left:
            return []
        if following.failure is None:
            raise self._api.unknown("it knows no such task, or says nothing about it")
        if len(following.left) == len(call.pictures):
            raise BackendFailed(following.failure)
        failure = Failure.of(following.failure)
        return [PictureFailed(picture.index, failure, FREE) for picture in following.left]

    # Health.

    async def _probe(self) -> Health:
        uuid = str(uuid4())
        question: Body = {"taskType": "accountManagement", "taskUUID": uuid, "operation": "getDetails"}
        try:
            answer = await self._api.ask("POST", "", json=[question], seconds=PROBE_SECONDS)
        except Unanswered as error:
            return down(self._api.unreachable(error.reason), self._slots)
        problems = read(answer.body, uuid).problems
        if answer.status == 401 or any(problem.is_key for problem in problems):
            return down(
                OperatorError(Code.BACKEND_KEY_REFUSED, backend=self.key, status=answer.status, reason=""), self._slots
            )
        if answer.status >= 500:
            return down(self._api.unreachable(f"HTTP {answer.status}"), self._slots)
        dollars = balance(answer.body)
        detail = f"balance not told (HTTP {answer.status})" if dollars is None else f"balance ${dollars:.2f}"
        return Health(HealthState.UP, self._slots, detail=detail)


def _get_response(uuid: str) -> Body:
    return {"taskType": "getResponse", "taskUUID": uuid}


def _micro(dollars: float) -> MicroUSD:
    return micro_usd(Decimal(str(dollars)))
