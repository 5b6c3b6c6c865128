"""The state of the sandbox: who and what exists. Rules live elsewhere; this finds and makes things."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from sandbox import errors
from sandbox.clock import Clock
from sandbox.events import ChannelCreated, GuildCreated, GuildLeft, Hub
from sandbox.model import (
    Attachment,
    Channel,
    ChannelType,
    Guild,
    Member,
    Message,
    Overwrite,
    Role,
    ThreadState,
    User,
)
from sandbox.permissions import (
    IN_DIRECT_MESSAGE,
    MEMBER_DEFAULT,
    WITHOUT_BOT_MEMBER,
    Permission,
    in_channel,
)
from sandbox.snowflake import Snowflakes

MOST_GUILDS = 2500
MOST_CDN_BYTES = 1024**3
"""What the CDN keeps in memory; older files are "no longer available"."""

BOT_PERMISSIONS = MEMBER_DEFAULT | Permission.MANAGE_MESSAGES | Permission.MENTION_EVERYONE


@dataclass
class Application:
    """The app whose bot is tested."""

    id: int
    name: str
    bot: User
    owner: User
    intents_granted: int = 0
    """Privileged gateway intents switched on in the developer portal, as bits."""
    installed_by: set[int] = field(default_factory=set)
    """Ids of the users who have added the app to their account."""


@dataclass
class World:
    clock: Clock
    ids: Snowflakes
    hub: Hub
    application: Application
    cdn_base: str = ""
    users: dict[int, User] = field(default_factory=dict)
    guilds: dict[int, Guild] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    """By the path under the CDN's base."""

    @property
    def bot(self) -> User:
        return self.application.bot

    # -- making things ---------------------------------------------------------------------------

    def add_user(self, username: str, name: str | None = None, *, bot: bool = False, accent: str = "#5865f2") -> User:
        user = User(self.ids.founding(), username, name or username.title(), bot=bot, accent=accent)
        self.users[user.id] = user
        return user

    def add_guild(self, name: str, *, owner: User, with_bot: bool = True) -> Guild:
        """A guild without channels; the bot is a member with a role of its own, unless told otherwise."""
        if len(self.guilds) >= MOST_GUILDS:
            raise ValueError(f"a sandbox has at most {MOST_GUILDS} guilds")
        guild = Guild(self.ids.founding(), name, owner.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", int(MEMBER_DEFAULT), 0)
        self.guilds[guild.id] = guild
        self.add_member(guild, owner)
        if with_bot:
            role = self.add_role(guild, self.bot.name, permissions=int(BOT_PERMISSIONS), managed=True)
            self.add_member(guild, self.bot, roles=[role])
        self.hub.publish(GuildCreated(guild))
        return guild

    def add_role(self, guild: Guild, name: str, *, permissions: int = 0, color: int = 0, managed: bool = False) -> Role:
        role = Role(
            self.ids.founding(),
            name,
            permissions,
            len(guild.roles),
            color,
            hoist=bool(color),
            managed=managed,
        )
        guild.roles[role.id] = role
        return role

    def add_member(self, guild: Guild, user: User, roles: list[Role] | None = None) -> Member:
        member = Member(user, [role.id for role in roles or []], self.clock.time())
        guild.members[user.id] = member
        return member

    def add_channel(
        self,
        guild: Guild,
        name: str,
        *,
        kind: ChannelType = ChannelType.TEXT,
        topic: str | None = None,
        nsfw: bool = False,
        parent: Channel | None = None,
        overwrites: list[Overwrite] | None = None,
    ) -> Channel:
        channel = Channel(
            self.ids.founding(),
            kind,
            name,
            guild.id,
            parent.id if parent else None,
            len(guild.channels),
            topic,
            nsfw,
            overwrites or [],
        )
        guild.channels[channel.id] = channel
        self.channels[channel.id] = channel
        self.hub.publish(ChannelCreated(channel))
        return channel

    def add_thread(
        self, parent: Channel, name: str, owner: User, *, thread_id: int | None = None, private: bool = False
    ) -> Channel:
        assert parent.guild_id is not None
        guild = self.guilds[parent.guild_id]
        thread = Channel(
            thread_id or self.ids.founding(),
            ChannelType.PRIVATE_THREAD if private else ChannelType.PUBLIC_THREAD,
            name,
            guild.id,
            parent.id,
            thread=ThreadState(owner.id, self.clock.time(), member_ids=[owner.id]),
        )
        guild.channels[thread.id] = thread
        self.channels[thread.id] = thread
        self.hub.publish(ChannelCreated(thread))
        return thread

    def direct_channel(self, user: User) -> Channel:
        """The conversation between the bot and a user; it is made when first asked for."""
        for channel in self.channels.values():
            if channel.type == ChannelType.DM and channel.recipients == [user]:
                return channel
        channel = Channel(self.ids.founding(), ChannelType.DM, recipients=[user])
        self.channels[channel.id] = channel
        self.hub.publish(ChannelCreated(channel))
        return channel

    def add_conversation(self, *people: User, name: str = "") -> Channel:
        """A direct message between two people, or a group of more; the bot is in none of them."""
        if len(people) < 2:
            raise ValueError("a conversation without the bot has two people at least")
        kind = ChannelType.DM if len(people) == 2 else ChannelType.GROUP_DM
        channel = Channel(self.ids.founding(), kind, name, recipients=list(people))
        self.channels[channel.id] = channel
        self.hub.publish(ChannelCreated(channel))
        return channel

    def remove_bot(self, guild: Guild) -> None:
        """The bot is thrown out of a guild."""
        del guild.members[self.bot.id]
        self.hub.publish(GuildLeft(guild))

    def keep_attachment(self, attachment: Attachment, channel_id: int) -> None:
        """Give an attachment a path nobody can guess, and keep it."""
        self._make_room(attachment.size)
        path = f"attachments/{channel_id}/{attachment.id}/{secrets.token_urlsafe(16)}/{attachment.filename}"
        attachment.url = f"{self.cdn_base}/{path}"
        self.attachments[path] = attachment

    def _make_room(self, size: int) -> None:
        """Forget the oldest files where the CDN would hold too much."""
        held = size + sum(attachment.size for attachment in self.attachments.values())
        while held > MOST_CDN_BYTES and self.attachments:
            oldest = next(iter(self.attachments))
            held -= self.attachments.pop(oldest).size

    # -- finding things --------------------------------------------------------------------------

    def user(self, user_id: int) -> User:
        try:
            return self.users[user_id]
        except KeyError:
            raise errors.unknown_user() from None

    def guild(self, guild_id: int) -> Guild:
        try:
            return self.guilds[guild_id]
        except KeyError:
            raise errors.unknown_guild() from None

    def guild_of(self, channel: Channel) -> Guild | None:
        return None if channel.guild_id is None else self.guilds[channel.guild_id]

    def message(self, channel: Channel, message_id: int) -> Message:
        """A message of a channel; ephemeral ones are nobody's business but their interaction's."""
        message = channel.messages.get(message_id)
        if message is None or message.is_ephemeral:
            raise errors.unknown_message()
        return message

    def permissions(self, user: User, channel: Channel) -> Permission:
        """What a user (the bot too) may do in a channel. No bits: they cannot see it."""
        guild = self.guild_of(channel)
        if guild is None:
            is_there = channel.is_with_bot if user is self.bot else user in channel.recipients
            return IN_DIRECT_MESSAGE if is_there else Permission.NONE
        member = guild.members.get(user.id)
        if member is None:
            return Permission.NONE
        parent = self.channels.get(channel.parent_id) if channel.is_thread and channel.parent_id else None
        return in_channel(guild, member, channel, parent)

    def app_permissions(self, channel: Channel) -> Permission:
        """What the bot may do in an interaction of this channel, as the interaction tells it."""
        if not self.has_bot(channel):
            return WITHOUT_BOT_MEMBER
        return self.permissions(self.bot, channel)

    def has_bot(self, channel: Channel) -> bool:
        """Whether the bot is there: a member of the channel's guild, or the other end of the conversation."""
        guild = self.guild_of(channel)
        return channel.is_with_bot if guild is None else self.bot.id in guild.members

    def can_be_written_to(self, user: User) -> bool:
        """Whether the bot may send direct messages: they share a guild, or the user has added the app."""
        shared = any(user.id in guild.members for guild in self.bot_guilds())
        return shared or user.id in self.application.installed_by

    def bot_guilds(self) -> list[Guild]:
        return [guild for guild in self.guilds.values() if self.bot.id in guild.members]

    def filesize_limit(self, channel: Channel) -> int:
        """Bytes a file sent to this channel may have."""
        guild = self.guild_of(channel)
        return guild.filesize_limit if guild else 10 * 1024 * 1024
