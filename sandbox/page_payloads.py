"""What the web page is told, in JSON of the page's own."""

from __future__ import annotations

from typing import assert_never

from sandbox import events, payloads
from sandbox.interactions import Interaction
from sandbox.model import CONVERSATIONS, Channel, ChannelType, Guild, Json, Message, User
from sandbox.permissions import Permission
from sandbox.rest.call import Services
from sandbox.world import World

ACCOUNTS = ("alice", "bob", "ada")
"""The users between whom the page's account switch changes, with those made later after them."""

LOCALES = {
    "en-US": "English, US",
    "en-GB": "English, UK",
    "zh-CN": "中文",
    "ja": "日本語",
    "es-ES": "Español",
    "es-419": "Español, LATAM",
    "de": "Deutsch",
    "fr": "Français",
    "pl": "Polski",
}
"""Some of the languages that Discord's client has, by its names for them; bots need not know all of them.

https://discord.com/developers/docs/reference#locales
"""


def state(services: Services, me: User) -> Json:
    """All that the page's frame shows: accounts, guilds with channels and members, the bot."""
    world = services.world
    accounts = [user for user in world.users.values() if not user.bot and user.username != "studio"]
    accounts.sort(key=lambda user: ACCOUNTS.index(user.username) if user.username in ACCOUNTS else len(ACCOUNTS))
    guilds = [guild for guild in world.guilds.values() if me.id in guild.members]
    return {
        "me": person(me) | {"locale": me.locale, "installed": me.id in world.application.installed_by},
        "locales": [{"locale": locale, "name": name} for locale, name in LOCALES.items()],
        "accounts": [person(user) | {"role": _role_line(world, user)} for user in accounts[:50]],
        "bot": person(world.bot) | {"online": services.gateway.online},
        "users": [person(user) for user in world.users.values()],
        "guilds": [_guild(guild, me, world) for guild in guilds],
        "direct": [_conversation(channel, me, world) for channel in _conversations(me, world)],
    }


def _conversations(me: User, world: World) -> list[Channel]:
    """The one with the bot first."""
    own = world.direct_channel(me)
    found = [c for c in world.channels.values() if c.type in CONVERSATIONS and me in c.recipients]
    return [own, *(channel for channel in found if channel is not own)]


def _conversation(channel: Channel, me: User, world: World) -> Json:
    """Named after who else is in it."""
    others = ", ".join(user.name for user in channel.recipients if user is not me)
    return payloads.channel(channel) | {"name": channel.name or others or world.bot.name}


def person(user: User) -> Json:
    return {
        "id": str(user.id),
        "username": user.username,
        "name": user.name,
        "bot": user.bot,
        "avatar": f"/cdn/avatars/{user.id}/{user.id:032x}.png",
    }


def _role_line(world: World, user: User) -> str:
    guild = next(iter(world.guilds.values()))
    member = guild.members.get(user.id)
    if member is None:
        return "not a member"
    return guild.roles[member.role_ids[-1]].name if member.role_ids else "Member"


def _guild(guild: Guild, me: User, world: World) -> Json:
    seen = [c for c in guild.channels.values() if world.permissions(me, c) & Permission.VIEW_CHANNEL]
    return {
        "id": str(guild.id),
        "name": guild.name,
        "channels": [payloads.channel(channel) for channel in seen],
        "roles": [payloads.role(role) for role in guild.roles.values()],
        "members": [
            {"id": str(member.user.id), "nick": member.nick, "roles": [str(role) for role in member.role_ids]}
            for member in guild.members.values()
            if member.user.username != "studio"
        ],
    }


def may_send(world: World, user: User, channel: Channel) -> bool:
    if channel.type in (ChannelType.CATEGORY, ChannelType.FORUM):
        return False
    needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    return bool(world.permissions(user, channel) & needed)


def message(item: Message, viewer: User, world: World) -> Json:
    """A message as one user sees it: Discord's own JSON, and whether it pings them."""
    guild = world.guilds.get(item.guild_id) if item.guild_id is not None else None
    member = guild.members.get(viewer.id) if guild else None
    by_role = bool(member and set(member.role_ids) & item.pings.roles)
    return payloads.message(item) | {
        "pings_me": viewer.id in item.pings.users or by_role or item.pings.everyone,
        "interaction_name": item.interaction_name,
    }


def interaction(item: Interaction) -> Json:
    return {
        "type": "interaction",
        "id": str(item.id),
        "state": item.state.value,
        "channel_id": str(item.channel.id),
        "callback": int(item.callback) if item.callback else None,
        "modal": item.modal,
        "response_id": str(item.response.id) if item.response else None,
    }


def event(happened: events.Event, viewer: User, services: Services) -> Json | None:
    """An event as the page of one user is told it; None for what is not theirs to know."""
    world = services.world
    match happened:
        case events.MessageCreated() | events.MessageUpdated():
            item = happened.message
            if not _sees(world, viewer, item.channel_id) or item.visible_to not in (None, viewer.id):
                return None
            kind = "message_create" if isinstance(happened, events.MessageCreated) else "message_update"
            return {"type": kind, "message": message(item, viewer, world)}
        case events.MessagesDeleted():
            ids = [str(gone.id) for gone in happened.messages if gone.visible_to in (None, viewer.id)]
            return {"type": "messages_delete", "channel_id": str(happened.channel.id), "ids": ids}
        case events.ReactionChanged():
            if not _sees(world, viewer, happened.message.channel_id):
                return None
            return {"type": "message_update", "message": message(happened.message, viewer, world)}
        case events.InteractionChanged():
            return interaction(happened.interaction) if happened.interaction.user is viewer else None
        case events.TypingStarted():
            if happened.user is viewer or not _sees(world, viewer, happened.channel.id):
                return None
            return {"type": "typing", "channel_id": str(happened.channel.id), "name": happened.user.name}
        case events.CommandsChanged():
            return {"type": "commands"}
        case events.BotPresenceChanged():
            return {"type": "presence", "online": happened.online}
        case (
            events.ChannelCreated()
            | events.ChannelUpdated()
            | events.ChannelDeleted()
            | events.GuildCreated()
            | events.GuildUpdated()
            | events.GuildLeft()
            | events.MemberUpdated()
        ):
            return {"type": "state"}
        case events.InteractionCreated() | events.PinsChanged():
            return None
        case _:
            assert_never(happened)


def _sees(world: World, viewer: User, channel_id: int) -> bool:
    channel = world.channels.get(channel_id)
    return channel is not None and bool(world.permissions(viewer, channel) & Permission.VIEW_CHANNEL)
