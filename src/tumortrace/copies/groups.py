"""Groups of slices that must stay on one side of a split."""

from __future__ import annotations

from collections.abc import Sequence

from tumortrace.data.components import link


def name_groups(firsts: Sequence[int]) -> tuple[str, ...]:
    """Names such as ``g0007``, numbered from 1 in the order of the groups' first members.

    Args:
        firsts: Firsts from ``link``.
    """
    numbers = {first: number for number, first in enumerate(sorted(set(firsts)), start=1)}
    width = max(4, len(str(len(numbers))))
    return tuple(f"g{numbers[first]:0{width}d}" for first in firsts)


def link_patients(patients: Sequence[str | None]) -> list[tuple[int, int]]:
    """Links between items of one patient; None and empty names link nothing."""
    first_of: dict[str, int] = {}
    links = []
    for index, patient in enumerate(patients):
        if patient:
            links.append((first_of.setdefault(patient, index), index))
    return links


def join_patients(groups: Sequence[str], patients: Sequence[str | None]) -> tuple[str, ...]:
    """Join the groups of copies that show one patient, whose slices are not independent either.

    Args:
        groups: Name of each item's group of copies.
        patients: Patient of each item; None or empty if unknown.

    Returns:
        For each item the name of the first group that is joined to its own.
    """
    return tuple(groups[first] for first in link(len(groups), link_patients(groups) + link_patients(patients)))
