"""Who waits for an answer waits for nobody's picture: what computes or reads a disk does so off the event loop."""

import hashlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from cogs.answers import ARRIVED
from domain.job import JobState
from sandbox import Sandbox
from sandbox.interactions import CallbackType
from tests.doubles import Paint, ScriptedBackend, Steps
from tests.e2e.conftest import PATIENCE_SECONDS, Bot
from tests.e2e.test_main_road import picture

ROOT = Path(__file__).parents[2]
OURS = frozenset({"backends", "cogs", "config", "db", "domain", "jobs"})
MUCH_TO_HASH = 4096
_DISK = frozenset({"open", "os.listdir", "os.scandir", "os.mkdir", "os.rmdir", "os.rename", "os.remove", "os.truncate"})
"""Audit events: https://docs.python.org/3/library/audit_events.html."""


class Watch:
    """Notes what the bot's own code does on one thread that belongs on another."""

    def __init__(self, folder: Path) -> None:
        self.found: list[str] = []
        self._folder = str(folder)
        self._thread = threading.get_ident()

    def touched(self, event: str, path: object) -> None:
        """The disk."""
        if str(path).startswith(self._folder):
            self.did(f"{event} {path}")

    def did(self, what: str) -> None:
        """Something that takes long."""
        if threading.get_ident() == self._thread and (place := _ours()) is not None:
            self.found.append(f"{place}: {what}")


def _ours() -> str | None:
    """Where in the bot's code we are; None where the test or the sandbox is nearer."""
    frame = sys._getframe()
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        path = Path(frame.f_code.co_filename)
        if path == Path(__file__) or ROOT not in path.parents or ".venv" in path.parts:
            continue
        room = path.relative_to(ROOT).parts[0]
        return f"{path.relative_to(ROOT)}:{frame.f_lineno}" if room in OURS else None
    return None


_watches: list[Watch] = []


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    # A hook stays for as long as the process does.
    for watch in _watches:
        if event in _DISK and arguments:
            watch.touched(event, arguments[0])


sys.addaudithook(_audited)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watches this thread's event loop."""
    watch = Watch(tmp_path / "data")

    def noted(what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            watch.did(what)
            return original(*values, **named)

        return call

    def sha256(data: bytes = b"", **named: Any) -> Any:
        if len(data) > MUCH_TO_HASH:
            watch.did("hashing")
        return original_sha256(data, **named)

    original_sha256 = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", sha256)
    for owner, name in (
        (Image, "open"),
        (Image, "new"),
        (Image.Image, "save"),
        (Image.Image, "resize"),
        (Image.Image, "convert"),
        (ImageFile.ImageFile, "load"),
        # These are in no audit event.
        (shutil, "disk_usage"),
        (Path, "stat"),
    ):
        monkeypatch.setattr(owner, name, noted(f"{owner.__name__}.{name}", getattr(owner, name)))
    _watches.append(watch)
    yield watch
    _watches.remove(watch)


def test_what_is_watched_for_is_seen(watch: Watch, bot_like: Callable[[], None]) -> None:
    bot_like()
    assert [found.partition(": ")[2].partition(" ")[0] for found in watch.found] == ["open", "PIL.Image.new", "hashing"]


@pytest.fixture
def bot_like(tmp_path: Path) -> Callable[[], None]:
    """A function that does all of it, and that looks as if it were the bot's."""
    source = "open(path, 'w').close(); Image.new('L', (1, 1)); hashlib.sha256(bytes(much))"
    code = compile(source, str(ROOT / "jobs" / "pictures.py"), "exec")
    known = {"path": str(tmp_path / "data"), "Image": Image, "hashlib": hashlib, "much": MUCH_TO_HASH + 1}
    return lambda: exec(code, known)


async def test_no_picture_no_hash_and_no_file_is_worked_on_where_answers_are_given(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend, watch: Watch
) -> None:
    alice = sandbox.user("alice")
    painter.script = (Steps(2), Paint())
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", count=4)
    first = await bot.result()
    details = await (await alice.click(first, "Details")).response()
    asked = await alice.click(details, "Original")
    await sandbox.wait_until(lambda: bool(asked.followups), what="the original")
    await alice.slash(sandbox.studio, "edit", prompt="make it blue", image=picture())
    await bot.result(after=first)
    await (await alice.slash(sandbox.studio, "history")).response()
    for job in await bot.jobs_of(alice.id):
        await bot.until(job.id, JobState.POSTED)
    assert watch.found == []


async def test_the_time_before_the_work_begins_counts_as_well(
    bot: Bot, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = type(bot.client.tree).interaction_check

    async def slow_check(tree: Any, interaction: Any) -> bool:
        passed = await check(tree, interaction)
        interaction.extras[ARRIVED] -= PATIENCE_SECONDS
        return passed

    monkeypatch.setattr(type(bot.client.tree), "interaction_check", slow_check)
    asked = await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
    assert await asked.acknowledged() is CallbackType.DEFERRED_MESSAGE
    await bot.result()
