"""The doctor at Discord's door: the token, the clock, the gateway, the intents and the permissions on every server.

Only looks: it reads over REST and connects to no gateway, so that it can be run beside a bot that is at work.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from config.settings import Settings
from jobs.findings import Finding

SUBJECT: Final = "Discord"
NEEDED: Final = {
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Embed Links": 1 << 14,
    "Attach Files": 1 << 15,
    "Read Message History": 1 << 16,
    "Send Messages in Threads": 1 << 38,
}
"""Permissions by the names that Discord's client shows, with their bits.
https://discord.com/developers/docs/topics/permissions
"""
ADMINISTRATOR: Final = 1 << 3
PRIVILEGED: Final = {"Presence": 3 << 12, "Server Members": 3 << 14, "Message Content": 3 << 18}
"""Flags of the application by intent, for large and for small bots.
https://discord.com/developers/docs/resources/application#application-object-application-flags
"""
SKEW_SECONDS: Final = 5.0
"""A clock that is further off makes interaction tokens look older or younger than they are."""
SHOWN: Final = 5
PAGE: Final = 200
FEW_STARTS: Final = 20


async def examine_discord(settings: Settings, clock: Callable[[], datetime]) -> AsyncIterator[Finding]:
    """Every finding about Discord. Ends after the first where nothing more can be asked."""
    mend = "Copy the bot's token from Discord's developer portal (Bot, Reset Token) into DISCORD_TOKEN."
    if settings.discord_token is None:
        yield Finding(SUBJECT, False, "DISCORD_TOKEN is not set", mend)
        return
    headers = {"Authorization": f"Bot {settings.discord_token.get_secret_value()}"}
    base = str(settings.discord_api_url).rstrip("/")
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=10) as client:
        try:
            asked_at = clock()
            answer = await client.get("/users/@me")
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                yield Finding(SUBJECT, False, "does not accept the token", mend)
                return
            answer.raise_for_status()
            yield Finding(SUBJECT, True, f"logged in as {answer.json().get('username', 'the bot')}")
            yield _clock(answer.headers.get("Date"), asked_at, clock())
            yield _intents(await _get(client, "/applications/@me"))
            yield _gateway(await _get(client, "/gateway/bot"))
            async for finding in _guilds(client, settings):
                yield finding
        except httpx.HTTPStatusError as error:
            status, path = error.response.status_code, error.request.url.path
            yield Finding(SUBJECT, False, f"answered {status} at {path}", "Try again in a few minutes.")
        except httpx.HTTPError as error:
            yield Finding(
                SUBJECT, False, f"cannot be reached ({type(error).__name__})", "Check the network and DISCORD_API_URL."
            )


async def _get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(path, params=query)
    answer.raise_for_status()
    return answer.json()


def _clock(date: str | None, before: datetime, after: datetime) -> Finding:
    subject = "clock"
    if date is None:
        return Finding(subject, True, "Discord did not say what time it is")
    said = parsedate_to_datetime(date).astimezone(UTC)
    # The header is cut to whole seconds, and the answer took a while.
    early, late = (before - said).total_seconds() - 1.0, (after - said).total_seconds()
    skew = early if early > 0 else min(late, 0.0)
    if abs(skew) > SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        return Finding(
            subject, False, f"{abs(skew):.0f} s {way} Discord's", "Set the clock, e.g. timedatectl set-ntp true."
        )
    return Finding(subject, True, f"within {SKEW_SECONDS:.0f} s of Discord's")


def _intents(application: Any) -> Finding:
    flags = int(application.get("flags", 0))
    unneeded = [name for name, bits in PRIVILEGED.items() if flags & bits]
    found = "none that is privileged is needed"
    if unneeded:
        return Finding(
            "intents", True, f"{found}; {', '.join(unneeded)} can be switched off in the portal (Bot, Intents)"
        )
    return Finding("intents", True, found)


def _gateway(gateway: Any) -> Finding:
    limit = gateway.get("session_start_limit", {})
    remaining, total = int(limit.get("remaining", 1)), int(limit.get("total", 1))
    found = f"{remaining} of {total} starts left today, {gateway.get('shards', 1)} shard(s) recommended"
    if remaining < min(FEW_STARTS, total):
        hours = int(limit.get("reset_after", 0)) / 3_600_000
        mend = f"Find out what starts the bot again and again; the count begins anew in {hours:.0f} h."
        return Finding("gateway", False, found, mend)
    return Finding("gateway", True, found)


async def _guilds(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[Finding]:
    guilds: list[Any] = []
    while page := await _get(client, "/users/@me/guilds", limit=PAGE, after=guilds[-1]["id"] if guilds else "0"):
        guilds += page
        if len(page) < PAGE:
            break
    if not guilds:
        invite = "Invite it: developer portal, Installation, Install Link."
        yield Finding("servers", False, "the bot is in none", invite)
        return
    known = {int(guild["id"]) for guild in guilds}
    absent = [guild_id for guild_id in settings.easel_guilds if guild_id not in known]
    if absent:
        listed = ", ".join(map(str, absent[:SHOWN]))
        yield Finding(
            "servers", False, f"not in {len(absent)} of EASEL_GUILDS: {listed}", "Invite the bot, or take them out."
        )
    lacking = [
        (guild, missing)
        for guild in guilds
        if (not settings.easel_guilds or int(guild["id"]) in settings.easel_guilds) and (missing := _missing(guild))
    ]
    for guild, missing in lacking[:SHOWN]:
        yield Finding(
            "permissions",
            False,
            f"on {guild['name']} ({guild['id']}): {', '.join(missing)} missing",
            "Server Settings, Roles, the bot's role; a channel's own permissions may take them away as well.",
        )
    if len(lacking) > SHOWN:
        yield Finding("permissions", False, f"and on {len(lacking) - SHOWN} more servers", "As above.")
    if not lacking:
        yield Finding("permissions", True, f"all that is needed on {len(guilds)} server(s)")


def _missing(guild: Any) -> list[str]:
    granted = int(guild.get("permissions", "0"))
    if granted & ADMINISTRATOR or guild.get("owner"):
        return []
    return [name for name, bit in NEEDED.items() if not granted & bit]
