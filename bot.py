"""The door: the command line, and the place where everything is opened, handed on and closed.

Exit status: 0 fine, 2 bad usage or configuration (one line says what and how to mend it), 1 anything else.
"""

import argparse
import asyncio
import gc
import importlib.metadata
import importlib.util
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import discord
import httpx

from backends.base import Backend
from backends.configured import backend_keys, configured_backends, configured_catalogue, taking_webhooks
from cogs.client import EaselBot, point_at
from cogs.services import Services
from cogs.ui import texts
from command_line import bans, maintenance
from command_line.doctor import examine
from command_line.parser import parser
from command_line.sandbox import sandboxed
from command_line.terminal import ExitStatus, say
from config.loading import load
from config.logs import log_to_stderr
from config.settings import Settings
from db.album import AlbumStore
from db.audit import AuditStore
from db.erasures import ErasureStore
from db.folder import exclusive
from db.reports import ReportStore
from domain.errors import Code, EaselError, InternalError, OperatorError
from jobs.album import Album
from jobs.attachments import Attachments
from jobs.background import in_background
from jobs.classifier import configured_moderators
from jobs.erasures import Erasures
from jobs.heart import open_heart
from jobs.metrics import Metrics
from jobs.monitoring import monitoring
from jobs.offering import Offering
from jobs.originals import Originals
from jobs.removal import Removal
from jobs.reports import Reports
from jobs.retention import keep_swept
from jobs.safeguards import Safeguards

log = logging.getLogger("easel")

_ROOT: Final = Path(__file__).resolve().parent


def utc_now() -> datetime:
    """The clock of everything outside tests."""
    return datetime.now(UTC)


@asynccontextmanager
async def house(
    settings: Settings,
    backends: Mapping[str, Backend],
    *,
    clock: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Services]:
    """Everything below Discord, opened: jobs are taken until the end of the block.

    Raises OperatorError where the data folder, the catalogue or a model's name is not right.
    """
    catalogue = await configured_catalogue(settings, backends)
    async with AsyncExitStack() as stack:
        path = stack.enter_context(exclusive(settings.easel_data_dir))
        moderators = await stack.enter_async_context(configured_moderators(settings))
        heart = await stack.enter_async_context(open_heart(path, settings, catalogue, backends, moderators, clock))
        database, jobs, pictures = heart.database, heart.jobs, heart.pictures
        album = Album(database, AlbumStore(database), heart.guilds, clock, settings.easel_favourites_days)
        web = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        attachments = Attachments(web, [str(settings.discord_api_url), str(settings.discord_cdn_url)])
        await stack.enter_async_context(heart.dispatcher.running())
        await stack.enter_async_context(in_background(keep_swept(pictures, album)))
        metrics = None
        if settings.easel_metrics_listen is not None:
            metrics = Metrics(
                database=database,
                jobs=jobs,
                ledger=heart.ledger,
                fleet=heart.fleet,
                events=heart.events,
                clock=clock,
                daily_budget=settings.daily_budget,
                version=_version(),
            )
            await stack.enter_async_context(in_background(metrics.follow()))
        yield Services(
            settings=settings,
            catalogue=catalogue,
            order=backend_keys(backends),
            intake=heart.intake,
            confirmations=heart.confirmations,
            pictures=pictures,
            attachments=attachments,
            dispatcher=heart.dispatcher,
            queue=heart.queue,
            offering=Offering(
                database,
                heart.guilds,
                catalogue,
                heart.chooser,
                heart.quotas,
                heart.fleet,
                heart.estimates,
                backend_keys(backends),
                clock,
            ),
            estimates=heart.estimates,
            quotas=heart.quotas,
            administration=heart.administration,
            erasures=Erasures(database, ErasureStore(database), jobs, pictures, heart.dispatcher, clock),
            safeguards=Safeguards(database, heart.safety, AuditStore(database), clock),
            reports=Reports(ReportStore(database), clock, settings.easel_data_dir / "charts"),
            outbox=heart.outbox,
            removal=Removal(database, jobs, pictures),
            album=album,
            originals=Originals(pictures, catalogue, embeds=settings.easel_embed_parameters),
            events=heart.events,
            jobs=jobs,
            clock=clock,
            metrics=metrics,
            loras=heart.fleet.loras,
        )


@asynccontextmanager
async def _monitored(settings: Settings, bot: EaselBot) -> AsyncIterator[None]:
    metrics, listen = bot.services.metrics, settings.easel_metrics_listen
    if metrics is None or listen is None:
        yield
        return
    metrics.probes = bot.probes
    async with monitoring(metrics, bot.checks, listen):
        yield


def _version() -> str:
    try:
        return importlib.metadata.version("easel")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from its folder, without being installed


async def serve(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT."""
    if settings.discord_token is None:
        raise OperatorError(
            Code.SETTING_INVALID, setting="DISCORD_TOKEN", problem="it is not set; the bot cannot log in without it"
        )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    point_at(settings)
    async with (
        taking_webhooks(settings) as webhooks,
        configured_backends(settings, _ROOT, webhooks) as backends,
        house(settings, backends) as services,
    ):
        if not backends:
            log.warning("no backend is configured: set EASEL_LOCAL_MODEL=tiny to try the bot, or a vendor's key")
        async with EaselBot(services) as bot, _monitored(settings, bot):
            connection = asyncio.create_task(bot.start(settings.discord_token.get_secret_value()), name="Discord")
            ready = asyncio.create_task(bot.commands_synced.wait())
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([connection, ready, stopping], return_when=asyncio.FIRST_COMPLETED)
                if ready.done():
                    # What stays as long as the bot does is not looked through again and again: a full collection held
                    # everybody's answer up for a tenth of a second.
                    gc.collect()
                    gc.freeze()
                    say("easel ready")
                    await asyncio.wait([connection, stopping], return_when=asyncio.FIRST_COMPLETED)
                if connection.done():
                    await connection
            except discord.LoginFailure as error:
                raise OperatorError(
                    Code.SETTING_INVALID, setting="DISCORD_TOKEN", problem="Discord does not accept it"
                ) from error
            except (aiohttp.ClientError, OSError, discord.DiscordServerError) as error:
                # Only at the start: once connected, discord.py connects again by itself.
                raise InternalError(Code.DISCORD_UNREACHABLE, problem=type(error).__name__) from error
            finally:
                for task in (ready, stopping):
                    task.cancel()


async def serve_in_sandbox(settings: Settings, port: int) -> None:
    """The whole bot against a Discord of its own on loopback, with the bundled models unless others are set."""
    async with sandboxed(settings, port, _ROOT) as inside:
        await serve(inside)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = parser().parse_args(arguments)
    try:
        settings = load()
        # A worker that the bot started logs through the bot, which adds the time.
        log_to_stderr(settings, with_time=not getattr(given, "exit_with_stdin", False))
        # There is no voice here, so nothing is missing for it.
        discord.VoiceClient.warn_nacl = False
        discord.VoiceClient.warn_dave = False
        return _obey(given, settings)
    except EaselError as error:
        sys.stderr.write(f"easel: {texts.for_operator(error)}\n")
        return ExitStatus.MISCONFIGURED if isinstance(error, OperatorError) else ExitStatus.BROKEN
    except KeyboardInterrupt:
        return ExitStatus.FINE


def _obey(given: argparse.Namespace, settings: Settings) -> int:
    match given.command:
        case "run":
            asyncio.run(serve(settings))
        case "sandbox":
            asyncio.run(serve_in_sandbox(settings, given.port))
        case "worker":
            # Imported here: torch comes with it, and only the worker's process may have it.
            from backends.worker.serve import run_worker

            return run_worker(
                settings, host=given.host, port=given.port, uds=given.uds, exit_with_stdin=given.exit_with_stdin
            )
        case "cluster":
            return _cluster(settings, given)
        case "doctor":
            return asyncio.run(examine(settings, _ROOT, utc_now))
        case "ban":
            asyncio.run(bans.ban(settings, given.user, given.reason, utc_now))
        case "unban":
            asyncio.run(bans.unban(settings, given.user, utc_now))
        case "bans":
            asyncio.run(bans.list_bans(settings, utc_now))
        case "reports":
            asyncio.run(bans.list_reports(settings, utc_now))
        case "pause":
            maintenance.pause(settings)
        case "drain":
            asyncio.run(maintenance.drain(settings))
        case "resume":
            maintenance.resume(settings)
        case "correct":
            asyncio.run(maintenance.correct(settings, given.job, given.charged, utc_now))
        case "backup":
            asyncio.run(maintenance.back_up(settings, given.file))
    return ExitStatus.FINE


def _cluster(settings: Settings, given: argparse.Namespace) -> int:
    if importlib.util.find_spec("ray") is None:
        raise OperatorError(
            Code.SETTING_INVALID, setting="cluster", problem="needs the packages of the extra `cluster`: ray[serve]"
        )
    from backends.worker.cluster import join_cluster, run_cluster

    if given.join is not None:
        return join_cluster(settings, _ROOT, given.join)
    return run_cluster(settings, _ROOT, host=given.host, port=given.port, ray_port=given.ray_port)


if __name__ == "__main__":
    sys.exit(main())
