"""Drives the sandbox's page as a person does; the screenshots and the browser test share it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Locator, Page, expect, sync_playwright

ROOT: Final = Path(__file__).parents[1]
CHROMIUM: Final = Path("/usr/bin/chromium")
PATIENCE_MS: Final = 60_000
"""How long anything is waited for before it counts as not coming; the worker loads its models within it."""
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def whole_bot(log: Path, **settings: str) -> Iterator[str]:
    """``bot.py sandbox`` as a newcomer starts it; yields the page's address once it says ``easel ready``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "bot.py", "sandbox", "--port", "0"],
            cwd=ROOT,
            env={**environment, **settings},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait()
    assert status == 0, f"the bot ended with {status}: {log.read_text()}"


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    address = ""
    for line in process.stdout:
        if found := re.search(r"http://[\d.:]+/", line):
            address = found[0]
        if line == "easel ready\n":
            return address
    raise AssertionError(f"the bot did not get ready: {log.read_text()}")


@contextmanager
def opened(
    url: str, *, width: int = 1280, height: int = 800, theme: Literal["dark", "light"] = "dark"
) -> Iterator["Studio"]:
    """The page in a browser of its own, as Alice sees it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        page.wait_for_selector("#app[data-ready]")
        try:
            yield Studio(page)
        finally:
            browser.close()


class Studio:
    """What a person does on the page, and what they see."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def type_command(self, name: str, text: str = "") -> None:
        """Open the palette, take the command, and fill in its first option."""
        self.page.get_by_test_id("composer-input").click()
        self.page.keyboard.type(f"/{name}")
        self.page.get_by_test_id(f"command-{name.replace(' ', '-')}").click()
        if text:
            self.page.keyboard.type(text)

    def option(self, name: str, value: str) -> None:
        """Add an optional option and fill it in."""
        added = self.page.get_by_test_id(f"option-input-{name}")
        if not added.is_visible():
            self.page.get_by_test_id("more-options").click()
            self.page.get_by_test_id(f"command-option-{name}").click()
        added.fill(value)

    def attach(self, option: str, path: Path) -> None:
        """Choose a file for an attachment option."""
        file = self.page.get_by_test_id(f"option-file-{option}")
        if not file.count():
            self.page.get_by_test_id("more-options").click()
            self.page.get_by_test_id(f"command-option-{option}").click()
        file.set_input_files(path)

    def send(self) -> None:
        """Send the command."""
        self.page.get_by_test_id("send-button").click()

    def results(self) -> Locator:
        """Messages that carry pictures and the button Reroll, oldest first."""
        messages = self.page.get_by_test_id("message")
        with_button = messages.filter(has=self.page.get_by_test_id("button-Reroll"))
        return with_button.filter(has=self.page.get_by_test_id("attachment-image"))

    def result(self, number: int = 1) -> Locator:
        """Wait for the so-maniest result of the channel."""
        found = self.results().nth(number - 1)
        expect(found).to_be_visible(timeout=PATIENCE_MS)
        for picture in found.get_by_test_id("attachment-image").all():
            expect(picture).to_have_js_property("complete", True)
        return found

    def last_message(self) -> Locator:
        """The lowest message of the channel."""
        return self.page.get_by_test_id("message").last

    def pixels(self, result: Locator) -> bytes:
        """The first picture of a result, as its file's bytes."""
        source = result.get_by_test_id("attachment-image").first.get_attribute("src")
        assert source is not None
        return self.page.request.get(source).body()

    def open_channel(self, name: str) -> None:
        """Go to another channel."""
        self.page.get_by_test_id(f"channel-{name}").click()
        expect(self.page.get_by_test_id("channel-title")).to_have_text(name)

    def become(self, username: str) -> None:
        """Switch to another account."""
        self.page.get_by_test_id("account-switcher").click()
        self.page.get_by_test_id(f"account-{username}").click()
        expect(self.page.get_by_test_id("account-switcher")).to_contain_text(username)

    def shot(self, path: Path) -> None:
        """Take a picture of the page."""
        self.page.screenshot(path=path)
