"""What Discord refuses: each limit with its code and the place in the errors tree."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from sandbox import Sandbox
from tests.sandbox.conftest import OPENAPI, Rest

V2 = 1 << 15


@pytest.fixture
async def sandbox() -> Any:
    """Without the description: these requests break it on purpose."""
    async with Sandbox() as running:
        yield running


def button(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "B", "custom_id": f"b{number}"} | changes


def row(*components: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(components)}


def text(content: str = "x") -> dict[str, Any]:
    return {"type": 10, "content": content}


def select(**changes: Any) -> dict[str, Any]:
    return {"type": 3, "custom_id": "s", "options": [{"label": "a", "value": "a"}]} | changes


def options(count: int) -> list[dict[str, str]]:
    return [{"label": str(number), "value": str(number)} for number in range(count)]


def chosen(count: int) -> list[dict[str, Any]]:
    return [option | {"default": True} for option in options(count)]


def users(**changes: Any) -> dict[str, Any]:
    return {"type": 5, "custom_id": "s"} | changes


def user_value(number: int) -> dict[str, Any]:
    return {"id": str(number), "type": "user"}


TOO_MUCH: list[tuple[str, dict[str, Any]]] = [
    ("content", {"content": "x" * 2001}),
    ("nonce", {"content": "x", "nonce": "n" * 26}),
    ("embeds", {"embeds": [{"title": "x"}] * 11}),
    ("embeds", {"embeds": [{"description": "x" * 3001}] * 2}),
    ("embeds.0.title", {"embeds": [{"title": "x" * 257}]}),
    ("embeds.0.description", {"embeds": [{"description": "x" * 4097}]}),
    ("embeds.0.fields", {"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}),
    ("embeds.0.fields.0.name", {"embeds": [{"fields": [{"name": "", "value": "v"}]}]}),
    ("embeds.0.fields.0.value", {"embeds": [{"fields": [{"name": "n", "value": "v" * 1025}]}]}),
    ("embeds.0.footer.text", {"embeds": [{"footer": {"text": "x" * 2049}}]}),
    ("embeds.0.author.name", {"embeds": [{"author": {"name": "x" * 257}}]}),
    ("embeds.0.image.url", {"embeds": [{"title": "x", "image": {"url": "file:///etc/passwd"}}]}),
    ("embeds.0.image.url", {"embeds": [{"title": "x", "image": {"url": "attachment://none.png"}}]}),
    ("components", {"components": [row(button(n)) for n in range(6)]}),
    ("components.0.components", {"components": [row(*[button(n) for n in range(6)])]}),
    ("components.0.components", {"components": [row()]}),
    ("components.0.components", {"components": [row(select(), button())]}),
    ("components.0.type", {"components": [button()]}),
    ("components.0.type", {"components": [text()]}),
    ("components.0.components.0.label", {"components": [row(button(label="x" * 81))]}),
    ("components.0.components.0.custom_id", {"components": [row(button(custom_id="x" * 101))]}),
    ("components.0.components.0.custom_id", {"components": [row(button(custom_id=""))]}),
    ("components.0.components.0.url", {"components": [row({"type": 2, "style": 5, "label": "x"})]}),
    ("components", {"components": [row(button(1), button(1))]}),
    ("components.0.components.0.options", {"components": [row(select(options=options(26)))]}),
    ("components.0.components.0.placeholder", {"components": [row(select(placeholder="x" * 151))]}),
    ("components.0.components.0.min_values", {"components": [row(select(min_values=-1))]}),
    ("components.0.components.0.max_values", {"components": [row(select(max_values=26))]}),
    ("components.0.components.0.max_values", {"components": [row(select(max_values=2))]}),
    ("components.0.components.0", {"components": [row(select(options=chosen(2)))]}),
    ("components.0.components.0", {"components": [row(users(default_values=[user_value(1), user_value(2)]))]}),
    ("content", {"flags": V2, "content": "x", "components": [text()]}),
    ("components", {"flags": V2, "components": [text()] * 41}),
    ("components", {"flags": V2, "components": [text("x" * 2001), text("x" * 2000)]}),
    ("components.0.content", {"flags": V2, "components": [text("")]}),
    ("components.0.components.0.type", {"flags": V2, "components": [{"type": 17, "components": [{"type": 17}]}]}),
    ("components.0.items", {"flags": V2, "components": [{"type": 12, "items": []}]}),
    ("attachments.0.id", {"content": "x", "attachments": [{"id": 0}]}),
    ("allowed_mentions.users", {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}),
]


@pytest.mark.parametrize(("path", "body"), TOO_MUCH, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_message_over_a_limit_is_50035(sandbox: Sandbox, rest: Rest, path: str, body: dict[str, Any]) -> None:
    status, answer = await rest("POST", f"/channels/{sandbox.studio.id}/messages", body)
    assert (status, answer["code"]) == (400, 50035)
    node = answer["errors"]
    for part in path.split("."):
        node = node[part]
    assert node["_errors"][0]["code"]
    assert not sandbox.studio.messages


JUST_ENOUGH: list[dict[str, Any]] = [
    {"content": "x" * 2000},
    {"embeds": [{"description": "x" * 3000}] * 2},
    {"components": [row(*[button(n * 5 + m) for m in range(5)]) for n in range(5)]},
    {"flags": V2, "components": [text("x" * 100)] * 40},
    {"components": [row(select(options=options(25)))]},
    {"components": [row(select(options=chosen(25), min_values=0, max_values=25))]},
]


@pytest.mark.parametrize("body", JUST_ENOUGH)
async def test_a_message_at_a_limit_passes(sandbox: Sandbox, rest: Rest, body: dict[str, Any]) -> None:
    status, _ = await rest("POST", f"/channels/{sandbox.studio.id}/messages", body)
    assert status == 200


@pytest.mark.parametrize("body", [{}, {"content": "   "}, {"embeds": []}])
async def test_an_empty_message_is_50006(sandbox: Sandbox, rest: Rest, body: dict[str, Any]) -> None:
    status, answer = await rest("POST", f"/channels/{sandbox.studio.id}/messages", body)
    assert (status, answer["code"]) == (400, 50006)


async def test_eleven_files_are_too_many(sandbox: Sandbox, rest: Rest) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("payload_json", "{}")
    for number in range(11):
        form.add_field(f"files[{number}]", b"x", filename="x.txt")
    status, answer = await rest("POST", f"/channels/{sandbox.studio.id}/messages", data=form)
    assert (status, answer["code"]) == (400, 50035)


async def test_bodies_that_are_no_json(sandbox: Sandbox, rest: Rest) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("payload_json", "{")
    form.add_field("files[0]", b"x", filename="x.txt")
    path = f"/channels/{sandbox.studio.id}/messages"
    assert (await rest("POST", path, data=form))[1]["code"] == 50109
    assert (await rest("POST", path, ["a list"]))[1]["code"] == 50035


def command(**changes: Any) -> dict[str, Any]:
    return {"name": "paint", "description": "d", "type": 1} | changes


def option(**changes: Any) -> dict[str, Any]:
    return {"name": "prompt", "description": "d", "type": 3} | changes


BAD_COMMANDS = [
    command(name="Paint"),
    command(name="paint it"),
    command(name="x" * 33),
    command(description=""),
    command(description="x" * 101),
    command(type=3),
    command(options=[option(name=f"o{n}") for n in range(26)]),
    command(options=[option(), option()]),
    command(options=[option(), option(name="other", required=True)]),
    command(options=[option(choices=[{"name": "n", "value": "v"}] * 26)]),
    command(options=[option(choices=[{"name": "n", "value": "v"}], autocomplete=True)]),
    command(options=[option(choices=[{"name": "n" * 101, "value": "v"}])]),
    command(options=[option(type=1, name="sub"), option()]),
    command(
        options=[
            option(name=f"o{n}", choices=[{"name": f"{m}" * 20, "value": "v" * 20} for m in range(10)])
            for n in range(25)
        ]
    ),
]


@pytest.mark.parametrize("body", BAD_COMMANDS)
async def test_a_bad_command_is_not_registered(sandbox: Sandbox, rest: Rest, body: dict[str, Any]) -> None:
    path = f"/applications/{sandbox.world.application.id}/commands"
    status, answer = await rest("PUT", path, [body])
    assert (status, answer["code"]) == (400, 50035)
    assert (await rest("POST", path, body))[0] == 400
    assert (await rest("GET", path))[1] == []


async def test_commands_are_made_listed_changed_and_removed(sandbox: Sandbox, rest: Rest) -> None:
    path = f"/applications/{sandbox.world.application.id}/commands"
    localized = command(name_localizations={"de": "malen"}, contexts=[0], integration_types=[0, 1])
    status, made = await rest("POST", path, localized)
    assert status == 201
    status, again = await rest("POST", path, command(description="other"))
    assert (status, again["id"]) == (200, made["id"])
    _, replaced = await rest("PUT", path, [localized, {"name": "Edit picture", "type": 3}])
    assert replaced[0]["id"] == made["id"]
    assert replaced[1]["description"] == ""
    assert "name_localizations" not in (await rest("GET", path))[1][0]
    assert (await rest("GET", path + "?with_localizations=1"))[1][0]["name_localizations"] == {"de": "malen"}
    assert (await rest("PATCH", f"{path}/{made['id']}", {"description": "new"}))[1]["description"] == "new"
    assert (await rest("DELETE", f"{path}/{made['id']}"))[0] == 204
    assert (await rest("GET", f"{path}/{made['id']}"))[1]["code"] == 10063
    guild = f"/applications/{sandbox.world.application.id}/guilds/{sandbox.guild.id}/commands"
    assert (await rest("POST", guild, command()))[1]["guild_id"] == str(sandbox.guild.id)
    offered = [c["name"] for c in sandbox.user("alice").commands(sandbox.studio)]
    assert sorted(offered) == ["Edit picture", "paint"]


async def test_modals_have_limits_of_their_own(sandbox: Sandbox, rest: Rest) -> None:
    await rest("POST", f"/applications/{sandbox.world.application.id}/commands", command())
    used = await sandbox.user("alice").slash(sandbox.studio, "paint")
    path = f"/interactions/{used.interaction.id}/{used.interaction.token}/callback"
    field = row({"type": 4, "custom_id": "t", "label": "Text", "style": 1})
    good = {"title": "T", "custom_id": "m", "components": [field]}
    limits: list[dict[str, Any]] = [{"max_length": 2, "value": "xyz"}, {"max_length": 0}]
    fields = [{**field["components"][0], **limit} for limit in limits]
    changes: list[dict[str, Any]] = [
        {"title": "x" * 46},
        {"custom_id": ""},
        {"components": [field] * 6},
        {"components": [field] * 2},
        *({"components": [row(wrong)]} for wrong in fields),
    ]
    for change in changes:
        assert (await rest("POST", path, {"type": 9, "data": good | change}))[1]["code"] == 50035
    assert (await rest("POST", path, {"type": 9, "data": good}))[0] == 204


async def test_a_wrong_token_is_401_everywhere(sandbox: Sandbox, rest: Rest) -> None:
    for path in ("/users/@me", f"/channels/{sandbox.studio.id}", "/gateway/bot"):
        assert await rest("GET", path, token="wrong") == (401, {"message": "401: Unauthorized", "code": 0})


async def test_an_unknown_route_is_loud(sandbox: Sandbox, rest: Rest) -> None:
    status, body = await rest("GET", "/voice/regions")
    assert status == 501
    assert "no route" in body["message"]
    assert sandbox.violations == ["GET /api/v10/voice/regions: the sandbox has no such route"]


async def test_a_foreign_page_cannot_reach_in(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(sandbox.url, headers={"Host": "evil.example"}) as response:
            assert response.status == 403
        post = session.post(sandbox.url + "sandbox/messages", json={}, headers={"Origin": "http://evil.example"})
        async with post as response:
            assert response.status == 403


@pytest.mark.skipif(not OPENAPI.exists(), reason="Discord's OpenAPI description is not beside this checkout")
async def test_breaches_of_the_description_are_recorded() -> None:
    async with Sandbox(openapi=OPENAPI) as strict, aiohttp.ClientSession() as session:
        rest = Rest(strict, session)
        for _ in range(2):
            await rest("POST", f"/channels/{strict.studio.id}/messages", {"content": "fine", "tts": True})
        assert strict.violations == []
        await rest("POST", f"/channels/{strict.studio.id}/messages", {"content": "fine", "tts": "perhaps"})
        assert len(strict.violations) == 1
        assert "$.tts" in strict.violations[0]
