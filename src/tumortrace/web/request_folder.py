"""The folder of one request, and the removal of those that a killed server left."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tumortrace.web.engine import ABANDONED_SECONDS, Place

PREFIX = "tumortrace-request-"
"""Begin of the names of these folders, in the system's folder for temporary files."""


@asynccontextmanager
async def request_folder(place: Place) -> AsyncIterator[Path]:
    """Make a folder for the files of one request, and remove it at the end, however that comes.

    Args:
        place: Place of the request. Its work in threads cannot be stopped, but it ends soon without its
            files. What it may write until then is removed after it.
    """
    folder, lock = await asyncio.to_thread(_make_folder)
    try:
        yield folder
    finally:
        await asyncio.shield(_remove(folder, lock, place.running))  # shielded: whoever waits for it may be cancelled


def remove_abandoned() -> int:
    """Remove the folders that killed servers left, and return their number.

    A folder is removed if it belongs to this user and nobody holds its lock: the operating system releases the lock
    when a process dies, however it dies. Where folders cannot be locked (Windows, some network folders) all stay.
    """
    removed = 0
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with suppress(BlockingIOError):
            lock = _lock(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                removed += not folder.exists()
    return removed


async def _remove(folder: Path, lock: int | None, running: set[Future[Any]]) -> None:
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    left = [asyncio.wrap_future(future) for future in running.copy()]
    if left:
        await asyncio.wait(left, timeout=ABANDONED_SECONDS)
        for future in running.copy():
            future.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def _make_folder() -> tuple[Path, int | None]:
    """Make a folder; return it with the descriptor that locks it, which is None where folders cannot be locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        with suppress(BlockingIOError):  # a server that starts has found it before it was locked, and removes it
            lock = _lock(folder)
            if folder.exists():
                return folder, lock
            if lock is not None:
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder of this user; return None if that is not possible.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    if sys.platform == "win32":
        return None
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        pass
    os.close(descriptor)
    return None
