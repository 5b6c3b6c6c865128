"""What a server's admins have settled, at the door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from config.catalogue import Catalogue
from config.settings import Settings
from domain.errors import Code, UserError
from domain.guild import GuildSettings
from domain.request import Kind, Size
from domain.safety import EVERYWHERE, Ban
from jobs.house_rules import default_model
from tests.building import GUILD, USER, House, model, offer, open_house

_COMMON: dict[str, Any] = {
    "prompt": {"type": "text", "field": "prompt"},
    "seed": {"type": "integer", "field": "seed", "minimum": 0, "maximum": 2**31 - 1},
}


def sized(backend: str, **size: Any) -> dict[str, Any]:
    parameter = {"type": "size", "field": "size", "minimum": 256, "maximum": 2048, "step": 64} | size
    return offer(backend) | {"parameters": _COMMON | {"size": parameter}}


CATALOGUE = Catalogue(
    [
        model("free-size", sized("worker", default="1024x1024")),
        model("few-sizes", sized("worker", default="1024x1024", choices=["1024x1024", "1360x768", "512x512"])),
        model("large-alone", sized("worker", default="2048x2048", choices=["2048x2048", "1536x1536"])),
    ]
)


@asynccontextmanager
async def house_with(folder: Path, **settings: Any) -> AsyncIterator[House]:
    async with open_house(folder, working=False, catalogue=CATALOGUE) as house:
        await house.administration.change(GUILD, 1, **settings)
        yield house


async def refusal(house: House, name: str = "free-size", **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        await house.ask(name, **options)
    assert await house.queue.line() == []
    return refused.value


async def test_the_largest_picture_counts_pixels_whatever_the_shape(tmp_path: Path) -> None:
    async with house_with(tmp_path, max_size=Size(1024, 1024)) as house:
        error = await refusal(house, size=Size(1088, 1024))
        assert (error.code, error.parameters["maximum"]) == (Code.LIMITED_HERE, "1024x1024")
        assert (await house.ask("free-size", size=Size(2048, 512))).request.size == Size(2048, 512)


@pytest.mark.parametrize(("name", "size"), [("free-size", Size(512, 512)), ("few-sizes", Size(512, 512))])
async def test_where_no_size_is_asked_for_the_largest_that_is_allowed_is_taken(
    tmp_path: Path, name: str, size: Size
) -> None:
    async with house_with(tmp_path, max_size=Size(512, 512)) as house:
        assert (await house.ask(name)).request.size == size


async def test_a_usual_size_that_is_allowed_stays(tmp_path: Path) -> None:
    async with house_with(tmp_path, max_size=Size(1024, 1024)) as house:
        assert (await house.ask("few-sizes")).request.size is None


async def test_a_model_that_makes_no_such_size_is_refused(tmp_path: Path) -> None:
    async with house_with(tmp_path, max_size=Size(1024, 1024)) as house:
        assert (await refusal(house, "large-alone")).code is Code.LIMITED_HERE


async def test_count_channels_roles_and_models(tmp_path: Path) -> None:
    async with house_with(tmp_path, max_count=2, channels=(5, 6), roles=(7,), allowed_models=("few-sizes",)) as house:
        place: dict[str, Any] = {"channel": 5, "roles": frozenset({7, 8})}
        assert (await refusal(house, "few-sizes")).code is Code.CHANNEL_NOT_ALLOWED
        assert (await refusal(house, "few-sizes", channel=5)).code is Code.ROLE_NEEDED
        assert (await refusal(house, "free-size", **place)).code is Code.MODEL_NOT_ALLOWED
        assert (await refusal(house, "few-sizes", count=3, **place)).code is Code.LIMITED_HERE
        await house.ask("few-sizes", count=2, **place)
        # A thread of an allowed channel, or a channel of an allowed category.
        await house.ask("few-sizes", roles=frozenset({7}), surroundings=frozenset({6}))


async def test_bans(tmp_path: Path) -> None:
    async with house_with(tmp_path) as house:
        for ban, code in ((Ban(USER, GUILD, "", 1), Code.BANNED_HERE), (Ban(USER, EVERYWHERE, "", 0), Code.BANNED)):
            async with house.database.transaction() as tx:
                await house.safety.ban(tx, ban, house.clock())
            assert (await refusal(house)).code is code
        await house.ask("free-size", user=USER + 1)
        async with house.database.transaction() as tx:
            assert await house.safety.unban(tx, EVERYWHERE, USER)
            assert await house.safety.unban(tx, GUILD, USER)
            assert not await house.safety.unban(tx, GUILD, USER)
        await house.ask("free-size")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (GuildSettings(), "free-size"),
        (GuildSettings(imagine_model="few-sizes"), "few-sizes"),
        (GuildSettings(imagine_model="gone"), "free-size"),
        (GuildSettings(allowed_models=("few-sizes",)), "few-sizes"),
        (GuildSettings(imagine_model="free-size", allowed_models=("large-alone",)), "large-alone"),
    ],
)
def test_the_usual_model(settings: GuildSettings, expected: str) -> None:
    assert default_model(settings, Kind.IMAGINE, CATALOGUE, Settings.model_validate({}), ("worker",)).key == expected


def test_no_model_at_all() -> None:
    with pytest.raises(UserError) as refused:
        default_model(
            GuildSettings(allowed_models=("gone",)), Kind.IMAGINE, CATALOGUE, Settings.model_validate({}), ("worker",)
        )
    assert refused.value.code is Code.NO_MODEL_ALLOWED
