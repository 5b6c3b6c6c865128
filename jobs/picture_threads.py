"""Threads for the work on pictures: a few at a time, and behind everything else that the bot does.

Pillow lets other threads run while it unpacks and packs, but on a machine with few cores the kernel shares them out:
to pack one large picture takes as long as some hundred acknowledgements, which wait for less than a second.
"""

import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NICENESS: Final = 5
"""More than the process has: a thread with 5 more gets a quarter of a core that another wants as well."""


class PictureThreads:
    """``most``: how many pieces of work are done at the same time; others wait."""

    def __init__(self, most: int) -> None:
        self._executor = ThreadPoolExecutor(most, "pictures", initializer=_step_back)

    async def run(self, work: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """What the work returns, or raises."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: context.run(work, *values, **named))


def _step_back() -> None:
    # Elsewhere niceness is a whole process's.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS))
