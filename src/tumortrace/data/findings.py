"""A finding: one fault of a dataset, with file, cause and remedy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from tumortrace.wording import counted

_NAME_OR_NUMBER = re.compile(r"\S*[./\\]\w\S*|'[^']*'|\d+")

Severity = Literal["left out", "warning"]


@dataclass(frozen=True)
class Finding:
    """One fault of a dataset.

    Attributes:
        kind: Stable identifier of the fault, for example ``"image-missing"``.
        severity: ``"left out"`` if the record or image is not used, ``"warning"`` if it is used all the same.
        file: The file concerned, as the annotation file or the folder names it.
        cause: Fault, with the values that were found.
        remedy: Remedy for the user.
    """

    kind: str
    severity: Severity
    file: str
    cause: str
    remedy: str

    def line(self) -> str:
        """The finding as one line for a terminal or a log."""
        return f"{self.file}: {self.cause} ({self.severity}); {self.remedy}"


def describe_main_cause(findings: Sequence[Finding]) -> str:
    """Say why nothing is usable: the most frequent cause, how often it occurs, its first case and the remedy.

    Files that were left out count before mere warnings. Causes that differ in names and numbers alone are one. Empty
    without findings.
    """
    relevant = [finding for finding in findings if finding.severity == "left out"] or list(findings)
    if not relevant:
        return ""
    first, times = max(group_by_cause(relevant), key=itemgetter(1))
    share = f" ({times} of {len(relevant)} faults are of this kind)" if len(relevant) > 1 else ""
    return f"first: {first.file}: {first.cause}{share}; {first.remedy}"


def describe_none_read(cases: int, findings: Sequence[Finding]) -> str:
    """Say that not one of some cases can be read, and why."""
    cause = describe_main_cause(findings)
    return f"not one of {counted(cases, 'case')} can be read" + (f"; {cause}" if cause else "")


def group_by_cause(findings: Iterable[Finding]) -> list[tuple[Finding, int]]:
    """Return the first finding of each cause, and how many there are of it, in the order of the first ones.

    Causes that differ in names and numbers alone are one.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        cause = _NAME_OR_NUMBER.sub("*", finding.cause)
        groups.setdefault((finding.severity, finding.kind, cause), []).append(finding)
    return [(group[0], len(group)) for group in groups.values()]


def count_by_kind(findings: Iterable[Finding]) -> dict[str, int]:
    """Number of findings of each kind, most frequent first."""
    return dict(Counter(finding.kind for finding in findings).most_common())


def left_out(kind: str, file: str, cause: str, remedy: str) -> Finding:
    """A finding whose record or image is not used."""
    return Finding(kind, "left out", file, cause, remedy)


def warning(kind: str, file: str, cause: str, remedy: str) -> Finding:
    """A finding whose record or image is used all the same."""
    return Finding(kind, "warning", file, cause, remedy)
