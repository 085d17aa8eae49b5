"""The folder of what is under way in a run on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkFolder:
    """What a run keeps until its results are written; all nodes share it.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def listing(self) -> Path:
        """The list of the pictures."""
        return self.path / "pictures.jsonl"

    @property
    def records(self) -> Path:
        """The folder of the records."""
        return self.path / "records"

    @property
    def begun(self) -> Path:
        """The folder of what was begun, by which a worker that died is noticed."""
        return self.path / "begun"

    @property
    def writing(self) -> Path:
        """The folder of what each worker is writing, in a folder of its own."""
        return self.path / "writing"
