"""Folders that a command line gives as ``NAME=FOLDER``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tumortrace.errors import DataError


def read_named(given: Iterable[str]) -> dict[str, Path]:
    """Return each folder by its name, in the order given.

    Args:
        given: ``NAME=FOLDER`` each; a fold or a source, and a run or an evaluation. NAME holds no ``=``.

    Raises:
        DataError: One lacks its name or its folder, or two have the same name.
    """
    named: dict[str, Path] = {}
    for each in given:
        name, _, folder = each.partition("=")
        if not name or not folder:
            raise DataError(f"{each}: write NAME=FOLDER, such as 3=runs/full/3")
        if name in named:
            raise DataError(f"{each}: {name} is given twice, as {named[name]} too; give it once")
        named[name] = Path(folder)
    return named
