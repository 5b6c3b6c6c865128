"""Reactions. Of emojis there are only Unicode's: the sandbox's guilds have none of their own."""

from __future__ import annotations

from sandbox import errors, payloads
from sandbox.events import ReactionChanged
from sandbox.model import Message, Reaction
from sandbox.permissions import Permission
from sandbox.rest.call import Call, Reply, route
from sandbox.rest.messages import message_of


def _reaction(message: Message, emoji: str) -> Reaction | None:
    return next((reaction for reaction in message.reactions if reaction.emoji == emoji), None)


def _remove(call: Call, message: Message, emoji: str, user_id: int) -> None:
    reaction = _reaction(message, emoji)
    if reaction is None or user_id not in reaction.user_ids:
        return
    reaction.user_ids.remove(user_id)
    reaction.by_bot = call.world.bot.id in reaction.user_ids
    if not reaction.user_ids:
        message.reactions.remove(reaction)
    call.world.hub.publish(ReactionChanged(message, call.world.user(user_id), emoji, False))


@route("PUT", "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me")
async def react(call: Call) -> Reply:
    channel, message = message_of(call, Permission.READ_MESSAGE_HISTORY)
    emoji = call.parameters["emoji_name"]
    if emoji.isascii():
        raise errors.unknown_emoji()
    reaction = _reaction(message, emoji)
    if reaction is None:
        if not call.world.permissions(call.world.bot, channel) & Permission.ADD_REACTIONS:
            raise errors.missing_permissions()
        reaction = Reaction(emoji, [])
        message.reactions.append(reaction)
    if call.world.bot.id not in reaction.user_ids:
        reaction.user_ids.append(call.world.bot.id)
        reaction.by_bot = True
        call.world.hub.publish(ReactionChanged(message, call.world.bot, emoji, True))
    return Reply(204)


@route("DELETE", "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me")
async def unreact(call: Call) -> Reply:
    _, message = message_of(call)
    _remove(call, message, call.parameters["emoji_name"], call.world.bot.id)
    return Reply(204)


@route("DELETE", "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/{user_id}")
async def remove_reaction(call: Call) -> Reply:
    _, message = message_of(call, Permission.MANAGE_MESSAGES)
    _remove(call, message, call.parameters["emoji_name"], call.id("user_id"))
    return Reply(204)


@route("GET", "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}")
async def reacted(call: Call) -> Reply:
    _, message = message_of(call, Permission.READ_MESSAGE_HISTORY)
    reaction = _reaction(message, call.parameters["emoji_name"])
    users = [call.world.users[user_id] for user_id in reaction.user_ids] if reaction else []
    return Reply(json=[payloads.user(user) for user in users[: int(call.query.get("limit", 25))]])


@route("DELETE", "/channels/{channel_id}/messages/{message_id}/reactions")
async def clear_reactions(call: Call) -> Reply:
    _, message = message_of(call, Permission.MANAGE_MESSAGES)
    for reaction in list(message.reactions):
        for user_id in list(reaction.user_ids):
            _remove(call, message, reaction.emoji, user_id)
    return Reply(204)
