"""Connected components of linked items."""

from __future__ import annotations

from collections.abc import Iterable


def link(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Find the connected components of items.

    Args:
        count: Number of items.
        links: Pairs of indices.

    Returns:
        For each item the index of its component's first member.
    """
    parents = list(range(count))

    def find(item: int) -> int:
        while parents[item] != item:
            parents[item] = parents[parents[item]]  # keeps the paths short
            item = parents[item]
        return item

    for first, second in links:
        low, high = sorted((find(first), find(second)))
        parents[high] = low
    return [find(item) for item in range(count)]
