"""Where the picture for an edit comes from: an upload, another message, somebody's avatar, or a link."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

import discord

from cogs.asking import is_age_restricted, permissions_in
from cogs.contexts import Interaction
from domain.errors import Code, UserError
from jobs.attachments import Attachments

MAX_LINK: Final = 1000
_MESSAGE: Final = re.compile(
    r"https://(?:www\.|ptb\.|canary\.)?discord(?:app)?\.com/channels/(?P<guild>@me|\d{1,20})/(?P<channel>\d{1,20})"
    r"/(?P<message>\d{1,20})/?"
)
_FILE: Final = re.compile(r"/attachments/(?P<channel>\d{1,20})/")
_URL: Final = re.compile(r"https?://[^\s<>]+")
AVATAR_PIXELS: Final = 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A picture on Discord's CDN that can be fetched."""

    url: str
    filename: str
    size: int = 0
    """Bytes, as declared; 0 where nobody has said."""
    spoiler: bool = False


@dataclass(frozen=True, slots=True)
class LinkedMessage:
    """A message that the member may read, by its link."""

    channel_id: int
    message_id: int


def of_attachment(attachment: discord.Attachment) -> Source:
    """An upload, or what a message carries."""
    return Source(attachment.url, attachment.filename, attachment.size, attachment.is_spoiler())


def of_avatar(user: discord.abc.User) -> Source:
    """What Discord shows for the person in this server."""
    url = user.display_avatar.replace(size=AVATAR_PIXELS, static_format="png").url
    return Source(url, _filename(url))


def of_message(message: discord.Message, attachments: Attachments) -> Source:
    """The first picture of a message: attached, forwarded, embedded or linked; Discord's own hosts alone.

    Raises UserError (NO_PICTURE_IN_MESSAGE).
    """
    found = next((source for source in _pictures(message) if attachments.accepts(source.url)), None)
    if found is None:
        raise UserError(Code.NO_PICTURE_IN_MESSAGE)
    return found


def of_link(interaction: Interaction, link: str, attachments: Attachments) -> Source | LinkedMessage:
    """What a link leads to. Nothing is fetched.

    Raises UserError: LINK_NOT_DISCORDS, or NO_PICTURE_IN_MESSAGE for a message that the member cannot read.
    """
    link = link.strip().strip("<>")
    message = _MESSAGE.fullmatch(link)
    if message is not None:
        channel_id = int(message["channel"])
        have = permissions_in(interaction, channel_id)
        here = str(interaction.guild_id or "@me")
        if message["guild"] != here or not (have.view_channel and have.read_message_history):
            raise UserError(Code.NO_PICTURE_IN_MESSAGE)
        return LinkedMessage(channel_id, int(message["message"]))
    if not attachments.accepts(link):
        raise UserError(Code.LINK_NOT_DISCORDS)
    return Source(link, _filename(link))


async def fetched(interaction: Interaction, linked: LinkedMessage, attachments: Attachments) -> Source:
    """The picture of a linked message. Raises UserError (NO_PICTURE_IN_MESSAGE).

    Without Discord's privileged intent for message content a bot sees its own messages whole, and of others'
    nothing but that they are there.
    """
    channel = interaction.client.get_partial_messageable(linked.channel_id, guild_id=interaction.guild_id)
    try:
        message = await channel.fetch_message(linked.message_id)
    except (discord.NotFound, discord.Forbidden) as error:
        raise UserError(Code.NO_PICTURE_IN_MESSAGE) from error
    return of_message(message, attachments)


def is_adult(interaction: Interaction, url: str) -> bool:
    """Whether the file lies in a channel of this server that is for adults; Discord's links name the channel."""
    match = _FILE.search(urlsplit(url).path)
    if match is None or interaction.guild is None:
        return False
    if int(match["channel"]) == interaction.channel_id:
        # Also in a server that does not have the bot.
        return is_age_restricted(interaction.channel)
    return is_age_restricted(interaction.guild.get_channel_or_thread(int(match["channel"])))


def _pictures(message: discord.Message) -> Iterator[Source]:
    carried = [message.attachments, *(snapshot.attachments for snapshot in message.message_snapshots)]
    for attachment in (attachment for several in carried for attachment in several):
        if (attachment.content_type or "").startswith("image/"):
            yield of_attachment(attachment)
    for embed in message.embeds:
        for url in (embed.image.url, embed.thumbnail.url):
            if url is not None:
                yield Source(url, _filename(url))
    for match in _URL.finditer(message.content):
        yield Source(match[0], _filename(match[0]))


def _filename(url: str) -> str:
    return unquote(PurePosixPath(urlsplit(url).path).name)[:100] or "picture"
