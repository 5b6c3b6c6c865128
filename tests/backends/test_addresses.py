"""No name leads into a private network."""

import httpx
import pytest

from backends.addresses import PrivateAddress, PublicOnlyTransport, is_loopback, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "ff02::1",
        "not an address",
    ],
)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("example.org")


class Recorder(httpx.AsyncBaseTransport):
    """Stands where the network would be: no public address can be reached in a test."""

    def __init__(self, *dead: str) -> None:
        self.requests: list[httpx.Request] = []
        self._dead = dead

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host in self._dead:
            raise httpx.ConnectError("dead")
        return httpx.Response(200, text="hello")


class Names:
    """A resolver that answers from a list, in turn."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = iter(answers)

    async def __call__(self, host: str, port: int) -> list[str]:
        return next(self._answers)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_the_connection_goes_to_the_checked_address_under_the_name(recorder: Recorder) -> None:
    transport = PublicOnlyTransport(recorder, Names(["1.1.1.1"], ["127.0.0.1"]))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("https://cdn.example/a.png")
    (request,) = recorder.requests
    assert str(request.url) == "https://1.1.1.1/a.png"
    assert request.headers["Host"] == "cdn.example"
    assert request.extensions["sni_hostname"] == "cdn.example"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"]])
async def test_one_private_address_is_enough_to_refuse(recorder: Recorder, addresses: list[str]) -> None:
    async with httpx.AsyncClient(transport=PublicOnlyTransport(recorder, Names(addresses))) as client:
        with pytest.raises(PrivateAddress):
            await client.get("https://cdn.example/a.png")
    assert recorder.requests == []


async def test_the_second_address_is_tried() -> None:
    recorder = Recorder("2606:4700:4700::1111")
    transport = PublicOnlyTransport(recorder, Names(["2606:4700:4700::1111", "1.1.1.1"]))
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("https://cdn.example/")).text == "hello"
    assert [request.url.host for request in recorder.requests] == ["2606:4700:4700::1111", "1.1.1.1"]


async def test_a_name_without_an_address(recorder: Recorder) -> None:
    async with httpx.AsyncClient(transport=PublicOnlyTransport(recorder, Names([]))) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://cdn.example/")


async def test_a_name_that_does_not_resolve(recorder: Recorder) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with httpx.AsyncClient(transport=PublicOnlyTransport(recorder, resolve)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://cdn.example/")
