"""The gateway, as a real client and as a bare socket see it."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import aiohttp
import discord
import pytest

from sandbox import Sandbox
from tests.sandbox.conftest import Bot, Connect, Rest, point_at


async def test_a_client_reaches_ready_with_its_guilds(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    assert bot.user is not None
    assert bot.user.name == "Easel"
    assert {guild.name for guild in bot.guilds} == {"Easel Studio", "Second Guild"}
    guild = bot.get_guild(sandbox.guild.id)
    assert guild is not None
    assert guild.me.guild_permissions.send_messages
    assert {channel.name for channel in guild.text_channels} == {"studio", "playground", "gallery-readonly", "nsfw"}
    assert [thread.name for thread in guild.threads] == ["Rainy day"]
    readonly = guild.get_channel(sandbox.channel("gallery-readonly").id)
    assert isinstance(readonly, discord.TextChannel)
    assert not readonly.permissions_for(guild.me).send_messages
    assert sandbox.gateway.online


async def test_the_connection_is_compressed(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    shard = bot.shards[0]._parent.ws
    assert shard.socket._response.url.query["compress"] in ("zlib-stream", "zstd-stream")


async def test_a_wrong_token_fails_the_login(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(sandbox, monkeypatch)
    bot = Bot(discord.Intents.none())
    with pytest.raises(discord.LoginFailure):
        await bot.login("wrong")
    await bot.close()


async def test_privileged_intents_must_be_granted(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(sandbox, monkeypatch)
    bot = Bot(discord.Intents(guilds=True, message_content=True))
    await bot.login(sandbox.token)
    with pytest.raises(discord.PrivilegedIntentsRequired):
        await bot.connect()
    await bot.close()


async def test_op_7_resumes_and_replays_what_was_missed(sandbox: Sandbox, connect: Connect) -> None:
    heard: list[str] = []
    heard_last = asyncio.Event()

    def setup(bot: Bot) -> None:
        @bot.listen()
        async def on_message(message: discord.Message) -> None:
            heard.append(str(message.id))
            if len(heard) == 3:
                heard_last.set()

    await connect(setup)
    bob = sandbox.user("bob")
    sent = [await bob.send(sandbox.studio, "one")]
    sandbox.gateway.reconnect()
    await sandbox.wait_until(lambda: not sandbox.gateway.online)
    sent += [await bob.send(sandbox.studio, text) for text in ("two", "three")]
    await asyncio.wait_for(heard_last.wait(), 60)
    assert heard == [str(message.id) for message in sent]
    assert sandbox.gateway.resumes == 1
    assert len(sandbox.gateway.identifies) == 1


async def test_a_cut_socket_is_resumed(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    resumed = asyncio.Event()

    @bot.listen()
    async def on_shard_resumed(shard_id: int) -> None:
        resumed.set()

    await sandbox.gateway.drop()
    await asyncio.wait_for(resumed.wait(), 60)
    assert sandbox.gateway.resumes == 1


class Socket:
    """A bare gateway connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._inflate = zlib.decompressobj()

    async def read(self) -> Any:
        message = await self._socket.receive(timeout=60)
        if message.type is aiohttp.WSMsgType.BINARY:
            assert message.data.endswith(b"\x00\x00\xff\xff")
            return json.loads(self._inflate.decompress(message.data))
        if message.type is aiohttp.WSMsgType.TEXT:
            return json.loads(message.data)
        return self._socket.close_code

    async def send(self, op: int, data: Any) -> None:
        await self._socket.send_json({"op": op, "d": data})

    async def identify(self, sandbox: Sandbox, **changes: Any) -> Any:
        data = {"token": sandbox.token, "intents": 1, "properties": {}, "shard": [0, 1]} | changes
        await self.send(2, data)
        return await self.read()


@pytest.fixture
async def socket(sandbox: Sandbox) -> Any:
    async with aiohttp.ClientSession() as session:
        url = f"{sandbox.gateway_url}?v=10&encoding=json&compress=zlib-stream"
        async with session.ws_connect(url) as raw:
            opened = Socket(raw)
            assert (await opened.read())["op"] == 10
            yield opened


async def test_the_socket_greets_beats_and_gets_ready(sandbox: Sandbox, socket: Socket) -> None:
    await socket.send(1, None)
    assert (await socket.read())["op"] == 11
    ready = await socket.identify(sandbox)
    assert ready["t"] == "READY"
    assert ready["d"]["resume_gateway_url"] == sandbox.gateway_url
    assert [guild["unavailable"] for guild in ready["d"]["guilds"]] == [True, True]
    assert (await socket.read())["t"] == "GUILD_CREATE"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"shard": [3, 2]}, 4010),
        ({"intents": 1 << 40}, 4013),
        ({"intents": 1 << 15}, 4014),
    ],
)
async def test_a_bad_identify_is_closed_with_its_code(
    sandbox: Sandbox, socket: Socket, changes: dict[str, Any], code: int
) -> None:
    assert await socket.identify(sandbox, **changes) == code


async def test_a_guild_belongs_to_one_shard(sandbox: Sandbox, socket: Socket) -> None:
    ready = await socket.identify(sandbox, shard=[0, 2])
    mine = {int(guild["id"]) for guild in ready["d"]["guilds"]}
    assert mine == {guild.id for guild in sandbox.world.bot_guilds() if (guild.id >> 22) % 2 == 0}
    assert len(mine) == 1


async def test_op_9_forgets_the_session(sandbox: Sandbox, socket: Socket) -> None:
    session_id = (await socket.identify(sandbox))["d"]["session_id"]
    await socket.read()
    await socket.read()
    sandbox.gateway.invalidate()
    assert await socket.read() == {"op": 9, "d": False}
    await socket.send(6, {"token": sandbox.token, "session_id": session_id, "seq": 1})
    assert await socket.read() == {"op": 9, "d": False}


async def test_members_can_be_requested(sandbox: Sandbox, socket: Socket) -> None:
    await socket.identify(sandbox)
    await socket.read()
    await socket.read()
    alice = str(sandbox.user("alice").id)
    await socket.send(8, {"guild_id": str(sandbox.guild.id), "user_ids": [alice], "limit": 0, "nonce": "n"})
    chunk = (await socket.read())["d"]
    assert [member["user"]["id"] for member in chunk["members"]] == [alice]
    assert chunk["nonce"] == "n"


async def test_a_new_guild_is_announced_and_a_lost_one_too(sandbox: Sandbox, connect: Connect) -> None:
    bot = await connect()
    joined, left = asyncio.Event(), asyncio.Event()

    @bot.listen()
    async def on_guild_join(guild: discord.Guild) -> None:
        joined.set()

    @bot.listen()
    async def on_guild_remove(guild: discord.Guild) -> None:
        left.set()

    guild = sandbox.add_guild("Third")
    await asyncio.wait_for(joined.wait(), 60)
    sandbox.world.remove_bot(guild)
    await asyncio.wait_for(left.wait(), 60)


async def test_two_thousand_guilds_fit(sandbox: Sandbox, rest: Rest, socket: Socket) -> None:
    for number in range(2_000):
        sandbox.add_guild(f"Guild {number}")
    _, answer = await rest("GET", "/gateway/bot")
    assert answer["shards"] == 3
    ready = await socket.identify(sandbox, shard=[0, answer["shards"]])
    assert 600 < len(ready["d"]["guilds"]) < 740
