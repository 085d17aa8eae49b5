"""A finding: one fault of a dataset, with the file, its cause and the remedy. Nothing is left out without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["left out", "warning"]


@dataclass(frozen=True)
class Finding:
    """One fault of a dataset.

    Attributes:
        kind: Stable identifier of the fault, for example ``"image-missing"``.
        severity: ``"left out"`` if the record or image is not used, ``"warning"`` if it is used all the same.
        file: The file concerned, as the annotation file or the folder names it.
        cause: What is wrong, with the values that were found.
        remedy: What the user can do about it.
    """

    kind: str
    severity: Severity
    file: str
    cause: str
    remedy: str

    def line(self) -> str:
        """The finding as one line for a terminal or a log."""
        return f"{self.file}: {self.cause} ({self.severity}); {self.remedy}"


def count_by_kind(findings: Iterable[Finding]) -> dict[str, int]:
    """Number of findings of each kind, most frequent first."""
    return dict(Counter(finding.kind for finding in findings).most_common())


def left_out(kind: str, file: str, cause: str, remedy: str) -> Finding:
    """A finding whose record or image is not used."""
    return Finding(kind, "left out", file, cause, remedy)
