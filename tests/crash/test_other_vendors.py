"""The bot is killed in the middle of a submit to Runware, ComfyUI and a server with OpenAI's images API.

However it was killed: at most one submit is accepted for each task that costs money, nothing is held, and the job ends
in one post or in one clear ending.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from domain.job import WITHOUT_PICTURE, JobState
from tests.crash.stage import Edge, Stage
from tests.crash.test_every_edge import imagine
from tests.servers.comfyui import ComfyUIServer
from tests.servers.hosted import Fault, HostedServer
from tests.servers.openai_images import OpenAIImagesServer
from tests.servers.runware import RunwareServer

S = JobState


@dataclass
class Vendors:
    """The stand-ins, and what makes the bot use one of them alone."""

    runware: RunwareServer
    comfyui: ComfyUIServer
    openai: OpenAIImagesServer

    def environment(self, name: str) -> dict[str, str]:
        """For the bot, beside the stage's own."""
        return {
            "runware": {"RUNWARE_API_KEY": self.runware.key, "RUNWARE_BASE_URL": f"{self.runware.url}/v1"},
            "comfyui": {"COMFYUI_URL": self.comfyui.url, "COMFYUI_MODELS": "hidream-i1-fast"},
            "openai": {
                "OPENAI_IMAGES_URL": self.openai.url,
                "OPENAI_IMAGES_API_KEY": self.openai.key,
                "OPENAI_IMAGES_MODELS": "hidream-i1-fast",
                "OPENAI_IMAGES_PRICE_USD": "0.01",
            },
        }[name]

    def accepted(self, name: str) -> int:
        """Submits that were taken."""
        return len({"runware": self.runware.tasks, "comfyui": self.comfyui.prompts, "openai": self.openai.made}[name])

    def server(self, name: str) -> HostedServer:
        """The stand-in of that name."""
        servers: dict[str, HostedServer] = {
            "runware": self.runware,
            "comfyui": self.comfyui,
            "openai": self.openai,
        }
        return servers[name]


@pytest.fixture
async def vendors() -> AsyncIterator[Vendors]:
    """All three."""
    async with AsyncExitStack() as stack:
        yield Vendors(
            await stack.enter_async_context(RunwareServer()),
            await stack.enter_async_context(ComfyUIServer()),
            await stack.enter_async_context(OpenAIImagesServer()),
        )


@dataclass(frozen=True)
class Case:
    """A vendor, the kill, and how the job ends."""

    vendor: str
    moment: str
    edge: Edge
    ends: JobState = S.POSTED
    accepted: int = 1


CASES = [
    # The submit was not sent yet, or was it? Its key tells.
    Case("runware", "after", (S.QUEUED, S.SUBMITTING)),
    Case("runware", "before", (S.SUBMITTING, S.ACCEPTED)),
    Case("runware", "after", (S.SUBMITTING, S.ACCEPTED)),
    Case("comfyui", "before", (S.SUBMITTING, S.ACCEPTED)),
    Case("comfyui", "after", (S.SUBMITTING, S.ACCEPTED)),
    # Here nothing tells: what may have been paid for is not sent again.
    Case("openai", "after", (S.QUEUED, S.SUBMITTING)),
    Case("openai", "before", (S.SUBMITTING, S.FINISHED)),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.vendor}-{case.moment}-{case.edge[1].value}" for case in CASES])
async def test_killed_in_a_submit(stage: Stage, vendors: Vendors, case: Case) -> None:
    stage.environment |= vendors.environment(case.vendor)
    process = await stage.start_bot(case.moment, case.edge)
    await imagine(stage, model="hidream-i1-fast", count=2 if case.vendor == "runware" else 1)
    await stage.killed(process)
    await stage.start_bot()
    (job,) = await stage.until_over()
    await stage.stop_bots()
    assert job.state is case.ends, job
    assert vendors.accepted(case.vendor) == case.accepted
    await _is_settled(stage, job)


async def test_killed_while_the_answer_to_a_paid_submit_is_lost(stage: Stage, vendors: Vendors) -> None:
    """OpenAI's API has no key by which a submit could be found again."""
    stage.environment |= vendors.environment("openai")
    vendors.openai.fail("submit", Fault(accepted=True, silent=True))
    process = await stage.start_bot()
    await imagine(stage, model="hidream-i1-fast")
    await _until(stage, lambda: vendors.openai.submits == 1)
    process.kill()
    await process.wait()
    await stage.start_bot()
    (job,) = await stage.until_over()
    await stage.stop_bots()
    assert (job.state, vendors.accepted("openai"), vendors.openai.submits) == (S.UNKNOWN, 1, 1)
    await _is_settled(stage, job)


async def test_what_comfyui_lost_while_we_were_dead_runs_again(stage: Stage, vendors: Vendors) -> None:
    stage.environment |= vendors.environment("comfyui")
    vendors.comfyui.set_plan(plays=False)
    process = await stage.start_bot("after", (S.SUBMITTING, S.ACCEPTED))
    await imagine(stage, model="hidream-i1-fast")
    await stage.killed(process)
    vendors.comfyui.forget()
    vendors.comfyui.set_plan(plays=True)
    await stage.start_bot()
    (job,) = await stage.until_over()
    await stage.stop_bots()
    assert (job.state, job.starts, vendors.comfyui.submits) == (S.POSTED, 2, 2)
    await _is_settled(stage, job)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_while_it_fails_over(stage: Stage, vendors: Vendors, moment: str) -> None:
    """WaveSpeedAI refuses, Runware is next: over both, one submit is accepted."""
    stage.environment |= vendors.environment("runware")
    stage.wavespeed.fail("submit", Fault(status=400, json={"code": 400, "message": "no"}))
    process = await stage.start_bot(moment, (S.SUBMITTING, S.QUEUED))
    await imagine(stage, model="hidream-i1-full")
    await stage.killed(process)
    await stage.start_bot()
    (job,) = await stage.until_over()
    await stage.stop_bots()
    assert job.state is S.POSTED
    assert stage.accepted() + vendors.accepted("runware") == 1
    if moment == "after":
        assert (job.offer, stage.wavespeed.submits) == ("runware:hidream-i1-full", 1)
    await _is_settled(stage, job)


async def _is_settled(stage: Stage, job: Any) -> None:
    books = await stage.books()
    assert (books.held, books.images) == (0, len(job.pictures))
    assert books.micro_usd == job.cost
    assert len(stage.posts()) == (job.state is S.POSTED)
    assert (job.failure is not None) is (job.state in WITHOUT_PICTURE)


async def _until(stage: Stage, condition: Callable[[], bool]) -> None:
    await stage.until(lambda jobs: condition())
