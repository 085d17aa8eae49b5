"""Coverage of the intervals where groups are of unequal size.

``python -m studies.unequal_groups`` simulates sets of slices, whose groups (patients) differ in their mean Dice and in
their number of slices, and counts how often the 95 % interval holds the true mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tumortrace.cli import run_script
from tumortrace.metrics.intervals import count_effective_groups, mean_interval

SETS = 1000
MEDIAN_SIZE = 8
SPREADS = (0.0, 0.6, 1.0, 1.4)
"""Standard deviations of the logarithm of the group sizes."""


def main() -> None:
    """Print a row for each number of groups and spread of their sizes."""
    print("groups,spread,effective groups,coverage,width")
    for count in (20, 40):
        for spread in SPREADS:
            rng = np.random.default_rng(0)
            truth = np.concatenate([values for values, _ in _draw(rng, 40_000, spread, sets=1)]).mean()
            hits, widths, effective = [], [], []
            for values, groups in _draw(rng, count, spread, sets=SETS):
                low, high = mean_interval(values, groups)
                hits.append(low <= truth <= high)
                widths.append(high - low)
                effective.append(count_effective_groups(groups))
            print(f"{count},{spread},{np.mean(effective):.1f},{np.mean(hits):.3f},{np.mean(widths):.3f}")


def _draw(
    rng: np.random.Generator, count: int, spread: float, *, sets: int
) -> Iterator[tuple[NDArray[np.float64], list[str]]]:
    """Draw sets of slices: a group's mean is skewed like Dice, one group in ten is mostly missed."""
    for _ in range(sets):
        sizes = np.maximum(1, np.round(MEDIAN_SIZE * np.exp(rng.normal(0, spread, count)))).astype(int)
        means = rng.beta(5, 1.5, count) * np.where(rng.random(count) < 0.1, 0.2, 1.0)
        values = np.clip(np.repeat(means, sizes) + rng.normal(0, 0.15, sizes.sum()), 0, 1)
        yield values, np.repeat(np.arange(count).astype(str), sizes).tolist()


if __name__ == "__main__":
    run_script(main)
