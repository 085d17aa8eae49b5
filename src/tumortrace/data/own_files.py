"""Recognition of files that tumortrace wrote, by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tumortrace import __version__
from tumortrace.errors import DataError
from tumortrace.files import parse_json, read_json, write_json
from tumortrace.locks import lock_folder

MANIFEST = "conversion.json"
"""Lists the files that a conversion wrote, with the SHA-256 of each."""

PREPARATION = "preparation.json"
"""Lists what ``prepare`` made of a download, in the folder that it made."""

JOURNAL = ".conversion.jsonl"
"""The same list while a conversion runs, a line a file; what a killed conversion leaves behind is known by it."""


@contextmanager
def open_output(folder: Path, planned: Iterable[str]) -> Iterator[Callable[[str], None]]:
    """Make a folder ready for files that replace only what tumortrace wrote there; list them when the block ends.

    Args:
        folder: The output folder.
        planned: Paths within the folder that may be written.

    Yields:
        A function that is called with the path of each file once it is written.

    Raises:
        DataError: Another run writes into the folder; or one of the files is there already, and tumortrace did not
            write it, or it was changed since.
    """
    with lock_folder(folder):
        known = _read_manifest(folder) | _read_journal(folder)
        for name in planned:
            if (folder / name).exists() and _hash(folder / name) != known.get(name):
                raise DataError(
                    f"{folder / name}: is there already, and tumortrace did not write it, or it was changed since; "
                    "choose another folder, or move the file"
                )
        written: dict[str, str] = {}

        def note(name: str) -> None:
            written[name] = _hash(folder / name)
            with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write("\n" + json.dumps([name, written[name]]))  # behind a line that may be cut off

        try:
            yield note
        finally:
            files = {name: digest for name, digest in known.items() if (folder / name).is_file()} | written
            if files:
                document = {"program": "tumortrace", "version": __version__, "files": dict(sorted(files.items()))}
                write_json(folder / MANIFEST, document)
            (folder / JOURNAL).unlink(missing_ok=True)


def _read_manifest(folder: Path) -> dict[str, str]:
    """The files that earlier conversions wrote into a folder, by their SHA-256; none if there is no manifest."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        document = read_json(path)
        if document["program"] == "tumortrace":
            return {str(name): str(digest) for name, digest in document["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # another program's file of this name
    raise DataError(f"{path}: another program wrote it; choose another folder, or move the file")


def _read_journal(folder: Path) -> dict[str, str]:
    """The files that a killed conversion wrote into a folder, by their SHA-256; its last line may be cut off."""
    path = folder / JOURNAL
    if not path.is_file():
        return {}
    files = {}
    for line in path.read_bytes().splitlines():
        try:
            name, digest = parse_json(line)
        except (ValueError, TypeError):
            continue
        files[str(name)] = str(digest)
    return files


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
