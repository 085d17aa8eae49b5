"""Doubtful outlines: those that a model contradicts without having seen them.

The idea is that of confident learning (Northcutt et al. 2021): where a model that never saw a label is sure of another
one, the label is worth a second look. Here the label is an outline, and a cross-validation gives each slice such a
model. An outline ranks by how much it differs from the model's probabilities and by how sure the model is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.config import load_config
from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.split_files import read_split
from tumortrace.copies.splits import are_folds
from tumortrace.copies.survey import Survey
from tumortrace.data.cases import Case
from tumortrace.errors import DataError, ModelError
from tumortrace.evaluation.evaluate import read_surveyed
from tumortrace.files import write_atomically
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import Prediction, predict
from tumortrace.json_csv import Document, read_csv, write_csv
from tumortrace.metrics.lesions import label_lesions
from tumortrace.metrics.overlap import count_pixels
from tumortrace.metrics.surface import compare_surfaces
from tumortrace.progress import track
from tumortrace.run_folder import CALIBRATED, SPLIT
from tumortrace.wording import counted

CONTRADICTED, APART = 0.35, 0.5
"""Least doubt of an outline that is named in ``doubtful.txt``, and the Dice with the model's mask that it is below."""

RESIZED = 1.5
"""Ratio of areas from which on outline and mask differ in size rather than in their border."""

LIST = Path("doubtful.txt")
TABLE = Path("doubtful.csv")


@dataclass(frozen=True)
class Doubt:
    """How far a held-out model contradicts one outline.

    Attributes:
        file: The case's id.
        fold: The fold that held it out.
        doubt: 0 (the model agrees) to 1 (the model is sure of something else).
        dice: Dice of the outline and the model's mask; 1 if both are empty.
        kind: Kind of contradiction, as ``KINDS`` names them; ``AGREED`` where outline and mask are both empty.
        reason: The model's own view, in words.
        outlined_px: Number of pixels of the outline.
        marked_px: Number of pixels of the model's mask.
    """

    file: str
    fold: str
    doubt: float
    dice: float
    kind: str
    reason: str
    outlined_px: int
    marked_px: int


KINDS = {
    "not outlined": "the model marks a tumour on a slice without outline",
    "nothing there": "the model marks nothing on a slice with outline",
    "elsewhere": "the model marks another place",
    "lesion missed": "the model marks a further lesion",
    "too many": "the model does not mark each outline",
    "size": "the outline is much larger or smaller than the model's mask",
    "border": "outline and mask differ along the border",
}
"""Kinds of contradiction, the first that fits counts."""

AGREED = "none"
"""Kind where neither outline nor mask has a pixel."""


@dataclass(frozen=True, eq=False)
class HeldOutModels:
    """The models of a finished cross-validation.

    Attributes:
        folder: The folder of the cross-validation.
        models: Model of each fold, by the fold's number, with the recipe that was fitted on all folds.
        fold_of: Fold that held out each case, by the case's SHA-256.
    """

    folder: Path
    models: dict[str, Model]
    fold_of: dict[str, str]


def open_crossval(folder: Path) -> HeldOutModels:
    """Open the models of a cross-validation.

    Raises:
        ModelError: The folder holds no finished cross-validation.
        DataError: Its split is damaged.
    """
    if not (folder / CALIBRATED).is_file() or not (folder / SPLIT).is_file():
        raise ModelError(f"{folder}: holds no finished cross-validation; make one with: tumortrace crossval DATA")
    split = read_split(folder / SPLIT)
    if not are_folds(set(split.sides)):
        raise ModelError(f"{folder / SPLIT}: has no folds; give the folder of a cross-validation")
    recipe = load_config(str(folder / CALIBRATED)).recipe
    opened = {side: open_model(str(folder / f"fold-{side}")) for side in split.sides}
    models = {side: replace(model, recipe=recipe) for side, model in opened.items()}
    return HeldOutModels(folder, models, {case.sha256: case.side for case in split.cases if case.side in models})


def find_doubtful(held_out: HeldOutModels, survey: Survey) -> tuple[Doubt, ...]:
    """Judge each outline of a dataset by the model that was not trained on it.

    Args:
        held_out: Models of a cross-validation on these cases.
        survey: Survey of the dataset.

    Returns:
        A doubt for each annotated case that a fold held out and that can still be read, the most doubtful first.

    Raises:
        ModelError: No case of the dataset was in the cross-validation.
    """
    annotated = _list_annotated(survey)
    known = [case for case in annotated if case.sha256 in held_out.fold_of]
    if not known:
        raise ModelError(
            f"{held_out.folder}: none of these {counted(len(annotated), 'annotated image')} was in that "
            "cross-validation; give the folder of one on the same data"
        )
    doubts = [_judge_case(case, held_out) for case in track(known, "Judging outlines", total=len(known))]
    return tuple(sorted((doubt for doubt in doubts if doubt), key=lambda doubt: (-doubt.doubt, doubt.file)))


def _list_annotated(survey: Survey) -> list[SurveyedCase]:
    """Return the cases of a survey that have an annotation, be it an empty one."""
    return [case for case in survey.cases if case.packed_truth is not None]


def predict_held_out(held_out: HeldOutModels, surveyed: SurveyedCase) -> tuple[Case, Prediction]:
    """Read a case, and segment it by the model that was not trained on it.

    Raises:
        DataError: The case cannot be read, or changed since the survey.
    """
    case = read_surveyed(surveyed)
    return case, predict(held_out.models[held_out.fold_of[surveyed.sha256]], case.slice)


def judge_outline(prediction: Prediction, truth: NDArray[np.bool_]) -> tuple[float, str, str]:
    """Compare an outline with a prediction of a model that was not trained on it.

    Args:
        prediction: The prediction.
        truth: The outlined pixels, shape (H, W), bool.

    Returns:
        The doubt (``measure_doubt``), the kind and the reason.
    """
    inside = float(prediction.probability[truth].max(initial=0.0))
    kind, reason = _explain(prediction, truth, inside=inside)
    return measure_doubt(prediction.mask, prediction.probability, truth), kind, reason


def measure_doubt(mask: NDArray[np.bool_], probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Measure how surely a model contradicts an outline.

    A model misses tumours more often than a person outlines one where there is none. So an empty mask says little
    against an outline: its best guess is compared, which is what reaches half of the highest probability, and the
    doubt is as small as the guess is weak.

    Args:
        mask: The model's mask, shape (H, W), bool.
        probability: Its probabilities, shape (H, W), float32, in [0, 1].
        truth: The outlined pixels, shape (H, W), bool.

    Returns:
        The root of the model's certainty (``_certainty``) times 1 minus the Dice of its probabilities and the outline
        (``_soft_dice``), 0 to 1; 0 if mask and outline are both empty.
    """
    highest = 1.0
    if not mask.any():
        if not truth.any():
            return 0.0
        highest = max(float(probability.max()), 1e-6)
        probability = probability / np.float32(highest)
        mask = probability >= 0.5
    # The root: the certainty says how far to trust the difference, and an unsure model can still be right.
    return math.sqrt(highest * _certainty(mask, probability)) * (1 - _soft_dice(probability, truth))


def refuse_edited_list(out: Path) -> None:
    """Refuse to replace a ``doubtful.txt`` from which somebody struck names since ``write_doubts`` wrote it.

    Raises:
        DataError: It names other cases than the ``doubtful.csv`` beside it contradicts.
    """
    if not (out / LIST).exists():
        return
    try:
        numbers = [(row["file"], float(row["doubt"]), float(row["dice"])) for row in read_csv(out / TABLE)]
        written = _list_names(file for file, doubt, dice in numbers if _is_contradicted(doubt, dice))
    except (OSError, KeyError, TypeError, ValueError):
        written = None
    if (out / LIST).read_bytes() != written:
        raise DataError(f"{out / LIST}: was edited since an audit wrote it; move it elsewhere, or choose another --out")


def write_doubts(doubts: Sequence[Doubt], out: Path) -> None:
    """Write ``doubtful.csv``, a row a case, and ``doubtful.txt``, the names that ``train --exclude`` reads."""
    write_csv(out / TABLE, (asdict(doubt) for doubt in doubts), columns=[field.name for field in fields(Doubt)])
    write_atomically(out / LIST, _list_names(doubt.file for doubt in contradicted(doubts)))


def contradicted(doubts: Iterable[Doubt]) -> list[Doubt]:
    """Return the doubts of at least ``CONTRADICTED`` about outlines that share less than half with the model's mask."""
    return [doubt for doubt in doubts if _is_contradicted(doubt.doubt, doubt.dice)]


def _is_contradicted(doubt: float, dice: float) -> bool:
    """Return whether an outline of this doubt and this Dice with the model's mask is named in ``doubtful.txt``."""
    return doubt >= CONTRADICTED and dice < APART


def describe_doubts(doubts: Sequence[Doubt], *, crossval: Path, survey: Survey) -> Document:
    """Return what ``audit.json`` says of doubtful outlines."""
    listed = contradicted(doubts)
    counts = {kind: sum(doubt.kind == kind for doubt in listed) for kind in KINDS}
    return {
        "crossval": str(crossval),
        "judged": len(doubts),
        "not_judged": len(_list_annotated(survey)) - len(doubts),
        "contradicted_from": CONTRADICTED,
        "contradicted": len(listed),
        "kinds": {kind: count for kind, count in counts.items() if count},
    }


def _list_names(files: Iterable[str]) -> bytes:
    """Return names, one a line; what is no text, as in a folder's name that is not UTF-8, is escaped."""
    return "".join(f"{file}\n" for file in files).encode(errors="backslashreplace")


def _judge_case(surveyed: SurveyedCase, held_out: HeldOutModels) -> Doubt | None:
    try:
        case, prediction = predict_held_out(held_out, surveyed)
    except DataError:
        return None  # named by the survey, or changed since
    doubt, kind, reason = judge_outline(prediction, case.truth)
    return Doubt(
        file=case.record.case_id,
        fold=held_out.fold_of[surveyed.sha256],
        doubt=round(doubt, 4),
        dice=round(_dice(prediction.mask, case.truth), 4),
        kind=kind,
        reason=reason,
        outlined_px=int(case.truth.sum()),
        marked_px=int(prediction.mask.sum()),
    )


def _certainty(mask: NDArray[np.bool_], probability: NDArray[np.float32]) -> float:
    """The Dice that a model expects of its mask if its probabilities are right, 0 to 1; 0 of an empty mask.

    That is twice the probability within the mask, divided by the mask's area plus all probability.
    """
    inside = float(probability[mask].sum(dtype=np.float64))
    return 2 * inside / (int(mask.sum()) + float(probability.sum(dtype=np.float64))) if inside else 0.0


def _soft_dice(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Dice of probabilities and an outline, with squares below (Milletari et al. 2016); 0 without an outline."""
    inside = float(probability[truth].sum(dtype=np.float64))
    return 2 * inside / (int(truth.sum()) + float(np.square(probability, dtype=np.float64).sum())) if inside else 0.0


def _dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice, and 1 where both are empty: they agree."""
    return count_pixels(mask, truth).dice if mask.any() or truth.any() else 1.0


def _explain(prediction: Prediction, truth: NDArray[np.bool_], *, inside: float) -> tuple[str, str]:
    """Name the kind of contradiction, and say in words what the model says instead."""
    mask = prediction.mask
    if not truth.any() and not mask.any():
        return AGREED, "no outline, and the model marks nothing"
    if not truth.any():
        return "not outlined", f"no outline, but the model marks {counted(int(mask.sum()), 'pixel')}"
    if not mask.any():
        return "nothing there", f"the model marks nothing; its highest probability in the outline is {inside:.2f}"
    if not (mask & truth).any():
        apart = np.linalg.norm(_centre(mask) - _centre(truth))
        return "elsewhere", f"the model marks another place, centred {apart:.0f} px away"
    return _explain_overlap(mask, truth)


def _explain_overlap(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[str, str]:
    """Name the kind of contradiction between two masks that share a pixel."""
    further, unmarked = _untouched_px(mask, by=truth), _untouched_px(truth, by=mask)
    if 2 * further > mask.sum():
        return "lesion missed", f"the model marks {counted(further, 'pixel')} in a further lesion without outline"
    if 2 * unmarked > truth.sum():
        return "too many", f"the model marks nothing at {counted(unmarked, 'pixel')} of separate outlines"
    ratio = truth.sum() / mask.sum()
    if ratio >= RESIZED:
        return "size", f"the outline is {ratio:.1f} times as large as the model's mask"
    if 1 / ratio >= RESIZED:
        return "size", f"the model's mask is {1 / ratio:.1f} times as large as the outline"
    distance = compare_surfaces(mask, truth).hd95
    return "border", f"the borders lie up to {distance:.0f} px apart (95th percentile)"


def _centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean (row, column) of a mask's pixels."""
    return np.asarray(np.argwhere(mask).mean(axis=0))


def _untouched_px(mask: NDArray[np.bool_], *, by: NDArray[np.bool_]) -> int:
    """Number of pixels in the components of a mask that another mask does not touch."""
    labels = label_lesions(mask).labels
    touched = np.unique(labels[by])
    return int(np.count_nonzero(mask & ~np.isin(labels, touched)))
