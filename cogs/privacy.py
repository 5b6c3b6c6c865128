"""/privacy and /about: what is kept, taking it away, and what this bot is."""

import asyncio
import io
import json
import logging
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import discord
from discord.ext import commands

from cogs.answers import NETWORK_ERRORS, TOO_LATE, in_time, privately
from cogs.command_options import choice_option
from cogs.contexts import Interaction, check_context
from cogs.services import Services
from cogs.slash import SlashCommand, slash
from cogs.ui import about, texts
from cogs.whispers import message_of
from domain.job import Card, Job

log = logging.getLogger(__name__)

FORGET: Final = "easel:privacy:delete"
"""custom_id of the button that says yes."""
SHOW, EXPORT, DELETE = "show", "export", "delete"
_ACTIONS: Final = (SHOW, EXPORT, DELETE)
_OPTIONS: Final = (choice_option("action", "See what is kept, take a copy with you, or have it deleted", _ACTIONS),)
ROUND_SECONDS: Final = 3600.0
"""Between two looks at who is still to be forgotten."""
SOON_SECONDS: Final = 3.0
"""The same, while somebody's jobs are not over, or after Discord could not be reached."""
PLAIN_BYTES: Final = 1_000_000
"""A larger export is packed."""


class PrivacyCommands:
    """What everybody can do with what is kept of them."""

    def __init__(self, services: Services, forgetting: "Forgetting") -> None:
        self._services = services
        self._forgetting = forgetting

    def commands(self) -> list[SlashCommand]:
        """Both of them."""
        return [
            slash(
                "privacy",
                "See, take with you or delete what I keep of you",
                self.privacy,
                _OPTIONS,
                everywhere=True,
            ),
            slash(
                "about",
                "What I am, which models paint, and what they may not be used for",
                self.about,
                everywhere=True,
            ),
        ]

    async def privacy(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/privacy"""
        check_context(interaction, self._services.settings)
        action = _OPTIONS[0].read(values["action"]) if "action" in values else SHOW
        if action == EXPORT:
            await self._export(interaction)
        elif action == DELETE:
            await privately(interaction, texts.fill(texts.FORGET_QUESTION), view=about.forget_button(FORGET))
        else:
            await privately(interaction, embed=about.privacy(self._services.settings))

    async def press_forget(self, interaction: Interaction) -> None:
        """Yes, forget me."""
        check_context(interaction, self._services.settings)
        await in_time(interaction, self._services.erasures.ask(interaction.user.id), private=True)
        self._forgetting.ring()
        if interaction.response.is_done():
            await interaction.edit_original_response(content=texts.fill(texts.FORGETTING), view=None)
        else:
            await interaction.response.edit_message(content=texts.fill(texts.FORGETTING), view=None)

    async def about(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/about"""
        check_context(interaction, self._services.settings)
        await privately(interaction, embed=about.about(self._services.settings, self._services.catalogue))

    async def _export(self, interaction: Interaction) -> None:
        kept = await in_time(interaction, self._services.erasures.export(interaction.user.id), private=True)
        file = await asyncio.to_thread(_packed, kept)
        said = texts.fill(texts.EXPORTED_MINE, count=len(kept["jobs"]))
        await privately(interaction, said, file=file)


class Forgetting(commands.Cog):
    """Forgets people in the background, one message and one picture after the other."""

    def __init__(self, client: discord.Client, services: Services, online: asyncio.Event) -> None:
        self._client = client
        self._services = services
        self._online = online
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Somebody wants to be forgotten."""
        self._rung.set()

    async def cog_load(self) -> None:
        """Go on where an earlier process stopped."""
        self._task = asyncio.create_task(self._run(), name="forgetting")

    async def cog_unload(self) -> None:
        """Stop; what is left is taken up again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        await self._online.wait()
        while True:
            self._rung.clear()
            wait = SOON_SECONDS
            try:
                if await self._services.erasures.go_on(self._unpost):
                    wait = ROUND_SECONDS
            except NETWORK_ERRORS as error:
                log.info("Discord could not be reached; forgetting goes on later: %s", error)
            except Exception:
                # The boundary of one round: the next one tries again.
                log.exception("somebody could not be forgotten; trying again later")
            try:
                async with asyncio.timeout(wait):
                    await self._rung.wait()
            except TimeoutError:
                continue

    async def _unpost(self, job: Job) -> None:
        for message in (job.result, job.card):
            if message is not None:
                await self._delete(job, message)

    async def _delete(self, job: Job, message: Card) -> None:
        try:
            await message_of(self._client, job, message).delete()
        except discord.HTTPException as error:
            if error.code not in TOO_LATE and not isinstance(error, discord.NotFound | discord.Forbidden):
                raise
            log.debug("message %d can't be taken back: %s", message.message_id, error)


def _packed(kept: Mapping[str, Any]) -> discord.File:
    data = json.dumps(kept, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    if len(data) <= PLAIN_BYTES:
        return discord.File(io.BytesIO(data), "easel-my-data.json")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("easel-my-data.json", data)
    packed.seek(0)
    return discord.File(packed, "easel-my-data.zip")
