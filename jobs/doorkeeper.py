"""Who is let in with what: bans, the server's settings and moderation, before anything is reserved."""

from collections.abc import Iterable
from dataclasses import dataclass

from config.catalogue import Catalogue, Model, Offer
from db.database import Connection, Database
from db.guilds import GuildStore
from db.safety import SafetyStore
from domain.errors import Code, UserError
from domain.guild import GuildSettings
from domain.request import ImageRequest
from domain.safety import EVERYWHERE, Ban, Blocked
from jobs import house_rules
from jobs.moderation import Moderation
from jobs.quotas import Asker


@dataclass(frozen=True, slots=True)
class LetIn:
    """A request that nobody objects to."""

    request: ImageRequest
    """With the server's defaults, and marked where it is for adults."""
    settings: GuildSettings
    certain: bool
    """False: a moderator could not tell."""
    model: Model
    free_only: bool
    """It was asked for where nothing may cost money."""

    def narrowed(self, offers: Iterable[Offer]) -> list[Offer]:
        """The offers that may be used for it. Raises UserError or OperatorError where there is none."""
        able = house_rules.within_size(self.settings, self.request, offers)
        if self.free_only:
            able = house_rules.free_offers(able, self.model)
        return able if self.certain else house_rules.at_home(able)


class Doorkeeper:
    """Stands at the one door of ``jobs``."""

    def __init__(
        self,
        database: Database,
        guilds: GuildStore,
        safety: SafetyStore,
        moderation: Moderation,
        catalogue: Catalogue,
    ) -> None:
        self._database = database
        self._guilds = guilds
        self._safety = safety
        self._moderation = moderation
        self._catalogue = catalogue

    async def look(self, request: ImageRequest, asker: Asker) -> LetIn:
        """Raises the UserError of whatever does not let the request in."""
        guild_id = asker.place.guild_id

        async def read(reader: Connection) -> tuple[Ban | None, GuildSettings, Blocked]:
            return (
                await self._safety.ban_of(reader, guild_id, asker.place.user_id),
                await self._guilds.settings(reader, guild_id),
                await self._safety.blocked(reader, guild_id),
            )

        ban, settings, blocked = await self._database.read(read)
        if ban is not None:
            raise UserError(Code.BANNED if ban.guild_id == EVERYWHERE else Code.BANNED_HERE)
        house_rules.check_asker(settings, asker)
        model = self._catalogue.model(request.model)
        if asker.place.is_outside:
            house_rules.free_offers(model.offers, model)
        request = house_rules.applied(settings, request, model).model_copy(update={"visiting": asker.visiting})
        outcome = await self._moderation.review(request, blocked)
        request = house_rules.gated(settings, asker, request, adult=outcome.adult)
        return LetIn(request, settings, outcome.certain, model, asker.place.is_outside)
