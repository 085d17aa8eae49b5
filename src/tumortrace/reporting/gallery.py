"""The gallery of a report: the worst cases first, four panels each."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumortrace.choices import Colours
from tumortrace.evaluation.folder import ImageRow, StoredEvaluation, comparison_path, gallery_path
from tumortrace.reporting import html
from tumortrace.reporting.error_map import LEGENDS, compare_on_slice, split_comparison

PANEL_PX = 190
"""Longest side of a panel, in pixels."""

_GAP_PX = 6


def draw_gallery(evaluation: StoredEvaluation, *, colours: Colours) -> Markup:
    """Draw the gallery; empty if the evaluation left no pictures.

    Args:
        evaluation: Evaluation from ``read_evaluation``.
        colours: Colours of the comparisons.
    """
    scored = [row for row in evaluation.rows if not math.isnan(row.dice)]
    ordered = sorted(scored, key=lambda row: row.dice)
    figures = [figure for row in ordered if (figure := _draw_case(evaluation.folder, row, colours))]
    if not figures:
        return Markup()
    words = (
        "The worst cases, some drawn at random, and the best. From left: image, truth, prediction, comparison. A clean "
        "image has no copy in training. A group holds copies of one slice and slices of one patient."
    )
    return html.paragraph(words) + html.colour_key(LEGENDS[colours]) + html.gallery(figures)


def four_panels(
    grey: NDArray[np.uint8], prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, colours: Colours
) -> NDArray[np.uint8]:
    """Set image, truth, prediction and comparison side by side.

    Args:
        grey: The slice, shape (H, W), uint8.
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.
        colours: Colours of the comparison.

    Returns:
        Red-green-blue, uint8; each panel PANEL_PX on its longest side, white between them.
    """
    compared = compare_on_slice(grey, prediction, truth, colours=colours)
    panels = [_fit(_to_rgb(grey)), _fit(_to_rgb(truth)), _fit(_to_rgb(prediction)), _fit(compared)]
    gap = np.full((panels[0].shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2], gap, panels[3]], axis=1)


def _draw_case(folder: Path, row: ImageRow, colours: Colours) -> Markup:
    grey = _read(gallery_path(folder, row.file), cv2.IMREAD_GRAYSCALE)
    comparison = _read(comparison_path(folder, row.file), cv2.IMREAD_COLOR_RGB)
    if grey is None or comparison is None or comparison.shape[:2] != grey.shape:
        return Markup()
    prediction, truth = split_comparison(comparison)
    clean = {True: ", clean", False: ", in training or a copy of a training slice", None: ""}[row.clean]
    caption = f"{row.file}: Dice {row.dice:.3f}, confidence {row.confidence:.2f}, group {row.group}{clean}"
    panels = four_panels(grey, prediction, truth, colours=colours)
    return html.picture(panels, alt=f"Four panels of {row.file}", caption=caption)


def _read(path: Path, how: int) -> NDArray[np.uint8] | None:
    if not path.is_file():
        return None
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), how)
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)


def _to_rgb(panel: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint8]:
    grey = panel.astype(np.uint8) * np.uint8(255) if panel.dtype == np.bool_ else panel.astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _fit(panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = PANEL_PX / max(panel.shape[:2])
    size_wh = (max(1, round(panel.shape[1] * scale)), max(1, round(panel.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(panel, size_wh, interpolation=how), dtype=np.uint8)
