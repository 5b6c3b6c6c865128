"""The Discord client: it puts the commands together, takes what people press, and knows nothing of pictures."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

import discord
import yarl
from discord import app_commands
from discord.asset import Asset
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from cogs.album import AlbumCommands
from cogs.answers import ARRIVED
from cogs.change_log import ChangeLog
from cogs.completions import Completions
from cogs.contexts import EVERYWHERE, IN_SERVERS, OUTSIDE_SERVERS, Interaction, check_context, check_server
from cogs.delivery import Delivery
from cogs.discretion import Discretion
from cogs.door import Door
from cogs.errors import guarded, tell
from cogs.follow_ups import FollowUps
from cogs.languages import CommandTranslator, choose
from cogs.lines import JobCommands
from cogs.models import ModelCommands
from cogs.panel import SettingsPanel
from cogs.pictures import PictureCommands
from cogs.posting import Poster
from cogs.privacy import FORGET, Forgetting, PrivacyCommands
from cogs.progress import ProgressCards
from cogs.quotas import QuotaCommands
from cogs.results import ResultButtons
from cogs.routing import RoutingCommands
from cogs.safeguards import SafeguardCommands
from cogs.server_commands import ServerCommands
from cogs.server_settings import ServerSettings
from cogs.services import Services
from cogs.settings import SettingsCommands
from cogs.slash import Offered, is_for_everywhere, offer_in, slash
from cogs.ui import compose, modals, panel, reporting
from cogs.ui.buttons import ITEMS, Action, Book, is_ours
from config.settings import DirectMessages, Settings
from domain.errors import Code, UserError
from jobs.house_rules import free_models
from jobs.metrics import Probes
from jobs.variations import Strength

log = logging.getLogger(__name__)

DOUBLE_CLICK_SECONDS: Final = 2.0
_VARYING: Final = {Action.VARY: None, Action.VARY_SUBTLY: Strength.SUBTLE, Action.VARY_STRONGLY: Strength.STRONG}
_ONCE: Final = frozenset({Action.REROLL, *_VARYING, Action.RETRY, Action.LARGER, Action.FAVOURITE, Action.CONFIRM})
"""Buttons whose second press right after the first is a slip of the finger."""


def point_at(settings: Settings) -> None:
    """Make discord.py speak to the configured addresses. Nothing else of it is changed."""
    Route.BASE = str(settings.discord_api_url).rstrip("/")
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(str(settings.discord_gateway_url))
    Asset.BASE = str(settings.discord_cdn_url).rstrip("/")


class EaselTree(app_commands.CommandTree["EaselBot"]):
    """The commands, with our own error ladder."""

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Choose the language of the answer, and refuse servers that the operator has not chosen."""
        interaction.extras[ARRIVED] = asyncio.get_running_loop().time()
        try:
            await choose(interaction)
            check_context(interaction, interaction.client.services.settings)
        except Exception as error:  # noqa: BLE001 -- discord.py would leave the member without an answer
            await tell(interaction, error)
            return False
        return True

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:
        """Tell and log."""
        await tell(interaction, error)


class EaselBot(commands.AutoShardedBot):
    """The bot. ``commands_synced`` is set once Discord has the commands and the gateway knows us."""

    def __init__(
        self, services: Services, *, clock: Callable[[], float] = time.monotonic, guild_ready_timeout: float = 2.0
    ) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=EaselTree,
            # Guilds alone: roles and channels. No privileged intent, no messages.
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            chunk_guilds_at_startup=False,
            guild_ready_timeout=guild_ready_timeout,
        )
        self.services = services
        self.commands_synced = asyncio.Event()
        self._registered = asyncio.Event()
        self._online = asyncio.Event()
        self._clock = clock
        self._presses: dict[tuple[int, str], float] = {}
        self._progress = ProgressCards(self, services, clock)
        self._poster = Poster(self, services.pictures)
        self._door = Door(services, self._progress)
        completions = Completions(services)
        self._pictures = PictureCommands(services, self._door, completions)
        self._jobs = JobCommands(services, self._door, completions)
        self.follow_ups = FollowUps(clock)
        self._discretion = discretion = Discretion(self, services, self.follow_ups)
        self._album = AlbumCommands(services, self._door, discretion, completions)
        self._results = ResultButtons(services, self._door, discretion)
        self._models = ModelCommands(services)
        change_log = ChangeLog(services)
        self._quotas = QuotaCommands(services, completions, change_log)
        server = ServerSettings(services, change_log)
        self._panel = SettingsPanel(services, server)
        self._forgetting = Forgetting(self, services, self._online)
        self._privacy = PrivacyCommands(services, self._forgetting)
        self._safeguards = SafeguardCommands(services, server, self._door)
        self._settings = SettingsCommands(
            services,
            change_log,
            [
                slash("panel", "Set up this server with menus", self._panel.open),
                *ServerCommands(services, server, completions).commands(),
                *RoutingCommands(server, services.order).commands(),
                *self._safeguards.admin_commands(),
            ],
        )

    @property
    def probes(self) -> Probes:
        """What only the door knows, for the metrics."""
        return Probes(lambda: dict(self._known_latencies()), lambda: self._progress.edits)

    def _known_latencies(self) -> list[tuple[int, float]]:
        return [(shard, seconds) for shard, seconds in self.latencies if math.isfinite(seconds)]

    def checks(self) -> dict[str, bool]:
        """What has to hold for commands to be taken."""
        return {
            "commands": self.commands_synced.is_set(),
            "gateway": not self.is_closed() and bool(self._known_latencies()),
        }

    def offered(self) -> list[Offered]:
        """All commands that can work with what is configured, newly made."""
        rooms = (
            self._pictures,
            self._jobs,
            self._models,
            self._album,
            self._quotas,
            self._settings,
            self._safeguards,
            self._privacy,
        )
        return [command for room in rooms for command in room.commands()]

    async def setup_hook(self) -> None:
        """Commands, buttons and the delivery of outcomes."""
        await self.tree.set_translator(CommandTranslator())
        if self._works_outside and not free_models(self.services.catalogue):
            log.warning("EASEL_DIRECT_MESSAGES allows what is on machines of your own, and no model is on any of them")
        # A server's own commands know of no other context: those for outside are registered beside them.
        self._add(IN_SERVERS if self.services.settings.easel_guilds else EVERYWHERE)
        self.add_dynamic_items(*ITEMS)
        await self.add_cog(Delivery(self.services, self._progress, self._poster, self._discretion, self._online))
        await self.add_cog(self._forgetting)
        await self._register()
        self._registered.set()
        self._announce()

    async def close(self) -> None:
        """Answer those who were asking, stop delivering, and leave Discord."""
        await self._door.close()
        await super().close()

    @property
    def _works_outside(self) -> bool:
        return self.services.settings.easel_direct_messages is not DirectMessages.OFF

    def _add(self, contexts: app_commands.AppCommandContext) -> None:
        """Offer all commands; in these contexts, where they are for everywhere and the operator allows it."""
        for command in self.offered():
            wide = is_for_everywhere(command) and self._works_outside
            if wide or contexts.guild:
                offer_in(command, contexts if wide else IN_SERVERS)
                self.tree.add_command(command)

    async def _register(self) -> None:
        allowed = self.services.settings.easel_guilds
        if not allowed:
            await self.tree.sync()
            return
        for guild_id in allowed:
            guild = discord.Object(guild_id)
            self.tree.copy_global_to(guild=guild)
            try:
                await self.tree.sync(guild=guild)
            except discord.Forbidden:
                log.warning("server %d is in EASEL_GUILDS, but the bot is not in it", guild_id)
        # What an earlier start without the list may have registered everywhere.
        self.tree.clear_commands(guild=None)
        self._add(OUTSIDE_SERVERS)
        await self.tree.sync()

    async def on_connect(self) -> None:
        """The gateway knows us."""
        self._online.set()
        self._announce()

    def _announce(self) -> None:
        if self._registered.is_set() and self._online.is_set():
            self.commands_synced.set()

    async def on_message(self, message: discord.Message, /) -> None:
        """There are no commands in messages."""

    async def on_interaction(self, interaction: Interaction) -> None:
        """What discord.py itself leaves unanswered: modals (ours are forms alone), and buttons nobody knows."""
        if interaction.type is discord.InteractionType.modal_submit:
            await guarded(interaction, self._submitted(interaction, interaction.custom_id or ""))
        elif interaction.type is discord.InteractionType.component:
            if (part := panel.pressed(interaction.custom_id or "")) is not None:
                await guarded(interaction, self._pressed_panel(interaction, *part))
            elif interaction.custom_id == FORGET:
                await guarded(interaction, self._privacy.press_forget(interaction))
            elif not is_ours(interaction):
                await guarded(interaction, self._stale(interaction))

    async def _submitted(self, interaction: Interaction, custom_id: str) -> None:
        check_context(interaction, self.services.settings)
        if (job_id := modals.edited_job(custom_id)) is not None:
            await self._pictures.submit_edit(interaction, job_id, modals.values(interaction))
        elif (picture := modals.edited_picture(custom_id)) is not None:
            await self._pictures.submit_picture(interaction, *picture, modals.values(interaction))
        elif (deleted := modals.deleted_job(custom_id)) is not None:
            await self._results.submit_delete(interaction, deleted)
        elif custom_id == compose.FORM:
            await self._pictures.submit_compose(interaction, modals.values(interaction))
        elif custom_id == modals.SOURCE_FORM:
            await self._pictures.submit_source(interaction, modals.values(interaction))
        elif (reported := reporting.reported_job(custom_id)) is not None:
            await self._safeguards.submit_report(interaction, reported, modals.values(interaction))
        elif (form := panel.submitted(custom_id)) is not None:
            await self._panel.submit(interaction, form, modals.values(interaction))
        else:
            raise UserError(Code.BUTTON_STALE)

    async def _pressed_panel(self, interaction: Interaction, what: str, name: str) -> None:
        check_server(interaction, self.services.settings)
        await self._panel.press(interaction, what, name)

    async def _stale(self, interaction: Interaction) -> None:
        check_context(interaction, self.services.settings)
        raise UserError(Code.BUTTON_STALE)

    # What buttons ask for.

    async def pressed(self, interaction: discord.Interaction[Any], action: Action, job_id: str) -> None:
        """A button under a job's message was pressed."""
        await guarded(interaction, self._press(interaction, action, job_id))

    async def picked(self, interaction: discord.Interaction[Any], job_id: str, index: int) -> None:
        """One picture of a job is to be edited."""
        await guarded(interaction, self._pictures.press_picture(interaction, job_id, index))

    async def turned(self, interaction: discord.Interaction[Any], book: Book, page: int, search: str) -> None:
        """Another page of what can be looked through is wanted."""
        if book is Book.MODELS:
            await guarded(interaction, self._models.turn(interaction, page))
        else:
            await guarded(interaction, self._album.turn(interaction, book, page, search))

    async def hid(self, interaction: discord.Interaction[Any]) -> None:
        """Somebody wants their pictures out of the gallery, or in it again."""
        await guarded(interaction, self._album.press_shown(interaction))

    async def _press(self, interaction: Interaction, action: Action, job_id: str) -> None:
        check_context(interaction, self.services.settings)
        match action:
            case Action.CANCEL:
                await self._jobs.press_cancel(interaction, job_id)
            case Action.EDIT:
                await self._pictures.press_edit(interaction, job_id)
            case Action.FAMILY:
                await self._album.press_family(interaction, job_id)
            case Action.ORIGINAL:
                await self._results.press_original(interaction, job_id)
            case Action.DETAILS:
                await self._results.press_details(interaction, job_id)
            case Action.DELETE:
                await self._results.press_delete(interaction, job_id)
            case Action.REMOVE:
                await self._results.press_remove(interaction, job_id)
            case _ if action in _ONCE and self._is_double_click(interaction):
                await interaction.response.defer()
            case Action.FAVOURITE:
                await self._album.press_favourite(interaction, job_id)
            case Action.REROLL:
                await self._pictures.press_reroll(interaction, job_id)
            case Action.VARY | Action.VARY_SUBTLY | Action.VARY_STRONGLY:
                await self._pictures.press_vary(interaction, job_id, _VARYING[action])
            case Action.RETRY:
                await self._pictures.press_retry(interaction, job_id)
            case Action.LARGER:
                await self._pictures.press_larger(interaction, job_id)
            case Action.CONFIRM:
                await self._door.confirm(interaction, job_id)
            case Action.DECLINE:
                await self._door.decline(interaction, job_id)

    def _is_double_click(self, interaction: Interaction) -> bool:
        """The same member pressed the same button a moment ago: a second job is not what they meant."""
        now = self._clock()
        self._presses = {press: at for press, at in self._presses.items() if now - at < DOUBLE_CLICK_SECONDS}
        key = (interaction.user.id, interaction.custom_id or "")
        if key in self._presses:
            return True
        self._presses[key] = now
        return False
