"""The life of an interaction: three seconds to acknowledge it, fifteen minutes to speak through its token.

https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from sandbox import errors, payloads
from sandbox.commands import context_of
from sandbox.components import check_modal
from sandbox.errors import FormErrors
from sandbox.events import InteractionChanged, InteractionCreated
from sandbox.messages import Messages, Origin
from sandbox.model import Channel, File, Guild, Json, Message, MessageFlag, MessageType, User
from sandbox.world import World

ACKNOWLEDGE_SECONDS = 3.0
TOKEN_SECONDS = 15 * 60.0
FOLLOWUPS_OF_USER_INSTALL = 5
MOST_INTERACTIONS = 50_000


class InteractionType(IntEnum):
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class CallbackType(IntEnum):
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    AUTOCOMPLETE = 8
    MODAL = 9


class State(Enum):
    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    """Three seconds passed: the user reads "The application did not respond"."""


@dataclass
class Interaction:
    id: int
    token: str
    type: InteractionType
    user: User
    channel: Channel
    guild: Guild | None
    data: Json
    created_at: float
    source: Message | None = None
    """The message whose component or modal this is."""
    shown_components: list[Json] | None = None
    """The components that the bot is told the source has, where they are not its present ones."""
    triggered_by: Interaction | None = None
    """For a modal submit: the interaction that opened the modal."""
    state: State = State.WAITING
    callback: CallbackType | None = None
    response: Message | None = None
    """The @original message."""
    modal: Json | None = None
    choices: list[Json] | None = None
    followups: list[Message] = field(default_factory=list)
    token_revoked: bool = False
    owners: Json = field(default_factory=dict)
    """authorizing_integration_owners: "0" the guild that installed the app (0 in a DM), "1" a user."""


class Interactions:
    """Creates interactions and takes the bot's answers to them."""

    def __init__(self, world: World, messages: Messages, acknowledge_seconds: float = ACKNOWLEDGE_SECONDS) -> None:
        self._world = world
        self._messages = messages
        self._acknowledge_seconds = acknowledge_seconds
        self._by_id: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> list[Interaction]:
        """Every interaction so far, oldest first."""
        return list(self._by_id.values())

    def create(
        self,
        kind: InteractionType,
        user: User,
        channel: Channel,
        data: Json,
        *,
        source: Message | None = None,
        shown_components: list[Json] | None = None,
        triggered_by: Interaction | None = None,
    ) -> Interaction:
        """Make an interaction and send it to the bot; its three seconds start."""
        world = self._world
        guild = world.guild_of(channel)
        interaction = Interaction(
            id=world.ids.next(),
            token=secrets.token_urlsafe(48),
            type=kind,
            user=user,
            channel=channel,
            guild=guild,
            data=data,
            created_at=world.clock.time(),
            source=source,
            shown_components=shown_components,
            triggered_by=triggered_by,
        )
        interaction.owners = _owners(world, user, channel, source)
        self._forget_old()
        self._by_id[interaction.id] = interaction
        self._by_token[interaction.token] = interaction
        world.hub.publish(InteractionCreated(interaction))
        watch = asyncio.get_running_loop().create_task(self._expire(interaction))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return interaction

    def _forget_old(self) -> None:
        """Drop the oldest interaction where there are too many; its token is long dead then."""
        if len(self._by_id) >= MOST_INTERACTIONS:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            del self._by_token[oldest.token]

    async def close(self) -> None:
        for watch in list(self._watches):
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _expire(self, interaction: Interaction) -> None:
        await self._world.clock.wait_until(interaction.created_at + self._acknowledge_seconds)
        if interaction.state is State.WAITING:
            interaction.state = State.FAILED
            self._world.hub.publish(InteractionChanged(interaction))

    # -- the bot's answers -----------------------------------------------------------------------

    def acknowledge(self, interaction_id: int, token: str, body: Json, files: dict[int, File]) -> Interaction:
        """Take an interaction callback.

        Raises:
            ApiError: too late or unknown (10062), the second one (40060), or an answer that breaks a limit.
        """
        interaction = self._by_id.get(interaction_id)
        now = self._world.clock.time()
        if interaction is None or interaction.token != token:
            raise errors.unknown_interaction()
        if interaction.state is State.ACKNOWLEDGED:
            raise errors.already_acknowledged()
        if interaction.state is State.FAILED or now >= interaction.created_at + self._acknowledge_seconds:
            raise errors.unknown_interaction()
        callback = self._callback_type(interaction, body)
        self._answer(interaction, callback, body.get("data") or {}, files)
        interaction.callback = callback
        interaction.state = State.ACKNOWLEDGED
        self._world.hub.publish(InteractionChanged(interaction))
        return interaction

    @staticmethod
    def _callback_type(interaction: Interaction, body: Json) -> CallbackType:
        wrong = FormErrors()
        allowed = {CallbackType.MESSAGE, CallbackType.DEFERRED_MESSAGE, CallbackType.MODAL}
        if interaction.type is InteractionType.AUTOCOMPLETE:
            allowed = {CallbackType.AUTOCOMPLETE}
        elif interaction.source is not None:
            allowed |= {CallbackType.DEFERRED_UPDATE, CallbackType.UPDATE}
        if interaction.type is InteractionType.MODAL_SUBMIT:
            allowed.discard(CallbackType.MODAL)
        kind = body.get("type")
        if not isinstance(kind, int) or kind not in allowed:
            wrong.add(
                "type",
                "INTERACTION_RESPONSE_TYPE_INVALID",
                f"Invalid response type {kind} for this interaction.",
            )
        wrong.raise_if_any()
        return CallbackType(body["type"])

    def _answer(self, interaction: Interaction, callback: CallbackType, data: Json, files: dict[int, File]) -> None:
        match callback:
            case CallbackType.MESSAGE:
                interaction.response = self._post(interaction, data, files, original=True)
            case CallbackType.DEFERRED_MESSAGE:
                interaction.response = self._think(interaction, data)
            case CallbackType.DEFERRED_UPDATE:
                interaction.response = interaction.source
            case CallbackType.UPDATE:
                assert interaction.source is not None
                interaction.response = self._messages.edit(interaction.source, data, files)
            case CallbackType.AUTOCOMPLETE:
                interaction.choices = check_choices(data.get("choices"))
            case CallbackType.MODAL:
                check_modal(data)
                interaction.modal = data

    def _origin(self, interaction: Interaction, data: Json, files: dict[int, File], *, original: bool) -> Origin:
        ephemeral = bool(MessageFlag(data.get("flags") or 0) & MessageFlag.EPHEMERAL)
        is_command = interaction.type is InteractionType.COMMAND and original
        chat_input = interaction.data.get("type", 1) == 1
        kind = MessageType.CHAT_INPUT_COMMAND if chat_input else MessageType.CONTEXT_MENU_COMMAND
        replied_to = interaction.source
        if not original:
            replied_to = interaction.response
        return Origin(
            type=kind if is_command else MessageType.REPLY if replied_to else MessageType.DEFAULT,
            interaction_id=interaction.id,
            interaction_metadata=metadata(interaction, followup=not original),
            interaction_name=command_name(interaction.data) if is_command else None,
            webhook_id=self._world.application.id,
            visible_to=interaction.user.id if ephemeral else None,
            replied_to=replied_to,
            files=files,
        )

    def _post(self, interaction: Interaction, data: Json, files: dict[int, File], *, original: bool) -> Message:
        origin = self._origin(interaction, data, files, original=original)
        return self._messages.post(interaction.channel, self._world.bot, data, origin)

    def _think(self, interaction: Interaction, data: Json) -> Message:
        world = self._world
        origin = self._origin(interaction, data, {}, original=True)
        flags = MessageFlag.LOADING
        if origin.visible_to is not None:
            flags |= MessageFlag.EPHEMERAL
        message = Message(
            id=world.ids.next(),
            channel_id=interaction.channel.id,
            guild_id=interaction.channel.guild_id,
            author=world.bot,
            created_at=world.clock.time(),
            type=origin.type,
            flags=flags,
            interaction_id=interaction.id,
            interaction_metadata=origin.interaction_metadata,
            interaction_name=origin.interaction_name,
            webhook_id=origin.webhook_id,
            visible_to=origin.visible_to,
            replied_to=origin.replied_to,
        )
        self._messages.add(interaction.channel, message)
        return message

    # -- the token -------------------------------------------------------------------------------

    def by_token(self, application_id: int, token: str) -> Interaction:
        """The interaction a webhook token belongs to.

        Raises:
            ApiError: no such webhook (10015), or its fifteen minutes are over (50027).
        """
        interaction = self._by_token.get(token)
        if interaction is None or application_id != self._world.application.id:
            raise errors.unknown_webhook()
        expired = self._world.clock.time() >= interaction.created_at + TOKEN_SECONDS
        if expired or interaction.token_revoked:
            raise errors.invalid_webhook_token()
        return interaction

    def follow_up(self, interaction: Interaction, body: Json, files: dict[int, File]) -> Message:
        """Send a follow-up; the first after a deferral fills the "thinking…" message."""
        if interaction.state is not State.ACKNOWLEDGED:
            raise errors.unknown_webhook()
        response = interaction.response
        if response is not None and response.is_thinking and not response.deleted:
            filled = self._messages.edit(response, body, files, fills_thinking=True)
            interaction.followups.append(filled)
            return filled
        if "0" not in interaction.owners and len(interaction.followups) >= FOLLOWUPS_OF_USER_INSTALL:
            raise errors.too_many_followups()
        message = self._post(interaction, body, files, original=False)
        interaction.followups.append(message)
        return message

    def find_message(self, interaction: Interaction, reference: str) -> Message:
        """A message that this token may read and change: ``@original`` or a follow-up's id.

        Raises:
            ApiError: there is none such (10008), or nothing was answered yet (10015).
        """
        if reference == "@original":
            if interaction.state is not State.ACKNOWLEDGED:
                raise errors.unknown_webhook()
            if interaction.response is None or interaction.response.deleted:
                raise errors.unknown_message()
            return interaction.response
        mine = [*interaction.followups, *([interaction.response] if interaction.response else [])]
        for message in mine:
            if str(message.id) == reference and not message.deleted:
                return message
        raise errors.unknown_message()

    def edit(self, message: Message, body: Json, files: dict[int, File]) -> Message:
        return self._messages.edit(message, body, files, fills_thinking=message.is_thinking)

    def delete(self, interaction: Interaction, message: Message) -> None:
        self._messages.delete(interaction.channel, [message])


def _owners(world: World, user: User, channel: Channel, source: Message | None) -> Json:
    """Who has brought the app here: the guild (0 in the bot's own conversation), a user, or both.

    What is pressed is there through whoever brought its message, whoever presses it.
    """
    owners: Json = {}
    if world.has_bot(channel):
        owners["0"] = str(channel.guild_id or 0)
    elif source is not None and source.interaction_metadata is not None:
        return dict(source.interaction_metadata["authorizing_integration_owners"])
    if not owners or user.id in world.application.installed_by:
        owners["1"] = str(user.id)
    return owners


def check_choices(choices: object) -> list[Json]:
    """Check the choices of an autocomplete answer: at most 25, names and strings of 1–100 characters."""
    wrong = FormErrors()
    wrong.count("data.choices", choices, most=25)
    found = choices if isinstance(choices, list) else []
    for index, choice in enumerate(found):
        path = f"data.choices.{index}"
        wrong.length(f"{path}.name", choice.get("name", ""), most=100, least=1)
        if isinstance(choice.get("value"), str):
            wrong.length(f"{path}.value", choice["value"], most=100, least=1)
    wrong.raise_if_any()
    return found


def command_name(data: Json) -> str:
    """The full name of a command: ``quotas set``."""
    names = [data["name"]]
    options = data.get("options") or []
    while options and options[0]["type"] in (1, 2):
        names.append(options[0]["name"])
        options = options[0].get("options") or []
    return " ".join(names)


def metadata(interaction: Interaction, *, followup: bool = False) -> Json:
    """``interaction_metadata`` of a message that answers the interaction."""
    body: Json = {
        "id": str(interaction.id),
        "type": int(interaction.type),
        "user": payloads.user(interaction.user),
        "authorizing_integration_owners": interaction.owners,
    }
    if interaction.type is InteractionType.COMMAND:
        body["name"] = command_name(interaction.data)
        body["command_type"] = interaction.data.get("type", 1)
    elif interaction.type is InteractionType.COMPONENT:
        assert interaction.source is not None
        body["interacted_message_id"] = str(interaction.source.id)
    elif interaction.type is InteractionType.MODAL_SUBMIT and interaction.triggered_by is not None:
        body["triggering_interaction_metadata"] = metadata(interaction.triggered_by)
    if followup and interaction.response is not None:
        body["original_response_message_id"] = str(interaction.response.id)
    return body


def payload(interaction: Interaction, world: World) -> Json:
    """INTERACTION_CREATE as the gateway sends it."""
    body: Json = {
        "id": str(interaction.id),
        "application_id": str(world.application.id),
        "type": int(interaction.type),
        "token": interaction.token,
        "version": 1,
        "data": interaction.data,
        "channel_id": str(interaction.channel.id),
        "channel": payloads.partial_channel(
            interaction.channel, world.permissions(interaction.user, interaction.channel)
        ),
        "app_permissions": str(int(world.app_permissions(interaction.channel))),
        "locale": interaction.user.locale,
        "entitlements": [],
        "authorizing_integration_owners": interaction.owners,
        "attachment_size_limit": world.filesize_limit(interaction.channel),
        "context": int(context_of(interaction.channel)),
    }
    if interaction.guild is not None:
        guild = interaction.guild
        permissions = world.permissions(interaction.user, interaction.channel)
        body |= {
            "guild_id": str(guild.id),
            "guild_locale": guild.locale,
            "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
            "member": payloads.member(guild.members[interaction.user.id]) | {"permissions": str(int(permissions))},
        }
    else:
        body["user"] = payloads.user(interaction.user)
    if interaction.source is not None:
        body["message"] = payloads.message(interaction.source)
        if interaction.shown_components is not None:
            body["message"]["components"] = interaction.shown_components
    return body
