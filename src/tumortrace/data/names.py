"""File names: their natural order, their spellings, and which of them are unsafe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath


def natural_key(name: str) -> str:
    """Sort key under which ``y9.jpg`` comes before ``y10.jpg``: numbers by their length first, and before all else."""
    return re.sub(r"[0-9]+", lambda run: f"\0{len(run[0].lstrip('0')):03}{run[0].lstrip('0')}\0{run[0]}", name)


def spelling_key(name: str) -> str:
    """One key for all spellings of a path: slashes, ``./``, letter case, and composed or decomposed letters."""
    plain = PurePosixPath(name.replace("\\", "/")).as_posix()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", plain).casefold())


def stem_of(name: str) -> str:
    """A path without its suffix."""
    return PurePosixPath(name).with_suffix("").as_posix() if PurePosixPath(name).name else name


def make_unique(names: Sequence[str]) -> list[str]:
    """Number names that come again: ``a``, ``a-2``, ``a-3``."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        numbered, count = name, counts.get(name, 1)
        while numbered in taken:
            count += 1
            numbered = f"{name}-{count}"
        counts[name] = count
        taken.add(numbered)
        unique.append(numbered)
    return unique


def describe_unsafe(filename: str) -> str | None:
    """Say why a name from an annotation file or table cannot be used as a path within its folder; None if it can."""
    windows, posix = PureWindowsPath(filename), PurePosixPath(filename)
    if windows.anchor or posix.is_absolute() or ".." in windows.parts:
        return "leads out of the folder"
    return describe_unprintable(filename) or (None if posix.name else "names no file")


def describe_unprintable(name: str) -> str | None:
    """Say why a name cannot be written into text files: it is not UTF-8, or holds control characters."""
    categories = {unicodedata.category(character) for character in name}
    if "Cs" in categories:
        return "is not UTF-8"
    return "holds control characters" if categories & {"Cc", "Zl", "Zp"} else None
