"""The panel of a server's settings: one message, a page at a time, with menus, switches and forms.

Everything says in its custom_id what it sets, so that a panel that was opened before a restart still works.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, assert_never

import discord

from cogs.ui import server_settings as words_for
from cogs.ui import words
from cogs.ui.language import say, translated
from config.catalogue import Catalogue
from domain.guild import MAX_COOLDOWN_SECONDS, GuildSettings, NsfwPolicy, Policy
from domain.language import Language
from domain.request import MAX_COUNT, Kind, Size

NONE: Final = "-"
"""The value of a choice that leaves it to the operator, to Discord or to the model."""
MAX_CHOICES: Final = 25
"""https://discord.com/developers/docs/components/reference#string-select"""
SIZES: Final = tuple(Size(side, side) for side in (256, 512, 768, 1024, 1536, 2048))
_COLOUR: Final = discord.Colour.blurple()


class Page(StrEnum):
    """A page of the panel."""

    PLACES = "places"
    MODELS = "models"
    PICTURES = "pictures"
    BACKENDS = "backends"
    SAFETY = "safety"


class Form(StrEnum):
    """What is typed rather than picked."""

    TIME = "time"
    BLOCK = "block"


FIELDS: Final[Mapping[Page, tuple[str, ...]]] = {
    Page.PLACES: ("channels", "roles", "log_channel_id", "paused", "private_results", "gallery"),
    Page.MODELS: ("allowed_models", "imagine_model", "edit_model", "speed"),
    Page.PICTURES: ("max_size", "max_count", "language", "time_zone", "cooldown_seconds"),
    Page.BACKENDS: ("policy", "allowed_backends", "spill_to_paid"),
    Page.SAFETY: ("nsfw",),
}
"""What each page shows and changes."""
SWITCHES: Final = frozenset({"paused", "private_results", "gallery", "spill_to_paid"})
_PRESSED: Final = re.compile(r"easel:panel:(?P<what>page|set|switch|form):(?P<name>[a-z_]{1,30})")
_SUBMITTED: Final = re.compile(r"easel:panel:(?P<form>[a-z]{1,30})")

ZONE: Final = "zone"
COOLDOWN: Final = "cooldown"
WORDS: Final = "words"
PATTERNS: Final = "patterns"


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from here."""

    catalogue: Catalogue
    speeds: Sequence[str]
    backends: Sequence[str]


def pressed(custom_id: str) -> tuple[str, str] | None:
    """What was pressed (page, set, switch or form) and its name; None for what is not of a panel."""
    match = _PRESSED.fullmatch(custom_id)
    return (match["what"], match["name"]) if match else None


def submitted(custom_id: str) -> Form | None:
    """The form that was submitted; None for one that is not of a panel."""
    match = _SUBMITTED.fullmatch(custom_id)
    return Form(match["form"]) if match and match["form"] in set(Form) else None


def page_of(field: str) -> Page:
    """Where the field is."""
    return next(page for page, fields in FIELDS.items() if field in fields)


def embed(page: Page, settings: GuildSettings, catalogue: Catalogue, blocked: int, note: str = "") -> discord.Embed:
    """What the page's settings are, in plain words. ``blocked``: words and patterns that are blocked."""
    lines = words_for.lines(settings, catalogue, FIELDS[page])
    if page is Page.SAFETY:
        lines.append(say("**Blocked words and patterns** {count}", count=blocked))
        lines.append(say("What the models may not be used for is refused in every server: /about lists it."))
    if note:
        lines += ["", note]
    made = discord.Embed(colour=_COLOUR, title=_name(page), description="\n".join(lines))
    made.set_footer(text=translated("Only members with Manage Server can change this. Every change is recorded."))
    return made


def view(page: Page, settings: GuildSettings, choices: Choices) -> discord.ui.View:
    """The page's menus and switches, below the names of all pages."""
    made = discord.ui.View(timeout=None)
    for each in Page:
        style = discord.ButtonStyle.primary if each is page else discord.ButtonStyle.secondary
        made.add_item(_button(_name(each), f"easel:panel:page:{each}", style, row=0))
    items = _items(page, settings, choices)
    for item in items:
        made.add_item(item)
    # A view that was stopped is sent but not remembered; what is pressed is read from the interaction itself.
    made.stop()
    return made


def time_form(settings: GuildSettings) -> discord.ui.Modal:
    """Time zone and cooldown."""
    modal = discord.ui.Modal(title=_cut(say("Time")), custom_id=f"easel:panel:{Form.TIME}")
    zone: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=ZONE, default=settings.time_zone.key, max_length=60, placeholder="Europe/Berlin"
    )
    cooldown: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=COOLDOWN, default=str(settings.cooldown_seconds), max_length=len(str(MAX_COOLDOWN_SECONDS))
    )
    modal.add_item(
        discord.ui.Label(
            text=_cut(say("Time zone")),
            description=say("In which days, weeks and months begin"),
            component=zone,
        )
    )
    modal.add_item(
        discord.ui.Label(
            text=_cut(say("Seconds between two jobs of a member")),
            description=say("0: they need not wait"),
            component=cooldown,
        )
    )
    modal.stop()
    return modal


def block_form() -> discord.ui.Modal:
    """More words and patterns to block."""
    modal = discord.ui.Modal(title=_cut(say("Block")), custom_id=f"easel:panel:{Form.BLOCK}")
    entries: list[tuple[str, str, str]] = [
        (WORDS, say("Words and phrases"), say("One a line; with * at the end: with any ending")),
        (PATTERNS, say("Patterns"), say("One a line; regular expressions in RE2's syntax")),
    ]
    for custom_id, text, description in entries:
        field: discord.ui.TextInput[Any] = discord.ui.TextInput(
            style=discord.TextStyle.paragraph, custom_id=custom_id, required=False, max_length=2000
        )
        modal.add_item(discord.ui.Label(text=_cut(text), description=description, component=field))
    modal.stop()
    return modal


def _items(page: Page, settings: GuildSettings, choices: Choices) -> list[discord.ui.Item[Any]]:
    match page:
        case Page.PLACES:
            logs = [settings.log_channel_id] if settings.log_channel_id is not None else []
            return [
                _channels("channels", say("Channels; none: all"), settings.channels or (), MAX_CHOICES),
                _roles(settings.roles or ()),
                _channels("log_channel_id", say("Log channel; none: nowhere"), logs, 1, text_alone=True),
                _switch("paused", say("Pause"), say("Go on"), on=settings.paused),
                _switch("private_results", say("Show results to who asked alone"), say("Show results to all"),
                        on=settings.private_results),
                _switch("gallery", say("Have a gallery"), say("Have no gallery"), on=settings.gallery),
            ]  # fmt: skip
        case Page.MODELS:
            every = [(model.name, model.key) for model in choices.catalogue]
            return [
                _menu("allowed_models", say("Models; none: all"), every, settings.allowed_models or (), several=True),
                _menu("imagine_model", say("Usual model of /imagine"), _models(Kind.IMAGINE, choices),
                      [settings.imagine_model or NONE]),
                _menu("edit_model", say("Usual model of /edit"), _models(Kind.EDIT, choices),
                      [settings.edit_model or NONE]),
                _menu("speed", say("Usual speed"),
                      [(say("the model's own"), NONE), *((speed, speed) for speed in choices.speeds)],
                      [settings.speed or NONE]),
            ]  # fmt: skip
        case Page.PICTURES:
            sizes = [(say("as large as the model can"), NONE)]
            # One that was set by command need not be among the usual ones.
            known = [*SIZES, *({settings.max_size} - {None, *SIZES})]
            sizes += [(f"{size.width} × {size.height}", str(size)) for size in known if size is not None]
            languages = [(say("the one that Discord is set to"), NONE)]
            languages += [(name, language.value) for language, name in words_for.LANGUAGES.items()]
            language = NONE if settings.language is None else Language.of(settings.language).value
            counts = [(str(count), str(count)) for count in range(1, MAX_COUNT + 1)]
            return [
                _menu(
                    "max_size", say("Largest picture"), sizes, [str(settings.max_size) if settings.max_size else NONE]
                ),
                _menu("max_count", say("Pictures at once"), counts, [str(settings.max_count)]),
                _menu("language", say("Language"), languages, [language]),
                _button(say("Time zone and waiting…"), f"easel:panel:form:{Form.TIME}"),
            ]
        case Page.BACKENDS:
            policies = [(words_for.policy(each), each.value) for each in Policy]
            backends = [(name, name) for name in choices.backends]
            return [
                _menu("policy", say("Which backend"), policies, [settings.policy.value]),
                _menu("allowed_backends", say("Backends; none: all"), backends, settings.allowed_backends or (),
                      several=True),
                _switch("spill_to_paid", say("Use paid ones when the free are busy"),
                        say("Wait when the free are busy"), on=settings.spill_to_paid),
            ]  # fmt: skip
        case Page.SAFETY:
            nsfw = [(words_for.nsfw_policy(each), each.value) for each in NsfwPolicy]
            return [
                _menu("nsfw", say("Pictures for adults"), nsfw, [settings.nsfw.value]),
                _button(say("Block words or patterns…"), f"easel:panel:form:{Form.BLOCK}"),
            ]
        case _:
            assert_never(page)


def _models(kind: Kind, choices: Choices) -> list[tuple[str, str]]:
    return [(say("as the operator has it"), NONE)] + [
        (model.name, model.key) for model in choices.catalogue.models(kind)
    ]


def _menu(
    field: str, placeholder: str, entries: Sequence[tuple[str, str]], chosen: Sequence[str], *, several: bool = False
) -> discord.ui.Item[Any]:
    # A menu without entries is none; and Discord takes no more than 25.
    shown = list(entries)[:MAX_CHOICES] or [(say("none"), NONE)]
    return discord.ui.Select(
        custom_id=f"easel:panel:set:{field}",
        placeholder=words.label(placeholder, 150),
        min_values=0 if several else 1,
        max_values=len(shown) if several else 1,
        options=[
            discord.SelectOption(label=words.label(label), value=value, default=value in chosen)
            for label, value in shown
        ],
    )


def _channels(
    field: str, placeholder: str, chosen: Sequence[int], most: int, *, text_alone: bool = False
) -> discord.ui.Item[Any]:
    kinds = [discord.ChannelType.text, discord.ChannelType.news]
    if not text_alone:
        kinds += [discord.ChannelType.forum, discord.ChannelType.voice, discord.ChannelType.category]
    return discord.ui.ChannelSelect(
        custom_id=f"easel:panel:set:{field}",
        placeholder=words.label(placeholder, 150),
        channel_types=kinds,
        min_values=0,
        max_values=most,
        default_values=[
            discord.SelectDefaultValue(id=number, type=discord.SelectDefaultValueType.channel)
            for number in chosen[:most]
        ],
    )


def _roles(chosen: Sequence[int]) -> discord.ui.Item[Any]:
    return discord.ui.RoleSelect(
        custom_id="easel:panel:set:roles",
        placeholder=words.label(say("Who may ask; none: everybody"), 150),
        min_values=0,
        max_values=MAX_CHOICES,
        default_values=[
            discord.SelectDefaultValue(id=number, type=discord.SelectDefaultValueType.role)
            for number in chosen[:MAX_CHOICES]
        ],
    )


def _switch(field: str, to_on: str, to_off: str, *, on: bool) -> discord.ui.Item[Any]:
    return _button(to_off if on else to_on, f"easel:panel:switch:{field}")


def _button(
    label: str,
    custom_id: str,
    style: discord.ButtonStyle = discord.ButtonStyle.secondary,
    *,
    row: int | None = None,
) -> discord.ui.Item[Any]:
    return discord.ui.Button(label=words.label(label, 80), custom_id=custom_id, style=style, row=row)


def _cut(text: str) -> str:
    return words.label(text, 45)


def _name(page: Page) -> str:
    match page:
        case Page.PLACES:
            return say("Where and who")
        case Page.MODELS:
            return say("Models")
        case Page.PICTURES:
            return say("Pictures and time")
        case Page.BACKENDS:
            return say("Backends")
        case Page.SAFETY:
            return say("Safety")
        case _:
            assert_never(page)
