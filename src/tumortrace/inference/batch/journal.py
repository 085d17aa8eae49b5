"""The journal of a shard: a line for each finished unit of work.

A shard that was killed goes on from its journal. Each session begins with a line of what its records depend on: inputs,
model and settings. Nothing is ever rewritten: where a unit comes again, the last line counts. The journal of a finished
shard ends with the number of its units.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tumortrace.files import append_whole, cut_off
from tumortrace.inference.results.results_json import not_ours
from tumortrace.json_csv import Document

JOURNAL = "results-{index}-of-{count}.jsonl"
"""Name of the journal of one shard, in the folder of the results."""

_HEAD, _DONE = b'{"session": ', b'{"done": '
_UNIT = re.compile(rb'\{"unit": (\d+), "key": "([0-9a-f]{16})", ')

_LONGEST_END = 200  # bytes of the line by which a shard ends

NOWHERE = -1
"""Place of a line that does not exist."""


@dataclass(frozen=True)
class Session:
    """What the records of a session depend on.

    Attributes:
        inputs: SHA-256 of all units' files and names, in their order: the numbers of units hold for it.
        model: Model, as ``describe_model`` returns it.
        settings: All else that the records depend on, as values of JSON.
    """

    inputs: str
    model: Document
    settings: Document

    @property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that are others for another session."""
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()[:16]

    def gives_same_records(self, other: Session) -> bool:
        """Whether the same picture has the same record under both."""
        return (self.model, self.settings) == (other.model, other.settings)


@dataclass(frozen=True)
class JournalIndex:
    """What a journal holds, and where.

    Attributes:
        path: The journal; it need not exist.
        session: Its last session; None if there is none.
        finished: Whether its last session has finished.
        valid_from: Place of the first line that counts for its last session; lines before it are of other inputs.
        end: Place behind its last whole line.
        lines: Place of the last line of each unit, by its key as a number, of all sessions that give the same records
            as the last one.
    """

    path: Path
    session: Session | None = None
    finished: bool = False
    valid_from: int = 0
    end: int = 0
    lines: dict[int, int] = field(default_factory=dict)

    def is_valid(self, key: str) -> bool:
        """Whether a unit has a line that counts for the last session."""
        return self.lines.get(int(key, 16), NOWHERE) >= self.valid_from


class JournalReader:
    """Lines of a journal, read by their places. Several threads may use it at a time."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Args:
            path: The journal.
        """
        self._file = path.open("rb")
        self._lock = threading.Lock()

    def read(self, place: int) -> Document:
        """Return the line at a place."""
        with self._lock:
            self._file.seek(place)
            line = self._file.readline()
        document: Document = json.loads(line)
        return document

    def close(self) -> None:
        """Close it."""
        self._file.close()


class JournalWriter:
    """The journal of one shard, to which lines are added.

    Attributes:
        count: Number of units that were added.
    """

    def __init__(self, index: JournalIndex, session: Session) -> None:
        """Remove a last line that a killed run cut off.

        Args:
            index: Index of it.
            session: Basis of the records that will be added.
        """
        self.count = 0
        self._session, self._index = session, index
        self._is_finished = index.session == session and index.finished
        self._is_begun = index.session == session and not index.finished
        cut_off(index.path, index.end)

    @property
    def path(self) -> Path:
        """The journal."""
        return self._index.path

    def holds(self, key: str) -> bool:
        """Whether a unit had a line that counts for the session before any was added."""
        return self._index.session == self._session and self._index.is_valid(key)

    def add(self, number: int, key: str, document: Document) -> None:
        """Append the line of a unit.

        Args:
            number: Number of the unit among all, from 0.
            key: Key of the unit, 16 hexadecimal digits.
            document: Values of JSON that stand in the line beside them.

        Raises:
            OSError: The disk is full or fails; the journal is as it was before.
        """
        self._begin()
        self._append({"unit": number, "key": key, **document})
        self.count += 1

    def finish(self, count: int) -> None:
        """Append that the shard has finished, where the journal does not say so.

        Args:
            count: Number of the shard's units.
        """
        if self._is_finished:
            return
        self._begin()
        self._append({"done": count, "session": self._session.digest})
        self._is_finished = True

    def _begin(self) -> None:
        if not self._is_begun:
            self._append({"session": vars(self._session)})
            self._is_begun, self._is_finished = True, False

    def _append(self, document: Document) -> None:
        append_whole(self._index.path, json.dumps(document).encode() + b"\n")


def read_index(path: Path) -> JournalIndex:
    """Read what a journal holds; a last line that a killed run cut off counts for nothing.

    Args:
        path: The journal; it need not exist.

    Raises:
        DataError: Another program wrote it.
    """
    if not path.exists():
        return JournalIndex(path)
    session: Session | None = None
    finished, valid_from, end = False, 0, 0
    lines: dict[int, int] = {}
    for place, line in _read_lines(path):
        end = place + len(line)
        unit = _UNIT.match(line)
        if unit and session:
            lines[int(unit[2], 16)] = place
        elif line.startswith(_HEAD):
            begun = _parse_session(line, path)
            if begun != session:
                valid_from = place
            if session and not begun.gives_same_records(session):
                lines.clear()
            session, finished = begun, False
        elif line.startswith(_DONE) and session:
            finished = True
        else:
            raise not_ours(path)
    return JournalIndex(path, session, finished, valid_from, end, lines)


def read_places(path: Path, *, count: int, units: int) -> array[int]:
    """Return the place of the line of each unit of a shard that counts for its last session.

    Args:
        path: The journal.
        count: Number of all shards.
        units: Number of units of this shard.

    Returns:
        Places by the rank of the unit within the shard; ``NOWHERE`` where there is no line.
    """
    session: Session | None = None
    places = array("q", [NOWHERE]) * units
    for place, line in _read_lines(path):
        unit = _UNIT.match(line)
        if unit and int(unit[1]) // count < units:
            places[int(unit[1]) // count] = place
        elif line.startswith(_HEAD) and session != (session := _parse_session(line, path)):
            places = array("q", [NOWHERE]) * units
    return places


def has_finished(path: Path, session: Session) -> bool:
    """Return whether a shard has finished a session and begun no other since, by the last line of its journal."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_END))
        lines = file.read().splitlines(keepends=True)
    last = lines[-1] if lines else b""
    return last.startswith(_DONE) and last.endswith(f'"session": "{session.digest}"}}\n'.encode())


def list_journals(out: Path) -> list[Path]:
    """Return the journals of all shards in a folder of results."""
    return sorted(out.glob(JOURNAL.format(index="*", count="*")))


def read_journal_masks(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each file and its mask that the records of a journal name, those of earlier sessions too.

    Args:
        path: The journal.

    Raises:
        DataError: Another program wrote it.
    """
    for _, line in _read_lines(path):
        if _UNIT.match(line):
            for image in json.loads(line)["images"]:
                if image["mask"] is not None:
                    yield image["file"], image["mask"]


def _read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each whole line and its place."""
    with path.open("rb") as file:
        place = 0
        for line in file:
            if line.endswith(b"\n"):
                yield place, line
            place += len(line)


def _parse_session(line: bytes, path: Path) -> Session:
    try:
        return Session(**json.loads(line)["session"])
    except (ValueError, TypeError, KeyError):
        raise not_ours(path) from None
