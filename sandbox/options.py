"""Turns what a user fills into a slash command into the interaction's data, as Discord's client does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import commands, payloads
from sandbox.model import Channel, File, Guild, Json, Role, User
from sandbox.uploads import make_attachment
from sandbox.world import World


class ClientRefuses(ValueError):
    """Discord's own client would not let the user do this; a hostile one (``raw=True``) would."""


@dataclass
class Resolved:
    """The ``resolved`` part of an interaction: the full things behind the ids in the options."""

    world: World
    channel: Channel
    guild: Guild | None
    data: dict[str, Json] = field(default_factory=dict)

    def user(self, user: User) -> str:
        self._put("users", user.id, payloads.user(user))
        if self.guild is not None and user.id in self.guild.members:
            member = self.guild.members[user.id]
            permissions = {"permissions": str(int(self.world.permissions(user, self.channel)))}
            self._put("members", user.id, payloads.member(member, with_user=False) | permissions)
        return str(user.id)

    def channel_option(self, channel: Channel, asker: User) -> str:
        permissions = self.world.permissions(asker, channel)
        self._put("channels", channel.id, payloads.partial_channel(channel, permissions))
        return str(channel.id)

    def role(self, role: Role) -> str:
        self._put("roles", role.id, payloads.role(role))
        return str(role.id)

    def attachment(self, file: File) -> str:
        attachment = make_attachment(self.world, self.channel.id, file, ephemeral=True)
        self._put("attachments", attachment.id, payloads.attachment(attachment))
        return str(attachment.id)

    def _put(self, kind: str, snowflake: int, body: Json) -> None:
        self.data.setdefault(kind, {})[str(snowflake)] = body


@dataclass(frozen=True)
class Leaf:
    """The part of a command that takes values: the command itself, or a sub-command with the path to it."""

    command: Json
    path: tuple[tuple[int, str], ...]
    options: list[Json]

    def option(self, name: str) -> Json | None:
        return next((option for option in self.options if option["name"] == name), None)


def find_leaf(available: list[Json], name: str) -> Leaf:
    """Find a chat command by its full name (``"quotas set"``).

    Raises:
        ClientRefuses: there is none.
    """
    first, *rest = name.split()
    command = next((c for c in available if c["type"] == commands.CHAT_INPUT and c["name"] == first), None)
    if command is None:
        raise ClientRefuses(f"there is no command /{first}")
    options: list[Json] = command.get("options") or []
    path: list[tuple[int, str]] = []
    for part in rest:
        found = next((o for o in options if o["name"] == part and o["type"] in (1, 2)), None)
        if found is None:
            raise ClientRefuses(f"there is no command /{name}")
        path.append((found["type"], part))
        options = found.get("options") or []
    if options and options[0]["type"] in (1, 2):
        raise ClientRefuses(f"/{name} has sub-commands; name one of them")
    return Leaf(command, tuple(path), options)


def command_data(
    leaf: Leaf,
    values: Mapping[str, Any],
    resolved: Resolved,
    asker: User,
    *,
    raw: bool,
    focused: str | None = None,
) -> Json:
    """The ``data`` of a command or autocomplete interaction.

    With ``raw`` nothing is checked, and options the command does not have go through by the look of their value.

    Raises:
        ClientRefuses: not raw, and a value is missing, unknown, of the wrong type or out of range.
    """
    filled: list[Json] = []
    if not raw and focused is None:
        for option in leaf.options:
            if option.get("required") and values.get(option["name"]) is None:
                raise ClientRefuses(f"This option is required. Specify a value: {option['name']}")
    for name, value in values.items():
        if value is None:
            continue
        known = leaf.option(name)
        if known is None and not raw:
            raise ClientRefuses(f"/{leaf.command['name']} has no option {name}")
        kind = known["type"] if known is not None else _guess(value)
        if known is not None and not raw and name != focused:
            check_value(known, value)
        entry: Json = {"name": name, "type": kind, "value": _wire(kind, value, resolved, asker)}
        if name == focused:
            entry["focused"] = True
        filled.append(entry)
    for kind, part in reversed(leaf.path):
        filled = [{"name": part, "type": kind, "options": filled}]
    data: Json = {"id": leaf.command["id"], "name": leaf.command["name"], "type": commands.CHAT_INPUT}
    if leaf.command.get("guild_id"):
        data["guild_id"] = leaf.command["guild_id"]
    if filled:
        data["options"] = filled
    if resolved.data:
        data["resolved"] = resolved.data
    return data


def _guess(value: object) -> int:
    if isinstance(value, bool):
        return commands.BOOLEAN
    if isinstance(value, int):
        return commands.INTEGER
    if isinstance(value, float):
        return commands.NUMBER
    for kind, number in ((User, 6), (Channel, 7), (Role, 8), (File, 11)):
        if isinstance(value, kind):
            return number
    return commands.STRING


def _wire(kind: int, value: Any, resolved: Resolved, asker: User) -> Any:
    person = getattr(value, "user", None)
    if isinstance(person, User):
        value = person
    match value:
        case User():
            return resolved.user(value)
        case Channel():
            return resolved.channel_option(value, asker)
        case Role():
            return resolved.role(value)
        case File():
            return resolved.attachment(value)
        case _:
            return value


def check_value(option: Json, value: Any) -> None:
    """Check a value as the client does before it sends.

    Raises:
        ClientRefuses: with the reason.
    """
    name, kind = option["name"], option["type"]
    expected: dict[int, tuple[type, ...]] = {
        commands.STRING: (str,),
        commands.INTEGER: (int,),
        commands.BOOLEAN: (bool,),
        commands.NUMBER: (int, float),
        commands.ATTACHMENT: (File,),
    }
    if kind in expected and (
        not isinstance(value, expected[kind]) or (kind != commands.BOOLEAN and isinstance(value, bool))
    ):
        raise ClientRefuses(f"{name}: {value!r} is not a value for an option of type {kind}")
    choices = option.get("choices")
    if choices and value not in [choice["value"] for choice in choices]:
        raise ClientRefuses(f"{name}: {value!r} is not one of the choices")
    if kind in (commands.INTEGER, commands.NUMBER):
        least, most = option.get("min_value"), option.get("max_value")
        if (least is not None and value < least) or (most is not None and value > most):
            raise ClientRefuses(f"{name}: {value} is not between {least} and {most}")
        if abs(value) > 2**53:
            raise ClientRefuses(f"{name}: {value} is outside -2^53 to 2^53")
    if kind == commands.STRING and not choices:
        least, most = option.get("min_length") or 0, min(option.get("max_length") or 6000, 6000)
        if not least <= len(value) <= most:
            raise ClientRefuses(f"{name}: {len(value)} characters are not between {least} and {most}")
