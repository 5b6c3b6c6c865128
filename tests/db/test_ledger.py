"""The ledger: append-only, and balances that are what its entries add up to."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.ledger import Balance, LedgerStore
from domain.job import Place
from domain.quota import Amounts, Subject, Unit, bucket
from tests.db.records import NOON, PLACE

MIDNIGHT = datetime(2026, 3, 11, 0, 0, tzinfo=UTC)


async def balance(
    database: Database, subject: Subject, subject_id: int, unit: Unit, since: datetime = MIDNIGHT, guild: int = 900
) -> Balance:
    async with database.reading() as reader:
        return await LedgerStore(database).balance(reader, guild, subject, subject_id, unit, since)


@pytest.fixture
def ledger(database: Database) -> LedgerStore:
    return LedgerStore(database)


async def test_a_reservation_is_held_and_then_used(database: Database, ledger: LedgerStore) -> None:
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(images=4, gpu_milliseconds=9000), NOON)
    for subject, subject_id, guild in (
        (Subject.MEMBER, 700, 900),
        (Subject.CHANNEL, 800, 900),
        (Subject.GUILD, 900, 900),
        (Subject.OPERATOR, 0, 0),
    ):
        found = await balance(database, subject, subject_id, Unit.IMAGES, guild=guild)
        assert found == Balance(used=0, held=4, granted=0, oldest_bucket=bucket(NOON))
    async with database.transaction() as tx:
        await ledger.settle(tx, "job", PLACE, Amounts(images=3), NOON)
    assert await balance(database, Subject.GUILD, 900, Unit.IMAGES) == Balance(3, 0, 0, bucket(NOON))
    assert await balance(database, Subject.GUILD, 900, Unit.GPU_SECONDS) == Balance(0, 0, 0, None)
    assert await ledger.check() == []


async def test_settling_again_changes_nothing(database: Database, ledger: LedgerStore) -> None:
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(images=4), NOON)
        for _ in range(3):
            await ledger.settle(tx, "job", PLACE, Amounts(images=3), NOON)
        await ledger.settle(tx, "stranger", PLACE, Amounts(images=3), NOON)
    assert (await balance(database, Subject.MEMBER, 700, Unit.IMAGES)).used == 3


async def test_after_midnight_it_still_counts_for_the_day_of_the_reservation(
    database: Database, ledger: LedgerStore
) -> None:
    before, after = MIDNIGHT - timedelta(minutes=1), MIDNIGHT + timedelta(minutes=1)
    async with database.transaction() as tx:
        await ledger.reserve(tx, "settled", PLACE, Amounts(images=4), before)
        await ledger.reserve(tx, "released", PLACE, Amounts(images=2), before)
        await ledger.settle(tx, "settled", PLACE, Amounts(images=4), after)
        await ledger.settle(tx, "released", PLACE, Amounts(), after + timedelta(days=3))
    assert await balance(database, Subject.MEMBER, 700, Unit.IMAGES) == Balance(0, 0, 0, None)
    yesterday = await balance(database, Subject.MEMBER, 700, Unit.IMAGES, MIDNIGHT - timedelta(days=1))
    assert (yesterday.used, yesterday.held) == (4, 0)


async def test_more_may_be_used_than_was_held(database: Database, ledger: LedgerStore) -> None:
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(micro_usd=5), NOON)
        await ledger.settle(tx, "job", PLACE, Amounts(micro_usd=9), NOON)
    assert await balance(database, Subject.OPERATOR, 0, Unit.MONEY, guild=0) == Balance(9, 0, 0, bucket(NOON))


async def test_a_grant_is_a_members_alone(database: Database, ledger: LedgerStore) -> None:
    async with database.transaction() as tx:
        await ledger.grant(tx, PLACE, Unit.IMAGES, 10, 1, NOON)
    assert (await balance(database, Subject.MEMBER, 700, Unit.IMAGES)).granted == 10
    assert (await balance(database, Subject.MEMBER, 701, Unit.IMAGES)).granted == 0
    assert (await balance(database, Subject.GUILD, 900, Unit.IMAGES)).granted == 0
    assert (await balance(database, Subject.MEMBER, 700, Unit.IMAGES, NOON + timedelta(hours=1))).granted == 0
    assert await ledger.check() == []


async def test_a_negative_grant_is_refused(database: Database, ledger: LedgerStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        async with database.transaction() as tx:
            await ledger.grant(tx, PLACE, Unit.IMAGES, -1, 1, NOON)


async def test_a_correction_is_an_entry_in_the_jobs_own_window(database: Database, ledger: LedgerStore) -> None:
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(micro_usd=12_000), NOON)
        await ledger.settle(tx, "job", PLACE, Amounts(micro_usd=12_000), NOON)
        await ledger.correct(tx, "job", PLACE, Unit.MONEY, -12_000, NOON + timedelta(days=2))
    assert (await balance(database, Subject.MEMBER, 700, Unit.MONEY)).used == 0
    for refused in (-1, -12_001):
        with pytest.raises(ValueError):
            async with database.transaction() as tx:
                await ledger.correct(tx, "job", PLACE, Unit.MONEY, refused, NOON)
    async with database.transaction() as tx:
        await ledger.correct(tx, "job", PLACE, Unit.MONEY, 500, NOON)
    assert (await balance(database, Subject.MEMBER, 700, Unit.MONEY)).used == 500
    assert await ledger.check() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET used = 0",
        "UPDATE ledger SET at = at",
        "DELETE FROM ledger",
        "REPLACE INTO ledger SELECT * FROM ledger",
    ],
)
async def test_entries_are_never_changed(database: Database, ledger: LedgerStore, statement: str) -> None:
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(images=1), NOON)
    before = await ledger.check()
    with pytest.raises(sqlite3.IntegrityError):
        async with database.transaction() as tx:
            await tx.execute(statement)
    async with database.reading() as reader:
        (row,) = await reader.execute_fetchall("SELECT count(*), sum(held) FROM ledger")
    assert tuple(row) == (1, 1)
    assert await ledger.check() == before == []


async def test_nobody_can_hold_less_than_nothing(database: Database, ledger: LedgerStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        async with database.transaction() as tx:
            await tx.execute(
                "INSERT INTO ledger (at, kind, guild_id, channel_id, user_id, unit, bucket, held, used)"
                " VALUES (0, 'release', 1, 1, 1, 'images', 0, -1, 0)"
            )


async def test_the_check_finds_a_balance_that_was_tampered_with(database: Database, ledger: LedgerStore) -> None:
    other = Place(901, 801, 701)
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(images=1), NOON)
        await ledger.reserve(tx, "other", other, Amounts(images=1), NOON)
        await tx.execute("UPDATE balances SET used = 5 WHERE subject = 'guild' AND guild_id = 901")
        await tx.execute("DELETE FROM balances WHERE subject = 'channel' AND guild_id = 900")
    differences = await ledger.check()
    assert [(found.subject, found.stored, found.derived) for found in differences] == [
        ("channel", (0, 0, 0), (1, 0, 0)),
        ("guild", (1, 5, 0), (1, 0, 0)),
    ]
