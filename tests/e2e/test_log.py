"""The log of whole jobs at DEBUG: the job's id from command to post, and nothing of what people wrote or are called."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.base import BackendFailed
from config.logs import TALKATIVE, make_handler, quieten
from config.settings import Settings
from domain.errors import Code, OperatorError
from domain.job import JobState
from sandbox import Sandbox
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot

PROMPT = "xylophone-canary in a prompt"
NAME = "zanzibar_canary"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, as an operator at DEBUG reads it."""
    stream = io.StringIO()
    settings = Settings.model_validate({"easel_log_level": "DEBUG"})
    handler = make_handler(settings, stream)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    quieten(settings)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


async def test_a_whole_job_leaves_nothing_private_in_the_log(
    log: io.StringIO, sandbox: Sandbox, tmp_path: Path
) -> None:
    painter = ScriptedBackend()
    refusal = BackendFailed(OperatorError(Code.BACKEND_FAILED, backend="worker", reason=f"no: {PROMPT}"))
    painter.scripts.extend([(Steps(2), Paint()), (refusal,), (Paint(),)])
    someone = sandbox.add_user(NAME, name="Zanzibar Canary")
    bot = Bot(sandbox, tmp_path / "data", painter, {"EASEL_LOG_LEVEL": "DEBUG"})
    await bot.start()
    try:
        jobs = []
        for _ in range(2):
            asked = await someone.slash(
                sandbox.studio, "imagine", prompt=PROMPT, negative_prompt="walrus-canary", seed=7
            )
            await asked.response()
            [newest, *_] = await bot.jobs_of(someone.id)
            jobs.append(await bot.until(newest.id, JobState.POSTED, JobState.FAILED))
        # What is refused is typed by people as well.
        for command, options in (
            ("imagine", {"prompt": PROMPT, "model": "walrus-canary"}),
            ("reroll", {"prompt": PROMPT, "job": "walrus-canary"}),
        ):
            await (await someone.slash(sandbox.studio, command, raw=True, options=options)).response()
        await (await someone.slash(sandbox.studio, "history")).response()
    finally:
        await bot.stop()
    lines = log.getvalue()
    assert [job.state for job in jobs] == [JobState.POSTED, JobState.FAILED]
    for canary in ("xylophone", "walrus", "zanzibar", sandbox.token):
        found = [line for line in lines.splitlines() if canary in line.lower()]
        assert not found, found[:3]
