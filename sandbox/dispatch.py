"""Which gateway event an event of the world becomes, for which guild, under which intent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import assert_never

from sandbox import events, interactions, payloads
from sandbox.messages import is_content_hidden
from sandbox.model import CONVERSATIONS, Json
from sandbox.permissions import Permission
from sandbox.world import World


class Intent(IntFlag):
    """https://discord.com/developers/docs/events/gateway#list-of-intents"""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15

    @classmethod
    def everything(cls) -> int:
        """All bits that IDENTIFY takes, the named ones and the rest."""
        return (1 << 17) - 1 | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25


@dataclass(frozen=True)
class Dispatch:
    name: str
    data: Json
    guild_id: int | None
    intent: Intent | None
    """None: it comes without being asked for."""


def guild_dispatches(event: events.Event, world: World) -> list[Dispatch]:
    """The dispatches that a bot gets of an event."""
    match event:
        case events.InteractionCreated():
            interaction = event.interaction
            guild_id = interaction.guild.id if interaction.guild else None
            return [Dispatch("INTERACTION_CREATE", interactions.payload(interaction, world), guild_id, None)]
        case events.MessageCreated() | events.MessageUpdated():
            return _message(event, world)
        case events.MessagesDeleted():
            return _deleted(event, world)
        case events.ReactionChanged():
            message = event.message
            if not _visible(world, message.channel_id):
                return []
            reaction: Json = {
                "user_id": str(event.user.id),
                "channel_id": str(message.channel_id),
                "message_id": str(message.id),
                "emoji": {"id": None, "name": event.emoji},
                "burst": False,
                "type": 0,
            }
            if message.guild_id is not None:
                reaction["guild_id"] = str(message.guild_id)
            name = "MESSAGE_REACTION_ADD" if event.added else "MESSAGE_REACTION_REMOVE"
            intent = _kind(message.guild_id, Intent.GUILD_MESSAGE_REACTIONS, Intent.DIRECT_MESSAGE_REACTIONS)
            return [Dispatch(name, reaction, message.guild_id, intent)]
        case events.ChannelCreated() | events.ChannelUpdated() | events.ChannelDeleted():
            return _channel(event, world)
        case events.PinsChanged():
            channel = event.channel
            if not _visible(world, channel.id):
                return []
            pins: Json = {
                "channel_id": str(channel.id),
                "last_pin_timestamp": payloads.timestamp(world.clock.time()),
            }
            if channel.guild_id is not None:
                pins["guild_id"] = str(channel.guild_id)
            return [Dispatch("CHANNEL_PINS_UPDATE", pins, channel.guild_id, Intent.GUILDS)]
        case events.GuildCreated():
            if world.bot.id not in event.guild.members:
                return []
            data = payloads.guild_create(event.guild, world, with_members=False)
            return [Dispatch("GUILD_CREATE", data, event.guild.id, Intent.GUILDS)]
        case events.GuildUpdated():
            return [Dispatch("GUILD_UPDATE", payloads.guild(event.guild), event.guild.id, Intent.GUILDS)]
        case events.GuildLeft():
            return [Dispatch("GUILD_DELETE", {"id": str(event.guild.id)}, event.guild.id, Intent.GUILDS)]
        case events.MemberUpdated():
            intent_needed = None if event.member.user is world.bot else Intent.GUILD_MEMBERS
            data = payloads.member(event.member) | {"guild_id": str(event.guild.id)}
            return [Dispatch("GUILD_MEMBER_UPDATE", data, event.guild.id, intent_needed)]
        case events.TypingStarted():
            if not _visible(world, event.channel.id):
                return []
            typing: Json = {
                "channel_id": str(event.channel.id),
                "user_id": str(event.user.id),
                "timestamp": int(world.clock.time()),
            }
            if event.channel.guild_id is not None:
                typing["guild_id"] = str(event.channel.guild_id)
            intent = _kind(event.channel.guild_id, Intent.GUILD_MESSAGE_TYPING, Intent.DIRECT_MESSAGE_TYPING)
            return [Dispatch("TYPING_START", typing, event.channel.guild_id, intent)]
        case events.InteractionChanged() | events.CommandsChanged() | events.BotPresenceChanged():
            return []
        case _:
            assert_never(event)


def _kind(guild_id: int | None, in_guild: Intent, direct: Intent) -> Intent:
    return direct if guild_id is None else in_guild


def _visible(world: World, channel_id: int) -> bool:
    channel = world.channels[channel_id]
    return bool(world.permissions(world.bot, channel) & Permission.VIEW_CHANNEL)


def _message(event: events.MessageCreated | events.MessageUpdated, world: World) -> list[Dispatch]:
    message = event.message
    if message.is_ephemeral or not _visible(world, message.channel_id):
        return []
    data = payloads.gateway_message(message, world, content_hidden=is_content_hidden(world, message))
    intent = _kind(message.guild_id, Intent.GUILD_MESSAGES, Intent.DIRECT_MESSAGES)
    name = "MESSAGE_CREATE" if isinstance(event, events.MessageCreated) else "MESSAGE_UPDATE"
    return [Dispatch(name, data, message.guild_id, intent)]


def _deleted(event: events.MessagesDeleted, world: World) -> list[Dispatch]:
    channel = event.channel
    ids = [str(message.id) for message in event.messages if not message.is_ephemeral]
    if not ids or channel.id not in world.channels or not _visible(world, channel.id):
        return []
    place: Json = {"channel_id": str(channel.id)}
    if channel.guild_id is not None:
        place["guild_id"] = str(channel.guild_id)
    intent = _kind(channel.guild_id, Intent.GUILD_MESSAGES, Intent.DIRECT_MESSAGES)
    if event.bulk:
        return [Dispatch("MESSAGE_DELETE_BULK", place | {"ids": ids}, channel.guild_id, intent)]
    return [Dispatch("MESSAGE_DELETE", place | {"id": gone}, channel.guild_id, intent) for gone in ids]


def _channel(
    event: events.ChannelCreated | events.ChannelUpdated | events.ChannelDeleted, world: World
) -> list[Dispatch]:
    channel = event.channel
    if channel.type in CONVERSATIONS:
        return []
    assert channel.guild_id is not None
    if world.bot.id not in world.guilds[channel.guild_id].members:
        return []
    thing = "THREAD" if channel.is_thread else "CHANNEL"
    match event:
        case events.ChannelCreated():
            verb = "CREATE"
        case events.ChannelUpdated():
            verb = "UPDATE"
        case events.ChannelDeleted():
            verb = "DELETE"
        case _:
            assert_never(event)
    return [Dispatch(f"{thing}_{verb}", payloads.channel(channel), channel.guild_id, Intent.GUILDS)]
