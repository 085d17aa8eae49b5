"""The prepared folder while it is written, and the record that stays in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tumortrace import __version__
from tumortrace.data.own_files import PREPARATION
from tumortrace.errors import DataError
from tumortrace.files import append_whole, holds_results, write_atomically
from tumortrace.json_csv import parse_json
from tumortrace.sources.items import Item

JOURNAL = ".preparation.jsonl"
"""Files made so far, a line an item; an interrupted preparation goes on from it."""


@dataclass(frozen=True)
class Record:
    """One item that was made.

    Attributes:
        sources: SHA-256 of each file of the download, by its path there.
        files: SHA-256 of each file that was written, by its path in the prepared folder.
        row: Row of ``pairs.csv``; empty if there is none.
    """

    sources: dict[str, str]
    files: dict[str, str]
    row: dict[str, str]


class Journal:
    """The list of finished items of one source, on disk."""

    def __init__(self, folder: Path, *, source: str) -> None:
        """Read the journal of a folder, or begin one.

        Args:
            folder: The folder that is being written.
            source: Name of the source.

        Raises:
            DataError: The folder holds files, and they are not of a preparation of this source by this version.
        """
        self._folder, self._path = folder, folder / JOURNAL
        self._done: dict[tuple[str, ...], Record] = {}
        head = json.dumps({"program": "tumortrace", "version": __version__, "source": source})
        if not self._path.exists():
            self._done = _read_finished(folder, source)
            if not self._done and holds_results(folder):
                raise DataError(
                    f"{folder}: is there already, and no preparation wrote it; move it, or choose another --out"
                )
            write_atomically(self._path, f"{head}\n".encode())
            return
        first, *lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        if first != head:
            raise DataError(
                f"{folder}: left behind by another preparation ({first or 'its journal is empty'}); remove it, or "
                "choose another --out"
            )
        for line in lines:
            if record := _read_line(line):
                self._done[tuple(record.files)] = record

    def find(self, item: Item, hashes: dict[str, str]) -> Record | None:
        """Return the record of an item whose sources and files are as they were; None if it must be made."""
        record = self._done.get(item.outputs)
        same = record is not None and record.sources == hashes
        return (
            record if record and same and all(map(self._is_there, *zip(*record.files.items(), strict=True))) else None
        )

    def write(self, item: Item, contents: Sequence[bytes], hashes: dict[str, str], row: dict[str, str]) -> Record:
        """Write the files of an item, then note it."""
        for output, content in zip(item.outputs, contents, strict=True):
            write_atomically(self._folder / output, content)
        files = {output: sha256(content) for output, content in zip(item.outputs, contents, strict=True)}
        record = Record(hashes, files, row)
        line = "\n" + json.dumps(asdict(record))  # behind a line that may be cut off
        append_whole(self._path, line.encode())
        return record

    def close(self, records: Sequence[Record]) -> None:
        """Remove the journal, and files of earlier runs that are in no record."""
        kept = {file for record in records for file in record.files}
        for file in {file for record in self._done.values() for file in record.files} - kept:
            (self._folder / file).unlink(missing_ok=True)
        self._path.unlink()

    def _is_there(self, file: str, digest: str) -> bool:
        path = self._folder / file
        return path.is_file() and sha256(path.read_bytes()) == digest


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _read_finished(folder: Path, source: str) -> dict[tuple[str, ...], Record]:
    """The files of a preparation that was killed between its record and its renaming; all of them are made anew."""
    try:
        document = json.loads((folder / PREPARATION).read_bytes())
        if (document["program"], document["source"]) != ("tumortrace", source):
            return {}
        return {tuple(each["sha256"]): Record({}, dict(each["sha256"]), {}) for each in document["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _read_line(line: str) -> Record | None:
    """Read one line of a journal; None for a line that was cut off."""
    try:
        document = parse_json(line)
        return Record(dict(document["sources"]), dict(document["files"]), dict(document["row"]))
    except (ValueError, KeyError, TypeError):
        return None
