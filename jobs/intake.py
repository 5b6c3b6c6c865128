"""The one door: every wish for a picture comes in here, whatever command or button it comes from.

Cheap checks first, then the quote, then one transaction in which quota is reserved and the job is queued. What
is refused leaves no trace.
"""

import asyncio
import math
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from config.catalogue import Catalogue, Offer
from config.logs import bind_job
from config.settings import Settings
from db.confirmations import Unconfirmed
from db.database import Database, Transaction
from db.guilds import GuildStore
from db.jobs import JobStore, NewJob, NewTask
from db.ledger import LedgerStore
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.job import Answer, Job, Place
from domain.quota import Unit
from domain.request import MAX_COUNT, MAX_PROMPT_CHARACTERS, MAX_SEED, ImageRequest
from jobs.choosing import allowed
from jobs.confirmations import ConfirmationNeeded, Confirmations, TooDear
from jobs.doorkeeper import Doorkeeper
from jobs.estimates import Estimates, Quote
from jobs.events import EventStream, QueueMoved
from jobs.fairness import member_tags
from jobs.pause import is_paused
from jobs.pictures import Pictures
from jobs.queue import Queue
from jobs.quotas import Asker, QuotaExceeded, Quotas

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Admission:
    """A job that was taken in."""

    job: Job
    position: int
    """Place in line: 1 is next."""
    wait_seconds: float | None
    """Until it is started, as far as can be told; None: nothing that could take it is up."""


class Intake:
    """Takes wishes in, or says why not."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: JobStore,
        ledger: LedgerStore,
        guilds: GuildStore,
        quotas: Quotas,
        queue: Queue,
        pictures: Pictures,
        catalogue: Catalogue,
        settings: Settings,
        estimates: Estimates,
        events: EventStream,
        doorkeeper: Doorkeeper,
        confirmations: Confirmations,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._ledger = ledger
        self._guilds = guilds
        self._quotas = quotas
        self._queue = queue
        self._pictures = pictures
        self._catalogue = catalogue
        self._settings = settings
        self._estimates = estimates
        self._events = events
        self._doorkeeper = doorkeeper
        self._confirmations = confirmations
        self._clock = clock
        self._wake = wake

    async def quote(self, request: ImageRequest) -> Quote:
        """What the request may cost. Raises UserError where no offer can take it."""
        return self._estimates.quote(request, self._able(request))

    async def check(self, request: ImageRequest, asker: Asker) -> None:
        """Whether it would be let in, as far as that can be told without its input picture. Raises what submit does."""
        let_in = await self._doorkeeper.look(_checked(request), asker)
        let_in.narrowed(self._able(let_in.request))

    async def submit(
        self,
        request: ImageRequest,
        asker: Asker,
        *,
        interaction_id: int | None,
        answer: Answer | None = None,
        parent_id: str | None = None,
    ) -> Admission:
        """Check, reserve and queue; committed when this returns.

        Raises UserError or OperatorError, and then nothing is queued, held or charged; ConfirmationNeeded where the
        person has to be asked first. The same interaction brought in twice raises UserError (DUPLICATE).
        """
        return await self._submit(request, asker, interaction_id, answer, parent_id, None)

    async def confirm(
        self, wish_id: str, asker: Asker, *, interaction_id: int | None, answer: Answer | None = None
    ) -> Admission:
        """The person has said yes to what they were asked: the same as ``submit``, checked anew.

        Also raises UserError (CONFIRMATION_GONE), and ConfirmationNeeded where the price has risen meanwhile.
        """
        wish = await self._confirmations.find(wish_id, asker.place)
        return await self._submit(wish.request, asker, interaction_id, answer, wish.parent_id, wish)

    async def _submit(
        self,
        request: ImageRequest,
        asker: Asker,
        interaction_id: int | None,
        answer: Answer | None,
        parent_id: str | None,
        answered: Unconfirmed | None,
    ) -> Admission:
        request = _checked(request)
        await asyncio.to_thread(self._check_folder)
        let_in = await self._doorkeeper.look(request, asker)
        request = let_in.request
        quote = self._estimates.quote(request, allowed(let_in.settings, let_in.narrowed(self._able(request))))
        now = self._clock()
        job_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
        bind_job(job_id, (request.prompt, request.negative_prompt))
        try:
            job = await self._take_in(job_id, request, asker, quote, now, interaction_id, answer, parent_id, answered)
            standing = await self._queue.standing(job_id)
        except TooDear as why:
            raise ConfirmationNeeded(await self._confirmations.ask(request, asker.place, parent_id, why)) from None
        finally:
            # Also where nobody waits for the answer any more: the job may be committed. The dispatcher is woken
            # last, so that the place told is the one at the door.
            self._wake()
        self._events.publish(QueueMoved())
        if standing is None:
            return Admission(job, 1, 0.0)
        return Admission(job, standing.position, standing.wait_seconds)

    def _check_folder(self) -> None:
        # Asks the disk, which may be somewhere else and slow.
        if is_paused(self._settings.easel_data_dir):
            raise OperatorError(Code.PAUSED_BY_OPERATOR)
        self._pictures.check_space()

    async def _take_in(
        self,
        job_id: str,
        request: ImageRequest,
        asker: Asker,
        quote: Quote,
        now: datetime,
        interaction_id: int | None,
        answer: Answer | None,
        parent_id: str | None,
        answered: Unconfirmed | None,
    ) -> Job:
        place = asker.place

        async def take_in(tx: Transaction) -> Job | None:
            if interaction_id is not None and await self._jobs.knows(tx, interaction_id):
                raise UserError(Code.DUPLICATE)
            await self._check_open(tx, place, now)
            await self._check_room(tx, place)
            able = await self._affordable(tx, asker, request, quote)
            await self._confirmations.check(tx, asker, able.price, answered)
            start_tag, finish_tag = member_tags(
                await self._jobs.last_finish_tag(tx, place.guild_id, place.user_id),
                await self._jobs.guild_clock(tx, place.guild_id),
                able.seconds,
                await self._weight(tx, asker),
            )
            await self._jobs.insert(
                tx,
                NewJob(
                    id=job_id,
                    interaction_id=interaction_id,
                    request=request,
                    place=place,
                    tasks=[NewTask(seed, str(uuid.uuid4())) for seed in request.seeds()],
                    offers=[offer.key for offer in able.offers],
                    created_at=int(now.timestamp() * 1000),
                    estimated_seconds=able.seconds,
                    start_tag=start_tag,
                    finish_tag=finish_tag,
                    parent_id=parent_id,
                    answer=answer,
                    language=asker.language,
                ),
            )
            await self._ledger.reserve(tx, job_id, place, able.amounts, now)
            return await self._jobs.fetch(tx, job_id)

        # Members wait for this, all of them in one row.
        job = await self._database.write(take_in)
        assert job is not None
        return job

    def _able(self, request: ImageRequest) -> list[Offer]:
        model = self._catalogue.model(request.model)
        if model.kind is not request.kind:
            raise UserError(Code.MODEL_WRONG_KIND, model=model.name, command=request.kind.value)
        preference = {backend: place for place, backend in enumerate(self._settings.easel_backends)}
        offers = sorted(model.offers, key=lambda offer: preference[offer.backend])
        objections: dict[str, list[UserError]] = {offer.key: offer.objections(request) for offer in offers}
        able = [offer for offer in offers if not objections[offer.key]]
        if not able:
            raise _why_none(request, offers, objections)
        # What nobody knows the price of may cost anything, so that no limit of money could hold.
        priced = [offer for offer in able if offer.known_price_of(request) is not None]
        if not priced:
            raise OperatorError(Code.PRICE_UNKNOWN, model=request.model, backend=able[0].backend)
        return priced

    async def _check_open(self, tx: Transaction, place: Place, now: datetime) -> None:
        """Raise UserError where the server's admins let nothing in now, or not from this member."""
        guild = await self._guilds.settings(tx, place.guild_id)
        if guild.paused:
            raise UserError(Code.PAUSED_IN_SERVER)
        if not guild.cooldown_seconds or await self._guilds.is_exempt(tx, place.guild_id, place.user_id):
            return
        last = await self._jobs.last_came_in(tx, place.guild_id, place.user_id)
        if last is not None and 0 <= now.timestamp() - last / 1000 < guild.cooldown_seconds:
            ends_at = math.ceil(last / 1000 + guild.cooldown_seconds)
            raise UserError(Code.COOLING_DOWN, seconds=guild.cooldown_seconds, ends_at=ends_at)

    async def _weight(self, tx: Transaction, asker: Asker) -> float:
        """The highest weight of the member's roles; 1 where none of them has one."""
        weights = await self._guilds.weights(tx, asker.place.guild_id)
        return max((weights[role] for role in asker.role_ids & weights.keys()), default=1.0)

    async def _check_room(self, tx: Transaction, place: Place) -> None:
        """Raise UserError where the member, the server or the bot has enough waiting already."""
        limit = self._settings.easel_max_queued_per_user
        if await self._jobs.open_of(tx, place.user_id) >= limit:
            raise UserError(Code.QUEUE_FULL_FOR_USER, limit=limit)
        guild = await self._guilds.settings(tx, place.guild_id)
        own = guild.max_queued_per_user
        if own is not None and await self._jobs.open_of(tx, place.user_id, place.guild_id) >= own:
            raise UserError(Code.QUEUE_FULL_FOR_USER_HERE, limit=own)
        if guild.max_queued is not None and await self._jobs.waiting_in(tx, place.guild_id) >= guild.max_queued:
            raise UserError(Code.QUEUE_FULL_HERE, limit=guild.max_queued)
        if await self._jobs.waiting_in_all(tx) >= self._settings.easel_max_queued:
            raise UserError(Code.QUEUE_FULL, limit=self._settings.easel_max_queued)

    async def _affordable(self, tx: Transaction, asker: Asker, request: ImageRequest, quote: Quote) -> Quote:
        """The quote, or the free offers' where money is short."""
        try:
            await self._quotas.check(tx, asker, quote.amounts)
            return quote
        except QuotaExceeded as exceeded:
            free = [offer for offer in quote.offers if not offer.is_paid]
            if exceeded.usage.rule.unit is not Unit.MONEY or not free:
                raise exceeded.error() from exceeded
        reduced = self._estimates.quote(request, free)
        try:
            await self._quotas.check(tx, asker, reduced.amounts)
        except QuotaExceeded as exceeded:
            raise exceeded.error() from exceeded
        return reduced


def _checked(request: ImageRequest) -> ImageRequest:
    """The request with a trimmed prompt and a seed; Discord's own checks are not relied on."""
    prompt = request.prompt.strip()
    if not prompt:
        raise UserError(Code.PROMPT_EMPTY)
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise UserError(Code.PROMPT_TOO_LONG, option="prompt", limit=MAX_PROMPT_CHARACTERS, length=len(prompt))
    if not 1 <= request.count <= MAX_COUNT:
        raise UserError(Code.OPTION_OUT_OF_RANGE, option="count", value=request.count, minimum=1, maximum=MAX_COUNT)
    seed = request.seed if request.seed is not None else secrets.randbelow(MAX_SEED + 1)
    if not 0 <= seed <= MAX_SEED:
        raise UserError(Code.OPTION_OUT_OF_RANGE, option="seed", value=seed, minimum=0, maximum=MAX_SEED)
    negative = (request.negative_prompt or "").strip() or None
    if negative is not None and len(negative) > MAX_PROMPT_CHARACTERS:
        raise UserError(
            Code.PROMPT_TOO_LONG, option="negative_prompt", limit=MAX_PROMPT_CHARACTERS, length=len(negative)
        )
    return request.model_copy(update={"prompt": prompt, "negative_prompt": negative, "seed": seed})


def _why_none(request: ImageRequest, offers: list[Offer], objections: dict[str, list[UserError]]) -> EaselError:
    """The objection of the offer that came closest; that is the option to change."""
    if not offers:
        return OperatorError(Code.BACKEND_UNREACHABLE, backend=request.model)
    closest = min(offers, key=lambda offer: len(objections[offer.key]))
    objection = objections[closest.key][0]
    if objection.code is Code.NO_OFFER:
        return UserError(Code.NO_OFFER, option=objection.parameters["option"], model=request.model)
    return objection
