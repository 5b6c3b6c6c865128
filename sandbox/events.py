"""What happens in the world, told to whoever listens: the gateway, the page, a waiting test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sandbox.model import Channel, Guild, Member, Message, User

if TYPE_CHECKING:
    from sandbox.interactions import Interaction


@dataclass(frozen=True)
class MessageCreated:
    message: Message


@dataclass(frozen=True)
class MessageUpdated:
    message: Message


@dataclass(frozen=True)
class MessagesDeleted:
    channel: Channel
    messages: list[Message]
    bulk: bool = False


@dataclass(frozen=True)
class ReactionChanged:
    message: Message
    user: User
    emoji: str
    added: bool


@dataclass(frozen=True)
class InteractionCreated:
    interaction: Interaction


@dataclass(frozen=True)
class InteractionChanged:
    """It was acknowledged, or its three seconds are over."""

    interaction: Interaction


@dataclass(frozen=True)
class ChannelCreated:
    channel: Channel


@dataclass(frozen=True)
class ChannelUpdated:
    channel: Channel


@dataclass(frozen=True)
class ChannelDeleted:
    channel: Channel


@dataclass(frozen=True)
class PinsChanged:
    channel: Channel


@dataclass(frozen=True)
class GuildCreated:
    guild: Guild


@dataclass(frozen=True)
class GuildUpdated:
    guild: Guild


@dataclass(frozen=True)
class GuildLeft:
    guild: Guild


@dataclass(frozen=True)
class MemberUpdated:
    guild: Guild
    member: Member


@dataclass(frozen=True)
class TypingStarted:
    channel: Channel
    user: User


@dataclass(frozen=True)
class CommandsChanged:
    guild_id: int | None


@dataclass(frozen=True)
class BotPresenceChanged:
    online: bool


Event = (
    MessageCreated
    | MessageUpdated
    | MessagesDeleted
    | ReactionChanged
    | InteractionCreated
    | InteractionChanged
    | ChannelCreated
    | ChannelUpdated
    | ChannelDeleted
    | PinsChanged
    | GuildCreated
    | GuildUpdated
    | GuildLeft
    | MemberUpdated
    | TypingStarted
    | CommandsChanged
    | BotPresenceChanged
)

T = TypeVar("T")
Listener = Callable[[Event], None]


class Hub:
    """Hands each event to all listeners, in the order in which they came; and wakes who waits for a change."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._changed = asyncio.Event()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for every event from now on, until the function returned is called."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def publish(self, event: Event) -> None:
        for listener in list(self._listeners):
            listener(event)
        self.wake()

    def wake(self) -> None:
        """Let everybody in :meth:`wait` look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        """Wait until ``look`` finds something, looking again after every event.

        Raises:
            TimeoutError: ``timeout`` real seconds passed; the message says what was waited for.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    changed = self._changed
                    found = look()
                    if found is not None:
                        return found
                    await changed.wait()
        except TimeoutError:
            raise TimeoutError(f"waited {timeout} s for {what}") from None
