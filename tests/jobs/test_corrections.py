"""The operator notes what a lost paid call really cost: a later entry, in the window of the job, recorded."""

from pathlib import Path

import pytest

from backends.base import OutcomeUnknown
from db.audit import AuditStore
from domain.errors import Code, EaselError, OperatorError
from domain.guild import Action
from domain.job import JobState
from domain.money import MicroUSD
from domain.quota import Subject, Unit, Window
from jobs.corrections import OPERATOR, Correction, Corrections
from tests.building import GUILD, Clock, House, open_house
from tests.doubles import Accept, ScriptedBackend


def corrections(house: House) -> Corrections:
    return Corrections(house.database, house.jobs, house.ledger, AuditStore(house.database), house.clock)


def losing() -> ScriptedBackend:
    """A paid backend whose answers are lost."""
    return ScriptedBackend("wavespeed", [Accept(), OutcomeUnknown(EaselError(Code.OUTCOME_UNKNOWN))], resumes=True)


@pytest.mark.parametrize("charged", [0, 4_000, 10_000, 25_000])
async def test_an_unknown_call_counts_what_was_charged(tmp_path: Path, clock: Clock, charged: int) -> None:
    async with open_house(tmp_path, {"wavespeed": losing()}, clock=clock) as house:
        rule = await house.administration.set_rule(GUILD, Subject.GUILD, 0, Unit.MONEY, Window.DAY, 50_000, 1)
        job = await house.ask("paid")
        await house.reached(job.id, JobState.UNKNOWN)
        assert await house.spent() == (10_000, 0)
        clock.advance(86_400)
        made = await corrections(house).correct(job.id, MicroUSD(charged))
        assert made == Correction(MicroUSD(10_000), MicroUSD(charged))
        assert await house.spent() == (charged, 0)
        # It belongs to yesterday: today's budget is whole.
        usage = (await house.quotas.preview(rule)).usage
        assert usage is not None
        assert usage.used == 0
        assert await house.ledger.check() == []


async def test_it_is_recorded_and_doing_it_twice_changes_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"wavespeed": losing()}) as house:
        job = await house.ask("paid")
        await house.reached(job.id, JobState.UNKNOWN)
        for _ in range(2):
            await corrections(house).correct(job.id, MicroUSD(0))
        (entry,) = await house.administration.record(GUILD)
        assert (entry.action, entry.author_id) == (Action.CORRECTED, OPERATOR)
        assert dict(entry.details) == {"job": job.id, "before": 10_000, "after": 0}
        await corrections(house).correct(job.id, MicroUSD(7))
        assert await house.spent() == (7, 0)


async def test_what_a_job_really_cost_is_known_once_it_was_corrected(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"wavespeed": losing()}) as house:
        job = await house.ask("paid")
        job = await house.reached(job.id, JobState.UNKNOWN)
        assert await house.quotas.corrected_cost(job) is None
        for charged in (4_000, 0, 25_000):
            await corrections(house).correct(job.id, MicroUSD(charged))
            assert await house.quotas.corrected_cost(job) == charged
        # What was counted at first is right after all: nothing is corrected any more.
        await corrections(house).correct(job.id, MicroUSD(10_000))
        assert await house.quotas.corrected_cost(job) is None


async def test_what_is_not_over_settles_itself(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        job = await house.ask("paid")
        for job_id in (job.id, "nothing"):
            with pytest.raises(OperatorError) as refused:
                await corrections(house).correct(job_id, MicroUSD(0))
            assert refused.value.parameters["setting"] == "JOB"
        assert await house.spent() == (0, 10_000)
