"""No name leads into a private network."""

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from aiohttp import web

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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for cdn.example and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=cdn.example", "-addext", "subjectAltName=DNS:cdn.example"]
    files = ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([openssl, "req", "-x509", *curve, *names, *files], cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.mark.parametrize(("name", "trusted"), [("cdn.example", True), ("evil.example", False)])
async def test_tls_verifies_the_name_not_the_address(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool
) -> None:
    monkeypatch.setattr("backends.addresses.is_public", lambda address: True)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_side).start()
        port = runner.addresses[0][1]
        inner = httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=str(certificate)))
        transport = PublicOnlyTransport(inner, Names(["127.0.0.1"]))
        async with httpx.AsyncClient(transport=transport) as client:
            if trusted:
                assert (await client.get(f"https://{name}:{port}/")).text == f"{name}:{port}"
            else:
                with pytest.raises(httpx.ConnectError):
                    await client.get(f"https://{name}:{port}/")
    finally:
        await runner.cleanup()
