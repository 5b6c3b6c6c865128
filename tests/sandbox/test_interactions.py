"""Interactions, answered by a real discord.py bot."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import discord
import pytest
from discord import app_commands

from sandbox import CallbackType, ClientRefuses, DidNotRespond, File, InteractionType, ManualClock, Sandbox
from tests.sandbox.conftest import Bot, Connect, Rest, picture

Interaction = discord.Interaction[Bot]


class Counter(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"count:(?P<number>\d+)"):
    """A button that keeps its state in its custom_id."""

    def __init__(self, number: int) -> None:
        super().__init__(discord.ui.Button(label=f"Count {number}", custom_id=f"count:{number}"))
        self.number = number

    @classmethod
    async def from_custom_id(cls, interaction: Any, item: discord.ui.Item[Any], match: re.Match[str], /) -> Counter:
        return cls(int(match["number"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        view = discord.ui.View(timeout=None)
        view.add_item(Counter(self.number + 1))
        await interaction.response.edit_message(content=f"counted {self.number + 1}", view=view)


class Words(discord.ui.Modal, title="Words"):
    text: discord.ui.TextInput[Words] = discord.ui.TextInput(label="Text", custom_id="text", max_length=20)

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(f"you wrote {self.text.value}", ephemeral=True)


def commands_of(bot: Bot) -> None:
    """A command for each kind of answer."""
    bot.add_dynamic_items(Counter)

    @bot.tree.command()
    async def paint(interaction: Interaction, prompt: str, image: discord.Attachment | None = None) -> None:
        await interaction.response.defer()
        size = len(await image.read()) if image else 0
        await interaction.edit_original_response(content=f"{prompt}: {size} bytes")
        await interaction.followup.send("done", file=discord.File(io.BytesIO(picture()), "done.png"))

    @bot.tree.command()
    async def think(interaction: Interaction, quietly: bool) -> None:
        await interaction.response.defer(ephemeral=quietly, thinking=True)
        await interaction.followup.send("thought")

    @bot.tree.command()
    async def refuse(interaction: Interaction) -> None:
        await interaction.response.send_message("no", ephemeral=True)

    @bot.tree.command()
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def carried(interaction: Interaction) -> None:
        await interaction.response.send_message("here")

    @bot.tree.command()
    async def silent(interaction: Interaction) -> None: ...

    @bot.tree.command()
    async def count(interaction: Interaction) -> None:
        view = discord.ui.View(timeout=None)
        view.add_item(Counter(0))
        await interaction.response.send_message("counted 0", view=view)

    @bot.tree.command()
    async def ask(interaction: Interaction) -> None:
        await interaction.response.send_modal(Words())

    @bot.tree.command()
    async def pick(
        interaction: Interaction, seed: app_commands.Range[int, 0, 9], who: discord.Member | None = None
    ) -> None:
        view = discord.ui.View()
        menu: discord.ui.Select[Any] = discord.ui.Select(
            custom_id="size", placeholder="Size", options=[discord.SelectOption(label=n) for n in ("small", "large")]
        )

        async def chosen(answer: discord.Interaction[Any]) -> None:
            await answer.response.send_message(f"chose {menu.values[0]}")

        menu.callback = chosen  # type: ignore[method-assign, assignment]
        view.add_item(menu)
        await interaction.response.send_message(f"seed {seed} for {who.display_name if who else 'all'}", view=view)

    @pick.autocomplete("seed")
    async def seeds(interaction: Interaction, current: str) -> list[app_commands.Choice[int]]:
        return [app_commands.Choice(name=f"seed {n}", value=n) for n in range(10) if current in str(n)]

    @bot.tree.command()
    async def card(interaction: Interaction) -> None:
        view = discord.ui.LayoutView()
        container: discord.ui.Container[Any] = discord.ui.Container(accent_color=0x57F287)
        thumbnail: discord.ui.Thumbnail[Any] = discord.ui.Thumbnail("attachment://a.png")
        container.add_item(discord.ui.Section(discord.ui.TextDisplay("## A card"), accessory=thumbnail))
        container.add_item(discord.ui.Separator())
        container.add_item(discord.ui.MediaGallery(discord.MediaGalleryItem("attachment://a.png", spoiler=True)))
        view.add_item(container)
        await interaction.response.send_message(view=view, file=discord.File(io.BytesIO(picture()), "a.png"))

    quotas = app_commands.Group(
        name="quotas", description="Quotas", default_permissions=discord.Permissions(manage_guild=True)
    )

    @quotas.command(name="set")
    async def set_quota(interaction: Interaction, limit: int) -> None:
        await interaction.response.send_message(f"limit {limit}", ephemeral=True)

    bot.tree.add_command(quotas)

    @bot.tree.context_menu(name="Edit picture")
    async def edit_picture(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"message {message.content}", ephemeral=True)

    @bot.tree.context_menu(name="Show quota")
    async def show_quota(interaction: Interaction, user: discord.Member) -> None:
        await interaction.response.send_message(f"user {user.name}", ephemeral=True)


@pytest.fixture
async def bot(connect: Connect) -> Bot:
    return await connect(commands_of)


async def test_slash_with_attachment_deferral_edit_and_multipart_follow_up(sandbox: Sandbox, bot: Bot) -> None:
    image = picture()
    used = await sandbox.user("alice").slash(sandbox.studio, "paint", prompt="a fox", image=File("fox.png", image))
    assert await used.acknowledged() is CallbackType.DEFERRED_MESSAGE
    answer = await used.response()
    assert answer.text == f"a fox: {len(image)} bytes"
    assert answer.interaction_name == "paint"
    assert [version.content for version in answer.versions] == ["", answer.content]
    done = await used.followup(1)
    assert done.attachments[0].data == image
    assert (done.attachments[0].width, done.attachments[0].height) == (32, 16)
    assert done.replied_to is answer


@pytest.mark.parametrize("quietly", [True, False])
async def test_the_first_follow_up_fills_the_thinking_message(sandbox: Sandbox, bot: Bot, quietly: bool) -> None:
    used = await sandbox.user("alice").slash(sandbox.studio, "think", quietly=quietly)
    answer = await used.response()
    assert answer.text == "thought"
    assert answer is used.interaction.response
    assert await used.followup(1) is answer
    assert answer.is_ephemeral is quietly


async def test_an_ephemeral_answer_is_for_its_user_alone(sandbox: Sandbox, bot: Bot, rest: Rest) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    answer = await (await alice.slash(sandbox.studio, "refuse")).response()
    assert answer.is_ephemeral
    assert sandbox.messages_in(sandbox.studio, alice) == [answer]
    assert sandbox.messages_in(sandbox.studio, bob) == []
    status, body = await rest("GET", f"/channels/{sandbox.studio.id}/messages/{answer.id}")
    assert (status, body["code"]) == (404, 10008)


async def test_a_dynamic_button_lives_on_after_a_new_client(sandbox: Sandbox, bot: Bot, connect: Connect) -> None:
    alice = sandbox.user("alice")
    card = await (await alice.slash(sandbox.studio, "count")).response()
    await (await alice.click(card, "Count 0")).response()
    assert card.text == "counted 1"
    await bot.close()
    await connect(commands_of)
    clicked = await alice.click(card, "count:1")
    assert await clicked.acknowledged() is CallbackType.UPDATE
    assert card.text == "counted 2"
    assert [button.label for button in card.buttons] == ["Count 2"]
    with pytest.raises(ClientRefuses, match="Count 2"):
        await alice.click(card, "Count 0")
    await (await alice.click(card, "Count 0", version=0)).response()
    assert card.text == "counted 1"
    await (await alice.click(card, "count:41", raw=True)).response()
    assert card.text == "counted 42"


async def test_a_modal_is_filled_in_and_submitted(sandbox: Sandbox, bot: Bot) -> None:
    alice = sandbox.user("alice")
    modal = await (await alice.slash(sandbox.studio, "ask")).modal()
    assert modal.title == "Words"
    with pytest.raises(ClientRefuses, match="required"):
        await alice.submit_modal(modal, {"Text": ""})
    with pytest.raises(ClientRefuses, match="too many"):
        await alice.submit_modal(modal, {"Text": "x" * 21})
    answer = await (await alice.submit_modal(modal, {"text": "hello"})).response()
    assert answer.text == "you wrote hello"


async def test_autocomplete_selects_and_resolved_members(sandbox: Sandbox, bot: Bot) -> None:
    alice = sandbox.user("alice")
    choices = await alice.autocomplete(sandbox.studio, "pick", "seed", "7")
    assert choices == [{"name": "seed 7", "value": 7}]
    card = await (await alice.slash(sandbox.studio, "pick", seed=7, who=sandbox.user("bob"))).response()
    assert card.content == "seed 7 for Bob"
    chosen = await (await alice.select(card, "Size", ["large"])).response()
    assert chosen.text == "chose large"
    with pytest.raises(ClientRefuses):
        await alice.select(card, "Size", ["huge"])


async def test_components_v2_resolve_their_attachments(sandbox: Sandbox, bot: Bot) -> None:
    card = await (await sandbox.user("alice").slash(sandbox.studio, "card")).response()
    section, _, gallery = card.components[0]["components"]
    assert card.text == "## A card"
    assert section["accessory"]["media"]["url"] == card.attachments[0].url
    assert gallery["items"][0]["media"]["attachment_id"] == str(card.attachments[0].id)
    assert gallery["items"][0]["spoiler"] is True


async def test_context_menus_of_messages_and_users(sandbox: Sandbox, bot: Bot) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    message = await bob.send(sandbox.studio, "look")
    assert (await (await alice.message_command(message, "Edit picture")).response()).text == "message look"
    used = await alice.user_command(sandbox.studio, bob.user, "Show quota")
    assert (await used.response()).text == "user bob"


async def test_a_sub_command_for_managers_is_hidden_from_members(sandbox: Sandbox, bot: Bot) -> None:
    with pytest.raises(ClientRefuses, match="no command"):
        await sandbox.user("alice").slash(sandbox.studio, "quotas set", limit=5)
    answer = await (await sandbox.user("ada").slash(sandbox.studio, "quotas set", limit=5)).response()
    assert answer.text == "limit 5"
    raw = await sandbox.user("alice").slash(sandbox.studio, "quotas set", limit=9, raw=True)
    assert (await raw.response()).text == "limit 9"


async def test_the_client_refuses_what_discord_would_and_raw_does_not(sandbox: Sandbox, bot: Bot) -> None:
    alice = sandbox.user("alice")
    for values in ({"seed": 10}, {"seed": "7"}, {}, {"seed": 1, "other": 2}):
        with pytest.raises(ClientRefuses):
            await alice.slash(sandbox.studio, "pick", options=values)
    used = await alice.slash(sandbox.studio, "pick", seed=99999, raw=True)
    assert (await used.response()).content == "seed 99999 for all"


async def test_three_seconds_to_acknowledge(sandbox: Sandbox, bot: Bot, clock: ManualClock, rest: Rest) -> None:
    used = await sandbox.user("alice").slash(sandbox.studio, "silent")
    waiting = asyncio.create_task(used.acknowledged())
    await asyncio.sleep(0)
    clock.advance(3)
    with pytest.raises(DidNotRespond):
        await waiting
    inner = used.interaction
    status, body = await rest("POST", f"/interactions/{inner.id}/{inner.token}/callback", {"type": 5})
    assert (status, body["code"]) == (404, 10062)


async def test_only_one_acknowledgement(sandbox: Sandbox, bot: Bot, rest: Rest) -> None:
    used = await sandbox.user("alice").slash(sandbox.studio, "refuse")
    await used.acknowledged()
    path = f"/interactions/{used.interaction.id}/{used.interaction.token}/callback"
    status, body = await rest("POST", path, {"type": 5})
    assert (status, body["code"]) == (400, 40060)
    status, body = await rest("POST", f"/interactions/{used.interaction.id}/forged/callback", {"type": 5})
    assert (status, body["code"]) == (404, 10062)


async def test_the_token_lives_fifteen_minutes(sandbox: Sandbox, bot: Bot, clock: ManualClock, rest: Rest) -> None:
    used = await sandbox.user("alice").slash(sandbox.studio, "refuse")
    await used.acknowledged()
    path = f"/webhooks/{sandbox.world.application.id}/{used.interaction.token}"
    clock.advance(899)
    assert (await rest("PATCH", path + "/messages/@original", {"content": "still"}))[0] == 200
    clock.advance(1)
    status, body = await rest("PATCH", path + "/messages/@original", {"content": "late"})
    assert (status, body["code"]) == (401, 50027)
    status, body = await rest("POST", path, {"content": "late"})
    assert (status, body["code"]) == (401, 50027)


async def test_the_original_can_be_read_edited_and_deleted(sandbox: Sandbox, bot: Bot, rest: Rest) -> None:
    used = await sandbox.user("alice").slash(sandbox.studio, "count")
    card = await used.response()
    path = f"/webhooks/{sandbox.world.application.id}/{used.interaction.token}/messages/@original"
    assert (await rest("GET", path))[1]["id"] == str(card.id)
    assert (await rest("DELETE", path))[0] == 204
    assert card.deleted
    assert (await rest("GET", path))[1]["code"] == 10008


async def test_answers_of_the_wrong_kind_are_refused(sandbox: Sandbox, bot: Bot, rest: Rest) -> None:
    used = await sandbox.user("alice").slash(sandbox.studio, "silent")
    path = f"/interactions/{used.interaction.id}/{used.interaction.token}/callback"
    for kind in (6, 7, 8):  # an update needs a message, choices an autocomplete
        status, body = await rest("POST", path, {"type": kind, "data": {"choices": []} if kind == 8 else {}})
        assert (status, body["code"]) == (400, 50035)
    await rest("POST", path, {"type": 4, "data": {"content": "at last"}})
    assert (await used.response()).text == "at last"


async def test_a_user_install_gets_five_follow_ups(sandbox: Sandbox, bot: Bot, rest: Rest) -> None:
    used = await sandbox.user("alice").slash(sandbox.furniture.book_club, "carried")
    assert used.interaction.owners == {"1": str(sandbox.user("alice").id)}
    await used.acknowledged()
    path = f"/webhooks/{sandbox.world.application.id}/{used.interaction.token}"
    answers = [await rest("POST", path, {"content": f"{n}"}) for n in range(6)]
    assert [status for status, _ in answers] == [200] * 5 + [400]
    assert answers[5][1]["code"] == 40094


@pytest.mark.parametrize("place", ["book_club", "conversation", "group"])
async def test_a_command_is_where_its_user_brings_it_and_nowhere_else(sandbox: Sandbox, bot: Bot, place: str) -> None:
    channel = getattr(sandbox.furniture, place)
    answer = await (await sandbox.user("alice").slash(channel, "carried")).response()
    assert answer.text == "here"
    with pytest.raises(ClientRefuses):
        await sandbox.user("bob").slash(channel, "carried")
    with pytest.raises(ClientRefuses):
        await sandbox.user("alice").slash(channel, "refuse")


async def test_where_the_bot_is_not_it_can_neither_look_nor_write(sandbox: Sandbox, bot: Bot, rest: Rest) -> None:
    for channel in (sandbox.furniture.book_club, sandbox.furniture.conversation, sandbox.furniture.group):
        answer = await (await sandbox.user("alice").slash(channel, "carried")).response()
        message = f"/channels/{channel.id}/messages/{answer.id}"
        for method, path, body in [
            ("POST", f"/channels/{channel.id}/messages", {"content": "x"}),
            ("GET", f"/channels/{channel.id}/messages", None),
            ("PATCH", message, {"content": "x"}),
            ("DELETE", message, None),
        ]:
            status, said = await rest(method, path, body)
            assert (status, said["code"]) == (403, 50001)


async def test_strangers_can_not_be_written_to(sandbox: Sandbox, rest: Rest) -> None:
    stranger = sandbox.add_user("zoe", sandbox.furniture.visited)
    channel = await stranger.direct_channel()
    status, said = await rest("POST", f"/channels/{channel.id}/messages", {"content": "x"})
    assert (status, said["code"]) == (403, 50007)
    sandbox.world.application.installed_by.add(stranger.id)
    assert (await rest("POST", f"/channels/{channel.id}/messages", {"content": "x"}))[0] == 200


async def test_a_direct_message_has_its_own_context(sandbox: Sandbox, bot: Bot) -> None:
    alice = sandbox.user("alice")
    answer = await (await alice.slash(await alice.direct_channel(), "refuse")).response()
    assert answer.guild_id is None


async def test_a_forged_interaction_reaches_the_bot(sandbox: Sandbox, bot: Bot) -> None:
    used = await sandbox.user("alice").forge(
        sandbox.studio, InteractionType.COMMAND, {"id": "1", "name": "gone", "type": 1}
    )
    await asyncio.wait_for(bot.failed.wait(), 60)
    assert isinstance(bot.failures[0], app_commands.CommandNotFound)
    assert used.interaction.callback is None
