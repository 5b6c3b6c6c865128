"""The web page in a real browser, with a real bot on the other side."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import pytest
from discord import app_commands
from playwright.async_api import Page, async_playwright, expect

from sandbox import ManualClock, Sandbox
from tests.sandbox.conftest import Bot, Connect, picture

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

if not CHROMIUM.exists() and os.environ.get("CI") != "true":
    pytest.skip(f"{CHROMIUM} is not installed", allow_module_level=True)


@pytest.fixture
async def page(sandbox: Sandbox) -> AsyncIterator[Page]:
    """Alice's page, which must not have thrown anything at the end."""
    thrown: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = await browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
        opened.set_default_timeout(60_000)
        opened.on("pageerror", lambda error: thrown.append(str(error)))
        opened.on("console", lambda message: thrown.append(message.text) if message.type == "error" else None)
        await opened.goto(sandbox.url)
        await opened.wait_for_selector("#app[data-ready]")
        yield opened
        await browser.close()
    assert thrown == []


class Studio:
    """What the bot of these tests does: it paints in steps that the test allows one by one."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    def setup(self, bot: Bot) -> None:
        @bot.tree.command(description="Paint a picture")
        @app_commands.describe(prompt="What to paint", model="Which model", seed="The same seed, the same picture")
        async def imagine(
            interaction: discord.Interaction[Bot],
            prompt: str,
            model: str | None = None,
            seed: app_commands.Range[int, 0, 9] = 7,
            image: discord.Attachment | None = None,
        ) -> None:
            await interaction.response.defer()
            await self.go_on.wait()
            size = len(await image.read()) if image else 0
            await interaction.edit_original_response(content=f"step 1 of 2, {size} bytes")
            assert isinstance(interaction.channel, discord.TextChannel)
            view = discord.ui.View(timeout=None)
            view.add_item(discord.ui.Button(label="Reroll", custom_id="reroll"))
            view.add_item(discord.ui.Button(label="Edit", custom_id="edit"))
            view.add_item(discord.ui.Button(label="Broken", custom_id="broken"))
            await interaction.channel.send(
                f"{interaction.user.mention} **{prompt}** with {model}, seed {seed}",
                file=discord.File(io.BytesIO(picture(256, 256)), "fox.png"),
                view=view,
            )

        @imagine.autocomplete("model")
        async def models(interaction: discord.Interaction[Bot], current: str) -> list[app_commands.Choice[str]]:
            names = [name for name in ("HiDream-I1-Dev", "HiDream-I1-Full") if current.lower() in name.lower()]
            return [app_commands.Choice(name=name, value=name) for name in names]

        @bot.tree.command(description="A card of Components V2")
        async def card(interaction: discord.Interaction[Bot]) -> None:
            await interaction.response.send_message(
                view=Card(), file=discord.File(io.BytesIO(picture(64, 64)), "fox.png")
            )

        @bot.tree.command(description="For everywhere")
        @app_commands.allowed_installs(guilds=True, users=True)
        @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
        async def carried(interaction: discord.Interaction[Bot]) -> None: ...

        @bot.tree.command(description="Never answers")
        async def silent(interaction: discord.Interaction[Bot]) -> None: ...

        @bot.tree.command(description="For managers")
        @app_commands.default_permissions(manage_guild=True)
        async def settings(interaction: discord.Interaction[Bot]) -> None:
            await interaction.response.send_message("settings", ephemeral=True)

        @bot.tree.context_menu(name="Edit picture")
        async def edit_picture(interaction: discord.Interaction[Bot], message: discord.Message) -> None:
            await interaction.response.send_message("a context menu", ephemeral=True)

        @bot.listen()
        async def on_interaction(interaction: discord.Interaction[Any]) -> None:
            data: Any = interaction.data or {}
            if data.get("custom_id") == "reroll":
                await interaction.response.send_message("rerolled", ephemeral=True)
            if data.get("custom_id") == "size":
                await interaction.response.send_message(f"chose {data['values'][0]}", ephemeral=True)
            if data.get("custom_id") == "edit":
                await interaction.response.send_modal(EditModal())


class Card(discord.ui.LayoutView):
    """A container with words, a picture and a select menu."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        container: discord.ui.Container[Card] = discord.ui.Container(accent_color=0x57F287)
        container.add_item(discord.ui.TextDisplay("## A fox"))
        container.add_item(discord.ui.MediaGallery(discord.MediaGalleryItem("attachment://fox.png")))
        menu: discord.ui.Select[Card] = discord.ui.Select(
            custom_id="size",
            placeholder="Size",
            options=[discord.SelectOption(label=size) for size in ("small", "large")],
        )
        container.add_item(discord.ui.ActionRow(menu))
        self.add_item(container)


class EditModal(discord.ui.Modal, title="Edit picture"):
    words: discord.ui.TextInput[EditModal] = discord.ui.TextInput(label="What to change", custom_id="words")

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(f"will **{self.words.value}**", ephemeral=True)


@pytest.fixture
async def studio(connect: Connect) -> Studio:
    made = Studio()
    await connect(made.setup)
    return made


async def type_command(page: Page, text: str) -> None:
    await page.get_by_test_id("composer-input").fill(text)
    await expect(page.get_by_test_id("command-palette")).to_be_visible()
    await page.keyboard.press("Enter")


async def test_a_picture_is_asked_for_watched_and_worked_with(sandbox: Sandbox, studio: Studio, page: Page) -> None:
    await expect(page.get_by_test_id("bot-state")).to_have_text("Easel is online")
    await type_command(page, "/ima")
    await expect(page.get_by_test_id("option-input-prompt")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("option-chip-prompt")).to_contain_text("This option is required")
    await page.keyboard.type("a fox")
    await page.get_by_test_id("command-option-model").click()
    await expect(page.get_by_test_id("option-choice")).to_have_text(["HiDream-I1-Dev", "HiDream-I1-Full"])
    await page.keyboard.type("full")
    await expect(page.get_by_test_id("option-choice")).to_have_text(["HiDream-I1-Full"])
    await page.keyboard.press("Enter")
    await page.get_by_test_id("command-option-seed").click()
    await page.keyboard.type("12")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("option-chip-seed")).to_contain_text("At most 9")
    await page.get_by_test_id("option-input-seed").fill("3")
    await page.keyboard.press("Enter")

    await expect(page.get_by_test_id("thinking")).to_contain_text("Easel is thinking")
    await expect(page.get_by_test_id("interaction-header")).to_have_text("Alice used /imagine")
    studio.go_on.set()
    await expect(page.get_by_text("step 1 of 2")).to_be_visible()
    await expect(page.get_by_test_id("thinking")).to_have_count(0)
    result = page.locator(".message.pings-me")
    await expect(result).to_contain_text("@Alice a fox with HiDream-I1-Full, seed 3")
    await expect(result.get_by_test_id("attachment-image")).to_have_js_property("naturalWidth", 256)

    await result.get_by_test_id("attachment-image").click()
    await expect(page.get_by_test_id("lightbox-image")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_test_id("lightbox")).to_have_count(0)

    await result.get_by_test_id("button-Reroll").click()
    private = page.locator(".message.ephemeral")
    await expect(private.get_by_test_id("message-text")).to_have_text("rerolled")
    await expect(private).to_contain_text("Only you can see this")
    await private.get_by_test_id("dismiss").click()
    await expect(private).to_have_count(0)

    await result.get_by_test_id("button-Edit").click()
    await page.get_by_test_id("modal-field-words").fill("make it blue")
    await page.get_by_test_id("modal-submit").click()
    await expect(page.get_by_text("will make it blue")).to_be_visible()
    await expect(page.locator("strong", has_text="make it blue")).to_be_visible()

    await result.click(button="right")
    await page.get_by_test_id("context-command-Edit picture").click()
    await expect(page.get_by_text("a context menu")).to_be_visible()


async def test_a_file_is_given_to_a_command(sandbox: Sandbox, studio: Studio, page: Page) -> None:
    image = picture()
    studio.go_on.set()
    await type_command(page, "/imagine")
    await page.keyboard.type("as this")
    await page.get_by_test_id("command-option-image").click()
    file: Any = {"name": "cat.png", "mimeType": "image/png", "buffer": image}
    await page.get_by_test_id("option-file-image").set_input_files(file)
    await expect(page.get_by_test_id("drop-image")).to_contain_text("cat.png")
    await page.get_by_test_id("option-input-prompt").press("Enter")
    await expect(page.get_by_text(f"step 1 of 2, {len(image)} bytes")).to_be_visible()


async def test_components_v2_are_drawn_and_chosen_in(sandbox: Sandbox, studio: Studio, page: Page) -> None:
    await type_command(page, "/card")
    await page.keyboard.press("Enter")
    container = page.get_by_test_id("container")
    await expect(container.locator("h4")).to_have_text("A fox")
    await expect(container.get_by_test_id("attachment-image")).to_have_js_property("naturalWidth", 64)
    await expect(page.get_by_test_id("attachment-image")).to_have_count(1)
    await container.get_by_test_id("select-size").press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.ephemeral").get_by_test_id("message-text")).to_have_text("chose large")


async def test_files_are_pasted_into_a_message(sandbox: Sandbox, page: Page) -> None:
    await page.get_by_test_id("composer-input").evaluate(
        """(field) => {
            const data = new DataTransfer();
            data.items.add(new File(["words"], "notes.txt", {type: "text/plain"}));
            field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }"""
    )
    await expect(page.get_by_test_id("upload-tray")).to_contain_text("notes.txt")
    await page.get_by_test_id("composer-input").press("Enter")
    await expect(page.get_by_test_id("attachment-file")).to_contain_text("notes.txt")


async def test_a_silent_bot_is_told_of(sandbox: Sandbox, studio: Studio, page: Page, clock: ManualClock) -> None:
    studio.go_on.set()
    await (await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="x")).response()
    await page.get_by_test_id("button-Broken").click()
    await expect(page.get_by_test_id("button-Broken")).to_have_attribute("aria-busy", "true")
    await type_command(page, "/silent")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("sending")).to_be_visible()
    clock.advance(3)
    await expect(page.get_by_test_id("did-not-respond")).to_contain_text("The application did not respond")
    await expect(page.get_by_test_id("interaction-failed")).to_have_text("This interaction failed")


async def test_the_account_switch_changes_who_one_is(sandbox: Sandbox, studio: Studio, page: Page) -> None:
    await page.get_by_test_id("composer-input").fill("/")
    await expect(page.get_by_test_id("command-imagine")).to_be_visible()
    await expect(page.get_by_test_id("command-settings")).to_have_count(0)
    await page.keyboard.press("Escape")
    await page.get_by_test_id("composer-input").fill("hello <@" + str(sandbox.user("ada").id) + ">")
    await page.keyboard.press("Enter")
    mine = page.get_by_test_id("message").filter(has_text="hello @Ada")
    await expect(mine).not_to_have_class("pings-me")

    await page.get_by_test_id("account-switcher").click()
    await page.get_by_test_id("account-ada").click()
    await expect(page.get_by_test_id("account-switcher")).to_contain_text("Ada")
    await expect(page.locator(".message.pings-me")).to_contain_text("hello @Ada")
    await type_command(page, "/settings")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("message").filter(has_text="Only you can see this")).to_contain_text("settings")

    await page.get_by_test_id("channel-playground").click()
    await expect(page.get_by_test_id("channel-title")).to_have_text("playground")
    await expect(page.get_by_test_id("message")).to_have_count(0)
    await page.get_by_test_id("theme-toggle").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")


async def test_what_is_written_never_becomes_markup(sandbox: Sandbox, page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)> **bold** `code` ||hidden|| [x](javascript:alert(1)) <t:0:R>"
    await sandbox.user("bob").send(sandbox.studio, hostile)
    text = page.get_by_test_id("message-text")
    await expect(text).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(text.locator("img, a")).to_have_count(0)
    await expect(text.locator("strong")).to_have_text("bold")
    await expect(text.locator("code")).to_have_text("code")
    await expect(text.locator("time")).to_contain_text("years ago")
    spoiler = text.locator(".spoiler")
    await expect(spoiler.locator("span")).to_be_hidden()
    await spoiler.click()
    await expect(spoiler.locator("span")).to_be_visible()


async def test_a_link_to_a_message_leads_there(sandbox: Sandbox, page: Page) -> None:
    bob = sandbox.user("bob")
    target = await bob.send(sandbox.channel("playground"), "over here")
    url = f"https://discord.com/channels/{sandbox.guild.id}/{target.channel_id}/{target.id}"
    await bob.send(sandbox.studio, f"{url} or [there]({url})")
    links = page.get_by_test_id("message-link")
    await expect(links).to_have_text(["#playground › 💬", "there"])
    await links.nth(1).click()
    await expect(page.get_by_test_id("channel-title")).to_have_text("playground")
    await expect(page.get_by_text("over here")).to_be_in_viewport()


async def test_it_fits_a_phone(sandbox: Sandbox, studio: Studio, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect(page.get_by_test_id("channel-studio")).to_be_hidden()
    await page.get_by_test_id("menu-button").click()
    await page.get_by_test_id("channel-playground").click()
    await expect(page.get_by_test_id("channel-title")).to_have_text("playground")
    assert await page.evaluate("document.documentElement.scrollWidth") == 390


async def test_the_language_of_the_client_is_chosen_and_goes_with_interactions(
    sandbox: Sandbox, studio: Studio, page: Page
) -> None:
    await page.get_by_test_id("account-switcher").click()
    await page.get_by_test_id("locale").select_option("de")
    await expect(page.get_by_test_id("account-menu")).to_be_hidden()
    assert sandbox.user("alice").user.locale == "de"
    await page.get_by_test_id("account-switcher").click()
    await expect(page.get_by_test_id("locale")).to_have_value("de")


async def test_places_without_the_bot_have_its_commands_for_who_has_added_it(
    sandbox: Sandbox, studio: Studio, page: Page
) -> None:
    await page.get_by_test_id("guild-direct").click()
    for name in ("Easel", "Bob", "Weekend"):
        await page.get_by_test_id(f"channel-{name}").click()
        await expect(page.get_by_test_id("channel-title")).to_have_text(name)
    await page.get_by_test_id("composer-input").fill("/")
    await expect(page.get_by_test_id("command-carried")).to_be_visible()
    await page.get_by_test_id("account-switcher").click()
    await page.get_by_test_id("installed").uncheck()
    await sandbox.wait_until(lambda: sandbox.world.application.installed_by == set(), what="the app's removal")
    await page.get_by_test_id("composer-input").fill("/")
    await expect(page.get_by_test_id("command-carried")).to_have_count(0)
