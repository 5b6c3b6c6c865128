"""The gateway: a bot's WebSocket, its sessions, and which events reach it.

https://discord.com/developers/docs/events/gateway
"""

from __future__ import annotations

import asyncio
import json
import secrets
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from sandbox import payloads
from sandbox.dispatch import Dispatch, Intent, guild_dispatches
from sandbox.events import BotPresenceChanged, Event
from sandbox.model import Json
from sandbox.world import World

HEARTBEAT_MS = 41_250
ROUND_TRIP_SECONDS = 0.05
"""Until a heartbeat is answered. discord.py notes when it sent one a moment after it did: an answer that comes before,
as on loopback it can, looks like one to the heartbeat before it, and is warned of as 41 s late."""
KEPT_EVENTS = 5_000
PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT
MOST_GUILDS_PER_SHARD = 2_500


class Compressor(Protocol):
    def __call__(self, text: str) -> bytes: ...


def zlib_stream() -> Compressor:
    """One deflate context for the connection; each message ends with the sync flush 00 00 ff ff."""
    context = zlib.compressobj()

    def compress(text: str) -> bytes:
        return context.compress(text.encode()) + context.flush(zlib.Z_SYNC_FLUSH)

    return compress


def zstd_stream() -> Compressor:
    """One zstd context for the connection, each message flushed as a block (needs the package zstandard)."""
    import zstandard  # type: ignore[import-not-found, unused-ignore]

    context = zstandard.ZstdCompressor().compressobj()

    def compress(text: str) -> bytes:
        return bytes(context.compress(text.encode()) + context.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    return compress


@dataclass
class Session:
    id: str
    shard: tuple[int, int]
    intents: Intent
    seq: int = 0
    sent: deque[Json] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    connection: Connection | None = None

    def covers(self, guild_id: int | None) -> bool:
        """Whether this shard is the one for a guild; shard 0 has the direct messages."""
        if guild_id is None:
            return self.shard[0] == 0
        return (guild_id >> 22) % self.shard[1] == self.shard[0]

    def can_replay(self, seq: int) -> bool:
        """Whether every event after ``seq`` is still kept."""
        oldest = self.sent[0]["s"] if self.sent else 1
        return bool(oldest - 1 <= seq <= self.seq)

    def dispatch(self, name: str, data: Json) -> None:
        self.seq += 1
        frame = {"op": 0, "s": self.seq, "t": name, "d": data}
        self.sent.append(frame)
        if self.connection is not None:
            self.connection.send(frame)


class Connection:
    """One WebSocket. Frames are queued and sent in order by a task of its own, so that dispatching never waits."""

    def __init__(
        self, socket: web.WebSocketResponse, compress: Compressor | None, transport: asyncio.Transport | None
    ) -> None:
        self.socket = socket
        self._transport = transport
        self._compress = compress
        self._outgoing: asyncio.Queue[Json | None] = asyncio.Queue()

    def send(self, frame: Json) -> None:
        self._outgoing.put_nowait(frame)

    async def write_all(self) -> None:
        while (frame := await self._outgoing.get()) is not None:
            text = json.dumps(frame, separators=(",", ":"))
            try:
                if self._compress is None:
                    await self.socket.send_str(text)
                else:
                    await self.socket.send_bytes(self._compress(text))
            except (ConnectionError, RuntimeError):
                return

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        self._outgoing.put_nowait(None)


class Gateway:
    """Keeps the sessions, speaks to their sockets, and lets tests disturb them."""

    def __init__(self, world: World, token: str, *, heartbeat_ms: int = HEARTBEAT_MS) -> None:
        self._world = world
        self._token = token
        self._heartbeat_ms = heartbeat_ms
        self._sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()
        self.identifies: list[Json] = []
        """The IDENTIFY payloads so far, without the token."""
        self.resumes = 0
        """How many RESUMEs succeeded."""
        world.hub.listen(self._on_event)

    @property
    def online(self) -> bool:
        """Whether a bot is connected."""
        return any(session.connection is not None for session in self._sessions.values())

    # -- disturbances ----------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Op 7 to all: the client closes, reconnects and resumes."""
        self._broadcast({"op": 7, "d": None})

    def invalidate(self, *, resumable: bool = False) -> None:
        """Op 9 to all: unless resumable, the sessions are gone and the client identifies anew."""
        self._broadcast({"op": 9, "d": resumable})
        if not resumable:
            for session in list(self._sessions.values()):
                self._forget(session)

    async def drop(self) -> None:
        """Cut every socket without a closing handshake; the sessions can be resumed."""
        for connection in list(self._connections):
            connection.cut()
        await asyncio.sleep(0)

    async def close_with(self, code: int) -> None:
        """Close every socket with a code of Discord's (4000 unknown error, 4004 authentication failed, …)."""
        for connection in list(self._connections):
            await connection.socket.close(code=code)

    def _broadcast(self, frame: Json) -> None:
        for connection in self._connections:
            connection.send(frame)

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        session.connection = None
        self._tell_presence()

    def _tell_presence(self) -> None:
        self._world.hub.publish(BotPresenceChanged(self.online))

    # -- events ----------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        dispatches: list[Dispatch] | None = None
        for session in list(self._sessions.values()):
            if dispatches is None:
                dispatches = guild_dispatches(event, self._world)
            for item in dispatches:
                if session.covers(item.guild_id) and (item.intent is None or session.intents & item.intent):
                    session.dispatch(item.name, item.data)

    # -- the socket ------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket connection."""
        socket = web.WebSocketResponse(max_msg_size=1 << 16, heartbeat=None, compress=False)
        await socket.prepare(request)
        query = request.query
        if query.get("v") != "10" or query.get("encoding", "json") != "json":
            await socket.close(code=4012, message=b"Invalid API version")
            return socket
        kinds: dict[str, Any] = {"zlib-stream": zlib_stream, "zstd-stream": zstd_stream}
        compression = query.get("compress")
        connection = Connection(socket, kinds[compression]() if compression in kinds else None, request.transport)
        self._connections.add(connection)
        writer = asyncio.get_running_loop().create_task(connection.write_all())
        session: Session | None = None
        connection.send({"op": 10, "s": None, "t": None, "d": {"heartbeat_interval": self._heartbeat_ms}})
        try:
            async for received in socket:
                if received.type is not WSMsgType.TEXT:
                    await socket.close(code=4002, message=b"Decode error")
                    break
                try:
                    frame = json.loads(received.data)
                    op, data = frame["op"], frame.get("d")
                except (ValueError, KeyError, TypeError):
                    await socket.close(code=4002, message=b"Decode error")
                    break
                if op == 1:
                    asyncio.get_running_loop().call_later(ROUND_TRIP_SECONDS, connection.send, {"op": 11})
                elif op == 2 and session is not None:
                    await socket.close(code=4005, message=b"Already authenticated")
                elif op == 2:
                    session = await self._identify(connection, data)
                elif op == 6:
                    session = self._resume(connection, data) or session
                elif session is None:
                    await socket.close(code=4003, message=b"Not authenticated")
                elif op == 8:
                    self._request_members(session, data)
                elif op not in (3, 4):
                    await socket.close(code=4001, message=b"Unknown opcode")
        finally:
            self._connections.discard(connection)
            connection.finish()
            await writer
            if session is not None and session.connection is connection:
                session.connection = None
                if socket.close_code in (1000, 1001):
                    self._forget(session)
                self._tell_presence()
        return socket

    async def _identify(self, connection: Connection, data: Json) -> Session | None:
        world = self._world
        socket = connection.socket
        if data.get("token", "").removeprefix("Bot ") != self._token:
            await socket.close(code=4004, message=b"Authentication failed.")
            return None
        shard: tuple[int, ...] = tuple(data.get("shard") or (0, 1))
        if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            await socket.close(code=4010, message=b"Invalid shard")
            return None
        raw = data.get("intents")
        if not isinstance(raw, int) or raw & ~int(Intent.everything()):
            await socket.close(code=4013, message=b"Invalid intents")
            return None
        intents = Intent(raw)
        if intents & PRIVILEGED & ~Intent(world.application.intents_granted):
            await socket.close(code=4014, message=b"Disallowed intents")
            return None
        self.identifies.append({key: value for key, value in data.items() if key != "token"})
        session = Session(secrets.token_hex(16), (shard[0], shard[1]), intents, connection=connection)
        guilds = [guild for guild in world.bot_guilds() if session.covers(guild.id)]
        if len(guilds) > MOST_GUILDS_PER_SHARD:
            await socket.close(code=4011, message=b"Sharding required")
            return None
        for old in [s for s in self._sessions.values() if s.shard == session.shard and s.connection is None]:
            self._sessions.pop(old.id)
        self._sessions[session.id] = session
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": payloads.current_user(world.bot),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "resume_gateway_url": self.url,
                "shard": list(session.shard),
                "application": {
                    "id": str(world.application.id),
                    "flags": payloads.application_flags(world.application.intents_granted),
                },
            },
        )
        if intents & Intent.GUILDS:
            with_members = bool(intents & Intent.GUILD_MEMBERS)
            for guild in guilds:
                body = payloads.guild_create(guild, world, with_members=with_members)
                # "unavailable": false tells a guild that was announced in READY from one just joined
                session.dispatch("GUILD_CREATE", body | {"unavailable": False})
        self._tell_presence()
        return session

    url: str = ""
    """Where clients resume; the server sets it once it knows its port."""

    def _resume(self, connection: Connection, data: Json) -> Session | None:
        session = self._sessions.get(str(data.get("session_id")))
        seq = data.get("seq")
        known = session is not None and data.get("token") == self._token
        if session is None or not known or not isinstance(seq, int) or not session.can_replay(seq):
            connection.send({"op": 9, "d": False})
            return None
        session.connection = connection
        for frame in [frame for frame in session.sent if frame["s"] > seq]:
            connection.send(frame)
        self.resumes += 1
        session.dispatch("RESUMED", {})
        self._tell_presence()
        return session

    def _request_members(self, session: Session, data: Json) -> None:
        guild = self._world.guilds.get(int(data["guild_id"]))
        if guild is None:
            return
        ids = data.get("user_ids") or []
        wanted = {int(wanted_id) for wanted_id in (ids if isinstance(ids, list) else [ids])}
        query = (data.get("query") or "").lower()
        found = [
            member
            for member in guild.members.values()
            if (member.user.id in wanted if wanted else member.user.username.startswith(query))
        ][: data.get("limit") or 1000]
        chunk: Json = {
            "guild_id": str(guild.id),
            "members": [payloads.member(member) for member in found],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": [str(absent) for absent in wanted - set(guild.members)],
        }
        if data.get("nonce"):
            chunk["nonce"] = data["nonce"]
        session.dispatch("GUILD_MEMBERS_CHUNK", chunk)

    async def close(self) -> None:
        for connection in list(self._connections):
            await connection.socket.close(code=1001, message=b"Going away")
