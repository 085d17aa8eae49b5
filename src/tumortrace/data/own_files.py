"""Recognition of files that tumortrace wrote, by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tumortrace import __version__
from tumortrace.errors import DataError
from tumortrace.files import append_whole, write_atomically
from tumortrace.json_csv import parse_json, read_json, write_json
from tumortrace.locks import lock_folder

MANIFEST = "conversion.json"
"""Lists the files that a conversion wrote, with the SHA-256 of each."""

PREPARATION = "preparation.json"
"""Lists what ``prepare`` made of a download, in the folder that it made."""

JOURNAL = ".conversion.jsonl"
"""The same list while a conversion runs, a line a file; what a killed conversion leaves behind is known by it."""


Write = Callable[[str, bytes], None]
"""Function that is given the path of a file within the output, and its content."""


@contextmanager
def open_output(folder: Path, planned: Iterable[str]) -> Iterator[Write]:
    """Make a folder ready for files that replace only what tumortrace wrote there; list them when the block ends.

    Args:
        folder: The output folder.
        planned: Paths within the folder that may be written; of those that are not, what an earlier conversion left is
            removed at the end, unless the block is interrupted.

    Yields:
        A function that writes a file. The journal names it first, so that a kill between the two leaves no file that
        the next conversion does not know.

    Raises:
        DataError: Another run writes into the folder; or one of the files is there already, and tumortrace did not
            write it, or it was changed since.
    """
    planned = list(planned)
    with lock_folder(folder):
        known = _read_manifest(folder)
        for name, digest in _read_journal(folder):
            known.setdefault(name, set()).add(digest)
        for name in planned:
            if (folder / name).exists() and _hash(folder / name) not in known.get(name, ()):
                raise DataError(
                    f"{folder / name}: is there already, and tumortrace did not write it, or it was changed since; "
                    "choose another folder, or move the file"
                )
        written: dict[str, str] = {}

        def write(name: str, content: bytes) -> None:
            digest = hashlib.sha256(content).hexdigest()
            line = "\n" + json.dumps([name, digest])  # behind a line that may be cut off
            append_whole(folder / JOURNAL, line.encode())
            known.setdefault(name, set()).add(digest)
            write_atomically(folder / name, content)
            written[name] = digest

        try:
            yield write
            for name in set(planned) - written.keys():
                (folder / name).unlink(missing_ok=True)
        finally:
            files = {name: _hash(folder / name) for name in known.keys() - written.keys()}
            files = {name: digest for name, digest in files.items() if digest in known[name]} | written
            if files:
                document = {"program": "tumortrace", "version": __version__, "files": dict(sorted(files.items()))}
                write_json(folder / MANIFEST, document)
            (folder / JOURNAL).unlink(missing_ok=True)


def _read_manifest(folder: Path) -> dict[str, set[str]]:
    """The files that earlier conversions wrote into a folder, with their SHA-256; none if there is no manifest."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        document = read_json(path)
        if document["program"] == "tumortrace":
            return {str(name): {str(digest)} for name, digest in document["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # another program's file of this name
    raise DataError(f"{path}: another program wrote it; choose another folder, or move the file")


def _read_journal(folder: Path) -> list[tuple[str, str]]:
    """The files that a killed conversion wrote, or was about to, with their SHA-256; its last line may be cut off."""
    path = folder / JOURNAL
    if not path.is_file():
        return []
    files = []
    for line in path.read_bytes().splitlines():
        try:
            name, digest = parse_json(line)
        except (ValueError, TypeError):
            continue
        files.append((str(name), str(digest)))
    return files


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
