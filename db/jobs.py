"""Jobs and their tasks. Each method is one step of the table in ``domain/job.py``, inside the caller's transaction.

A move from a state under way also wants the job to belong to this boot of the bot: what an earlier process left
behind has to be adopted first.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import aiosqlite

from db.database import Database, Transaction
from db.rows import failure_columns, read_jobs, read_offers
from domain.job import (
    EDGES,
    UNDER_WAY,
    Answer,
    Card,
    Failure,
    Job,
    JobState,
    Place,
    StoredPicture,
    TaskState,
)
from domain.language import Language
from domain.money import MicroUSD
from domain.request import ImageRequest

_OPEN = "('queued', 'submitting', 'accepted', 'running')"

WAITING_GUILDS = (
    "SELECT guild_id, finish_tag, virtual_time FROM fair_guilds"
    " WHERE guild_id IN (SELECT guild_id FROM jobs WHERE state = 'queued')"
)
"""However many guilds ever painted: this is read at every look at the line."""


class StaleMoveError(Exception):
    """The job was not (or no longer) in the state that the move starts from. Nothing was changed."""


class IllegalMoveError(Exception):
    """The table of edges does not know the move."""


class DuplicateInteractionError(Exception):
    """The same interaction was brought in before."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A picture to make: its seed, and a UUIDv4 that providers take as an idempotency key."""

    seed: int
    submission_id: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """What intake has decided; times in milliseconds since the epoch."""

    id: str
    interaction_id: int | None
    request: ImageRequest
    place: Place
    tasks: Sequence[NewTask]
    offers: Sequence[str]
    created_at: int
    estimated_seconds: float
    start_tag: float
    finish_tag: float
    parent_id: str | None = None
    answer: Answer | None = None
    language: Language = Language.ENGLISH


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the fair order needs to know of a waiting job."""

    id: str
    guild_id: int
    user_id: int
    start_tag: float
    number: int
    cost: float
    """Estimated seconds."""
    not_before: int
    offers: tuple[str, ...]
    """Those that have not turned it down."""
    created_at: int = 0
    """Milliseconds since the epoch."""
    count: int = 1
    """Pictures."""


@dataclass(frozen=True, slots=True)
class Recent:
    """A job that came in lately."""

    guild_id: int
    user_id: int
    created_at: int
    """Milliseconds since the epoch."""
    seconds: float
    """Estimated."""


@dataclass(frozen=True, slots=True)
class FairClocks:
    """The clocks of the fair queue: one for the guilds and, for each guild, its last finish tag and own clock."""

    virtual_time: float
    guilds: Mapping[int, tuple[float, float]]
    """guild id -> (finish tag among guilds, virtual time among its members)."""


class JobStore:
    """All jobs. ``boot`` is this process's fencing token."""

    def __init__(self, database: Database, boot: int) -> None:
        self._database = database
        self._boot = boot

    # Coming in.

    async def insert(self, tx: Transaction, job: NewJob) -> None:
        """Add a queued job. Raises DuplicateInteractionError where the interaction has a job already."""
        answer = job.answer
        try:
            await tx.execute(
                "INSERT INTO jobs (id, interaction_id, guild_id, channel_id, user_id, parent_id, request, state,"
                " offers, boot, created_at, estimated_seconds, start_tag, finish_tag, application_id,"
                " interaction_token, token_expires_at, language)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.id,
                    job.interaction_id,
                    job.place.guild_id,
                    job.place.channel_id,
                    job.place.user_id,
                    job.parent_id,
                    job.request.model_dump_json(exclude_defaults=True),
                    json.dumps(list(job.offers)),
                    self._boot,
                    job.created_at,
                    job.estimated_seconds,
                    job.start_tag,
                    job.finish_tag,
                    answer.application_id if answer else None,
                    answer.token if answer else None,
                    answer.expires_at if answer else None,
                    job.language.value,
                ),
            )
        except aiosqlite.IntegrityError as error:
            if "jobs.interaction_id" in str(error):
                raise DuplicateInteractionError from error
            raise
        await tx.executemany(
            "INSERT INTO tasks (job_id, position, seed, submission_id, state) VALUES (?, ?, ?, ?, 'pending')",
            [(job.id, position, task.seed, task.submission_id) for position, task in enumerate(job.tasks)],
        )

    async def knows(self, connection: aiosqlite.Connection, interaction_id: int) -> bool:
        """Whether the interaction has a job already."""
        return bool(await _number(connection, "SELECT count(*) FROM jobs WHERE interaction_id = ?", interaction_id))

    async def open_of(self, connection: aiosqlite.Connection, user_id: int, guild_id: int | None = None) -> int:
        """How many jobs of a member are waiting or under way, in a guild or in all."""
        query = f"SELECT count(*) FROM jobs INDEXED BY jobs_open WHERE user_id = ? AND state IN {_OPEN}"
        if guild_id is None:
            return await _number(connection, query, user_id)
        return await _number(connection, f"{query} AND guild_id = ?", user_id, guild_id)

    async def waiting_in(self, connection: aiosqlite.Connection, guild_id: int) -> int:
        """How many jobs of a guild are waiting."""
        query = "SELECT count(*) FROM jobs INDEXED BY jobs_waiting WHERE guild_id = ? AND state = 'queued'"
        return await _number(connection, query, guild_id)

    async def waiting_in_all(self, connection: aiosqlite.Connection) -> int:
        """How many jobs are waiting."""
        return await _number(connection, "SELECT count(*) FROM jobs WHERE state = 'queued'")

    async def left(self, connection: aiosqlite.Connection) -> tuple[int, int, int]:
        """How many jobs are waiting, under way, and waiting to be posted."""
        under_way = "SELECT count(*) FROM jobs WHERE state IN ('submitting', 'accepted', 'running')"
        to_post = "SELECT count(*) FROM jobs WHERE state IN ('finished', 'posting')"
        return (
            await self.waiting_in_all(connection),
            await _number(connection, under_way),
            await _number(connection, to_post),
        )

    async def last_finish_tag(self, connection: aiosqlite.Connection, guild_id: int, user_id: int) -> float:
        """The member's highest finish tag in the guild; 0 for a newcomer."""
        async with connection.execute(
            "SELECT max(finish_tag) FROM jobs WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
        ) as cursor:
            row = await cursor.fetchone()
        return float(row[0]) if row and row[0] is not None else 0.0

    async def last_came_in(self, connection: aiosqlite.Connection, guild_id: int, user_id: int) -> int | None:
        """When the member's newest job in the guild came in (milliseconds); None where they have none."""
        async with connection.execute(
            "SELECT created_at FROM jobs WHERE guild_id = ? AND user_id = ? ORDER BY number DESC LIMIT 1",
            (guild_id, user_id),
        ) as cursor:
            row = await cursor.fetchone()
        return int(row[0]) if row else None

    # The fair queue.

    async def waiting(self, connection: aiosqlite.Connection) -> list[Waiting]:
        """All waiting jobs, in order within each guild."""
        rows = await connection.execute_fetchall(
            "SELECT id, guild_id, user_id, start_tag, number, estimated_seconds, not_before, offers, turned_down,"
            " created_at, coalesce(json_extract(request, '$.count'), 1) AS count"
            " FROM jobs WHERE state = 'queued' ORDER BY guild_id, start_tag, number"
        )
        return [
            Waiting(
                id=row["id"],
                guild_id=row["guild_id"],
                user_id=row["user_id"],
                start_tag=row["start_tag"],
                number=row["number"],
                cost=row["estimated_seconds"],
                not_before=row["not_before"],
                offers=read_offers(row["offers"], row["turned_down"]),
                created_at=row["created_at"],
                count=row["count"],
            )
            for row in rows
        ]

    async def under_way(self, connection: aiosqlite.Connection) -> dict[str, tuple[int, int]]:
        """Job -> its guild and member, for all jobs under way."""
        rows = await connection.execute_fetchall(
            "SELECT id, guild_id, user_id FROM jobs INDEXED BY jobs_under_way"
            " WHERE state IN ('submitting', 'accepted', 'running')"
        )
        return {row["id"]: (row["guild_id"], row["user_id"]) for row in rows}

    async def recent(self, connection: aiosqlite.Connection, since: int, most: int) -> list[Recent]:
        """The newest jobs that came in since a moment (milliseconds), newest first."""
        rows = await connection.execute_fetchall(
            "SELECT guild_id, user_id, created_at, estimated_seconds FROM"
            " (SELECT * FROM jobs ORDER BY number DESC LIMIT ?) WHERE created_at >= ?",
            (most, since),
        )
        return [Recent(*row) for row in rows]

    async def clocks(self, connection: aiosqlite.Connection) -> FairClocks:
        """The clocks of the fair queue, and those of the guilds that wait in it."""
        async with connection.execute("SELECT virtual_time FROM fair_clock WHERE id = 1") as cursor:
            row = await cursor.fetchone()
        assert row is not None
        rows = await connection.execute_fetchall(WAITING_GUILDS)
        return FairClocks(row[0], {guild_id: (finish, virtual) for guild_id, finish, virtual in rows})

    async def guild_clock(self, connection: aiosqlite.Connection, guild_id: int) -> float:
        """The virtual time among a guild's members."""
        async with connection.execute("SELECT virtual_time FROM fair_guilds WHERE guild_id = ?", (guild_id,)) as cursor:
            row = await cursor.fetchone()
        return float(row[0]) if row else 0.0

    async def advance_clocks(
        self, tx: Transaction, virtual_time: float, guild_id: int, guild_finish: float, guild_virtual: float
    ) -> None:
        """Note that a job of the guild was started."""
        await tx.execute("UPDATE fair_clock SET virtual_time = ? WHERE id = 1", (virtual_time,))
        await tx.execute(
            "INSERT INTO fair_guilds (guild_id, finish_tag, virtual_time) VALUES (?, ?, ?)"
            " ON CONFLICT (guild_id) DO UPDATE SET"
            " finish_tag = excluded.finish_tag, virtual_time = excluded.virtual_time",
            (guild_id, guild_finish, guild_virtual),
        )

    # Steps of the road.

    async def start(self, tx: Transaction, job_id: str, target: JobState, *, offer: str, reason: str, at: int) -> None:
        """QUEUED -> SUBMITTING or RUNNING: counts the start before anything is sent."""
        await self._move(
            tx,
            job_id,
            JobState.QUEUED,
            target,
            "starts = starts + 1, offer = ?, reason = ?, boot = ?, started_at = ?",
            (offer, reason, self._boot, at),
        )

    async def submitting_task(self, tx: Transaction, job_id: str, indexes: Iterable[int]) -> None:
        """The pictures' call may be on its way from now on."""
        await self._set_tasks(tx, job_id, indexes, TaskState.SUBMITTING)

    async def accepted_task(self, tx: Transaction, job_id: str, indexes: Iterable[int], remote_id: str) -> None:
        """The provider has the pictures' call; the id is what a restart goes on with."""
        await tx.executemany(
            "UPDATE tasks SET state = 'accepted', remote_id = ? WHERE job_id = ? AND position = ?",
            [(remote_id, job_id, index) for index in indexes],
        )

    async def pending_task(self, tx: Transaction, job_id: str, indexes: Iterable[int]) -> None:
        """The call was definitely not accepted: it may be sent again."""
        await self._set_tasks(tx, job_id, indexes, TaskState.PENDING)

    async def accepted(self, tx: Transaction, job_id: str) -> None:
        """SUBMITTING -> ACCEPTED."""
        await self._move(tx, job_id, JobState.SUBMITTING, JobState.ACCEPTED)

    async def working(self, tx: Transaction, job_id: str) -> None:
        """ACCEPTED -> RUNNING: the provider has begun."""
        await self._move(tx, job_id, JobState.ACCEPTED, JobState.RUNNING)

    async def made_task(
        self,
        tx: Transaction,
        job_id: str,
        index: int,
        picture: StoredPicture,
        *,
        seed: int,
        seconds: float | None,
        cost: MicroUSD | None,
        flagged: bool,
    ) -> None:
        """A picture is on disk."""
        await tx.execute(
            "UPDATE tasks SET state = 'done', picture = ?, width = ?, height = ?, bytes = ?, seed = ?, seconds = ?,"
            " cost = ?, flagged = ? WHERE job_id = ? AND position = ?",
            (
                picture.name,
                picture.width,
                picture.height,
                picture.bytes,
                seed,
                seconds,
                cost,
                int(flagged),
                job_id,
                index,
            ),
        )

    async def end_tasks(
        self,
        tx: Transaction,
        job_id: str,
        indexes: Iterable[int],
        state: TaskState,
        failure: Failure | None,
        cost: MicroUSD | None = None,
    ) -> None:
        """The pictures will not come: FAILED, CANCELLED or UNKNOWN, with what they cost all the same."""
        await tx.executemany(
            "UPDATE tasks SET state = ?, failure_code = ?, failure_parameters = ?, cost = ?"
            " WHERE job_id = ? AND position = ?",
            [(state.value, *failure_columns(failure), cost, job_id, index) for index in indexes],
        )

    async def requeue(
        self,
        tx: Transaction,
        job_id: str,
        source: JobState,
        *,
        not_before: int,
        worker_died: bool,
        uncounted: bool = False,
        turned_down: tuple[str, Failure] | None = None,
    ) -> None:
        """Under way -> QUEUED, with its old place: nothing was accepted, or it is free to run again.

        ``uncounted``: the start is taken back, as it was merely too early. ``turned_down``: the offer that
        definitely did not take the job, and why: it is not asked again.
        """
        if turned_down is not None:
            offer, failure = turned_down
            await tx.execute(
                "UPDATE jobs SET turned_down = json_patch(turned_down, ?) WHERE id = ?",
                (json.dumps({offer: [failure.code.value, dict(failure.parameters)]}), job_id),
            )
        await self._move(
            tx,
            job_id,
            source,
            JobState.QUEUED,
            "not_before = ?, worker_deaths = worker_deaths + ?, starts = starts - ?",
            (not_before, int(worker_died), int(uncounted)),
        )
        await tx.execute(
            "UPDATE tasks SET state = 'pending', remote_id = NULL WHERE job_id = ?"
            " AND state IN ('submitting', 'accepted')",
            (job_id,),
        )

    async def finish(self, tx: Transaction, job_id: str, source: JobState, at: int) -> None:
        """-> FINISHED: every task is over and there is something to post."""
        await self._move(tx, job_id, source, JobState.FINISHED, "finished_at = ?", (at,))

    async def end(
        self, tx: Transaction, job_id: str, source: JobState, target: JobState, failure: Failure, at: int
    ) -> None:
        """-> FAILED, CANCELLED or UNKNOWN: over without a picture; the person still has to be told."""
        # A job that never ran gives its place in the fair order back.
        await self._move(
            tx,
            job_id,
            source,
            target,
            "finished_at = ?, failure_code = ?, failure_parameters = ?,"
            " finish_tag = CASE WHEN starts = 0 THEN NULL ELSE finish_tag END",
            (at, *failure_columns(failure)),
        )

    async def posting(self, tx: Transaction, job_id: str) -> None:
        """FINISHED -> POSTING: from here on a post may be in the channel."""
        await self._move(tx, job_id, JobState.FINISHED, JobState.POSTING)

    async def posted(self, tx: Transaction, job_id: str, result: Card) -> None:
        """POSTING -> POSTED."""
        await self._move(
            tx,
            job_id,
            JobState.POSTING,
            JobState.POSTED,
            "result_channel_id = ?, result_message_id = ?, told = 1",
            (result.channel_id, result.message_id),
        )

    async def undeliverable(self, tx: Transaction, job_id: str, failure: Failure) -> None:
        """POSTING -> UNDELIVERABLE: the pictures stay in the history."""
        await self._move(
            tx,
            job_id,
            JobState.POSTING,
            JobState.UNDELIVERABLE,
            "failure_code = ?, failure_parameters = ?",
            failure_columns(failure),
        )

    async def told(self, tx: Transaction, job_id: str) -> None:
        """The person has read how a job without a picture ended."""
        await tx.execute("UPDATE jobs SET told = 1 WHERE id = ?", (job_id,))

    async def set_card(self, tx: Transaction, job_id: str, card: Card | None) -> None:
        """Where the job's progress is shown (None: nowhere any more)."""
        await tx.execute(
            "UPDATE jobs SET card_channel_id = ?, card_message_id = ? WHERE id = ?",
            (card.channel_id if card else None, card.message_id if card else None, job_id),
        )

    async def removed(self, tx: Transaction, job_id: str) -> None:
        """The job's pictures and the message that carried them are gone."""
        await tx.execute("UPDATE tasks SET picture = NULL WHERE job_id = ?", (job_id,))
        await tx.execute("UPDATE jobs SET result_channel_id = NULL, result_message_id = NULL WHERE id = ?", (job_id,))

    async def adopt(self, tx: Transaction, job_id: str) -> None:
        """Take over a job that an earlier process left under way."""
        await tx.execute("UPDATE jobs SET boot = ? WHERE id = ?", (self._boot, job_id))

    async def usual_seconds(self) -> dict[str, float]:
        """What one picture of each offer took on average, over its last fifty pictures."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT offer, avg(seconds) FROM ("
                " SELECT jobs.offer, tasks.seconds,"
                " row_number() OVER (PARTITION BY jobs.offer ORDER BY jobs.number DESC) AS age"
                " FROM (SELECT * FROM jobs ORDER BY number DESC LIMIT 1000) AS jobs"
                " JOIN tasks ON tasks.job_id = jobs.id"
                " WHERE tasks.state = 'done' AND tasks.seconds IS NOT NULL"
                ") WHERE age <= 50 GROUP BY offer"
            )
            return {row[0]: float(row[1]) for row in rows}

    # Looking.

    async def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        async with self._database.reading() as reader:
            return await self.fetch(reader, job_id)

    async def fetch(self, connection: aiosqlite.Connection, job_id: str) -> Job | None:
        """The job, or None, through the caller's connection."""
        found = await read_jobs(connection, "WHERE id = ?", (job_id,))
        return found[0] if found else None

    async def submission_ids(self, job_id: str) -> list[str]:
        """The idempotency keys of the job's pictures, in order."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT submission_id FROM tasks WHERE job_id = ? ORDER BY position", (job_id,)
            )
            return [row[0] for row in rows]

    async def left_behind(self) -> list[Job]:
        """Jobs under way that belong to an earlier boot."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                "INDEXED BY jobs_under_way"
                " WHERE state IN ('submitting', 'accepted', 'running') AND boot <> ? ORDER BY number",
                (self._boot,),
            )

    async def to_post(self) -> list[Job]:
        """Jobs whose pictures wait to be posted (or whose post was cut off), oldest first."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader, "INDEXED BY jobs_to_post WHERE state IN ('finished', 'posting') ORDER BY number", ()
            )

    async def untold(self) -> list[Job]:
        """Jobs that ended without a picture and whose person does not know yet, oldest first."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader, "WHERE told = 0 AND state IN ('failed', 'cancelled', 'unknown') ORDER BY number", ()
            )

    async def waiting_jobs(self) -> list[Job]:
        """Jobs that wait, whole, oldest first."""
        async with self._database.reading() as reader:
            return await read_jobs(reader, "INDEXED BY jobs_waiting WHERE state = 'queued' ORDER BY number", ())

    async def open_in(self, guild_id: int, user_id: int | None = None) -> list[Job]:
        """Jobs of a guild (or of one of its members) that are waiting or under way, oldest first."""
        async with self._database.reading() as reader:
            if user_id is None:
                return await read_jobs(
                    reader,
                    f"INDEXED BY jobs_open WHERE guild_id = ? AND state IN {_OPEN} ORDER BY number LIMIT 200",
                    (guild_id,),
                )
            return await read_jobs(
                reader,
                "INDEXED BY jobs_open"
                f" WHERE user_id = ? AND guild_id = ? AND state IN {_OPEN} ORDER BY number LIMIT 200",
                (user_id, guild_id),
            )

    async def history(self, guild_id: int, user_id: int, limit: int, before: int | None = None) -> list[Job]:
        """A member's jobs in a guild, newest first. ``before`` is a creation time in milliseconds."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                "INDEXED BY jobs_history"
                " WHERE guild_id = ? AND user_id = ? AND created_at < ? ORDER BY number DESC LIMIT ?",
                (guild_id, user_id, before if before is not None else 2**62, limit),
            )

    async def last_in_channel(self, guild_id: int, channel_id: int, user_id: int) -> Job | None:
        """The member's newest job in a channel, whatever became of it."""
        async with self._database.reading() as reader:
            found = await read_jobs(
                reader,
                "WHERE guild_id = ? AND user_id = ? AND channel_id = ? ORDER BY number DESC LIMIT 1",
                (guild_id, user_id, channel_id),
            )
        return found[0] if found else None

    async def others_use(self, source: str, job_id: str) -> bool:
        """Whether another job, whose pictures were not removed, begins with the same input picture."""
        async with (
            self._database.reading() as reader,
            reader.execute(
                "SELECT EXISTS (SELECT 1 FROM jobs WHERE (json_extract(request, '$.source.name') = ?1 OR EXISTS"
                " (SELECT 1 FROM json_each(request, '$.references') WHERE json_extract(value, '$.name') = ?1))"
                " AND id <> ?2"
                " AND (state NOT IN ('posted', 'undeliverable') OR EXISTS"
                " (SELECT 1 FROM tasks WHERE job_id = jobs.id AND picture IS NOT NULL)))",
                (source, job_id),
            ) as cursor,
        ):
            row = await cursor.fetchone()
        assert row is not None
        return bool(row[0])

    # Inside.

    async def _move(
        self,
        tx: Transaction,
        job_id: str,
        source: JobState,
        target: JobState,
        assignments: str = "",
        values: Sequence[object] = (),
    ) -> None:
        if target not in EDGES[source]:
            raise IllegalMoveError(f"{source} -> {target} is not an edge")
        fence = " AND boot = ?" if source in UNDER_WAY else ""
        async with tx.execute(
            f"UPDATE jobs SET state = ?{', ' if assignments else ''}{assignments} WHERE id = ? AND state = ?{fence}",
            (target.value, *values, job_id, source.value, *((self._boot,) if fence else ())),
        ) as cursor:
            if cursor.rowcount != 1:
                raise StaleMoveError(f"job {job_id} is not {source}")

    async def _set_tasks(self, tx: Transaction, job_id: str, indexes: Iterable[int], state: TaskState) -> None:
        await tx.executemany(
            "UPDATE tasks SET state = ? WHERE job_id = ? AND position = ?",
            [(state.value, job_id, index) for index in indexes],
        )


async def _number(connection: aiosqlite.Connection, query: str, *values: int) -> int:
    async with connection.execute(query, values) as cursor:
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
