"""Where the worker listens, and to whom it refuses to."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backends.worker.serve import listen_tcp, listen_uds, run_worker
from config.loading import load
from domain.errors import Code, OperatorError
from tests.worker.conftest import ROOT

SERVE = """
import sys
from pathlib import Path
from backends.worker.serve import run_worker
from config.loading import load
settings = load({"EASEL_LOCAL_MODEL": "tiny", "EASEL_GRACE_SECONDS": "1"}, Path("/nonexistent"))
sys.exit(run_worker(settings, host=None, port=None, uds=Path(sys.argv[1]), exit_with_stdin=False))
"""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_beyond_loopback_a_token_is_needed(host: str) -> None:
    with pytest.raises(OperatorError) as refused:
        listen_tcp(host, 0, None)
    assert refused.value.parameters["setting"] == "EASEL_WORKER_TOKEN"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_served_without_one(host: str) -> None:
    with listen_tcp(host, 0, None) as listener:
        assert listener.getsockname()[1] > 0


def test_with_a_token_any_address_is_served() -> None:
    with listen_tcp("0.0.0.0", 0, "secret") as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_a_taken_port_is_one_clear_error() -> None:
    with listen_tcp("127.0.0.1", 0, None) as first, pytest.raises(OperatorError) as refused:
        listen_tcp("127.0.0.1", first.getsockname()[1], None)
    assert refused.value.code is Code.SETTING_INVALID


def test_only_we_may_open_the_socket(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with listen_uds(tmp_path / "w.sock"):
            assert stat.S_IMODE((tmp_path / "w.sock").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_socket_left_by_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listen_uds(path).close()


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "w.sock").write_text("precious")
    with pytest.raises(OperatorError):
        listen_uds(tmp_path / "w.sock")
    assert (tmp_path / "w.sock").read_text() == "precious"


@pytest.mark.parametrize("path", ["missing/w.sock", "x" * 120])
def test_an_impossible_path_is_one_clear_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(OperatorError) as refused:
        listen_uds(tmp_path / path)
    assert refused.value.code is Code.SETTING_INVALID


def test_without_a_model_there_is_nothing_to_serve() -> None:
    settings = load({}, Path("/nonexistent"))
    with pytest.raises(OperatorError) as refused:
        run_worker(settings, host=None, port=None, uds=None, exit_with_stdin=False)
    assert refused.value.parameters["setting"] == "EASEL_LOCAL_MODEL"


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    worker = subprocess.Popen([sys.executable, "-c", SERVE, str(path)], cwd=ROOT)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(str(path)):
                assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
    assert not path.exists()
