"""What the results say of one unit of work: a picture, a volume or a refused scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tumortrace.json_csv import Document

Record = dict[str, Any]
"""One record of ``results.json``."""


@dataclass(frozen=True)
class UnitRecord:
    """What the results say of one unit.

    Attributes:
        images: Record of the picture, or one a slice of the volume.
        volume: Record of the volume; None for a picture.
        problems: Faults of a volume's slices or files although there is a mask.
        passed: Path of a mask or overlay of an earlier run, which has no record and is skipped; empty for all others.
    """

    images: tuple[Record, ...] = ()
    volume: Record | None = None
    problems: tuple[str, ...] = ()
    passed: str = ""

    @property
    def main(self) -> Record | None:
        """Record of the unit as a whole, which is counted; None for a file that was skipped."""
        return self.volume or (self.images[0] if self.images else None)

    def to_json(self) -> Document:
        """Return it as values of JSON."""
        return {"images": self.images, "volume": self.volume, "problems": self.problems, "passed": self.passed}

    @classmethod
    def from_json(cls, document: Document) -> UnitRecord:
        """Return the record whose ``to_json`` was written and read; other keys are ignored."""
        images, problems = tuple(document["images"]), tuple(document["problems"])
        return cls(images, document["volume"], problems, document["passed"])
