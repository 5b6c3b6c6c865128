"""Lines of the log: whose job they belong to, in which form, and what never stands in them."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from config.logs import bind_job, job_context, make_handler
from config.settings import Settings

PROMPT = "a very private prompt"
TOKEN = "the-bot-token-of-a-test"


@contextmanager
def logging_to(stream: io.StringIO, **settings: object) -> Iterator[logging.Logger]:
    handler = make_handler(Settings.model_validate({"discord_token": TOKEN} | settings), stream)
    logger = logging.getLogger("test_logs")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)


def test_text_carries_the_job() -> None:
    stream = io.StringIO()
    with logging_to(stream) as logger:
        logger.info("before")
        with job_context("j123"):
            logger.info("during")
        logger.info("after")
    before, during, after = stream.getvalue().splitlines()
    assert "[j123]" in during
    assert "[" not in before + after


def test_json_is_one_object_a_line_even_with_a_traceback() -> None:
    stream = io.StringIO()
    with logging_to(stream, easel_log_format="json") as logger, job_context("j123", [PROMPT]):
        logger.warning("it took %d s", 5)
        try:
            raise RuntimeError(f"{PROMPT} {TOKEN}")
        except RuntimeError:
            logger.exception("it broke")
    plain, broken = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (plain["level"], plain["logger"], plain["job"], plain["message"]) == (
        "WARNING",
        "test_logs",
        "j123",
        "it took 5 s",
    )
    assert "RuntimeError" in broken["exc_info"]
    assert PROMPT not in stream.getvalue()
    assert TOKEN not in stream.getvalue()


async def test_tasks_and_threads_inherit_the_job_and_siblings_do_not() -> None:
    stream = io.StringIO()
    with logging_to(stream) as logger:

        async def job(name: str) -> None:
            bind_job(name)
            await asyncio.sleep(0)
            await asyncio.to_thread(logger.info, "in a thread of %s", name)
            await asyncio.create_task(said(f"in a task of {name}"))

        async def said(line: str) -> None:
            logger.info(line)

        await asyncio.gather(job("one"), job("two"))
        logger.info("of none")
    for line in stream.getvalue().splitlines():
        for name in ("one", "two"):
            assert (f"of {name}" in line) == (f"[{name}]" in line)


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_operator_may_let_prompts_in_but_never_keys(form: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, easel_log_private=True, easel_log_format=form) as logger, job_context("j", [PROMPT]):
        logger.info("%s %s", PROMPT, TOKEN)
    assert PROMPT in stream.getvalue()
    assert TOKEN not in stream.getvalue()
