"""The gallery of a report: the worst cases first, each in four panels, from the pictures that an evaluation left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.reporting import html
from tumortrace.reporting.error_map import (
    LEGEND,
    SAFE_LEGEND,
    Colours,
    compare_masks,
    compare_on_slice,
    split_comparison,
)

PANEL_PX = 190
"""Longest side of a panel."""

_GAP_PX = 6


def draw_gallery(folder: Path, rows: Sequence[Mapping[str, str]], *, colours: Colours) -> str:
    """The gallery as markup; empty if the folder has no pictures.

    Args:
        folder: An evaluation's, with ``gallery/NAME.png`` and ``comparisons/NAME_comparison.png``.
        rows: Of its ``per_image.csv``.
        colours: ``"safe"``, or those of the report.
    """
    scored = [row for row in rows if row["dice"] and (folder / "gallery" / f"{row['file']}.png").is_file()]
    figures = "".join(_draw_case(folder, row, colours) for row in sorted(scored, key=lambda row: float(row["dice"])))
    if not figures:
        return ""
    key = html.colour_key(SAFE_LEGEND if colours == "safe" else LEGEND)
    words = html.paragraph(
        "The worst cases, then some drawn at random and the best. From left: image, truth, prediction, both."
    )
    return f'{words}{key}<div class="gallery">{figures}</div>'


def four_panels(
    grey: NDArray[np.uint8], prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, colours: Colours
) -> NDArray[np.uint8]:
    """Image, truth, prediction and comparison side by side.

    Args:
        grey: The slice, shape (H, W), uint8.
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.
        colours: Of the comparison.

    Returns:
        Red-green-blue, uint8; each panel PANEL_PX on its longest side, white between them.
    """
    compared = compare_on_slice(grey, prediction, truth) if colours == "safe" else compare_masks(prediction, truth)
    panels = [_fit(_to_rgb(grey)), _fit(_to_rgb(truth)), _fit(_to_rgb(prediction)), _fit(compared)]
    gap = np.full((panels[0].shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2], gap, panels[3]], axis=1)


def _draw_case(folder: Path, row: Mapping[str, str], colours: Colours) -> str:
    name = row["file"]
    grey = _read(folder / "gallery" / f"{name}.png", cv2.IMREAD_GRAYSCALE)
    comparison = _read(folder / "comparisons" / f"{name}_comparison.png", cv2.IMREAD_COLOR_RGB)
    if grey is None or comparison is None or comparison.shape[:2] != grey.shape:
        return ""
    prediction, truth = split_comparison(comparison)
    clean = {"true": ", clean", "false": ", has a copy in training"}.get(row["clean"], "")
    caption = f"{name}: Dice {float(row['dice']):.3f}, confidence {float(row['confidence']):.2f}, {row['group']}{clean}"
    panels = four_panels(grey, prediction, truth, colours=colours)
    return html.picture(panels, alt=f"Four panels of {name}", caption=caption)


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
