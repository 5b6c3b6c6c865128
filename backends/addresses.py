"""Nothing that a stranger names may lead into a private network.

A name can resolve to a public address when it is checked and to a private one when it is used. So the name is
resolved once, every address is checked, and the connection is made to the checked address itself; TLS still
verifies the name.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import httpx

Resolve = Callable[[str, int], Awaitable[list[str]]]

_TRANSLATED = (
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64, RFC 6052
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64, RFC 8215
    ipaddress.ip_network("2002::/16"),  # 6to4, RFC 3056
    ipaddress.ip_network("2001::/32"),  # Teredo, RFC 4380
)
"""IPv6 networks that carry an IPv4 address inside: it might be a private one."""


class PrivateAddress(httpx.ConnectError):
    """A host resolved to an address that is not on the public internet; nothing was sent."""


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, in the system's order. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def is_public(address: str) -> bool:
    """Whether an address is on the public internet: not private, loopback, link-local, shared or multicast."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast


def is_loopback(host: str) -> bool:
    """Whether a URL's host names this machine, without asking a resolver."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PublicOnlyTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses only.

    Connections must not be kept by the transport inside: it knows them by address, not by name.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, resolve: Resolve = resolve) -> None:
        self._inner = inner
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises PrivateAddress, httpx.ConnectError for a name that does not resolve."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise httpx.ConnectError(f"{host} does not resolve") from error
        if not all(is_public(address) for address in addresses):
            raise PrivateAddress(f"{host} leads to a private address")
        failure: httpx.TransportError = httpx.ConnectError(f"{host} has no address")
        for address in addresses[:4]:
            try:
                return await self._inner.handle_async_request(_aimed_at(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()


def _aimed_at(request: httpx.Request, address: str) -> httpx.Request:
    # The Host header was set from the name when the request was built and is kept.
    return httpx.Request(
        method=request.method,
        url=request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions | {"sni_hostname": request.url.host},
    )
