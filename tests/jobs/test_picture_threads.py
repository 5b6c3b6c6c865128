"""Work on pictures waits for the rest, and not the rest for it."""

import asyncio
import contextvars
import os
import sys
import threading

import pytest

from jobs.picture_threads import NICENESS, PictureThreads


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's own on Linux alone")
async def test_its_threads_alone_step_back() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    ours = niceness()
    assert await PictureThreads(1).run(niceness) == min(19, ours + NICENESS)
    assert niceness() == ours


async def test_no_more_at_a_time_than_there_may_be() -> None:
    threads = PictureThreads(2)
    both = threading.Barrier(2)
    inside = 0
    most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        both.wait()
        with lock:
            inside -= 1
        both.wait()

    await asyncio.gather(*(threads.run(work) for _ in range(6)))
    assert most == 2


async def test_its_log_lines_name_the_job_too() -> None:
    job: contextvars.ContextVar[str] = contextvars.ContextVar("job")
    job.set("abc")
    assert await PictureThreads(1).run(job.get) == "abc"


async def test_what_breaks_in_a_thread_is_told() -> None:
    def breaks() -> None:
        raise LookupError("in a thread")

    with pytest.raises(LookupError, match="in a thread"):
        await PictureThreads(1).run(breaks)
