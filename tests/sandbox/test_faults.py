"""Faults on order, as a real client meets them."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import discord
import pytest

from sandbox import Sandbox
from sandbox.ratelimits import RateLimits
from tests.sandbox.conftest import Bot, Connect, Rest

CREATE = r"/messages$"


@pytest.fixture
async def channel(sandbox: Sandbox, connect: Connect) -> discord.TextChannel:
    found = (await connect()).get_channel(sandbox.studio.id)
    assert isinstance(found, discord.TextChannel)
    return found


async def test_a_429_is_waited_out(sandbox: Sandbox, channel: discord.TextChannel) -> None:
    fault = sandbox.faults.rate_limit(CREATE, retry_after=0.01, times=2)
    await channel.send("at last")
    assert fault.hits == 2
    assert [record.status for record in sandbox.requests if record.path.endswith("/messages")] == [429, 429, 200]


async def test_a_429_without_via_is_raised_at_once(sandbox: Sandbox, channel: discord.TextChannel) -> None:
    sandbox.faults.rate_limit(CREATE, via=False)
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send("x")
    assert caught.value.status == 429


async def test_errors_come_with_the_code_ordered(sandbox: Sandbox, channel: discord.TextChannel) -> None:
    sandbox.faults.error(CREATE, status=503, message="upstream connect error")
    with pytest.raises(discord.DiscordServerError):
        await channel.send("x")
    sandbox.faults.error(CREATE, method="POST", status=403, code=50001, message="Missing Access")
    with pytest.raises(discord.Forbidden) as caught:
        await channel.send("x")
    assert caught.value.code == 50001
    assert not sandbox.studio.messages


@pytest.mark.parametrize("processed", [True, False])
async def test_a_cut_connection(sandbox: Sandbox, channel: discord.TextChannel, processed: bool) -> None:
    sandbox.faults.cut(CREATE, method="POST", processed=processed)
    with pytest.raises(aiohttp.ClientError):
        await channel.send("once", nonce="n")
    assert len(sandbox.studio.messages) == processed
    await channel.send("once", nonce="n")
    assert len(sandbox.studio.messages) == 1


@pytest.mark.parametrize("processed", [True, False])
async def test_a_held_request_waits_for_its_release(
    sandbox: Sandbox, channel: discord.TextChannel, processed: bool
) -> None:
    fault = sandbox.faults.hold(CREATE, processed=processed)
    sending = asyncio.create_task(channel.send("slow"))
    await fault.struck()
    await sandbox.wait_until(lambda: len(sandbox.studio.messages) == processed)
    assert not sending.done()
    fault.release()
    assert (await sending).content == "slow"


async def test_an_expired_token_on_order(sandbox: Sandbox, connect: Connect) -> None:
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def setup(bot: Bot) -> None:
        @bot.tree.command()
        async def late(interaction: discord.Interaction[Bot]) -> None:
            await interaction.response.defer()
            try:
                await interaction.edit_original_response(content="x")
            except discord.HTTPException as error:
                failed.set_result(error.code)

    await connect(setup)
    held = sandbox.faults.hold("/callback", processed=True)
    used = await sandbox.user("alice").slash(sandbox.studio, "late")
    await held.struck()
    sandbox.expire_token(used.interaction)
    held.release()
    assert await asyncio.wait_for(failed, 60) == 50027


async def test_real_buckets_refuse_with_headers(sandbox: Sandbox, rest: Rest) -> None:
    template = ("POST", "/channels/{channel_id}/messages")
    sandbox.rate_limits.overrides[template] = (2, 60.0)
    path = f"/channels/{sandbox.studio.id}/messages"
    answers = [await rest("POST", path, {"content": "x"}) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert 0 < answers[2][1]["retry_after"] <= 60
    other = f"/channels/{sandbox.channel('playground').id}/messages"
    assert (await rest("POST", other, {"content": "x"}))[0] == 200, "each channel has its own bucket"


def test_a_bucket_refills_when_its_time_is_over() -> None:
    now = [time.monotonic()]
    limits = RateLimits(1, 5.0, now=lambda: now[0])
    assert [limits.take("GET", "/x", {})[0] for _ in range(2)] == [True, False]
    now[0] += 5
    assert limits.take("GET", "/x", {})[0]
