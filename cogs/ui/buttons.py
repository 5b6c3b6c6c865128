"""Buttons that outlive a restart: what they mean stands in their custom_id, and nothing is remembered for them."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Protocol, Self, cast

import discord

from cogs.ui import words
from cogs.ui.language import say, translated

LABEL: Final = 80
"""https://discord.com/developers/docs/components/reference#button"""
MAX_SEARCH: Final = 50
"""Characters that can be searched for: they travel in a custom_id, which has a hundred."""
JOB_ID: Final = r"[0-9A-Za-z_-]{1,40}"


class Action(StrEnum):
    """What a button under a job's message does."""

    REROLL = "reroll"
    """The same with a new seed."""
    RETRY = "retry"
    """The same once more, seed and all: for jobs that failed."""
    EDIT = "edit"
    """Open the modal with the prompt."""
    VARY = "vary"
    """The same with the seeds that follow: where noise can't be blended, and under results of old."""
    VARY_SUBTLY = "vary-subtly"
    """The same with a little of another seed's noise."""
    VARY_STRONGLY = "vary-strongly"
    """The same with much of it."""
    LARGER = "larger"
    """The same in the next better or larger model."""
    FAVOURITE = "favourite"
    """One of my favourites, or none any more."""
    DETAILS = "details"
    FAMILY = "family"
    """What it came from, and what came from it."""
    ORIGINAL = "original"
    """The pictures as they were made, as files."""
    DELETE = "delete"
    """Ask whether the pictures shall go."""
    REMOVE = "remove"
    """Yes, they shall."""
    CANCEL = "cancel"
    CONFIRM = "confirm"
    """Yes, it may cost that; the id is the question's, as it is with DECLINE."""
    DECLINE = "decline"


class Book(StrEnum):
    """What has pages that can be turned."""

    HISTORY = "history"
    FAVOURITES = "favourites"
    GALLERY = "gallery"
    MODELS = "models"


class Presses(Protocol):
    """Who answers buttons: the client."""

    async def pressed(self, interaction: discord.Interaction[Any], action: Action, job_id: str) -> None:
        """A button under a job's message was pressed."""
        ...

    async def picked(self, interaction: discord.Interaction[Any], job_id: str, index: int) -> None:
        """One picture of a job is to be edited; pictures count from 0."""
        ...

    async def turned(self, interaction: discord.Interaction[Any], book: "Book", page: int, search: str) -> None:
        """Another page is wanted; pages count from 0."""
        ...

    async def hid(self, interaction: discord.Interaction[Any]) -> None:
        """Somebody wants their pictures out of the gallery, or in it again."""
        ...


_LABELS: Final = {
    Action.REROLL: "Reroll",
    Action.RETRY: "Try again",
    Action.EDIT: "Edit",
    Action.VARY: "Vary",
    Action.VARY_SUBTLY: "Vary subtly",
    Action.VARY_STRONGLY: "Vary strongly",
    Action.LARGER: "Redo in a larger model",
    Action.FAVOURITE: "",  # Its star says it, and a phone has five buttons in a row only where one is small.
    Action.DETAILS: "Details",
    Action.FAMILY: "Family",
    Action.ORIGINAL: "Original",
    Action.DELETE: "Delete",
    Action.REMOVE: "Delete for good",
    Action.CANCEL: "Cancel",
    Action.CONFIRM: "Paint it",
    Action.DECLINE: "Cancel",
}
_EMOJIS: Final = {
    Action.REROLL: "🎲",
    Action.RETRY: "🔁",
    Action.EDIT: "✏️",
    Action.VARY: "🌱",
    Action.VARY_SUBTLY: "🌱",
    Action.VARY_STRONGLY: "🌿",
    Action.LARGER: "⬆️",
    Action.FAVOURITE: "⭐",
    Action.DETAILS: "🔎",
    Action.FAMILY: "🌳",
    Action.ORIGINAL: "💾",
    Action.DELETE: "🗑️",
    Action.REMOVE: None,
    Action.CANCEL: None,
    Action.CONFIRM: "🖌️",
    Action.DECLINE: None,
}
_DANGEROUS: Final = frozenset({Action.CANCEL, Action.REMOVE})


def custom_id_of(action: Action, job_id: str) -> str:
    """The custom_id that says all there is to know of a button."""
    return f"easel:{action}:{job_id}"


class JobButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=rf"easel:(?P<action>{'|'.join(Action)}):(?P<job_id>{JOB_ID})",
):
    """A button that belongs to a job."""

    def __init__(self, action: Action, job_id: str, label: str | None = None, row: int | None = None) -> None:
        style = discord.ButtonStyle.danger if action in _DANGEROUS else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(
                style=style,
                label=label or translated(_LABELS[action]) or None,
                emoji=_EMOJIS[action],
                custom_id=custom_id_of(action, job_id),
            ),
            row=row,
        )
        self.action = action
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button as it was pressed."""
        return cls(Action(match["action"]), match["job_id"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand the press to the client."""
        await cast(Presses, interaction.client).pressed(interaction, self.action, self.job_id)


class PictureButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=rf"easel:picture:(?P<job_id>{JOB_ID}):(?P<index>[0-3])",
):
    """Edits one picture of a job. ``index`` counts from 0."""

    def __init__(self, job_id: str, index: int, label: str) -> None:
        custom_id = f"easel:picture:{job_id}:{index}"
        style = discord.ButtonStyle.secondary
        super().__init__(discord.ui.Button(style=style, label=label, emoji="🖌️", custom_id=custom_id), row=1)
        self.job_id = job_id
        self.index = index

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button as it was pressed."""
        return cls(match["job_id"], int(match["index"]), "…")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand the press to the client."""
        await cast(Presses, interaction.client).picked(interaction, self.job_id, self.index)


class PageButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=rf"easel:(?P<book>{'|'.join(Book)}):(?P<page>\d{{1,4}})(?P<newer>:newer)?(?:\?(?P<search>.{{1,{MAX_SEARCH}}}))?",
):
    """Turns the pages of a book; what was searched for travels with it."""

    def __init__(self, book: Book, page: int, search: str = "", *, newer: bool = False) -> None:
        # The suffix keeps the two buttons of a one-page turn apart: custom_ids are unique within a message.
        custom_id = f"easel:{book}:{page}{':newer' if newer else ''}{f'?{search}' if search else ''}"
        if book is Book.MODELS:
            label = say("Back") if newer else say("More")
        else:
            label = say("Newer") if newer else say("Older")
        super().__init__(discord.ui.Button(style=discord.ButtonStyle.secondary, label=label, custom_id=custom_id))
        self.book = book
        self.page = page
        self.search = search

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button as it was pressed."""
        return cls(Book(match["book"]), int(match["page"]), match["search"] or "", newer=bool(match["newer"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand the press to the client."""
        await cast(Presses, interaction.client).turned(interaction, self.book, self.page, self.search)


class ShownButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"easel:shown"):
    """Takes one's own pictures out of the gallery, or puts them in again."""

    def __init__(self, shown: bool = True) -> None:
        label = say("Leave my pictures out") if shown else say("Show my pictures again")
        super().__init__(discord.ui.Button(style=discord.ButtonStyle.secondary, label=label, custom_id="easel:shown"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button as it was pressed."""
        return cls()

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand the press to the client."""
        await cast(Presses, interaction.client).hid(interaction)


ITEMS: Final = (JobButton, PictureButton, PageButton, ShownButton)


def job_buttons(job_id: str, *actions: Action) -> discord.ui.View:
    """A row of buttons for a job."""
    view = discord.ui.View(timeout=None)
    for action in actions:
        view.add_item(JobButton(action, job_id))
    return view


def result_buttons(job_id: str, editable: Sequence[int], larger: str | None, *, blends: bool) -> discord.ui.View:
    """What goes under a result, in rows: the same again, its pictures one by one, and what is about all of it.

    ``editable``: the pictures that /edit can take, by their index; none without it. ``larger``: the name of the
    model that the wish can be redone in, where there is one. ``blends``: it can be varied more or less.
    """
    varying = (Action.VARY_SUBTLY, Action.VARY_STRONGLY) if blends else (Action.VARY,)
    view = job_buttons(job_id, Action.REROLL, *varying, Action.EDIT, Action.FAVOURITE)
    for index in editable:
        view.add_item(
            PictureButton(
                job_id,
                index,
                say("Edit picture") if len(editable) == 1 else say("Edit picture {number}", number=index + 1),
            )
        )
    row = 2 if len(editable) > 1 else 1
    if larger is not None:
        label = words.label(say("Redo in {model}", model=larger), LABEL)
        view.add_item(JobButton(Action.LARGER, job_id, label, row=row))
    for action in (Action.DETAILS, Action.DELETE):
        view.add_item(JobButton(action, job_id, row=row))
    return view


def after_details(job_id: str) -> discord.ui.View:
    """What goes under all that is known of a job."""
    return job_buttons(job_id, Action.FAMILY, Action.ORIGINAL)


def after_family(job_id: str) -> discord.ui.View:
    """What goes under a job's family: also what never came to a channel can be had from here."""
    return job_buttons(job_id, Action.DETAILS, Action.ORIGINAL)


def has_button(message: discord.Message, action: Action, job_id: str) -> bool:
    """Whether the message carries this button of this job."""
    return any(button.custom_id == custom_id_of(action, job_id) for button in buttons_of(message))


def is_ours(interaction: discord.Interaction[Any]) -> bool:
    """Whether the pressed component is one of ours, on the message that it says it is on.

    discord.py silently drops a press that matches a template but is not on its message.
    """
    data = cast("dict[str, Any]", interaction.data or {})
    custom_id, kind = str(data.get("custom_id", "")), data.get("component_type")
    if not any(item.__discord_ui_compiled_template__.fullmatch(custom_id) for item in ITEMS):
        return False
    return interaction.message is not None and any(
        component.custom_id == custom_id and component.type.value == kind
        for component in buttons_of(interaction.message)
    )


def buttons_of(message: discord.Message) -> list[discord.Button]:
    """All buttons of a message."""
    return [
        child
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for child in row.children
        if isinstance(child, discord.Button)
    ]
