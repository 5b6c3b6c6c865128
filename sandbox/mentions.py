"""Who a message speaks of, and whom of them it may notify."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.errors import FormErrors
from sandbox.model import Channel, Json, Message, Pings, User
from sandbox.permissions import Permission
from sandbox.world import World

_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")
_EVERYONE = re.compile(r"@(everyone|here)\b")


@dataclass(frozen=True)
class Mentioned:
    users: list[User]
    roles: list[int]
    everyone: bool
    pings: Pings


def check_allowed(allowed: object, wrong: FormErrors) -> None:
    """Note what is wrong with an ``allowed_mentions`` object."""
    if allowed is None:
        return
    if not isinstance(allowed, dict):
        wrong.add("allowed_mentions", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return
    parse = allowed.get("parse") or []
    for index, kind in enumerate(parse):
        if kind not in ("users", "roles", "everyone"):
            wrong.add(f"allowed_mentions.parse.{index}", "BASE_TYPE_CHOICES", "Must be users, roles or everyone.")
    for key in ("users", "roles"):
        if allowed.get(key):
            wrong.count(f"allowed_mentions.{key}", allowed[key], most=100)
            if key in parse:
                wrong.add(
                    f"allowed_mentions.{key}",
                    "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                    f'parse:["{key}"] and {key}: [ids...] are mutually exclusive.',
                )


def find(
    world: World, channel: Channel, author: User, text: str, allowed: Json | None, replied_to: Message | None
) -> Mentioned:
    """Read the mentions of a text under ``allowed_mentions`` (None: everything that the author may ping)."""
    guild = world.guild_of(channel)
    parse = ["users", "roles", "everyone"] if allowed is None else allowed.get("parse") or []
    listed_users = {int(listed) for listed in (allowed or {}).get("users") or []}
    listed_roles = {int(listed) for listed in (allowed or {}).get("roles") or []}
    may_ping_all = bool(world.permissions(author, channel) & Permission.MENTION_EVERYONE)

    named = [world.users[found] for found in dict.fromkeys(map(int, _USER.findall(text))) if found in world.users]
    users = {user.id for user in named if "users" in parse or user.id in listed_users}
    roles: set[int] = set()
    if guild is not None:
        for role_id in map(int, _ROLE.findall(text)):
            role = guild.roles.get(role_id)
            if role and (role.mentionable or may_ping_all) and ("roles" in parse or role_id in listed_roles):
                roles.add(role_id)
    everyone = bool(_EVERYONE.search(text)) and "everyone" in parse and may_ping_all and guild is not None
    if replied_to is not None and (allowed is None or allowed.get("replied_user", False)):
        users.add(replied_to.author.id)
        if replied_to.author not in named:
            named.append(replied_to.author)
    pinged = Pings(frozenset(users), frozenset(roles), everyone)
    return Mentioned([user for user in named if user.id in users], sorted(roles), everyone, pinged)
