"""What a member can paint with in a channel now, and how the backends are."""

from pathlib import Path

import pytest

from backends.base import Health, HealthState
from backends.selector import Reason, Ruling
from cogs.ui import offers, texts
from domain.errors import Code, UserError
from domain.job import Failure, Place
from domain.money import MicroUSD
from domain.quota import Subject, Unit, Window
from domain.request import Kind
from jobs.offering import BackendNow, OfferedModel, Offering
from jobs.quotas import Asker
from tests.backends.calls import CATALOGUE as SHIPPED
from tests.building import CHANNEL, GUILD, USER, House, open_house
from tests.doubles import ScriptedBackend

ASKER = Asker(Place(GUILD, CHANNEL, USER))
ORDER = ("worker", "wavespeed", "runware", "comfyui", "openai")


def offering(house: House) -> Offering:
    chooser = house.chooser
    return Offering(
        house.database,
        house.guilds,
        house.catalogue,
        chooser,
        house.quotas,
        house.fleet,
        house.estimates,
        ORDER,
        house.clock,
    )


def backends() -> dict[str, ScriptedBackend]:
    return {key: ScriptedBackend(key, resumes=key != "worker") for key in ORDER}


def up(house: House) -> None:
    for member in house.fleet._members.values():
        member.health = Health(HealthState.UP, slots=1)


def rulings(found: list[OfferedModel], model: str) -> dict[str, str | None]:
    (one,) = [one for one in found if one.model.key == model]
    return {offered.offer.backend: offered.ruling for offered in one.offers}


async def test_every_model_with_every_offer(tmp_path: Path) -> None:
    async with open_house(tmp_path, backends(), working=False) as house:
        up(house)
        house.estimates.learn("wavespeed:both", 7)
        found = await offering(house).here(ASKER)
        assert [one.model.key for one in found] == [model.key for model in house.catalogue]
        (both,) = [one for one in found if one.model.key == "both"]
        told = [(one.offer.backend, one.price, one.seconds, one.ruling) for one in both.offers]
        assert told == [("worker", 0, 10, None), ("wavespeed", 10_000, 7, None)]


async def test_why_an_offer_cannot_be_had(tmp_path: Path) -> None:
    async with open_house(tmp_path, backends(), working=False) as house:
        look = offering(house)
        assert rulings(await look.here(ASKER), "both") == {"worker": "down", "wavespeed": "down"}
        up(house)
        await house.administration.set_rule(GUILD, Subject.CHANNEL, CHANNEL, Unit.MONEY, Window.DAY, 9_999, 1)
        assert rulings(await look.here(ASKER), "both") == {"worker": None, "wavespeed": "no_money"}
        elsewhere = Asker(Place(GUILD, CHANNEL + 1, USER))
        assert rulings(await look.here(elsewhere), "both") == {"worker": None, "wavespeed": None}
        await house.administration.change(GUILD, 1, allowed_backends=("wavespeed",))
        assert rulings(await look.here(elsewhere), "both") == {"worker": "not_allowed", "wavespeed": None}
        house.fleet.hung("wavespeed", Failure(Code.DEADLINE_PASSED, {"seconds": 600}))
        assert rulings(await look.here(elsewhere), "both") == {"worker": "not_allowed", "wavespeed": "suspended"}


async def test_the_servers_rules_hold(tmp_path: Path) -> None:
    async with open_house(tmp_path, backends(), working=False) as house:
        up(house)
        look = offering(house)
        await house.administration.change(GUILD, 1, allowed_models=("local", "paid"), allowed_backends=("worker",))
        assert [one.model.key for one in await look.here(ASKER)] == ["local", "paid"]
        assert [model.key for model in await look.usable(GUILD, Kind.IMAGINE)] == ["local"]
        await house.administration.change(GUILD, 1, channels=(CHANNEL + 1,))
        with pytest.raises(UserError) as refused:
            await look.here(ASKER)
        assert refused.value.code is Code.CHANNEL_NOT_ALLOWED


async def test_how_the_backends_are(tmp_path: Path) -> None:
    async with open_house(tmp_path, backends(), working=False) as house:
        up(house)
        problem = Failure(Code.DEADLINE_PASSED, {"seconds": 600})
        house.fleet.try_take("worker")
        house.fleet.hung("wavespeed", problem)
        house.fleet.cool_down("runware", 20, rate_limited=True)
        missing = Failure(Code.MODEL_NOT_FOUND, {"model": "x"})
        house.fleet._members["comfyui"].health = Health(HealthState.DOWN, 0, problem=missing)
        assert offering(house).backends() == [
            BackendNow("worker", 1, 1, "busy", None, None),
            BackendNow("wavespeed", 1, 0, "suspended", problem, 15.0),
            BackendNow("runware", 1, 0, "rate_limited", None, 20.0),
            BackendNow("comfyui", 0, 0, "needs_operator", missing, None),
            BackendNow("openai", 1, 0, None, None, None),
        ]
        lines = [offers.backend(one) for one in offering(house).backends()]
        assert lines == [
            "🟡 worker: 1 of 1 busy",
            "🔴 wavespeed: rests after repeated faults. Tried again in 15 s.",
            "🔴 runware: asked to be left alone for a while. Tried again in 20 s.",
            "🔴 comfyui: The model x can't be found. The operator has to mend that.",
            "🟢 openai: 0 of 1 busy",
        ]


async def test_the_whole_catalogue_fits_into_discords_limits(tmp_path: Path) -> None:
    async with open_house(tmp_path, backends(), working=False, catalogue=SHIPPED) as house:
        up(house)
        found = await offering(house).here(ASKER)
        pages = -(-len(found) // offers.PAGE)
        assert pages > 1
        shown = ""
        for page in range(pages):
            embed, view = offers.models(found, page)
            assert len(embed) <= 6000
            assert len(str(embed.description)) <= 4096
            shown += str(embed.description)
            assert view is not None
            assert len(view.children) == (1 if page in (0, pages - 1) else 2)
        for model in SHIPPED:
            assert f"**{model.name}** · /{model.kind.value}" in shown
        assert "512 to 1536 pixels a side" in shown
        assert "$0.012" in shown


def test_nothing_to_paint_with() -> None:
    embed, view = offers.models([], 0)
    assert (embed.description, view) == ("There is no model to paint with here.", None)


@pytest.mark.parametrize("ruling", Ruling)
def test_every_ruling_has_words(ruling: Ruling) -> None:
    assert texts.ruling(ruling.value)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words(reason: Reason) -> None:
    assert texts.reason(reason.value)


async def test_money_that_is_left(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_daily_budget_usd="0.05") as house:
        assert await house.quotas.money_left(ASKER) == MicroUSD(50_000)
        await house.ask("paid")
        assert await house.quotas.money_left(ASKER) == MicroUSD(40_000)
