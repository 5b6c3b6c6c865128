"""Jobs and their tasks. Each method is one step of the table in ``domain/job.py``, inside the caller's transaction.

A move from a state under way also wants the job to belong to this boot of the bot: what an earlier process left
behind has to be adopted first.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiosqlite

from db.database import Transaction
from db.finder import JobFinder
from db.line import Line
from db.rows import failure_columns, number
from domain.job import (
    EDGES,
    UNDER_WAY,
    Answer,
    Card,
    Failure,
    JobState,
    Place,
    StoredPicture,
    TaskState,
)
from domain.language import Language
from domain.money import MicroUSD
from domain.request import ImageRequest


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


class JobStore(JobFinder, Line):
    """All jobs. ``boot`` is this process's fencing token."""

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
        return bool(await number(connection, "SELECT count(*) FROM jobs WHERE interaction_id = ?", interaction_id))

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
