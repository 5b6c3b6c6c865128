"""The world's records as Discord writes them in JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.model import (
    CONVERSATIONS,
    Attachment,
    Channel,
    ChannelType,
    Guild,
    Json,
    Member,
    Message,
    MessageFlag,
    Role,
    User,
)
from sandbox.permissions import Permission
from sandbox.world import World


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def user(person: User) -> Json:
    body: Json = {
        "id": str(person.id),
        "username": person.username,
        "global_name": person.global_name,
        "avatar": f"{person.id:032x}",
        "discriminator": "0000" if person.bot else "0",
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }
    if person.bot:
        body["bot"] = True
    return body


def current_user(person: User) -> Json:
    return user(person) | {"mfa_enabled": True, "locale": person.locale, "verified": True, "email": None}


def member(person: Member, *, with_user: bool = True) -> Json:
    body: Json = {
        "avatar": None,
        "banner": None,
        "communication_disabled_until": None,
        "flags": 0,
        "joined_at": timestamp(person.joined_at),
        "nick": person.nick,
        "pending": False,
        "premium_since": None,
        "roles": [str(role_id) for role_id in person.role_ids],
        "mute": False,
        "deaf": False,
    }
    if with_user:
        body["user"] = user(person.user)
    return body


def role(item: Role) -> Json:
    return {
        "id": str(item.id),
        "name": item.name,
        "permissions": str(item.permissions),
        "position": item.position,
        "color": item.color,
        "colors": {"primary_color": item.color, "secondary_color": None, "tertiary_color": None},
        "hoist": item.hoist,
        "managed": item.managed,
        "mentionable": item.mentionable,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def channel(item: Channel) -> Json:
    last = next(reversed(item.messages), None)
    body: Json = {
        "id": str(item.id),
        "type": int(item.type),
        "flags": 0,
        "last_message_id": str(last) if last else None,
    }
    if item.type in CONVERSATIONS:
        body["recipients"] = [user(person) for person in item.recipients]
        if item.type == ChannelType.GROUP_DM:
            body |= {"name": item.name or None, "icon": None, "owner_id": str(item.recipients[0].id)}
        return body
    body |= {
        "guild_id": str(item.guild_id),
        "name": item.name,
        "parent_id": str(item.parent_id) if item.parent_id else None,
        "rate_limit_per_user": item.slowmode,
    }
    if item.thread is not None:
        state = item.thread
        return body | {
            "owner_id": str(state.owner_id),
            "thread_metadata": {
                "archived": state.archived,
                "archive_timestamp": timestamp(state.created_at),
                "auto_archive_duration": state.auto_archive_duration,
                "locked": state.locked,
                "create_timestamp": timestamp(state.created_at),
            },
            "message_count": len(item.messages),
            "member_count": len(state.member_ids),
            "total_message_sent": len(item.messages),
            "applied_tags": [str(tag) for tag in state.applied_tags],
        }
    body |= {
        "position": item.position,
        "permission_overwrites": [
            {"id": str(o.id), "type": int(o.is_member), "allow": str(int(o.allow)), "deny": str(int(o.deny))}
            for o in item.overwrites
        ],
        "nsfw": item.nsfw,
        "topic": item.topic,
    }
    if item.type == ChannelType.FORUM:
        body |= {
            "available_tags": [],
            "default_reaction_emoji": None,
            "default_sort_order": None,
            "default_forum_layout": 0,
        }
    return body


def partial_channel(item: Channel, permissions: Permission) -> Json:
    """A channel inside an interaction."""
    return channel(item) | {"permissions": str(int(permissions))}


def guild(item: Guild) -> Json:
    return {
        "id": str(item.id),
        "name": item.name,
        "icon": None,
        "description": None,
        "home_header": None,
        "splash": None,
        "discovery_splash": None,
        "features": [],
        "banner": None,
        "owner_id": str(item.owner_id),
        "application_id": None,
        "region": "us-west",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": 0,
        "roles": [role(r) for r in item.roles.values()],
        "default_message_notifications": 0,
        "mfa_level": 0,
        "explicit_content_filter": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "vanity_url_code": None,
        "premium_tier": item.premium_tier,
        "premium_subscription_count": 0,
        "preferred_locale": item.locale,
        "rules_channel_id": None,
        "safety_alerts_channel_id": None,
        "public_updates_channel_id": None,
        "premium_progress_bar_enabled": False,
        "nsfw": False,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
        "incidents_data": None,
    }


def guild_create(item: Guild, world: World, *, with_members: bool) -> Json:
    """GUILD_CREATE: the guild with its channels, and of the members only the bot unless the intent is there."""
    members = item.members.values() if with_members else [item.members[world.bot.id]]
    seen = [c for c in item.channels.values() if world.permissions(world.bot, c) & Permission.VIEW_CHANNEL]
    return guild(item) | {
        "joined_at": timestamp(item.members[world.bot.id].joined_at),
        "large": False,
        "member_count": len(item.members),
        "voice_states": [],
        "members": [member(m) for m in members],
        "channels": [channel(c) for c in item.channels.values() if not c.is_thread],
        "threads": [channel(c) for c in seen if c.is_thread],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def attachment(item: Attachment) -> Json:
    body: Json = {
        "id": str(item.id),
        "filename": item.filename,
        "size": item.size,
        "url": item.url,
        "proxy_url": item.url,
        "content_type": item.content_type,
    }
    if item.width is not None:
        body |= {"width": item.width, "height": item.height}
    if item.description is not None:
        body["description"] = item.description
    if item.ephemeral:
        body["ephemeral"] = True
    return body


def message(item: Message, *, content_hidden: bool = False) -> Json:
    """A message.

    ``content_hidden`` empties what the message content intent guards (content, embeds, attachments, components).
    """
    in_embeds = {(embed.get(key) or {}).get("url") for embed in item.embeds for key in ("image", "thumbnail", "video")}
    body: Json = {
        "type": int(item.type),
        "content": "" if content_hidden else item.content,
        "mentions": [user(person) for person in item.mentions],
        "mention_roles": [str(role_id) for role_id in item.mention_roles],
        "attachments": [] if content_hidden else [attachment(a) for a in item.attachments if a.url not in in_embeds],
        "embeds": [] if content_hidden or item.flags & MessageFlag.SUPPRESS_EMBEDS else item.embeds,
        "timestamp": timestamp(item.created_at),
        "edited_timestamp": timestamp(item.edited_at) if item.edited_at is not None else None,
        "flags": int(item.flags),
        "components": [] if content_hidden else item.components,
        "id": str(item.id),
        "channel_id": str(item.channel_id),
        "author": user(item.author),
        "pinned": item.pinned,
        "mention_everyone": item.mention_everyone,
        "tts": False,
    }
    if item.nonce is not None:
        body["nonce"] = item.nonce
    if item.webhook_id is not None:
        body |= {"webhook_id": str(item.webhook_id), "application_id": str(item.webhook_id)}
    if item.interaction_metadata is not None:
        body["interaction_metadata"] = item.interaction_metadata
        if item.interaction_name is not None:
            body["interaction"] = {
                "id": item.interaction_metadata["id"],
                "type": item.interaction_metadata["type"],
                "name": item.interaction_name,
                "user": item.interaction_metadata["user"],
            }
    if item.reference is not None:
        body["message_reference"] = item.reference
        if item.replied_to is not None and not item.replied_to.deleted:
            plain = message(item.replied_to)
            plain.pop("referenced_message", None)
            plain.pop("reactions", None)
            body["referenced_message"] = plain
        else:
            body["referenced_message"] = None
    if item.reactions:
        body["reactions"] = [
            {
                "emoji": {"id": None, "name": reaction.emoji},
                "count": len(reaction.user_ids),
                "count_details": {"burst": 0, "normal": len(reaction.user_ids)},
                "burst_colors": [],
                "me_burst": False,
                "me": reaction.by_bot,
            }
            for reaction in item.reactions
        ]
    return body


def gateway_message(item: Message, world: World, *, content_hidden: bool) -> Json:
    """A message in MESSAGE_CREATE and MESSAGE_UPDATE, which also tell guild and member."""
    body = message(item, content_hidden=content_hidden)
    if item.guild_id is not None:
        body["guild_id"] = str(item.guild_id)
        found = world.guilds[item.guild_id].members.get(item.author.id)
        if found is not None and item.webhook_id is None:
            body["member"] = member(found, with_user=False)
    return body


def application(world: World) -> Json:
    app = world.application
    return {
        "id": str(app.id),
        "name": app.name,
        "icon": None,
        "description": "",
        "type": None,
        "bot": user(app.bot),
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": application_flags(app.intents_granted),
        "flags_new": str(application_flags(app.intents_granted)),
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "owner": user(app.owner),
        "approximate_guild_count": len(world.bot_guilds()),
        "approximate_user_install_count": len(app.installed_by),
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": [],
    }


def application_flags(intents_granted: int) -> int:
    """The *_LIMITED flags that tell which privileged intents are switched on."""
    flags: Any = 0
    for intent, flag in ((1 << 8, 1 << 13), (1 << 1, 1 << 15), (1 << 15, 1 << 19)):
        if intents_granted & intent:
            flags |= flag
    return int(flags)
