"""Outside servers: what is free and one's own machines, one quota, one share of the line."""

import asyncio
from pathlib import Path

import pytest

from domain.errors import Code, UserError
from domain.guild import OUTSIDE, GuildSettings, NsfwPolicy
from domain.job import JobState
from domain.quota import Subject, Unit, Window
from domain.request import Kind
from jobs.house_rules import OWN_BACKENDS, free_models, outside
from tests.building import CATALOGUE, CHANNEL, GUILD, USER, open_house
from tests.doubles import Paint, ScriptedBackend


async def test_what_costs_money_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        for name in ("paid", "paid-batch", "hosted"):
            with pytest.raises(UserError) as refused:
                await house.ask(name, guild=OUTSIDE)
            assert (refused.value.code, refused.value.parameters["model"]) == (Code.COSTS_MONEY_OUTSIDE, name)
        assert await house.queue.line() == []


async def test_a_model_that_can_be_had_both_ways_is_had_for_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        assert (await house.ask("both", guild=OUTSIDE)).offers == ("worker:both",)
        assert len((await house.ask("both")).offers) == 2


async def test_only_what_is_free_is_offered() -> None:
    settings = outside(CATALOGUE)
    assert settings.allowed_models == tuple(model.key for model in free_models(CATALOGUE, Kind.IMAGINE))
    assert "both" in settings.allowed_models
    assert not {"paid", "hosted"} & set(settings.allowed_models)
    assert set(settings.allowed_backends or ()) == OWN_BACKENDS
    assert settings.nsfw is NsfwPolicy.OFF


async def test_no_admin_of_a_server_can_set_anything_there(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.change(GUILD, 1, nsfw=NsfwPolicy.SPOILER)
        assert await house.administration.settings(OUTSIDE) == outside(CATALOGUE)
        assert (await house.administration.settings(GUILD + 1)) == GuildSettings()


async def test_its_quota_counts_all_that_is_outside_together_and_nothing_else(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_default_daily_images=1, easel_direct_daily_images=2) as house:
        await house.ask(guild=OUTSIDE, channel=CHANNEL + 1)
        await house.ask(guild=OUTSIDE, channel=CHANNEL + 2)
        with pytest.raises(UserError) as refused:
            await house.ask(guild=OUTSIDE, channel=CHANNEL + 3)
        assert refused.value.code is Code.QUOTA_EXCEEDED
        assert refused.value.parameters["limit"] == 2
        await house.ask(guild=GUILD)


async def test_rules_of_servers_do_not_reach_there(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.MEMBER, USER, Unit.IMAGES, Window.DAY, 0, 1)
        await house.ask(guild=OUTSIDE)
        with pytest.raises(UserError):
            await house.ask(guild=GUILD)


async def test_all_who_are_outside_wait_like_one_server(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    backend = ScriptedBackend(script=(Paint(),))
    backend.scripts.append((go_on, Paint()))
    async with open_house(tmp_path, {"worker": backend}) as house:
        first = await house.ask(guild=OUTSIDE, prompt="outside 0")
        await house.reached(first.id, JobState.RUNNING)
        for person in range(1, 5):
            await house.ask(guild=OUTSIDE, channel=CHANNEL + person, user=USER + person, prompt=f"outside {person}")
        last = await house.ask(guild=GUILD, prompt="in a server")
        go_on.set()
        await house.reached(last.id, JobState.FINISHED)
        painted = [call.request.prompt for call in backend.calls]
        assert painted.index("in a server") == 1
