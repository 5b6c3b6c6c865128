"""Messages come, change and go."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox import errors, mentions, payloads, rendering
from sandbox.events import MessageCreated, MessagesDeleted, MessageUpdated
from sandbox.limits import check_message
from sandbox.model import (
    Channel,
    File,
    Json,
    Message,
    MessageFlag,
    MessageType,
    Pings,
    User,
    Version,
    visible_text,
)
from sandbox.uploads import kept_attachments, new_attachments
from sandbox.world import World

NONCE_SECONDS = 300
"""How long a nonce with ``enforce_nonce`` finds its first message again ("a few minutes", says Discord)."""

MOST_NONCES = 10_000

SENDER_FLAGS = MessageFlag.SUPPRESS_EMBEDS | MessageFlag.SUPPRESS_NOTIFICATIONS | MessageFlag.IS_COMPONENTS_V2


@dataclass
class Origin:
    """What a message owes to an interaction or a reply."""

    type: MessageType = MessageType.DEFAULT
    interaction_id: int | None = None
    interaction_metadata: Json | None = None
    interaction_name: str | None = None
    webhook_id: int | None = None
    visible_to: int | None = None
    replied_to: Message | None = None
    files: dict[int, File] = field(default_factory=dict)


class Messages:
    """Posts, edits and deletes messages of a world, keeping each one's history."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nonces: dict[tuple[int, int, str], Message] = {}

    def post(self, channel: Channel, author: User, body: Json, origin: Origin, *, as_bot: bool = True) -> Message:
        """Send a message.

        Raises:
            ApiError: it breaks a limit (50035), is empty (50006) or carries too large a file (40005).
        """
        world = self._world
        flags = MessageFlag(body.get("flags") or 0) & SENDER_FLAGS
        if origin.visible_to is not None:
            flags |= MessageFlag.EPHEMERAL
        if as_bot:
            check_message(body, origin.files, flags=flags)
        earlier = self._earlier(channel, author, body)
        if earlier is not None:
            return earlier
        ephemeral = origin.visible_to is not None
        attachments = new_attachments(world, channel, body, origin.files, ephemeral=ephemeral)
        embeds = rendering.render_embeds(body.get("embeds") or [], attachments)
        components = rendering.render_components(body.get("components") or [], attachments, world.ids)
        content = (body.get("content") or "").strip()
        if not (content or embeds or attachments or components or body.get("sticker_ids") or body.get("poll")):
            raise errors.empty_message()
        message = Message(
            id=world.ids.next(),
            channel_id=channel.id,
            guild_id=channel.guild_id,
            author=author,
            created_at=world.clock.time(),
            type=origin.type,
            content=content,
            embeds=embeds,
            components=components,
            attachments=attachments,
            flags=flags,
            nonce=body.get("nonce"),
            interaction_id=origin.interaction_id,
            interaction_metadata=origin.interaction_metadata,
            interaction_name=origin.interaction_name,
            webhook_id=origin.webhook_id,
            visible_to=origin.visible_to,
            replied_to=origin.replied_to,
        )
        if origin.replied_to is not None:
            message.reference = self._reference(origin.replied_to)
        self._mention(message, channel, body.get("allowed_mentions"), pings=True)
        self.add(channel, message)
        if body.get("nonce") is not None and body.get("enforce_nonce"):
            if len(self._nonces) >= MOST_NONCES:
                del self._nonces[next(iter(self._nonces))]
            self._nonces[(author.id, channel.id, str(body["nonce"]))] = message
        return message

    def add(self, channel: Channel, message: Message) -> None:
        """Put a finished message into its channel."""
        self._remember(message)
        channel.messages[message.id] = message
        self._world.hub.publish(MessageCreated(message))

    def edit(self, message: Message, body: Json, files: dict[int, File], *, fills_thinking: bool = False) -> Message:
        """Change the parts that the body names.

        Raises:
            ApiError: as for :meth:`post`.
        """
        world = self._world
        channel = world.channels[message.channel_id]
        flags = message.flags
        if "flags" in body:
            kept = flags & ~MessageFlag.SUPPRESS_EMBEDS
            flags = kept | (MessageFlag(body["flags"] or 0) & SENDER_FLAGS)
        check_message(body, files, flags=flags, existing=message.attachments)
        kept_files = kept_attachments(body, files, message.attachments)
        attachments = kept_files + new_attachments(world, channel, body, files, ephemeral=message.is_ephemeral)
        embeds, components, content = message.embeds, message.components, message.content
        if "embeds" in body:
            embeds = rendering.render_embeds(body["embeds"] or [], attachments)
        if "components" in body:
            components = rendering.render_components(body["components"] or [], attachments, world.ids)
        if "content" in body:
            content = (body["content"] or "").strip()
        if not (content or embeds or attachments or components):
            raise errors.empty_message()
        message.flags = flags & ~MessageFlag.LOADING
        message.content, message.embeds, message.components = content, embeds, components
        message.attachments = attachments
        if not fills_thinking:
            message.edited_at = world.clock.time()
        self._mention(message, channel, body.get("allowed_mentions"), pings=fills_thinking)
        self._remember(message)
        world.hub.publish(MessageUpdated(message))
        return message

    def changed(self, message: Message) -> None:
        """Tell the world that something beside the contents changed (a pin, a thread)."""
        self._world.hub.publish(MessageUpdated(message))

    def delete(self, channel: Channel, messages: list[Message], *, bulk: bool = False) -> None:
        for message in messages:
            message.deleted = True
            channel.messages.pop(message.id, None)
        self._world.hub.publish(MessagesDeleted(channel, messages, bulk))

    def _earlier(self, channel: Channel, author: User, body: Json) -> Message | None:
        if body.get("nonce") is None or not body.get("enforce_nonce"):
            return None
        found = self._nonces.get((author.id, channel.id, str(body["nonce"])))
        if found is None or self._world.clock.time() - found.created_at > NONCE_SECONDS:
            return None
        return found

    def _mention(self, message: Message, channel: Channel, allowed: Json | None, *, pings: bool) -> None:
        text = "\n".join(visible_text(message.content, [], message.components))
        found = mentions.find(self._world, channel, message.author, text, allowed, message.replied_to)
        message.mentions = found.users
        message.mention_roles = found.roles
        message.mention_everyone = found.everyone
        if pings and not message.flags & MessageFlag.SUPPRESS_NOTIFICATIONS:
            message.pings = found.pings
        elif pings:
            message.pings = Pings()

    def _remember(self, message: Message) -> None:
        message.versions.append(
            Version(
                self._world.clock.time(),
                message.content,
                message.embeds,
                message.components,
                list(message.attachments),
                message.flags,
            )
        )

    @staticmethod
    def _reference(replied_to: Message) -> Json:
        reference: Json = {
            "type": 0,
            "channel_id": str(replied_to.channel_id),
            "message_id": str(replied_to.id),
        }
        if replied_to.guild_id is not None:
            reference["guild_id"] = str(replied_to.guild_id)
        return reference


def seen_by_bot(world: World, message: Message) -> Json:
    """A message as the REST API returns it to the bot, its content guarded by the intent."""
    return payloads.message(message, content_hidden=is_content_hidden(world, message))


def is_content_hidden(world: World, message: Message) -> bool:
    """Whether the message content intent is missing for this message.

    It is needed for all but the bot's own messages, direct messages and messages that mention the bot.
    """
    if world.application.intents_granted & (1 << 15):
        return False
    bot = world.bot
    return message.author is not bot and message.guild_id is not None and bot not in message.mentions
