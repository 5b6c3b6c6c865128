"""Finding pictures again: /history, /favourites, /gallery, the star under a result, and families."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import discord

from cogs.answers import PUBLIC, in_time, privately
from cogs.asking import asker, can_see, permissions_in
from cogs.command_options import CommandOption, picked_option, read_options, read_text
from cogs.completions import Completions
from cogs.contexts import Context, Interaction, check_context, check_server, context_of
from cogs.discretion import Discretion
from cogs.door import Door
from cogs.services import Services
from cogs.slash import SlashCommand, slash
from cogs.ui import album, texts
from cogs.ui.album import PAGE, Turn
from cogs.ui.buttons import MAX_SEARCH, Book, after_family
from db.album import Entry
from domain.errors import UserError
from domain.job import Job

MAX_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of pictures with their previews, and whether the gallery has the reader's own (None: no gallery)."""

    jobs: Sequence[Job]
    turn: Turn
    previews: Sequence[bytes]
    shown: bool | None

    def view(self) -> discord.ui.LayoutView:
        return album.pictures(self.jobs, self.turn, self.shown)

    def files(self) -> list[discord.File]:
        names = album.file_names(self.jobs)
        return [discord.File(io.BytesIO(data), name) for name, data in zip(names, self.previews, strict=True)]


class AlbumCommands:
    """The commands and buttons with which members find pictures again."""

    def __init__(self, services: Services, door: Door, discretion: Discretion, completions: Completions) -> None:
        self._services = services
        self._discretion = discretion
        self._door = door
        search = CommandOption("search", "Only those with this in their prompt", str, _searched)
        self._search_options = [search]
        self._history_options = [
            search,
            picked_option("job", "The family of this job: what it came from, and what came from it", "job"),
        ]
        self._completions = completions

    def commands(self) -> list[SlashCommand]:
        """All of them."""
        return [
            slash(
                "history",
                "Look through what you have painted here",
                self.history,
                self._history_options,
                {"job": self._completions.jobs_to_reroll},
                everywhere=True,
            ),
            slash(
                "favourites",
                "Look at the pictures that you have marked with a star",
                self.favourites,
                everywhere=True,
            ),
            slash("gallery", "Look at what this server has painted", self.gallery, self._search_options),
        ]

    async def history(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/history"""
        given = read_options(self._history_options, values)
        if "job" in given:
            await self.press_family(interaction, str(given["job"]))
            return
        search = str(given.get("search", ""))
        jobs, turn = await in_time(interaction, self._history(interaction, 0, search), private=True)
        embed, view = album.history(jobs, turn)
        await privately(interaction, embed=embed, view=view)

    async def favourites(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/favourites"""
        await self._show(interaction, Book.FAVOURITES, "")

    async def gallery(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/gallery"""
        given = read_options(self._search_options, values)
        await self._show(interaction, Book.GALLERY, str(given.get("search", "")))

    async def turn(self, interaction: Interaction, book: Book, page: int, search: str) -> None:
        """The buttons Newer and Older: the message is the presser's own, nobody else can see it."""
        if book is Book.HISTORY:
            jobs, turn = await self._history(interaction, page, search)
            embed, view = album.history(jobs, turn)
            await interaction.response.edit_message(embed=embed, view=view)
        else:
            await interaction.response.defer()
            interaction.extras[PUBLIC] = False
            await self._redraw(interaction, book, page, search)

    async def press_shown(self, interaction: Interaction) -> None:
        """The button under the gallery: my pictures are left out of it, or shown again."""
        guild_id = check_server(interaction, self._services.settings)
        await interaction.response.defer()
        interaction.extras[PUBLIC] = False
        shown = await self._services.album.toggle_shown(guild_id, interaction.user.id)
        await self._redraw(interaction, Book.GALLERY, 0, "")
        await privately(interaction, texts.fill(texts.GALLERY_JOINED if shown else texts.GALLERY_LEFT))

    async def press_favourite(self, interaction: Interaction, job_id: str) -> None:
        """The star: one of my favourites, or none any more."""
        job = await self._door.job(interaction, job_id)
        is_one = await in_time(
            interaction, self._services.album.toggle_favourite(interaction.user.id, job), private=True
        )
        days = self._services.settings.easel_favourites_days
        await privately(interaction, texts.fill(texts.FAVOURITE, days=days) if is_one else texts.NO_FAVOURITE)

    async def press_family(self, interaction: Interaction, job_id: str) -> None:
        """The button Family, and /history with a job."""
        job = await in_time(interaction, self._door.job(interaction, job_id), private=True)
        found = await in_time(interaction, self._services.album.family(job), private=True)
        readable = {job_id: one for job_id, one in found.members.items() if can_see(interaction, one)}
        await privately(interaction, embed=album.family(found, readable), view=after_family(job.id))

    async def _history(self, interaction: Interaction, page: int, search: str) -> tuple[list[Job], Turn]:
        check_context(interaction, self._services.settings)
        place = asker(interaction).place
        number = min(page, MAX_PAGE)
        jobs = await self._services.album.history(place.guild_id, place.user_id, search, PAGE + 1, number * PAGE)
        return jobs[:PAGE], Turn(Book.HISTORY, number, len(jobs) > PAGE and number < MAX_PAGE, search)

    async def _show(self, interaction: Interaction, book: Book, search: str) -> None:
        page = await in_time(interaction, self._page(interaction, book, 0, search), private=True)
        await privately(interaction, view=page.view(), files=page.files())

    async def _redraw(self, interaction: Interaction, book: Book, number: int, search: str) -> None:
        page = await self._page(interaction, book, number, search)
        await interaction.edit_original_response(view=page.view(), attachments=page.files())

    async def _page(self, interaction: Interaction, book: Book, page: int, search: str) -> _Page:
        check = check_server if book is Book.GALLERY else check_context
        guild_id = check(interaction, self._services.settings)
        found = self._services.album
        if book is Book.GALLERY:
            entries = await found.gallery(guild_id, search)
            visible = _visible(interaction, entries)
            shown = await found.is_shown(guild_id, interaction.user.id)
        else:
            entries = await found.favourites(guild_id, interaction.user.id)
            others = set(_visible(interaction, [entry for entry in entries if entry.user_id != interaction.user.id]))
            visible = [entry for entry in entries if entry.user_id == interaction.user.id or entry in others]
            shown = None
        number = min(page, MAX_PAGE, max(0, (len(visible) - 1) // PAGE))
        jobs = [
            await self._discretion.presentable_in(interaction, job)
            for job in await found.jobs(visible[number * PAGE : (number + 1) * PAGE])
        ]
        more = len(visible) > (number + 1) * PAGE and number < MAX_PAGE
        previews = await asyncio.gather(*(self._preview(job) for job in jobs))
        there = [(job, preview) for job, preview in zip(jobs, previews, strict=True) if preview is not None]
        return _Page(
            [job for job, _ in there], Turn(book, number, more, search), [preview for _, preview in there], shown
        )

    async def _preview(self, job: Job) -> bytes | None:
        """The first picture that is left, made small; None where retention has taken all of them."""
        for picture in job.pictures:
            try:
                return await self._services.pictures.thumbnail(picture.name)
            except UserError:
                continue
        return None


def _visible(interaction: Interaction, entries: Sequence[Entry]) -> list[Entry]:
    """Those in channels that the reader can see; what is age-restricted only where the reader is age-restricted."""
    if context_of(interaction) is not Context.SERVER:
        return [entry for entry in entries if entry.channel_id == interaction.channel_id]
    anything = _is_nsfw(interaction, interaction.channel_id)
    shown = {
        channel_id
        for channel_id in {entry.channel_id for entry in entries}
        if permissions_in(interaction, channel_id).view_channel and (anything or not _is_nsfw(interaction, channel_id))
    }
    return [entry for entry in entries if entry.channel_id in shown]


def _is_nsfw(interaction: Interaction, channel_id: int | None) -> bool:
    """Whether a channel of this server is age-restricted; one that is not known counts as such."""
    if channel_id == interaction.channel_id:
        channel = interaction.channel
    else:
        channel = interaction.guild.get_channel_or_thread(channel_id) if interaction.guild and channel_id else None
    return channel is None or not hasattr(channel, "is_nsfw") or channel.is_nsfw()


def _searched(value: object) -> str:
    return " ".join(str(read_text("search", MAX_SEARCH)(value)).split())
