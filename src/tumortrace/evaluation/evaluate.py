"""Scores of a model, case by case, beside trivial baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tumortrace.config import Recipe
from tumortrace.copies.agreement import Agreement, measure_agreement
from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.leakage import Leak
from tumortrace.copies.survey import Survey
from tumortrace.data.cases import Case, CaseRecord, read_image
from tumortrace.data.findings import Finding, describe_none_read, left_out
from tumortrace.errors import DataError, without_path
from tumortrace.evaluation.baselines import Baselines
from tumortrace.evaluation.provenance import Provenance
from tumortrace.inference.confidence import mask_features
from tumortrace.inference.mask import drop_specks
from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction, predict
from tumortrace.metrics.calibration import CaseHistogram, count_logits
from tumortrace.metrics.froc import SliceMarks, measure_marks
from tumortrace.metrics.lesions import LesionCounts, count_lesions
from tumortrace.metrics.overlap import PixelCounts, count_pixels
from tumortrace.metrics.surface import SurfaceScores, compare_surfaces
from tumortrace.progress import track

TOLERANCE = 2.0
"""Tolerance of the normalised surface distance, in pixels, or in millimetres where a picture has a pixel spacing."""


@dataclass(frozen=True, eq=False)
class CaseScore:
    """The scores of one case, a row of ``per_image.csv``.

    Attributes:
        file: The case's id.
        part: Its part of the dataset; empty if the dataset is not divided.
        source: The dataset that it comes from.
        patient: The patient whose slice it is; empty if unknown.
        sha256: Hash of what the case shows (``hash_case``).
        group: Name of the cases that are not independent of this one: its copies, and the slices of its patient.
        leak: The training slice or patient that it shares; None if none is known.
        clean: Whether it shares nothing with any training slice; None if some of these are not at hand.
        shape: Kind of its outlines: polygon, ellipse, circle, mixed, mask, or another shape; none without an outline.
        in_mm: Whether distances are in millimetres.
        counts: Its pixels at the image's own resolution.
        surface: Distances between the borders of mask and truth.
        lesions: Numbers of lesions in mask and truth.
        marks: Its lesions before any peak threshold is applied.
        confidence: The model's own confidence, 0 to 1.
        features: Features that the confidence is computed from (``inference.confidence.mask_features``).
        histogram: The model's probabilities, by truth.
        baselines: Pixel counts of each prediction without a network.
        fold: The fold in which the case was held out; empty outside a cross-validation.
        tumour_class: Class of its tumour as the dataset states it; empty if it does not.
        plane: Plane of the slice as the dataset states it, or else as it is recognised; empty if neither tells.
        temperature: Temperature that the probabilities include; in a cross-validation that of the case's fold.
    """

    file: str
    part: str
    source: str
    patient: str
    sha256: str
    group: str
    leak: Leak | None
    clean: bool | None
    shape: str
    in_mm: bool
    counts: PixelCounts
    surface: SurfaceScores
    lesions: LesionCounts
    marks: SliceMarks
    confidence: float
    features: tuple[float, ...]
    histogram: CaseHistogram
    baselines: dict[str, PixelCounts]
    fold: str = ""
    tumour_class: str = ""
    plane: str = ""
    temperature: float = 1.0

    @property
    def tumour_px(self) -> int:
        """Number of tumour pixels in the truth."""
        return self.counts.tp + self.counts.fn

    @property
    def predicted_px(self) -> int:
        """Number of pixels in the predicted mask."""
        return self.counts.tp + self.counts.fp

    @property
    def frame_px(self) -> int:
        """Number of pixels of the picture."""
        return self.tumour_px + self.counts.fp + self.counts.tn

    @property
    def tumour_share(self) -> float:
        """Fraction of the frame that is tumour, 0 to 1."""
        return self.tumour_px / self.frame_px


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a part of a dataset.

    Attributes:
        scores: One for each case that could be read.
        findings: Faults of the data; cases that were left out are among them.
        model: Name and SHA-256.
        threshold: Threshold of the model's recipe.
        peak_threshold: Peak threshold of the model's recipe.
        temperature: Temperature of the model's recipe.
        training_slices: Number of slices that the model was trained on; None if unknown.
        compared_slices: Number of those that were at hand, so that scored slices could be compared with them.
        agreement: Agreement of the annotators; None if no slice was outlined twice.
        card: Statements of the model's maker in the model file.
        choosers: SHA-256 of the slices that the kept epoch was chosen on, as far as they are known.
    """

    scores: tuple[CaseScore, ...]
    findings: tuple[Finding, ...]
    model: dict[str, str]
    threshold: float
    peak_threshold: float = 0.0
    temperature: float = 1.0
    training_slices: int | None = None
    compared_slices: int = 0
    agreement: Agreement | None = None
    card: dict[str, object] = field(default_factory=dict)
    choosers: frozenset[str] = frozenset()


OnCase = Callable[[Case, Prediction, CaseScore], None]
"""A function that is given each case, the prediction that was scored, and the scores."""


def evaluate(
    model: Model,
    records: Sequence[CaseRecord],
    survey: Survey,
    provenance: Provenance,
    *,
    on_case: OnCase = lambda _case, _prediction, _score: None,
) -> Evaluation:
    """Score a model on cases.

    Args:
        model: Model from ``open_model``.
        records: The cases to score.
        survey: A survey that includes these cases; it has decoded and hashed them once and drawn their truth.
        provenance: Knowledge of the model's training slices (``trace_training``).
        on_case: Called with each case, its prediction and its scores, in the order of the records.

    Raises:
        DataError: No case could be read.
    """
    scores, unreadable = score_cases(model, records, survey, provenance, on_case=on_case)
    findings = (*survey.findings, *unreadable)
    if not scores:
        raise DataError(describe_none_read(len(records), findings))
    return Evaluation(
        tuple(scores),
        findings,
        model={"name": model.name, "sha256": model.sha256},
        threshold=model.recipe.threshold,
        peak_threshold=model.recipe.peak_threshold,
        temperature=model.recipe.temperature,
        training_slices=provenance.total,
        compared_slices=provenance.at_hand,
        agreement=measure_agreement(survey),
        card=model.card,
        choosers=provenance.choosers,
    )


def score_cases(
    model: Model,
    records: Sequence[CaseRecord],
    survey: Survey,
    provenance: Provenance,
    *,
    on_case: OnCase = lambda _case, _prediction, _score: None,
) -> tuple[list[CaseScore], list[Finding]]:
    """Score a model on cases; each picture is decoded once, and all else comes from the survey.

    Args:
        model: Model from ``open_model``.
        records: The cases to score; the survey's findings name those that it could not read.
        survey: A survey that includes these cases.
        provenance: Knowledge of the model's training slices.
        on_case: Called with each case, its prediction and its scores.

    Returns:
        The scores, and a finding for each case that the survey could read and this function could not.
    """
    scores: list[CaseScore] = []
    findings: list[Finding] = []
    known = _look_up(records, survey, provenance)
    for each in track(known, "Evaluating", total=len(known)):
        try:
            case = read_surveyed(each.surveyed)
        except DataError as error:
            remedy = "check the file and evaluate again"
            findings.append(left_out("unreadable", each.surveyed.record.case_id, without_path(error), remedy))
            continue
        prediction = predict(model, case.slice)
        score = _score(each, case, prediction, provenance.baselines, model.recipe)
        scores.append(score)
        on_case(case, prediction, score)
    return scores, findings


@dataclass(frozen=True, eq=False)
class _Known:
    """The survey's knowledge of a case."""

    surveyed: SurveyedCase
    group: str
    leak: Leak | None
    clean: bool | None


def _look_up(records: Sequence[CaseRecord], survey: Survey, provenance: Provenance) -> list[_Known]:
    """Return what the survey found for each record, without those that it could not read."""
    leaks = provenance.find_leaks(survey)
    without_leak = True if provenance.complete else None
    known = {}
    for surveyed, group in zip(survey.cases, survey.blocks, strict=True):
        leak = leaks.get(surveyed.record.case_id)
        known[surveyed.record.case_id] = _Known(surveyed, group, leak, False if leak else without_leak)
    return [known[record.case_id] for record in records if record.case_id in known]


def read_surveyed(surveyed: SurveyedCase) -> Case:
    """Decode the picture of a surveyed case; its truth was drawn by the survey.

    Raises:
        DataError: It is not annotated, cannot be read, or changed since.
    """
    record = surveyed.record
    if surveyed.packed_truth is None:
        raise DataError(f"{record.case_id}: is not annotated; outline the tumour, or leave the image out")
    image = read_image(record)
    if image.size_hw != surveyed.size_hw:
        raise DataError(f"{record.case_id}: changed while it was being evaluated; evaluate again")
    return Case(record, image, surveyed.truth())


def _score(known: _Known, case: Case, prediction: Prediction, baselines: Baselines, recipe: Recipe) -> CaseScore:
    truth, mask, probability = case.truth, prediction.mask, prediction.probability
    spacing_mm = case.slice.spacing_mm
    return CaseScore(
        file=case.record.case_id,
        part=case.record.part,
        source=case.record.source,
        patient=case.record.patient or "",
        sha256=known.surveyed.sha256,
        group=known.group,
        leak=known.leak,
        clean=known.clean,
        shape=_name_shape(case.record),
        in_mm=spacing_mm is not None,
        counts=count_pixels(mask, truth),
        surface=compare_surfaces(mask, truth, spacing=spacing_mm or (1.0, 1.0), tolerance=TOLERANCE),
        lesions=count_lesions(mask, truth),
        marks=measure_marks(drop_specks(probability >= recipe.threshold, probability), probability, truth),
        confidence=prediction.confidence,
        features=tuple(mask_features(probability, mask).tolist()),
        histogram=count_logits(probability, mask, truth),
        baselines=baselines.score(case),
        tumour_class=case.record.tumour_class,
        plane=case.record.plane or prediction.acquisition.plane or "",
        temperature=recipe.temperature,
    )


def _name_shape(record: CaseRecord) -> str:
    if not isinstance(record.truth, tuple):
        return "mask"
    shapes = {type(region).__name__.lower() for region in record.truth}
    return "mixed" if len(shapes) > 1 else next(iter(shapes), "none")
