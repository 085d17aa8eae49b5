"""Outcomes of faults, kept in a file: a long run goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tumortrace.files import write_atomically


@dataclass(frozen=True)
class Outcome:
    """Outcome of a command that was disturbed, perhaps several times.

    Attributes:
        faults: Number of faults that met it at work.
        wrong: Faults of its output, a line each.
    """

    faults: int
    wrong: list[str]


def recall(record: Path | None, key: str, attempt: Callable[[], Outcome]) -> Outcome:
    """Return what a record says, or try and add it.

    Args:
        record: JSON file of the outcomes so far, by key; None keeps nothing.
        key: Name of command and fault.
        attempt: Disturbs the command.
    """
    if record is None:
        return attempt()
    known = json.loads(record.read_bytes()) if record.exists() else {}
    if key not in known:
        known[key] = asdict(attempt())
        write_atomically(record, json.dumps(known, indent=1).encode())
    return Outcome(**known[key])
