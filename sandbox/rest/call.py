"""One call of the REST API, and the table of routes that modules add to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox import errors
from sandbox.commands import Commands
from sandbox.gateway import Gateway
from sandbox.interactions import Interactions
from sandbox.messages import Messages
from sandbox.model import Channel, File, Guild, Json
from sandbox.permissions import Permission, in_guild
from sandbox.uploads import Body
from sandbox.world import World


@dataclass(frozen=True)
class Services:
    """What handlers work with."""

    world: World
    messages: Messages
    interactions: Interactions
    commands: Commands
    gateway: Gateway


@dataclass
class Reply:
    """An answer: a status, and JSON or (None) no body."""

    status: int = 200
    json: Any = None


@dataclass
class Call:
    """A request on its way through a handler."""

    services: Services
    parameters: dict[str, str]
    query: dict[str, str]
    body: Body = field(default_factory=Body)

    @property
    def world(self) -> World:
        return self.services.world

    @property
    def json(self) -> Json:
        """The body as an object.

        Raises:
            ApiError: it is something else (50035).
        """
        if self.body.json is None:
            return {}
        if not isinstance(self.body.json, dict):
            raise errors.form_error("_body", "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return self.body.json

    @property
    def files(self) -> dict[int, File]:
        return self.body.files

    def id(self, name: str) -> int:
        """A snowflake of the path.

        Raises:
            ApiError: it is none (50035).
        """
        value = self.parameters[name]
        if not value.isdecimal() or len(value) > 20:
            raise errors.form_error(name, "NUMBER_TYPE_COERCE", f'Value "{value[:64]}" is not snowflake.')
        return int(value)

    def application(self) -> None:
        """Check that the application of the path is the bot's own."""
        if self.id("application_id") != self.world.application.id:
            raise errors.unknown_application()

    def channel(self, needed: Permission = Permission.NONE, *, parameter: str = "channel_id") -> Channel:
        """The channel of the path, if the bot sees it and has the permissions needed there.

        Raises:
            ApiError: unknown (10003), not visible (50001), or a permission is missing (50013).
        """
        channel = self.world.channels.get(self.id(parameter))
        if channel is None:
            raise errors.unknown_channel()
        have = self.world.permissions(self.world.bot, channel)
        if not have & Permission.VIEW_CHANNEL:
            raise errors.missing_access()
        if needed & ~have:
            raise errors.missing_permissions()
        return channel

    def guild(self, needed: Permission = Permission.NONE) -> Guild:
        """The guild of the path, if the bot is a member with the permissions needed.

        Raises:
            ApiError: unknown (10004), not a member (50001), or a permission is missing (50013).
        """
        guild = self.world.guild(self.id("guild_id"))
        member = guild.members.get(self.world.bot.id)
        if member is None:
            raise errors.missing_access()
        if needed & ~in_guild(guild, member):
            raise errors.missing_permissions()
        return guild


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """A route by the template that Discord's OpenAPI description has for it."""

    method: str
    template: str
    handler: Handler
    needs_token: bool


TABLE: list[Route] = []


def route(method: str, template: str, *, needs_token: bool = True) -> Callable[[Handler], Handler]:
    """Register a handler under ``/api/v10`` + template."""

    def register(handler: Handler) -> Handler:
        TABLE.append(Route(method, template, handler, needs_token))
        return handler

    return register
