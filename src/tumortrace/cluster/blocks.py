"""Blocks of units that are to be segmented: numbers and places, no pixels."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tumortrace.cluster.listing import read_listing, write_listing
from tumortrace.inference.batch.units import Unit, Units, count_slices


@dataclass(frozen=True)
class Block:
    """Units that one worker segments at once, and again if it is killed. It may be pickled.

    Attributes:
        numbers: Their numbers in the order of a run.
        units: Volumes or refused scans; empty for pictures.
        place: Begin and end of the lines of pictures in the listing.
    """

    numbers: array[int]
    units: tuple[Unit, ...] = ()
    place: tuple[int, int] = (0, 0)

    def read(self, listing: Path) -> Sequence[Unit]:
        """Return the units.

        Raises:
            DataError: As ``read_listing``.
        """
        return self.units or read_listing(listing, *self.place)


def divide_units(units: Units, numbers: array[int], *, listing: Path, size: int) -> list[Block]:
    """Divide units into blocks of refused scans, of pictures and of volumes; a long volume is a block of its own.

    Args:
        units: All units of a run.
        numbers: Numbers of those that are to be segmented, rising.
        listing: File for their pictures, which all nodes see; it is written anew.
        size: Number of pictures, or of slices of volumes, of a block.

    Raises:
        OSError: The listing cannot be written.
    """
    pictures = units.inputs.pictures
    first = len(units.inputs.refused)
    low, high = bisect_left(numbers, first), bisect_left(numbers, first + len(pictures))
    parts = [numbers[start : min(start + size, high)] for start in range(low, high, size)]
    places = write_listing(listing, ([pictures[number - first] for number in part] for part in parts))
    listed = [Block(part, place=place) for part, place in zip(parts, pairwise(places), strict=True)]
    return [*_hold(units, numbers[:low], size), *listed, *_hold(units, numbers[high:], size)]


def _hold(units: Units, numbers: array[int], size: int) -> Iterator[Block]:
    """Yield blocks that hold their units."""
    some = list[Unit]()
    for end, number in enumerate(numbers, 1):
        some.append(units[number])
        if count_slices(some) >= size or end == len(numbers):
            yield Block(numbers[end - len(some) : end], tuple(some))
            some.clear()
