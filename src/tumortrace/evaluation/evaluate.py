"""A model against the truth: each case at its own resolution, each metric by its formula, beside trivial baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tumortrace.copies.agreement import Agreement, measure_agreement
from tumortrace.copies.leakage import Leak, find_leaks
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex
from tumortrace.data.cases import Case, CaseRecord, read_cases
from tumortrace.data.findings import Finding, describe_main_cause
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import DataError
from tumortrace.evaluation.baselines import Baselines
from tumortrace.inference.confidence import mask_features
from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction, predict
from tumortrace.metrics.calibration import CaseHistogram, count_logits
from tumortrace.metrics.lesions import LesionCounts, count_lesions
from tumortrace.metrics.overlap import PixelCounts, count_pixels
from tumortrace.metrics.surface import SurfaceScores, compare_surfaces
from tumortrace.progress import track

TOLERANCE = 2.0
"""Of the normalised surface distance, in pixels, or in millimetres where a picture says how large its pixels are."""

OnCase = Callable[[Case, Prediction], None]


@dataclass(frozen=True, eq=False)
class CaseScore:
    """One row of ``per_image.csv``.

    Attributes:
        file: The case's id.
        part: Its part of the dataset; empty if that is not divided.
        source: The dataset it comes from.
        sha256: Of what the case shows (``hash_case``).
        group: Of its copies; its own if it has none.
        leak: What it shares with the training slices; None if nothing.
        clean: Whether it shares nothing; None if it is unknown what the model was trained on.
        shape: How its tumours were outlined: polygon, ellipse, circle, mixed, mask, or another shape.
        in_mm: Whether distances are in millimetres.
        counts: Its pixels at the image's own resolution.
        surface: Distances between the borders of mask and truth.
        lesions: Lesions found and marked.
        confidence: The model's own, 0 to 1.
        features: What the confidence is computed from (``inference.confidence.mask_features``).
        histogram: The model's probabilities, by truth.
        baselines: Pixels that each trivial baseline gets right and wrong on this case.
        fold: That the case was held out in; empty outside a cross-validation.
    """

    file: str
    part: str
    source: str
    sha256: str
    group: str
    leak: Leak | None
    clean: bool | None
    shape: str
    in_mm: bool
    counts: PixelCounts
    surface: SurfaceScores
    lesions: LesionCounts
    confidence: float
    features: tuple[float, ...]
    histogram: CaseHistogram
    baselines: dict[str, PixelCounts]
    fold: str = ""

    @property
    def tumour_px(self) -> int:
        """Pixels of the truth."""
        return self.counts.tp + self.counts.fn

    @property
    def predicted_px(self) -> int:
        """Pixels of the predicted mask."""
        return self.counts.tp + self.counts.fp

    @property
    def tumour_share(self) -> float:
        """Share of the frame that is tumour, 0 to 1."""
        return self.tumour_px / (self.tumour_px + self.counts.fp + self.counts.tn)


@dataclass(frozen=True)
class Evaluation:
    """A scored part of a dataset.

    Attributes:
        scores: One for each case that could be read.
        findings: Faults; the cases left out are among them.
        model: Name and SHA-256.
        threshold: Of the model's recipe.
        peak_threshold: Of the model's recipe.
        temperature: Of the model's recipe.
        agreement: Of the annotators; None if no slice was outlined twice.
        card: What the model's maker said of it.
    """

    scores: tuple[CaseScore, ...]
    findings: tuple[Finding, ...]
    model: dict[str, str]
    threshold: float
    peak_threshold: float = 0.0
    temperature: float = 1.0
    agreement: Agreement | None = None
    card: dict[str, object] = field(default_factory=dict)


def evaluate(
    model: Model,
    records: Sequence[CaseRecord],
    survey: Survey,
    *,
    memory: TrainingIndex | None,
    baselines: Baselines | None = None,
    on_case: OnCase = lambda _case, _prediction: None,
) -> Evaluation:
    """Score a model on cases.

    Args:
        model: From ``open_model``.
        records: What to score on.
        survey: A survey that holds these cases, for their groups and the annotators' agreement.
        memory: Of what the model was trained on; None if that is unknown: then no case is called clean or leaked.
        baselines: Trivial ones; from the memory if None.
        on_case: Called with each case and what the model says of it, as they come.

    Raises:
        DataError: Not one case could be read.
    """
    leaks = find_leaks(survey, memory) if memory else None
    groups = {case.record.case_id: group for case, group in zip(survey.cases, survey.groups, strict=True)}
    trivial = baselines or Baselines(memory)
    scores: list[CaseScore] = []
    findings: list[Finding] = []
    for record, case, met in track(read_cases(tuple(records)), "Evaluating", total=len(records)):
        findings += met
        if case is not None:
            prediction = predict(model, case.slice)
            leak = leaks.get(record.case_id) if leaks is not None else None
            clean = None if leaks is None else leak is None
            group = groups.get(record.case_id, record.case_id)
            scores.append(_score(case, prediction, trivial=trivial, group=group, leak=leak, clean=clean))
            on_case(case, prediction)
    if not scores:
        first = f"; {describe_main_cause(findings)}" if findings else ""
        raise DataError(f"not one of {len(records)} cases can be read{first}")
    return Evaluation(
        tuple(scores),
        tuple(findings),
        model={"name": model.name, "sha256": model.sha256},
        threshold=model.recipe.threshold,
        peak_threshold=model.recipe.peak_threshold,
        temperature=model.recipe.temperature,
        agreement=measure_agreement(survey),
        card=model.card,
    )


def rank_by_dice(scores: Sequence[CaseScore]) -> list[CaseScore]:
    """Cases from worst to best Dice, those without a Dice left out; equal ones in the order of their names."""
    defined = [score for score in scores if not math.isnan(score.counts.dice)]
    return sorted(defined, key=lambda score: score.counts.dice)


def _score(
    case: Case, prediction: Prediction, *, trivial: Baselines, group: str, leak: Leak | None, clean: bool | None
) -> CaseScore:
    truth, mask = case.truth, prediction.mask
    spacing_mm = case.slice.spacing_mm
    return CaseScore(
        file=case.record.case_id,
        part=case.record.part,
        source=case.record.source,
        sha256=hash_case(case),
        group=group,
        leak=leak,
        clean=clean,
        shape=_name_shape(case.record),
        in_mm=spacing_mm is not None,
        counts=count_pixels(mask, truth),
        surface=compare_surfaces(mask, truth, spacing=spacing_mm or (1.0, 1.0), tolerance=TOLERANCE),
        lesions=count_lesions(mask, truth),
        confidence=prediction.confidence,
        features=tuple(mask_features(prediction.probability, mask).tolist()),
        histogram=count_logits(prediction.probability, mask, truth),
        baselines=trivial.score(case),
    )


def _name_shape(record: CaseRecord) -> str:
    if not isinstance(record.truth, tuple):
        return "mask"
    shapes = {type(region).__name__.lower() for region in record.truth}
    return shapes.pop() if len(shapes) == 1 else "mixed"
