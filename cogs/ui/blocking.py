"""What admins have blocked, and whom they have banned."""

from collections.abc import Sequence
from typing import Final

import discord

from cogs.ui import texts, words
from cogs.ui.lists import fitted
from domain.safety import MAX_REASON, Ban
from jobs.wording import MAX_PATTERN

_SHOWN: Final = 100
"""Entries that are listed; the rest is counted."""


def blocked(entries: Sequence[str]) -> discord.Embed:
    """The words and patterns that are refused in prompts."""
    lines = [f"`{words.code(entry, MAX_PATTERN)}`" for entry in entries]
    shown = fitted(lines, _SHOWN, " · ") if lines else texts.fill(texts.NOTHING_BLOCKED)
    embed = discord.Embed(title=texts.fill(texts.BLOCKED_TITLE), description=shown)
    # Where it takes nothing from the list's room.
    embed.set_footer(text=texts.fill(texts.BLOCKED_EVERYWHERE))
    return embed


def bans(found: Sequence[Ban]) -> discord.Embed:
    """Who can't use the bot in the server."""
    lines = [banned(ban) for ban in found]
    shown = fitted(lines, _SHOWN) if lines else texts.fill(texts.NOBODY_BANNED)
    return discord.Embed(title=texts.fill(texts.BANS_TITLE), description=shown)


def banned(ban: Ban) -> str:
    """One of them, and why."""
    if ban.reason:
        return texts.fill(texts.BANNED_BECAUSE, member=ban.user_id, reason=words.plain(ban.reason, MAX_REASON))
    return texts.fill(texts.BANNED, member=ban.user_id)
