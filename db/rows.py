"""Rows of the tables ``jobs`` and ``tasks`` as the words that all rooms share, and back."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import aiosqlite

from domain.errors import Code, Parameter
from domain.job import Answer, Card, Failure, Job, JobState, Place, StoredPicture, Task, TaskState
from domain.language import Language
from domain.money import MicroUSD
from domain.request import ImageRequest

OPEN = "('queued', 'submitting', 'accepted', 'running')"
"""States of jobs that wait or are under way, as SQL has them."""


async def read_jobs(connection: aiosqlite.Connection, where: str, values: Sequence[object]) -> list[Job]:
    """The jobs that a condition chooses, with their tasks."""
    rows = list(await connection.execute_fetchall(f"SELECT * FROM jobs {where}", values))
    if not rows:
        return []
    tasks: dict[str, list[Task]] = {row["id"]: [] for row in rows}
    for row in await connection.execute_fetchall(
        "SELECT * FROM tasks WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY job_id, position",
        (json.dumps(list(tasks)),),
    ):
        tasks[row["job_id"]].append(_task(row))
    return [_job(row, tasks[row["id"]]) for row in rows]


@lru_cache(maxsize=256)
def read_offers(text: str, turned_down: str = "{}") -> tuple[str, ...]:
    """The keys of a job's offers, without those that turned it down."""
    # The line is read often, and its jobs have few different sets of offers.
    without = json.loads(turned_down)
    return tuple(offer for offer in json.loads(text) if offer not in without)


def _job(row: aiosqlite.Row, tasks: Sequence[Task]) -> Job:
    return Job(
        id=row["id"],
        request=ImageRequest.model_validate_json(row["request"]),
        place=Place(row["guild_id"], row["channel_id"], row["user_id"]),
        state=JobState(row["state"]),
        tasks=tuple(tasks),
        offers=read_offers(row["offers"]),
        created_at=row["created_at"],
        estimated_seconds=row["estimated_seconds"],
        offer=row["offer"],
        reason=row["reason"],
        turned_down=_turned_down(row["turned_down"]),
        parent_id=row["parent_id"],
        starts=row["starts"],
        worker_deaths=row["worker_deaths"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        card=_card(row["card_channel_id"], row["card_message_id"]),
        answer=Answer(row["application_id"], row["interaction_token"], row["token_expires_at"])
        if row["interaction_token"] is not None
        else None,
        result=_card(row["result_channel_id"], row["result_message_id"]),
        failure=_failure(row),
        told=bool(row["told"]),
        language=Language(row["language"]),
    )


def _turned_down(text: str) -> Mapping[str, Failure]:
    return {offer: Failure(Code(code), parameters) for offer, (code, parameters) in json.loads(text).items()}


def _task(row: aiosqlite.Row) -> Task:
    return Task(
        index=row["position"],
        seed=row["seed"],
        state=TaskState(row["state"]),
        remote_id=row["remote_id"],
        picture=StoredPicture(row["picture"], row["width"], row["height"], row["bytes"])
        if row["picture"] is not None
        else None,
        seconds=row["seconds"],
        cost=MicroUSD(row["cost"]) if row["cost"] is not None else None,
        flagged=bool(row["flagged"]),
        failure=_failure(row),
    )


def _card(channel_id: int | None, message_id: int | None) -> Card | None:
    return Card(channel_id, message_id) if channel_id is not None and message_id is not None else None


def _failure(row: aiosqlite.Row) -> Failure | None:
    if row["failure_code"] is None:
        return None
    parameters = cast(Mapping[str, Parameter], json.loads(row["failure_parameters"]))
    return Failure(Code(row["failure_code"]), parameters)


def failure_columns(failure: Failure | None) -> tuple[str | None, str | None]:
    """A failure as its two columns."""
    if failure is None:
        return None, None
    return failure.code.value, json.dumps(dict(failure.parameters))


async def number(connection: aiosqlite.Connection, query: str, *values: int) -> int:
    """The one number that a query asks for."""
    (row,) = await connection.execute_fetchall(query, values)
    return int(row[0])
