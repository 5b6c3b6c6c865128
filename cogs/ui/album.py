"""What /history, /favourites and /gallery show, and the family of a picture.

The history is text: it also has what failed. Favourites and the gallery are for looking: one media gallery
(Components V2) with numbered lines under it. Six embeds with a thumbnail each were looked at beside it: on a phone
they take the same screen, with pictures of the size of a stamp. All of it is private.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import discord

from cogs.ui import texts, words
from cogs.ui.buttons import Book, PageButton, ShownButton
from cogs.ui.cards import seeds, title
from cogs.ui.lists import fitted, where, why_not
from domain.job import Job
from jobs.album import Family
from jobs.family import kinship

PAGE: Final = 6
"""Jobs on a page."""
_COLOUR: Final = discord.Colour(0x5865F2)
_INDENT: Final = "\u2003"
_DEEPEST: Final = 6
"""Generations that are indented: a phone is narrow."""
_FAMILY_LINES: Final = 30


@dataclass(frozen=True, slots=True)
class Turn:
    """Which page of which book is open."""

    book: Book
    page: int
    more: bool
    search: str = ""


def history(jobs: Sequence[Job], turn: Turn) -> tuple[discord.Embed, discord.ui.View | None]:
    """One page of a member's own jobs, newest first."""
    lines = []
    for job in jobs:
        when = words.moment(job.created_at // 1000)
        first = seeds(job)
        lines.append(f"**{title(job, 120)}**\n{where(job)} · {first} · `{job.id}` · {when}{why_not(job)}")
    empty = texts.NOTHING_FOUND if turn.search else texts.HISTORY_EMPTY
    text = fitted(lines, PAGE, "\n\n") or texts.fill(empty, search=words.plain(turn.search))
    embed = discord.Embed(colour=_COLOUR, title=texts.fill(texts.HISTORY_TITLE), description=text)
    buttons = _turning(turn)
    if not buttons:
        return embed, None
    embed.set_footer(text=texts.fill(texts.PAGE, page=turn.page + 1))
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    return embed, view


def pictures(jobs: Sequence[Job], turn: Turn, shown: bool | None) -> discord.ui.LayoutView:
    """One page of favourites or of the gallery, for the files of ``file_names`` beside it.

    ``shown``: whether the gallery has the reader's own pictures; None for favourites.
    """
    view = discord.ui.LayoutView(timeout=None)
    heading, empty = _HEADINGS[turn.book]
    about = []
    if not jobs:
        about.append(texts.fill(texts.NOTHING_FOUND if turn.search else empty, search=words.plain(turn.search)))
    else:
        about += [_numbered(number, job) for number, job in enumerate(jobs, start=1)]
        if turn.page or turn.more:
            about.append(f"-# {texts.fill(texts.PAGE, page=turn.page + 1)}")
    container: discord.ui.Container[discord.ui.LayoutView] = discord.ui.Container(accent_colour=_COLOUR)
    container.add_item(discord.ui.TextDisplay(f"### {texts.fill(heading)}"))
    if jobs:
        gallery: discord.ui.MediaGallery[discord.ui.LayoutView] = discord.ui.MediaGallery()
        for job, name in zip(jobs, file_names(jobs), strict=True):
            gallery.add_item(
                media=f"attachment://{name}",
                description=words.label(job.request.prompt, 200),
                spoiler=job.request.spoiler,
            )
        container.add_item(gallery)
    container.add_item(discord.ui.TextDisplay("\n".join(about)))
    view.add_item(container)
    row: discord.ui.ActionRow[discord.ui.LayoutView] = discord.ui.ActionRow()
    for button in _turning(turn):
        row.add_item(button)
    if shown is not None:
        row.add_item(ShownButton(shown))
    if row.children:
        view.add_item(row)
    return view


def file_names(jobs: Sequence[Job]) -> list[str]:
    """What the previews of a page are called, in order."""
    return [f"{job.id}.jpg" for job in jobs]


def family(found: Family, readable: Mapping[str, Job]) -> discord.Embed:
    """The job among those that it came from and those that came from it.

    Of those that are not ``readable`` it is shown that they are there, and nothing else.
    """
    lines = []
    parent: Job | None = None
    for depth, job in enumerate((*found.ancestors, found.job)):
        lines.append(_relative(job, parent, depth, readable, here=job is found.job))
        parent = job
    children: dict[str | None, list[Job]] = {}
    for job in found.descendants:
        children.setdefault(job.parent_id, []).append(job)
    lines += _branches(found.job, children, len(found.ancestors) + 1, readable)
    if len(lines) == 1:
        lines.append(texts.fill(texts.NO_RELATIVES))
    return discord.Embed(colour=_COLOUR, title=texts.fill(texts.FAMILY), description=fitted(lines, _FAMILY_LINES))


def _branches(
    parent: Job, children: Mapping[str | None, Sequence[Job]], depth: int, readable: Mapping[str, Job]
) -> list[str]:
    lines = []
    for child in children.get(parent.id, ()):
        lines.append(_relative(child, parent, depth, readable, here=False))
        lines += _branches(child, children, depth + 1, readable)
    return lines


def _relative(job: Job, parent: Job | None, depth: int, readable: Mapping[str, Job], *, here: bool) -> str:
    indent = _INDENT * min(depth, _DEEPEST)
    how = f"↳ {texts.kinship(kinship(parent, job))}: " if parent is not None else ""
    if job.id not in readable:
        return f"{indent}{how}{texts.fill(texts.ELSEWHERE)}"
    name = title(job, 60)
    if job.result is not None and job.pictures:
        name = _linked(name, job)
    elif not here:
        name = f"{name} ({where(job)})"
    return f"{indent}{how}{f'**{name}**' if here else name} · {seeds(job)} · <@{job.place.user_id}>"


def _numbered(number: int, job: Job) -> str:
    name = title(job, 50)
    name = _linked(name, job)
    several = f" · {texts.fill(texts.PICTURES, count=len(job.pictures))}" if len(job.pictures) > 1 else ""
    return f"**{number}.** {name}{several} · <@{job.place.user_id}>"


def _linked(name: str, job: Job) -> str:
    return f"[{name}]({job.link})" if job.link is not None else name


def _turning(turn: Turn) -> list[PageButton]:
    buttons = []
    if turn.page > 0:
        buttons.append(PageButton(turn.book, turn.page - 1, turn.search, newer=True))
    if turn.more:
        buttons.append(PageButton(turn.book, turn.page + 1, turn.search))
    return buttons


_HEADINGS: Final = {
    Book.FAVOURITES: (texts.FAVOURITES_TITLE, texts.FAVOURITES_EMPTY),
    Book.GALLERY: (texts.GALLERY_TITLE, texts.GALLERY_EMPTY),
}
