"""Takes the pictures in docs/ and README from the sandbox's page: ``make screenshots``.

The whole bot runs as a newcomer starts it, with the bundled models; each state is brought about as a person would.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import expect

from docs.page import PATIENCE_MS, Studio, opened, whole_bot

PICTURES: Final = Path(__file__).parent / "pictures"
PROMPT: Final = "a red star on a blue background"
PHONE: Final = (390, 844)


def palette(alice: Studio) -> None:
    """A command being filled in."""
    alice.type_command("imagine", PROMPT)
    alice.shot(PICTURES / "command.png")


def running(alice: Studio) -> None:
    """Live progress, with a preview."""
    alice.option("count", "4")
    alice.option("steps", "50")
    alice.send()
    card = alice.page.get_by_test_id("message").filter(has=alice.page.get_by_test_id("button-Cancel"))
    expect(card.get_by_test_id("embed-image")).to_be_visible(timeout=PATIENCE_MS)
    alice.shot(PICTURES / "running.png")


def four(alice: Studio) -> None:
    """Four pictures of one wish."""
    expect(alice.result(1).get_by_test_id("attachment-image")).to_have_count(4)
    alice.shot(PICTURES / "four.png")


def result(alice: Studio) -> None:
    """One picture, in a channel where nothing else stands."""
    alice.open_channel("playground")
    alice.type_command("imagine", PROMPT)
    alice.option("seed", "7")
    alice.send()
    expect(alice.result(1)).to_contain_text("Seed 7")
    alice.page.mouse.move(0, 0)
    alice.shot(PICTURES / "result.png")


def refusal(alice: Studio) -> None:
    """A wish that cannot be granted: private, and it says what to do."""
    alice.type_command("imagine", PROMPT)
    alice.option("size", "64x64")
    alice.send()
    expect(alice.last_message()).to_contain_text("size", timeout=PATIENCE_MS)
    alice.shot(PICTURES / "refusal.png")


def private(name: str, expected: str) -> Callable[[Studio], None]:
    """A command whose answer only the asker sees."""

    def state(alice: Studio) -> None:
        alice.type_command(name)
        alice.send()
        expect(alice.last_message()).to_contain_text(expected, timeout=PATIENCE_MS)
        alice.shot(PICTURES / f"{name}.png")

    return state


STATES: Final = (palette, running, four, result, refusal, private("quota", "left"), private("history", PROMPT[:10]))


def main() -> int:
    """Take all of them; returns 0."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, whole_bot(Path(folder) / "bot.log") as url:
        with opened(url, width=1100, height=760) as alice:
            for state in STATES:
                state(alice)
        with opened(url, width=1100, height=760, theme="light") as alice:
            alice.open_channel("playground")
            alice.result(1)
            alice.shot(PICTURES / "light.png")
        with opened(url, width=PHONE[0], height=PHONE[1]) as alice:
            alice.page.get_by_test_id("menu-button").click()
            alice.open_channel("playground")
            alice.result(1)
            alice.shot(PICTURES / "phone.png")
    for path in PICTURES.glob("*.png"):
        _shrink(path)
    return 0


def _shrink(path: Path) -> None:
    """Fewer colours: screenshots stay small in the repository."""
    Image.open(path).convert("RGB").quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
