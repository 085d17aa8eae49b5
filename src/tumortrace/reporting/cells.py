"""Numbers as cells of a table and in sentences, with a dash for what is unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tumortrace.json_csv import Document
from tumortrace.metrics.intervals import FEW, RATHER_FEW, UNEQUAL, describe_width
from tumortrace.wording import counted

_WIDTHS = {
    "rough": f"over fewer than {FEW} groups, and mostly too narrow",
    "narrow": f"over fewer than {RATHER_FEW} groups, and slightly too narrow",
    "unequal": "over groups of which a few hold most pairs, and too narrow",
}
"""What is wrong with an interval, by the word for it in a table."""


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


def independent_groups(scores: Document) -> str:
    """Return the number of groups that an interval is over, with a warning where they are too unequal or few for it.

    Args:
        scores: Entry of ``audit.json`` with ``independent_groups`` and ``effective_groups``.
    """
    count, effective = scores["independent_groups"], scores["effective_groups"]
    words = counted(count, "independent group")
    if effective < UNEQUAL * count:
        return f"{words}, which count as {effective:.0f} equal ones: too narrow"
    width = describe_width(count)
    return f"{words}: {width}" if width else words


def groups(scores: Document) -> list[str]:
    """Return the number of groups that an interval is over, and a word for what is wrong with it, as two cells.

    Args:
        scores: Entry of ``audit.json`` with ``independent_groups`` and ``effective_groups``.
    """
    count, effective = scores["independent_groups"], scores["effective_groups"]
    if effective < UNEQUAL * count:
        return [str(count), "unequal"]
    word = "rough" if count < FEW else "narrow"
    return [str(count), word if describe_width(count) else ""]


def explain_widths(words: Iterable[str]) -> str:
    """Return what the words of ``groups`` mean, once each; empty if none is given."""
    given = set(words)
    return "; ".join(f"{word}: {meaning}" for word, meaning in _WIDTHS.items() if word in given)


def doubt_models(doubtful: Document) -> str:
    """Return a clause that doubts the models where they contradict more than half of the outlines; else nothing.

    Args:
        doubtful: Entry ``doubtful`` of ``audit.json``.
    """
    many = 2 * doubtful["contradicted"] > doubtful["judged"]
    return "more than half, so probably the models are wrong: train them longer" if many else ""


def parts(counts: Document) -> str:
    """Return the parts of a dataset with their numbers of images: "TRAIN 500, VAL 201"."""
    return ", ".join(f"{name or 'undivided'} {count}" for name, count in counts.items())
