"""The bot is killed at every legal edge of the state table, and started again.

However it was killed: each job ends in exactly one post or one clear ending, the ledger adds up with nothing held,
each picture and each paid call is charged once, and no paid task is accepted twice.
"""

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from domain.job import EDGES, WITHOUT_PICTURE, JobState
from sandbox.hands import Invocation
from sandbox.permissions import Permission
from tests.crash.stage import Edge, Stage
from tests.servers.hosted import Fault

PRICE = 12_000
"""Of one HiDream-I1-Dev at WaveSpeedAI, in micro-dollars."""

S = JobState


@dataclass(frozen=True)
class Scenario:
    """How to bring a job over an edge."""

    act: Callable[[Stage, "Kill"], Awaitable[None]]
    ends: tuple[JobState, ...]
    """How Alice's jobs end after the restart, oldest first."""
    ends_before: tuple[JobState, ...] | None = None
    """How they end where the kill came before the commit; None: not tried."""
    paid_tasks: int = 0
    """Tasks that the vendor has accepted in the end."""


@dataclass
class Kill:
    """The bot that will be killed."""

    stage: Stage
    moment: str
    edge: Edge

    async def start(self) -> None:
        """Start it: it kills itself at its edge."""
        self.process = await self.stage.start_bot(self.moment, self.edge)


async def imagine(stage: Stage, **options: Any) -> Invocation:
    """Alice asks for a picture."""
    return await stage.discord.user("alice").slash(
        stage.discord.studio, "imagine", prompt="a red star on a blue background", **options
    )


def local(**options: Any) -> Callable[[Stage, Kill], Awaitable[None]]:
    """A picture from our own worker."""

    async def act(stage: Stage, kill: Kill) -> None:
        await kill.start()
        await imagine(stage, model="tiny", **options)

    return act


def hosted(
    *faults: Fault, statuses: tuple[str, ...] = ("processing", "completed"), code: int | None = None
) -> Callable[[Stage, Kill], Awaitable[None]]:
    """A picture from the paid service."""

    async def act(stage: Stage, kill: Kill) -> None:
        stage.wavespeed.set_plan(statuses=statuses, code=code, error="no such luck" if code else "")
        stage.wavespeed.fail("submit", *faults)
        await kill.start()
        await imagine(stage, model="hidream-i1-dev")

    return act


async def cancelled_while_waiting(stage: Stage, kill: Kill) -> None:
    await kill.start()
    await (await imagine(stage, model="tiny", count=4, steps=50)).response()
    second = await (await imagine(stage, model="tiny")).response()
    await stage.discord.user("alice").click(second, "Cancel")


async def cancelled_while_painted(stage: Stage, kill: Kill) -> None:
    await kill.start()
    card = await (await imagine(stage, model="tiny", steps=50)).response()
    await stage.until(lambda jobs: [job.state for job in jobs] == [S.RUNNING])
    await stage.discord.user("alice").click(card, "Cancel")


async def cancelled_at_the_service(stage: Stage, kill: Kill) -> None:
    stage.wavespeed.set_plan(statuses=("created",))
    await kill.start()
    card = await (await imagine(stage, model="hidream-i1-dev")).response()
    await stage.until(lambda jobs: [job.state for job in jobs] == [S.ACCEPTED])
    await stage.discord.user("alice").click(card, "Cancel")


async def backend_is_gone(stage: Stage, kill: Kill) -> None:
    worker_url, stage.worker_url = stage.worker_url, "http://127.0.0.1:1"
    process = await stage.start_bot()
    await (await imagine(stage, model="tiny")).response()
    process.send_signal(signal.SIGTERM)
    await process.wait()
    stage.worker_url = worker_url
    stage.environment["EASEL_BACKENDS"] = "wavespeed"
    await kill.start()


async def handed_back(stage: Stage, kill: Kill) -> None:
    await kill.start()
    await imagine(stage, model="tiny", count=4, steps=50)
    await stage.until(lambda jobs: [job.state for job in jobs] == [S.RUNNING])
    kill.process.send_signal(signal.SIGTERM)


async def half_of_two_lost(stage: Stage, kill: Kill) -> None:
    stage.environment["WAVESPEED_SLOTS"] = "1"
    stage.wavespeed.set_plan(statuses=("processing",))
    await kill.start()
    await imagine(stage, model="hidream-i1-dev", count=2)
    await stage.until(lambda jobs: stage.wavespeed.submits == 1)
    stage.wavespeed.fail("submit", Fault(accepted=True, cut="before"))
    stage.wavespeed.set_plan(statuses=("completed",))


def forgotten(state: JobState, *statuses: str) -> Callable[[Stage, Kill], Awaitable[None]]:
    """The service accepts a task and then knows nothing of it."""

    async def act(stage: Stage, kill: Kill) -> None:
        stage.wavespeed.set_plan(statuses=statuses)
        await kill.start()
        await imagine(stage, model="hidream-i1-dev")
        await stage.until(lambda jobs: [job.state for job in jobs] == [state])
        stage.wavespeed.tasks.clear()

    return act


async def nobody_reachable(stage: Stage, kill: Kill) -> None:
    stage.wavespeed.set_plan(statuses=("processing",))
    await kill.start()
    await imagine(stage, model="hidream-i1-dev")
    await stage.until(lambda jobs: [job.state for job in jobs] == [S.RUNNING])
    stage.discord.overwrite(
        stage.discord.studio, stage.discord.world.bot, deny=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES
    )
    stage.discord.faults.error(
        "/users/@me/channels", status=403, code=50007, message="Cannot send messages to this user", times=100
    )
    stage.wavespeed.set_plan(statuses=("completed",))


POSTED = (S.POSTED,)
LOST = Fault(accepted=True, cut="before")

SCENARIOS: dict[Edge, Scenario] = {
    (S.QUEUED, S.RUNNING): Scenario(local(), POSTED),
    (S.QUEUED, S.SUBMITTING): Scenario(hosted(), POSTED, POSTED, paid_tasks=1),
    (S.QUEUED, S.CANCELLED): Scenario(cancelled_while_waiting, (S.POSTED, S.CANCELLED)),
    (S.QUEUED, S.FAILED): Scenario(backend_is_gone, (S.FAILED,)),
    (S.SUBMITTING, S.ACCEPTED): Scenario(hosted(), POSTED, (S.UNKNOWN,), paid_tasks=1),
    (S.SUBMITTING, S.QUEUED): Scenario(hosted(Fault(status=429, headers={"Retry-After": "0"})), POSTED, paid_tasks=1),
    (S.SUBMITTING, S.FINISHED): Scenario(half_of_two_lost, POSTED, paid_tasks=2),
    (S.SUBMITTING, S.FAILED): Scenario(
        hosted(Fault(status=400, json={"code": 400, "message": "bad prompt"})), (S.FAILED,)
    ),
    (S.SUBMITTING, S.UNKNOWN): Scenario(hosted(LOST), (S.UNKNOWN,), (S.UNKNOWN,), paid_tasks=1),
    (S.ACCEPTED, S.RUNNING): Scenario(hosted(), POSTED, paid_tasks=1),
    (S.ACCEPTED, S.FINISHED): Scenario(hosted(statuses=("completed",)), POSTED, POSTED, paid_tasks=1),
    (S.ACCEPTED, S.FAILED): Scenario(hosted(statuses=("failed",), code=1403), (S.FAILED,), paid_tasks=1),
    (S.ACCEPTED, S.CANCELLED): Scenario(cancelled_at_the_service, (S.CANCELLED,), paid_tasks=1),
    (S.ACCEPTED, S.UNKNOWN): Scenario(forgotten(S.ACCEPTED, "created"), (S.UNKNOWN,)),
    (S.RUNNING, S.FINISHED): Scenario(local(), POSTED, POSTED),
    (S.RUNNING, S.QUEUED): Scenario(handed_back, POSTED),
    (S.RUNNING, S.FAILED): Scenario(hosted(statuses=("processing", "failed"), code=1403), (S.FAILED,), paid_tasks=1),
    (S.RUNNING, S.CANCELLED): Scenario(cancelled_while_painted, (S.CANCELLED,)),
    (S.RUNNING, S.UNKNOWN): Scenario(forgotten(S.RUNNING, "processing"), (S.UNKNOWN,)),
    (S.FINISHED, S.POSTING): Scenario(local(), POSTED, POSTED),
    (S.POSTING, S.POSTED): Scenario(local(), POSTED, POSTED),
    (S.POSTING, S.UNDELIVERABLE): Scenario(nobody_reachable, (S.UNDELIVERABLE,), paid_tasks=1),
}

CASES = [(edge, "after") for edge in SCENARIOS] + [
    (edge, "before") for edge, scenario in SCENARIOS.items() if scenario.ends_before is not None
]


def test_every_edge_of_the_table_has_its_crash() -> None:
    assert SCENARIOS.keys() == {(source, target) for source, targets in EDGES.items() for target in targets}


@pytest.mark.parametrize(
    ("edge", "moment"), CASES, ids=[f"{moment}-{edge[0].value}-{edge[1].value}" for edge, moment in CASES]
)
async def test_killed_there_nothing_is_lost_and_nothing_is_done_twice(stage: Stage, edge: Edge, moment: str) -> None:
    scenario = SCENARIOS[edge]
    ends = scenario.ends if moment == "after" else scenario.ends_before
    assert ends is not None
    kill = Kill(stage, moment, edge)

    await scenario.act(stage, kill)
    await stage.killed(kill.process)
    await stage.start_bot()
    jobs = await stage.until_over(len(ends))
    await stage.stop_bots()

    assert tuple(job.state for job in jobs) == ends
    posts = stage.posts()
    assert len(posts) == ends.count(S.POSTED), "each posted job is in the channel exactly once"
    for job in jobs:
        assert sum(job.id in str(post.components) for post in posts) == (job.state is S.POSTED)
        if job.state in WITHOUT_PICTURE:
            assert job.failure is not None
    if S.UNDELIVERABLE not in ends:  # there the bot cannot take its card away
        assert len(stage.card_texts()) == sum(state in WITHOUT_PICTURE for state in ends), stage.card_texts()
    books = await stage.books()
    assert books.held == 0
    assert books.images == sum(len(job.pictures) for job in jobs)
    assert books.micro_usd == sum(job.cost for job in jobs)
    paid = [job for job in jobs if job.request.model == "hidream-i1-dev"]
    assert stage.accepted() <= sum(len(job.tasks) for job in paid), "no task is accepted twice"
    if scenario.paid_tasks:
        assert stage.accepted() == scenario.paid_tasks
