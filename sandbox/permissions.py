"""Who may do what where: Discord's permission bits and the order in which overwrites apply.

https://discord.com/developers/docs/topics/permissions
"""

from __future__ import annotations

from enum import IntFlag

from sandbox.model import Channel, Guild, Member


class Permission(IntFlag):
    """The bits that the sandbox looks at; the others exist in :data:`ALL`."""

    NONE = 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    CHANGE_NICKNAME = 1 << 26
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38
    PIN_MESSAGES = 1 << 51


ALL = Permission((1 << 53) - 1)

MEMBER_DEFAULT = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.CHANGE_NICKNAME
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)

IN_DIRECT_MESSAGE = MEMBER_DEFAULT | Permission.MENTION_EVERYONE

WITHOUT_BOT_MEMBER = (
    Permission.EMBED_LINKS | Permission.ATTACH_FILES | Permission.MENTION_EVERYONE | Permission.USE_EXTERNAL_EMOJIS
)
"""What an app that is not a member of the guild (a user install) may do in its interactions."""


def in_guild(guild: Guild, member: Member) -> Permission:
    """What a member's roles allow before any channel has its say."""
    if member.user.id == guild.owner_id:
        return ALL
    bits = Permission(guild.roles[guild.id].permissions)
    for role_id in member.role_ids:
        bits |= Permission(guild.roles[role_id].permissions)
    return ALL if bits & Permission.ADMINISTRATOR else bits


def in_channel(guild: Guild, member: Member, channel: Channel, parent: Channel | None = None) -> Permission:
    """What a member may do in a channel; a thread takes its parent's overwrites."""
    bits = in_guild(guild, member)
    if bits == ALL:
        return bits
    overwrites = {overwrite.id: overwrite for overwrite in (parent or channel).overwrites}
    everyone = overwrites.get(guild.id)
    if everyone is not None:
        bits = (bits & ~everyone.deny) | everyone.allow
    allow = deny = Permission.NONE
    for role_id in member.role_ids:
        if role_id in overwrites:
            allow |= Permission(overwrites[role_id].allow)
            deny |= Permission(overwrites[role_id].deny)
    bits = (bits & ~deny) | allow
    own = overwrites.get(member.user.id)
    if own is not None:
        bits = (bits & ~own.deny) | own.allow
    if not bits & Permission.VIEW_CHANNEL:
        return Permission.NONE
    sending = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    if not bits & sending:
        bits &= ~(Permission.ATTACH_FILES | Permission.EMBED_LINKS | Permission.MENTION_EVERYONE)
    return bits
