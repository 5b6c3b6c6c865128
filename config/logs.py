"""The log: text for people or JSON for machines, with the job's id on every line that a job caused.

Whose job a line belongs to is told by a context variable: tasks and ``asyncio.to_thread`` inherit it, so that
lines of libraries carry the id as well. Within a job's context its prompt is taken out of every line, whoever
writes it: vendors echo prompts in their refusals.
"""

import copy
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.logging import RichHandler

from config.redaction import Redaction
from config.settings import Settings

SHORTEST_PRIVATE: Final = 4
"""Characters; a shorter prompt is part of too many other words."""
QUIET: Final = ("httpx", "httpcore", "discord.gateway", "discord.client", "uvicorn.error")
"""Libraries that say at INFO what nobody asked for."""
TALKATIVE: Final = ("discord", "aiosqlite", "httpx", "httpcore", "aiohttp", "asyncio", "PIL", "urllib3", "hpack")
"""Libraries whose DEBUG lines quote what people wrote: whole gateway events, statements with their values."""


@dataclass(frozen=True, slots=True)
class _JobContext:
    job_id: str
    private: Redaction


_job: ContextVar[_JobContext | None] = ContextVar("job", default=None)


def bind_job(job_id: str, private: Iterable[str | None] = ()) -> None:
    """From here on, what this task logs belongs to the job; ``private`` is what must not be read there."""
    words = [word for word in private if word is not None and len(word) >= SHORTEST_PRIVATE]
    _job.set(_JobContext(job_id, Redaction(words, shortest=SHORTEST_PRIVATE)))


@contextmanager
def job_context(job_id: str, private: Iterable[str | None] = ()) -> Iterator[None]:
    """The same for the length of the block."""
    before = _job.get()
    bind_job(job_id, private)
    try:
        yield
    finally:
        _job.set(before)


class JobContextFilter(logging.Filter):
    """Put it on a handler: writes the job's id into ``record.job`` and takes its private words out."""

    def __init__(self, *, keep_private: bool) -> None:
        super().__init__()
        self._keep_private = keep_private

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record; drops none."""
        context = _job.get()
        record.job = context.job_id if context is not None else None
        record.of_job = f" [{context.job_id}]" if context is not None else ""
        if context is not None and not self._keep_private:
            context.private.filter(record)
        return True


class _Json(JsonFormatter):
    """Takes the traceback as the filters left it; the library would format it anew, secrets and all."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        if record.exc_text:
            record = copy.copy(record)
            record.exc_info = None
        return super().format(record)


def log_to_stderr(settings: Settings, *, with_time: bool = True) -> None:
    """Set the log up as the settings say. ``with_time``: False where whoever reads our lines adds it."""
    handler = make_handler(settings, sys.stderr, with_time=with_time)
    logging.basicConfig(level=settings.easel_log_level, handlers=[handler], force=True)
    quieten(settings)


def make_handler(settings: Settings, stream: TextIO, *, with_time: bool = True) -> logging.Handler:
    """A handler that writes to the stream, without secrets and without what is private."""
    handler: logging.Handler
    # Lines that another process of ours reads and writes again stay text: JSON inside JSON serves nobody.
    if settings.easel_log_format == "json" and with_time:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(
            _Json(
                ["asctime", "levelname", "name", "job", "message"],
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                datefmt="%Y-%m-%dT%H:%M:%S%z",
                reserved_attrs=[*RESERVED_ATTRS, "of_job"],
            )
        )
    elif stream.isatty():
        handler = RichHandler(console=Console(file=stream), show_path=False, markup=False)
        handler.setFormatter(logging.Formatter("%(name)s:%(of_job)s %(message)s"))
    else:
        handler = logging.StreamHandler(stream)
        time = "%(asctime)s " if with_time else ""
        handler.setFormatter(logging.Formatter(f"{time}%(levelname)-7s %(name)s:%(of_job)s %(message)s"))
    handler.addFilter(JobContextFilter(keep_private=settings.easel_log_private))
    handler.addFilter(Redaction.of(settings))
    return handler


def quieten(settings: Settings) -> None:
    """Keep libraries from saying what nobody needs, or what is private."""
    if settings.easel_log_level != "DEBUG":
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
    elif not settings.easel_log_private:
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.INFO)
