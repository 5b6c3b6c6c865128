"""Application commands: what a bot registered, checked as Discord checks it.

https://discord.com/developers/docs/interactions/application-commands
"""

from __future__ import annotations

import copy
import unicodedata
from enum import IntEnum
from typing import Any

from sandbox import errors
from sandbox.errors import FormErrors
from sandbox.events import CommandsChanged
from sandbox.model import Channel, Json, User
from sandbox.world import World

CHAT_INPUT, USER, MESSAGE = 1, 2, 3
SUB_COMMAND, SUB_COMMAND_GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER_OPTION, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = (
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
)

MOST = {CHAT_INPUT: 100, USER: 15, MESSAGE: 15}
COMMAND_CHARACTERS = 8000


class Context(IntEnum):
    """Where an interaction can be: https://discord.com/developers/docs/interactions/receiving-and-responding"""

    GUILD = 0
    BOT_DM = 1
    PRIVATE_CHANNEL = 2


class Integration(IntEnum):
    """Who has installed the app."""

    GUILD = 0
    USER = 1


def context_of(channel: Channel) -> Context:
    """Which kind of place a channel is for commands."""
    if channel.guild_id is not None:
        return Context.GUILD
    return Context.BOT_DM if channel.is_with_bot else Context.PRIVATE_CHANNEL


class Commands:
    """The registered commands: global ones under None, a guild's own under its id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scopes: dict[int | None, dict[int, Json]] = {}

    def registered(self, guild_id: int | None) -> list[Json]:
        return list(self._scopes.get(guild_id, {}).values())

    def available(self, user: User, channel: Channel) -> list[Json]:
        """What a user finds in a channel: a guild's own command hides the global one.

        What is for the guild's installation is there where the bot is; what is for a user's, wherever that user is.
        """
        has_bot = self._world.has_bot(channel)
        own = self.registered(channel.guild_id) if channel.guild_id is not None and has_bot else []
        hidden = {(command["type"], command["name"]) for command in own}
        context = context_of(channel)
        kinds = {Integration.GUILD} if has_bot else set()
        if user.id in self._world.application.installed_by:
            kinds.add(Integration.USER)
        shared = [
            command
            for command in self.registered(None)
            if (command["type"], command["name"]) not in hidden
            and (command.get("contexts") is None or context in command["contexts"])
            and kinds & set(command["integration_types"])
        ]
        return own + shared

    def get(self, guild_id: int | None, command_id: int) -> Json:
        try:
            return self._scopes[guild_id][command_id]
        except KeyError:
            raise errors.unknown_command() from None

    def replace(self, guild_id: int | None, bodies: object) -> list[Json]:
        """Bulk overwrite: commands of the same name and type keep their id."""
        wrong = FormErrors()
        if not isinstance(bodies, list):
            raise errors.form_error("_commands", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        for index, body in enumerate(bodies):
            check_command(body, f"{index}", wrong)
        names = [(body.get("type") or CHAT_INPUT, body.get("name")) for body in bodies]
        for index, name in enumerate(names):
            if name in names[:index]:
                wrong.add(
                    f"{index}.name",
                    "APPLICATION_COMMANDS_DUPLICATE_NAME",
                    "Application command names must be unique",
                )
        for kind, most in MOST.items():
            if sum(1 for name in names if name[0] == kind) > most:
                wrong.add("_commands", "APPLICATION_COMMANDS_LIMIT", f"At most {most} commands of type {kind}.")
        wrong.raise_if_any()
        before = {(command["type"], command["name"]): command for command in self.registered(guild_id)}
        made = [self._make(guild_id, body, before.get(name)) for body, name in zip(bodies, names, strict=True)]
        self._scopes[guild_id] = {int(command["id"]): command for command in made}
        self._world.hub.publish(CommandsChanged(guild_id))
        return made

    def upsert(self, guild_id: int | None, body: Json) -> tuple[Json, bool]:
        """Create one, or overwrite the one of the same name; tells whether it is new."""
        wrong = FormErrors()
        check_command(body, "", wrong)
        wrong.raise_if_any()
        key = (body.get("type") or CHAT_INPUT, body["name"])
        before = next((c for c in self.registered(guild_id) if (c["type"], c["name"]) == key), None)
        command = self._make(guild_id, body, before)
        self._scopes.setdefault(guild_id, {})[int(command["id"])] = command
        self._world.hub.publish(CommandsChanged(guild_id))
        return command, before is None

    def edit(self, guild_id: int | None, command_id: int, body: Json) -> Json:
        before = self.get(guild_id, command_id)
        merged = {key: value for key, value in before.items() if key in _KEPT} | body
        wrong = FormErrors()
        check_command(merged, "", wrong)
        wrong.raise_if_any()
        command = self._make(guild_id, merged, before)
        self._scopes[guild_id][command_id] = command
        self._world.hub.publish(CommandsChanged(guild_id))
        return command

    def delete(self, guild_id: int | None, command_id: int) -> None:
        self.get(guild_id, command_id)
        del self._scopes[guild_id][command_id]
        self._world.hub.publish(CommandsChanged(guild_id))

    def _make(self, guild_id: int | None, body: Json, before: Json | None) -> Json:
        world = self._world
        permissions = body.get("default_member_permissions")
        command: Json = {
            "id": before["id"] if before else str(world.ids.next()),
            "application_id": str(world.application.id),
            "version": str(world.ids.next()),
            "default_member_permissions": None if permissions is None else str(permissions),
            "type": body.get("type") or CHAT_INPUT,
            "name": body["name"],
            "name_localizations": body.get("name_localizations"),
            "description": body.get("description") or "",
            "description_localizations": body.get("description_localizations"),
            "dm_permission": bool(body.get("dm_permission", True)),
            "contexts": body.get("contexts"),
            "integration_types": body.get("integration_types") or [0],
            "nsfw": bool(body.get("nsfw", False)),
        }
        if body.get("options"):
            command["options"] = [_clean_option(option) for option in body["options"]]
        if guild_id is not None:
            command["guild_id"] = str(guild_id)
            del command["dm_permission"]
        return command


_KEPT = {
    "type",
    "name",
    "name_localizations",
    "description",
    "description_localizations",
    "default_member_permissions",
    "dm_permission",
    "contexts",
    "integration_types",
    "nsfw",
    "options",
}


def _clean_option(option: Json) -> Json:
    cleaned = {key: copy.deepcopy(value) for key, value in option.items() if value is not None}
    if "options" in cleaned:
        cleaned["options"] = [_clean_option(inner) for inner in cleaned["options"]]
    if not cleaned.get("choices", True):
        del cleaned["choices"]
    return cleaned


def check_command(body: Any, path: str, wrong: FormErrors) -> None:
    """Note what is wrong with a command; ``path`` is where it stands in the request."""
    if not isinstance(body, dict):
        wrong.add(path or "_command", "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return
    prefix = f"{path}." if path else ""
    kind = body.get("type") or CHAT_INPUT
    if kind not in MOST:
        wrong.add(f"{prefix}type", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3}.")
        return
    if kind == CHAT_INPUT:
        _check_name(f"{prefix}name", body.get("name"), wrong)
        wrong.length(f"{prefix}description", body.get("description") or "", most=100, least=1)
        _check_options(f"{prefix}options", body.get("options") or [], wrong, depth=0)
    else:
        wrong.length(f"{prefix}name", body.get("name"), most=32, least=1)
        if body.get("description"):
            wrong.add(
                f"{prefix}description",
                "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_CANNOT_EXIST",
                "Context menu commands cannot have description",
            )
    for key in ("name_localizations", "description_localizations"):
        for locale, text in (body.get(key) or {}).items():
            wrong.length(f"{prefix}{key}.{locale}", text, most=32 if key.startswith("name") else 100, least=1)
    if not wrong and _characters(body) > COMMAND_CHARACTERS:
        wrong.add(
            path or "_command",
            "APPLICATION_COMMAND_TOO_LARGE",
            f"Command exceeds maximum size ({COMMAND_CHARACTERS})",
        )


def _check_name(path: str, name: object, wrong: FormErrors) -> None:
    wrong.length(path, name, most=32, least=1)
    if not isinstance(name, str) or not name:
        return
    valid = all(ch.isalnum() or ch in "-_'" or unicodedata.category(ch)[0] == "M" for ch in name)
    if not valid or name != name.lower():
        wrong.add(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _check_options(path: str, options: list[Json], wrong: FormErrors, *, depth: int) -> None:
    wrong.count(path, options, most=25)
    seen: set[object] = set()
    optional_before = False
    nested = {SUB_COMMAND, SUB_COMMAND_GROUP}
    for index, option in enumerate(options):
        place = f"{path}.{index}"
        kind = option.get("type")
        _check_name(f"{place}.name", option.get("name"), wrong)
        wrong.length(f"{place}.description", option.get("description") or "", most=100, least=1)
        if option.get("name") in seen:
            wrong.add(f"{path}", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists")
        seen.add(option.get("name"))
        if kind not in range(1, 12) or (kind in nested and depth >= (2 if kind == SUB_COMMAND else 1)):
            wrong.add(f"{place}.type", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Option type is invalid here")
            continue
        if kind in nested:
            _check_options(f"{place}.options", option.get("options") or [], wrong, depth=depth + 1)
            continue
        required = bool(option.get("required"))
        if required and optional_before:
            wrong.add(
                f"{place}.required",
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            )
        optional_before = optional_before or not required
        _check_value_option(place, option, wrong)
    kinds = {option.get("type") in nested for option in options}
    if len(kinds) == 2:
        wrong.add(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-commands and options exclude each other")


def _check_value_option(place: str, option: Json, wrong: FormErrors) -> None:
    choices = option.get("choices") or []
    wrong.count(f"{place}.choices", choices, most=25)
    if choices and option.get("autocomplete"):
        wrong.add(place, "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE", "Autocomplete and choices exclude each other")
    for number, choice in enumerate(choices):
        wrong.length(f"{place}.choices.{number}.name", choice.get("name"), most=100, least=1)
        if option["type"] == STRING:
            wrong.length(f"{place}.choices.{number}.value", choice.get("value"), most=100, least=1)
    for key, most in (("min_length", 6000), ("max_length", 6000)):
        value = option.get(key)
        if value is not None and not 0 <= value <= most:
            wrong.add(f"{place}.{key}", "NUMBER_TYPE_MAX", f"int value should be between 0 and {most}.")


def _characters(node: Json) -> int:
    """The characters that count towards 8000: names, descriptions and values; the longest localization of each."""
    total = 0
    for key in ("name", "description"):
        texts = [node.get(key) or "", *(node.get(f"{key}_localizations") or {}).values()]
        total += max(len(text) for text in texts)
    if isinstance(node.get("value"), str):
        total += len(node["value"])
    for key in ("options", "choices"):
        total += sum(_characters(child) for child in node.get(key) or [])
    return total
