"""What a server's admins want of backends, from the door to the slot."""

import asyncio
from pathlib import Path

import pytest

from backends.base import Health, HealthState
from domain.errors import Code, UserError
from domain.guild import Policy
from domain.job import JobState
from domain.money import MicroUSD
from tests.building import CATALOGUE, GUILD, House, model, offer, open_house
from tests.doubles import Accept, Paint, ScriptedBackend

OVER = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN)
PAID = MicroUSD(10_000)


def gpu(*script: object, slots: int = 1) -> ScriptedBackend:
    return ScriptedBackend("worker", script or (Paint(),), slots=slots)  # type: ignore[arg-type]


def vendor(key: str = "wavespeed", **more: object) -> ScriptedBackend:
    return ScriptedBackend(key, (Accept(), Paint(cost=PAID)), resumes=True, slots=4)


async def wants(house: House, guild: int = GUILD, **settings: object) -> None:
    await house.administration.change(guild, 1, **settings)


async def looked_at(house: House) -> None:
    """Every backend has said how it is."""
    async with asyncio.timeout(60):
        while not all(health.slots for health in house.fleet.health().values()):
            await asyncio.sleep(0)


async def test_only_offers_at_allowed_backends_are_reserved_for(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await wants(house, allowed_backends=("worker",))
        job = await house.ask("both")
        assert (job.offers, await house.spent()) == (("worker:both",), (0, 0))
        await wants(house, allowed_backends=("wavespeed", "runware"))
        job = await house.ask("hosted")
        assert (job.offers, await house.spent()) == (("wavespeed:hosted", "runware:hosted"), (0, 20_000))
        with pytest.raises(UserError) as refused:
            await house.ask("local")
        assert (refused.value.code, refused.value.parameters) == (Code.BACKENDS_NOT_ALLOWED, {"model": "local"})
        assert (await house.ask("both", guild=901)).offers == ("worker:both", "wavespeed:both")


async def test_what_is_forbidden_later_is_not_used(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"wavespeed": vendor(), "runware": vendor("runware")}, working=False) as house:
        both, only = await house.ask("hosted"), await house.ask("paid")
        await wants(house, allowed_backends=("runware",))
        async with house.dispatcher.running():
            both, only = await house.reached(both.id, *OVER), await house.reached(only.id, *OVER)
        assert (both.state, both.offer) == (JobState.FINISHED, "runware:hosted")
        assert only.failure is not None
        assert (only.state, only.failure.code) == (JobState.FAILED, Code.BACKENDS_NOT_ALLOWED)
        assert (await house.spent())[1] == 0


CHEAP_SECOND = type(CATALOGUE)(
    [
        model("twice", offer("wavespeed", "0.03", seconds=5), offer("runware", "0.01", seconds=50)),
        model("mixed", offer("worker", seconds=40), offer("wavespeed", "0.03", seconds=5)),
    ]
)


@pytest.mark.parametrize(
    ("policy", "backend", "reason"),
    [
        (Policy.ORDER, "wavespeed", "first_in_order"),
        (Policy.CHEAPEST, "runware", "cheapest"),
        (Policy.FASTEST, "wavespeed", "fastest"),
    ],
)
async def test_the_servers_policy_chooses(tmp_path: Path, policy: Policy, backend: str, reason: str) -> None:
    backends = {"wavespeed": vendor(), "runware": vendor("runware")}
    async with open_house(tmp_path, backends, catalogue=CHEAP_SECOND) as house:
        await looked_at(house)
        await wants(house, policy=policy)
        job = await house.reached((await house.ask("twice")).id, *OVER)
        assert (job.offer, job.reason) == (f"{backend}:twice", reason)


async def test_what_is_fastest_is_learned(tmp_path: Path) -> None:
    backends = {"wavespeed": vendor(), "runware": vendor("runware")}
    async with open_house(tmp_path, backends, catalogue=CHEAP_SECOND) as house:
        await looked_at(house)
        await wants(house, policy=Policy.FASTEST)
        house.estimates.learn("wavespeed:twice", 90)
        job = await house.reached((await house.ask("twice")).id, *OVER)
        assert job.offer == "runware:twice"


@pytest.mark.parametrize("spills", [False, True])
async def test_a_busy_gpu_spills_over_where_the_server_lets_it(tmp_path: Path, spills: bool) -> None:
    go = asyncio.Event()
    backends = {"worker": gpu(go, Paint()), "wavespeed": vendor()}
    async with open_house(tmp_path, backends) as house:
        await looked_at(house)
        await wants(house, spill_to_paid=spills)
        first = await house.ask("both")
        await house.reached(first.id, JobState.RUNNING)
        second = await house.ask("both")
        if spills:
            second = await house.reached(second.id, *OVER)
            assert (second.offer, second.reason) == ("wavespeed:both", "spilled_over")
        go.set()
        first, second = await house.reached(first.id, *OVER), await house.reached(second.id, *OVER)
        assert first.offer == "worker:both"
        assert await house.spent() == ((PAID, 0) if spills else (0, 0))
        assert second.offer == ("wavespeed:both" if spills else "worker:both")


async def test_spilling_over_never_goes_past_a_limit_of_money(tmp_path: Path) -> None:
    go = asyncio.Event()
    backends = {"worker": gpu(go, Paint()), "wavespeed": vendor()}
    async with open_house(tmp_path, backends, easel_daily_budget_usd="0.015") as house:
        await looked_at(house)
        await wants(house, spill_to_paid=True)
        jobs = [await house.ask("both") for _ in range(4)]
        await house.reached(jobs[0].id, JobState.RUNNING)
        go.set()
        ended = [await house.reached(job.id, *OVER) for job in jobs]
        assert {job.state for job in ended} == {JobState.FINISHED}
        used, held = await house.spent()
        assert used <= 15_000
        assert held == 0


async def test_two_servers_that_want_different_things_share_a_line(tmp_path: Path) -> None:
    go = asyncio.Event()
    backends = {"worker": gpu(go, Paint()), "wavespeed": vendor()}
    async with open_house(tmp_path, backends) as house:
        await looked_at(house)
        await wants(house, guild=2, spill_to_paid=True)
        first = await house.ask("both", guild=1)
        await house.reached(first.id, JobState.RUNNING)
        patient, hasty = await house.ask("both", guild=1), await house.ask("both", guild=2)
        assert (await house.reached(hasty.id, *OVER)).offer == "wavespeed:both"
        assert (await house.job(patient.id)).state is JobState.QUEUED
        go.set()
        assert (await house.reached(patient.id, *OVER)).offer == "worker:both"


async def test_the_fastest_is_waited_for_until_its_line_is_too_long(tmp_path: Path) -> None:
    """The GPU takes 10 s a picture, the slow server 35 s: the fourth in line is better off there."""
    go = asyncio.Event()
    catalogue = type(CATALOGUE)([model("free", offer("worker"), offer("comfyui", seconds=35))])
    slow = ScriptedBackend("comfyui", (Accept(), go, Paint(seconds=35)), resumes=True, slots=1)
    quick = gpu(go, Paint(seconds=10))
    async with open_house(tmp_path, {"worker": quick, "comfyui": slow}, catalogue=catalogue) as house:
        await looked_at(house)
        await wants(house, policy=Policy.FASTEST)
        first = await house.ask("free")
        await house.reached(first.id, JobState.RUNNING)
        waiting = [await house.ask("free") for _ in range(2)]
        fourth = await house.ask("free")
        await house.reached(fourth.id, JobState.ACCEPTED, JobState.RUNNING)
        assert [(await house.job(job.id)).state for job in waiting] == [JobState.QUEUED] * 2
        go.set()
        assert {(await house.reached(job.id, *OVER)).offer for job in waiting} == {"worker:free"}


async def test_what_is_overdue_is_taken_to_last_as_long_again(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": gpu()}, working=False) as house:
        member = house.fleet._members["worker"]
        member.health = Health(HealthState.UP, slots=1)
        member.busy = 1
        house.fleet.expect("worker", "job", 10)
        waits = []
        for _ in range(4):
            waits.append(house.fleet.facts()["worker"].wait_seconds)
            house.clock.advance(7)
        assert waits == [10, 3, 4, 11]


async def test_where_the_price_rose_meanwhile_nothing_is_spent(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        job = await house.ask("paid")
    dearer = type(CATALOGUE)(
        [one.model_copy(update={"offers": (one.offers[0].model_copy(update={"price": MicroUSD(50_000)}),)})
         for one in CATALOGUE if one.key == "paid"]
    )  # fmt: skip
    backend = vendor()
    async with open_house(tmp_path, {"wavespeed": backend}, catalogue=dearer) as house:
        job = await house.reached(job.id, *OVER)
        assert job.failure is not None
        assert (job.failure.code, backend.calls) == (Code.PRICE_ROSE, [])
        assert await house.spent() == (0, 0)


async def test_a_vendor_that_does_not_say_how_long_it_took_is_timed(tmp_path: Path) -> None:
    go = asyncio.Event()
    backend = ScriptedBackend("wavespeed", (Accept(), go, Paint(seconds=None)), resumes=True)
    async with open_house(tmp_path, {"wavespeed": backend}) as house:
        job = await house.ask("paid")
        await house.reached(job.id, JobState.ACCEPTED)
        house.clock.advance(6)
        go.set()
        job = await house.reached(job.id, *OVER)
        assert job.seconds == 6
        assert house.estimates.seconds(CATALOGUE.offers()["wavespeed:paid"]) == 6
