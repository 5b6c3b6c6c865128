"""What a server's admins have set: kept as one document, validated, through migrations."""

import shutil
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from db.database import SCHEMA_FOLDER, Database
from db.guilds import GuildStore
from domain.guild import GuildSettings, NsfwPolicy, Policy
from domain.request import Size

SET = GuildSettings(
    time_zone=ZoneInfo("Asia/Kathmandu"),
    cooldown_seconds=30,
    paused=True,
    log_channel_id=2**63 - 1,
    policy=Policy.CHEAPEST,
    allowed_backends=("worker", "runware"),
    spill_to_paid=True,
    allowed_models=("hidream-i1-dev",),
    imagine_model="hidream-i1-dev",
    edit_model="hidream-e1.1",
    max_size=Size(1024, 768),
    max_count=2,
    speed="fast",
    private_results=True,
    nsfw=NsfwPolicy.SPOILER,
    channels=(2**62, 7),
    roles=(5,),
    language="es-ES",
    gallery=False,
)


async def test_everything_that_is_set_comes_back(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "easel.db") as database:
        guilds = GuildStore(database)
        async with database.transaction() as tx:
            await guilds.set_settings(tx, 900, SET)
        async with database.reading() as reader:
            assert await guilds.settings(reader, 900) == SET
            assert await guilds.settings(reader, 901) == GuildSettings()
        async with database.transaction() as tx:
            await guilds.set_settings(tx, 900, GuildSettings())
        async with database.reading() as reader:
            assert await guilds.settings(reader, 900) == GuildSettings()


async def test_what_is_not_set_is_not_kept(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "easel.db") as database:
        async with database.transaction() as tx:
            await GuildStore(database).set_settings(tx, 900, GuildSettings(paused=True))
        async with database.reading() as reader:
            rows = list(await reader.execute_fetchall("SELECT settings FROM guilds"))
    assert [row[0] for row in rows] == ['{"paused":true}']


async def test_the_columns_of_older_versions_become_the_document(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in sorted(SCHEMA_FOLDER.glob("00[1-4]_*.sql")):
        shutil.copy(path, old)
    async with Database.open(tmp_path / "easel.db", old) as database, database.transaction() as tx:
        await tx.execute(
            "INSERT INTO guilds VALUES (1, 'Europe/Berlin', 60, 1, 9223372036854775807), (2, 'UTC', 0, 0, NULL)"
        )
    async with Database.open(tmp_path / "easel.db") as database, database.reading() as reader:
        guilds = GuildStore(database)
        assert await guilds.settings(reader, 1) == GuildSettings(ZoneInfo("Europe/Berlin"), 60, True, 2**63 - 1)
        assert await guilds.settings(reader, 2) == GuildSettings()


@pytest.mark.parametrize(
    "changes",
    [
        {"max_count": 0},
        {"max_count": 5},
        {"cooldown_seconds": -1},
        {"channels": ()},
        {"allowed_backends": ()},
        {"nsfw": "everywhere"},
        {"language": "x"},
    ],
)
def test_a_changed_copy_is_validated(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        replace(GuildSettings(), **changes)  # type: ignore[arg-type]
