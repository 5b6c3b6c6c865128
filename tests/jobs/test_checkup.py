"""The doctor: against the sandbox's REST, and against servers that have something to complain about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backends.base import Health, HealthState
from config.settings import Settings
from db.folder import exclusive, is_taken
from domain.errors import Code
from domain.job import Failure
from domain.money import FREE
from jobs import checkup
from jobs.checkup_discord import SKEW_SECONDS, examine_discord
from jobs.findings import Finding
from sandbox import Sandbox
from sandbox.permissions import Permission
from tests.building import open_house
from tests.doubles import Paint, ScriptedBackend

TOKEN = "a.token.of-tests"
GUILD: dict[str, Any] = {"id": "9", "name": "Studio", "owner": False, "permissions": str((1 << 53) - 1)}


def now() -> datetime:
    return datetime.now(UTC)


async def found(settings: Settings, clock: Any = now) -> dict[str, list[Finding]]:
    findings: dict[str, list[Finding]] = {}
    async for finding in examine_discord(settings, clock):
        findings.setdefault(finding.subject, []).append(finding)
        # Each that is not good says what mends it.
        assert finding.good or finding.mend
    return findings


@asynccontextmanager
async def discord(
    guilds: list[dict[str, Any]] | None = None, flags: int = 0, remaining: int = 900, status: int = 200
) -> AsyncIterator[Settings]:
    """A Discord that says just this."""
    pages: list[dict[str, Any]] = [GUILD] if guilds is None else guilds

    async def me(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bot {TOKEN}":
            return web.json_response({"message": "401: Unauthorized", "code": 0}, status=401)
        return web.json_response({"username": "easel"}, status=status)

    async def application(_request: web.Request) -> web.Response:
        return web.json_response({"flags": flags})

    async def gateway(_request: web.Request) -> web.Response:
        limit = {"total": 1000, "remaining": remaining, "reset_after": 7_200_000}
        return web.json_response({"shards": 2, "session_start_limit": limit})

    async def my_guilds(request: web.Request) -> web.Response:
        after, limit = int(request.query["after"]), int(request.query["limit"])
        return web.json_response([guild for guild in pages if int(guild["id"]) > after][:limit])

    app = web.Application()
    app.add_routes(
        [
            web.get("/users/@me", me),
            web.get("/applications/@me", application),
            web.get("/gateway/bot", gateway),
            web.get("/users/@me/guilds", my_guilds),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Settings.model_validate({"discord_token": TOKEN, "discord_api_url": url})
    finally:
        await runner.cleanup()


async def test_all_is_well_in_the_sandbox() -> None:
    async with Sandbox() as sandbox:
        settings = Settings.model_validate({"discord_token": sandbox.token, "discord_api_url": sandbox.api_url})
        findings = await found(settings)
        assert sandbox.violations == []
    assert set(findings) == {"Discord", "clock", "intents", "gateway", "permissions"}
    assert all(finding.good for several in findings.values() for finding in several)


async def test_a_permission_that_is_missing_is_named_with_its_server() -> None:
    lacking = GUILD | {"permissions": str(Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)}
    async with discord([lacking]) as settings:
        [finding] = (await found(settings))["permissions"]
    assert not finding.good
    for word in ("Studio", "Attach Files", "Embed Links", "Send Messages in Threads"):
        assert word in finding.found
    assert "View Channels" not in finding.found


async def test_an_administrator_lacks_nothing_and_many_servers_are_read_in_pages() -> None:
    administrator = str(Permission.ADMINISTRATOR)
    guilds = [GUILD | {"id": str(number), "permissions": administrator} for number in range(1, 451)]
    async with discord(guilds) as settings:
        [finding] = (await found(settings))["permissions"]
    assert finding.good
    assert "450" in finding.found


async def test_of_many_servers_that_lack_something_a_few_are_named() -> None:
    async with discord([GUILD | {"id": str(number), "permissions": "0"} for number in range(1, 21)]) as settings:
        findings = (await found(settings))["permissions"]
    assert len(findings) == 6
    assert "15 more" in findings[-1].found


async def test_chosen_servers_that_the_bot_is_not_in_are_named() -> None:
    async with discord() as settings:
        chosen = settings.model_copy(update={"easel_guilds": (9, 77)})
        findings = await found(chosen)
    assert "77" in findings["servers"][0].found
    assert findings["permissions"][0].good


async def test_a_bot_without_servers_is_told_how_to_be_invited() -> None:
    async with discord([]) as settings:
        [finding] = (await found(settings))["servers"]
    assert not finding.good


@pytest.mark.parametrize(("seconds", "word"), [(60, "ahead of"), (-60, "behind")])
async def test_a_clock_that_is_off_is_told(seconds: int, word: str) -> None:
    async with discord() as settings:
        [finding] = (await found(settings, lambda: now() + timedelta(seconds=seconds)))["clock"]
    assert not finding.good
    assert word in finding.found


async def test_a_clock_that_is_right_enough_is_right() -> None:
    async with discord() as settings:
        [finding] = (await found(settings, lambda: now() - timedelta(seconds=SKEW_SECONDS - 2)))["clock"]
    assert finding.good


async def test_starts_that_run_out_are_told() -> None:
    async with discord(remaining=3) as settings:
        [finding] = (await found(settings))["gateway"]
    assert not finding.good
    assert "2 h" in finding.mend


async def test_a_privileged_intent_that_is_on_is_not_needed() -> None:
    async with discord(flags=1 << 19) as settings:
        [finding] = (await found(settings))["intents"]
    assert finding.good
    assert "Message Content" in finding.found


async def test_a_wrong_token_ends_the_questions_and_never_shows() -> None:
    async with discord() as settings:
        wrong = Settings.model_validate(
            {"discord_token": "wrong.token.here", "discord_api_url": settings.discord_api_url}
        )
        findings = await found(wrong)
    [[finding]] = findings.values()
    assert not finding.good
    assert "wrong.token" not in finding.found + finding.mend


@pytest.mark.parametrize("status", [500, 429, 403])
async def test_an_answer_that_is_none_is_told(status: int) -> None:
    async with discord(status=status) as settings:
        [[finding]] = (await found(settings)).values()
    assert str(status) in finding.found


async def test_nobody_at_the_address() -> None:
    settings = Settings.model_validate({"discord_token": TOKEN, "discord_api_url": "http://127.0.0.1:1"})
    [[finding]] = (await found(settings)).values()
    assert "cannot be reached" in finding.found


async def database_findings(folder: Path) -> dict[str, Finding]:
    return {finding.subject: finding async for finding in checkup._database(folder / "easel.db")}


async def test_a_database_that_is_whole_adds_up(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend("worker", (Paint(cost=FREE),))}) as house:
        await house.ask()
    findings = await database_findings(tmp_path)
    assert findings["database"].good
    assert findings["ledger"].good


async def test_a_balance_that_was_tampered_with_is_found(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.ask()
        async with house.database.transaction() as tx:
            await tx.execute("UPDATE balances SET held = held + 1")
    finding = (await database_findings(tmp_path))["ledger"]
    assert not finding.good
    assert finding.mend


async def test_a_damaged_file_is_found_and_what_to_put_in_its_place(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        for _ in range(30):
            await house.ask()
    path = tmp_path / "easel.db"
    content = bytearray(path.read_bytes())
    content[4096:40960] = b"\x00" * (40960 - 4096)
    path.write_bytes(content)
    finding = (await database_findings(tmp_path))["database"]
    assert not finding.good
    assert "backup" in finding.mend


async def test_what_is_no_database_is_found(tmp_path: Path) -> None:
    (tmp_path / "easel.db").write_bytes(b"this is no database at all" * 100)
    assert not (await database_findings(tmp_path))["database"].good


def test_a_folder_that_a_bot_holds_is_taken(tmp_path: Path) -> None:
    assert not is_taken(tmp_path / "none")
    with exclusive(tmp_path):
        assert is_taken(tmp_path)
    assert not is_taken(tmp_path)


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        (Failure(Code.BACKEND_UNREACHABLE, {"backend": "worker"}), "address"),
        (Failure(Code.BACKEND_KEY_REFUSED, {"backend": "worker"}), "EASEL_WORKER_TOKEN"),
        (Failure(Code.BACKEND_REFUSED, {"backend": "worker", "reason": "it speaks protocol 9"}), "version"),
        (None, "log"),
    ],
)
def test_a_backend_that_is_down_comes_with_what_mends_it(problem: Failure | None, word: str) -> None:
    finding = checkup._backend("worker", Health(HealthState.DOWN, 0, problem), lambda failure: str(failure.parameters))
    assert not finding.good
    assert word in finding.mend


def test_a_worker_that_is_up_names_its_models() -> None:
    health = Health(HealthState.UP, 2, detail="CPU, engine 2", models=frozenset({"tiny-edit", "tiny"}))
    finding = checkup._backend("worker gpu:7870", health, str)
    assert finding == Finding("worker gpu:7870", True, "up, 2 at a time; CPU, engine 2; models tiny, tiny-edit")
