"""The real bot as a process of its own listens for webhooks, and a vendor's stand-in calls it."""

import aiohttp
import pytest

from domain.job import JobState
from tests.crash.stage import Stage
from tests.crash.test_every_edge import imagine
from tests.ports import free_port
from tests.servers.runware import RunwareServer


def listening(stage: Stage) -> None:
    port = free_port()
    stage.environment["EASEL_WEBHOOK_LISTEN"] = f"127.0.0.1:{port}"
    stage.environment["EASEL_WEBHOOK_PUBLIC_URL"] = f"http://127.0.0.1:{port}"


async def test_a_signed_webhook_of_wavespeed_brings_the_picture(stage: Stage) -> None:
    listening(stage)
    stage.wavespeed.set_plan(statuses=("completed",))
    await stage.start_bot("patient")
    await imagine(stage, model="hidream-i1-dev")
    await stage.until(lambda jobs: [job.state for job in jobs] == [JobState.ACCEPTED])
    (task,) = stage.wavespeed.tasks.values()
    assert task.webhook == f"{stage.environment['EASEL_WEBHOOK_PUBLIC_URL']}/webhooks/wavespeed"
    assert await stage.wavespeed.call_webhook(task, signature=f"v3,{'0' * 64}") == 401
    assert task.polls == 0, "a forged one brings nothing"
    assert await stage.wavespeed.call_webhook(task) == 200
    (job,) = await stage.until_over()
    assert (job.state, task.polls, stage.wavespeed.submits) == (JobState.POSTED, 1, 1)
    await stage.stop_bots()


async def test_a_webhook_of_runware_brings_the_picture(stage: Stage) -> None:
    listening(stage)
    async with RunwareServer() as runware:
        stage.environment |= {"RUNWARE_API_KEY": runware.key, "RUNWARE_BASE_URL": f"{runware.url}/v1"}
        runware.set_plan(polls=0)
        await stage.start_bot("patient")
        await imagine(stage, model="hidream-i1-fast")
        await stage.until(lambda jobs: [job.state for job in jobs] == [JobState.ACCEPTED])
        (task,) = runware.tasks.values()
        url = str(task.body["webhookURL"])
        async with aiohttp.ClientSession() as vendor:
            async with vendor.post(url[:-1] + ("a" if url[-1] != "a" else "b"), json={}) as answer:
                assert answer.status == 404
            assert task.polls == 0
            async with vendor.post(url, json={"data": []}) as answer:
                assert answer.status == 200
        (job,) = await stage.until_over()
        assert (job.state, runware.submits) == (JobState.POSTED, 1)
        await stage.stop_bots()


@pytest.mark.parametrize("missing", ["EASEL_WEBHOOK_LISTEN", "EASEL_WEBHOOK_PUBLIC_URL"])
async def test_half_of_the_settings_is_told_at_the_start(stage: Stage, missing: str) -> None:
    listening(stage)
    del stage.environment[missing]
    process = await stage.start_bot()
    assert await process.wait() == 2
    assert missing in (stage.folder.parent / "bot.log").read_text()
