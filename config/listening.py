"""Where the bot itself listens."""

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BeforeValidator

LOOPBACK = "127.0.0.1"
_HOST_AND_PORT = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host, as sockets take it, and a port of 0 (any that is free) to 65535."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: object, default_host: str | None = None) -> Self:
        """Read ``host:port``, with brackets around an IPv6 address; a port alone where there is a default host.

        Raises ValueError.
        """
        found = _HOST_AND_PORT.fullmatch(text) if isinstance(text, str) else None
        host = None if found is None else found[1] or default_host
        if found is None or host is None:
            raise ValueError("it is not of the form host:port")
        port = int(found[2])
        if port > 65535:
            raise ValueError(f"{port} is no port: they end at 65535")
        return cls(host.strip("[]"), port)


PublicAddress = Annotated[ListenAddress, BeforeValidator(ListenAddress.parse)]
"""Says on which of the machine's addresses."""
PrivateAddress = Annotated[ListenAddress, BeforeValidator(lambda text: ListenAddress.parse(text, LOOPBACK))]
"""On loopback where only a port is given."""
