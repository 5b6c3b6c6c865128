"""Messages sent with the bot's own token, and who may see and do what."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aiohttp
import discord
import pytest

from sandbox import ChannelType, ClientRefuses, File, ManualClock, Permission, Sandbox
from tests.sandbox.conftest import Bot, Connect, Rest, picture


def text_channel(bot: Bot, sandbox: Sandbox, name: str = "studio") -> discord.TextChannel:
    channel = bot.get_channel(sandbox.channel(name).id)
    assert isinstance(channel, discord.TextChannel)
    return channel


async def test_the_same_nonce_finds_the_first_message(sandbox: Sandbox, connect: Connect, clock: ManualClock) -> None:
    channel = text_channel(await connect(), sandbox)
    first = await channel.send("once", nonce="job-1")
    assert (await channel.send("twice", nonce="job-1")).id == first.id
    assert len(sandbox.studio.messages) == 1
    clock.advance(301)
    assert (await channel.send("later", nonce="job-1")).id != first.id


async def test_mentions_ping_only_whom_they_may(sandbox: Sandbox, connect: Connect) -> None:
    channel = text_channel(await connect(), sandbox)
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    text = f"{alice.mention} {bob.mention} @everyone"
    await channel.send(text, allowed_mentions=discord.AllowedMentions.none())
    await channel.send(text, allowed_mentions=discord.AllowedMentions(everyone=False, users=[discord.Object(alice.id)]))
    await channel.send(text)
    silent, one, everybody = sandbox.studio.messages.values()
    assert not silent.pings
    assert one.pings.users == {alice.id}
    assert not one.pings.everyone
    assert everybody.pings.users == {alice.id, bob.id}
    assert everybody.pings.everyone
    await (await channel.fetch_message(silent.id)).edit(content=alice.mention)
    assert not silent.pings, "an edit notifies nobody"


async def test_replies_ping_their_author_unless_told_otherwise(sandbox: Sandbox, connect: Connect) -> None:
    channel = text_channel(await connect(), sandbox)
    asked = await sandbox.user("bob").send(sandbox.studio, "well?")
    found = await channel.fetch_message(asked.id)
    await found.reply("yes", mention_author=False)
    await found.reply("yes")
    quiet, loud = list(sandbox.studio.messages.values())[1:]
    assert quiet.replied_to is asked
    assert not quiet.pings
    assert loud.pings.users == {asked.author.id}


async def test_files_of_an_edit_are_kept_added_and_dropped(sandbox: Sandbox, connect: Connect) -> None:
    channel = text_channel(await connect(), sandbox)
    sent = await channel.send(files=[discord.File(io.BytesIO(picture()), f"{n}.png") for n in "ab"])
    (message,) = sandbox.studio.messages.values()
    kept = sent.attachments[1]
    sent = await sent.edit(attachments=[kept, discord.File(io.BytesIO(b"text"), "c.txt", description="words")])
    assert [attachment.filename for attachment in sent.attachments] == ["b.png", "c.txt"]
    assert await sent.attachments[0].read() == picture()
    assert (sent.attachments[1].content_type, sent.attachments[1].description) == ("text/plain", "words")
    sent = await sent.edit(content="kept")
    assert len(sent.attachments) == 2
    await sent.edit(attachments=[])
    assert message.attachments == []
    assert len(message.versions) == 4


async def test_an_embed_takes_its_picture_from_the_message(sandbox: Sandbox, connect: Connect) -> None:
    channel = text_channel(await connect(), sandbox)
    embed = discord.Embed(title="A picture").set_image(url="attachment://a.png")
    sent = await channel.send(embed=embed, file=discord.File(io.BytesIO(picture()), "a.png"))
    assert sent.embeds[0].image.width == 32
    assert sent.attachments == []
    assert next(iter(sandbox.studio.messages.values())).attachments[0].url == sent.embeds[0].image.url


async def test_too_large_a_file_is_413(sandbox: Sandbox, connect: Connect) -> None:
    sandbox.guild.filesize_limit = 1000
    channel = text_channel(await connect(), sandbox)
    await channel.send(file=discord.File(io.BytesIO(bytes(1000)), "fits.bin"))
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send(file=discord.File(io.BytesIO(bytes(1001)), "large.bin"))
    assert (caught.value.status, caught.value.code) == (413, 40005)


async def test_interactions_tell_the_upload_limit(sandbox: Sandbox, connect: Connect) -> None:
    limits: list[int] = []

    def setup(bot: Bot) -> None:
        @bot.tree.command()
        async def limit(interaction: discord.Interaction[Any]) -> None:
            limits.append(interaction.filesize_limit)
            await interaction.response.send_message("ok")

    await connect(setup)
    sandbox.guild.filesize_limit = 50 * 1024 * 1024
    await (await sandbox.user("alice").slash(sandbox.studio, "limit")).response()
    assert limits == [50 * 1024 * 1024]


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        (Permission.SEND_MESSAGES, {"content": "x"}),
        (Permission.ATTACH_FILES, {"file": True}),
        (Permission.EMBED_LINKS, {"embed": discord.Embed(title="x")}),
    ],
)
async def test_missing_permissions_are_50013(
    sandbox: Sandbox, connect: Connect, missing: Permission, what: dict[str, Any]
) -> None:
    channel = text_channel(await connect(), sandbox)
    if what.get("file"):
        what = {"file": discord.File(io.BytesIO(b"x"), "x.txt")}
    sandbox.overwrite(sandbox.studio, sandbox.world.bot, deny=missing)
    with pytest.raises(discord.Forbidden) as caught:
        await channel.send(**what)
    assert caught.value.code == 50013


async def test_a_hidden_channel_is_50001_and_an_unknown_one_10003(sandbox: Sandbox, rest: Rest) -> None:
    sandbox.overwrite(sandbox.studio, sandbox.world.bot, deny=Permission.VIEW_CHANNEL)
    for channel_id, status, code in ((sandbox.studio.id, 403, 50001), (1, 404, 10003)):
        answer, body = await rest("POST", f"/channels/{channel_id}/messages", {"content": "x"})
        assert (answer, body["code"]) == (status, code)


async def test_roles_and_overwrites_are_weighed_as_discord_does(sandbox: Sandbox) -> None:
    world, bob, ada = sandbox.world, sandbox.furniture.bob, sandbox.furniture.ada
    studio = sandbox.studio
    assert not world.permissions(bob, studio) & Permission.MANAGE_GUILD
    assert world.permissions(ada, studio) & Permission.MANAGE_GUILD
    sandbox.overwrite(studio, bob, deny=Permission.SEND_MESSAGES)
    assert not world.permissions(bob, studio) & (Permission.SEND_MESSAGES | Permission.ATTACH_FILES)
    with pytest.raises(ClientRefuses):
        await sandbox.user("bob").send(studio, "x")
    sandbox.guild.roles[sandbox.guild.members[bob.id].role_ids[0]].permissions |= int(Permission.ADMINISTRATOR)
    assert world.permissions(bob, studio) & Permission.SEND_MESSAGES
    thread = sandbox.channel("Rainy day")
    sandbox.overwrite(sandbox.channel("playground"), world.bot, deny=Permission.SEND_MESSAGES_IN_THREADS)
    assert not world.permissions(world.bot, thread) & Permission.SEND_MESSAGES_IN_THREADS


async def test_content_is_hidden_without_the_intent(sandbox: Sandbox, connect: Connect, rest: Rest) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def setup(bot: Bot) -> None:
        @bot.listen()
        async def on_message(message: discord.Message) -> None:
            await heard.put(message.content)

    bot = await connect(setup)
    assert bot.user is not None
    alice = sandbox.user("alice")
    secret = await alice.send(sandbox.studio, "secret", files=[File("a.png", picture())])
    assert await heard.get() == ""
    await alice.send(sandbox.studio, f"hello {bot.user.mention}")
    assert await heard.get() == f"hello {bot.user.mention}"
    await alice.send(await alice.direct_channel(), "just us")
    assert await heard.get() == "just us"
    _, read = await rest("GET", f"/channels/{sandbox.studio.id}/messages/{secret.id}")
    assert (read["content"], read["attachments"]) == ("", [])


async def test_history_is_read_in_pages(sandbox: Sandbox, connect: Connect) -> None:
    channel = text_channel(await connect(), sandbox)
    for number in range(7):
        await channel.send(str(number))
    ids = list(sandbox.studio.messages)
    middle = discord.Object(ids[3])
    assert [m.content async for m in channel.history(limit=3)] == ["6", "5", "4"]
    assert [m.content async for m in channel.history(before=middle, limit=2)] == ["2", "1"]
    assert [m.content async for m in channel.history(after=middle)] == ["4", "5", "6"]
    assert [m.content async for m in channel.history(around=middle, limit=3)] == ["4", "3", "2"]


async def test_pins_reactions_and_deletions(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    channel = text_channel(bot, sandbox)
    messages = [await channel.send(text) for text in "abc"]
    await messages[0].pin()
    assert [message.content async for message in channel.pins()] == ["a"]
    await messages[0].unpin()
    await messages[0].add_reaction("🎨")
    assert sandbox.studio.messages[messages[0].id].reactions[0].emoji == "🎨"
    found = await channel.fetch_message(messages[0].id)
    assert [user.id async for user in found.reactions[0].users()] == [messages[0].author.id]
    await messages[0].remove_reaction("🎨", messages[0].author)
    await messages[0].add_reaction("👍")
    await messages[0].clear_reactions()
    assert sandbox.studio.messages[messages[0].id].reactions == []
    with pytest.raises(discord.HTTPException) as caught:
        await messages[0].add_reaction("nothing")
    assert caught.value.code == 10014
    await channel.delete_messages(messages[:2])
    await messages[2].delete()
    assert not sandbox.studio.messages
    with pytest.raises(discord.NotFound) as gone:
        await messages[2].edit(content="x")
    assert gone.value.code == 10008


async def test_only_the_author_edits(sandbox: Sandbox, rest: Rest) -> None:
    message = await sandbox.user("bob").send(sandbox.studio, "mine")
    status, body = await rest("PATCH", f"/channels/{sandbox.studio.id}/messages/{message.id}", {"content": "yours"})
    assert (status, body["code"]) == (403, 50005)


async def test_threads_are_started_and_written_in(sandbox: Sandbox, connect: Connect) -> None:
    channel = text_channel(await connect(), sandbox)
    message = await channel.send("start")
    thread = await message.create_thread(name="Details")
    await thread.send("inside")
    assert len(await thread.fetch_members()) == 1
    await thread.edit(archived=True)
    assert [archived.name async for archived in channel.archived_threads()] == ["Details"]
    made = sandbox.channel("Details")
    assert made.type == ChannelType.PUBLIC_THREAD
    assert [m.content for m in made.messages.values()] == ["inside"]
    forum = channel.guild.get_channel(sandbox.channel("ideas").id)
    assert isinstance(forum, discord.ForumChannel)
    post = await forum.create_thread(name="Idea", content="an idea")
    assert post.message.content == "an idea"


async def test_a_direct_message_opens_a_channel(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    user = await bot.fetch_user(sandbox.user("alice").id)
    await user.send("psst")
    channel = await sandbox.user("alice").direct_channel()
    assert [message.content for message in channel.messages.values()] == ["psst"]


async def test_members_are_fetched(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    guild = await bot.fetch_guild(sandbox.guild.id)
    member = await guild.fetch_member(sandbox.user("bob").id)
    assert [role.name for role in member.roles] == ["@everyone", "Booster"]
    with pytest.raises(discord.NotFound):
        await guild.fetch_member(1)
    assert bot.user is not None
    assert (await bot.user.display_avatar.read()).startswith(b"\x89PNG")


async def test_the_cdn_tells_types_from_bytes_and_guesses_no_path(sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    sent = await alice.send(sandbox.studio, files=[File("evil.html", b"<script>"), File("a.txt", picture())])
    page, image = sent.attachments
    async with aiohttp.ClientSession() as session:
        async with session.get(page.url) as response:
            assert response.headers["Content-Disposition"] == "attachment"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        async with session.get(image.url) as response:
            assert response.content_type == "image/png"
        parts = image.url.split("/")
        parts[-2] = "guessed"
        async with session.get("/".join(parts)) as response:
            assert response.status == 404
