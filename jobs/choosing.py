"""Gathers what the selector chooses by: the fleet, what a server's admins want, what was reserved, what was learned."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from backends.base import HealthState
from backends.selector import BackendFacts, Choice, NoChoice, Question, Ruling, Wishes, choose
from config.catalogue import Catalogue, Offer
from db.database import Database
from db.guilds import GuildStore
from db.ledger import LedgerStore
from db.line import Waiting
from domain.errors import Code, UserError
from domain.guild import GuildSettings
from domain.job import Failure, Job
from domain.money import MicroUSD
from domain.quota import Unit
from domain.request import ImageRequest
from jobs.estimates import Estimates
from jobs.fleet import Fleet
from jobs.forecast import Caps


class Chooser:
    """Asks the selector about jobs, with the facts of now."""

    def __init__(
        self,
        database: Database,
        guilds: GuildStore,
        ledger: LedgerStore,
        catalogue: Catalogue,
        fleet: Fleet,
        estimates: Estimates,
        clock: Callable[[], datetime],
        max_running_per_user: int | None = None,
    ) -> None:
        self._database = database
        self._guilds = guilds
        self._ledger = ledger
        self._catalogue = catalogue
        self._fleet = fleet
        self._estimates = estimates
        self._clock = clock
        self._max_running_per_user = max_running_per_user

    async def settings(self, guild_ids: Iterable[int]) -> dict[int, GuildSettings]:
        """What the admins of these guilds have set."""
        async with self._database.reading() as reader:
            return await self._guilds.settings_of_all(reader, guild_ids)

    def caps(self, settings: GuildSettings) -> Caps:
        """How many jobs the guild's members may have under way."""
        return Caps(self._max_running_per_user, settings.max_running_per_user)

    def prospects(self, job: Waiting, settings: GuildSettings) -> dict[str, float]:
        """Backend -> the seconds that the job should take there; the backends on which it may be started, in order.

        Money that is short, and what servers want of cheapest and fastest, is looked at when it is started.
        """
        offers = [offer for key in job.offers if (offer := self._catalogue.offer(key)) is not None]
        if settings.allowed_backends is not None:
            offers = [offer for offer in offers if offer.backend in settings.allowed_backends]
        found: dict[str, tuple[Offer, float]] = {}
        for offer in offers:
            facts = self._fleet.facts(offer.model_key).get(offer.backend)
            if facts is not None and facts.health is not HealthState.DOWN:
                found.setdefault(offer.backend, (offer, self._seconds(offer, job.count, facts)))
        free = {backend: seconds for backend, (offer, seconds) in found.items() if not offer.is_paid}
        if free and not settings.spill_to_paid:
            return free
        return {backend: seconds for backend, (_, seconds) in found.items()}

    async def choose(
        self, job: Job, wishes: Wishes | None = None, queued: Mapping[str, float] | None = None
    ) -> Choice | NoChoice:
        """Where the job would run now, and why. ``wishes``: those of its guild, where they are known already.

        ``queued``: by the backend's key, the seconds of jobs that wait for it and stand before this one.
        """
        return choose(await self._question(job, wishes, queued or {}))

    async def takes_over(self, job: Job, without: Failure | None) -> bool:
        """Whether another offer than the job's takes it, now or when a slot is free.

        ``without``: the failure for which its offer is not asked again; None where it may be, later.
        """
        question = await self._question(job, None, {})
        assert job.offer is not None
        if without is not None:
            question = replace(question, turned_down={**question.turned_down, job.offer: without})
        answer = choose(question)
        if isinstance(answer, Choice):
            return answer.offer.key != job.offer
        busy = (Ruling.BUSY, Ruling.RATE_LIMITED)
        return any(out.offer != job.offer and out.ruling in busy for out in answer.ruled_out)

    async def _question(self, job: Job, wishes: Wishes | None, queued: Mapping[str, float]) -> Question:
        offers = [
            offer
            for key in job.offers
            # What nobody knows the price of (any more) is not sent anywhere.
            if (offer := self._catalogue.offer(key)) is not None and offer.known_price_of(job.request) is not None
        ]
        async with self._database.reading() as reader:
            if wishes is None:
                wishes = wishes_of(await self._guilds.settings(reader, job.place.guild_id))
            held: MicroUSD | None = None
            if any(offer.is_paid for offer in offers):
                held = MicroUSD(await self._ledger.held(reader, job.id, Unit.MONEY))
        question = self.question(job.request, offers, wishes, held, queued)
        return replace(question, turned_down=job.turned_down, before=job.offer)

    def question(
        self,
        request: ImageRequest,
        offers: Iterable[Offer],
        wishes: Wishes,
        budget: MicroUSD | None,
        queued: Mapping[str, float] | None = None,
    ) -> Question:
        """The question with the facts of now, for a wish that may cost ``budget``."""
        offers = list(offers)
        backends = self._fleet.facts(request.model)
        for key, seconds in (queued or {}).items():
            if key in backends:
                facts = backends[key]
                waits = facts.wait_seconds + seconds / max(1, facts.slots)
                backends[key] = replace(facts, wait_seconds=waits)
        return Question(
            request=request,
            offers=offers,
            backends=backends,
            now=self._clock().timestamp(),
            wishes=wishes,
            budget=budget,
            seconds={offer.key: self._seconds(offer, request.count, backends.get(offer.backend)) for offer in offers},
        )

    def _seconds(self, offer: Offer, count: int, facts: BackendFacts | None) -> float:
        """What the whole job should take there: one call after the other, or as many at once as there are slots."""
        rounds = math.ceil(count / offer.pictures_per_call)
        backend = self._fleet.backend(offer.backend)
        if backend is not None and backend.resumes and facts is not None:
            rounds = math.ceil(rounds / max(1, facts.free))
        return self._estimates.seconds(offer) * min(count, offer.pictures_per_call * rounds)


def wishes_of(settings: GuildSettings) -> Wishes:
    """What the selector needs to know of a guild's settings."""
    allowed = settings.allowed_backends
    return Wishes(settings.policy, None if allowed is None else frozenset(allowed), settings.spill_to_paid)


def allowed(settings: GuildSettings, offers: Sequence[Offer]) -> list[Offer]:
    """The offers at backends that the guild's admins allow. Raises UserError where there is none."""
    backends = settings.allowed_backends
    found = [offer for offer in offers if backends is None or offer.backend in backends]
    if not found:
        raise UserError(Code.BACKENDS_NOT_ALLOWED, model=offers[0].model_key)
    return found
