"""Asking before money is spent: a wish that costs more than may go unasked waits for its person's yes.

It has passed every check when the question is put, and passes all of them again with the answer. Nothing is
reserved in between.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from config.settings import Settings
from db.confirmations import ConfirmationStore, Unconfirmed
from db.database import Database, Transaction
from db.guilds import GuildStore
from domain.errors import Code, UserError
from domain.job import Place
from domain.money import MicroUSD
from domain.quota import Usage
from domain.request import ImageRequest
from jobs.quotas import Asker, Quotas

WAITS_SECONDS: Final = 15 * 60
"""How long a question can be answered: as long as Discord lets its message be changed."""
MOST_A_MEMBER: Final = 10
"""Of a member's questions the oldest goes when there are more."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked."""

    id: str
    price: MicroUSD
    """The most that it can cost."""
    purse: Usage | None
    """The rule about money that leaves them least, the operator's own left out; None: no rule limits it."""


class ConfirmationNeeded(Exception):
    """The wish costs more than may be spent unasked. ``question`` has been kept: its id is what is confirmed."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"{question.id} costs up to {question.price} micro-dollars")
        self.question = question


class TooDear(Exception):
    """Inside intake's transaction, which it rolls back: ask first."""

    def __init__(self, price: MicroUSD, purse: Usage | None) -> None:
        super().__init__(price)
        self.price = price
        self.purse = purse


class Confirmations:
    """Keeps wishes until their person has said yes or no."""

    def __init__(
        self,
        database: Database,
        store: ConfirmationStore,
        guilds: GuildStore,
        quotas: Quotas,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._store = store
        self._guilds = guilds
        self._quotas = quotas
        self._settings = settings
        self._clock = clock

    async def check(self, tx: Transaction, asker: Asker, price: MicroUSD, answered: Unconfirmed | None) -> None:
        """Raise TooDear where nobody has said yes to this price.

        Raises UserError (DUPLICATE) where what was ``answered`` has been answered before.
        """
        if answered is not None and not await self._store.take(tx, answered.id):
            raise UserError(Code.DUPLICATE)
        unasked = await self._unasked(tx, asker.place.guild_id) if answered is None else answered.price
        if price > unasked:
            raise TooDear(price, await self._quotas.purse(tx, asker))

    async def ask(self, request: ImageRequest, place: Place, parent_id: str | None, why: TooDear) -> Question:
        """Keep the wish until it is answered."""
        now = int(self._clock().timestamp() * 1000)
        wish = Unconfirmed(secrets.token_hex(8), request, place, parent_id, why.price, now)
        async with self._database.transaction() as tx:
            await self._store.insert(tx, wish)
            await self._store.forget(tx, place.user_id, asked_before=now - WAITS_SECONDS * 1000, keep=MOST_A_MEMBER)
        return Question(wish.id, why.price, why.purse)

    async def find(self, wish_id: str, place: Place) -> Unconfirmed:
        """The member's own wish, in the channel where it was asked for.

        Raises UserError (CONFIRMATION_GONE) for any other, and for one that is too old or answered.
        """
        async with self._database.reading() as reader:
            wish = await self._store.find(reader, wish_id)
        oldest = self._clock().timestamp() * 1000 - WAITS_SECONDS * 1000
        if wish is None or wish.place != place or wish.asked_at < oldest:
            raise UserError(Code.CONFIRMATION_GONE)
        return wish

    async def decline(self, wish_id: str, place: Place) -> None:
        """The member does not want it. Raises UserError (CONFIRMATION_GONE) as ``find`` does."""
        wish = await self.find(wish_id, place)
        async with self._database.transaction() as tx:
            await self._store.take(tx, wish.id)

    async def _unasked(self, tx: Transaction, guild_id: int) -> MicroUSD:
        """What a job may cost without a question: the operator's amount, or a server's lower one."""
        own = (await self._guilds.settings(tx, guild_id)).confirm_above
        operators = self._settings.confirm_above
        return operators if own is None else MicroUSD(min(operators, own))
