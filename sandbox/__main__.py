"""``python -m sandbox --port N``: run the sandbox until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from sandbox.server import TOKEN, Sandbox


async def serve(port: int, token: str, exit_with_stdin: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Sandbox(port, token=token) as sandbox:
            sys.stdout.write(f"sandbox ready {sandbox.url}\n")
            sys.stdout.flush()
            if exit_with_stdin:
                reader = asyncio.StreamReader()
                await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
                watch = loop.create_task(_read_to_end(reader, stop))
                await stop.wait()
                watch.cancel()
            else:
                await stop.wait()
    except OSError as error:
        sys.stderr.write(f"sandbox: cannot listen on port {port}: {error.strerror}\n")
        return 1
    return 0


async def _read_to_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while await reader.read(4096):
        pass
    stop.set()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A Discord of your own on loopback.")
    parser.add_argument("--port", type=int, default=8642, help="0 picks a free one (default: 8642)")
    parser.add_argument("--token", default=TOKEN, help="the bot token that is accepted")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    return asyncio.run(serve(arguments.port, arguments.token, arguments.exit_with_stdin))


if __name__ == "__main__":
    sys.exit(main())
