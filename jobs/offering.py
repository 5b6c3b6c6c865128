"""What can be had here and now: models with their offers for one member in one channel, and how the backends are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backends.selector import NoChoice, Wishes, ruling_of, ruling_of_backend
from config.catalogue import Catalogue, Model, Offer
from db.database import Database
from db.guilds import GuildStore
from domain.guild import GuildSettings
from domain.job import Failure, Job
from domain.money import MicroUSD
from domain.request import ImageRequest, InputPicture, Kind
from jobs.choosing import Chooser, wishes_of
from jobs.estimates import Estimates
from jobs.fleet import Fleet
from jobs.house_rules import allows_model, check_asker
from jobs.quotas import Asker, Quotas

_USUAL_SIDE: Final = 1024
"""Of the input picture for which prices of edits are told."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One way to get a model."""

    offer: Offer
    price: MicroUSD | None
    """The most that a usual picture costs; None where nobody knows."""
    seconds: float
    """What one picture usually takes."""
    wait_seconds: float
    """Until a slot is free and the model is loaded, as far as can be told."""
    ruling: str | None
    """Why it can't be had now, as a code of ``backends.selector.Ruling``; None where it can."""
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model and all ways to get it, in the operator's order."""

    model: Model
    offers: tuple[Offered, ...]


@dataclass(frozen=True, slots=True)
class BackendNow:
    """How a backend is."""

    key: str
    slots: int
    busy: int
    ruling: str | None
    """Why nothing can be sent there now, as a code of ``backends.selector.Ruling``."""
    failure: Failure | None
    seconds: float | None
    """Until it is tried again, where that is known."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a job waits for."""

    backend: str
    ruling: str
    """Why it can't begin there, as a code of ``backends.selector.Ruling``."""


class Offering:
    """Looks at the catalogue with the eyes of a member."""

    def __init__(
        self,
        database: Database,
        guilds: GuildStore,
        catalogue: Catalogue,
        chooser: Chooser,
        quotas: Quotas,
        fleet: Fleet,
        estimates: Estimates,
        order: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        """``order``: the backends' keys, as the operator prefers them."""
        self._database = database
        self._guilds = guilds
        self._catalogue = catalogue
        self._chooser = chooser
        self._quotas = quotas
        self._fleet = fleet
        self._estimates = estimates
        self._order = order
        self._clock = clock

    async def here(self, asker: Asker) -> list[OfferedModel]:
        """Every model that the server's admins allow. Raises UserError where this member may not ask here."""
        settings = await self._settings(asker.place.guild_id)
        check_asker(settings, asker)
        left = await self._quotas.money_left(asker)
        wishes = wishes_of(settings)
        return [
            OfferedModel(model, tuple(self._offered(offer, model, wishes, left) for offer in self._in_order(model)))
            for model in self._catalogue
            if allows_model(settings, model.key)
        ]

    async def usable(self, guild_id: int, kind: Kind) -> list[Model]:
        """The models of a kind that the server's admins allow and that an allowed backend has."""
        settings = await self._settings(guild_id)
        allowed = settings.allowed_backends
        return [
            model
            for model in self._catalogue.models(kind)
            if allows_model(settings, model.key)
            and (allowed is None or any(offer.backend in allowed for offer in model.offers))
        ]

    def backends(self) -> list[BackendNow]:
        """How each backend is, in the operator's order."""
        now = self._clock().timestamp()
        facts = self._fleet.facts()
        found = []
        for key in (key for key in self._order if key in facts):
            one = facts[key]
            ruling = ruling_of_backend(one, now)
            until = one.suspended_until if one.suspended else max(one.cooling_until, now) or None
            seconds = until - now if until is not None and until > now else None
            found.append(BackendNow(key, one.slots, one.busy, ruling, one.problem, seconds))
        return found

    async def waits(self, jobs: Iterable[Job]) -> dict[str, Wait]:
        """What each of these jobs waits for, by its id; those that begin at any moment are left out."""
        found = {}
        for job in jobs:
            answer = await self._chooser.choose(job)
            if isinstance(answer, NoChoice) and answer.waits_for is not None:
                rulings = {out.offer: out.ruling for out in answer.ruled_out}
                found[job.id] = Wait(answer.waits_for.backend, rulings[answer.waits_for.key].value)
        return found

    def _offered(self, offer: Offer, model: Model, wishes: Wishes, left: MicroUSD) -> Offered:
        request = _usual(model)
        question = self._chooser.question(request, [offer], wishes, left)
        out = ruling_of(question, offer)
        facts = question.backends.get(offer.backend)
        return Offered(
            offer=offer,
            price=offer.known_price_of(request),
            seconds=self._estimates.seconds(offer),
            wait_seconds=facts.wait_seconds if facts is not None else 0.0,
            ruling=out.ruling.value if out is not None else None,
            failure=out.failure if out is not None else None,
        )

    def _in_order(self, model: Model) -> list[Offer]:
        preference = {backend: place for place, backend in enumerate(self._order)}
        return sorted(model.offers, key=lambda offer: preference.get(offer.backend, len(preference)))

    async def _settings(self, guild_id: int) -> GuildSettings:
        async with self._database.reading() as reader:
            return await self._guilds.settings(reader, guild_id)


def _usual(model: Model) -> ImageRequest:
    """A wish for one picture with nothing said about it."""
    source = None
    if model.kind is Kind.EDIT:
        source = InputPicture(name="picture.png", width=_USUAL_SIDE, height=_USUAL_SIDE)
    return ImageRequest(kind=model.kind, model=model.key, prompt="picture", seed=0, source=source)
