"""The app itself: identity, gateway address, commands, and the lists that are empty here."""

from __future__ import annotations

from sandbox import errors, payloads
from sandbox.model import Json
from sandbox.rest.call import Call, Reply, route


@route("GET", "/users/@me")
async def get_me(call: Call) -> Reply:
    return Reply(json=payloads.current_user(call.world.bot))


@route("PATCH", "/users/@me")
async def edit_me(call: Call) -> Reply:
    if call.json.get("username"):
        call.world.bot.username = str(call.json["username"])
    return Reply(json=payloads.current_user(call.world.bot))


@route("GET", "/users/@me/guilds")
async def my_guilds(call: Call) -> Reply:
    after = int(call.query.get("after", 0))
    limit = int(call.query.get("limit", 200))
    found = [guild for guild in call.world.bot_guilds() if guild.id > after][:limit]
    return Reply(
        json=[
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": False,
                "permissions": str(guild.roles[guild.id].permissions),
                "features": [],
            }
            for guild in found
        ]
    )


@route("DELETE", "/users/@me/guilds/{guild_id}")
async def leave_guild(call: Call) -> Reply:
    call.world.remove_bot(call.guild())
    return Reply(204)


@route("GET", "/users/{user_id}")
async def get_user(call: Call) -> Reply:
    return Reply(json=payloads.user(call.world.user(call.id("user_id"))))


@route("POST", "/users/@me/channels")
async def open_direct_channel(call: Call) -> Reply:
    recipient = str(call.json.get("recipient_id", ""))
    if not recipient.isdecimal():
        raise errors.form_error("recipient_id", "NUMBER_TYPE_COERCE", f'Value "{recipient[:64]}" is not snowflake.')
    user = call.world.user(int(recipient))
    if user is call.world.bot:
        raise errors.cannot_dm()
    return Reply(json=payloads.channel(call.world.direct_channel(user)))


@route("GET", "/oauth2/applications/@me")
async def get_oauth2_application(call: Call) -> Reply:
    return Reply(json=payloads.application(call.world))


@route("GET", "/applications/@me")
async def get_application(call: Call) -> Reply:
    return Reply(json=payloads.application(call.world))


@route("GET", "/gateway", needs_token=False)
async def get_gateway(call: Call) -> Reply:
    return Reply(json={"url": call.services.gateway.url})


@route("GET", "/gateway/bot")
async def get_gateway_bot(call: Call) -> Reply:
    shards = 1 + len(call.world.bot_guilds()) // 1000
    return Reply(
        json={
            "url": call.services.gateway.url,
            "shards": shards,
            "session_start_limit": {
                "total": 1000,
                "remaining": 1000 - len(call.services.gateway.identifies),
                "reset_after": 86_400_000,
                "max_concurrency": 1,
            },
        }
    )


@route("GET", "/applications/{application_id}/emojis")
async def list_emojis(call: Call) -> Reply:
    call.application()
    return Reply(json={"items": []})


@route("GET", "/applications/{application_id}/skus")
async def list_skus(call: Call) -> Reply:
    call.application()
    return Reply(json=[])


@route("GET", "/applications/{application_id}/entitlements")
async def list_entitlements(call: Call) -> Reply:
    call.application()
    return Reply(json=[])


# -- commands ------------------------------------------------------------------------------------


def _scope(call: Call) -> int | None:
    call.application()
    return call.guild().id if "guild_id" in call.parameters else None


def _shown(call: Call, command: Json) -> Json:
    if call.query.get("with_localizations") in ("1", "true"):
        return command
    return {key: value for key, value in command.items() if not key.endswith("_localizations")}


@route("GET", "/applications/{application_id}/commands")
@route("GET", "/applications/{application_id}/guilds/{guild_id}/commands")
async def list_commands(call: Call) -> Reply:
    return Reply(json=[_shown(call, command) for command in call.services.commands.registered(_scope(call))])


@route("PUT", "/applications/{application_id}/commands")
@route("PUT", "/applications/{application_id}/guilds/{guild_id}/commands")
async def replace_commands(call: Call) -> Reply:
    return Reply(json=call.services.commands.replace(_scope(call), call.body.json))


@route("POST", "/applications/{application_id}/commands")
@route("POST", "/applications/{application_id}/guilds/{guild_id}/commands")
async def create_command(call: Call) -> Reply:
    command, is_new = call.services.commands.upsert(_scope(call), call.json)
    return Reply(201 if is_new else 200, command)


@route("GET", "/applications/{application_id}/commands/{command_id}")
@route("GET", "/applications/{application_id}/guilds/{guild_id}/commands/{command_id}")
async def get_command(call: Call) -> Reply:
    return Reply(json=call.services.commands.get(_scope(call), call.id("command_id")))


@route("PATCH", "/applications/{application_id}/commands/{command_id}")
@route("PATCH", "/applications/{application_id}/guilds/{guild_id}/commands/{command_id}")
async def edit_command(call: Call) -> Reply:
    return Reply(json=call.services.commands.edit(_scope(call), call.id("command_id"), call.json))


@route("DELETE", "/applications/{application_id}/commands/{command_id}")
@route("DELETE", "/applications/{application_id}/guilds/{guild_id}/commands/{command_id}")
async def delete_command(call: Call) -> Reply:
    call.services.commands.delete(_scope(call), call.id("command_id"))
    return Reply(204)


@route("GET", "/applications/{application_id}/guilds/{guild_id}/commands/permissions")
async def list_command_permissions(call: Call) -> Reply:
    _scope(call)
    return Reply(json=[])
