"""Values of tags: numbers, words, and the functional groups of a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.dataelem import RawDataElement

LONGEST_TEXT = 1024
"""Bytes of the longest number or word that is read, of several values together."""


def _get_short(dataset: Dataset, keyword: str) -> object:
    """Return the value of a tag; None if it is missing or too long for a number or word, and then it is not parsed."""
    if keyword not in dataset:
        return None
    raw = dataset.get_item(keyword)
    if isinstance(raw, RawDataElement) and raw.value is not None and len(raw.value) > LONGEST_TEXT:
        return None
    return dataset.get(keyword)


def read_text(dataset: Dataset, keyword: str) -> str:
    """Return the value of a tag as a text; empty if it is missing."""
    value = _get_short(dataset, keyword)
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Lookup:
    """Values of one frame: of its own functional groups, else of the shared ones, else of the file.

    Attributes:
        header: Tags of the file.
        groups: Functional groups of the frame, then the shared ones.
    """

    header: Dataset
    groups: Sequence[Dataset]

    @classmethod
    def of_frame(cls, header: Dataset, index: int) -> Lookup:
        """Return the values of the frame of an index."""
        own = _read_groups(header, "PerFrameFunctionalGroupsSequence", index)
        return cls(header, [*own, *_read_groups(header, "SharedFunctionalGroupsSequence", 0)])

    def item(self, sequence: str) -> Dataset:
        """Return the first item of a sequence of the groups; the file's tags if none has it."""
        for group in self.groups:
            items = group.get(sequence)
            if items:
                return items[0]  # type: ignore[no-any-return]
        return self.header

    def numbers(self, sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return finite numbers of a tag within a sequence of the groups, else of the file; see ``read_numbers``."""
        own = read_numbers(self.item(sequence), keyword, count)
        return read_numbers(self.header, keyword, count) if own is None else own

    def whole(self, sequence: str, keyword: str, plain: str) -> int | None:
        """Return a whole number of a tag within a sequence of the groups, else of another tag of the file."""
        own = read_number(self.item(sequence), keyword)
        return read_number(self.header, plain) if own is None else own

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the values of a tag of the frame's type."""
        return next((words for group in self.groups for words in _frame_types(group, keyword)), ())


def _read_groups(header: Dataset, keyword: str, index: int) -> list[Dataset]:
    items = header.get(keyword)
    return [items[index]] if items and index < len(items) else []


def _frame_types(group: Dataset, keyword: str) -> list[tuple[str, ...]]:
    return [
        read_words(items[0], keyword)
        for sequence in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
        if (items := group.get(sequence))
    ]


def read_number(dataset: Dataset, keyword: str) -> int | None:
    """Return the value of a tag as a whole number; None if missing, of several values, or no whole number."""
    numbers = read_numbers(dataset, keyword, 1)
    return int(numbers[0]) if numbers and numbers[0] == int(numbers[0]) else None


def read_numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return a tag's values as finite numbers; None if missing, of another count (0: any from 1), or no numbers."""
    try:
        value = _get_short(dataset, keyword)
        values = [value] if isinstance(value, int | float | str) else list(value or [])  # type: ignore[call-overload]
        numbers = tuple(float(each) for each in values)
    except Exception:  # noqa: BLE001 - what is no number is unknown
        return None
    if not numbers or (count and len(numbers) != count) or not all(map(math.isfinite, numbers)):
        return None
    return numbers


def read_words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a tag as texts; empty if it is missing."""
    value = _get_short(dataset, keyword)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(map(str, value))  # type: ignore[call-overload]
