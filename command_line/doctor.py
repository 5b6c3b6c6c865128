"""``bot.py doctor``: what the checkup finds, as a table."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backends.configured import configured_backends
from backends.worker.variants import local_models
from cogs.ui import texts
from command_line.terminal import ExitStatus
from config.settings import Settings
from db.folder import is_taken
from jobs import checkup


async def examine(settings: Settings, root: Path, clock: Callable[[], datetime]) -> ExitStatus:
    """Look at everything, and print what was found; BROKEN where something is to be mended.

    ``root``: the folder of ``bot.py``.
    """
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
        async with configured_backends(examined, root) as backends:
            if examined is not settings:
                table.add_row("[green]✔[/]", "[bold]worker[/]", "belongs to the bot that runs; see its log or /metrics")
            async for finding in checkup.examine(examined, backends, texts.of_failure, clock):
                if finding.subject == checkup.NO_BACKENDS and examined is not settings:
                    continue
                mark = "[green]✔[/]" if finding.good else "[red]✘[/]"
                found = escape(finding.found) + (f"\n[yellow]→ {escape(finding.mend)}[/]" if finding.mend else "")
                table.add_row(mark, f"[bold]{escape(finding.subject)}[/]", found)
                sick += not finding.good
    console.print(table)
    console.print("[green]All is well.[/]" if not sick else f"[red]{sick} to mend.[/]")
    return ExitStatus.BROKEN if sick else ExitStatus.FINE
