"""Who asks, and whether they may ask here. All of it comes from the interaction, which Discord signs for."""

from collections.abc import Sequence
from typing import Final

import discord

from cogs.contexts import Context, Interaction, context_of, guild_of
from cogs.languages import language_of_jobs
from cogs.ui.filling import PERMISSIONS
from domain.errors import Code, OperatorError, UserError
from domain.job import Answer, Job, Place
from jobs.quotas import Asker

# Read Message History is not among them: without it a restart cannot look for its own earlier post, and the
# message's nonce has to do.
_TO_SHOW: Final = ("attach_files", "embed_links")
_NEEDED: Final = ("view_channel", *_TO_SHOW)
_TO_SEND: Final = "send_messages"
_TO_SEND_IN_THREADS: Final = "send_messages_in_threads"
_READS_ALONG: Final = discord.Permissions(view_channel=True, read_message_history=True)


def asker(interaction: Interaction) -> Asker:
    """Who asks. Raises OperatorError (ONLY_IN_SERVERS) outside a channel.

    Outside servers that have the bot nobody has roles, and nothing is for adults alone, whatever a channel there says.
    """
    if interaction.channel_id is None:
        raise OperatorError(Code.ONLY_IN_SERVERS)
    context = context_of(interaction)
    place = Place(guild_of(interaction), interaction.channel_id, interaction.user.id)
    if context is not Context.SERVER:
        return Asker(place, language=language_of_jobs(interaction), visiting=context is Context.VISIT)
    roles = interaction.user.roles if isinstance(interaction.user, discord.Member) else []
    return Asker(
        place,
        frozenset(role.id for role in roles),
        language_of_jobs(interaction),
        _surroundings(interaction.channel),
        is_age_restricted(interaction.channel),
    )


def is_age_restricted(channel: object) -> bool:
    """Whether adults alone can read the channel: it says so itself, or a thread's channel does. Never so of a DM."""
    if isinstance(channel, discord.Thread):
        channel = channel.parent
    return isinstance(channel, discord.abc.GuildChannel) and bool(getattr(channel, "nsfw", False))


def _surroundings(channel: object) -> frozenset[int]:
    """Ids of a thread's channel and of the category."""
    around = set()
    if isinstance(channel, discord.Thread):
        around.add(channel.parent_id)
        channel = channel.parent
    if isinstance(channel, discord.abc.GuildChannel) and channel.category_id is not None:
        around.add(channel.category_id)
    return frozenset(around)


def check_permissions(interaction: Interaction) -> None:
    """Raise OperatorError (BOT_LACKS_PERMISSIONS) where the bot could not post a picture in this channel."""
    have = interaction.app_permissions
    if have.administrator:
        return
    if context_of(interaction) is not Context.SERVER:
        # What is answered there is answered through the interaction, or in the bot's own conversation.
        _check(have, _TO_SHOW)
        return
    to_send = _TO_SEND_IN_THREADS if isinstance(interaction.channel, discord.Thread) else _TO_SEND
    _check(have, (*_NEEDED, to_send))


def _check(have: discord.Permissions, needed: Sequence[str]) -> None:
    missing = [PERMISSIONS[name] for name in needed if not getattr(have, name)]
    if missing:
        raise OperatorError(Code.BOT_LACKS_PERMISSIONS, permissions=", ".join(missing))


def manages_server(interaction: Interaction) -> bool:
    """Whether the member has Manage Server."""
    have = interaction.permissions
    return context_of(interaction) is Context.SERVER and (have.manage_guild or have.administrator)


def check_manages_server(interaction: Interaction) -> None:
    """Raise UserError where the member may not change the server's quotas.

    Discord hides the command from them, but an admin can override that, and a hostile client does not care.
    """
    if not manages_server(interaction):
        raise UserError(Code.NEEDS_MANAGE_SERVER)


def permissions_in(interaction: Interaction, channel_id: int) -> discord.Permissions:
    """What the member may do in a channel of this server; nothing where that can't be told.

    Of other channels' private threads nothing can be told: who is in them is not known without asking. Outside servers
    that have the bot, who asks in a channel reads along there, and manages nothing of ours.
    """
    if context_of(interaction) is not Context.SERVER:
        return _READS_ALONG if channel_id == interaction.channel_id else discord.Permissions.none()
    if channel_id == interaction.channel_id:
        return interaction.permissions
    if interaction.guild is None or not isinstance(interaction.user, discord.Member):
        return discord.Permissions.none()
    channel = interaction.guild.get_channel_or_thread(channel_id)
    if channel is None or (isinstance(channel, discord.Thread) and channel.is_private()):
        return discord.Permissions.none()
    return channel.permissions_for(interaction.user)


def can_see(interaction: Interaction, job: Job) -> bool:
    """Whether the person may know of a job: it is their own, or for all to see in a channel that they can read."""
    place = job.place
    if job.request.private and place.user_id != interaction.user.id:
        return False
    return place.user_id == interaction.user.id or permissions_in(interaction, place.channel_id).view_channel


def can_cancel(interaction: Interaction, place: Place) -> bool:
    """Whether the member may cancel a job: it is their own, or in a channel where they manage messages."""
    if place.user_id == interaction.user.id:
        return True
    have = permissions_in(interaction, place.channel_id)
    return have.manage_messages or have.administrator


def answer_of(interaction: Interaction) -> Answer:
    """How to reach the interaction's own response later."""
    return Answer(interaction.application_id, interaction.token, int(interaction.expires_at.timestamp() * 1000))
