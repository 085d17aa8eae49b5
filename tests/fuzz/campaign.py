"""Fuzzing without end of patience: ``python -m tests.fuzz.campaign --count 100000``.

Files that make a reader fail are kept in a folder, one for each fault; the figures stand in ``campaign.json`` there.
A further call adds to them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.lies import hostile_files
from tests.fuzz.seeds import MAKERS
from tests.fuzz.worker import Worker

PIECE = 250
"""Files of one kind at a time."""

PATIENCE_S = 1800.0
"""Seconds on the clock that a file may take: other programs may have the processor for minutes."""


def main() -> None:
    """Read files until there are so many."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--only", default="")
    given_args = parser.parse_args()
    given_args.out.mkdir(parents=True, exist_ok=True)
    figures = _load(given_args.out / "campaign.json")
    kinds = [kind for kind in MAKERS if given_args.only in kind]
    worker = Worker(clock_s=PATIENCE_S)
    while figures["files"] < given_args.count:
        kind = kinds[figures["pieces"] % len(kinds)]
        started = time.monotonic()
        _run_piece(worker, kind, figures, given_args.out)
        figures["pieces"] += 1
        figures["seconds"] = round(figures["seconds"] + time.monotonic() - started, 1)
        figures["peak_mib"] = max(figures["peak_mib"], worker.peak_kib // 1024)
        (given_args.out / "campaign.json").write_text(json.dumps(figures, indent=1))
    worker.close()
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    sys.exit(bool(figures["faults"]))


def _load(path: Path) -> dict:
    if path.is_file():
        return json.loads(path.read_text())
    return {"files": 0, "pieces": 0, "seconds": 0.0, "peak_mib": 0, "faults": {}}


def _run_piece(worker: Worker, kind: str, figures: dict, out: Path) -> None:
    phases, checks = (Phase.generate,), list(HealthCheck)

    @seed(figures["pieces"])
    @settings(max_examples=PIECE, database=None, phases=phases, suppress_health_check=checks, deadline=None)
    @given(data=hostile_files(kind))
    def run(data: bytes) -> None:
        figures["files"] += 1
        fault = worker.read(kind, data)
        if fault:
            name = _name(fault)
            counts = Counter(figures["faults"])
            counts[f"{kind}: {name}"] += 1
            figures["faults"] = dict(counts)
            stem = re.sub(r"\W+", "-", f"{kind}-{name}")[:90]
            (out / f"{stem}.bin").write_bytes(data)
            (out / f"{stem}.txt").write_text(fault)

    run()


def _name(fault: str) -> str:
    """The fault's place and kind, by which two are the same."""
    places = re.findall(r'File "[^"]*?(\w+)\.py", line (\d+)', fault)
    last = fault.strip().splitlines()[-1][:60]
    return f"{':'.join(places[-1]) if places else ''} {last}"


if __name__ == "__main__":
    main()
