"""What is kept of a person, handed out and forgotten."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from db.erasures import ErasureStore
from domain.errors import Code
from domain.job import Failure, Job, JobState
from domain.quota import Subject, Unit
from domain.request import InputPicture
from jobs.erasures import LONGEST_WINDOW, Erasures
from tests.building import GUILD, USER, Clock, House, open_house
from tests.doubles import Paint, ScriptedBackend

OTHER = USER + 1


def erasures(house: House) -> Erasures:
    store = ErasureStore(house.database)
    return Erasures(house.database, store, house.jobs, house.pictures, house.dispatcher, house.clock)


async def posted(house: House, user: int = USER, guild: int = GUILD) -> Job:
    job = await house.reached((await house.ask(user=user, guild=guild)).id, JobState.FINISHED)
    await house.outbox.begin(job.id)
    await house.outbox.undeliverable(job.id, Failure(Code.DISK_FULL))
    return await house.job(job.id)


async def kept(_: Job) -> None:
    """There is no Discord here."""


async def test_all_of_a_persons_data_and_nobody_elses(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend()}) as house:
        mine, elsewhere, others = await posted(house), await posted(house, guild=GUILD + 1), await posted(house, OTHER)
        export = await erasures(house).export(USER)
        assert [job["id"] for job in export["jobs"]] == [elsewhere.id, mine.id]
        assert export["jobs"][1]["request"]["prompt"] == "a fox"
        assert export["jobs"][1]["pictures"][0]["file"] == mine.pictures[0].name
        assert {entry["job_id"] for entry in export["ledger"]} == {mine.id, elsewhere.id}
        assert others.id not in str(export)
        assert (await erasures(house).export(12345))["jobs"] == []


async def test_prompts_pictures_and_messages_go_and_numbers_stay(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend()}) as house:
        mine, others = await posted(house), await posted(house, OTHER)
        file = house.pictures.path(mine.pictures[0].name)
        assert file.exists()
        taken_back: list[str] = []

        async def unpost(job: Job) -> None:
            taken_back.append(job.id)

        await erasures(house).ask(USER)
        assert await erasures(house).go_on(unpost)
        assert taken_back == [mine.id]
        assert not file.exists()
        left = await house.job(mine.id)
        assert (left.place.user_id, left.request.prompt, left.pictures, left.result) == (0, "…", (), None)
        assert (await erasures(house).export(USER))["jobs"] == []
        # Quotas count what was used as before, and everything adds up.
        assert await house.counted(Unit.IMAGES) == (1, 0)
        assert await house.ledger.check() == []
        assert (await house.job(others.id)).request.prompt == "a fox"
        assert house.pictures.path(others.pictures[0].name).exists()


async def test_the_ledger_forgets_who_when_no_quota_looks_back_any_more(tmp_path: Path) -> None:
    clock = Clock()
    async with open_house(tmp_path, {"worker": ScriptedBackend()}, clock=clock) as house:
        await posted(house)
        await posted(house, OTHER)
        await erasures(house).ask(USER)
        await erasures(house).go_on(kept)
        clock.advance((LONGEST_WINDOW + timedelta(hours=1)).total_seconds())
        await erasures(house).go_on(kept)
        assert (await erasures(house).export(USER))["ledger"] == []
        assert await house.counted(Unit.IMAGES) == (0, 0)
        assert await house.counted(Unit.IMAGES, Subject.MEMBER, 0) == (1, 0)
        assert await house.counted(Unit.IMAGES, Subject.MEMBER, OTHER) == (1, 0)
        assert await house.counted(Unit.IMAGES, Subject.GUILD, GUILD) == (2, 0)
        assert await house.ledger.check() == []
        assert await ErasureStore(house.database).asked() == []


async def test_jobs_under_way_are_cancelled_first(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with open_house(tmp_path, {"worker": ScriptedBackend(script=(never, Paint()))}) as house:
        running = await house.reached((await house.ask()).id, JobState.RUNNING)
        waiting = await house.ask()
        await erasures(house).ask(USER)
        await erasures(house).go_on(kept)
        await house.reached(running.id, JobState.CANCELLED)
        # Whoever has to be told is told first: nothing is posted about a job that was forgotten.
        assert not await erasures(house).go_on(kept)
        for job in (running, waiting):
            await house.outbox.told(job.id)
        assert await erasures(house).go_on(kept)
        for job in (running, waiting):
            assert (await house.job(job.id)).request.prompt == "…"
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_what_is_asked_for_afterwards_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    async with open_house(tmp_path, {"worker": ScriptedBackend()}, clock=clock) as house:
        before = await posted(house)
        await erasures(house).ask(USER)
        clock.advance(60)
        after = await posted(house)
        await erasures(house).go_on(kept)
        assert (await house.job(before.id)).request.prompt == "…"
        assert (await house.job(after.id)).request.prompt == "a fox"


async def test_discord_away_means_again_later(tmp_path: Path) -> None:
    async def away(job: Job) -> None:
        raise OSError("away")

    async with open_house(tmp_path, {"worker": ScriptedBackend()}) as house:
        mine = await posted(house)
        await erasures(house).ask(USER)
        with pytest.raises(OSError, match="away"):
            await erasures(house).go_on(away)
        assert (await house.job(mine.id)).place.user_id == USER
        await erasures(house).go_on(kept)
        assert (await house.job(mine.id)).place.user_id == 0


async def test_a_source_that_somebody_else_uses_stays(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend()}) as house:
        (tmp_path / "pictures" / "source.png").write_bytes(b"x")
        mine, others = await posted(house), await posted(house, OTHER)
        source = InputPicture(name="source.png", width=16, height=16).model_dump_json()
        async with house.database.transaction() as tx:
            await tx.execute("UPDATE jobs SET request = json_set(request, '$.source', json(?))", (source,))
        await erasures(house).ask(USER)
        await erasures(house).go_on(kept)
        assert house.pictures.path("source.png").exists()
        await erasures(house).ask(OTHER)
        await erasures(house).go_on(kept)
        assert not house.pictures.path("source.png").exists()
        assert {(await house.job(job.id)).request.source for job in (mine, others)} == {None}


async def test_nothing_else_of_the_ledger_can_be_changed(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend()}) as house:
        await posted(house)
        for change in ("user_id = 5", "user_id = 0, used = 0", "used = used", "guild_id = 1, user_id = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                async with house.database.transaction() as tx:
                    await tx.execute(f"UPDATE ledger SET {change}")
