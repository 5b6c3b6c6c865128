"""Changing a server's settings: one way for commands and panel, so that both are checked, recorded and told alike."""

from dataclasses import fields
from typing import Final

from cogs.answers import in_time
from cogs.asking import check_manages_server
from cogs.change_log import ChangeLog
from cogs.contexts import Interaction, check_server
from cogs.options import words_of
from cogs.services import Services
from cogs.ui import server_settings as words_for
from config.catalogue import EXACT
from config.parameters import Option
from domain.errors import Code, UserError
from domain.guild import GuildSettings
from domain.request import Kind

FIELDS: Final = frozenset(field.name for field in fields(GuildSettings))


class ServerSettings:
    """What an admin changes."""

    def __init__(self, services: Services, log: ChangeLog) -> None:
        self._services = services
        self.log = log

    def admin(self, interaction: Interaction) -> int:
        """The guild's id. Raises UserError where the member does not manage it."""
        guild_id = check_server(interaction, self._services.settings)
        check_manages_server(interaction)
        return guild_id

    async def of(self, interaction: Interaction) -> GuildSettings:
        """As they are, for those who may change them."""
        guild_id = self.admin(interaction)
        return await in_time(interaction, self._services.administration.settings(guild_id), private=True)

    async def change(self, interaction: Interaction, **changes: object) -> GuildSettings:
        """Change them, and record it. Raises UserError for a model or speed that there is not."""
        guild_id = self.admin(interaction)
        self._check(changes)
        changing = self._services.administration.change(guild_id, interaction.user.id, **changes)
        return await in_time(interaction, changing, private=True)

    async def changed(self, interaction: Interaction, **changes: object) -> None:
        """Change them, and say so: to the admin, and in the log channel."""
        settings = await self.change(interaction, **changes)
        await self.log.changed(interaction, lambda: self.said(settings, *changes))

    def said(self, settings: GuildSettings, *changed: str) -> str:
        """What the fields say now."""
        return "\n".join(words_for.lines(settings, self._services.catalogue, changed))

    def _check(self, changes: dict[str, object]) -> None:
        for name, kind in (("imagine_model", Kind.IMAGINE), ("edit_model", Kind.EDIT)):
            key = changes.get(name)
            if key is not None:
                model = self._services.catalogue.model(str(key))
                if model.kind is not kind:
                    raise UserError(Code.MODEL_WRONG_KIND, model=model.name, command=kind.value)
                changes[name] = model.key
        speed = changes.get("speed")
        if speed is not None and speed not in self.speeds():
            choices = ", ".join(self.speeds())
            raise UserError(Code.OPTION_NOT_A_CHOICE, option="speed", value=str(speed), choices=choices)

    def speeds(self) -> list[str]:
        """The words for a speed that some model takes."""
        catalogue = self._services.catalogue
        return list(
            dict.fromkeys(word for kind in Kind for word in words_of(Option.SPEED, kind, catalogue)) or {EXACT: None}
        )
