"""The store of jobs: the table of edges and no other, fenced by the boot; and what is looked up."""

import re
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import pytest

from db.database import Database
from db.jobs import DuplicateInteractionError, IllegalMoveError, JobStore, StaleMoveError
from db.ledger import LedgerStore
from domain.job import EDGES, UNDER_WAY, Answer, Card, JobState, Place, StoredPicture, TaskState
from domain.money import MicroUSD
from domain.quota import Amounts, Subject, Unit
from tests.db.records import FAILURE, NOON, PLACE, ROADS, brought_to, move, new_job, queued, store

ALL = [(source, target) for source in JobState for target in JobState]
LEGAL = [(source, target) for source, target in ALL if target in EDGES[source]]


async def state_of(jobs: JobStore, job_id: str = "job") -> JobState:
    job = await jobs.get(job_id)
    assert job is not None
    return job.state


def test_there_is_a_way_to_every_state() -> None:
    assert set(ROADS) == set(JobState)


@pytest.mark.parametrize(("source", "target"), LEGAL)
async def test_every_edge_of_the_table(database: Database, source: JobState, target: JobState) -> None:
    jobs = await store(database)
    await brought_to(database, jobs, source)
    async with database.transaction() as tx:
        await move(jobs, tx, "job", source, target)
    assert await state_of(jobs) is target


async def test_no_other_edge(database: Database) -> None:
    jobs = await store(database)
    for source in JobState:
        await brought_to(database, jobs, source, source.value)
    for source, target in set(ALL) - set(LEGAL):
        with pytest.raises((IllegalMoveError, StaleMoveError)):
            async with database.transaction() as tx:
                await move(jobs, tx, source.value, source, target)
        assert await state_of(jobs, source.value) is source


@pytest.mark.parametrize(("source", "target"), LEGAL)
async def test_a_move_from_where_the_job_is_not_changes_nothing(
    database: Database, source: JobState, target: JobState
) -> None:
    jobs = await store(database)
    elsewhere = JobState.POSTED if source is not JobState.POSTED else JobState.FAILED
    await brought_to(database, jobs, elsewhere)
    before = await jobs.get("job")
    with pytest.raises(StaleMoveError):
        async with database.transaction() as tx:
            await move(jobs, tx, "job", source, target)
    assert await jobs.get("job") == before


@pytest.mark.parametrize(("source", "target"), [edge for edge in LEGAL if edge[0] in UNDER_WAY])
async def test_an_earlier_boot_is_fenced_off_until_the_job_is_adopted(
    database: Database, source: JobState, target: JobState
) -> None:
    earlier = await store(database)
    await brought_to(database, earlier, source)
    later = await store(database)
    with pytest.raises(StaleMoveError):
        async with database.transaction() as tx:
            await move(later, tx, "job", source, target)
    assert [job.id for job in await later.left_behind()] == ["job"]
    async with database.transaction() as tx:
        await later.adopt(tx, "job")
    assert await later.left_behind() == []
    with pytest.raises(StaleMoveError):
        async with database.transaction() as tx:
            await move(earlier, tx, "job", source, target)
    async with database.transaction() as tx:
        await move(later, tx, "job", source, target)
    assert await state_of(later) is target


async def test_one_job_an_interaction(database: Database) -> None:
    jobs = await store(database)
    await queued(database, jobs, "first", interaction_id=5)
    with pytest.raises(DuplicateInteractionError):
        await queued(database, jobs, "second", interaction_id=5)
    await queued(database, jobs, "third")
    await queued(database, jobs, "fourth")
    async with database.reading() as reader:
        assert await jobs.knows(reader, 5)
        assert not await jobs.knows(reader, 6)
        assert await jobs.waiting_in_all(reader) == 3


async def test_a_job_is_read_as_it_was_written(database: Database) -> None:
    jobs = await store(database)
    answer = Answer(1, "token", 5000)
    wanted = new_job(answer=answer, parent_id="parent", offers=["worker:m", "wavespeed:m"])
    async with database.transaction() as tx:
        await jobs.insert(tx, wanted)
        await jobs.set_card(tx, "job", Card(8, 9))
        await jobs.start(tx, "job", JobState.RUNNING, offer="worker:m", reason="only_one", at=2000)
        picture = StoredPicture("job-0.png", 64, 32, 999)
        await jobs.made_task(tx, "job", 0, picture, seed=5, seconds=1.5, cost=MicroUSD(7), flagged=False)
        await jobs.end_tasks(tx, "job", [1], TaskState.FAILED, FAILURE, MicroUSD(3))
    job = await jobs.get("job")
    assert job is not None
    assert (job.request, job.place, job.offers, job.answer) == (wanted.request, PLACE, tuple(wanted.offers), answer)
    assert (job.card, job.parent_id, job.starts, job.started_at) == (Card(8, 9), "parent", 1, 2000)
    assert (job.pictures, job.cost, job.seconds) == ((picture,), 10, 1.5)
    assert [task.state for task in job.tasks] == [TaskState.DONE, TaskState.FAILED]
    assert (job.tasks[0].seed, job.tasks[1].failure) == (5, FAILURE)
    assert "token" not in repr(job)
    assert await jobs.get("none") is None
    assert await jobs.submission_ids("job") == ["uuid-1", "uuid-2"]


async def test_back_in_the_queue_nothing_is_on_its_way(database: Database) -> None:
    jobs = await store(database)
    await brought_to(database, jobs, JobState.SUBMITTING)
    async with database.transaction() as tx:
        await jobs.submitting_task(tx, "job", [0, 1])
        await jobs.accepted_task(tx, "job", [1], "remote")
        await jobs.requeue(tx, "job", JobState.SUBMITTING, not_before=7, worker_died=True)
    job = await jobs.get("job")
    assert job is not None
    assert [(task.state, task.remote_id) for task in job.tasks] == [(TaskState.PENDING, None)] * 2
    assert (job.starts, job.worker_deaths) == (1, 1)
    async with database.reading() as reader:
        (waiting,) = await jobs.waiting(reader)
    assert waiting.not_before == 7


async def test_a_job_that_never_ran_gives_its_place_in_the_fair_order_back(database: Database) -> None:
    jobs = await store(database)
    await queued(database, jobs, "first", finish_tag=10.0)
    await queued(database, jobs, "second", finish_tag=20.0)
    async with database.transaction() as tx:
        await jobs.end(tx, "second", JobState.QUEUED, JobState.CANCELLED, FAILURE, 0)
        assert await jobs.last_finish_tag(tx, PLACE.guild_id, PLACE.user_id) == 10.0
        await jobs.start(tx, "first", JobState.RUNNING, offer="o", reason="r", at=0)
        await jobs.end(tx, "first", JobState.RUNNING, JobState.FAILED, FAILURE, 0)
        assert await jobs.last_finish_tag(tx, PLACE.guild_id, PLACE.user_id) == 10.0
        assert await jobs.last_finish_tag(tx, PLACE.guild_id, 1) == 0.0


async def test_lists(database: Database) -> None:
    jobs = await store(database)
    for state in JobState:
        await brought_to(database, jobs, state, state.value)
    stranger = Place(901, 801, 701)
    await queued(database, jobs, "stranger", place=stranger, created_at=500)

    async def ids(found: Awaitable[list]) -> list[str]:  # type: ignore[type-arg]
        return [job.id for job in await found]

    assert await ids(jobs.to_post()) == ["finished", "posting"]
    assert await ids(jobs.untold()) == ["failed", "cancelled", "unknown"]
    assert await ids(jobs.waiting_jobs()) == ["queued", "stranger"]
    assert await ids(jobs.open_in(900)) == ["queued", "submitting", "accepted", "running"]
    assert await ids(jobs.open_in(900, 700)) == ["queued", "submitting", "accepted", "running"]
    assert await ids(jobs.open_in(900, 701)) == []
    assert await ids(jobs.open_in(901)) == ["stranger"]
    assert await ids(jobs.history(900, 700, 3)) == ["undeliverable", "unknown", "cancelled"]
    assert await ids(jobs.history(901, 701, 3, before=500)) == []
    last = await jobs.last_in_channel(901, 801, 701)
    assert last is not None
    assert last.id == "stranger"
    assert await jobs.last_in_channel(901, 802, 701) is None
    async with database.transaction() as tx:
        assert await jobs.open_of(tx, 700) == 4
        await jobs.told(tx, "failed")
    assert await ids(jobs.untold()) == ["cancelled", "unknown"]


async def test_more_jobs_than_a_statement_takes_parameters(database: Database) -> None:
    jobs = await store(database)
    async with database.transaction() as tx:
        for number in range(3):
            await jobs.insert(tx, new_job(f"job-{number}"))
        await tx.execute(
            "INSERT INTO jobs (id, guild_id, channel_id, user_id, request, state, offers, boot, created_at,"
            " estimated_seconds, start_tag)"
            " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 33000)"
            " SELECT 'more-' || i, 1, 1, 1, jobs.request, 'queued', '[]', 1, 0, 1.0, 0.0 FROM n, jobs"
            " WHERE jobs.id = 'job-0'"
        )
    assert len(await jobs.waiting_jobs()) == 33_003


async def test_what_pictures_usually_take(database: Database) -> None:
    jobs = await store(database)
    for number, seconds in enumerate([100.0, *[2.0] * 50]):
        await queued(database, jobs, f"job-{number}")
        async with database.transaction() as tx:
            await jobs.start(tx, f"job-{number}", JobState.RUNNING, offer="o", reason="r", at=0)
            picture = StoredPicture("p.png", 1, 1, 1)
            await jobs.made_task(tx, f"job-{number}", 0, picture, seed=1, seconds=seconds, cost=None, flagged=False)
    assert await jobs.usual_seconds() == {"o": 2.0}


# Hot queries.


async def statements(database: Database, work: Awaitable[object]) -> list[str]:
    """What the work asks SQLite."""
    asked: list[str] = []
    async with AsyncExitStack() as stack:
        for _ in range(2):
            reader = await stack.enter_async_context(database.reading())
            await reader.set_trace_callback(asked.append)
    await work
    return [statement for statement in asked if statement.startswith("SELECT")]


async def on_connection(database: Database, name: str, *values: object) -> object:
    jobs = await store(database)
    async with database.reading() as reader:
        return await getattr(jobs, name)(reader, *values)


@pytest.mark.parametrize(
    "name",
    [
        "open_of",
        "knows",
        "waiting_in_all",
        "last_finish_tag",
        "waiting",
        "clocks",
        "left_behind",
        "to_post",
        "untold",
        "waiting_jobs",
        "open_in",
        "open_in a member",
        "history",
        "last_in_channel",
        "get",
        "usual_seconds",
        "balance",
    ],
)
async def test_hot_queries_never_read_a_whole_table(database: Database, name: str) -> None:
    jobs, ledger = await store(database), LedgerStore(database)
    for state in JobState:
        await brought_to(database, jobs, state, state.value)

    async def balance() -> None:
        async with database.reading() as reader:
            await ledger.balance(reader, 900, Subject.MEMBER, 700, Unit.IMAGES, NOON)

    work: dict[str, Awaitable[object]] = {
        "open_of": on_connection(database, "open_of", 700),
        "knows": on_connection(database, "knows", 5),
        "waiting_in_all": on_connection(database, "waiting_in_all"),
        "last_finish_tag": on_connection(database, "last_finish_tag", 900, 700),
        "waiting": on_connection(database, "waiting"),
        "clocks": on_connection(database, "clocks"),
        "left_behind": jobs.left_behind(),
        "to_post": jobs.to_post(),
        "untold": jobs.untold(),
        "waiting_jobs": jobs.waiting_jobs(),
        "open_in": jobs.open_in(900),
        "open_in a member": jobs.open_in(900, 700),
        "history": jobs.history(900, 700, 10),
        "last_in_channel": jobs.last_in_channel(900, 800, 700),
        "get": jobs.get("queued"),
        "usual_seconds": jobs.usual_seconds(),
        "balance": balance(),
    }
    chosen = work.pop(name)
    for other in work.values():
        other.close()  # type: ignore[attr-defined]
    asked = await statements(database, chosen)
    assert asked
    for statement in asked:
        for step in await database.plan(re.sub(r"\?", "'?'", statement)):
            # A partial index that holds nothing but what is asked for may be read from end to end; fair_guilds
            # is a row a guild; usual_seconds stops after a thousand rows.
            whole = re.match(r"SCAN (jobs|tasks|ledger|balances)\b(?! USING (COVERING )?INDEX)", step)
            assert whole is None or name == "usual_seconds", (statement, step)
            if "USE TEMP B-TREE" in step:
                assert name in ("waiting_jobs", "open_in", "open_in a member", "usual_seconds"), (statement, step)
            if name in ("open_in", "open_in a member"):
                assert "jobs_history" not in step


async def test_settling_a_job_reads_only_its_own_entries(database: Database) -> None:
    ledger = LedgerStore(database)
    asked: list[str] = []
    async with database.transaction() as tx:
        await ledger.reserve(tx, "job", PLACE, Amounts(images=1, micro_usd=5), NOON)
        await tx.set_trace_callback(asked.append)
        await ledger.settle(tx, "job", PLACE, Amounts(images=1), NOON)
    (lookup,) = [statement for statement in asked if statement.startswith("SELECT unit")]
    assert "USING INDEX ledger_of_job" in " ".join(await database.plan(lookup))
