"""A user's hands: what a person does in Discord's client, as Python calls for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox import commands, payloads
from sandbox.interactions import Interaction, InteractionType
from sandbox.invocation import TIMEOUT as TIMEOUT
from sandbox.invocation import DidNotRespond as DidNotRespond
from sandbox.invocation import Invocation as Invocation
from sandbox.invocation import Modal as Modal
from sandbox.messages import Origin
from sandbox.modals import submission
from sandbox.model import (
    SELECTS,
    Channel,
    ComponentType,
    File,
    Guild,
    Json,
    Member,
    Message,
    MessageType,
    Role,
    User,
    walk_components,
)
from sandbox.options import ClientRefuses, Resolved, command_data, find_leaf
from sandbox.permissions import Permission
from sandbox.rest.call import Services


class Hands:
    """One user's hands. Make them with :meth:`sandbox.Sandbox.user`."""

    def __init__(self, services: Services, user: User) -> None:
        self._services = services
        self.user = user

    @property
    def id(self) -> int:
        return self.user.id

    @property
    def mention(self) -> str:
        return self.user.mention

    def member(self, guild: Guild) -> Member:
        return guild.members[self.user.id]

    async def direct_channel(self) -> Channel:
        """The conversation with the bot."""
        return self._services.world.direct_channel(self.user)

    # -- messages --------------------------------------------------------------------------------

    async def send(
        self,
        channel: Channel,
        content: str = "",
        *,
        files: Sequence[File] = (),
        reply_to: Message | None = None,
    ) -> Message:
        """Write into a channel."""
        self._may(channel, Permission.VIEW_CHANNEL)
        needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
        self._may(channel, needed)
        origin = Origin(
            type=MessageType.REPLY if reply_to else MessageType.DEFAULT,
            replied_to=reply_to,
            files=dict(enumerate(files)),
        )
        return self._services.messages.post(channel, self.user, {"content": content}, origin, as_bot=False)

    async def delete(self, message: Message) -> None:
        """Delete an own message, or any with Manage Messages."""
        channel = self._services.world.channels[message.channel_id]
        if message.author is not self.user:
            self._may(channel, Permission.MANAGE_MESSAGES)
        self._services.messages.delete(channel, [message])

    # -- commands --------------------------------------------------------------------------------

    def commands(self, channel: Channel) -> list[Json]:
        """The commands that Discord's client offers this user in a channel."""
        world = self._services.world
        have = world.permissions(self.user, channel)
        if not have & Permission.USE_APPLICATION_COMMANDS:
            return []
        guild = world.guild_of(channel)
        parent = world.channels.get(channel.parent_id) if channel.is_thread and channel.parent_id else channel
        offered = []
        for command in self._services.commands.available(self.user, channel):
            needed = command["default_member_permissions"]
            if guild is not None and needed is not None and not _has(have, int(needed)):
                continue
            if command["nsfw"] and not (parent and parent.nsfw):
                continue
            offered.append(command)
        return offered

    async def slash(
        self,
        channel: Channel,
        name: str,
        /,
        *,
        raw: bool = False,
        options: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Invocation:
        """Use a slash command, sub-commands by their full name: ``slash(channel, "quotas set", limit=5)``.

        Values: str, int, float, bool, :class:`User` or :class:`Hands`, :class:`Channel`, :class:`Role`,
        :class:`File`. ``options`` is for option names that Python or this call has other uses for.
        ``raw`` is a hostile client: no permission, range, choice or requirement is checked, and unknown options
        are sent.

        Raises:
            ClientRefuses: Discord's client would not send this.
        """
        leaf = find_leaf(self._offered(channel, raw), name)
        data = command_data(leaf, {**(options or {}), **values}, self._resolved(channel), self.user, raw=raw)
        return self._act(InteractionType.COMMAND, channel, data)

    async def autocomplete(
        self,
        channel: Channel,
        name: str,
        option: str,
        typed: str,
        /,
        *,
        timeout: float = TIMEOUT,
        options: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> list[Json]:
        """Type into an option that autocompletes; the choices that the bot offers (``name``, ``value``).

        Raises:
            DidNotRespond: three seconds passed ("Loading options failed").
        """
        leaf = find_leaf(self._offered(channel, False), name)
        found = leaf.option(option)
        if found is None or not found.get("autocomplete"):
            raise ClientRefuses(f"/{name} has no option {option} with autocomplete")
        data = command_data(
            leaf,
            {**(options or {}), **values, option: typed},
            self._resolved(channel),
            self.user,
            raw=False,
            focused=option,
        )
        invocation = self._act(InteractionType.AUTOCOMPLETE, channel, data)
        await invocation.acknowledged(timeout)
        return invocation.interaction.choices or []

    async def message_command(self, message: Message, name: str, *, raw: bool = False) -> Invocation:
        """Use a command of a message's context menu."""
        channel = self._services.world.channels[message.channel_id]
        resolved = self._resolved(channel)
        body = payloads.message(message)
        resolved.data["messages"] = {str(message.id): body}
        return self._menu(channel, commands.MESSAGE, name, message.id, resolved, raw)

    async def user_command(self, channel: Channel, target: User, name: str, *, raw: bool = False) -> Invocation:
        """Use a command of a user's context menu."""
        resolved = self._resolved(channel)
        resolved.user(target)
        return self._menu(channel, commands.USER, name, target.id, resolved, raw)

    def _menu(
        self, channel: Channel, kind: int, name: str, target_id: int, resolved: Resolved, raw: bool
    ) -> Invocation:
        offered = self._offered(channel, raw)
        command = next((c for c in offered if c["type"] == kind and c["name"] == name), None)
        if command is None:
            raise ClientRefuses(f"there is no context menu command {name}")
        data: Json = {
            "id": command["id"],
            "name": name,
            "type": kind,
            "target_id": str(target_id),
            "resolved": resolved.data,
        }
        if command.get("guild_id"):
            data["guild_id"] = command["guild_id"]
        return self._act(InteractionType.COMMAND, channel, data)

    # -- components ------------------------------------------------------------------------------

    async def click(
        self, message: Message, button: str, *, version: int | None = None, raw: bool = False, planted: bool = True
    ) -> Invocation:
        """Click a button by its custom_id, its label, or its emoji where it has no label.

        ``version`` clicks what the message showed after so many edits: the click was underway when the message
        changed. ``raw`` forges a custom_id; it is planted into the components that the bot is told of (discord.py
        asks for that before it calls a DynamicItem), unless ``planted`` is False.

        Raises:
            ClientRefuses: no such button, it is disabled or a link, or the message is gone or not to be seen.
        """
        if raw:
            forged = {"type": 2, "id": 0, "style": 2, "label": "forged", "custom_id": button}
            row = {"type": 1, "id": 0, "components": [forged]}
            shown = [row, *message.components] if planted else None
            return self._component(message, {"custom_id": button, "component_type": 2}, shown=shown, raw=True)
        components = message.components if version is None else message.versions[version].components
        found = self._find(components, {ComponentType.BUTTON}, button)
        return self._component(message, {"custom_id": found["custom_id"], "component_type": 2}, shown=components)

    async def select(self, message: Message, select: str, values: Sequence[Any], *, raw: bool = False) -> Invocation:
        """Choose in a select menu by its custom_id or placeholder: strings, or users, roles and channels."""
        channel = self._services.world.channels[message.channel_id]
        resolved = self._resolved(channel)
        wire = [self._select_value(value, resolved) for value in values]
        kind, custom_id = int(ComponentType.STRING_SELECT), select
        if not raw:
            found = self._find(message.components, set(SELECTS), select)
            kind, custom_id = found["type"], found["custom_id"]
            if not found.get("min_values", 1) <= len(wire) <= found.get("max_values", 1):
                raise ClientRefuses(f"{len(wire)} values are too few or too many")
            if kind == ComponentType.STRING_SELECT:
                known = {option["value"] for option in found["options"]}
                if not set(wire) <= known:
                    raise ClientRefuses(f"{set(wire) - known} are not among the options")
        data: Json = {"custom_id": custom_id, "component_type": kind, "values": wire}
        if resolved.data:
            data["resolved"] = resolved.data
        return self._component(message, data, raw=raw)

    def _select_value(self, value: Any, resolved: Resolved) -> str:
        match value:
            case Hands():
                return resolved.user(value.user)
            case User():
                return resolved.user(value)
            case Role():
                return resolved.role(value)
            case Channel():
                return resolved.channel_option(value, self.user)
            case _:
                return str(value)

    def _find(self, components: list[Json], kinds: set[ComponentType], wanted: str) -> Json:
        for component in walk_components(components):
            emoji = (component.get("emoji") or {}).get("name") if not component.get("label") else None
            names = (component.get("custom_id"), component.get("label"), component.get("placeholder"), emoji)
            if component["type"] in kinds and wanted in names:
                if component.get("disabled"):
                    raise ClientRefuses(f"{wanted} is disabled")
                if component.get("custom_id") is None:
                    raise ClientRefuses(f"{wanted} is a link")
                return component
        offered = [c.get("label") or c["custom_id"] for c in walk_components(components) if c.get("custom_id")]
        raise ClientRefuses(f"the message has no {wanted!r}; it has {offered}")

    def _component(
        self, message: Message, data: Json, *, shown: list[Json] | None = None, raw: bool = False
    ) -> Invocation:
        channel = self._services.world.channels[message.channel_id]
        if not raw:
            if message.deleted:
                raise ClientRefuses("the message was deleted")
            if message.visible_to not in (None, self.user.id):
                raise ClientRefuses("only somebody else can see this message")
            self._may(channel, Permission.VIEW_CHANNEL)
        return self._act(InteractionType.COMPONENT, channel, {"id": 1} | data, source=message, shown=shown)

    async def submit_modal(
        self, modal: Modal, values: Mapping[str, Any] | None = None, *, raw: bool = False
    ) -> Invocation:
        """Fill in a modal by custom_id or label and submit it; what is not named keeps its default.

        Values: str for texts and radio groups, bool for a checkbox, sequences for selects, checkbox groups
        and (of :class:`File`) uploads.
        """
        opened_by = modal.interaction
        resolved = self._resolved(opened_by.channel)
        data = submission(modal.payload, values or {}, resolved, self._select_value, raw=raw)
        return self._act(
            InteractionType.MODAL_SUBMIT,
            opened_by.channel,
            data,
            source=opened_by.source,
            triggered_by=opened_by,
        )

    # -- a hostile client ------------------------------------------------------------------------

    async def forge(
        self, channel: Channel, kind: InteractionType, data: Json, *, source: Message | None = None
    ) -> Invocation:
        """Send an interaction with any data at all."""
        return self._act(kind, channel, data, source=source)

    # -- underneath ------------------------------------------------------------------------------

    def _act(
        self,
        kind: InteractionType,
        channel: Channel,
        data: Json,
        *,
        source: Message | None = None,
        shown: list[Json] | None = None,
        triggered_by: Interaction | None = None,
    ) -> Invocation:
        made = self._services.interactions.create(
            kind, self.user, channel, data, source=source, shown_components=shown, triggered_by=triggered_by
        )
        return Invocation(self._services, made)

    def _resolved(self, channel: Channel) -> Resolved:
        world = self._services.world
        return Resolved(world, channel, world.guild_of(channel))

    def _offered(self, channel: Channel, raw: bool) -> list[Json]:
        if raw:
            return self._services.commands.available(self.user, channel)
        return self.commands(channel)

    def _may(self, channel: Channel, needed: Permission) -> None:
        if needed & ~self._services.world.permissions(self.user, channel):
            raise ClientRefuses(f"{self.user.name} lacks {needed!r} in #{channel.name}")


def _has(have: Permission, needed: int) -> bool:
    """Whether default_member_permissions let somebody in; 0 means administrators only."""
    return bool(have & Permission.ADMINISTRATOR) or (needed != 0 and not needed & ~int(have))
