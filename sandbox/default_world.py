"""The world a sandbox starts with: one guild that a newcomer sees, a second for cross-guild tests, and places without
the bot: a third guild, a conversation and a group. Alice has added the app to her account."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.events import Hub
from sandbox.model import Channel, ChannelType, Guild, Overwrite, User
from sandbox.permissions import MEMBER_DEFAULT, Permission
from sandbox.snowflake import Snowflakes
from sandbox.world import Application, World


@dataclass(frozen=True)
class Furniture:
    """The things of the default world by name."""

    guild: Guild
    other_guild: Guild
    studio: Channel
    playground: Channel
    gallery_readonly: Channel
    nsfw: Channel
    forum: Channel
    thread: Channel
    visited: Guild
    """Without the bot: only the account of a member can bring it there."""
    book_club: Channel
    """Of the guild without the bot."""
    conversation: Channel
    """Between Alice and Bob."""
    group: Channel
    """Of Alice, Bob and Ada."""
    alice: User
    bob: User
    ada: User


def build(clock: Clock, bot_name: str, granted_intents: int) -> tuple[World, Furniture]:
    ids = Snowflakes(clock)
    ada = User(ids.founding(), "ada", "Ada", accent="#eb459e")
    bot = User(ids.founding(), bot_name, None, bot=True, accent="#3ba55d")
    application = Application(bot.id, bot_name, bot, ada, granted_intents)
    world = World(clock, ids, Hub(), application)
    world.users = {ada.id: ada, bot.id: bot}
    alice = world.add_user("alice", "Alice", accent="#5865f2")
    bob = world.add_user("bob", "Bob", accent="#f0872e")

    owner = world.add_user("studio", "Studio", accent="#99aab5")
    guild = world.add_guild("Easel Studio", owner=owner)
    admin = world.add_role(
        guild,
        "Admin",
        permissions=int(Permission.MANAGE_GUILD | Permission.MANAGE_MESSAGES | MEMBER_DEFAULT),
        color=0xEB459E,
    )
    booster = world.add_role(guild, "Booster", color=0xF47FFF)
    world.add_member(guild, alice)
    world.add_member(guild, bob, [booster])
    world.add_member(guild, ada, [admin])
    text = world.add_channel(guild, "Pictures", kind=ChannelType.CATEGORY)
    studio = world.add_channel(guild, "studio", topic="Type / and pick a command to paint something", parent=text)
    playground = world.add_channel(guild, "playground", topic="Anything goes, within reason", parent=text)
    gallery = world.add_channel(
        guild,
        "gallery-readonly",
        topic="The bot may not send messages here",
        parent=text,
        overwrites=[Overwrite(bot.id, is_member=True, deny=int(Permission.SEND_MESSAGES))],
    )
    nsfw = world.add_channel(guild, "nsfw", topic="Age-restricted", nsfw=True, parent=text)
    forum = world.add_channel(guild, "ideas", kind=ChannelType.FORUM, topic="One post an idea", parent=text)
    thread = world.add_thread(playground, "Rainy day", alice)

    other = world.add_guild("Second Guild", owner=owner)
    world.add_member(other, alice)
    world.add_member(other, bob)
    world.add_channel(other, "general")

    visited = world.add_guild("Book Club", owner=owner, with_bot=False)
    for user in (alice, bob, ada):
        world.add_member(visited, user)
    book_club = world.add_channel(visited, "chapters", topic="Easel is no member here: bring it with your account")
    conversation = world.add_conversation(alice, bob)
    group = world.add_conversation(alice, bob, ada, name="Weekend")
    application.installed_by.add(alice.id)
    return world, Furniture(
        guild=guild,
        other_guild=other,
        studio=studio,
        playground=playground,
        gallery_readonly=gallery,
        nsfw=nsfw,
        forum=forum,
        thread=thread,
        visited=visited,
        book_club=book_club,
        conversation=conversation,
        group=group,
        alice=alice,
        bob=bob,
        ada=ada,
    )
