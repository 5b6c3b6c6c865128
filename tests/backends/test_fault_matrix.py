"""Every fault at every hosted backend, held to the rules for paid calls."""

import pytest

from tests.backends.fault_matrix import VENDORS, faults, play

CELLS = [(name, fault) for name in VENDORS for fault in faults(name)]


@pytest.mark.parametrize(("name", "fault"), CELLS, ids=[f"{name}: {fault}" for name, fault in CELLS])
async def test_no_cell_is_lost_and_nothing_is_accepted_twice(name: str, fault: str) -> None:
    row = await play(name, fault)
    paid = VENDORS[name].offer.is_paid
    assert row.ended != "lost"
    assert row.accepted <= 1
    assert row.sent <= (3 if VENDORS[name].repeatable else 1)
    if fault.startswith("connect"):
        assert row.ended.startswith("again")
        assert row.sent == 0
    if row.ended != "picture":
        assert row.reads
        assert "{" not in row.reads
        assert ":." not in row.reads
    if fault.startswith("output:"):
        assert row.ended in ("failed", "picture failed")
    if row.ended == "picture":
        assert (row.charged > 0) is paid
    if row.ended in ("refused",) or row.ended.startswith("again"):
        assert row.charged == 0
        # What is free may run after all: it is found again by its id.
        assert row.accepted == 0 or not paid
    if row.accepted and row.ended == "unknown":
        assert row.charged > 0
