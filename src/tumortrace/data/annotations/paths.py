"""Names of images as annotation files have them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from posixpath import normpath
from urllib.parse import parse_qs, unquote, urlsplit

from tumortrace.data.folders import name_of
from tumortrace.data.names import describe_unsafe

_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts this before the name of an uploaded file


def names_of_path(name: str) -> list[str]:
    """Return the names that an image may have in a dataset, by its path in an annotation file, the longest first.

    Returns:
        The path; where it leads elsewhere, as on another computer, what of it can lie in a dataset, and its last part.
        Empty if nothing can.
    """
    # Line breaks are those of the file around the name; a blank may be part of it.
    plain = (name if name.isprintable() else name.strip()).replace("\\", "/")
    if not describe_unsafe(plain):
        return [PurePosixPath(plain).as_posix()]
    path = PureWindowsPath(normpath(plain))
    parts = [part for part in path.relative_to(path.anchor).parts if part != ".."]
    names = dict.fromkeys(("/".join(parts), *parts[-1:]))
    return [each for each in names if not describe_unsafe(each)]


def names_of_url(url: str) -> list[str]:
    """Return the names that an image may have in a dataset, by its address in Label Studio, the longest first."""
    parts = urlsplit(url) if re.match(r"[a-z0-9]+://|/", url) else None
    path = unquote(parts.path) if parts else url
    local = parse_qs(parts.query).get("d") if parts else None
    plain = next(iter(names_of_path(local[0] if local else path.lstrip("/"))), "")
    last = name_of(plain)
    upload = _UPLOAD.fullmatch(last)
    names = [plain, last, *([upload[1]] if upload else [])]
    return [name for name in dict.fromkeys(names) if name and not describe_unsafe(name)]
