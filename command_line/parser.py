"""What can be typed after ``bot.py``."""

import argparse
from pathlib import Path
from typing import Final

from domain.money import MicroUSD, micro_usd
from domain.safety import MAX_REASON

SANDBOX_PORT: Final = 8642


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments; ``command`` is the name of the one that was given."""
    typed = argparse.ArgumentParser(prog="bot.py", description="Easel: a Discord bot that paints with HiDream.")
    commands = typed.add_subparsers(dest="command", required=True)
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
    return typed


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
