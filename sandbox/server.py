"""The sandbox as one thing: a server on loopback with a world inside, and the handles that tests use."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from sandbox import cdn, default_world
from sandbox import openapi as openapi_description
from sandbox.clock import Clock, SystemClock
from sandbox.commands import Commands
from sandbox.events import ChannelUpdated
from sandbox.faults import Faults
from sandbox.gateway import HEARTBEAT_MS, Gateway
from sandbox.hands import Hands
from sandbox.interactions import ACKNOWLEDGE_SECONDS, Interaction, Interactions
from sandbox.invocation import TIMEOUT
from sandbox.messages import Messages
from sandbox.model import Channel, Guild, Message, Overwrite, User
from sandbox.page import Page
from sandbox.permissions import Permission
from sandbox.ratelimits import RateLimits
from sandbox.rest.api import PREFIX, Api, Record
from sandbox.rest.call import Services
from sandbox.uploads import MOST_REQUEST_BYTES

HOST = "127.0.0.1"
TOKEN = "sandbox.token.not-a-secret"  # noqa: S105 -- it opens nothing but this sandbox


@web.middleware
async def _own_host_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse what a foreign web page in the same browser could send here (DNS rebinding, cross-site posts)."""
    if request.url.host not in (HOST, "localhost"):
        raise web.HTTPForbidden(text="the sandbox answers on loopback only")
    origin = request.headers.get("Origin")
    if origin is not None and origin not in (
        f"http://{HOST}:{request.url.port}",
        f"http://localhost:{request.url.port}",
    ):
        raise web.HTTPForbidden(text="the sandbox takes requests of its own page only")
    return await handler(request)


class Sandbox:
    """A Discord of one's own, alive inside ``async with``.

    Args:
        port: 0 picks a free one.
        token: the bot token that is accepted.
        clock: the time of the world; rate limits keep to the machine's own.
        openapi: path of Discord's OpenAPI description; default ``EASEL_DISCORD_OPENAPI``, else no checking.
        granted_intents: privileged gateway intents switched on, as bits.
        rate_limits: narrower or wider buckets.
        heartbeat_ms: what HELLO asks for.
        bot_name: the bot's user name.
        acknowledge_seconds: how long an interaction waits for its acknowledgement. Discord's three seconds unless a
            test is about something else and its machine may be busy.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        token: str = TOKEN,
        clock: Clock | None = None,
        openapi: str | Path | None = None,
        granted_intents: int = 0,
        rate_limits: RateLimits | None = None,
        heartbeat_ms: int = HEARTBEAT_MS,
        bot_name: str = "Easel",
        acknowledge_seconds: float = ACKNOWLEDGE_SECONDS,
    ) -> None:
        self.token = token
        self.clock: Clock = clock or SystemClock()
        self.world, self.furniture = default_world.build(self.clock, bot_name, granted_intents)
        self.messages = Messages(self.world)
        self.interactions = Interactions(self.world, self.messages, acknowledge_seconds)
        self.commands = Commands(self.world)
        self.gateway = Gateway(self.world, token, heartbeat_ms=heartbeat_ms)
        self.faults = Faults()
        self.rate_limits = rate_limits or RateLimits()
        path = openapi or os.environ.get("EASEL_DISCORD_OPENAPI")
        self._services = Services(self.world, self.messages, self.interactions, self.commands, self.gateway)
        description = openapi_description.load(Path(path).resolve()) if path else None
        self._api = Api(self._services, token, self.rate_limits, self.faults, description)
        self._page = Page(self._services, self.furniture.alice)
        self._port = port
        self._runner: web.AppRunner | None = None

    # -- running ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MOST_REQUEST_BYTES, middlewares=[_own_host_only])
        app.add_routes(self._page.routes())
        app.add_routes(self._api.routes())
        app.add_routes(cdn.Cdn(self.world).routes())
        app.add_routes([web.get("/gateway", self.gateway.handle), web.get("/gateway/", self.gateway.handle)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.gateway.url = self.gateway_url
        self.world.cdn_base = self.cdn_url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.clear()
        await self.interactions.close()
        self._page.close()
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self._port}/"

    @property
    def api_url(self) -> str:
        """For DISCORD_API_URL."""
        return f"http://{HOST}:{self._port}{PREFIX}"

    @property
    def gateway_url(self) -> str:
        """For DISCORD_GATEWAY_URL."""
        return f"ws://{HOST}:{self._port}/gateway"

    @property
    def cdn_url(self) -> str:
        """For DISCORD_CDN_URL."""
        return f"http://{HOST}:{self._port}{cdn.PREFIX}"

    # -- looking ---------------------------------------------------------------------------------

    @property
    def violations(self) -> list[str]:
        """Where bot or sandbox left Discord's description, and requests to routes that do not exist here."""
        return self._api.violations

    @property
    def requests(self) -> list[Record]:
        """Every REST request so far with its answer, oldest first."""
        return self._api.requests

    @property
    def guild(self) -> Guild:
        """Easel Studio."""
        return self.furniture.guild

    @property
    def studio(self) -> Channel:
        """#studio of Easel Studio."""
        return self.furniture.studio

    def channel(self, name: str, guild: Guild | None = None) -> Channel:
        """A channel or thread of a guild (Easel Studio unless told otherwise) by its name."""
        for channel in (guild or self.guild).channels.values():
            if channel.name == name:
                return channel
        raise KeyError(name)

    def user(self, name: str) -> Hands:
        """A user's hands by user name: alice, bob, ada, or one made with :meth:`add_user`."""
        for user in self.world.users.values():
            if user.username == name:
                return Hands(self._services, user)
        raise KeyError(name)

    def messages_in(self, channel: Channel, viewer: Hands | None = None) -> list[Message]:
        """The messages of a channel, oldest first; ephemeral ones only for their viewer."""
        return [
            message
            for message in channel.messages.values()
            if message.visible_to is None or (viewer is not None and message.visible_to == viewer.id)
        ]

    async def wait_for_message(
        self,
        channel: Channel,
        predicate: Callable[[Message], bool] = lambda message: True,
        timeout: float = TIMEOUT,
        *,
        after: Message | Interaction | None = None,
    ) -> Message:
        """The first message of a channel (ephemeral ones too) for which the predicate holds, now or by an edit.

        Raises:
            TimeoutError: none came in ``timeout`` real seconds; the text lists what is there.
        """
        start = after.id if after is not None else 0

        def look() -> Message | None:
            return next((m for m in list(channel.messages.values()) if m.id > start and predicate(m)), None)

        try:
            return await self.world.hub.wait(look, timeout, f"a message in #{channel.name}")
        except TimeoutError as error:
            there = [message.text[:200] for message in channel.messages.values()]
            raise TimeoutError(f"{error}; there are {there}") from None

    async def wait_until(
        self, condition: Callable[[], bool], timeout: float = TIMEOUT, what: str = "a condition"
    ) -> None:
        """Wait until a condition on the sandbox's state holds, looking after every event and request."""
        await self.world.hub.wait(lambda: condition() or None, timeout, what)

    async def wait_for_bot(self, command: str | None = None, timeout: float = 60.0) -> None:
        """Wait until a bot is online and (if named) has registered a command."""

        def ready() -> bool:
            names = {c["name"] for guild_id in (None, *self.world.guilds) for c in self.commands.registered(guild_id)}
            return self.gateway.online and (command is None or command in names)

        await self.wait_until(ready, timeout, "the bot")

    # -- changing --------------------------------------------------------------------------------

    def add_user(self, username: str, *guilds: Guild, name: str | None = None) -> Hands:
        """A new user, a member of the guilds named (of Easel Studio if none are)."""
        user = self.world.add_user(username, name)
        for guild in guilds or (self.guild,):
            self.world.add_member(guild, user)
        return Hands(self._services, user)

    def add_guild(self, name: str, *, channels: tuple[str, ...] = ("general",), with_bot: bool = True) -> Guild:
        """A new guild with Alice, Bob and Ada; a connected bot joins it unless told otherwise."""
        guild = self.world.add_guild(name, owner=self.furniture.ada, with_bot=with_bot)
        for user in (self.furniture.alice, self.furniture.bob):
            self.world.add_member(guild, user)
        for channel in channels:
            self.world.add_channel(guild, channel)
        return guild

    def overwrite(
        self,
        channel: Channel,
        target: User,
        *,
        allow: Permission = Permission.NONE,
        deny: Permission = Permission.NONE,
    ) -> None:
        """Set a user's overwrite in a channel, in place of the one there; for the bot: take ``world.bot``."""
        channel.overwrites = [o for o in channel.overwrites if o.id != target.id]
        channel.overwrites.append(Overwrite(target.id, is_member=True, allow=int(allow), deny=int(deny)))
        self.world.hub.publish(ChannelUpdated(channel))

    def set_age_restricted(self, channel: Channel, restricted: bool) -> None:
        """Make the channel one for adults, or for everybody again."""
        channel.nsfw = restricted
        self.world.hub.publish(ChannelUpdated(channel))

    def expire_token(self, interaction: Interaction) -> None:
        """The interaction's token is dead from now on, as after 15 minutes."""
        interaction.token_revoked = True
