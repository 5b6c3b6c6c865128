"""What a job costs and takes, learned from what such jobs took; and the line played forward."""

from pathlib import Path

import pytest

from backends.base import Health, HealthState
from domain.job import JobState
from domain.quota import Amounts
from domain.request import ImageRequest, Kind
from jobs.estimates import Estimates
from tests.building import CATALOGUE, open_house
from tests.doubles import Paint, ScriptedBackend


def request(model: str, count: int = 1) -> ImageRequest:
    return ImageRequest(kind=Kind.IMAGINE, model=model, prompt="p", count=count)


def test_the_catalogues_guess_until_it_is_known_better() -> None:
    estimates = Estimates()
    (offer,) = CATALOGUE.model("local").offers
    assert estimates.seconds(offer) == 10
    estimates.learn(offer.key, 20)
    assert estimates.seconds(offer) == 20
    estimates.learn(offer.key, 10)
    assert estimates.seconds(offer) == 18


@pytest.mark.parametrize("seconds", [0.0, -5.0, float("nan"), float("inf"), 1e9])
def test_what_cannot_be_true_is_not_learned(seconds: float) -> None:
    estimates = Estimates()
    (offer,) = CATALOGUE.model("local").offers
    estimates.learn(offer.key, seconds)
    assert estimates.seconds(offer) == 10


def test_the_highest_price_and_the_longest_time_on_the_own_gpu() -> None:
    quote = Estimates().quote(request("both", count=2), CATALOGUE.model("both").offers)
    assert quote.amounts == Amounts(images=2, gpu_milliseconds=20_000, micro_usd=20_000)
    quote = Estimates().quote(request("hosted"), CATALOGUE.model("hosted").offers)
    assert quote.amounts == Amounts(images=1, gpu_milliseconds=0, micro_usd=20_000)


async def test_what_was_learned_is_remembered(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", [Paint(seconds=3.0)])}) as house:
        await house.reached((await house.ask(count=2)).id, JobState.FINISHED)
        assert (await house.ask()).estimated_seconds == 3.0
    async with open_house(tmp_path, working=False) as house:
        await house.estimates.learn_from(house.jobs)
        assert (await house.ask()).estimated_seconds == 3.0


async def test_several_slots_take_from_the_line_at_the_same_time(tmp_path: Path) -> None:
    backend = ScriptedBackend("worker", slots=2)
    async with open_house(tmp_path, {"worker": backend}, working=False) as house:
        house.fleet._members["worker"].health = Health(HealthState.UP, slots=2)
        house.fleet.expect("worker", "job", 4)
        for user, model in enumerate(("local", "costly", "local")):
            await house.ask(model, user=user)
        waits = [standing.wait_seconds for standing in await house.queue.line()]
        assert sorted(wait for wait in waits if wait is not None) == [0.0, 4.0, 10.0]


async def test_the_slots_of_the_fleet(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker")}, working=False) as house:
        member = house.fleet._members["worker"]
        assert house.fleet.seconds_until_free() == {}
        member.health = Health(HealthState.LOADING, slots=3, loading_seconds=5.0)
        house.fleet.expect("worker", "job", 30)
        house.clock.advance(10)
        assert {key: sorted(slots) for key, slots in house.fleet.seconds_until_free().items()} == {
            "worker": [5.0, 5.0, 25.0]
        }
        assert house.fleet.seconds_left() == {"job": 20.0}
        # What is overdue by so much takes as long again.
        house.clock.advance(26)
        assert house.fleet.seconds_left() == {"job": 6.0}
        house.fleet.forget("worker", "job")
        assert house.fleet.seconds_until_free() == {"worker": [5.0, 5.0, 5.0]}
        house.fleet.cool_down("worker", 8)
        assert house.fleet.seconds_until_free() == {"worker": [13.0, 13.0, 13.0]}
