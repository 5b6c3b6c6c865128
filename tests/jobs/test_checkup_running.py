"""The doctor asks the bot that runs, over its own metrics, what it thinks of its backends."""

from pathlib import Path

import pytest
from aiohttp import web

from backends.base import BackendFailed
from config.listening import LOOPBACK, ListenAddress
from config.settings import Settings
from db.folder import exclusive
from domain.errors import Code, InternalError
from domain.job import Failure, JobState
from jobs import checkup
from jobs.checkup_running import SUBJECT, examine_running
from jobs.findings import Finding
from jobs.monitoring import monitoring
from tests.building import House, metrics_of, open_house
from tests.doubles import Paint, ScriptedBackend


async def said_by(house: House) -> list[Finding]:
    metrics = metrics_of(house)
    async with monitoring(metrics, dict, ListenAddress(LOOPBACK, 0)) as port:
        # A bot that listens everywhere is asked on loopback.
        return [finding async for finding in examine_running(ListenAddress("0.0.0.0", port))]


async def test_a_backend_that_takes_jobs_is_well(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", (Paint(),))}) as house:
        job = await house.ask()
        await house.reached(job.id, JobState.FINISHED)
        assert await said_by(house) == [Finding(SUBJECT, True, "sends jobs to worker")]


async def test_a_backend_that_is_left_alone_is_told_with_the_reason(tmp_path: Path) -> None:
    failed = BackendFailed(InternalError(Code.BACKEND_FAILED, backend="worker"))
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", (failed,))}) as house:
        while house.fleet.problem("worker") is None:
            job = await house.ask()
            await house.reached(job.id, JobState.FAILED)
        [finding] = await said_by(house)
        assert not finding.good
        assert finding.found == "leaves worker alone for a while, after backend_failed"
        assert finding.mend


async def test_a_bot_that_does_not_answer_is_told() -> None:
    [finding] = [finding async for finding in examine_running(ListenAddress(LOOPBACK, 1))]
    assert (finding.subject, finding.good) == (SUBJECT, False)
    assert "http://127.0.0.1:1/metrics" in finding.found


@pytest.mark.parametrize("page", ["hello {", "python_info 1\n", ""])
async def test_another_program_at_the_address_is_told(page: str) -> None:
    async def strange(_request: web.Request) -> web.Response:
        return web.Response(text=page)

    app = web.Application()
    app.router.add_get("/metrics", strange)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        address = ListenAddress(LOOPBACK, runner.addresses[0][1])
        [finding] = [finding async for finding in examine_running(address)]
    finally:
        await runner.cleanup()
    assert not finding.good
    assert "another program" in finding.found


async def subjects(folder: Path) -> list[str]:
    settings = Settings.model_validate({"easel_data_dir": folder, "easel_metrics_listen": "1"})

    def explain(failure: Failure) -> str:
        return failure.code

    async with open_house(folder, working=False) as house:
        return [finding.subject async for finding in checkup.examine(settings, {}, explain, house.clock)]


async def test_only_a_bot_that_runs_is_asked(tmp_path: Path) -> None:
    assert SUBJECT not in await subjects(tmp_path)
    with exclusive(tmp_path):
        assert SUBJECT in await subjects(tmp_path)
