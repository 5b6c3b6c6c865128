"""From every released schema, with a server's data in it, to this one: nothing is lost, and what waited goes on."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from db.database import SCHEMA_FOLDER, Database, SchemaError, Transaction, backup
from db.ledger import LedgerStore
from domain.job import JobState, Place
from domain.quota import Amounts, Subject, Unit
from tests.building import CHANNEL, GUILD, USER, Clock, open_house
from tests.db.records import NOON
from tests.doubles import Paint, ScriptedBackend

SCRIPTS = sorted(SCHEMA_FOLDER.glob("*.sql"))
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


async def insert(tx: Transaction, table: str, **values: object) -> None:
    """A row with those of the values that the schema of the day has columns for."""
    columns = {row["name"] for row in await tx.execute_fetchall(f"PRAGMA table_info({table})")}
    kept: Mapping[str, object] = {name: value for name, value in values.items() if name in columns}
    await tx.execute(
        f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({', '.join('?' * len(kept))})", tuple(kept.values())
    )


async def fill(database: Database) -> None:
    """What a server leaves: a time zone, a rule, a finished job that was charged, and one that waits."""
    await database.boot(1)
    ledger, place = LedgerStore(database), Place(GUILD, CHANNEL, USER)
    async with database.transaction() as tx:
        await insert(tx, "guilds", guild_id=GUILD, time_zone="Europe/Berlin", settings='{"time_zone":"Europe/Berlin"}')
        await insert(
            tx,
            "rules",
            guild_id=GUILD,
            subject="guild",
            subject_id=GUILD,
            unit="images",
            period="day",
            maximum=500,
            created_by=1,
            created_at=0,
        )
        for number, (job_id, state) in enumerate((("done", "posted"), ("waiting", "queued"))):
            await insert(
                tx,
                "jobs",
                id=job_id,
                interaction_id=number + 1,
                guild_id=GUILD,
                channel_id=CHANNEL,
                user_id=USER,
                request='{"kind":"imagine","model":"local","prompt":"a fox","seed":7}',
                state=state,
                offers='["worker:local"]',
                boot=1,
                created_at=int(NOON.timestamp() * 1000),
                finished_at=int(NOON.timestamp() * 1000) if state == "posted" else None,
                estimated_seconds=10.0,
                start_tag=0.0,
                finish_tag=10.0,
                starts=1 if state == "posted" else 0,
            )
            await insert(
                tx,
                "tasks",
                job_id=job_id,
                position=0,
                seed=7,
                submission_id=f"0000-{number}",
                state="done" if state == "posted" else "pending",
                file="old.png" if state == "posted" else None,
                width=16 if state == "posted" else None,
                height=16 if state == "posted" else None,
                bytes=1 if state == "posted" else None,
                sha256="0" if state == "posted" else None,
                seconds=2.0 if state == "posted" else None,
            )
            await ledger.reserve(tx, job_id, place, Amounts(images=1, gpu_milliseconds=10_000), NOON)
        await ledger.settle(tx, "done", place, Amounts(images=1, gpu_milliseconds=2000), NOON)


@pytest.mark.parametrize("released", range(1, len(SCRIPTS) + 1), ids=[path.stem for path in SCRIPTS])
async def test_a_server_comes_along(released: int, tmp_path: Path) -> None:
    schema = tmp_path / "schema"
    schema.mkdir()
    for script in SCRIPTS[:released]:
        shutil.copy(script, schema)
    folder = tmp_path / "data"
    folder.mkdir()
    async with Database.open(folder / "easel.db", schema) as old:
        await fill(old)

    async with open_house(folder, {"worker": ScriptedBackend("worker", (Paint(),))}, clock=Clock(NOON)) as house:
        assert await house.database.damage() is None
        assert await house.database.is_up_to_date()
        async with house.database.reading() as reader:
            assert list(await reader.execute_fetchall("PRAGMA foreign_key_check")) == []
            assert (await house.guilds.settings(reader, GUILD)).time_zone == ZoneInfo("Europe/Berlin")
        assert [rule.limit for rule in await house.guilds.list_rules(GUILD)] == [500]
        assert (await house.job("done")).state is JobState.POSTED
        # What waited in the old version is painted by this one, and charged where the old one reserved it.
        await house.reached("waiting", JobState.FINISHED)
        assert await house.counted(Unit.IMAGES) == (2, 0)
        assert await house.counted(Unit.IMAGES, Subject.GUILD, GUILD) == (2, 0)
        assert await house.ledger.check() == []
        await house.reached((await house.ask("local")).id, JobState.FINISHED)


async def test_an_older_version_leaves_a_newer_database_alone(tmp_path: Path) -> None:
    schema = tmp_path / "schema"
    schema.mkdir()
    for script in SCRIPTS[:-1]:
        shutil.copy(script, schema)
    async with Database.open(tmp_path / "easel.db"):
        pass
    with pytest.raises(SchemaError, match=str(len(SCRIPTS))):
        async with Database.open(tmp_path / "easel.db", schema):
            pass


async def test_a_restore_drill(tmp_path: Path) -> None:
    """Back up a bot at work, lose the folder, restore as docs/operating.md says, and go on."""
    painter = ScriptedBackend("worker", (Paint(),))
    lost, restored = tmp_path / "data", tmp_path / "restored"
    async with open_house(lost, {"worker": painter}) as house:
        painted = await house.reached((await house.ask("local")).id, JobState.FINISHED)
    async with open_house(lost, working=False) as house:
        waiting = await house.ask("local")
        await backup(lost / "easel.db", tmp_path / "copy.db")
        # What comes after the copy is lost with the disk.
        late = await house.ask("local")
    pictures = [path.name for path in (lost / "pictures").rglob("*.png")]
    shutil.copytree(lost / "pictures", restored / "pictures")
    shutil.rmtree(lost)
    shutil.copy(tmp_path / "copy.db", restored / "easel.db")

    async with open_house(restored, {"worker": ScriptedBackend("worker", (Paint(),))}) as house:
        assert await house.database.damage() is None
        assert (await house.job(painted.id)).state is JobState.FINISHED
        assert sorted(path.name for path in (restored / "pictures").rglob("*.png")) >= sorted(pictures)
        await house.reached(waiting.id, JobState.FINISHED)
        assert await house.jobs.get(late.id) is None
        assert await house.counted(Unit.IMAGES) == (2, 0)
        assert await house.ledger.check() == []
