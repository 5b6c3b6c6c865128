"""Looking back: days in the server's zone, members, models, money, the ledger as a file; pictures by a child."""

import csv
import io
import stat
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from db.reports import LEDGER_COLUMNS, ReportStore
from domain.errors import Code, EaselError
from domain.job import JobState
from jobs import reports
from jobs.charts import NO_MATPLOTLIB, __main__
from jobs.reports import Reports
from tests.building import GUILD, USER, Clock, House, open_house
from tests.doubles import Paint, ScriptedBackend
from tests.jobs.test_charts import drawn

DRAWING = drawn()


def reports_of(house: House, folder: Path) -> Reports:
    return Reports(ReportStore(house.database), house.clock, folder / "charts")


async def test_days_are_those_of_the_servers_time_zone(tmp_path: Path, clock: Clock) -> None:
    # Berlin's clocks change in the night to 29 March: that day has 23 hours.
    clock.now = datetime(2026, 3, 28, 22, 59, tzinfo=UTC)
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", (Paint(),))}, clock=clock) as house:
        await house.reached((await house.ask(count=2)).id, JobState.FINISHED)
        clock.advance(60)
        await house.reached((await house.ask(user=USER + 1)).id, JobState.FINISHED)
        clock.advance(23 * 3600)
        await house.reached((await house.ask(model="local-batch", count=4)).id, JobState.FINISHED)
        await house.ask(guild=GUILD + 1)
        of = reports_of(house, tmp_path)
        whole = await of.review(GUILD, None, 3, ZoneInfo("Europe/Berlin"))
        own = await of.review(GUILD, USER + 1, 3, ZoneInfo("Europe/Berlin"))
    assert whole.days == ((date(2026, 3, 28), 2), (date(2026, 3, 29), 1), (date(2026, 3, 30), 4))
    assert whole.members == ((USER, 6), (USER + 1, 1))
    assert whole.models == (("local-batch", 4), ("local", 3))
    assert whole.money == ()
    assert [pictures for _, pictures in own.days] == [0, 1, 0]
    assert own.members == ()
    assert own.models == (("local", 1),)


async def test_money_is_what_was_charged_by_day(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"wavespeed": ScriptedBackend("wavespeed", (Paint(),))}) as house:
        await house.reached((await house.ask("paid", count=2)).id, JobState.FINISHED)
        review = await reports_of(house, tmp_path).review(GUILD, None, 1, ZoneInfo("UTC"))
    assert [amount for _, amount in review.money] == [20_000]


async def test_the_ledger_as_csv(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_house(tmp_path, clock=clock, working=False) as house:
        await house.ask()
        clock.advance(10 * 86_400)
        job = await house.ask("paid")
        await house.ask(guild=GUILD + 1)
        export = await reports_of(house, tmp_path).export(GUILD, 5)
        everything = await reports_of(house, tmp_path).export(GUILD, 30)
        monkeypatch.setattr(reports, "MOST_ENTRIES", 1)
        cut = await reports_of(house, tmp_path).export(GUILD, 30)
    header, *rows = csv.reader(io.StringIO(export.data.decode()))
    assert tuple(header) == LEDGER_COLUMNS
    assert {row[LEDGER_COLUMNS.index("job_id")] for row in rows} == {job.id}
    assert {row[LEDGER_COLUMNS.index("at")] for row in rows} == {"2026-03-21T12:00:00.000+00:00"}
    assert (export.rows, export.complete) == (len(rows), True)
    assert everything.rows > export.rows
    assert (cut.rows, cut.complete) == (1, False)


async def test_a_picture_comes_from_a_process_of_its_own(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        picture = await reports_of(house, tmp_path).draw(DRAWING)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.width > 500
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, bot; sys.exit('matplotlib' in sys.modules)"],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert loaded.returncode == 0


@pytest.mark.parametrize(("status", "code"), [(NO_MATPLOTLIB, Code.CHARTS_MISSING), (1, Code.CHARTS_FAILED)])
async def test_a_child_that_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: Code
) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\ncat > /dev/null\nexit {status}\n")
    child.chmod(child.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(reports.sys, "executable", str(child))  # type: ignore[attr-defined]
    async with open_house(tmp_path / "data", working=False) as house:
        with pytest.raises(EaselError) as failed:
            await reports_of(house, tmp_path).draw(DRAWING)
    assert failed.value.code is code


async def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child"
    child.write_text("#!/bin/sh\nexec sleep 1000\n")
    child.chmod(child.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(reports.sys, "executable", str(child))  # type: ignore[attr-defined]
    monkeypatch.setattr(reports, "DRAWING_SECONDS", 0.05)
    async with open_house(tmp_path / "data", working=False) as house:
        with pytest.raises(EaselError) as failed:
            await reports_of(house, tmp_path).draw(DRAWING)
    assert failed.value.code is Code.CHARTS_FAILED


def test_without_matplotlib_the_child_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DRAWING.model_dump_json().encode())))
    assert __main__.main() == NO_MATPLOTLIB
