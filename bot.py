"""The door: the command line, and the place where everything is opened, handed on and closed.

Exit status: 0 fine, 2 bad usage or configuration (one line says what and how to mend it), 1 anything else.
"""

import argparse
import asyncio
import importlib.metadata
import importlib.util
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import discord
import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import db.database
from backends.base import Backend
from backends.comfyui import ComfyUIBackend
from backends.openai_images import OpenAIImagesBackend
from backends.runware import RunwareBackend
from backends.wavespeed import WaveSpeedBackend
from backends.webhooks import Webhooks
from backends.worker.places import discovered_models, worker_places
from backends.worker.variants import local_models
from cogs.client import EaselBot, point_at
from cogs.services import Services
from cogs.ui import texts
from config import settings as configuration
from config.blocklist import load_blocklist
from config.catalogue import Catalogue, load_presets
from config.logs import log_to_stderr
from config.parameters import Option
from config.settings import Settings
from db.album import AlbumStore
from db.audit import AuditStore
from db.confirmations import ConfirmationStore
from db.database import Database
from db.erasures import ErasureStore
from db.folder import DATABASE_NAME, exclusive, is_taken
from db.guilds import GuildStore
from db.jobs import JobStore
from db.ledger import LedgerStore
from db.reports import ReportStore
from db.safety import SafetyStore
from domain.errors import Code, EaselError, InternalError, OperatorError, UserError
from domain.money import FREE, MicroUSD, format_usd, micro_usd
from domain.request import Kind
from domain.safety import EVERYWHERE, MAX_REASON, Ban
from jobs import checkup, pause
from jobs.administration import Administration
from jobs.album import Album
from jobs.attachments import Attachments
from jobs.choosing import Chooser
from jobs.classifier import Classifier
from jobs.confirmations import Confirmations
from jobs.corrections import Corrections
from jobs.dispatcher import Dispatcher
from jobs.doorkeeper import Doorkeeper
from jobs.draining import draining
from jobs.erasures import Erasures
from jobs.estimates import Estimates
from jobs.events import EventStream
from jobs.fleet import Fleet
from jobs.intake import Intake
from jobs.metrics import Metrics
from jobs.moderation import Moderation, Moderator, WordModerator
from jobs.monitoring import monitoring
from jobs.offering import Offering
from jobs.originals import Originals
from jobs.outbox import Outbox
from jobs.pictures import Pictures
from jobs.queue import Queue
from jobs.quotas import Quotas
from jobs.removal import Removal
from jobs.reports import Reports
from jobs.safeguards import OPERATOR, Safeguards
from jobs.workshop import Workshop

log = logging.getLogger("easel")

FINE: Final = 0
BROKEN: Final = 1
MISCONFIGURED: Final = 2
SANDBOX_PORT: Final = 8642
SWEEP_SECONDS: Final = 3600
_ROOT: Final = Path(__file__).resolve().parent


def utc_now() -> datetime:
    """The clock of everything outside tests."""
    return datetime.now(UTC)


@asynccontextmanager
async def configured_backends(
    settings: Settings, webhooks: Webhooks | None = None
) -> AsyncIterator[Mapping[str, Backend]]:
    """The backends that the settings give all they need, in order of preference; closed at the block's end.

    By the names of their places: each worker is one, every other backend is called by its key.
    """
    async with AsyncExitStack() as stack:
        backends: dict[str, Backend] = {}
        for name in settings.easel_backends:
            if name == "worker":
                found: Mapping[str, Backend | None] = await worker_places(settings, _ROOT)
            else:
                found = {name: _backend(name, settings, webhooks)}
            for place, backend in found.items():
                if backend is not None:
                    stack.push_async_callback(backend.aclose)
                    backends[place] = backend
        yield backends


@asynccontextmanager
async def _taking_webhooks(settings: Settings) -> AsyncIterator[Webhooks | None]:
    webhooks = Webhooks.from_settings(settings)
    if webhooks is None or settings.easel_webhook_listen is None:
        yield None
        return
    host, _, port = settings.easel_webhook_listen.rpartition(":")
    async with webhooks.listening(host.strip("[]"), int(port)):
        yield webhooks


def _backend(name: str, settings: Settings, webhooks: Webhooks | None) -> Backend | None:
    match name:
        case "wavespeed":
            return WaveSpeedBackend.from_settings(settings, webhooks)
        case "runware":
            return RunwareBackend.from_settings(settings, webhooks)
        case "comfyui":
            return ComfyUIBackend.from_settings(settings, _all_offers(settings).offers())
        case "openai":
            return OpenAIImagesBackend.from_settings(settings)
        case _:
            return None


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
    catalogue = await _catalogue(settings, backends)
    async with AsyncExitStack() as stack:
        path = stack.enter_context(exclusive(settings.easel_data_dir))
        database = await stack.enter_async_context(Database.open(path))
        boot = await database.boot(int(clock().timestamp() * 1000))
        jobs, ledger, guilds = JobStore(database, boot), LedgerStore(database), GuildStore(database)
        pictures = Pictures(
            settings.easel_data_dir / "pictures",
            limit_bytes=int(settings.easel_pictures_gb * 1024**3),
            keep_seconds=settings.easel_pictures_days * 86400,
        )
        estimates = Estimates()
        await estimates.learn_from(jobs)
        events = EventStream()
        outbox = Outbox(database, jobs, events)
        fleet = Fleet(backends, clock)
        quotas = Quotas(database, guilds, ledger, settings, clock)
        administration = Administration(database, guilds, ledger, AuditStore(database), clock)
        album = Album(database, AlbumStore(database), guilds, clock, settings.easel_favourites_days)
        running = settings.easel_max_running_per_user
        chooser = Chooser(database, guilds, ledger, catalogue, fleet, estimates, clock, running)
        queue = Queue(database, jobs, fleet, chooser, clock)
        stack.push_async_callback(queue.aclose)
        dispatcher = Dispatcher(
            Workshop(database, jobs, ledger, pictures, fleet, estimates, events, clock),
            catalogue,
            chooser,
            grace_seconds=settings.easel_grace_seconds,
            ring=outbox.ring,
        )
        confirmations = Confirmations(database, ConfirmationStore(), guilds, quotas, settings, clock)
        safety = SafetyStore(database)
        moderators: list[Moderator] = [WordModerator(load_blocklist(settings.easel_blocklist))]
        if settings.easel_moderation_url is not None:
            asking = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            url, key = str(settings.easel_moderation_url), settings.easel_moderation_api_key
            moderators.append(Classifier(asking, url, key, settings.easel_moderation_model))
        moderation = Moderation(moderators)
        intake = Intake(
            database=database,
            jobs=jobs,
            ledger=ledger,
            guilds=guilds,
            quotas=quotas,
            queue=queue,
            pictures=pictures,
            catalogue=catalogue,
            settings=settings,
            estimates=estimates,
            events=events,
            doorkeeper=Doorkeeper(database, guilds, safety, moderation, catalogue),
            confirmations=confirmations,
            clock=clock,
            wake=dispatcher.wake,
        )
        web = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        attachments = Attachments(web, [str(settings.discord_api_url), str(settings.discord_cdn_url)])
        await stack.enter_async_context(dispatcher.running())
        await stack.enter_async_context(_background(_sweep(pictures, album)))
        metrics = None
        if settings.easel_metrics_listen is not None:
            metrics = Metrics(
                database=database,
                jobs=jobs,
                ledger=ledger,
                fleet=fleet,
                events=events,
                clock=clock,
                daily_budget=settings.daily_budget,
                version=_version(),
            )
            await stack.enter_async_context(_background(metrics.follow()))
        yield Services(
            settings=settings,
            catalogue=catalogue,
            order=_keys(backends),
            intake=intake,
            confirmations=confirmations,
            pictures=pictures,
            attachments=attachments,
            dispatcher=dispatcher,
            queue=queue,
            offering=Offering(database, guilds, catalogue, chooser, quotas, fleet, estimates, _keys(backends), clock),
            estimates=estimates,
            quotas=quotas,
            administration=administration,
            erasures=Erasures(database, ErasureStore(database), jobs, pictures, dispatcher, clock),
            safeguards=Safeguards(database, safety, AuditStore(database), clock),
            reports=Reports(ReportStore(database), clock, settings.easel_data_dir / "charts"),
            outbox=outbox,
            removal=Removal(database, jobs, pictures),
            album=album,
            originals=Originals(pictures, catalogue, embeds=settings.easel_embed_parameters),
            events=events,
            jobs=jobs,
            clock=clock,
            metrics=metrics,
            loras=fleet.loras,
        )


def _all_offers(settings: Settings) -> Catalogue:
    catalogue = Catalogue.load()
    for setting, backend, names, price in (
        ("COMFYUI_MODELS", "comfyui", settings.comfyui_models, FREE),
        ("OPENAI_IMAGES_MODELS", "openai", settings.openai_images_models, settings.openai_images_price or FREE),
    ):
        try:
            catalogue = catalogue.with_own(backend, names, price)
        except UserError as error:
            unknown = error.parameters["model"]
            problem = f"{backend} has no model called {unknown!r}"
            raise OperatorError(Code.SETTING_INVALID, setting=setting, problem=problem) from error
    return catalogue.without_prices("openai") if settings.openai_images_price is None else catalogue


async def _catalogue(settings: Settings, backends: Mapping[str, Backend]) -> Catalogue:
    catalogue = _all_offers(settings)
    if settings.easel_presets is not None:
        catalogue = catalogue.with_presets(load_presets(settings.easel_presets))
    if settings.easel_lora_dir is None and not settings.worker_urls:
        catalogue = catalogue.without("worker", Option.LORA)
    catalogue = catalogue.restricted_to(_keys(backends), await _local_models(settings, backends))
    for setting, kind, key in (
        ("EASEL_IMAGINE_MODEL", Kind.IMAGINE, settings.easel_imagine_model),
        ("EASEL_EDIT_MODEL", Kind.EDIT, settings.easel_edit_model),
    ):
        usable = catalogue.models(kind)
        if key is not None and not any(key.casefold() in (model.key, model.name.casefold()) for model in usable):
            known = ", ".join(model.key for model in usable) or "none, as no backend for it is configured"
            problem = f"no model for /{kind.value} is called {key!r}; there are {known}"
            raise OperatorError(Code.SETTING_INVALID, setting=setting, problem=problem)
    return catalogue


def _keys(backends: Mapping[str, Backend]) -> tuple[str, ...]:
    """Each backend once, in order, at however many places it can be had."""
    return tuple(dict.fromkeys(backend.key for backend in backends.values()))


async def _local_models(settings: Settings, backends: Mapping[str, Backend]) -> frozenset[str]:
    """Named by the settings, or else asked for: workers elsewhere say which models they have."""
    named = frozenset(model.key for model in local_models(settings.easel_local_model, settings.easel_local_edit_model))
    if named or not settings.worker_urls or "worker" not in _keys(backends):
        return named
    found = await discovered_models(backends.values())
    if not found:
        urls = ", ".join(settings.worker_urls)
        problem = f"no worker says at {urls} which models it has; start one, or name them in EASEL_LOCAL_MODEL"
        if _keys(backends) == ("worker",):
            raise OperatorError(Code.SETTING_INVALID, setting="EASEL_WORKER_URLS", problem=problem)
        log.warning("%s: going on without them", problem)
    return found


@asynccontextmanager
async def _monitored(settings: Settings, bot: EaselBot) -> AsyncIterator[None]:
    metrics, listen = bot.services.metrics, settings.easel_metrics_listen
    if metrics is None or listen is None:
        yield
        return
    host, _, port = listen.rpartition(":")
    metrics.probes = bot.probes
    async with monitoring(metrics, bot.checks, host.strip("[]") or "127.0.0.1", int(port)):
        yield


def _version() -> str:
    try:
        return importlib.metadata.version("easel")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from its folder, without being installed


@asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _sweep(pictures: Pictures, album: Album) -> None:
    while True:
        try:
            removed = await pictures.sweep(kept=await album.kept_longer())
        except OSError:
            log.exception("old pictures could not be removed; trying again later")
        else:
            if removed:
                log.info("removed %d old pictures", removed)
        await asyncio.sleep(SWEEP_SECONDS)


async def serve(settings: Settings) -> int:
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
        _taking_webhooks(settings) as webhooks,
        configured_backends(settings, webhooks) as backends,
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
                    _say("easel ready")
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
    return FINE


async def run_sandbox(settings: Settings, port: int) -> int:
    """The whole bot against a Discord of its own on loopback, with the bundled models unless others are set."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "sandbox", "--port", str(port), "--exit-with-stdin"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        # Ctrl-C reaches the bot alone; it closes the sandbox last.
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        answer = (await process.stdout.readline()).decode()
        url = answer.removeprefix("sandbox ready ").strip()
        if not url.startswith("http"):
            raise OperatorError(Code.SETTING_INVALID, setting="--port", problem=f"port {port} cannot be used")
        with tempfile.TemporaryDirectory(prefix="easel-sandbox-") as folder:
            own = {
                "DISCORD_TOKEN": "sandbox.token.not-a-secret",
                "DISCORD_API_URL": f"{url}api/v10",
                "DISCORD_GATEWAY_URL": f"{url.replace('http', 'ws', 1)}gateway",
                "DISCORD_CDN_URL": f"{url}cdn",
            }
            defaults = {
                "EASEL_DATA_DIR": folder,
                "EASEL_LOCAL_MODEL": "tiny",
                "EASEL_LOCAL_EDIT_MODEL": "tiny",
            }
            unset = {name: value for name, value in defaults.items() if name.lower() not in settings.model_fields_set}
            # In the environment, so that the worker that the bot starts has them too.
            os.environ.update(own | unset)
            _say(f"Open {url} in a browser.")
            return await serve(configuration.load())
    finally:
        process.stdin.close()
        await process.wait()


async def back_up(settings: Settings, target: Path) -> int:
    """Copy the database while the bot runs, and check the copy."""
    source = settings.easel_data_dir / DATABASE_NAME
    try:
        await db.database.backup(source, target)
    except FileNotFoundError as error:
        problem = f"there is no database at {source}"
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_DATA_DIR", problem=problem) from error
    except FileExistsError as error:
        raise OperatorError(Code.SETTING_INVALID, setting="FILE", problem=f"{target} exists already") from error
    except (NotADirectoryError, PermissionError) as error:
        problem = f"there is no folder {target.parent} that can be written to"
        raise OperatorError(Code.SETTING_INVALID, setting="FILE", problem=problem) from error
    _say(f"Backed up to {target}; the copy is whole. Pictures lie in {settings.easel_data_dir / 'pictures'}.")
    return FINE


async def drain(settings: Settings) -> int:
    """Take in nothing new, and wait until everything that is there is painted and posted."""
    pause.pause(settings.easel_data_dir)
    path = settings.easel_data_dir / DATABASE_NAME
    if path.is_file():
        async with Database.open(path) as database:
            async for left in draining(database, JobStore(database, 0)):
                if not left.nothing and not is_taken(settings.easel_data_dir):
                    raise InternalError(Code.NOBODY_PAINTS, jobs=left.waiting + left.under_way + left.to_post)
                _say(f"{left.waiting} waiting, {left.under_way} being painted, {left.to_post} about to be posted")
    _say("Drained: the bot can be stopped. Nothing new is taken in until `bot.py resume`.")
    return FINE


async def correct(settings: Settings, job_id: str, charged: MicroUSD) -> int:
    """Note what a job really cost, also while the bot runs."""
    path = settings.easel_data_dir / DATABASE_NAME
    if not path.is_file():
        problem = f"there is no database at {path}"
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_DATA_DIR", problem=problem)
    async with Database.open(path) as database:
        jobs, ledger, audit = JobStore(database, 0), LedgerStore(database), AuditStore(database)
        made = await Corrections(database, jobs, ledger, audit, utc_now).correct(job_id, charged)
    _say(f"Job {job_id} counts {format_usd(made.after)} now; it counted {format_usd(made.before)}.")
    return FINE


async def safeguard(settings: Settings, given: argparse.Namespace) -> int:
    """Ban and unban people everywhere, and list who is banned and what was reported; also while the bot runs."""
    path = settings.easel_data_dir / DATABASE_NAME
    if not path.is_file():
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_DATA_DIR", problem=f"there is no database at {path}")
    async with Database.open(path) as database:
        safeguards = Safeguards(database, SafetyStore(database), AuditStore(database), utc_now)
        match given.command:
            case "ban":
                await safeguards.ban(Ban(given.user, EVERYWHERE, given.reason, OPERATOR))
                _say(f"{given.user} can't use the bot in any server any more. `bot.py unban {given.user}` ends it.")
            case "unban":
                await safeguards.unban(EVERYWHERE, given.user, OPERATOR)
                _say(f"{given.user} can use the bot again, except where a server's admins have banned them.")
            case "bans":
                for ban in await safeguards.bans(EVERYWHERE):
                    _say(f"{ban.user_id} {ban.reason}".rstrip())
            case _:
                for report in await safeguards.reports():
                    at = datetime.fromtimestamp(report.at / 1000, UTC).isoformat(timespec="seconds")
                    reason = " ".join(report.reason.split())
                    _say(f"{at} job {report.job_id} server {report.guild_id} by {report.reporter_id}: {reason}")
    return FINE


async def examine(settings: Settings) -> int:
    """Look at everything, and print what was found."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for width in (1, 12, None, None):
        table.add_column(min_width=width, overflow="fold")
    sick = 0
    console = Console()
    examined = settings
    own = not settings.worker_urls and local_models(settings.easel_local_model, settings.easel_local_edit_model)
    if own and "worker" in settings.easel_backends and is_taken(settings.easel_data_dir):
        # Its worker has the GPU: a second one beside it would take its memory.
        others = tuple(name for name in settings.easel_backends if name != "worker")
        examined = settings.model_copy(update={"easel_backends": others})
    with console.status("Looking …"):
        async with configured_backends(examined) as backends:
            if examined is not settings:
                table.add_row("[green]✔[/]", "[bold]worker[/]", "belongs to the bot that runs; see its log or /metrics")
            async for finding in checkup.examine(examined, backends, texts.of_failure, utc_now):
                if finding.subject == checkup.NO_BACKENDS and examined is not settings:
                    continue
                mark = "[green]✔[/]" if finding.good else "[red]✘[/]"
                found = escape(finding.found) + (f"\n[yellow]→ {escape(finding.mend)}[/]" if finding.mend else "")
                table.add_row(mark, f"[bold]{escape(finding.subject)}[/]", found)
                sick += not finding.good
    console.print(table)
    console.print("[green]All is well.[/]" if not sick else f"[red]{sick} to mend.[/]")
    return BROKEN if sick else FINE


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    try:
        settings = configuration.load()
        # A worker that the bot started logs through the bot, which adds the time.
        log_to_stderr(settings, with_time=not getattr(given, "exit_with_stdin", False))
        # There is no voice here, so nothing is missing for it.
        discord.VoiceClient.warn_nacl = False
        discord.VoiceClient.warn_dave = False
        match given.command:
            case "run":
                return asyncio.run(serve(settings))
            case "sandbox":
                return asyncio.run(run_sandbox(settings, given.port))
            case "worker":
                # Imported here: torch comes with it, and only the worker's process may have it.
                from backends.worker.serve import run_worker

                return run_worker(
                    settings, host=given.host, port=given.port, uds=given.uds, exit_with_stdin=given.exit_with_stdin
                )
            case "cluster":
                return _cluster(settings, given)
            case "doctor":
                return asyncio.run(examine(settings))
            case "ban" | "unban" | "bans" | "reports":
                return asyncio.run(safeguard(settings, given))
            case "pause":
                pause.pause(settings.easel_data_dir)
                _say("Nothing new is taken in; what is waiting is still painted. `bot.py resume` ends it.")
                return FINE
            case "drain":
                return asyncio.run(drain(settings))
            case "resume":
                pause.resume(settings.easel_data_dir)
                _say("Jobs are taken in again.")
                return FINE
            case "correct":
                return asyncio.run(correct(settings, given.job, given.charged))
            case _:
                return asyncio.run(back_up(settings, given.file))
    except EaselError as error:
        sys.stderr.write(f"easel: {texts.for_operator(error)}\n")
        return MISCONFIGURED if isinstance(error, OperatorError) else BROKEN
    except KeyboardInterrupt:
        return FINE


def _cluster(settings: Settings, given: argparse.Namespace) -> int:
    if importlib.util.find_spec("ray") is None:
        raise OperatorError(
            Code.SETTING_INVALID, setting="cluster", problem="needs the packages of the extra `cluster`: ray[serve]"
        )
    from backends.worker.cluster import join_cluster, run_cluster

    if given.join is not None:
        return join_cluster(settings, _ROOT, given.join)
    return run_cluster(settings, _ROOT, host=given.host, port=given.port, ray_port=given.ray_port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bot.py", description="Easel: a Discord bot that paints with HiDream.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="connect to Discord (DISCORD_TOKEN) and take jobs")
    sandbox = commands.add_parser("sandbox", help="try the whole bot in a browser, without Discord, GPU or keys")
    sandbox.add_argument("--port", type=_port, default=SANDBOX_PORT, help="port of the page (default: %(default)s)")
    worker = commands.add_parser("worker", help="serve the local models to a bot")
    worker.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    worker.add_argument("--port", type=_port, help="port to listen on (default: 7870)")
    worker.add_argument("--uds", type=Path, metavar="PATH", help="listen on a Unix socket instead")
    worker.add_argument("--exit-with-stdin", action="store_true", help="end when standard input does")
    cluster = commands.add_parser("cluster", help="serve the local models from many GPUs and machines, with Ray")
    cluster.add_argument("--host", help="this machine's address (default: 127.0.0.1)")
    cluster.add_argument("--port", type=_port, help="port for the bot (default: 7870)")
    cluster.add_argument("--ray-port", type=_port, help="port for machines that join (default: 6379)")
    cluster.add_argument("--join", metavar="HOST:PORT", help="join the cluster that was started there")
    commands.add_parser("doctor", help="check the settings, the data and every backend")
    commands.add_parser("pause", help="take in nothing new, at once and until resumed; no restart is needed")
    commands.add_parser("drain", help="the same, and wait until everything that is there is painted and posted")
    commands.add_parser("resume", help="take jobs in again")
    correction = commands.add_parser("correct", help="note what a paid job of unknown outcome really cost")
    correction.add_argument("job", metavar="JOB", help="its id, as on its card and in the ledger's CSV file")
    correction.add_argument("--charged", type=_dollars, required=True, metavar="USD", help="what the vendor charged")
    ban = commands.add_parser("ban", help="let somebody use the bot in no server any more; no restart is needed")
    ban.add_argument("user", type=_snowflake, metavar="USER", help="their id on Discord")
    ban.add_argument("--reason", type=_reason, default="", help="for your own list")
    unban = commands.add_parser("unban", help="end it")
    unban.add_argument("user", type=_snowflake, metavar="USER")
    commands.add_parser("bans", help="list who is banned everywhere")
    commands.add_parser("reports", help="list what people have reported, the newest first")
    backup = commands.add_parser("backup", help="copy the database while the bot runs")
    backup.add_argument("file", type=Path, metavar="FILE")
    return parser


def _dollars(text: str) -> MicroUSD:
    try:
        return micro_usd(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("an amount in US dollars, such as 0.024") from error


def _snowflake(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError("an id is a whole number, such as 80351110224678912")
    return int(text)


def _reason(text: str) -> str:
    if len(text) > MAX_REASON:
        raise argparse.ArgumentTypeError(f"a reason has at most {MAX_REASON} characters")
    return " ".join(text.split())


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is between 0 and 65535")
    return port


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
