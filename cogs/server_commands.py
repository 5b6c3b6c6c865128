"""/settings: where, who, what and how much, as commands; the panel does the same with menus."""

from collections.abc import Mapping, Sequence
from typing import Final

from cogs.command_options import (
    CommandOption,
    channel_option,
    choice_option,
    flag_option,
    integer_option,
    malformed,
    picked_option,
    read_choice,
    read_options,
    role_option,
)
from cogs.completions import COMMON_SIZES, Completions
from cogs.contexts import Interaction
from cogs.server_settings import ServerSettings
from cogs.services import Services
from cogs.slash import SlashCommand, slash
from cogs.ui import server_settings as words_for
from domain.errors import Code, UserError
from domain.guild import NsfwPolicy
from domain.language import Language
from domain.request import MAX_COUNT, Kind, Size

AUTOMATIC: Final = "auto"
"""What an option is given to be left to the operator, to Discord or to the model again."""
UNLIMITED: Final = "any"
MAX_LISTED: Final = 25
"""Channels or roles; what a menu of the panel can hold."""


def read_largest_size(value: object) -> Size | None:
    """A size, or that there is no limit."""
    if str(value).strip().casefold() == UNLIMITED:
        return None
    try:
        size = Size.parse(str(value))
    except ValueError:
        raise malformed("size", value, "width and height, such as 1024x1024") from None
    if not (64 <= size.width <= 16384 and 64 <= size.height <= 16384):
        raise malformed("size", value, "width and height, such as 1024x1024")
    return size


async def _complete_sizes(interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
    squares = sorted({size.width for size in COMMON_SIZES if size.width == size.height} | {1536, 2048})
    found = [f"{side}x{side}" for side in squares] + [UNLIMITED]
    return [(text, text) for text in found if typed.strip().casefold() in text]


_CHANNELS: Final = (
    channel_option("allow", "A channel, or all channels of a category"),
    channel_option("remove", "One that is allowed now"),
    flag_option("everywhere", "All channels again"),
)
_ROLES: Final = (
    role_option("allow", "Members with this role"),
    role_option("remove", "A role that is allowed now"),
    flag_option("everybody", "All members again"),
)
_MODELS: Final = (
    picked_option("allow", "A model", "model"),
    picked_option("remove", "A model that is allowed now", "model"),
    flag_option("all", "All models again"),
)
_DEFAULTS: Final = (
    picked_option("imagine", "Model of /imagine; auto: the operator's", "imagine"),
    picked_option("edit", "Model of /edit; auto: the operator's", "edit"),
    picked_option("speed", "Speed where none is asked for; auto: the model's own", "speed", 50),
)
_LIMITS: Final = (
    CommandOption(
        "size", "No more pixels than this size has; any: no limit", str, read_largest_size, autocomplete="size"
    ),
    integer_option("count", "Pictures at once", 1, MAX_COUNT),
)
_RESULTS: Final = (flag_option("private", "Show cards and pictures to who asked for them alone", required=True),)
_POLICIES: Final = tuple(policy.value for policy in NsfwPolicy)
_NSFW: Final = (choice_option("policy", "Where they may be", _POLICIES, required=True),)
_LANGUAGES: Final = (*(language.value for language in Language), AUTOMATIC)
_LANGUAGE: Final = (
    CommandOption(
        "language",
        "What I speak in public; auto: what Discord is set to",
        str,
        read_choice("language", _LANGUAGES),
        required=True,
        autocomplete="language",
    ),
)
_GALLERY: Final = (flag_option("on", "Whether /gallery shows what was painted here", required=True),)


class ServerCommands:
    """The commands about where, who, what and how much."""

    def __init__(self, services: Services, server: ServerSettings, completions: Completions) -> None:
        self._services = services
        self._server = server
        self._completions = completions

    def commands(self) -> list[SlashCommand]:
        """All of them, for the group."""
        models = self._completions
        defaults = {"imagine": models.models(Kind.IMAGINE), "edit": models.models(Kind.EDIT), "speed": self._speeds}
        return [
            slash("channels", "Choose the channels where I paint", self.channels, _CHANNELS),
            slash("roles", "Choose who may ask for pictures", self.roles, _ROLES),
            slash("models", "Choose which models may be used", self.models, _MODELS, {"model": self._models}),
            slash("defaults", "Choose what is used where nothing is asked for", self.defaults, _DEFAULTS, defaults),
            slash("limits", "Set the largest size and count", self.limits, _LIMITS, {"size": _complete_sizes}),
            slash("results", "Show results to all, or to who asked alone", self.results, _RESULTS),
            slash("nsfw", "Say where pictures for adults may be", self.nsfw, _NSFW),
            slash("language", "Choose my language", self.language, _LANGUAGE, {"language": _complete_languages}),
            slash("gallery", "Have a gallery of what was painted here, or none", self.gallery, _GALLERY),
        ]

    async def channels(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings channels"""
        await self._list(interaction, "channels", _CHANNELS, values, "everywhere")

    async def roles(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings roles"""
        await self._list(interaction, "roles", _ROLES, values, "everybody")

    async def models(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings models"""
        self._server.admin(interaction)
        named = dict(values)
        for option in {"allow", "remove"} & values.keys():
            named[option] = self._services.catalogue.model(str(values[option])).key
        await self._list(interaction, "allowed_models", _MODELS, named, "all")

    async def defaults(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings defaults"""
        self._server.admin(interaction)
        given = read_options(_DEFAULTS, values)
        if not given:
            raise UserError(Code.NOTHING_TO_CHANGE)
        names = {"imagine": "imagine_model", "edit": "edit_model", "speed": "speed"}
        changes = {
            names[option]: None if str(value).casefold() == AUTOMATIC else value for option, value in given.items()
        }
        await self._server.changed(interaction, **changes)

    async def limits(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings limits"""
        self._server.admin(interaction)
        changes = {
            f"max_{option.name}": option.read(values[option.name]) for option in _LIMITS if option.name in values
        }
        if not changes:
            raise UserError(Code.NOTHING_TO_CHANGE)
        await self._server.changed(interaction, **changes)

    async def results(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings results"""
        self._server.admin(interaction)
        await self._server.changed(interaction, private_results=read_options(_RESULTS, values)["private"])

    async def nsfw(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings nsfw"""
        self._server.admin(interaction)
        await self._server.changed(interaction, nsfw=NsfwPolicy(str(read_options(_NSFW, values)["policy"])))

    async def language(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings language"""
        self._server.admin(interaction)
        language = read_options(_LANGUAGE, values)["language"]
        await self._server.changed(interaction, language=None if language == AUTOMATIC else language)

    async def gallery(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings gallery"""
        self._server.admin(interaction)
        await self._server.changed(interaction, gallery=read_options(_GALLERY, values)["on"])

    async def _list(
        self,
        interaction: Interaction,
        field: str,
        options: Sequence[CommandOption],
        values: Mapping[str, object],
        all_of_them: str,
    ) -> None:
        """Change which of something are allowed: one more, one less, or all."""
        settings = await self._server.of(interaction)
        given = read_options(options, values)
        allow, remove, everything = given.get("allow"), given.get("remove"), given.get(all_of_them)
        if allow is None and remove is None and not everything:
            raise UserError(Code.NOTHING_TO_CHANGE)
        now: tuple[object, ...] = getattr(settings, field) or ()
        if everything:
            now = ()
        if remove is not None:
            if remove not in now:
                raise UserError(Code.NOT_IN_THE_LIST)
            if now == (remove,) and allow is None:
                # None at all would be the bot switched off; and no list means all of them.
                raise UserError(Code.LAST_IN_THE_LIST, option=all_of_them)
            now = tuple(one for one in now if one != remove)
        if allow is not None and allow not in now:
            now = (*now, allow)
        if len(now) > MAX_LISTED:
            raise UserError(Code.LIST_FULL, limit=MAX_LISTED)
        await self._server.changed(interaction, **{field: now or None})

    async def _models(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        wanted = typed.strip().casefold()
        return [
            (model.name, model.key)
            for model in self._services.catalogue
            if wanted in model.key or wanted in model.name.casefold()
        ]

    async def _speeds(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        words = [*self._server.speeds(), AUTOMATIC]
        return [(word, word) for word in words if typed.strip().casefold() in word]


async def _complete_languages(interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
    wanted = typed.strip().casefold()
    named = [(name, language.value) for language, name in words_for.LANGUAGES.items()] + [(AUTOMATIC, AUTOMATIC)]
    return [(name, value) for name, value in named if wanted in name.casefold() or wanted in value.casefold()]
