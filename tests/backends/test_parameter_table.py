"""docs/backends.md says of every documented parameter where it is in the bot and which test holds it: no empty row."""

import re
from pathlib import Path

import pytest

from domain.accelerators import AcceleratorOptions
from tests.servers import runware, wavespeed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backends.md").read_text("utf-8")
SECTION = PAGE.partition("## Every parameter of the pages")[2].partition("\n## ")[0]
VENDORS = ("WaveSpeedAI", "Runware", "ComfyUI", "OpenAI images API")


def table(vendor: str) -> list[tuple[str, str, str]]:
    """Its rows: parameters, where they are, tests."""
    lines = SECTION.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {vendor} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 3, line
        rows.append((cells[0], cells[1], cells[2]))
    return rows


def documented(vendor: str) -> set[str]:
    """Every field that the vendor's pages name, as its strict stand-in has them."""
    if vendor == "WaveSpeedAI":
        return {field for endpoint in wavespeed.ENDPOINTS.values() for field in endpoint}
    return set(runware.FIELDS) - {"taskType"}  # the kind of task: there is only one


@pytest.mark.parametrize("vendor", VENDORS)
def test_no_cell_is_empty_and_every_test_is_there(vendor: str) -> None:
    rows = table(vendor)
    assert rows
    for parameter, where, tests in rows:
        assert parameter, (vendor, parameter)
        assert len(where) > 1, (vendor, parameter)
        names = [name.strip() for name in tests.split(",")]
        assert names, (vendor, parameter)
        for name in names:
            assert (ROOT / "tests" / "backends" / f"{name}.py").is_file(), (vendor, parameter, name)


@pytest.mark.parametrize("vendor", ["WaveSpeedAI", "Runware"])
def test_every_documented_field_has_its_row(vendor: str) -> None:
    named = {name for parameter, _, _ in table(vendor) for name in re.findall(r"`([A-Za-z0-9_]+)`", parameter)}
    assert documented(vendor) - named == set()


def test_all_twelve_accelerator_options_can_be_in_a_preset() -> None:
    """One row stands for them."""
    checks = runware.FIELDS["acceleratorOptions"]
    names = {field.alias or name for name, field in AcceleratorOptions.model_fields.items()}
    assert len(names) == 12
    for name in names:
        assert any(checks({name: value}) for value in (1, True)), f"the pages know no {name}"
    assert not checks({"cache": 1})
