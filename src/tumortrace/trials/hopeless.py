"""The rule that ends a setting's first run early."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tumortrace.json_csv import read_csv
from tumortrace.training.epochs import EpochRow
from tumortrace.trials.jobs import NotYetError, read_rows

JUDGED_AGAINST = 4
"""Settings that must have come to a third of their epochs before another one can be called hopeless."""

PATIENCE_SECONDS = 60.0
"""Time for which a run waits for those before it, where runs go at once; then it makes room and is continued later."""

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class FirstRun:
    """The first run of a setting.

    Attributes:
        folder: Its run folder.
        epochs: Number of epochs that it is to have.
    """

    folder: Path
    epochs: int


@dataclass(frozen=True)
class HopelessRule:
    """Ends a run whose Dice after a third of its epochs is below the median of the runs before it.

    It reads their folders, so that it says the same on any machine and in whatever order runs finish.

    Attributes:
        epochs: Number of epochs that the run is to have.
        before: First runs of the settings before, in order.
        results: The sweep's table of finished runs.
    """

    epochs: int
    before: tuple[FirstRun, ...]
    results: Path

    def __call__(self, rows: Sequence[EpochRow]) -> bool:
        """Return whether the run ends there.

        Raises:
            NotYetError: Runs before it have not come to a third of their epochs.
        """
        row = third_row(rows, self.epochs)
        if len(self.before) < JUDGED_AGAINST or row is None:
            return False
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (dices := self._read()) is None:
            if time.monotonic() > deadline:
                raise NotYetError
            time.sleep(POLL_SECONDS)
        return row.val_dice is not None and len(dices) >= JUDGED_AGAINST and row.val_dice < median(dices)

    def _read(self) -> list[float] | None:
        """Read the defined Dice of the runs before; None while one may still come to it."""
        # Before the runs: one that finishes meanwhile is asked again.
        finished = {row["run"] for row in read_csv(self.results)} if self.results.is_file() else set()
        dices = []
        for run in self.before:
            rows = read_rows(run.folder)
            row = third_row(rows, run.epochs)
            if row is None and run.folder.name not in finished:
                return None
            if row is not None and row.val_dice is not None:
                dices.append(row.val_dice)
        return dices


def third_row(rows: Sequence[EpochRow], epochs: int) -> EpochRow | None:
    """Return the epoch after which a run is judged, a third of all, rounded up; None if it has not come so far."""
    third = -(-epochs // 3)
    return rows[third - 1] if len(rows) >= third else None
