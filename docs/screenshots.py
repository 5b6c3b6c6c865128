"""Takes the pictures in docs/ and README from the sandbox's page: ``make screenshots``.

The whole bot runs as a newcomer starts it, with the bundled models; each state is brought about as a person would.
Every state is taken as a desktop shows it in dark and a phone in light, and the two that matter most the other way
round too.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Locator, expect

from docs.page import PATIENCE_MS, Studio, opened, whole_bot

PICTURES: Final = Path(__file__).parent / "pictures"
PROMPT: Final = "a red star on a blue background"
PROMPTS: Final = (
    "a green circle on a white background",
    "a yellow triangle on a black background",
    "a purple star on an orange background",
)
DESKTOP: Final = (1100, 760)
PHONE: Final = (390, 844)
DAILY_IMAGES: Final = "14"
"""So few that the states reach the limit."""


def take(studio: Studio, name: str, shown: Locator | None = None, *, both: bool = False) -> None:
    """The page as it is now, on a desktop and on a phone; ``shown`` is scrolled to."""
    looks = [("", DESKTOP, "dark"), ("-phone", PHONE, "light")]
    if both:
        looks += [("-light", DESKTOP, "light"), ("-phone-dark", PHONE, "dark")]
    studio.page.mouse.move(0, 0)
    for ending, (width, height), theme in looks:
        studio.page.set_viewport_size({"width": width, "height": height})
        studio.page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        (shown or studio.last_message()).evaluate("message => message.scrollIntoView({block: 'end'})")
        _keep(studio, f"{name}{ending}.png")
    studio.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    studio.page.evaluate("document.documentElement.dataset.theme = 'dark'")


def command(alice: Studio) -> None:
    """A command being filled in."""
    alice.type_command("imagine", PROMPT)
    _keep(alice, "command.png")
    alice.page.keyboard.press("Escape")


def queued_and_running(alice: Studio) -> None:
    """One that waits, and one that is painted: live progress with a preview."""
    for prompt, count in ((PROMPT, "4"), (PROMPTS[0], "1")):
        alice.type_command("imagine", prompt)
        alice.option("count", count)
        alice.option("steps", "50")
        alice.send()
    cards = alice.page.get_by_test_id("message").filter(has=alice.page.get_by_test_id("button-Cancel"))
    waiting = cards.filter(has_text=PROMPTS[0])
    expect(waiting).to_contain_text("Next in line", timeout=PATIENCE_MS)
    take(alice, "queued", waiting)
    running = cards.filter(has_text=PROMPT)
    expect(running.get_by_test_id("embed-image")).to_be_visible(timeout=PATIENCE_MS)
    take(alice, "running", running)


def four(alice: Studio) -> None:
    """Four pictures of one wish."""
    alice.result(2)
    result = alice.results().filter(has_text=PROMPT)
    expect(result.get_by_test_id("attachment-image")).to_have_count(4)
    take(alice, "four", result)


def result(alice: Studio) -> None:
    """One picture, in a channel where nothing else stands."""
    alice.open_channel("playground")
    alice.type_command("imagine", PROMPT)
    alice.option("seed", "7")
    alice.send()
    expect(alice.result(1)).to_contain_text("Seed 7")
    take(alice, "result", alice.result(1), both=True)


def family(alice: Studio) -> None:
    """Where a picture came from, and what came from it."""
    alice.result(1).get_by_test_id("button-Vary subtly").click()
    alice.result(2).get_by_test_id("button-Reroll").click()
    alice.result(3)
    alice.result(2).get_by_test_id("button-Details").click()
    expect(alice.last_message()).to_contain_text("Parameters", timeout=PATIENCE_MS)
    take(alice, "details")
    alice.last_message().get_by_test_id("button-Family").click()
    expect(alice.last_message()).to_contain_text("rerolled", timeout=PATIENCE_MS)
    take(alice, "family")


def gallery(alice: Studio) -> None:
    """What the server painted."""
    for number, prompt in enumerate(PROMPTS, start=4):
        alice.type_command("imagine", prompt)
        alice.send()
        alice.result(number)
    alice.type_command("gallery")
    alice.send()
    container = alice.last_message().get_by_test_id("container")
    expect(container).to_be_visible(timeout=PATIENCE_MS)
    for picture in container.locator("img").all():
        expect(picture).to_have_js_property("complete", True)
    take(alice, "gallery", both=True)


def private(name: str, expected: str) -> Callable[[Studio], None]:
    """A command whose answer only the asker sees."""

    def state(alice: Studio) -> None:
        alice.type_command(name)
        alice.send()
        expect(alice.last_message()).to_contain_text(expected, timeout=PATIENCE_MS)
        take(alice, name.replace(" ", "-"))

    return state


def settings_panel(ada: Studio) -> None:
    """What admins set, with menus."""
    ada.type_command("settings panel")
    ada.send()
    expect(ada.last_message().get_by_test_id("button-Have no gallery")).to_be_visible(timeout=PATIENCE_MS)
    take(ada, "settings")


def error(alice: Studio) -> None:
    """A file that is no picture: a private answer says what to do."""
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "boat.png"
        broken.write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")
        alice.type_command("edit")
        alice.attach("image", broken)
        alice.option("prompt", "make it blue")
        alice.send()
        expect(alice.last_message()).to_contain_text("can't be read", timeout=PATIENCE_MS)
    take(alice, "error")


def refusal(alice: Studio) -> None:
    """More than the quota leaves: what is used, what is left, and when there is more."""
    alice.type_command("imagine", PROMPT)
    alice.option("count", "4")
    alice.send()
    expect(alice.last_message()).to_contain_text("left", timeout=PATIENCE_MS)
    take(alice, "refusal")


STATES: Final = (
    command, queued_and_running, four, result, family, gallery, private("history", PROMPT[:10]), error, refusal,
    private("quota", "left"), private("usage", "painted"),
)  # fmt: skip


def main() -> int:
    """Take all of them; returns 0."""
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        whole_bot(Path(folder) / "bot.log", EASEL_DEFAULT_DAILY_IMAGES=DAILY_IMAGES) as url,
        opened(url, width=DESKTOP[0], height=DESKTOP[1]) as studio,
    ):
        for state in STATES:
            state(studio)
        studio.become("ada")
        settings_panel(studio)
    return 0


def _keep(studio: Studio, name: str) -> None:
    """Fewer colours: screenshots stay small in the repository."""
    path = PICTURES / name
    studio.shot(path)
    Image.open(path).convert("RGB").quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
