"""Jobs for tests of what is shown."""

from typing import Any

from domain.job import Job, JobState, Place, StoredPicture, Task, TaskState
from domain.money import MicroUSD
from domain.request import MAX_SEED, ImageRequest, Kind

PLACE = Place(guild_id=10, channel_id=20, user_id=30)


def made(*, seed: int = 7, count: int = 1, cost: int = 0, state: JobState = JobState.FINISHED, **request: Any) -> Job:
    """A job whose pictures are done."""
    values = {"kind": Kind.IMAGINE, "model": "tiny", "prompt": "a red circle", "seed": seed, "count": count} | request
    tasks = tuple(
        Task(
            index,
            (seed + index) % (MAX_SEED + 1),
            TaskState.DONE,
            picture=StoredPicture(f"abc-{index}.png", 128, 96, 1000),
            seconds=1.5,
            cost=MicroUSD(cost),
        )
        for index in range(count)
    )
    return Job(
        id="abcdefghjk",
        request=ImageRequest.model_validate(values),
        place=PLACE,
        state=state,
        tasks=tasks,
        offers=("worker:tiny",),
        created_at=1_700_000_000_000,
        estimated_seconds=3.0,
        offer="worker:tiny",
        reason="only_one",
    )
