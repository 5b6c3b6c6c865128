"""Looking back over some days: charts as a picture, and the ledger as CSV."""

import asyncio
import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from db.reports import LEDGER_COLUMNS, ReportStore
from domain.errors import Code, InternalError, OperatorError
from domain.money import MicroUSD
from domain.quota import BUCKET_SECONDS, Subject, Unit, Window, window_start
from domain.report import Drawing
from jobs.charts import NO_MATPLOTLIB

MOST_ENTRIES: Final = 50_000
"""Rows of an export: about 5 MB, which Discord takes from every bot."""
MOST_BARS: Final = 10
DRAWING_SECONDS: Final = 60.0
"""How long one picture may take; the first of all makes matplotlib's list of fonts."""
_ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Export:
    """The ledger as a file."""

    data: bytes
    rows: int
    complete: bool
    """False where older rows of the days asked for were left out."""


@dataclass(frozen=True, slots=True)
class Review:
    """What was painted and spent in some days."""

    zone: ZoneInfo
    """In which they are days."""
    days: tuple[tuple[date, int], ...]
    """Pictures of every day, oldest first."""
    members: tuple[tuple[int, int], ...]
    """Those who had most, each with their pictures; none in a report about one."""
    models: tuple[tuple[str, int], ...]
    """Those that painted most, each with its pictures."""
    money: tuple[tuple[date, MicroUSD], ...]
    """Of every day; empty where nothing was paid for."""


class Reports:
    """Puts reports together. At most one picture is drawn at a time."""

    def __init__(self, store: ReportStore, clock: Callable[[], datetime], folder: Path) -> None:
        """``folder``: where matplotlib keeps its list of fonts."""
        self._store = store
        self._clock = clock
        self._folder = folder
        self._drawing = asyncio.Lock()

    async def review(self, guild_id: int, user_id: int | None, days: int, zone: ZoneInfo) -> Review:
        """A guild's last days (today included) in its time zone, or one member's."""
        now = self._clock()
        last = now.astimezone(zone).date()
        dates = [last - timedelta(days=back) for back in reversed(range(days))]
        midnights = [_midnight(day, zone) for day in [*dates, last + timedelta(days=1)]]
        since = midnights[0]
        subject, subject_id = (Subject.GUILD, guild_id) if user_id is None else (Subject.MEMBER, user_id)
        pictures = await self._store.by_day(guild_id, subject, subject_id, Unit.IMAGES, midnights)
        money = await self._store.by_day(guild_id, subject, subject_id, Unit.MONEY, midnights)
        members = await self._store.by_member(guild_id, since, MOST_BARS) if user_id is None else []
        models = await self._store.by_model(guild_id, user_id, since, MOST_BARS)
        return Review(
            zone=zone,
            days=tuple(zip(dates, pictures, strict=True)),
            members=tuple((int(count.key), count.amount) for count in members),
            models=tuple((str(count.key), count.amount) for count in models),
            money=tuple(zip(dates, map(MicroUSD, money), strict=True)) if any(money) else (),
        )

    async def draw(self, drawing: Drawing) -> bytes:
        """The charts as a PNG.

        Raises OperatorError (CHARTS_MISSING) without matplotlib, InternalError where the picture did not come.
        """
        # Nothing of ours is in its environment: it needs no secret.
        environment = {"PATH": os.environ.get("PATH", ""), "MPLCONFIGDIR": str(self._folder), "MPLBACKEND": "Agg"}
        async with self._drawing:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jobs.charts",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=_ROOT,
                env=environment,
            )
            try:
                async with asyncio.timeout(DRAWING_SECONDS):
                    picture, _ = await process.communicate(drawing.model_dump_json().encode())
            except TimeoutError as error:
                raise InternalError(Code.CHARTS_FAILED) from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode == NO_MATPLOTLIB:
            raise OperatorError(Code.CHARTS_MISSING)
        if process.returncode != 0:
            raise InternalError(Code.CHARTS_FAILED)
        return picture

    async def export(self, guild_id: int, days: int) -> Export:
        """The guild's ledger of so many days as CSV, newest first. Times are ISO 8601 (UTC)."""
        since = self._clock() - timedelta(days=days)
        rows = await self._store.entries(guild_id, since, MOST_ENTRIES + 1)
        shown = rows[:MOST_ENTRIES]
        return Export(await asyncio.to_thread(_csv, shown), len(shown), len(rows) == len(shown))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins in the zone, in UTC."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    return window_start(Window.DAY, noon, zone)


def _csv(rows: Sequence[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(LEDGER_COLUMNS)
    at, bucket = LEDGER_COLUMNS.index("at"), LEDGER_COLUMNS.index("bucket")
    for row in rows:
        cells = list(row)
        cells[at] = datetime.fromtimestamp(int(str(row[at])) / 1000, UTC).isoformat(timespec="milliseconds")
        cells[bucket] = datetime.fromtimestamp(int(str(row[bucket])) * BUCKET_SECONDS, UTC).isoformat()
        writer.writerow(cells)
    return text.getvalue().encode()
