"""A model against the truth: each case at its own resolution, each metric by its formula, beside trivial baselines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tumortrace.data.dataset import Case, CaseRecord, read_cases
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_case, hash_part
from tumortrace.data.slice import write_atomically
from tumortrace.errors import DataError
from tumortrace.inference.model import Model
from tumortrace.inference.segmenter import Prediction, predict
from tumortrace.progress import track
from tumortrace.trust.baselines import NearestMask, score_all_background
from tumortrace.trust.metrics import PixelCounts, Spread, count_pixels, summarise

METRICS = ("precision", "recall", "dice", "iou")


@dataclass(frozen=True)
class CaseScore:
    """One row of ``per_image.csv``.

    Attributes:
        file: The case's id.
        part: Its part of the dataset; empty if that is not divided.
        sha256: Of what the case shows (``hash_case``).
        counts: Its pixels at the image's own resolution.
        confidence: The model's own, 0 to 1.
        baselines: Pixels that each trivial baseline gets right and wrong on this case.
    """

    file: str
    part: str
    sha256: str
    counts: PixelCounts
    confidence: float
    baselines: dict[str, PixelCounts]


@dataclass(frozen=True)
class Evaluation:
    """A scored part of a dataset.

    Attributes:
        scores: One for each case that could be read.
        findings: Faults; the cases left out are among them.
        model: Name and SHA-256.
        threshold: Of the model's recipe.
    """

    scores: tuple[CaseScore, ...]
    findings: tuple[Finding, ...]
    model: dict[str, str]
    threshold: float


def evaluate(
    model: Model,
    records: Sequence[CaseRecord],
    *,
    training: Sequence[CaseRecord] = (),
    findings: Sequence[Finding] = (),
    on_case: Callable[[Case, Prediction], None] = lambda _case, _prediction: None,
) -> Evaluation:
    """Score a model on cases.

    Args:
        model: From ``open_model``.
        records: What to score on.
        training: The dataset's training cases, for the baseline that copies the nearest of their masks; without them
            it is left out.
        findings: Faults of the dataset known already; those met on the way are added.
        on_case: Called with each case and what the model says of it, as they come.

    Raises:
        DataError: Not one case could be read, or not one of the training cases.
    """
    nearest = NearestMask(training) if training else None
    scores: list[CaseScore] = []
    met: list[Finding] = []
    for _, case, faults in track(read_cases(tuple(records)), "Evaluating", total=len(records)):
        met += faults
        if case is not None:
            prediction = predict(model, case.slice)
            scores.append(_score(case, prediction, nearest))
            on_case(case, prediction)
    if not scores:
        first = f"; first: {met[0].line()}" if met else ""
        raise DataError(f"not one of {len(records)} cases can be read{first}")
    identity = {"name": model.name, "sha256": model.sha256}
    return Evaluation(tuple(scores), (*findings, *met), identity, model.recipe.threshold)


def includes_training(evaluation: Evaluation, *, trained_on: object) -> bool:
    """Whether the TRAIN part (or the whole of an undivided dataset) that was scored is what the model learnt from.

    Args:
        evaluation: Of any part.
        trained_on: SHA-256 of the training part from the model's card; None if it names none.
    """
    learnt = {score.file: score.sha256 for score in evaluation.scores if score.part in ("train", "")}
    return bool(learnt) and hash_part(learnt) == trained_on


def summarise_scores(counts: Iterable[PixelCounts]) -> dict[str, Spread]:
    """The report's Table I: each metric over the images."""
    listed = list(counts)
    return {metric: summarise(getattr(count, metric) for count in listed) for metric in METRICS}


def summary_document(evaluation: Evaluation) -> dict[str, Any]:
    """What ``summary.json`` holds: JSON values, with null for what is undefined."""
    spreads = summarise_scores(score.counts for score in evaluation.scores)
    names = evaluation.scores[0].baselines.keys()
    baselines = {
        name: {metric: asdict(spread) for metric, spread in _baseline(evaluation, name).items()} for name in names
    }
    document = {
        "n": len(evaluation.scores),
        "threshold": evaluation.threshold,
        **{metric: asdict(spread) for metric, spread in spreads.items()},
        "baselines": baselines,
        "model": evaluation.model,
        "data": {"sha256": hash_part({score.file: score.sha256 for score in evaluation.scores})},
        "findings": [asdict(finding) for finding in evaluation.findings],
    }
    return _nan_to_none(document)  # type: ignore[no-any-return] # a dict goes in, a dict comes out


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write ``per_image.csv`` and ``summary.json``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "part", "tp", "fp", "fn", "tn", *METRICS, "confidence"])
    for score in evaluation.scores:
        values = [_cell(getattr(score.counts, metric)) for metric in METRICS]
        writer.writerow([score.file, score.part, *asdict(score.counts).values(), *values, _cell(score.confidence)])
    write_atomically(out / "per_image.csv", text.getvalue().encode())
    document = json.dumps(summary_document(evaluation), indent=2, allow_nan=False) + "\n"
    write_atomically(out / "summary.json", document.encode())


def rank_by_dice(evaluation: Evaluation) -> list[CaseScore]:
    """Cases from worst to best Dice, those without a Dice left out; equal ones in the order of their names."""
    defined = [score for score in evaluation.scores if not math.isnan(score.counts.dice)]
    return sorted(defined, key=lambda score: score.counts.dice)


def baseline_spreads(evaluation: Evaluation) -> dict[str, dict[str, Spread]]:
    """Each baseline's table, by its name."""
    return {name: _baseline(evaluation, name) for name in evaluation.scores[0].baselines}


def _score(case: Case, prediction: Prediction, nearest: NearestMask | None) -> CaseScore:
    baselines = {"all_background": score_all_background(case)}
    if nearest is not None:
        copied, _, _ = nearest.predict(case.slice.pixels)
        baselines["nearest_training_mask"] = count_pixels(copied, case.truth)
    counts = count_pixels(prediction.mask, case.truth)
    return CaseScore(
        file=case.record.case_id,
        part=case.record.part,
        sha256=hash_case(case),
        counts=counts,
        confidence=prediction.confidence,
        baselines=baselines,
    )


def _baseline(evaluation: Evaluation, name: str) -> dict[str, Spread]:
    return summarise_scores(score.baselines[name] for score in evaluation.scores)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _nan_to_none(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
