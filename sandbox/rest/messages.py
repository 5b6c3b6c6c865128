"""Messages of a channel: sent, read, edited, deleted, pinned and reacted to with the bot's own token."""

from __future__ import annotations

from sandbox import errors, payloads
from sandbox.events import PinsChanged, TypingStarted
from sandbox.messages import Origin, seen_by_bot
from sandbox.model import Channel, Json, Message, MessageFlag, MessageType
from sandbox.permissions import Permission
from sandbox.rest.call import Call, Reply, route

BULK_DELETE_SECONDS = 14 * 86_400


def _sendable(call: Call) -> Channel:
    channel = call.channel()
    if not channel.is_text:
        raise errors.cannot_send_in_channel()
    if channel.is_with_bot and not call.world.can_be_written_to(channel.recipients[0]):
        raise errors.cannot_dm()
    have = call.world.permissions(call.world.bot, channel)
    needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    if call.files:
        needed |= Permission.ATTACH_FILES
    if call.json.get("embeds"):
        needed |= Permission.EMBED_LINKS
    if needed & ~have:
        raise errors.missing_permissions()
    if channel.thread is not None and channel.thread.locked:
        raise errors.thread_archived()
    return channel


def _replied_to(call: Call, channel: Channel) -> Message | None:
    reference: Json | None = call.json.get("message_reference")
    if not reference or not reference.get("message_id"):
        return None
    found = channel.messages.get(int(reference["message_id"]))
    if found is None or found.is_ephemeral:
        if reference.get("fail_if_not_exists", True):
            raise errors.form_error("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        return None
    if not call.world.permissions(call.world.bot, channel) & Permission.READ_MESSAGE_HISTORY:
        raise errors.missing_permissions()
    return found


@route("POST", "/channels/{channel_id}/messages")
async def send(call: Call) -> Reply:
    channel = _sendable(call)
    replied_to = _replied_to(call, channel)
    origin = Origin(
        type=MessageType.REPLY if replied_to else MessageType.DEFAULT, replied_to=replied_to, files=call.files
    )
    if channel.thread is not None:
        channel.thread.archived = False
    message = call.services.messages.post(channel, call.world.bot, call.json, origin)
    return Reply(json=payloads.message(message))


@route("GET", "/channels/{channel_id}/messages")
async def history(call: Call) -> Reply:
    channel = call.channel()
    if not call.world.permissions(call.world.bot, channel) & Permission.READ_MESSAGE_HISTORY:
        return Reply(json=[])
    limit = call.query.get("limit", "50")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise errors.form_error("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
    found = page(channel, int(limit), call.query)
    return Reply(json=[seen_by_bot(call.world, message) for message in found])


def page(channel: Channel, limit: int, query: dict[str, str]) -> list[Message]:
    """A page of a channel's history, newest first, as before / after / around ask."""
    shown = [message for message in channel.messages.values() if not message.is_ephemeral]
    shown.sort(key=lambda message: message.id)
    if "before" in query:
        shown = [message for message in shown if message.id < int(query["before"])][-limit:]
    elif "after" in query:
        shown = [message for message in shown if message.id > int(query["after"])][:limit]
    elif "around" in query:
        middle = int(query["around"])
        earlier = [message for message in shown if message.id < middle][-(limit // 2) :]
        shown = (earlier + [message for message in shown if message.id >= middle])[:limit]
    else:
        shown = shown[-limit:]
    return shown[::-1]


def message_of(call: Call, needed: Permission = Permission.NONE) -> tuple[Channel, Message]:
    """The channel and message of the path."""
    channel = call.channel(needed)
    return channel, call.world.message(channel, call.id("message_id"))


@route("GET", "/channels/{channel_id}/messages/{message_id}")
async def get(call: Call) -> Reply:
    _, message = message_of(call, Permission.READ_MESSAGE_HISTORY)
    return Reply(json=seen_by_bot(call.world, message))


@route("PATCH", "/channels/{channel_id}/messages/{message_id}")
async def edit(call: Call) -> Reply:
    channel, message = message_of(call)
    if message.author is not call.world.bot:
        only_flags = set(call.json) == {"flags"}
        if not only_flags:
            raise errors.cannot_edit_others()
        if not call.world.permissions(call.world.bot, channel) & Permission.MANAGE_MESSAGES:
            raise errors.missing_permissions()
        message.flags = (message.flags & ~MessageFlag.SUPPRESS_EMBEDS) | (
            MessageFlag(call.json["flags"] or 0) & MessageFlag.SUPPRESS_EMBEDS
        )
        call.services.messages.changed(message)
        return Reply(json=seen_by_bot(call.world, message))
    return Reply(json=payloads.message(call.services.messages.edit(message, call.json, call.files)))


@route("DELETE", "/channels/{channel_id}/messages/{message_id}")
async def delete(call: Call) -> Reply:
    channel, message = message_of(call)
    have = call.world.permissions(call.world.bot, channel)
    if message.author is not call.world.bot and not have & Permission.MANAGE_MESSAGES:
        raise errors.missing_permissions()
    call.services.messages.delete(channel, [message])
    return Reply(204)


@route("POST", "/channels/{channel_id}/messages/bulk-delete")
async def bulk_delete(call: Call) -> Reply:
    channel = call.channel(Permission.MANAGE_MESSAGES)
    ids = call.json.get("messages")
    if not isinstance(ids, list) or not 2 <= len(ids) <= 100:
        raise errors.form_error("messages", "BASE_TYPE_BAD_LENGTH", "Must be between 2 and 100 in length.")
    found = [channel.messages[int(named)] for named in ids if int(named) in channel.messages]
    if any(call.world.clock.time() - message.created_at > BULK_DELETE_SECONDS for message in found):
        raise errors.ApiError(400, 50034, "You can only bulk delete messages that are under 14 days old.")
    call.services.messages.delete(channel, [message for message in found if not message.is_ephemeral], bulk=True)
    return Reply(204)


@route("POST", "/channels/{channel_id}/typing")
async def typing(call: Call) -> Reply:
    channel = call.channel()
    needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    if not call.world.permissions(call.world.bot, channel) & needed:
        raise errors.missing_permissions()
    call.world.hub.publish(TypingStarted(channel, call.world.bot))
    return Reply(204)


# -- pins ----------------------------------------------------------------------------------------


@route("PUT", "/channels/{channel_id}/pins/{message_id}")
@route("PUT", "/channels/{channel_id}/messages/pins/{message_id}")
async def pin(call: Call) -> Reply:
    channel, message = message_of(call, Permission.MANAGE_MESSAGES)
    if sum(other.pinned for other in channel.messages.values()) >= 250 and not message.pinned:
        raise errors.ApiError(400, 30003, "Maximum number of pins reached for the channel (250)")
    if not message.pinned:
        message.pinned, message.pinned_at = True, call.world.clock.time()
        call.services.messages.changed(message)
        call.world.hub.publish(PinsChanged(channel))
    return Reply(204)


@route("DELETE", "/channels/{channel_id}/pins/{message_id}")
@route("DELETE", "/channels/{channel_id}/messages/pins/{message_id}")
async def unpin(call: Call) -> Reply:
    channel, message = message_of(call, Permission.MANAGE_MESSAGES)
    if message.pinned:
        message.pinned, message.pinned_at = False, None
        call.services.messages.changed(message)
        call.world.hub.publish(PinsChanged(channel))
    return Reply(204)


@route("GET", "/channels/{channel_id}/messages/pins")
async def pins(call: Call) -> Reply:
    channel = call.channel(Permission.READ_MESSAGE_HISTORY)
    pinned = [message for message in channel.messages.values() if message.pinned]
    pinned.sort(key=lambda message: message.pinned_at or 0, reverse=True)
    return Reply(
        json={
            "items": [
                {
                    "pinned_at": payloads.timestamp(message.pinned_at or 0),
                    "message": seen_by_bot(call.world, message),
                }
                for message in pinned
            ],
            "has_more": False,
        }
    )


@route("GET", "/channels/{channel_id}/pins")
async def pins_before_2025(call: Call) -> Reply:
    channel = call.channel(Permission.READ_MESSAGE_HISTORY)
    return Reply(json=[seen_by_bot(call.world, m) for m in channel.messages.values() if m.pinned])
