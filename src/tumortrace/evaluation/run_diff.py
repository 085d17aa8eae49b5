"""What differs between two trainings: versions, settings, data and weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tumortrace.errors import DataError
from tumortrace.run_folder import BEST, CONFIG, MANIFEST
from tumortrace.typed_toml import parse_toml

_CHANGING = ("wall_seconds", "epoch_seconds", "peak_memory_bytes", "onnx_largest_difference", "findings")
"""Keys of the manifest that no two runs share, or that follow from others."""

_NAMED = 5
"""Number of changed cases that are named."""

_ABSENT = "none"


def compare_runs(first: Path, second: Path) -> list[str]:
    """Name each package version, setting and part of the data that differs between two finished runs.

    Args:
        first: Run folder.
        second: Run folder to compare with.

    Returns:
        Lines such as ``libraries.numpy: 2.3.0 -> 2.4.6``; the last one says whether the weights are the same bytes.

    Raises:
        DataError: A folder is no finished run, or its files are damaged.
    """
    before, after = _read_run(first), _read_run(second)
    lines = [
        f"{name}: {before.get(name, _ABSENT)} -> {after.get(name, _ABSENT)}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name, _ABSENT) != after.get(name, _ABSENT) and not _is_case(name)
    ]
    lines += _name_cases(before, after)
    weights = [hashlib.sha256(_read(run / BEST)).hexdigest() for run in (first, second)]
    if weights[0] == weights[1]:
        return [*lines, f"weights: the same ({weights[0][:16]})"]
    return [*lines, f"weights: {weights[0][:16]} -> {weights[1][:16]}"]


def _read_run(run: Path) -> dict[str, str]:
    """Return settings and manifest of a run as text by dotted names."""
    if not (run / MANIFEST).is_file():
        raise DataError(f"{run}: no finished run (no {MANIFEST}); give the run folder of a training that has ended")
    try:
        manifest = json.loads(_read(run / MANIFEST))
        facts = {key: value for key, value in manifest.items() if key not in _CHANGING}
    except (ValueError, AttributeError) as error:
        raise DataError(f"{run / MANIFEST}: is damaged ({error}); train again") from None
    settings = parse_toml(_read(run / CONFIG).decode(errors="replace"), str(run / CONFIG))
    return dict(_flatten({**facts, "config": settings}))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a complete run folder") from None


def _flatten(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, key))
        else:
            yield ".".join((*path, key)), _ABSENT if value is None else str(value)


def _is_case(name: str) -> bool:
    return name.startswith(("data.train.cases.", "data.val.cases."))


def _name_cases(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name the first cases whose hashes differ, or that only one of the runs has."""
    names = dict.fromkeys(name for name in (*before, *after) if _is_case(name))
    changed = [name.partition(".cases.")[2] for name in names if before.get(name) != after.get(name)]
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return [f"changed cases: {', '.join(changed[:_NAMED])}{more}"] if changed else []
