"""Contents of an output folder, without measured seconds, speeds and memory."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tumortrace.locks import LOCK

MEASURED = frozenset(
    (
        "seconds", "epoch_seconds", "wall_seconds", "images_per_second", "loader_share", "peak_memory_bytes", "began",
        "started", "finished", "time", "created", "speed", "seconds_per_slice", "git_commit",
    )
)  # fmt: skip
"""Keys and columns that say how long something took, when, or how much memory it held."""

LISTS = (
    "results.json", "results.csv", "volumes.csv", "lesions.csv", "pairs.csv", "findings.json", "conversion.json",
    "summary.json",
)  # fmt: skip
"""Files that also say how far an unfinished command came."""

_GROWING = ("events.out.tfevents",)


def read_tree(folder: Path) -> dict[str, str]:
    """Return a hash of each file below a folder, by its path there; measured values and growing logs do not count."""
    return {
        path.relative_to(folder).as_posix(): read_content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(_GROWING)
    }


def find_left(folder: Path) -> list[str]:
    """Return temporary files, journals and locks below a folder."""
    left = [path for path in folder.rglob("*") if path.name.endswith((".partial", ".jsonl")) or path.name == LOCK]
    return [path.relative_to(folder).as_posix() for path in left]


def read_content(path: Path) -> str:
    """Return a hash of what a file says, without measured values; of a damaged one, of its bytes."""
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            data = json.dumps(_drop(json.loads(data)), sort_keys=True).encode()
        elif path.suffix == ".csv":
            rows = [_drop(row) for row in csv.DictReader(io.StringIO(data.decode()))]
            data = json.dumps(rows).encode()
        elif path.suffix == ".safetensors":
            data = _read_tensors(path)
        elif path.suffix == ".html":
            data = re.sub(rb"\d+(\.\d+)? (s|ms|min|h|GiB|MiB|images/s)\b", b"", data)
    except (ValueError, KeyError, SafetensorError) as error:
        data = f"damaged: {error}".encode() + data
    return hashlib.sha256(data).hexdigest()


def _read_tensors(path: Path) -> bytes:
    digest = hashlib.sha256()
    with safe_open(path, framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
        state = (file.metadata() or {}).get("state")
    return digest.digest() + (json.dumps(_drop(json.loads(state)), sort_keys=True).encode() if state else b"")


def _drop(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _drop(each) for key, each in value.items() if key not in MEASURED}
    return [_drop(each) for each in value] if isinstance(value, list) else value
