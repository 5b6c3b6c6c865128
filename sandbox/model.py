"""What a Discord consists of, as plain records. Ids are ints here and strings on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

Json = dict[str, Any]


class ChannelType(IntEnum):
    TEXT = 0
    DM = 1
    VOICE = 2
    GROUP_DM = 3
    CATEGORY = 4
    ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    FORUM = 15


CONVERSATIONS = (ChannelType.DM, ChannelType.GROUP_DM)
"""Channels outside every guild."""

THREADS = (ChannelType.ANNOUNCEMENT_THREAD, ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD)


class MessageType(IntEnum):
    DEFAULT = 0
    PINNED = 6
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER = 21
    CONTEXT_MENU_COMMAND = 23


class MessageFlag(IntFlag):
    NONE = 0
    SUPPRESS_EMBEDS = 1 << 2
    HAS_THREAD = 1 << 5
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    IS_COMPONENTS_V2 = 1 << 15


class ComponentType(IntEnum):
    ACTION_ROW = 1
    BUTTON = 2
    STRING_SELECT = 3
    TEXT_INPUT = 4
    USER_SELECT = 5
    ROLE_SELECT = 6
    MENTIONABLE_SELECT = 7
    CHANNEL_SELECT = 8
    SECTION = 9
    TEXT_DISPLAY = 10
    THUMBNAIL = 11
    MEDIA_GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17
    LABEL = 18
    FILE_UPLOAD = 19
    RADIO_GROUP = 21
    CHECKBOX_GROUP = 22
    CHECKBOX = 23


SELECTS = (
    ComponentType.STRING_SELECT,
    ComponentType.USER_SELECT,
    ComponentType.ROLE_SELECT,
    ComponentType.MENTIONABLE_SELECT,
    ComponentType.CHANNEL_SELECT,
)


@dataclass
class User:
    id: int
    username: str
    global_name: str | None
    bot: bool = False
    locale: str = "en-US"
    accent: str = "#5865f2"
    """Colour of the generated avatar, ``#rrggbb``."""

    @property
    def name(self) -> str:
        return self.global_name or self.username

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass
class Role:
    id: int
    name: str
    permissions: int
    position: int
    color: int = 0
    hoist: bool = False
    mentionable: bool = False
    managed: bool = False


@dataclass
class Overwrite:
    id: int
    is_member: bool
    allow: int = 0
    deny: int = 0


@dataclass
class Member:
    user: User
    role_ids: list[int]
    joined_at: float
    nick: str | None = None


@dataclass
class Attachment:
    id: int
    filename: str
    content_type: str
    data: bytes = field(repr=False)
    url: str
    width: int | None = None
    height: int | None = None
    description: str | None = None
    ephemeral: bool = False

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def is_spoiler(self) -> bool:
        return self.filename.startswith("SPOILER_")


@dataclass(frozen=True)
class File:
    """A file in a user's hand, to be given as an option, sent with a message or put into a modal."""

    filename: str
    data: bytes = field(repr=False)
    content_type: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Button:
    """A button of a message as a user sees it."""

    label: str
    custom_id: str | None
    style: int
    disabled: bool
    url: str | None


@dataclass(frozen=True)
class Version:
    """What a message showed from a moment on."""

    at: float
    content: str
    embeds: list[Json]
    components: list[Json]
    attachments: list[Attachment]
    flags: MessageFlag


@dataclass
class Reaction:
    emoji: str
    user_ids: list[int]
    by_bot: bool = False


@dataclass(frozen=True)
class Pings:
    """Whom a message really notified, after allowed_mentions, when it was sent."""

    users: frozenset[int] = frozenset()
    roles: frozenset[int] = frozenset()
    everyone: bool = False

    def __bool__(self) -> bool:
        return bool(self.users or self.roles or self.everyone)


@dataclass
class Message:
    id: int
    channel_id: int
    guild_id: int | None
    author: User
    created_at: float
    type: MessageType = MessageType.DEFAULT
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: MessageFlag = MessageFlag.NONE
    edited_at: float | None = None
    mentions: list[User] = field(default_factory=list)
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    pings: Pings = Pings()
    nonce: str | int | None = None
    reference: Json | None = None
    replied_to: Message | None = field(default=None, repr=False)
    interaction_id: int | None = None
    interaction_metadata: Json | None = field(default=None, repr=False)
    interaction_name: str | None = None
    webhook_id: int | None = None
    visible_to: int | None = None
    pinned: bool = False
    pinned_at: float | None = None
    reactions: list[Reaction] = field(default_factory=list)
    thread_id: int | None = None
    deleted: bool = False
    versions: list[Version] = field(default_factory=list, repr=False)

    @property
    def is_ephemeral(self) -> bool:
        return bool(self.flags & MessageFlag.EPHEMERAL)

    @property
    def is_thinking(self) -> bool:
        return bool(self.flags & MessageFlag.LOADING)

    @property
    def edits(self) -> int:
        """How often it was edited; filling a "thinking…" message counts."""
        return max(0, len(self.versions) - 1)

    @property
    def buttons(self) -> list[Button]:
        return [
            Button(
                label=component.get("label") or (component.get("emoji") or {}).get("name") or "",
                custom_id=component.get("custom_id"),
                style=component["style"],
                disabled=component.get("disabled", False),
                url=component.get("url"),
            )
            for component in walk_components(self.components)
            if component["type"] == ComponentType.BUTTON
        ]

    @property
    def text(self) -> str:
        """All the words that a reader sees: content, embeds, text displays, in order, one a line."""
        return "\n".join(part for part in visible_text(self.content, self.embeds, self.components) if part)


@dataclass
class ThreadState:
    owner_id: int
    created_at: float
    archived: bool = False
    locked: bool = False
    auto_archive_duration: int = 1440
    member_ids: list[int] = field(default_factory=list)
    applied_tags: list[int] = field(default_factory=list)


@dataclass
class Channel:
    id: int
    type: ChannelType
    name: str = ""
    guild_id: int | None = None
    parent_id: int | None = None
    position: int = 0
    topic: str | None = None
    nsfw: bool = False
    overwrites: list[Overwrite] = field(default_factory=list)
    recipients: list[User] = field(default_factory=list)
    thread: ThreadState | None = None
    slowmode: int = 0
    messages: dict[int, Message] = field(default_factory=dict, repr=False)

    @property
    def is_thread(self) -> bool:
        return self.type in THREADS

    @property
    def is_text(self) -> bool:
        return self.type not in (ChannelType.CATEGORY, ChannelType.FORUM)

    @property
    def is_with_bot(self) -> bool:
        """The bot's own conversation with somebody; in all others outside guilds it is no participant."""
        return self.type is ChannelType.DM and len(self.recipients) == 1


@dataclass
class Guild:
    id: int
    name: str
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    filesize_limit: int = 10 * 1024 * 1024
    locale: str = "en-US"

    @property
    def premium_tier(self) -> int:
        """The boost level whose upload limit this guild has: 10 MiB, 50 MiB (2) or 100 MiB (3)."""
        if self.filesize_limit >= 100 * 1024 * 1024:
            return 3
        return 2 if self.filesize_limit >= 50 * 1024 * 1024 else 0


def walk_components(components: list[Json]) -> Iterator[Json]:
    """Every component of a tree, parents first."""
    for component in components:
        yield component
        yield from walk_components(component.get("components") or [])
        for key in ("accessory", "component"):
            if isinstance(component.get(key), dict):
                yield from walk_components([component[key]])


def visible_text(content: str, embeds: list[Json], components: list[Json]) -> Iterator[str]:
    yield content
    for embed in embeds:
        yield (embed.get("author") or {}).get("name", "")
        yield embed.get("title") or ""
        yield embed.get("description") or ""
        for item in embed.get("fields") or []:
            yield item["name"]
            yield item["value"]
        yield (embed.get("footer") or {}).get("text", "")
    for component in walk_components(components):
        if component["type"] == ComponentType.TEXT_DISPLAY:
            yield component["content"]
