"""What a user waits for: the bot's answers to one interaction."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.interactions import CallbackType, Interaction, State
from sandbox.model import Json, Message, walk_components
from sandbox.rest.call import Services

TIMEOUT = 60.0
"""Real seconds that the waiting calls wait unless told otherwise."""


class DidNotRespond(Exception):
    """Three seconds passed without an acknowledgement: "The application did not respond"."""


@dataclass(frozen=True)
class Modal:
    """A modal on the user's screen."""

    interaction: Interaction
    payload: Json

    @property
    def title(self) -> str:
        return str(self.payload["title"])

    @property
    def fields(self) -> list[Json]:
        """The components that take a value, in order."""
        return [c for c in walk_components(self.payload["components"]) if c.get("custom_id")]


class Invocation:
    """Something a user did that a bot must answer."""

    def __init__(self, services: Services, interaction: Interaction) -> None:
        self._services = services
        self.interaction = interaction

    async def acknowledged(self, timeout: float = TIMEOUT) -> CallbackType:
        """Wait for the acknowledgement.

        Raises:
            DidNotRespond: the three seconds passed.
            TimeoutError: ``timeout`` real seconds passed.
        """
        interaction = self.interaction
        await self._services.world.hub.wait(
            lambda: interaction.state is not State.WAITING or None, timeout, "the bot's acknowledgement"
        )
        if interaction.state is State.FAILED:
            raise DidNotRespond("The application did not respond")
        assert interaction.callback is not None
        return interaction.callback

    async def response(self, timeout: float = TIMEOUT) -> Message:
        """The @original message once it is more than "thinking…" (after a deferral: once it is filled).

        Raises:
            DidNotRespond: the three seconds passed.
            TimeoutError: ``timeout`` real seconds passed.
        """
        await self.acknowledged(timeout)

        def look() -> Message | None:
            message = self.interaction.response
            return message if message is not None and (message.deleted or not message.is_thinking) else None

        return await self._services.world.hub.wait(look, timeout, "the bot's response")

    async def followup(self, number: int = 1, timeout: float = TIMEOUT) -> Message:
        """The n-th follow-up, counted from 1; one that filled the "thinking…" message counts."""

        def look() -> Message | None:
            sent = self.interaction.followups
            return sent[number - 1] if len(sent) >= number else None

        return await self._services.world.hub.wait(look, timeout, f"follow-up {number}")

    async def modal(self, timeout: float = TIMEOUT) -> Modal:
        """The modal that the bot answered with."""
        if await self.acknowledged(timeout) is not CallbackType.MODAL or self.interaction.modal is None:
            raise AssertionError(f"the bot answered with {self.interaction.callback}, not with a modal")
        return Modal(self.interaction, self.interaction.modal)

    @property
    def followups(self) -> list[Message]:
        return list(self.interaction.followups)
