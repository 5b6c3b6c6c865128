"""How the time of quotas, intake and looking back grows with what the database remembers.

    python -m benchmarks.ledger_scale [--rows N] [--jobs N]

The same questions are asked of a database with a thousand ledger rows and a hundred jobs, and of one with a million
and a hundred thousand, spread over two years, twenty servers and five hundred members. Medians of many repetitions, of
the process's CPU time: everything is in memory, and what else the machine does is not counted. ``/usage`` without the
drawing, which does not depend on the size. The query plans of the large database follow.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from db.ledger import SUM_SINCE
from db.reports import BY_DAY, BY_MEMBER, BY_MODEL, ENTRIES, ReportStore
from domain.job import Place
from domain.quota import BUCKET_SECONDS
from domain.request import ImageRequest, Kind
from jobs.quotas import Asker
from jobs.reports import Reports
from tests.building import GUILD, USER, House, open_house

SERVERS, MEMBERS, CHANNELS = 20, 500, 10
YEARS_SECONDS = 2 * 365 * 86_400
REPEATS = 60


async def fill(house: House, rows: int, jobs: int) -> None:
    """Two ledger rows for every reservation (reserve, settle), and finished jobs of one picture."""
    choose, now = random.Random(7), house.clock().timestamp()
    request = ImageRequest(kind=Kind.IMAGINE, model="local", prompt="a fox", seed=7).model_dump_json(
        exclude_defaults=True
    )

    def entries() -> list[tuple[object, ...]]:
        made: list[tuple[object, ...]] = []
        for number in range(rows // 2):
            at = now - YEARS_SECONDS * choose.random()
            who = (
                GUILD + choose.randrange(SERVERS),
                800 + choose.randrange(CHANNELS),
                USER + choose.randrange(MEMBERS),
            )
            for kind, held, used in (("reserve", 1, 0), ("settle", -1, 1)):
                bucket = int(at) // BUCKET_SECONDS
                made.append((int(at * 1000), kind, f"old{number}", *who, "images", bucket, held, used))
        return made

    def old_jobs() -> list[tuple[object, ...]]:
        made: list[tuple[object, ...]] = []
        for number in range(jobs):
            at = int((now - YEARS_SECONDS * (1 - number / jobs)) * 1000)
            who = (
                GUILD + choose.randrange(SERVERS),
                800 + choose.randrange(CHANNELS),
                USER + choose.randrange(MEMBERS),
            )
            made.append((f"old{number}", *who, request, at, at))
        return made

    async with house.database.transaction() as tx:
        await tx.executemany(
            "INSERT INTO ledger (at, kind, job_id, guild_id, channel_id, user_id, unit, bucket, held, used)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            entries(),
        )
        await tx.executemany(
            "INSERT INTO jobs (id, guild_id, channel_id, user_id, request, state, offers, boot, created_at,"
            " finished_at, estimated_seconds, start_tag, finish_tag, told, starts)"
            " VALUES (?, ?, ?, ?, ?, 'posted', '[\"worker:local\"]', 1, ?, ?, 10.0, 0.0, 10.0, 1, 1)",
            old_jobs(),
        )
        await tx.execute(
            "INSERT INTO tasks (job_id, position, seed, submission_id, state)"
            " SELECT id, 0, 7, id, 'done' FROM jobs WHERE state = 'posted'"
        )


async def median(work: Callable[[], Awaitable[object]], repeats: int = REPEATS) -> float:
    """Milliseconds of CPU."""
    took = []
    for _ in range(repeats):
        began = time.process_time()
        await work()
        took.append((time.process_time() - began) * 1000)
    return statistics.median(took)


async def measure(rows: int, jobs: int, console: Console, *, plans: bool) -> dict[str, float]:
    """Milliseconds of each question to a database of that size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with open_house(folder, working=False, easel_max_queued=1_000_000) as house:
            began = time.perf_counter()
            await fill(house, rows, jobs)
            size = (folder / "easel.db").stat().st_size / 2**20
            console.print(
                f"{rows:,} rows, {jobs:,} jobs: {size:.0f} MiB, filled in {time.perf_counter() - began:.0f} s"
            )
            asker = Asker(Place(GUILD, 800, USER))
            reports = Reports(ReportStore(house.database), house.clock, folder)
            users = iter(range(10_000, 20_000))
            found = {
                "/quota": await median(lambda: house.quotas.usage(asker)),
                "/usage, a member's 30 days": await median(lambda: reports.review(GUILD, USER, 30, ZoneInfo("UTC"))),
                "/usage, a server's 30 days": await median(lambda: reports.review(GUILD, None, 30, ZoneInfo("UTC"))),
                # Last: it adds to the line.
                "intake": await median(lambda: house.ask(user=next(users))),
            }
            console.print({name: round(value, 2) for name, value in found.items()})
            if plans:
                for title, statement in {
                    "balance": SUM_SINCE,
                    "by day": BY_DAY,
                    "by member": BY_MEMBER,
                    "by model": BY_MODEL,
                    "export": ENTRIES,
                }.items():
                    for step in await house.database.plan(statement):
                        console.print(f"  {title}: {step}", highlight=False)
    return found


async def main() -> None:
    """Print the table, then the plans."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=100_000)
    given = parser.parse_args()
    console = Console()
    small = await measure(1000, 100, console, plans=False)
    large = await measure(given.rows, given.jobs, console, plans=True)
    table = Table("", "small, ms", "large, ms", "times")
    for name, before in small.items():
        table.add_row(name, f"{before:.2f}", f"{large[name]:.2f}", f"{large[name] / before:.2f}")
    console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
