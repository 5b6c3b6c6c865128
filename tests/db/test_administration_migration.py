"""The step from the first schema, with a server's data in it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import aiosqlite

from db.database import SCHEMA_FOLDER, Database
from db.guilds import GuildStore
from db.ledger import LedgerStore
from domain.guild import GuildSettings
from domain.job import Place
from domain.language import Language
from domain.quota import Amounts, Subject, Unit
from tests.db.records import NOON, store


async def test_the_first_schema_with_data_in_it_becomes_the_second(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(SCHEMA_FOLDER / "001_initial.sql", old)
    path = tmp_path / "easel.db"
    async with Database.open(path, old) as database:
        await store(database)
        async with database.transaction() as tx:
            # As the first version wrote it.
            await tx.execute(
                "INSERT INTO jobs (id, guild_id, channel_id, user_id, request, state, offers, boot, created_at,"
                " estimated_seconds, start_tag) VALUES ('job', 900, 800, 700, ?, 'queued', '[]', 1, 1000, 10.0, 0.0)",
                ('{"kind":"imagine","model":"m","prompt":"p"}',),
            )
            await tx.execute("INSERT INTO guilds (guild_id, time_zone) VALUES (900, 'Europe/Berlin')")
            await LedgerStore(database).reserve(tx, "job", Place(900, 800, 700), Amounts(images=2), NOON)
            await tx.execute(
                "INSERT INTO rules (guild_id, subject, subject_id, unit, period, maximum, created_by, created_at)"
                " VALUES (900, 'guild', 900, 'images', 'day', 5, 1, 0)"
            )
    async with aiosqlite.connect(path) as connection:
        assert list(await connection.execute_fetchall("PRAGMA user_version")) == [(1,)]
    async with Database.open(path) as database:
        guilds, ledger = GuildStore(database), LedgerStore(database)
        async with database.reading() as reader:
            assert await guilds.settings(reader, 900) == GuildSettings(ZoneInfo("Europe/Berlin"))
            assert await guilds.settings(reader, 901) == GuildSettings()
            since = datetime(2026, 1, 1, tzinfo=UTC)
            assert (await ledger.balance(reader, 900, Subject.MEMBER, 700, Unit.IMAGES, since)).held == 2
        assert [rule.limit for rule in await guilds.list_rules(900)] == [5]
        assert await ledger.check() == []
        job = await (await store(database)).get("job")
        assert job is not None
        assert job.language is Language.ENGLISH
