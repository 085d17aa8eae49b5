"""Means over slices, with their intervals over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tumortrace.metrics.intervals import mean_interval


def describe_mean(values: Sequence[float], groups: Sequence[str], *, digits: int = 3, shares: bool = True) -> str:
    """Return a mean with its 95 % interval, ``0.753 (0.716 to 0.787)``.

    Args:
        values: One value for each slice, at least one; NaN is omitted.
        groups: Group of each slice, over which the interval is computed; of a single one it is ``nan to nan``.
        digits: Digits after the point.
        shares: Whether the values lie between 0 and 1.
    """
    low, high = mean_interval(values, groups, shares=shares)
    return f"{np.nanmean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def compare_dices(
    dices: Mapping[str, float], before: Mapping[str, float], group_of: Mapping[str, str]
) -> dict[str, float]:
    """Return number, mean Dice and paired gain of slices, with 95 % intervals over groups.

    Args:
        dices: Dice of each slice, by case id, at least one.
        before: Dice by the model that they are compared with, of the same slices.
        group_of: Group of each slice.

    Returns:
        ``n``, ``dice`` between ``low`` and ``high``, and ``gain`` between ``gain_low`` and ``gain_high``.
    """
    groups = [group_of[case_id] for case_id in dices]
    now = np.array([*dices.values()])
    gains = now - np.array([before[case_id] for case_id in dices])
    low, high = mean_interval(now, groups)
    gain_low, gain_high = mean_interval(gains, groups, shares=False)
    values = {"n": len(dices), "dice": float(now.mean()), "low": low, "high": high}
    return values | {"gain": float(gains.mean()), "gain_low": gain_low, "gain_high": gain_high}
