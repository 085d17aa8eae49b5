"""Signatures kept between runs, in a file in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.signatures import METHOD, WINDOWS, Signature
from tumortrace.copies.similarity import SIDE_PX

SWITCH = "TUMORTRACE_CACHE"
"""Environment variable that turns the cache off where it is ``off``."""

MOST_SLICES = 30_000
"""Signatures that are kept, 37 kB each. Beyond it the ones that were not used for longest are removed."""

Measure = Callable[[NDArray[Any]], Signature]
"""Function such as ``measure_signature``."""

_AT_A_TIME = 256  # signatures that are written in one transaction: an interrupted run loses no more
_PATIENCE_S = 5.0  # for another process that is writing
_SHAPE = len(WINDOWS), SIDE_PX, SIDE_PX
_WINDOWS_B, _BOXES_B, _CUTS_B = 2 * int(np.prod(_SHAPE)), 8 * 4 * len(WINDOWS), 4 * 4
_TABLE = "CREATE TABLE IF NOT EXISTS signatures (key BLOB PRIMARY KEY, used INTEGER NOT NULL, content BLOB NOT NULL)"

_FORGET = "DELETE FROM signatures WHERE key IN (SELECT key FROM signatures ORDER BY used DESC LIMIT -1 OFFSET ?)"


@contextmanager
def open_signatures(measure: Measure) -> Iterator[Measure]:
    """Yield a function that measures signatures, and remembers them by the content of the slice.

    The cache is an SQLite file, readable by its owner alone. It is a convenience: where it is turned off, cannot be
    written or is damaged, signatures are measured anew.

    Args:
        measure: Function that measures what is not remembered: ``measure_signature``, or the same done elsewhere.
    """
    connection = None if os.environ.get(SWITCH, "").strip().lower() == "off" else _connect()
    if connection is None:
        yield measure
        return
    cache = _Cache(connection, measure)
    try:
        yield cache.measure
    finally:
        cache.close()


def find_cache_folder() -> Path:
    """Return the folder for files that may be removed at any time, which need not exist.

    It is ``tumortrace`` in ``$XDG_CACHE_HOME`` where that is set, or else in the system's usual place.

    Raises:
        RuntimeError: The usual place is below the home folder, and the user has none.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the standard has relative paths ignored
        return given / "tumortrace"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "tumortrace" / "cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tumortrace"


def _connect() -> sqlite3.Connection | None:
    """Open the file, made anew if it is damaged; None if that is impossible."""
    with suppress(OSError, RuntimeError, sqlite3.OperationalError):  # no home, no such place, in use, or a full disk
        path = find_cache_folder() / "signatures.sqlite"
        try:
            return _open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            path.unlink()
            return _open(path)
    return None


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=_PATIENCE_S, check_same_thread=False)
    connection.execute("PRAGMA auto_vacuum = FULL")
    connection.execute(_TABLE)
    return connection


class _Cache:
    """An open cache. Several threads may measure at a time."""

    def __init__(self, connection: sqlite3.Connection, measure: Measure) -> None:
        self._connection = connection
        self._measure = measure
        self._lock = Lock()
        self._fresh: dict[bytes, bytes] = {}
        self._used: list[bytes] = []

    def measure(self, pixels: NDArray[Any]) -> Signature:
        """Look the signature of a slice up, or measure it."""
        key = _name_content(pixels)
        known = self._look_up(key)
        if known is not None:
            return known
        signature = self._measure(pixels)
        with self._lock:
            self._fresh[key] = _pack(signature)
            if len(self._fresh) >= _AT_A_TIME:
                self._write()
        return signature

    def close(self) -> None:
        """Write what is new, remove what was not used for longest, and close the file."""
        with self._lock:
            self._write()
            with suppress(sqlite3.Error), self._connection:
                now = time.time_ns()
                self._connection.executemany(
                    "UPDATE signatures SET used = ? WHERE key = ?", [(now, key) for key in self._used]
                )
                self._connection.execute(_FORGET, (MOST_SLICES,))
            self._connection.close()

    def _look_up(self, key: bytes) -> Signature | None:
        with self._lock:
            try:
                row = self._connection.execute("SELECT content FROM signatures WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error:
                return None
            if row is None:
                return None
            self._used.append(key)
        return _unpack(row[0])

    def _write(self) -> None:
        now = time.time_ns()
        rows = [(key, now, content) for key, content in self._fresh.items()]
        self._fresh.clear()
        with suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO signatures VALUES (?, ?, ?)", rows)


def _name_content(pixels: NDArray[Any]) -> bytes:
    """SHA-256 of the slice and of the way in which it is measured."""
    digest = hashlib.sha256(repr((METHOD, cv2.__version__, pixels.shape, str(pixels.dtype))).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _pack(signature: Signature) -> bytes:
    return signature.windows.tobytes() + signature.boxes_xywh.tobytes() + signature.cut_ltrb.tobytes()


def _unpack(content: object) -> Signature | None:
    """The signature in an entry; None if it is not as long as it should be."""
    if not isinstance(content, bytes) or len(content) != _WINDOWS_B + _BOXES_B + _CUTS_B:
        return None
    windows = np.frombuffer(content, np.float16, count=_WINDOWS_B // 2).reshape(_SHAPE)
    boxes = np.frombuffer(content, np.float64, count=_BOXES_B // 8, offset=_WINDOWS_B).reshape(-1, 4)
    return Signature(windows, boxes, np.frombuffer(content, np.float32, offset=_WINDOWS_B + _BOXES_B))
