"""Slash commands made from tables of options."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import discord
from discord import app_commands

from cogs.command_options import CommandOption
from cogs.contexts import ALL_INSTALLS, GUILD_INSTALLS, IN_SERVERS, Interaction

log = logging.getLogger(__name__)

Run = Callable[[Interaction, Mapping[str, object]], Awaitable[None]]
Complete = Callable[[Interaction, str], Awaitable[Sequence[tuple[str, str]]]]
"""From what was typed to choices: what is shown, and the value."""

SlashCommand = app_commands.Command[Any, ..., None]
Offered = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu
_EVERYWHERE = "everywhere"
"""Key in a command's ``extras``."""

MAX_CHOICES = 25
MAX_CHOICE_CHARACTERS = 100


def slash(
    name: str,
    description: str,
    run: Run,
    options: Sequence[CommandOption] = (),
    completions: Mapping[str, Complete] | None = None,
    *,
    everywhere: bool = False,
) -> SlashCommand:
    """A command. ``run`` gets the raw values; what was left out is not among them.

    ``everywhere``: it also makes sense outside servers, where the operator allows that.
    """

    async def callback(interaction: Interaction, **values: object) -> None:
        await run(interaction, {key: value for key, value in values.items() if value is not None})

    parameters = [inspect.Parameter("interaction", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Interaction)]
    for option in options:
        default = inspect.Parameter.empty if option.required else None
        parameters.append(
            inspect.Parameter(
                option.name, inspect.Parameter.KEYWORD_ONLY, annotation=option.annotation, default=default
            )
        )
    # discord.py reads a command's options from its callback's signature.
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    if options:
        app_commands.describe(**{option.name: option.description for option in options})(callback)
        app_commands.choices(
            **{
                option.name: [app_commands.Choice(name=choice, value=choice) for choice in option.choices]
                for option in options
                if option.choices
            }
        )(callback)
        app_commands.autocomplete(
            **{
                option.name: _completer((completions or {})[option.autocomplete])
                for option in options
                if option.autocomplete is not None
            }
        )(callback)
    command: SlashCommand = app_commands.Command(
        name=name,
        description=description,
        callback=callback,
        allowed_contexts=IN_SERVERS,
        allowed_installs=GUILD_INSTALLS,
        extras={_EVERYWHERE: everywhere},
    )
    return command


def _completer(complete: Complete) -> Any:
    async def completer(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        try:
            choices = await complete(interaction, str(current))
        except Exception:
            # Nobody can be told in an autocomplete: no choices, and the log.
            log.exception("autocomplete of %r failed", interaction.command)
            return []
        return [
            app_commands.Choice(name=name[:MAX_CHOICE_CHARACTERS], value=value)
            for name, value in choices
            if name and value and len(value) <= MAX_CHOICE_CHARACTERS
        ][:MAX_CHOICES]

    return completer


def menu(name: str, callback: Callable[..., Any], *, everywhere: bool = False) -> app_commands.ContextMenu:
    """An entry in the menu of a message or a person; the callback's annotation says of which."""
    return app_commands.ContextMenu(
        name=name,
        callback=callback,
        allowed_contexts=IN_SERVERS,
        allowed_installs=GUILD_INSTALLS,
        extras={_EVERYWHERE: everywhere},
    )


def is_for_everywhere(command: Offered) -> bool:
    """Whether it makes sense outside servers, too."""
    return bool(command.extras.get(_EVERYWHERE))


def offer_in(command: Offered, contexts: app_commands.AppCommandContext) -> None:
    """Offer the command in these contexts: what is offered outside servers, people can bring there themselves."""
    command.allowed_contexts = contexts
    command.allowed_installs = GUILD_INSTALLS if contexts is IN_SERVERS else ALL_INSTALLS


def group(name: str, description: str, *commands: SlashCommand, permissions: discord.Permissions) -> app_commands.Group:
    """A command with sub-commands, shown to members with these permissions."""
    made = app_commands.Group(
        name=name,
        description=description,
        allowed_contexts=IN_SERVERS,
        allowed_installs=GUILD_INSTALLS,
        default_permissions=permissions,
    )
    for command in commands:
        made.add_command(command)
    return made
