"""The options of /quota, /usage and /quotas, and how each is read."""

from collections.abc import Mapping
from typing import Any, Final, cast

import discord
from discord import app_commands

from cogs.contexts import Interaction
from cogs.options import CommandOption, malformed, read_choice, read_flag, read_integer, read_number
from domain.errors import Code, UserError
from domain.quota import Unit, Window

MOST: Final[Mapping[Unit, int]] = {Unit.IMAGES: 1_000_000, Unit.GPU_SECONDS: 100_000_000, Unit.MONEY: 1_000_000}
"""Largest limits, in pictures, seconds and dollars."""
_LARGEST: Final = float(max(MOST.values()))
MOST_JOBS: Final = 1000
DAYS: Final = 30
MAX_DAYS: Final = 365
_UNITS: Final = tuple(Unit)
_WINDOWS: Final = tuple(Window)
_RANGE: Final = cast("Any", app_commands.Range)


def read_id(option: str) -> Any:
    """Of whatever Discord resolved: a member, a role, a channel."""

    def read(value: object) -> int:
        found = getattr(value, "id", None)
        if not isinstance(found, int):
            raise malformed(option, value, "one from the list")
        return found

    return read


def read_rule(value: object) -> int:
    text = str(value).strip().removeprefix("#")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(Code.RULE_UNKNOWN, rule=str(value)[:40])
    return int(text)


class MessageChannel(app_commands.Transformer):
    """A channel in which pictures can be posted."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """A channel."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Those with messages."""
        kinds = discord.ChannelType
        return [kinds.text, kinds.news, kinds.voice, kinds.public_thread, kinds.private_thread, kinds.news_thread]

    async def transform(self, interaction: Interaction, value: Any, /) -> Any:
        """As it is: only its id is used."""
        return value


UNIT: Final = CommandOption(
    "unit", "What is counted; left out: images", str, read_choice("unit", _UNITS), choices=_UNITS
)
SET: Final = (
    CommandOption(
        "limit",
        "The most there may be in the window: pictures, GPU seconds or US dollars. 0 forbids",
        _RANGE[float, 0.0, _LARGEST],
        read_number("limit", 0, _LARGEST),
        required=True,
    ),
    CommandOption("member", "For one member alone", discord.User, read_id("member")),
    CommandOption("role", "For each member with this role", discord.Role, read_id("role")),
    CommandOption(
        "channel",
        "For everybody together in this channel",
        MessageChannel,
        read_id("channel"),
    ),
    UNIT,
    CommandOption(
        "window",
        "Over which time; left out: a day",
        str,
        read_choice("window", _WINDOWS),
        choices=_WINDOWS,
    ),
    CommandOption(
        "each_member",
        "True: for each member by themselves. Left out: for the whole server together",
        bool,
        read_flag("each_member"),
    ),
)
REMOVE: Final = (
    CommandOption("rule", "Which rule, by the number in /quotas list", str, read_rule, True, autocomplete="rule"),
)
GRANT: Final = (
    CommandOption("member", "Who gets it", discord.User, read_id("member"), required=True),
    CommandOption(
        "amount",
        "How much more: pictures, GPU seconds or US dollars",
        _RANGE[float, 0.0, _LARGEST],
        read_number("amount", 0, _LARGEST),
        required=True,
    ),
    UNIT,
)


EXEMPT: Final = (
    CommandOption("member", "Whose own pictures and GPU time are not limited", discord.User, read_id("member"), True),
    CommandOption("off", "True: their limits hold again", bool, read_flag("off")),
)
QUOTA: Final = (CommandOption("member", "Somebody else's (Manage Server)", discord.User, read_id("member")),)


CAPS: Final = (
    CommandOption(
        "waiting",
        "Jobs that a member may have waiting or under way here. 0: as the operator has it",
        _RANGE[int, 0, MOST_JOBS],
        read_integer("waiting", 0, MOST_JOBS),
    ),
    CommandOption(
        "running",
        "Of these, jobs under way at a time. 0: as the operator has it",
        _RANGE[int, 0, MOST_JOBS],
        read_integer("running", 0, MOST_JOBS),
    ),
    CommandOption(
        "server",
        "Jobs that may wait in the whole server. 0: as the operator has it",
        _RANGE[int, 0, MOST_JOBS],
        read_integer("server", 0, MOST_JOBS),
    ),
)
CONFIRM: Final = (
    CommandOption(
        "above",
        "In US dollars. 0: before each job that costs. Left out: as the operator has it",
        _RANGE[float, 0.0, float(MOST[Unit.MONEY])],
        read_number("above", 0, MOST[Unit.MONEY]),
    ),
)
DAYS_BACK: Final = (
    CommandOption(
        "days",
        "How many days back; left out: 30",
        _RANGE[int, 1, MAX_DAYS],
        read_integer("days", 1, MAX_DAYS),
    ),
)
USAGE: Final = (
    *DAYS_BACK,
    CommandOption(
        "server", "True: the whole server (Manage Server). Left out: all you may see", bool, read_flag("server")
    ),
)
