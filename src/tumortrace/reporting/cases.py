"""The pictures of an evaluation: each case compared, four panels of some, and the slices that a report will show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tumortrace.data.cases import Case, CaseRecord, read_case
from tumortrace.data.slice import read_slice, write_png
from tumortrace.evaluation.evaluate import CaseScore, Evaluation, rank_by_dice
from tumortrace.inference.model import Model
from tumortrace.inference.overlay import to_display
from tumortrace.inference.predict import Prediction, predict
from tumortrace.reporting.error_map import compare_masks
from tumortrace.reporting.figures import CasePanels, draw_cases, save_figure

CASES_A_FIGURE = 4
GALLERY = {"worst": 24, "random": 6, "best": 6}
"""How many slices a report shows."""


def write_comparison(case: Case, prediction: Prediction, *, out: Path) -> None:
    """Write one case's comparison picture into ``out/comparisons``, at the image's own size."""
    write_png(out / "comparisons" / f"{case.record.case_id}_comparison.png", compare_masks(prediction.mask, case.truth))


def write_case_figures(evaluation: Evaluation, records: Sequence[CaseRecord], model: Model, *, out: Path) -> list[Path]:
    """Draw an evaluation's best, worst and some random cases in four panels into ``out/figures``.

    The random cases are drawn among those with a tumour, by name, so that every model shows the same ones.

    Returns:
        The figures written; none if no case has a Dice.
    """
    by_id = {record.case_id: record for record in records}
    paths = []
    for name, scores in _choose(evaluation, dict.fromkeys(GALLERY, CASES_A_FIGURE)).items():
        if scores:
            panels = [_panels(score, by_id[score.file], model) for score in scores]
            path = out / "figures" / f"{name}.png"
            save_figure(draw_cases(panels, title=f"{name.capitalize()} cases"), path)
            paths.append(path)
    return paths


def write_gallery(evaluation: Evaluation, records: Sequence[CaseRecord], *, out: Path) -> None:
    """Keep the slices that a report will show, in 8 bits, as ``out/gallery/NAME.png``."""
    by_id = {record.case_id: record for record in records}
    for scores in _choose(evaluation, GALLERY).values():
        for score in scores:
            pixels = read_slice(by_id[score.file].image_path).pixels
            write_png(out / "gallery" / f"{score.file}.png", to_display(pixels))


def _choose(evaluation: Evaluation, counts: dict[str, int]) -> dict[str, list[CaseScore]]:
    ranked = rank_by_dice(evaluation.scores)
    named = sorted((score for score in ranked if score.tumour_px), key=lambda score: score.file)
    drawn = np.random.default_rng(0).permutation(len(named))[: counts["random"]]
    return {
        "best": ranked[::-1][: counts["best"]],
        "worst": ranked[: counts["worst"]],
        "random": [named[index] for index in sorted(drawn)],
    }


def _panels(score: CaseScore, record: CaseRecord, model: Model) -> CasePanels:
    case, _ = read_case(record)
    title = f"{score.file}\nDice {score.counts.dice:.3f}"
    return CasePanels(title, case.slice.pixels, case.truth, predict(model, case.slice).mask)
