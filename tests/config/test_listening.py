import pytest

from config.listening import LOOPBACK, ListenAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080)),
        ("easel.example:65535", ListenAddress("easel.example", 65535)),
        ("[::1]:0", ListenAddress("::1", 0)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: ListenAddress) -> None:
    assert ListenAddress.parse(text) == address


def test_a_port_alone_is_one_where_there_is_a_default_host() -> None:
    assert ListenAddress.parse("9100", LOOPBACK) == ListenAddress("127.0.0.1", 9100)
    with pytest.raises(ValueError, match="host:port"):
        ListenAddress.parse("9100")


@pytest.mark.parametrize("text", ["", "nowhere", "host:", ":80", "[::1:80", "a b:80", "host:123456", "host:٣", 9100])
def test_nothing_else_is_an_address(text: object) -> None:
    with pytest.raises(ValueError, match="host:port"):
        ListenAddress.parse(text, LOOPBACK)


def test_a_port_that_there_is_not_is_told() -> None:
    with pytest.raises(ValueError, match="65536 is no port"):
        ListenAddress.parse("host:65536")
