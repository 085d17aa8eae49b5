"""Numbers as cells of a table, with a dash for what is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float | None, *, digits: int = 3) -> str:
    """Return a number with that many decimals, or with one from 10 on; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.1f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Return an interval; a dash for None and NaN."""
    return "-" if bounds is None or math.isnan(bounds[0]) else f"{number(bounds[0])} to {number(bounds[1])}"


def p_value(value: float) -> str:
    """Return a p-value, not below 0.001; a dash for NaN."""
    return "-" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
