"""Pictures of an evaluation: each case compared with its truth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.cases import Case
from tumortrace.data.png_writing import write_png
from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.evaluation.folder import FIGURES, comparison_path, figure_path, gallery_path
from tumortrace.inference.overlay import to_display
from tumortrace.inference.predict import Prediction
from tumortrace.reporting.error_map import compare_masks
from tumortrace.reporting.figures import CasePanels, draw_cases, save_figure

CASES_A_FIGURE = 4
GALLERY = {"worst": 24, "random": 6, "best": 6}
"""Number of slices that a report shows."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """A case that may be shown."""

    score: CaseScore
    order: int
    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    truth: NDArray[np.bool_]


def _rank_random(shown: _Shown) -> tuple[float, float]:
    digest = hashlib.sha256(shown.score.file.encode()).digest()
    return int.from_bytes(digest[:6], "big"), shown.order


_RANKS: dict[str, Callable[[_Shown], tuple[float, float]]] = {
    "best": lambda shown: (-shown.score.counts.dice, -shown.order),
    "worst": lambda shown: (shown.score.counts.dice, shown.order),
    "random": _rank_random,
}


class CasePictures:
    """Writes an evaluation's pictures while it goes on, so that no slice is read or predicted again.

    Of all cases only those are kept in memory that may be shown: the best, the worst and some random ones. The random
    ones are drawn among the cases with tumour by the hash of their names, so that every model shows the same ones.
    """

    def __init__(self, out: Path) -> None:
        """Start without a case.

        Args:
            out: The evaluation's folder.
        """
        self._out = out
        self._kept: dict[str, list[_Shown]] = {name: [] for name in FIGURES}
        self._added = 0

    def add(self, case: Case, prediction: Prediction, score: CaseScore) -> None:
        """Write the comparison of a case, and keep what may be shown of it."""
        write_png(comparison_path(self._out, score.file), compare_masks(prediction.mask, case.truth))
        self._added += 1
        if math.isnan(score.counts.dice):
            return
        shown = _Shown(score, self._added, to_display(case.slice.pixels), prediction.mask, case.truth)
        for name, rank in _RANKS.items():
            if name != "random" or score.tumour_px:
                self._kept[name] = sorted([*self._kept[name], shown], key=rank)[: GALLERY[name]]

    def write(self) -> list[Path]:
        """Write the slices that a report will show, and figures of the best, worst and random cases.

        Returns:
            The figures; none if no case has a Dice.
        """
        for listed in self._kept.values():
            for shown in listed:
                write_png(gallery_path(self._out, shown.score.file), shown.grey)
        figures = []
        for name in FIGURES:
            chosen = self._kept[name][:CASES_A_FIGURE]
            if chosen:
                panels = [CasePanels(_title(each.score), each.grey, each.truth, each.mask) for each in chosen]
                figures.append(figure_path(self._out, name))
                save_figure(draw_cases(panels, title=f"{name.capitalize()} cases"), figures[-1])
        return figures


def _title(score: CaseScore) -> str:
    return f"{score.file}\nDice {score.counts.dice:.3f}"
