"""A newcomer's first minutes: the whole bot, the real worker with the bundled models, a real browser."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from docs.page import CHROMIUM, PATIENCE_MS, opened, whole_bot

if not CHROMIUM.exists() and os.environ.get("CI") != "true":
    pytest.skip(f"{CHROMIUM} is not installed", allow_module_level=True)


@pytest.mark.slow
def test_type_imagine_see_progress_and_picture_reroll_it_and_edit_one_of_your_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.png"
    Image.new("RGB", (200, 200), (220, 40, 40)).save(own)

    with whole_bot(tmp_path / "bot.log") as url, opened(url) as alice:
        alice.type_command("imagine", "a red star on a blue background")
        alice.option("count", "3")  # long enough for a card that changes every two seconds
        alice.option("steps", "50")
        alice.option("seed", "7")
        alice.send()
        card = alice.page.get_by_test_id("message").filter(has=alice.page.get_by_test_id("button-Cancel"))
        expect(card).to_contain_text("step", timeout=PATIENCE_MS)  # live progress, before there is a picture

        first = alice.result(1)
        expect(first).to_contain_text("Seed 7")
        expect(first).to_contain_text("a red star on a blue background")
        expect(first.get_by_test_id("mention")).to_have_text("@Alice")
        expect(card).to_have_count(0)  # the card has gone, the result stays
        expect(first.get_by_test_id("attachment-image")).to_have_count(3)
        picture = Image.open(io.BytesIO(alice.pixels(first)))
        assert picture.size == (128, 128)

        first.get_by_test_id("button-Reroll").click()
        second = alice.result(2)
        assert alice.pixels(second) != alice.pixels(first)

        alice.type_command("edit")
        alice.attach("image", own)
        alice.option("prompt", "make the background green")
        alice.send()
        third = alice.result(3)
        expect(third).to_contain_text("make the background green")
