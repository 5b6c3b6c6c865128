"""The web page's own small API under ``/sandbox/``, apart from Discord's: what the browser asks and is told.

Every call names the user whose hands the page is, by id in ``user``. Events come as server-sent events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox import events, page_payloads
from sandbox.errors import ApiError
from sandbox.hands import Hands
from sandbox.invocation import DidNotRespond, Modal
from sandbox.model import Channel, File, Json, Message, User
from sandbox.options import ClientRefuses, find_leaf
from sandbox.permissions import Permission
from sandbox.rest.call import Services
from sandbox.uploads import Body, read_body

WEB = Path(__file__).parent / "web"
MOST_WAITING_EVENTS = 1_000
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data: http: https:; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

Endpoint = Callable[[Hands, Json, Body], Awaitable[Json]]


class Page:
    """Serves the page, its API and its stream of events."""

    def __init__(self, services: Services, first_user: User) -> None:
        self._services = services
        self._world = services.world
        self._first_user = first_user
        self._streams: set[asyncio.Queue[Json | None]] = set()

    def routes(self) -> list[web.RouteDef]:
        post = {
            "messages": self._send,
            "messages/delete": self._delete,
            "commands": self._command,
            "context": self._context_command,
            "autocomplete": self._autocomplete,
            "components": self._component,
            "modals": self._modal,
            "locale": self._locale,
            "installation": self._installation,
        }
        return [
            web.get("/", self._index),
            web.get("/web/{file}", self._file),
            web.get("/sandbox/state", self._state),
            web.get("/sandbox/channels/{channel_id}", self._channel),
            web.get("/sandbox/events", self._events),
            *[web.post(f"/sandbox/{path}", self._endpoint(endpoint)) for path, endpoint in post.items()],
        ]

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        for stream in self._streams:
            if stream.full():
                stream.get_nowait()
            stream.put_nowait(None)

    # -- files -----------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html", headers=SECURITY | {"Cache-Control": "no-cache"})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        if name not in {path.name for path in WEB.iterdir()}:
            raise web.HTTPNotFound
        return web.FileResponse(WEB / name, headers=SECURITY | {"Cache-Control": "no-cache"})

    # -- reading ---------------------------------------------------------------------------------

    def _hands(self, user_id: object) -> Hands:
        user = self._world.users.get(int(user_id)) if isinstance(user_id, str) and user_id.isdecimal() else None
        if user is None or user.bot:
            raise web.HTTPNotFound(text="no such user")
        return Hands(self._services, user)

    def _visible(self, user: User, channel_id: object) -> Channel:
        known = isinstance(channel_id, str) and channel_id.isdecimal()
        channel = self._world.channels.get(int(str(channel_id))) if known else None
        if channel is None or not self._world.permissions(user, channel) & Permission.VIEW_CHANNEL:
            raise web.HTTPNotFound(text="no such channel")
        return channel

    async def _state(self, request: web.Request) -> web.StreamResponse:
        asked = request.query.get("user")
        user = (
            self._hands(asked).user if asked else next(u for u in self._world.users.values() if u.username == "alice")
        )
        return web.json_response(page_payloads.state(self._services, user))

    async def _channel(self, request: web.Request) -> web.StreamResponse:
        hands = self._hands(request.query.get("user"))
        channel = self._visible(hands.user, request.match_info["channel_id"])
        seen = [m for m in channel.messages.values() if m.visible_to in (None, hands.id)]
        return web.json_response(
            {
                "messages": [page_payloads.message(m, hands.user, self._world) for m in seen],
                "commands": hands.commands(channel),
                "may_send": page_payloads.may_send(self._world, hands.user, channel),
            }
        )

    # -- events ----------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        hands = self._hands(request.query.get("user"))
        response = web.StreamResponse(
            headers=SECURITY | {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        queue: asyncio.Queue[Json | None] = asyncio.Queue(MOST_WAITING_EVENTS)

        def tell(event: events.Event) -> None:
            body = page_payloads.event(event, hands.user, self._services)
            if body is None:
                return
            if queue.full():  # a stalled browser reloads rather than keep the events of hours
                queue.get_nowait()
                body = {"type": "reload"}
            queue.put_nowait(body)

        stop = self._world.hub.listen(tell)
        self._streams.add(queue)
        try:
            await response.write(b"retry: 500\n\n")
            while (body := await self._next(queue)) is not None:
                await response.write(f"data: {json.dumps(body)}\n\n".encode() if body else b": still here\n\n")
        except ConnectionError:
            pass
        finally:
            stop()
            self._streams.discard(queue)
        return response

    @staticmethod
    async def _next(queue: asyncio.Queue[Json | None]) -> Json | None:
        try:
            return await asyncio.wait_for(queue.get(), 15)
        except TimeoutError:
            return {}

    # -- doing -----------------------------------------------------------------------------------

    def _endpoint(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await read_body(request)
                if not isinstance(body.json, dict):
                    raise web.HTTPBadRequest(text="a JSON object is wanted")
                answer = await endpoint(self._hands(body.json.get("user")), body.json, body)
            except ClientRefuses as refusal:
                return web.json_response({"error": str(refusal)}, status=400)
            except DidNotRespond:
                return web.json_response({"error": "Loading options failed"}, status=504)
            except ApiError as error:
                return web.json_response({"error": error.message}, status=error.status)
            return web.json_response(answer)

        return handle

    def _message(self, hands: Hands, body: Json) -> Message:
        channel = self._visible(hands.user, body.get("channel_id"))
        message = channel.messages.get(int(body["message_id"]))
        if message is None or message.visible_to not in (None, hands.id):
            raise web.HTTPNotFound(text="no such message")
        return message

    async def _send(self, hands: Hands, body: Json, raw: Body) -> Json:
        channel = self._visible(hands.user, body.get("channel_id"))
        content = str(body.get("content", ""))
        if len(content) > 2000:
            raise ClientRefuses("Your message is too long: at most 2000 characters")
        reply_to = self._message(hands, body) if body.get("message_id") else None
        sent = await hands.send(channel, content, files=list(raw.files.values()), reply_to=reply_to)
        return {"message_id": str(sent.id)}

    async def _delete(self, hands: Hands, body: Json, raw: Body) -> Json:
        message = self._message(hands, body)
        if message.visible_to == hands.id:  # dismissed: gone from this screen, Discord itself keeps it for the token
            return {}
        await hands.delete(message)
        return {}

    async def _locale(self, hands: Hands, body: Json, raw: Body) -> Json:
        """The language of the user's client, which their interactions bring with them."""
        if body.get("locale") not in page_payloads.LOCALES:
            raise ClientRefuses("There is no such language")
        hands.user.locale = str(body["locale"])
        return {}

    async def _installation(self, hands: Hands, body: Json, raw: Body) -> Json:
        """Whether the user has the app on their account, so that they bring it wherever they are."""
        installed_by = self._world.application.installed_by
        if body.get("installed") is True:
            installed_by.add(hands.id)
        else:
            installed_by.discard(hands.id)
        return {}

    async def _command(self, hands: Hands, body: Json, raw: Body) -> Json:
        channel = self._visible(hands.user, body.get("channel_id"))
        options = self._values(hands, channel, str(body["name"]), body.get("options") or {}, raw.files)
        used = await hands.slash(channel, str(body["name"]), options=options)
        return {"interaction_id": str(used.interaction.id)}

    async def _autocomplete(self, hands: Hands, body: Json, raw: Body) -> Json:
        channel = self._visible(hands.user, body.get("channel_id"))
        values = self._values(hands, channel, str(body["name"]), body.get("options") or {}, {})
        choices = await hands.autocomplete(channel, body["name"], body["option"], str(body["typed"]), options=values)
        return {"choices": choices}

    def _values(self, hands: Hands, channel: Channel, name: str, given: Json, files: dict[int, File]) -> dict[str, Any]:
        """What the page wrote into options as the things behind: users, channels, roles and files by their number."""
        leaf = find_leaf(hands.commands(channel), name)
        guild = self._world.guild_of(channel)
        values: dict[str, Any] = {}
        for key, value in given.items():
            option = leaf.option(key)
            kind = option["type"] if option else 3
            if kind == 11:
                value = files.get(int(value))
            elif kind in (6, 7, 8, 9):
                number = int(value)
                found: Any = self._world.users.get(number) if kind in (6, 9) else None
                if kind == 7:
                    found = self._world.channels.get(number)
                elif kind in (8, 9) and guild is not None and found is None:
                    found = guild.roles.get(number)
                value = found
            values[key] = value
        return values

    async def _context_command(self, hands: Hands, body: Json, raw: Body) -> Json:
        if body.get("message_id"):
            used = await hands.message_command(self._message(hands, body), str(body["name"]))
        else:
            channel = self._visible(hands.user, body.get("channel_id"))
            used = await hands.user_command(channel, self._world.user(int(body["target_id"])), str(body["name"]))
        return {"interaction_id": str(used.interaction.id)}

    async def _component(self, hands: Hands, body: Json, raw: Body) -> Json:
        message = self._message(hands, body)
        if "values" in body:
            values = [self._chosen(value, int(body["component_type"])) for value in body["values"]]
            used = await hands.select(message, str(body["custom_id"]), values)
        else:
            used = await hands.click(message, str(body["custom_id"]))
        return {"interaction_id": str(used.interaction.id)}

    def _chosen(self, value: str, kind: int) -> Any:
        if kind == 3:
            return value
        number = int(value)
        places: list[dict[int, Any]] = [self._world.users, self._world.channels]
        places += [guild.roles for guild in self._world.guilds.values()]
        return next((place[number] for place in places if number in place), value)

    async def _modal(self, hands: Hands, body: Json, raw: Body) -> Json:
        wanted = int(body["interaction_id"])
        found = next((i for i in self._services.interactions.all if i.id == wanted), None)
        if found is None or found.modal is None or found.user is not hands.user:
            raise web.HTTPNotFound(text="no such modal")
        values = {
            key: [raw.files[number] for number in value["files"]] if isinstance(value, dict) else value
            for key, value in (body.get("values") or {}).items()
        }
        used = await hands.submit_modal(Modal(found, found.modal), values)
        return {"interaction_id": str(used.interaction.id)}
