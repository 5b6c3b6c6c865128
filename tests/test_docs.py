"""The reference pages say what the code does, and no page leads nowhere."""

import re
from pathlib import Path

import pytest

from docs import reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def test_every_generated_page_is_in_step() -> None:
    pages = reference.pages()
    assert set(pages) == {"settings.md", "models.md", "commands.md"}
    behind = [name for name, text in pages.items() if (reference.FOLDER / name).read_text("utf-8") != text]
    assert behind == [], "run `python -m docs.reference`"


def test_every_command_and_option_has_its_place() -> None:
    page = (reference.FOLDER / "commands.md").read_text("utf-8")
    for command in ("imagine", "edit", "reroll", "queue", "cancel", "history", "quota", "quotas set", "quotas grant"):
        assert re.search(rf"^##+ /{command}$", page, re.MULTILINE), command
    for option in ("scheduler", "lora", "speed", "each_member"):
        assert f"| `{option}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(page.read_text("utf-8"))]
    relative = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in relative if not (page.parent / target).exists()] == []
