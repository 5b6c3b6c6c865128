"""What admins set beside rules: exemptions, waiting between jobs, weights, a pause; all of it recorded."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest

from db.audit import AuditStore
from db.database import Connection
from db.guilds import GuildStore
from domain.errors import Code, EaselError, UserError
from domain.guild import Action, GuildSettings
from domain.job import JobState
from domain.quota import Subject, Unit, Window
from jobs import pause
from tests.building import GUILD, USER, Clock, House, open_house
from tests.doubles import Paint, ScriptedBackend, Steps

ADMIN, BOOSTER = 1, 50


async def refusal(house: House, **more: Any) -> Code | None:
    """Why the door refuses one more; None where it lets it in."""
    try:
        await house.ask(**more)
    except EaselError as error:
        return error.code
    return None


async def test_an_exempt_members_own_limits_do_not_hold_but_what_all_share_does(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_default_daily_images=1, easel_daily_budget_usd=1) as house:
        await house.administration.exempt(GUILD, USER, ADMIN)
        await house.administration.set_rule(GUILD, Subject.MEMBER, USER, Unit.IMAGES, Window.DAY, 0, ADMIN)
        assert await refusal(house, count=4) is None
        assert await refusal(house, user=USER + 1, count=2) is Code.QUOTA_EXCEEDED
        await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.MONEY, Window.DAY, 0, ADMIN)
        assert await refusal(house, model="paid") is Code.QUOTA_EXCEEDED
        await house.administration.set_rule(GUILD, Subject.GUILD, GUILD, Unit.IMAGES, Window.DAY, 5, ADMIN)
        assert await refusal(house, count=2) is Code.QUOTA_EXCEEDED
        assert await house.administration.exempt_members(GUILD) == [USER]
        await house.administration.end_exemption(GUILD, USER, ADMIN)
        assert await refusal(house) is Code.QUOTA_EXCEEDED
        with pytest.raises(UserError) as twice:
            await house.administration.end_exemption(GUILD, USER, ADMIN)
        assert twice.value.code is Code.NOT_EXEMPT


async def test_members_wait_between_two_jobs(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False) as house:
        await house.administration.set_cooldown(GUILD, 60, ADMIN)
        assert await refusal(house) is None
        clock.advance(59.5)
        with pytest.raises(UserError) as too_early:
            await house.ask()
        assert too_early.value.code is Code.COOLING_DOWN
        assert too_early.value.parameters["ends_at"] == int(clock().timestamp() + 0.5)
        assert await refusal(house, user=USER + 1) is None
        assert await refusal(house, guild=GUILD + 1) is None
        clock.advance(0.5)
        assert await refusal(house) is None
        await house.administration.exempt(GUILD, USER, ADMIN)
        assert await refusal(house) is None


async def test_a_clock_that_went_back_locks_nobody_out(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False) as house:
        await house.administration.set_cooldown(GUILD, 60, ADMIN)
        assert await refusal(house) is None
        clock.advance(-86_400)
        assert await refusal(house) is None


async def test_a_paused_server_takes_nothing_in_and_finishes_what_it_has(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", (Paint(),))}, working=False) as house:
        waiting = await house.ask()
        await house.administration.set_paused(GUILD, True, ADMIN)
        assert await refusal(house) is Code.PAUSED_IN_SERVER
        assert await refusal(house, guild=GUILD + 1) is None
        async with house.dispatcher.running():
            await house.reached(waiting.id, JobState.FINISHED)
        await house.administration.set_paused(GUILD, False, ADMIN)
        assert await refusal(house) is None


async def test_the_operator_pauses_every_server_without_a_restart(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        pause.pause(tmp_path)
        assert await refusal(house) is Code.PAUSED_BY_OPERATOR
        assert await refusal(house, guild=GUILD + 1) is Code.PAUSED_BY_OPERATOR
        assert await house.counted(Unit.IMAGES) == (0, 0)
        pause.resume(tmp_path)
        pause.resume(tmp_path)
        assert await refusal(house) is None


async def test_a_roles_weight_counts_from_the_next_job_on(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        plain = [await house.ask(user=1) for _ in range(2)]
        await house.administration.set_weight(GUILD, BOOSTER, 2.0, ADMIN)
        heavy = [await house.ask(user=2, roles=frozenset({BOOSTER})) for _ in range(3)]
        line = [standing.job_id for standing in await house.queue.line()]
        # Two of theirs for one of somebody else's.
        assert line.index(heavy[1].id) < line.index(plain[1].id)
        await house.administration.set_weight(GUILD, BOOSTER, 1.0, ADMIN)
        assert await house.administration.weights(GUILD) == {}
        assert [standing.job_id for standing in await house.queue.line()] == line


async def test_a_member_has_at_most_so_many_under_way(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    worker = ScriptedBackend("worker", (Steps(1), go_on, Paint()), slots=3)
    async with open_house(tmp_path, {"worker": worker}, easel_max_running_per_user=1) as house:
        first, second, others = [await house.ask(user=user) for user in (1, 1, 2)]
        await house.reached(first.id, JobState.RUNNING)
        await house.reached(others.id, JobState.RUNNING)
        # There is a slot for it, but not for its member.
        assert (await house.job(second.id)).state is JobState.QUEUED
        go_on.set()
        await house.reached(second.id, JobState.FINISHED)
        assert worker.most_running == 2


async def test_what_admins_do_is_recorded_and_cannot_be_undone_in_the_record(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False) as house:
        administration = house.administration
        rule = await administration.set_rule(GUILD, Subject.GUILD, 0, Unit.IMAGES, Window.DAY, 5, ADMIN)
        await administration.remove_rule(GUILD, rule.id, ADMIN)
        await administration.set_time_zone(GUILD, ZoneInfo("Asia/Kathmandu"), 2)
        await administration.set_log_channel(GUILD, 77, 2)
        with pytest.raises(UserError):
            await administration.remove_rule(GUILD, rule.id, ADMIN)
        newest = await administration.record(GUILD)
        assert [(entry.action, entry.author_id) for entry in newest] == [
            (Action.LOG_CHANNEL_SET, 2),
            (Action.TIME_ZONE_SET, 2),
            (Action.RULE_REMOVED, ADMIN),
            (Action.RULE_SET, ADMIN),
        ]
        assert newest[1].details == {"zone": "Asia/Kathmandu"}
        assert newest[3].details["limit"] == 5
        assert await administration.record(GUILD + 1) == []
        assert await administration.settings(GUILD) == GuildSettings(ZoneInfo("Asia/Kathmandu"), 0, False, 77)
        for statement in (
            "UPDATE audit SET author_id = 3",
            "DELETE FROM audit",
            "INSERT OR REPLACE INTO audit (id, at, guild_id, author_id, action, details) VALUES (1, 0, 0, 0, 'x', '')",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                async with house.database.transaction() as tx:
                    await tx.execute(statement)
        assert await AuditStore(house.database).newest(GUILD) == newest


async def test_a_zone_that_changes_moves_the_window(tmp_path: Path, clock: Clock) -> None:
    # Midnight in Kathmandu is 18:15 in UTC.
    async with open_house(tmp_path, clock=clock, working=False, easel_default_daily_images=1) as house:
        assert await refusal(house) is None
        clock.advance(11 * 3600)
        assert await refusal(house) is Code.QUOTA_EXCEEDED
        await house.administration.set_time_zone(GUILD, ZoneInfo("Asia/Kathmandu"), ADMIN)
        assert await refusal(house) is None
        await house.administration.set_time_zone(GUILD, ZoneInfo("UTC"), ADMIN)
        assert await refusal(house) is Code.QUOTA_EXCEEDED


async def test_what_a_rule_hits(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.ask(user=1, count=3)
        await house.ask(user=2)
        rule = await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.IMAGES, Window.DAY, 2, ADMIN)
        preview = await house.quotas.preview(rule)
        assert (preview.usage, preview.active, preview.full) == (None, 2, 1)
        rule = await house.administration.set_rule(GUILD, Subject.MEMBER, 1, Unit.IMAGES, Window.DAY, 5, ADMIN)
        now = (await house.quotas.preview(rule)).usage
        assert now is not None
        assert (now.used, now.held, now.left) == (0, 3, 2)


async def test_settings_that_were_read_before_are_read_again_when_they_have_changed(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        with patch.object(GuildStore, "settings", autospec=True, side_effect=GuildStore.settings) as read:
            for _ in range(3):
                assert not (await house.administration.settings(GUILD)).paused
            assert read.call_count == 1
            await house.administration.set_paused(GUILD, True, ADMIN)
            assert (await house.administration.settings(GUILD)).paused


async def test_settings_that_change_while_they_are_read_are_not_kept_as_they_were(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    was_read, go_on = asyncio.Event(), threading.Event()
    slow = [True]
    original = GuildStore.settings

    async def settings(self: GuildStore, connection: Connection, guild_id: int) -> GuildSettings:
        found = await original(self, connection, guild_id)
        if slow:
            slow.clear()
            loop.call_soon_threadsafe(was_read.set)
            go_on.wait()
        return found

    async with open_house(tmp_path, working=False) as house:
        with patch.object(GuildStore, "settings", settings):
            before = asyncio.create_task(house.administration.settings(GUILD))
            await was_read.wait()
            await house.administration.set_paused(GUILD, True, ADMIN)
            go_on.set()
            assert not (await before).paused
            assert (await house.administration.settings(GUILD)).paused
