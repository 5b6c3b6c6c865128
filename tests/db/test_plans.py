"""What is asked often reads what it needs by an index, however much there is."""

from pathlib import Path

import pytest

from db.database import Database
from db.ledger import SUM_SINCE
from db.reports import BY_DAY, BY_MEMBER, BY_MODEL, ENTRIES

LARGE = ("ledger", "balances", "jobs", "tasks")


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(SUM_SINCE, id="a limit's sum"),
        pytest.param(BY_DAY, id="a report's days"),
        pytest.param(BY_MEMBER, id="a report's members"),
        pytest.param(BY_MODEL, id="a report's models"),
        pytest.param(ENTRIES, id="the export"),
        pytest.param("SELECT coalesce(sum(held), 0) FROM ledger WHERE job_id = ? AND unit = ?", id="what a job holds"),
        pytest.param("DELETE FROM confirmations WHERE asked_at < ?", id="questions that are too old"),
    ],
)
async def test_no_large_table_is_read_from_end_to_end(tmp_path: Path, statement: str) -> None:
    async with Database.open(tmp_path / "easel.db") as database:
        steps = await database.plan(statement)
    assert steps
    assert not [step for step in steps if step.startswith("SCAN") and step.split()[1] in (*LARGE, "confirmations")]
    assert any(step.startswith("SEARCH") for step in steps)
