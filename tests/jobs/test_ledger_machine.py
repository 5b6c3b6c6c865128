"""Whatever is asked, settled, released, granted, ruled and however the clock jumps: the sums hold."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from domain.errors import EaselError
from domain.job import Place
from domain.quota import Amounts, Subject, Unit, Window
from jobs.quotas import Asker, QuotaExceeded
from tests.building import Clock, House, open_house

T = TypeVar("T")
GUILDS, USERS, CHANNELS = (1, 2), (11, 12), (21, 22)
places = st.builds(Place, st.sampled_from(GUILDS), st.sampled_from(CHANNELS), st.sampled_from(USERS))
ROLES = (31, 32)
ZONES = ("UTC", "Asia/Kathmandu", "Europe/Berlin", "Pacific/Apia")
roles = st.frozensets(st.sampled_from(ROLES))
amounts = st.builds(Amounts, st.integers(1, 4), st.integers(0, 5000), st.integers(0, 300_000))


class LedgerMachine(RuleBasedStateMachine):
    """The real ledger and quotas on a real file, beside a list of what was promised."""

    held = Bundle("held")
    settled = Bundle("settled")

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.stack = AsyncExitStack()
        self.clock = Clock()
        opened = open_house(
            self.folder, working=False, clock=self.clock, easel_daily_budget_usd=1, easel_default_daily_images=10
        )
        self.house: House = self.run(self.stack.enter_async_context(opened))
        self.number = 0
        self.refusals: list[EaselError] = []
        self.open_reservations: dict[str, tuple[Place, Amounts]] = {}
        self.used: dict[Unit, int] = dict.fromkeys(Unit, 0)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.stack.aclose())
            self.loop.close()
            shutil.rmtree(self.folder)

    @rule(target=held, place=places, wanted=amounts, role_ids=roles)
    def reserve(self, place: Place, wanted: Amounts, role_ids: frozenset[int]) -> Any:
        self.number += 1
        job_id, asker = str(self.number), Asker(place, role_ids)

        async def work() -> bool:
            house = self.house
            async with house.database.transaction() as tx:
                before = await house.quotas._usages(tx, asker)
                try:
                    await house.quotas.check(tx, asker, wanted)
                except QuotaExceeded as exceeded:
                    assert any(wanted.of(usage.rule.unit) > usage.left for usage in before)
                    self.refusals.append(exceeded.error())
                    return False
                await house.ledger.reserve(tx, job_id, place, wanted, self.clock())
                # A hard limit is never passed by what is promised.
                for usage in await house.quotas._usages(tx, asker):
                    if wanted.of(usage.rule.unit):
                        assert usage.used + usage.held <= usage.allowed
                return True

        if not self.run(work()):
            return multiple()
        self.open_reservations[job_id] = place, wanted
        return job_id

    @rule(target=settled, job_id=consumes(held), share=st.sampled_from([0.0, 0.5, 1.0]))
    def settle_or_release(self, job_id: str, share: float) -> tuple[str, Place, int]:
        place, wanted = self.open_reservations.pop(job_id)
        actual = Amounts(
            int(wanted.images * share), int(wanted.gpu_milliseconds * share), int(wanted.micro_usd * share)
        )

        async def work() -> None:
            async with self.house.database.transaction() as tx:
                for _ in range(2):  # the second changes nothing
                    await self.house.ledger.settle(tx, job_id, place, actual, self.clock())

        self.run(work())
        for unit in Unit:
            self.used[unit] += actual.of(unit)
        return job_id, place, actual.micro_usd

    @rule(target=settled, job=consumes(settled), charged=st.integers(0, 400_000))
    def correct(self, job: tuple[str, Place, int], charged: int) -> tuple[str, Place, int]:
        job_id, place, before = job

        async def work(by: int) -> None:
            async with self.house.database.transaction() as tx:
                await self.house.ledger.correct(tx, job_id, place, Unit.MONEY, by, self.clock())

        with pytest.raises(ValueError, match="cannot be taken away"):
            self.run(work(-before - 1))
        self.run(work(charged - before))
        self.used[Unit.MONEY] += charged - before
        return job_id, place, charged

    @rule(guild=st.sampled_from(GUILDS), user=st.sampled_from(USERS))
    def exempt_or_not(self, guild: int, user: int) -> None:
        administration = self.house.administration
        if user in self.run(administration.exempt_members(guild)):
            self.run(administration.end_exemption(guild, user, 1))
        else:
            self.run(administration.exempt(guild, user, 1))

    @rule(guild=st.sampled_from(GUILDS), zone=st.sampled_from(ZONES))
    def move(self, guild: int, zone: str) -> None:
        self.run(self.house.administration.set_time_zone(guild, ZoneInfo(zone), 1))

    @rule(place=places, unit=st.sampled_from(list(Unit)), amount=st.integers(1, 20))
    def grant(self, place: Place, unit: Unit, amount: int) -> None:
        self.run(self.house.administration.grant(place, unit, amount, author_id=1))

    @rule(
        guild=st.sampled_from(GUILDS),
        subject=st.sampled_from([subject for subject in Subject if subject is not Subject.OPERATOR]),
        unit=st.sampled_from(list(Unit)),
        window=st.sampled_from(list(Window)),
        limit=st.sampled_from([0, 3, 20, 10**6]),
    )
    def set_rule(self, guild: int, subject: Subject, unit: Unit, window: Window, limit: int) -> None:
        whom = {Subject.CHANNEL: CHANNELS[0], Subject.MEMBER: USERS[0], Subject.ROLE: ROLES[0]}.get(subject, 0)
        self.run(self.house.administration.set_rule(guild, subject, whom, unit, window, limit, 1))

    @rule(guild=st.sampled_from(GUILDS))
    def remove_rules(self, guild: int) -> None:
        for each in self.run(self.house.quotas.rules(guild)):
            self.run(self.house.administration.remove_rule(guild, each.id, 1))

    @rule(seconds=st.sampled_from([1, 900, 3600, 86_400, 31 * 86_400, -3600, -86_400]))
    def jump(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)

    @rule()
    def replay(self) -> None:
        assert self.run(self.house.ledger.check()) == []

    @invariant()
    def what_is_held_is_what_is_open(self) -> None:
        if not hasattr(self, "house"):
            return
        for unit in Unit:
            used, held = self.run(self.house.counted(unit, Subject.OPERATOR, 0))
            assert held == sum(wanted.of(unit) for _, wanted in self.open_reservations.values())
            assert used == self.used[unit]

    @invariant()
    def nothing_is_negative(self) -> None:
        if not hasattr(self, "house"):
            return

        async def lowest() -> int:
            async with self.house.database.reading() as reader:
                (row,) = await reader.execute_fetchall(
                    "SELECT coalesce(min(min(held, used, granted)), 0) FROM balances"
                )
            return int(row[0])

        assert self.run(lowest()) >= 0


LedgerMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=25)
TestLedgerMachine = LedgerMachine.TestCase
