"""A lock on an output folder: one run at a time writes there."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tumortrace.errors import DataError

LOCK = ".tumortrace.lock"
"""The file that a run locks in its output folder; it is removed when the run ends."""

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other runs of tumortrace out of a folder until the block ends.

    The operating system releases the lock when the process dies, however it dies. On file systems without locks nothing
    is locked.

    Args:
        folder: The output folder; it is made if it does not exist, and removed again if nothing was written.

    Raises:
        DataError: Another run is writing into the folder, or it is a link to a folder that does not exist.
    """
    made = not folder.exists()
    if made and folder.is_symlink():
        raise DataError(f"{folder}: a link that leads nowhere; correct the link, or choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _open_locked(path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(descriptor)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(descriptor)
        if made:
            with suppress(OSError):  # it holds results
                folder.rmdir()


def _open_locked(path: Path) -> int:
    """Open a lock file and lock it; the descriptor holds the lock until it is closed."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
                os.close(descriptor)
                raise DataError(
                    f"{path.parent}: another run of tumortrace is writing there; wait for its end, or choose another "
                    "--out"
                ) from None
            return descriptor  # a file system without locks
        if _is_same_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # another run has ended and removed the file between the two steps: try again


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
