"""A lock on an output folder, for one run or for the shards of one."""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tumortrace.errors import DataError

LOCK = ".tumortrace.lock"
"""The file that a run locks in its output folder; it is removed when the run ends."""

SHARD_LOCK = ".tumortrace-{index}-of-{count}.lock"
"""The file that one shard of a run locks; it holds ``LOCK`` only while it starts and while it merges."""

START_SECONDS = 60.0
"""Longest time that a shard waits for others to start: a thousand may start at once beside a million masks."""

_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0

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
        DataError: Another run is writing into the folder, or nothing can be written there.
    """
    with _made(folder), _locked(folder / LOCK):
        _refuse_shards(folder)
        yield


@contextmanager
def lock_shard(folder: Path, index: int, count: int) -> Iterator[None]:
    """Keep out of a folder all but the other shards of one run until the block ends.

    Args:
        folder: The output folder, as for ``lock_folder``.
        index: Number of the shard, from 1.
        count: Number of all shards.

    Raises:
        DataError: The same shard, one of another number of shards, or a run without shards is writing into the folder;
            or nothing can be written there.
    """
    with _made(folder), ExitStack() as held:
        with hold_folder(folder, seconds=START_SECONDS):
            _refuse_shards(folder, but_of=count)
            held.enter_context(_locked(folder / SHARD_LOCK.format(index=index, count=count)))
        yield


@contextmanager
def hold_folder(folder: Path, *, seconds: float) -> Iterator[None]:
    """Wait until no other run starts in a folder or merges its shards, and keep them waiting until the block ends.

    Args:
        folder: A folder that exists.
        seconds: Longest time to wait.

    Raises:
        DataError: Another run is still writing into the folder then.
    """
    with ExitStack() as held:
        deadline, pause = time.monotonic() + seconds, _PAUSE_SECONDS
        while True:
            try:
                held.enter_context(_locked(folder / LOCK))
                break
            except DataError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all who wait look at once
            pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
        yield


def refuse_unwritable(folder: Path) -> None:
    """Check that files can be written into a folder, or that it can be made; nothing is made.

    Args:
        folder: The output folder. Work that takes minutes calls this before it begins.

    Raises:
        DataError: The folder, or one that it would lie in, is a file, a link to nothing or closed to this user.
    """
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.exists():
        raise DataError(f"{nearest}: a link that leads nowhere; correct the link, or choose another --out")
    if not nearest.is_dir():
        raise DataError(f"{nearest}: a file, where a folder is to be; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DataError(f"{nearest}: no permission to write there; change that, or choose another --out")


def refuse_locked(folder: Path) -> None:
    """Check that no other run is writing into a folder; nothing is made.

    Args:
        folder: The output folder. Work that reads for minutes before it locks the folder calls this before it begins.

    Raises:
        DataError: Another run, or a shard of one, is writing into the folder.
    """
    if (folder / LOCK).exists():
        with _locked(folder / LOCK):  # of a killed run: it goes
            pass
    _refuse_shards(folder)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again if nothing was written."""
    refuse_unwritable(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if made:
            with suppress(OSError):  # it holds results
                folder.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file, and remove it afterwards."""
    descriptor = _open_locked(path)
    try:
        yield
    finally:
        _release(path, descriptor)


def _release(path: Path, descriptor: int) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there
        os.close(descriptor)
    with suppress(OSError):
        path.unlink(missing_ok=True)
    if sys.platform != "win32":
        os.close(descriptor)


def _refuse_shards(folder: Path, *, but_of: int = 0) -> None:
    """Refuse a folder in which shards are running, those of one number of shards excepted; ``LOCK`` is held."""
    for path in folder.glob(SHARD_LOCK.format(index="*", count="*")):
        if path.name.endswith(f"-of-{but_of}.lock"):
            continue
        with _locked(path):  # of a killed shard: it goes
            pass


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
                    f"{path.parent}: {_describe_holder(path)} is writing there; wait for its end, or choose another "
                    "--out"
                ) from None
            return descriptor  # a file system without locks
        if _is_same_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # another run has ended and removed the file between the two steps: try again


def _describe_holder(path: Path) -> str:
    if path.name == LOCK:
        return "another run of tumortrace"
    index, _, count = path.name.removeprefix(".tumortrace-").removesuffix(".lock").partition("-of-")
    return f"shard {index} of {count}"


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
