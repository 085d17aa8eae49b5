"""The pictures of an evaluation: each case compared, and four panels of the best, the worst and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tumortrace.data.dataset import Case, CaseRecord, read_case
from tumortrace.data.slice import write_png
from tumortrace.inference.model import Model
from tumortrace.inference.segmenter import Prediction, predict
from tumortrace.report.comparison import compare_masks
from tumortrace.report.figures import CasePanels, draw_cases, save_figure
from tumortrace.trust.evaluation import CaseScore, Evaluation, rank_by_dice

CASES_A_FIGURE = 4


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
    ranked = rank_by_dice(evaluation)
    named = sorted((s for s in ranked if s.counts.tp + s.counts.fn > 0), key=lambda score: score.file)
    drawn = np.random.default_rng(0).permutation(len(named))[:CASES_A_FIGURE]
    chosen = {
        "best": ranked[::-1][:CASES_A_FIGURE],
        "worst": ranked[:CASES_A_FIGURE],
        "random": [named[index] for index in sorted(drawn)],
    }
    paths = []
    for name, scores in chosen.items():
        if scores:
            panels = [_panels(score, by_id[score.file], model) for score in scores]
            path = out / "figures" / f"{name}.png"
            save_figure(draw_cases(panels, title=f"{name.capitalize()} cases"), path)
            paths.append(path)
    return paths


def _panels(score: CaseScore, record: CaseRecord, model: Model) -> CasePanels:
    case, _ = read_case(record)
    title = f"{score.file}\nDice {score.counts.dice:.3f}"
    return CasePanels(title, case.slice.pixels, case.truth, predict(model, case.slice).mask)
