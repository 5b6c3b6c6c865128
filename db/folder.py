"""The data folder belongs to one bot process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import Code, OperatorError

DATABASE_NAME = "easel.db"


@contextmanager
def exclusive(folder: Path) -> Iterator[Path]:
    """Make the folder if need be and hold its lock; yields the database's path.

    The lock is the kernel's, so that it is gone when the process is, however it ended.
    Raises OperatorError: DATA_DIR_IN_USE where another process holds it, SETTING_INVALID where the folder
    cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "easel.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(
            Code.SETTING_INVALID,
            setting="EASEL_DATA_DIR",
            problem=f"{folder} cannot be written: {error.strerror}",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OperatorError(Code.DATA_DIR_IN_USE, folder=str(folder)) from error
        yield folder / DATABASE_NAME
    finally:
        os.close(lock)


def is_taken(folder: Path) -> bool:
    """Whether a bot holds the folder's lock now; False where there is no such folder."""
    if not (folder / "easel.lock").exists():
        return False
    try:
        with exclusive(folder):
            return False
    except OperatorError:
        return True
