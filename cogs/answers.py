"""Answering an interaction in time, once, and to the right eyes.

Whether an answer is public or private is fixed by the first one: so the first one waits for the outcome as long
as Discord's three seconds allow it.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import aiohttp
import discord

from cogs.contexts import Context, Interaction, context_of
from cogs.ui.language import translated

log = logging.getLogger(__name__)

T = TypeVar("T")

FAST_SECONDS: Final = 0.4
"""How long a first answer may take, from the interaction's arrival, before it is deferred.

Discord gives up after 3 seconds; people wonder long before that.
"""
ARRIVED: Final = "arrived"
"""Key in ``Interaction.extras``: the event loop's time at which we were given it."""
PUBLIC: Final = "answered in public"
"""Key in ``Interaction.extras``: what everybody can see of the answer so far is provisional."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_INTERACTION: Final = 10062
UNKNOWN_WEBHOOK: Final = 10015
UNKNOWN_MESSAGE: Final = 10008
ALREADY_ACKNOWLEDGED: Final = 40060
INVALID_TOKEN: Final = 50027
TOO_LATE: Final = frozenset(
    {UNKNOWN_INTERACTION, UNKNOWN_WEBHOOK, UNKNOWN_MESSAGE, ALREADY_ACKNOWLEDGED, INVALID_TOKEN}
)
"""Codes that say: this interaction can't be answered any more, or was answered already."""

NETWORK_ERRORS: Final = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError)
"""What a request to Discord can raise; a cut connection reaches us as aiohttp's or the system's own error."""


async def in_time(
    interaction: Interaction, work: Coroutine[Any, Any, T], *, private: bool = False, in_place: bool = False
) -> T:
    """The outcome of ``work``. Where it takes too long, the interaction is deferred meanwhile.

    ``in_place``: what follows changes the message that was pressed, rather than being a new one.

    What is begun is finished: an interaction that can't be deferred any more does not stop it.
    """
    task = asyncio.ensure_future(work)
    now = asyncio.get_running_loop().time()
    await asyncio.wait({task}, timeout=max(0.0, FAST_SECONDS - (now - interaction.extras.get(ARRIVED, now))))
    if not task.done() and not interaction.response.is_done():
        try:
            await interaction.response.defer(ephemeral=private, thinking=not in_place)
            interaction.extras[PUBLIC] = not private and not in_place
        except (*NETWORK_ERRORS, discord.InteractionResponded) as error:
            log.warning("interaction %s could not be deferred: %s", interaction.id, error)
    return await task


async def privately(
    interaction: Interaction,
    text: str | None = None,
    *,
    embed: discord.Embed | None = None,
    view: discord.ui.View | discord.ui.LayoutView | None = None,
    file: discord.File | None = None,
    files: Sequence[discord.File] | None = None,
) -> None:
    """Say something to the person who acted and to nobody else. What is public of the answer so far is taken back.

    Where the interaction has no follow-up left, it is said in a direct message. Never raises for an interaction that
    can't be answered (any more).
    """
    # A text without values may come as it stands in the code.
    content = translated(text) if text is not None else None
    parts: dict[str, Any] = {"content": content, "embed": embed, "view": view, "file": file, "files": files}
    given = {name: part for name, part in parts.items() if part is not None}
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(**given, ephemeral=True)
            return
        if interaction.extras.pop(PUBLIC, False):
            # Before the follow-up: the first one would fill the public message.
            await interaction.delete_original_response()
        if context_of(interaction) is Context.SERVER or interaction.client.follow_ups.take(interaction.token):
            await interaction.followup.send(**given, ephemeral=True)
        else:
            await interaction.user.send(**given)
    except discord.HTTPException as error:
        level = logging.DEBUG if error.code in TOO_LATE else logging.WARNING
        log.log(level, "interaction %s could not be answered: %s", interaction.id, error)
    except RuntimeError as error:
        # aiohttp's word for "the bot is being stopped".
        if not interaction.client.is_closed():
            raise
        log.debug("interaction %s could not be answered: %s", interaction.id, error)
    except (discord.InteractionResponded, discord.RateLimited, aiohttp.ClientError, OSError) as error:
        log.warning("interaction %s could not be answered: %s", interaction.id, error)
