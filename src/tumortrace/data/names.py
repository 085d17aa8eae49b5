"""File names: their natural order, and which of them are unsafe."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

from tumortrace.errors import printable


def natural_key(name: str) -> str:
    """Sort key under which ``y9.jpg`` comes before ``y10.jpg``: numbers by their length first, and before all else."""
    return re.sub(r"[0-9]+", lambda run: f"\0{len(run[0].lstrip('0')):03}{run[0].lstrip('0')}\0{run[0]}", name)


def is_unsafe(filename: str) -> bool:
    """Whether a name, read as a path of either system, can lead out of its folder, or no file can have it."""
    windows, posix = PureWindowsPath(filename), PurePosixPath(filename)
    leads_out = windows.anchor or posix.is_absolute() or ".." in windows.parts
    return bool(leads_out) or not posix.name or printable(filename) != filename
