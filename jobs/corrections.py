"""What a lost paid call really cost, once the vendor's bill says so: a later entry in the ledger, by the operator."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.audit import AuditStore
from db.database import Database
from db.jobs import JobStore
from db.ledger import LedgerStore
from domain.errors import Code, OperatorError
from domain.guild import Action, AuditEntry
from domain.job import UNDER_WAY, WAITING
from domain.money import MicroUSD
from domain.quota import Unit

OPERATOR: Final = 0
"""Author of what is done from the command line: no member has this id."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a job counted before and counts now."""

    before: MicroUSD
    after: MicroUSD


class Corrections:
    """Corrects what jobs cost. A running bot sees it with its next look at the ledger."""

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        ledger: LedgerStore,
        audit: AuditStore,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._ledger = ledger
        self._audit = audit
        self._clock = clock

    async def correct(self, job_id: str, charged: MicroUSD) -> Correction:
        """Let the job count ``charged``, in the window in which it was reserved. Doing it twice changes nothing.

        Raises OperatorError (SETTING_INVALID) where there is no such job, or it is not over: then it settles itself.
        """
        now = self._clock()
        async with self._database.transaction() as tx:
            job = await self._jobs.fetch(tx, job_id)
            if job is None:
                raise OperatorError(Code.SETTING_INVALID, setting="JOB", problem="there is no job of that id")
            if job.state in WAITING | UNDER_WAY:
                raise OperatorError(Code.SETTING_INVALID, setting="JOB", problem="it is not over yet")
            before = MicroUSD(await self._ledger.counted(tx, job.id, Unit.MONEY))
            if charged != before:
                await self._ledger.correct(tx, job.id, job.place, Unit.MONEY, charged - before, now)
                at = int(now.timestamp() * 1000)
                details: dict[str, str | int | float] = {"job": job.id, "before": before, "after": charged}
                entry = AuditEntry(at, job.place.guild_id, OPERATOR, Action.CORRECTED, details)
                await self._audit.append(tx, entry)
        return Correction(before, charged)
