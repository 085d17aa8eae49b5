"""Names of images as annotation files have them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from tumortrace.data.folders import name_of
from tumortrace.data.names import describe_unsafe

_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts this before the name of an uploaded file


def clean_name(name: str) -> str | None:
    """Return the path of an image within its dataset; the last part alone where the path leads elsewhere.

    Returns:
        None if not even the last part can be used.
    """
    # Line breaks are those of the file around the name; a blank may be part of it.
    plain = (name if name.isprintable() else name.strip()).replace("\\", "/")
    if describe_unsafe(plain):
        plain = name_of(plain).rpartition(":")[2]
    return None if describe_unsafe(plain) else PurePosixPath(plain).as_posix()


def names_of_url(url: str) -> list[str]:
    """Return the names that an image may have in a dataset, by its address in Label Studio, the longest first."""
    parts = urlsplit(url) if re.match(r"[a-z0-9]+://|/", url) else None
    path = unquote(parts.path) if parts else url
    local = parse_qs(parts.query).get("d") if parts else None
    plain = (clean_name(local[0] if local else path.lstrip("/")) or "").removeprefix("./")
    last = name_of(plain)
    upload = _UPLOAD.fullmatch(last)
    names = [plain, last, *([upload[1]] if upload else [])]
    return [name for name in dict.fromkeys(names) if name and not describe_unsafe(name)]
