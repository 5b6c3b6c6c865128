"""/settings block, ban and their like; /report and the menu that does the same."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, cast

import discord
from discord import app_commands

from cogs.answers import NETWORK_ERRORS, in_time, privately
from cogs.command_options import member_option, picked_option, text_option
from cogs.contexts import Interaction, check_context
from cogs.door import Door
from cogs.languages import public_language
from cogs.server_settings import ServerSettings
from cogs.services import Services
from cogs.slash import SlashCommand, menu, slash
from cogs.ui import blocking, reporting, texts, words
from cogs.ui.language import speaking
from domain.errors import Code, UserError
from domain.guild import MAX_BLOCKED_WORD
from domain.job import Job
from domain.safety import MAX_REASON, Ban, BlockKind
from jobs.wording import MAX_PATTERN

log = logging.getLogger(__name__)


_BLOCK: Final = (
    text_option(
        "word", "A word or phrase, however it is written; with * at its end: with any ending", MAX_BLOCKED_WORD
    ),
    text_option("pattern", "A regular expression (RE2), for what words can't say", MAX_PATTERN),
)
_UNBLOCK: Final = (picked_option("text", "A word or pattern that is blocked", "text", 300, required=True),)
_MEMBER: Final = member_option("member", "Who", required=True)
_REASON: Final = text_option("reason", "For the record", MAX_REASON)
_BAN: Final = (_MEMBER, _REASON)
_REPORT: Final = (
    text_option("job", "The id below the picture", 40, required=True),
    text_option("reason", "What is wrong with it", MAX_REASON),
)


class SafeguardCommands:
    """What admins do against misuse, and what everybody can report."""

    def __init__(self, services: Services, server: ServerSettings, door: Door) -> None:
        self._services = services
        self._server = server
        self._door = door

    def admin_commands(self) -> list[SlashCommand]:
        """For the group /settings."""
        return [
            slash("block", "Refuse prompts with a word or pattern", self.block, _BLOCK),
            slash("unblock", "Refuse it no more", self.unblock, _UNBLOCK, {"text": self._blocked_texts}),
            slash("blocked", "List what is blocked here", self.blocked),
            slash("ban", "Let somebody use me here no more", self.ban, _BAN),
            slash("unban", "Let somebody use me here again", self.unban, (_MEMBER,)),
            slash("bans", "List who is banned here", self.bans),
        ]

    def commands(self) -> list[SlashCommand | app_commands.ContextMenu]:
        """For everybody."""

        async def report_message(interaction: Interaction, message: discord.Message) -> None:
            await self.report_message(interaction, message)

        return [
            slash(
                "report",
                "Tell the admins and the operator of a picture that is wrong",
                self.report,
                _REPORT,
                everywhere=True,
            ),
            menu("Report picture", report_message, everywhere=True),
        ]

    # Blocked words and patterns.

    async def block(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings block"""
        guild_id = self._server.admin(interaction)
        given = [(kind, option) for kind, option in zip(BlockKind, _BLOCK, strict=True) if option.name in values]
        if not given:
            raise UserError(Code.NOTHING_TO_CHANGE)
        for kind, option in given:
            text = str(option.read(values[option.name]))
            blocking = self._services.safeguards.block(guild_id, kind, text, interaction.user.id)
            await in_time(interaction, blocking, private=True)
            said = texts.WORD_NOW_BLOCKED if kind is BlockKind.WORD else texts.PATTERN_NOW_BLOCKED
            await self._server.log.changed(interaction, partial(texts.fill, said, text=words.code(text, MAX_PATTERN)))

    async def unblock(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings unblock"""
        guild_id = self._server.admin(interaction)
        text = str(_UNBLOCK[0].read(values.get("text")))
        await in_time(interaction, self._services.safeguards.unblock(guild_id, text, interaction.user.id), private=True)
        await self._server.log.changed(
            interaction, partial(texts.fill, texts.NOW_UNBLOCKED, text=words.code(text, MAX_PATTERN))
        )

    async def blocked(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings blocked"""
        guild_id = self._server.admin(interaction)
        found = await in_time(interaction, self._services.safeguards.blocked(guild_id), private=True)
        await privately(interaction, embed=blocking.blocked((*found.words, *found.patterns)))

    async def _blocked_texts(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        found = await self._services.safeguards.blocked(self._server.admin(interaction))
        wanted = typed.strip().casefold()
        return [(text, text) for text in (*found.words, *found.patterns) if wanted in text.casefold()]

    # Bans.

    async def ban(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings ban"""
        guild_id = self._server.admin(interaction)
        user_id = _id_of(values)
        reason = str(_REASON.read(values["reason"])) if "reason" in values else ""
        ban = Ban(user_id, guild_id, reason, interaction.user.id)
        await in_time(interaction, self._services.safeguards.ban(ban), private=True)
        await self._server.log.changed(interaction, lambda: blocking.banned(ban))

    async def unban(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings unban"""
        guild_id = self._server.admin(interaction)
        user_id = _id_of(values)
        unbanning = self._services.safeguards.unban(guild_id, user_id, interaction.user.id)
        await in_time(interaction, unbanning, private=True)
        await self._server.log.changed(interaction, partial(texts.fill, texts.UNBANNED, member=user_id))

    async def bans(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings bans"""
        guild_id = self._server.admin(interaction)
        found = await in_time(interaction, self._services.safeguards.bans(guild_id), private=True)
        await privately(interaction, embed=blocking.bans(found))

    # Reports.

    async def report(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/report"""
        given = {option.name: option.read(values[option.name]) for option in _REPORT if option.name in values}
        await self._report(interaction, str(given.get("job", "")), str(given.get("reason", "")))

    async def report_message(self, interaction: Interaction, message: discord.Message) -> None:
        """The menu of a message: asks for the reason."""
        check_context(interaction, self._services.settings)
        client = interaction.client.user
        job_id = reporting.job_of(message) if client is not None and message.author.id == client.id else None
        if job_id is None:
            raise UserError(Code.NOT_A_RESULT)
        await interaction.response.send_modal(reporting.reason_form(job_id))

    async def submit_report(self, interaction: Interaction, job_id: str, values: Mapping[str, str]) -> None:
        """The reason was given."""
        reason = values.get(reporting.REASON, "").strip()
        await self._report(interaction, job_id, str(_REASON.read(reason)) if reason else "")

    async def _report(self, interaction: Interaction, job_id: str, reason: str) -> None:
        job = await in_time(interaction, self._door.job(interaction, job_id), private=True)
        await self._services.safeguards.report(job, interaction.user.id, reason)
        # Not the reason: no line of the log quotes what people write.
        log.warning("job %s was reported; bot.py reports lists all", job.id)
        settings = await self._services.administration.settings(job.place.guild_id)
        places = {settings.log_channel_id, self._services.settings.easel_operator_channel} - {None}
        for channel_id in places:
            await self._post(interaction, cast("int", channel_id), job, reason)
        await privately(interaction, texts.fill(texts.REPORTED_OUTSIDE if job.place.is_outside else texts.REPORTED))

    async def _post(self, interaction: Interaction, channel_id: int, job: Job, reason: str) -> None:
        with speaking(public_language(interaction)):
            embed = reporting.report(job, interaction.user.id, reason)
        try:
            await interaction.client.get_partial_messageable(channel_id).send(embed=embed)
        except NETWORK_ERRORS as error:
            log.warning("the report of job %s can't be posted in channel %d: %s", job.id, channel_id, error)


def _id_of(values: Mapping[str, object]) -> int:
    return cast("int", _MEMBER.read(values.get("member")))
