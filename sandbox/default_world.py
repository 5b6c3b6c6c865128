"""The world a sandbox starts with: one guild that a newcomer sees, and a second for cross-guild tests."""

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
    return world, Furniture(guild, other, studio, playground, gallery, nsfw, forum, thread, alice, bob, ada)
