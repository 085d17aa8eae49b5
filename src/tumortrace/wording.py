"""Numbers and lists as words of a sentence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from os import PathLike


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return names in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])


def command_line(*words: PathLike[str] | str) -> str:
    """Return a command of tumortrace as a line that a shell takes, with blanks in paths quoted."""
    return f"tumortrace {shlex.join(map(str, words))}"


def describe_seconds(seconds: float) -> str:
    """Return a duration in the unit a person would use: ``"40 s"``, ``"12 min"``, ``"3.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def percent(fraction: float, digits: int = 0) -> str:
    """Return a fraction in per cent, with a blank as in the International System of Units: 0.25 is "25 %"."""
    return f"{100 * fraction:.{digits}f} %"


def list_ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers in ascending order, neighbours as a range: "1, 3-7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
