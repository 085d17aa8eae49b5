"""Records of models, pictures, slices and volumes, as results hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tumortrace.inference.acquisition import UNKNOWN, Acquisition
from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.prompts.prompt import describe_prompts
from tumortrace.inference.results.unit_record import Record
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.inference.volume_predict import SliceResult, VolumePrediction


def describe_model(model: Model | PromptModel) -> Record:
    """Describe a model as ``results.json`` does."""
    return {"name": model.name, "sha256": model.sha256, "threshold": model.recipe.threshold}


def describe(prediction: Prediction, *, file: str, mask: str | None, spacing_mm: tuple[float, float] | None) -> Record:
    """Describe a picture that could be read.

    Args:
        prediction: Prediction for the picture.
        file: Path of the picture.
        mask: Path of its mask within the folder of the results; None for a rejected picture.
        spacing_mm: Distance between pixel centres along rows and columns; None if unknown.
    """
    measured = _nothing() if prediction.rejected else _rate(prediction, spacing_mm, review=prediction.review)
    return {
        "file": file,
        "slice_index": None,
        "mask": mask,
        "status": "rejected" if prediction.rejected else "ok",
        "reason": "; ".join(prediction.reasons),
        **measured,
        "prompt": describe_prompts(prediction.prompts),
    }


def describe_slice(one: SliceResult, item: VolumeFile, *, mask: str | None, reason: str = "") -> Record:
    """Describe one slice of a volume.

    Args:
        one: Result of the slice, after the vote of its neighbours.
        item: Volume that it belongs to.
        mask: Path of the volume's mask within the folder of the results; None if it was rejected or failed as a whole.
        reason: Reason why the volume was rejected as a whole; empty if it was not.
    """
    file, reasons = str(item.volume.sources[one.index].path), "; ".join(one.reasons)
    if one.failed:
        record = describe_failure(reasons, file=file)
    elif one.rejected or reason:
        cause = reasons if one.rejected else reason
        record = {"file": file, "mask": None, "status": "rejected", "reason": cause, **_nothing()}
    else:
        rated = _rate(one, item.volume.spacing_mm, review=bool(one.reasons))
        record = {"file": file, "mask": mask, "status": "ok", "reason": reasons, **rated}
        record["prompt"] = describe_prompts(one.prompts)
    return {**describe_failure("", file=file), **record, "slice_index": one.index, "seconds": one.seconds}


def describe_volume(
    prediction: VolumePrediction, item: VolumeFile, *, mask: str | None, reasons: Sequence[str]
) -> Record:
    """Describe a volume.

    Args:
        prediction: Prediction for the volume.
        item: The volume.
        mask: Path of its mask within the folder of the results; None if it was rejected or failed.
        reasons: Reasons for the review, the rejection or the failure.
    """
    volume = item.volume
    head = {"file": item.file, "series_uid": volume.series_uid, "mask": mask, "reason": "; ".join(reasons)}
    if prediction.rejected or prediction.failed:
        status = "rejected" if prediction.rejected else "error"
        return {**describe_volume_failure("", file=""), **head, "status": status, "slices": len(volume)}
    volume_mm3 = None if volume.voxel_mm3 is None else int((prediction.labels > 0).sum()) * volume.voxel_mm3
    lesions = [{key: value for key, value in vars(each).items() if key != "voxels"} for each in prediction.lesions]
    return {
        **describe_volume_failure("", file=""),
        **head,
        "status": "ok",
        "volume_mm3": volume_mm3,
        "slices": len(volume),
        "slices_with_tumour": prediction.slices_with_tumour,
        "largest_diameter_mm": prediction.largest_diameter_mm,
        "lesions": lesions,
        "review": bool(reasons),
        "prompt": describe_prompts(prediction.prompts),
    }


def describe_volume_failure(reason: str, *, file: str) -> Record:
    """Describe a scan that could not be opened.

    Args:
        reason: One line that names the file.
        file: Path of the scan.
    """
    return {
        "file": file,
        "series_uid": None,
        "mask": None,
        "status": "error",
        "reason": reason,
        "volume_mm3": None,
        "slices": None,
        "slices_with_tumour": None,
        "largest_diameter_mm": None,
        "lesions": [],
        "review": True,
        "prompt": None,
    }


def describe_failure(reason: str, *, file: str) -> Record:
    """Describe a picture that could not be read or segmented.

    Args:
        reason: One line that names the file.
        file: Path of the picture.
    """
    return {"file": file, "slice_index": None, "mask": None, "status": "error", "reason": reason, **_nothing()}


def _rate(one: Prediction | SliceResult, spacing_mm: tuple[float, float] | None, *, review: bool) -> Record:
    area_px = int(np.count_nonzero(one.mask))  # ten times as fast as a sum
    return {
        "tumour": area_px > 0,
        "confidence": round(one.confidence, 4),
        "review": review,
        **describe_acquisition(one.acquisition),
        "area_px": area_px,
        "area_mm2": area_px * spacing_mm[0] * spacing_mm[1] if spacing_mm else None,
        "lesions": [vars(lesion) for lesion in one.lesions],
    }


def describe_acquisition(acquisition: Acquisition) -> Record:
    """Describe plane and contrast of a slice, as far as they are recognised."""
    return {
        "plane": acquisition.plane,
        "plane_confidence": round(acquisition.plane_confidence, 4),
        "contrast": acquisition.contrast,
        "contrast_confidence": round(acquisition.contrast_confidence, 4),
    }


def _nothing() -> Record:
    """Nothing is known of a picture without a mask: neither that there is a tumour nor that there is none."""
    unknown = dict.fromkeys(("tumour", "confidence"))
    acquisition = dict.fromkeys(describe_acquisition(UNKNOWN))
    sizes: Record = {"area_px": None, "area_mm2": None, "lesions": []}
    return {**unknown, "review": True, **acquisition, **sizes, "prompt": None}
