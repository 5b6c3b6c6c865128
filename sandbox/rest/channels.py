"""Channels, threads and guilds as the bot reads them, and the threads it starts."""

from __future__ import annotations

from sandbox import errors, payloads
from sandbox.errors import FormErrors
from sandbox.events import ChannelDeleted, ChannelUpdated
from sandbox.messages import Origin
from sandbox.model import CONVERSATIONS, Channel, ChannelType, Json, MessageFlag
from sandbox.permissions import Permission
from sandbox.rest.call import Call, Reply, route


@route("GET", "/channels/{channel_id}")
async def get(call: Call) -> Reply:
    return Reply(json=payloads.channel(call.channel()))


@route("PATCH", "/channels/{channel_id}")
async def edit(call: Call) -> Reply:
    body = call.json
    channel = call.channel()
    needed = Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS
    owns = channel.thread is not None and channel.thread.owner_id == call.world.bot.id
    if not owns and not call.world.permissions(call.world.bot, channel) & needed:
        raise errors.missing_permissions()
    if body.get("name") is not None:
        wrong = FormErrors()
        wrong.length("name", body["name"], most=100, least=1)
        wrong.raise_if_any()
        channel.name = body["name"]
    if "topic" in body:
        channel.topic = body["topic"]
    if channel.thread is not None:
        channel.thread.archived = bool(body.get("archived", channel.thread.archived))
        channel.thread.locked = bool(body.get("locked", channel.thread.locked))
    call.world.hub.publish(ChannelUpdated(channel))
    return Reply(json=payloads.channel(channel))


@route("DELETE", "/channels/{channel_id}")
async def delete(call: Call) -> Reply:
    channel = call.channel()
    if channel.guild_id is not None:
        needed = Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS
        if not call.world.permissions(call.world.bot, channel) & needed:
            raise errors.missing_permissions()
        body = payloads.channel(channel)
        del call.world.guilds[channel.guild_id].channels[channel.id]
        call.world.hub.publish(ChannelDeleted(channel))
        del call.world.channels[channel.id]
        return Reply(json=body)
    return Reply(json=payloads.channel(channel))


# -- threads -------------------------------------------------------------------------------------


def _thread_name(body: Json) -> str:
    wrong = FormErrors()
    wrong.length("name", body.get("name") or "", most=100, least=1)
    wrong.raise_if_any()
    return str(body["name"])


def _threadable(call: Call, needed: Permission) -> Channel:
    channel = call.channel(needed)
    if channel.is_thread or channel.type in CONVERSATIONS:
        raise errors.ApiError(400, 50024, "Cannot execute action on this channel type")
    return channel


@route("POST", "/channels/{channel_id}/messages/{message_id}/threads")
async def thread_from_message(call: Call) -> Reply:
    channel = _threadable(call, Permission.CREATE_PUBLIC_THREADS | Permission.READ_MESSAGE_HISTORY)
    message = call.world.message(channel, call.id("message_id"))
    if message.thread_id is not None:
        raise errors.ApiError(400, 160004, "A thread has already been created for this message")
    thread = call.world.add_thread(channel, _thread_name(call.json), call.world.bot, thread_id=message.id)
    message.thread_id = thread.id
    message.flags |= MessageFlag.HAS_THREAD
    call.services.messages.changed(message)
    return Reply(201, payloads.channel(thread))


@route("POST", "/channels/{channel_id}/threads")
async def thread(call: Call) -> Reply:
    body = call.json
    target = call.world.channels.get(call.id("channel_id"))
    if target is not None and target.type == ChannelType.FORUM:
        return _forum_post(call, call.channel(Permission.SEND_MESSAGES))
    private = body.get("type", 12) == ChannelType.PRIVATE_THREAD
    needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
    channel = _threadable(call, needed)
    made = call.world.add_thread(
        channel, _thread_name(body), call.world.bot, thread_id=call.world.ids.next(), private=private
    )
    return Reply(201, payloads.channel(made))


def _forum_post(call: Call, forum: Channel) -> Reply:
    message = call.json.get("message")
    if not isinstance(message, dict):
        raise errors.form_error("message", "BASE_TYPE_REQUIRED", "This field is required")
    made = call.world.add_thread(forum, _thread_name(call.json), call.world.bot, thread_id=call.world.ids.next())
    posted = call.services.messages.post(made, call.world.bot, message, Origin(files=call.files))
    return Reply(201, payloads.channel(made) | {"message": payloads.message(posted)})


@route("PUT", "/channels/{channel_id}/thread-members/@me")
async def join_thread(call: Call) -> Reply:
    channel = call.channel()
    if channel.thread is not None and call.world.bot.id not in channel.thread.member_ids:
        channel.thread.member_ids.append(call.world.bot.id)
    return Reply(204)


@route("DELETE", "/channels/{channel_id}/thread-members/@me")
async def leave_thread(call: Call) -> Reply:
    channel = call.channel()
    if channel.thread is not None and call.world.bot.id in channel.thread.member_ids:
        channel.thread.member_ids.remove(call.world.bot.id)
    return Reply(204)


@route("GET", "/channels/{channel_id}/thread-members")
async def thread_members(call: Call) -> Reply:
    channel = call.channel()
    if channel.thread is None:
        raise errors.unknown_channel()
    joined = payloads.timestamp(channel.thread.created_at)
    return Reply(
        json=[
            {"id": str(channel.id), "user_id": str(user_id), "join_timestamp": joined, "flags": 0}
            for user_id in channel.thread.member_ids
        ]
    )


@route("GET", "/channels/{channel_id}/threads/archived/public")
async def archived_threads(call: Call) -> Reply:
    parent = call.channel(Permission.READ_MESSAGE_HISTORY)
    threads = [c for c in call.world.channels.values() if c.thread and c.parent_id == parent.id and c.thread.archived]
    return Reply(json={"threads": [payloads.channel(t) for t in threads], "members": [], "has_more": False})


# -- guilds --------------------------------------------------------------------------------------


@route("GET", "/guilds/{guild_id}")
async def get_guild(call: Call) -> Reply:
    guild = call.guild()
    body = payloads.guild(guild)
    if call.query.get("with_counts") in ("1", "true"):
        body |= {
            "approximate_member_count": len(guild.members),
            "approximate_presence_count": len(guild.members),
        }
    return Reply(json=body)


@route("GET", "/guilds/{guild_id}/channels")
async def guild_channels(call: Call) -> Reply:
    channels = call.guild().channels.values()
    return Reply(json=[payloads.channel(channel) for channel in channels if not channel.is_thread])


@route("GET", "/guilds/{guild_id}/threads/active")
async def active_threads(call: Call) -> Reply:
    threads = [channel for channel in call.guild().channels.values() if channel.is_thread]
    return Reply(json={"threads": [payloads.channel(t) for t in threads], "members": [], "has_more": False})


@route("GET", "/guilds/{guild_id}/roles")
async def guild_roles(call: Call) -> Reply:
    return Reply(json=[payloads.role(role) for role in call.guild().roles.values()])


@route("GET", "/guilds/{guild_id}/members/{user_id}")
async def get_member(call: Call) -> Reply:
    member = call.guild().members.get(call.id("user_id"))
    if member is None:
        raise errors.unknown_member()
    return Reply(json=payloads.member(member))


@route("GET", "/guilds/{guild_id}/members")
async def list_members(call: Call) -> Reply:
    guild = call.guild()
    if not call.world.application.intents_granted & (1 << 1):
        raise errors.missing_access()
    after, limit = int(call.query.get("after", 0)), int(call.query.get("limit", 1))
    found = sorted((m for m in guild.members.values() if m.user.id > after), key=lambda m: m.user.id)
    return Reply(json=[payloads.member(member) for member in found[:limit]])


@route("GET", "/guilds/{guild_id}/members/search")
async def search_members(call: Call) -> Reply:
    guild = call.guild()
    query, limit = call.query.get("query", "").lower(), int(call.query.get("limit", 1))
    found = [
        member
        for member in guild.members.values()
        if member.user.username.lower().startswith(query) or (member.nick or "").lower().startswith(query)
    ]
    return Reply(json=[payloads.member(member) for member in found[:limit]])
