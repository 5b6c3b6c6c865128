"""What an operator reads where a machine cannot join a cluster. No Ray is started."""

import signal
from collections.abc import Iterator

import pytest

from backends.worker import cluster
from config.settings import Settings
from domain.errors import OperatorError
from tests.ports import free_port
from tests.worker.conftest import ROOT

SETTINGS = Settings.model_validate({"easel_worker_token": "the-first-machine's"})


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Joining takes the process's signals; the tests' process has its own use for them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("address", ["gpu1", "gpu1:", ":6379", "gpu1:port", "gpu1:70000"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(OperatorError) as raised:
        cluster.join_cluster(SETTINGS, ROOT, address)
    assert raised.value.parameters["setting"] == "--join"
    assert "HOST:PORT" in str(raised.value.parameters["problem"])


def test_the_first_machines_token_is_needed() -> None:
    with pytest.raises(OperatorError) as raised:
        cluster.join_cluster(Settings.model_validate({}), ROOT, "127.0.0.1:6379")
    assert raised.value.parameters["setting"] == "EASEL_WORKER_TOKEN"


def test_a_cluster_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "START_SECONDS", 0.0)
    port = free_port()
    with pytest.raises(OperatorError) as raised:
        cluster.join_cluster(SETTINGS, ROOT, f"127.0.0.1:{port}")
    assert f"nobody listens at 127.0.0.1:{port}" in str(raised.value.parameters["problem"])
