"""Which rules hold for whom, what is left of them, and when it comes back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from db.guilds import GuildStore
from domain.errors import Code, UserError
from domain.guild import GuildSettings
from domain.job import JobState, Place
from domain.quota import Rule, Subject, Unit, Usage, Window
from jobs.quotas import Asker, applicable
from tests.building import CHANNEL, GUILD, USER, Clock, House, open_house
from tests.doubles import Paint, ScriptedBackend

BOOSTER, REGULAR = 50, 51
PLACE = Place(GUILD, CHANNEL, USER)


def rule(
    subject: Subject, limit: int, subject_id: int = 0, unit: Unit = Unit.IMAGES, window: Window = Window.DAY
) -> Rule:
    return Rule(limit, GUILD, subject, subject_id, unit, window, limit)


DEFAULT = Rule(0, GUILD, Subject.EVERY_MEMBER, 0, Unit.IMAGES, Window.DAY, 50)
EVERYONE = rule(Subject.EVERY_MEMBER, 20)
BOOSTERS = rule(Subject.ROLE, 60, BOOSTER)
REGULARS = rule(Subject.ROLE, 30, REGULAR)
MINE = rule(Subject.MEMBER, 5, USER)
SOMEBODYS = rule(Subject.MEMBER, 7, USER + 1)
SERVER = rule(Subject.GUILD, 1000, GUILD)
HERE = rule(Subject.CHANNEL, 100, CHANNEL)
THERE = rule(Subject.CHANNEL, 0, CHANNEL + 1)
MY_MONEY = rule(Subject.MEMBER, 11, USER, Unit.MONEY)
BOOSTERS_MONEY = rule(Subject.ROLE, 12, BOOSTER, Unit.MONEY)
EVERYONES_MONEY = rule(Subject.EVERY_MEMBER, 13, 0, Unit.MONEY)
BOOSTERS_HOUR = rule(Subject.ROLE, 9, BOOSTER, window=Window.HOUR)
REGULARS_HOUR = rule(Subject.ROLE, 4, REGULAR, window=Window.HOUR)
EVERYONES_GPU = rule(Subject.EVERY_MEMBER, 60_000, 0, Unit.GPU_SECONDS)


@pytest.mark.parametrize(
    ("rules", "roles", "expected"),
    [
        ([], {}, [DEFAULT]),
        ([EVERYONE], {}, [EVERYONE]),
        ([EVERYONE, BOOSTERS], {}, [EVERYONE]),
        ([EVERYONE, BOOSTERS], {BOOSTER}, [BOOSTERS]),
        ([EVERYONE, BOOSTERS, REGULARS], {BOOSTER, REGULAR}, [BOOSTERS]),
        ([REGULARS, BOOSTERS], {BOOSTER, REGULAR}, [BOOSTERS]),
        ([EVERYONE, BOOSTERS, MINE], {BOOSTER}, [MINE]),
        ([EVERYONE, SOMEBODYS], {}, [EVERYONE]),
        ([SERVER, HERE, THERE], {}, [DEFAULT, SERVER, HERE]),
        ([SERVER, MINE], {}, [MINE, SERVER]),
        ([MY_MONEY, BOOSTERS_MONEY, EVERYONES_MONEY], {BOOSTER}, [DEFAULT, MY_MONEY, BOOSTERS_MONEY, EVERYONES_MONEY]),
        ([BOOSTERS_MONEY], {}, [DEFAULT]),
        ([BOOSTERS, BOOSTERS_HOUR, REGULARS_HOUR], {BOOSTER, REGULAR}, [BOOSTERS, BOOSTERS_HOUR]),
        ([EVERYONES_GPU], {}, [DEFAULT, EVERYONES_GPU]),
        ([EVERYONES_GPU, MINE], {}, [MINE, EVERYONES_GPU]),
    ],
)
async def test_which_rules_hold(tmp_path: Path, rules: list[Rule], roles: set[int], expected: list[Rule]) -> None:
    async with open_house(tmp_path, working=False) as house:
        found = applicable(rules, Asker(PLACE, frozenset(roles)), house.settings)
    *held, budget = found
    assert (budget.subject, budget.unit, budget.limit) == (Subject.OPERATOR, Unit.MONEY, 5_000_000)
    assert sorted(held, key=lambda each: each.limit) == sorted(expected, key=lambda each: each.limit)


async def refused(house: House, model: str = "local", **more: Any) -> bool:
    """Whether the quota refuses one more."""
    try:
        await house.ask(model, **more)
    except UserError as error:
        return error.code is Code.QUOTA_EXCEEDED
    return False


async def usage(house: House, roles: frozenset[int] = frozenset()) -> dict[tuple[Subject, Window], Usage]:
    return {(each.rule.subject, each.rule.window): each for each in await house.quotas.usage(Asker(PLACE, roles))}


async def test_a_limit_of_nothing_forbids(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.MEMBER, USER, Unit.IMAGES, Window.DAY, 0, 1)
        assert await refused(house)
        assert not await refused(house, user=USER + 1)


async def test_every_rule_that_holds_must_pass(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.GUILD, 123, Unit.IMAGES, Window.WEEK, 2, 1)
        await house.ask(user=1)
        await house.ask(user=2, channel=801)
        assert await refused(house, user=3)
        assert not await refused(house, user=3, guild=901)


async def test_gpu_time_is_counted_in_milliseconds(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.GPU_SECONDS, Window.DAY, 20_000, 1)
        assert await refused(house, count=3)
        assert not await refused(house, count=2)
        assert await refused(house)
        assert not await refused(house, "paid")


async def test_what_was_used_comes_back_with_the_window(tmp_path: Path, clock: Clock) -> None:
    clock.now = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # 23:30 in Berlin, the night before its clocks change
    async with open_house(tmp_path, clock=clock, working=False, easel_default_daily_images=1) as house:
        async with house.database.transaction() as tx:
            berlin = GuildSettings(ZoneInfo("Europe/Berlin"))
            await GuildStore(house.database).set_settings(tx, GUILD, berlin)
        assert not await refused(house)
        assert await refused(house)
        assert (await usage(house))[Subject.EVERY_MEMBER, Window.DAY].resets_at == datetime(2026, 3, 28, 23, tzinfo=UTC)
        clock.advance(1800)
        assert not await refused(house)
        assert (await usage(house))[Subject.EVERY_MEMBER, Window.DAY].resets_at == datetime(2026, 3, 29, 22, tzinfo=UTC)
        clock.advance(23 * 3600 - 1)
        assert await refused(house)
        clock.advance(1)
        assert not await refused(house)


async def test_an_hour_rolls(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.IMAGES, Window.HOUR, 2, 1)
        assert not await refused(house)
        clock.advance(1800)
        assert not await refused(house)
        resets = (await usage(house))[Subject.EVERY_MEMBER, Window.HOUR].resets_at
        assert resets == datetime(2026, 3, 11, 13, 15, tzinfo=UTC)
        clock.now = resets.replace(minute=14, second=59)
        assert await refused(house)
        clock.now = resets
        assert not await refused(house)
        assert await refused(house)


async def test_a_release_after_midnight_goes_back_to_the_day_before(tmp_path: Path, clock: Clock) -> None:
    clock.now = datetime(2026, 3, 11, 23, 50, tzinfo=UTC)
    async with open_house(tmp_path, clock=clock, working=False, easel_default_daily_images=2) as house:
        early = await house.ask(count=2)
        clock.advance(1200)
        await house.ask(count=2)
        await house.dispatcher.cancel(early.id)
        assert await refused(house)
        assert (await usage(house))[Subject.EVERY_MEMBER, Window.DAY].held == 2


async def test_a_clock_that_goes_back(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False, easel_default_daily_images=2) as house:
        assert not await refused(house)
        clock.advance(-48 * 3600)
        # What lies ahead still counts: nobody gains by a clock that was wrong.
        assert not await refused(house)
        assert await refused(house)


async def test_a_grant_is_on_top_and_ends_with_its_window(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False, easel_default_daily_images=1) as house:
        await house.administration.grant(PLACE, Unit.IMAGES, 2, author_id=1)
        assert not await refused(house, count=3)
        assert await refused(house)
        assert not await refused(house, user=USER + 1)
        clock.advance(86_400)
        assert await refused(house, count=2)


async def test_a_grant_does_not_widen_what_all_share(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.GUILD, GUILD, Unit.IMAGES, Window.DAY, 1, 1)
        await house.administration.grant(PLACE, Unit.IMAGES, 100, author_id=1)
        assert await refused(house, count=2)


async def test_changing_a_rule(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        made = await house.administration.set_rule(GUILD, Subject.ROLE, BOOSTER, Unit.IMAGES, Window.DAY, 1, 1)
        changed = await house.administration.set_rule(GUILD, Subject.ROLE, BOOSTER, Unit.IMAGES, Window.DAY, 2, 1)
        assert made.id == changed.id
        assert await house.quotas.rules(GUILD) == [changed]
        other = await house.administration.set_rule(GUILD, Subject.ROLE, BOOSTER, Unit.IMAGES, Window.WEEK, 3, 1)
        assert await house.quotas.rules(GUILD) == [changed, other]
        with pytest.raises(UserError) as unknown:
            await house.administration.remove_rule(GUILD + 1, made.id, 1)
        assert unknown.value.code is Code.RULE_UNKNOWN
        await house.administration.remove_rule(GUILD, made.id, 1)
        assert await house.quotas.rules(GUILD) == [other]


async def test_a_rule_that_is_made_later_sees_what_was_used_before(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", [Paint()])}) as house:
        await house.reached((await house.ask(count=2)).id, JobState.FINISHED)
        await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.IMAGES, Window.MONTH, 3, 1)
        found = (await usage(house))[Subject.EVERY_MEMBER, Window.MONTH]
        assert (found.used, found.held, found.left) == (2, 0, 1)
        assert await refused(house, count=2)


async def test_the_operators_budget_is_not_shown_to_members(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        assert all(each.rule.subject is not Subject.OPERATOR for each in await house.quotas.usage(Asker(PLACE)))
