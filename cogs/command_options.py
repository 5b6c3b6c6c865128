"""The options of commands: how each kind is shown to Discord and read back.

Discord's client keeps to the ranges that are declared; a hostile client sends anything. So every value is
checked again here, and the error names the option.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import discord
from discord import app_commands

from cogs.contexts import Interaction
from cogs.ui import words
from config.parameters import not_a_choice, out_of_range
from domain.errors import Code, UserError

Read = Callable[[object], object]

_RANGE: Final = cast("Any", app_commands.Range)


@dataclass(frozen=True)
class CommandOption:
    """One option of a command."""

    name: str
    description: str
    annotation: Any
    """What discord.py makes Discord's option type from."""
    read: Read
    """Raw value -> checked value; raises UserError that names the option."""
    required: bool = False
    choices: tuple[str, ...] = ()
    autocomplete: str | None = None
    """Name of the function that completes it."""
    field: str | None = None
    """The request's field that it fills, where that is called otherwise."""


def read_options(options: Iterable[CommandOption], values: Mapping[str, object]) -> dict[str, object]:
    """Read and check every value that was given, by the request's fields. Raises UserError."""
    return {
        option.field or option.name: option.read(values[option.name])
        for option in options
        if values.get(option.name) is not None
    }


def malformed(option: str, value: object, expected: str) -> UserError:
    """The error for a value of the wrong kind."""
    return UserError(Code.OPTION_MALFORMED, option=option, value=str(value)[:100], expected=expected)


def read_text(option: str, maximum: int) -> Read:
    """Trimmed text of 1 to ``maximum`` characters."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise malformed(option, value, "text")
        # Lone surrogates are legal JSON, but no text: they can't be stored or sent on.
        text = value.encode("utf-8", "replace").decode().strip()
        if not text:
            if option == "prompt":
                raise UserError(Code.PROMPT_EMPTY)
            raise malformed(option, value, "text")
        if len(text) > maximum:
            raise UserError(Code.PROMPT_TOO_LONG, option=option, limit=maximum, length=len(text))
        return text

    return read


def read_integer(option: str, minimum: int, maximum: int) -> Read:
    """A whole number in a closed range."""

    def read(value: object) -> int:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 40:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise malformed(option, value, "a whole number")
        if value != int(value):
            raise malformed(option, words.number(value), "a whole number")
        if not minimum <= value <= maximum:
            raise out_of_range(option, value, minimum, maximum)
        return int(value)

    return read


def read_number(option: str, minimum: float, maximum: float) -> Read:
    """A number in a closed range."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise malformed(option, value, "a number")
        if not minimum <= value <= maximum:
            raise out_of_range(option, value, minimum, maximum)
        return float(value)

    return read


def read_choice(option: str, choices: Sequence[str]) -> Read:
    """One of a few words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise not_a_choice(option, str(value), choices)
        return value

    return read


def read_flag(option: str) -> Read:
    """True or false."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise malformed(option, value, "true or false")
        return value

    return read


def read_id(option: str) -> Read:
    """The id of whatever Discord resolved: a member, a role, a channel."""

    def read(value: object) -> int:
        found = getattr(value, "id", None)
        if not isinstance(found, int):
            raise malformed(option, value, "one from the list")
        return found

    return read


# The kinds of options that there are. What is declared to Discord and what is checked here is said once.


def text_option(name: str, description: str, longest: int, *, required: bool = False) -> CommandOption:
    """Text that is typed, of at most so many characters."""
    return CommandOption(name, description, _RANGE[str, 1, longest], read_text(name, longest), required)


def picked_option(
    name: str, description: str, autocomplete: str, longest: int = 100, *, required: bool = False
) -> CommandOption:
    """Text that is completed while it is typed; ``autocomplete`` names the function."""
    return CommandOption(name, description, str, read_text(name, longest), required, autocomplete=autocomplete)


def integer_option(name: str, description: str, least: int, most: int, *, required: bool = False) -> CommandOption:
    """A whole number in a closed range."""
    return CommandOption(name, description, _RANGE[int, least, most], read_integer(name, least, most), required)


def number_option(name: str, description: str, least: float, most: float, *, required: bool = False) -> CommandOption:
    """A number in a closed range."""
    annotation = _RANGE[float, float(least), float(most)]
    return CommandOption(name, description, annotation, read_number(name, least, most), required)


def choice_option(name: str, description: str, choices: Sequence[str], *, required: bool = False) -> CommandOption:
    """One of a few words, which Discord lists."""
    return CommandOption(name, description, str, read_choice(name, choices), required, tuple(choices))


def flag_option(name: str, description: str, *, required: bool = False) -> CommandOption:
    """True or false."""
    return CommandOption(name, description, bool, read_flag(name), required)


def member_option(name: str, description: str, *, required: bool = False) -> CommandOption:
    """Somebody, by their id."""
    return CommandOption(name, description, discord.User, read_id(name), required)


def role_option(name: str, description: str, *, required: bool = False) -> CommandOption:
    """A role, by its id."""
    return CommandOption(name, description, discord.Role, read_id(name), required)


def message_channel_option(name: str, description: str) -> CommandOption:
    """A channel in which pictures can be posted, by its id."""
    return CommandOption(name, description, _MessageChannel, read_id(name))


def channel_option(name: str, description: str) -> CommandOption:
    """Any channel or category, by its id."""
    return CommandOption(name, description, _AnyChannel, read_id(name))


class _Channel(app_commands.Transformer):
    """Discord offers channels of some kinds; what was picked is read as every option is."""

    kinds: tuple[discord.ChannelType, ...]

    @property
    def type(self) -> discord.AppCommandOptionType:
        """A channel."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """What Discord offers."""
        return list(self.kinds)

    async def transform(self, interaction: Interaction, value: Any, /) -> Any:
        """As it is: only its id is used."""
        return value


class _MessageChannel(_Channel):
    kinds = (
        discord.ChannelType.text,
        discord.ChannelType.news,
        discord.ChannelType.voice,
        discord.ChannelType.public_thread,
        discord.ChannelType.private_thread,
        discord.ChannelType.news_thread,
    )


class _AnyChannel(_Channel):
    # Every kind that a member can be in, and categories. Discord's own description knows no media channels.
    kinds = (
        discord.ChannelType.text,
        discord.ChannelType.news,
        discord.ChannelType.voice,
        discord.ChannelType.forum,
        discord.ChannelType.category,
    )
