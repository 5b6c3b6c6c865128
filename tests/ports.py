"""Ports for what has to be told where to listen before it starts, or listens there again after its death."""

import random
import socket
from contextlib import ExitStack
from typing import Final

# Linux hands out 32768 to 60999 unasked (ip_local_port_range): below, no connection takes a port meanwhile.
_LOWEST: Final = 20_000
_HIGHEST: Final = 32_000


def free_port(together: int = 1) -> int:
    """The first of so many ports in a row at which nobody listens. Drawn by chance: several processes run tests."""
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(_LOWEST, _HIGHEST)
        try:
            with ExitStack() as tried:
                for one in range(port, port + together):
                    tried.enter_context(socket.create_server(("", one)))
        except OSError:
            continue
        return port
