"""What nobody knows the price of is not sent anywhere: no limit of money could hold for it."""

from pathlib import Path
from typing import Any

import pytest

from config.catalogue import Catalogue
from domain.errors import Code, EaselError, OperatorError
from domain.job import JobState
from domain.quota import Unit
from domain.request import ImageRequest, Kind, Size
from tests.building import House, model, offer, open_house
from tests.doubles import ScriptedBackend

_PARAMETERS: dict[str, Any] = offer("wavespeed")["parameters"]
_SIZE = {"type": "size", "field": "size", "minimum": 128, "maximum": 2048, "step": 16, "default": "1024x1024"}
_BY_THE_WORK: dict[str, Any] = {"price": "0.009", "priced_at": {"pixels": 1024 * 1024, "steps": 10}}
_FREE_STEPS = {"type": "integer", "field": "steps", "minimum": 1, "maximum": 50}


def unpriced(backend: str = "wavespeed", **more: Any) -> dict[str, Any]:
    """An offer that says nothing of its price."""
    made = offer(backend, **more)
    del made["price"]
    return made


CATALOGUE = Catalogue(
    [
        model("nobody-knows", unpriced()),
        model("the-vendor-chooses-the-pixels", offer("wavespeed", **_BY_THE_WORK)),
        model(
            "the-vendor-chooses-the-steps",
            offer("wavespeed", **_BY_THE_WORK, parameters=_PARAMETERS | {"size": _SIZE, "steps": _FREE_STEPS}),
        ),
        model("one-of-two", offer("worker"), unpriced()),
    ]
)


def wish(name: str, **more: Any) -> ImageRequest:
    return ImageRequest(kind=Kind.IMAGINE, model=name, prompt="a fox", **more)


async def refusal(house: House, name: str, **more: Any) -> EaselError:
    """Why it is refused; nothing is queued or held then, not even for the operator."""
    with pytest.raises(EaselError) as refused:
        await house.ask(name, **more)
    assert await house.queue.line() == []
    assert await house.spent() == (0, 0)
    assert await house.counted(Unit.IMAGES) == (0, 0)
    return refused.value


@pytest.mark.parametrize("name", ["nobody-knows", "the-vendor-chooses-the-pixels", "the-vendor-chooses-the-steps"])
async def test_an_unknown_price_is_refused_however_large_the_budget(tmp_path: Path, name: str) -> None:
    async with open_house(tmp_path, catalogue=CATALOGUE, working=False, easel_daily_budget_usd=100_000) as house:
        error = await refusal(house, name)
        assert isinstance(error, OperatorError)
        assert (error.code, dict(error.parameters)) == (
            Code.PRICE_UNKNOWN,
            {"model": name, "backend": "wavespeed"},
        )
        with pytest.raises(OperatorError, match="price_unknown"):
            await house.intake.quote(wish(name))


async def test_what_was_left_open_can_be_said(tmp_path: Path) -> None:
    async with open_house(tmp_path, catalogue=CATALOGUE, working=False) as house:
        await house.ask("the-vendor-chooses-the-steps", steps=20, size=Size(1024, 1024))
        assert await house.spent() == (0, 18_000)


async def test_the_offers_with_a_price_are_left(tmp_path: Path) -> None:
    async with open_house(tmp_path, catalogue=CATALOGUE, working=False, easel_daily_budget_usd=0) as house:
        assert (await house.ask("one-of-two")).offers == ("worker:one-of-two",)
        assert await house.spent() == (0, 0)


def test_an_offer_without_a_price_is_paid_for_all_we_know() -> None:
    (found,) = CATALOGUE.model("nobody-knows").offers
    assert found.is_paid
    assert found.known_price_of(wish("nobody-knows")) is None
    with pytest.raises(OperatorError):
        found.price_of(wish("nobody-knows"))


async def test_a_job_whose_offer_has_lost_its_price_is_not_started(tmp_path: Path) -> None:
    known = Catalogue([model("changing", offer("wavespeed", "0.01"))])
    backend = ScriptedBackend("wavespeed")
    async with open_house(tmp_path, catalogue=known, working=False) as house:
        job = await house.ask("changing")
    async with open_house(tmp_path, {"wavespeed": backend}, catalogue=known.without_prices("wavespeed")) as house:
        assert (await house.reached(job.id, JobState.FAILED)).state is JobState.FAILED
        assert backend.calls == []
        assert await house.spent() == (0, 0)
