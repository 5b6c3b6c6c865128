"""The panel of /settings: what is pressed in it is checked, set, recorded and shown in the same message."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from cogs.answers import in_time, privately
from cogs.change_log import Said
from cogs.command_options import read_integer
from cogs.contexts import Interaction
from cogs.server_commands import read_largest_size
from cogs.server_settings import ServerSettings
from cogs.services import Services
from cogs.settings import read_zone
from cogs.ui import panel, texts, words
from cogs.ui.panel import NONE, Choices, Form, Page
from domain.errors import Code, EaselError, UserError
from domain.guild import MAX_COOLDOWN_SECONDS, GuildSettings, NsfwPolicy, Policy
from domain.language import Language
from domain.request import MAX_COUNT
from domain.safety import BlockKind
from jobs.wording import MAX_PATTERN

_NOTES = 2000
"""Characters of what is told below a page."""
_SEVERAL = frozenset({"channels", "roles", "allowed_models", "allowed_backends"})
"""Fields of which several can be chosen, and none means all."""


class SettingsPanel:
    """Opens the panel, and does what is pressed in it. A press says all there is to know: nothing is remembered."""

    def __init__(self, services: Services, server: ServerSettings) -> None:
        self._services = services
        self._server = server

    async def open(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings panel"""
        settings = await self._server.of(interaction)
        embed, view = await self._shown(interaction, Page.PLACES, settings)
        await privately(interaction, embed=embed, view=view)

    async def press(self, interaction: Interaction, what: str, name: str) -> None:
        """A button or menu of a panel. Raises UserError (BUTTON_STALE) for one that this version does not have."""
        self._server.admin(interaction)
        if what == "form":
            await self._open_form(interaction, name)
            return
        if what == "page":
            if name not in set(Page):
                raise UserError(Code.BUTTON_STALE)
            await self._show(interaction, Page(name), await self._server.of(interaction))
            return
        if not any(name in fields for fields in panel.FIELDS.values()):
            raise UserError(Code.BUTTON_STALE)
        now = await self._server.of(interaction)
        if what == "switch" and name in panel.SWITCHES:
            value: object = not getattr(now, name)
        elif what == "set" and name not in panel.SWITCHES:
            value = self._read(interaction, name)
        else:
            raise UserError(Code.BUTTON_STALE)
        if value == getattr(now, name):
            await self._show(interaction, panel.page_of(name), now)
            return
        settings = await self._server.change(interaction, **{name: value})
        note = await self._post(interaction, lambda: self._server.said(settings, name))
        await self._show(interaction, panel.page_of(name), settings, note)

    async def submit(self, interaction: Interaction, form: Form, values: Mapping[str, str]) -> None:
        """A form of a panel."""
        self._server.admin(interaction)
        match form:
            case Form.TIME:
                zone = read_zone(values.get(panel.ZONE, ""))
                seconds = read_integer("seconds", 0, MAX_COOLDOWN_SECONDS)(values.get(panel.COOLDOWN, ""))
                settings = await self._server.change(interaction, time_zone=zone, cooldown_seconds=seconds)
                note = await self._post(
                    interaction, lambda: self._server.said(settings, "time_zone", "cooldown_seconds")
                )
                await self._show(interaction, Page.PICTURES, settings, note)
            case Form.BLOCK:
                notes = await in_time(interaction, self._block(interaction, values), in_place=True)
                settings = await self._server.of(interaction)
                await self._show(interaction, Page.SAFETY, settings, words.cut("\n".join(notes), _NOTES))

    async def _open_form(self, interaction: Interaction, name: str) -> None:
        if name not in set(Form):
            raise UserError(Code.BUTTON_STALE)
        if Form(name) is Form.TIME:
            await interaction.response.send_modal(panel.time_form(await self._server.of(interaction)))
        else:
            await interaction.response.send_modal(panel.block_form())

    async def _post(self, interaction: Interaction, said: Said) -> str:
        return await in_time(interaction, self._server.log.post(interaction, said), in_place=True)

    async def _block(self, interaction: Interaction, values: Mapping[str, str]) -> list[str]:
        """Block every line that can be; the others are named with their reason. Returns what there is to tell."""
        guild_id = self._server.admin(interaction)
        refused: list[str] = []
        blocked: list[Callable[[], str]] = []
        for kind, field in ((BlockKind.WORD, panel.WORDS), (BlockKind.PATTERN, panel.PATTERNS)):
            for text in dict.fromkeys(line.strip() for line in values.get(field, "").splitlines()):
                if not text:
                    continue
                try:
                    await self._services.safeguards.block(guild_id, kind, text, interaction.user.id)
                except EaselError as error:
                    refused.append(texts.of_error(error))
                    continue
                said = texts.WORD_NOW_BLOCKED if kind is BlockKind.WORD else texts.PATTERN_NOW_BLOCKED
                blocked.append(partial(texts.fill, said, text=words.code(text, MAX_PATTERN)))
        if not blocked:
            return refused
        # One entry for all of them: Discord takes five messages in five seconds.
        closed = await self._server.log.post(interaction, lambda: "\n".join(word() for word in blocked))
        return [*refused, *([closed] if closed else []), *(word() for word in blocked)]

    async def _show(self, interaction: Interaction, page: Page, settings: GuildSettings, note: str = "") -> None:
        embed, view = await self._shown(interaction, page, settings, note)
        if interaction.response.is_done():
            await interaction.edit_original_response(embed=embed, view=view)
        else:
            await interaction.response.edit_message(embed=embed, view=view)

    async def _shown(
        self, interaction: Interaction, page: Page, settings: GuildSettings, note: str = ""
    ) -> tuple[Any, Any]:
        assert interaction.guild_id is not None
        blocked = await self._services.safeguards.blocked(interaction.guild_id)
        count = len(blocked.words) + len(blocked.patterns)
        catalogue = self._services.catalogue
        choices = Choices(catalogue, self._server.speeds(), self._services.order)
        return panel.embed(page, settings, catalogue, count, note), panel.view(page, settings, choices)

    def _read(self, interaction: Interaction, field: str) -> object:
        """What was picked in the field's menu; checked, for a hostile client picks anything."""
        data = cast("Mapping[str, Any]", interaction.data or {})
        picked = [str(value) for value in cast("Sequence[Any]", data.get("values") or ())]
        if field in _SEVERAL:
            return self._several(interaction, field, picked)
        if field == "log_channel_id":
            found = self._ids(interaction, "channels", picked[:1])
            return found[0] if found else None
        if len(picked) != 1:
            raise UserError(Code.BUTTON_STALE)
        (value,) = picked
        try:
            match field:
                case "max_count":
                    return read_integer("count", 1, MAX_COUNT)(value)
                case "nsfw":
                    return NsfwPolicy(value)
                case "policy":
                    return Policy(value)
                case _ if value == NONE:
                    return None
                case "max_size":
                    return read_largest_size(value)
                case "language":
                    return Language(value).value
                case "imagine_model" | "edit_model" | "speed":
                    return value
                case _:
                    raise UserError(Code.BUTTON_STALE)
        except ValueError as error:
            raise UserError(Code.BUTTON_STALE) from error

    def _several(self, interaction: Interaction, field: str, picked: Sequence[str]) -> tuple[object, ...] | None:
        found: tuple[object, ...]
        match field:
            case "allowed_models":
                every: Sequence[str] = [model.key for model in self._services.catalogue]
                found = tuple(self._services.catalogue.model(key).key for key in picked)
            case "allowed_backends":
                every = self._services.order
                if not set(picked) <= set(every):
                    raise UserError(Code.BUTTON_STALE)
                found = tuple(picked)
            case _:
                return self._ids(interaction, field, picked) or None
        # All of them is no list: a model that comes later is then allowed, too.
        return found if found and set(found) != set(every) else None

    def _ids(self, interaction: Interaction, field: str, picked: Sequence[str]) -> tuple[int, ...]:
        guild = interaction.guild
        found = tuple(int(value) for value in picked if value.isdecimal() and len(value) <= 20)
        if guild is None or len(found) != len(picked) or len(found) > panel.MAX_CHOICES:
            raise UserError(Code.BUTTON_STALE)
        known = guild.get_role if field == "roles" else guild.get_channel
        if any(known(number) is None for number in found):
            raise UserError(Code.BUTTON_STALE)
        return found
