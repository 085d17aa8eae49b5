"""Segment one picture file: its record, and its mask and overlay as PNG."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tumortrace.data.slice import Slice
from tumortrace.data.slice_file import read_slice
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.explain import explain_failure
from tumortrace.inference.overlay import draw_overlay
from tumortrace.inference.predict import Prediction
from tumortrace.inference.prompts.boxes import Boxes
from tumortrace.inference.prompts.grid import Box
from tumortrace.inference.prompts.session import merge_predictions
from tumortrace.inference.results.describe import describe, describe_failure
from tumortrace.inference.results.signed import encode_signed_mask, encode_signed_png
from tumortrace.inference.results.unit_record import Record
from tumortrace.inference.segmenter import Segmenter
from tumortrace.signed_png import is_signed_png_bytes


@dataclass(frozen=True, eq=False)
class PictureDone:
    """A picture's record, and its files.

    Attributes:
        record: Record, as ``results.json`` holds it.
        mask: Mask as PNG; None if the picture was rejected or failed.
        overlay: Mask drawn over the picture, as PNG, where one was asked for.
        image: The picture itself, where it was asked for and could be read.
        prediction: Prediction, likewise.
        sha256: SHA-256 of the file; empty where it could not be read.
    """

    record: Record
    mask: bytes | None = None
    overlay: bytes | None = None
    image: Slice | None = None
    prediction: Prediction | None = None
    sha256: str = ""


def segment_picture(
    segmenter: Segmenter,
    picture: PictureFile,
    *,
    overlay: bool = False,
    spacing_mm: tuple[float, float] | None = None,
    keep: bool = False,
    boxes: Boxes | None = None,
) -> PictureDone | None:
    """Segment one picture; whatever goes wrong is in its record.

    Args:
        segmenter: The segmenter.
        picture: The picture.
        overlay: Whether to draw its mask over it.
        spacing_mm: Distance between pixel centres along rows and columns; None takes what the file says.
        keep: Whether to keep the picture and the prediction.
        boxes: Boxes around the tumours; None segments automatically.

    Returns:
        None for a mask or overlay of an earlier run.
    """
    started = time.perf_counter()
    sha256 = ""
    try:
        data = picture.read()
        if is_signed_png_bytes(data):
            return None
        sha256 = hashlib.sha256(data).hexdigest()
        image = read_slice(picture.place, spacing_mm=spacing_mm, data=data)
        del data
        prediction = (
            segmenter.predict(image) if boxes is None else _predict_boxes(segmenter, image, boxes.of(picture.path))
        )
        done = finish_picture(picture, image, prediction, overlay=overlay)
    except Exception as error:  # noqa: BLE001 - whatever a picture does to a decoder or the model, the others go on
        done = PictureDone(describe_failure(explain_failure(error, picture.path), file=picture.path))
    kept = done if keep else replace(done, image=None, prediction=None)
    return replace(kept, record={**done.record, "seconds": round(time.perf_counter() - started, 4)}, sha256=sha256)


def finish_picture(picture: PictureFile, image: Slice, prediction: Prediction, *, overlay: bool = False) -> PictureDone:
    """Describe a segmented picture, and encode its mask and, where it is asked for, an overlay."""
    name = None if prediction.rejected else picture.files[0]
    record = describe(prediction, file=picture.path, mask=name, spacing_mm=image.spacing_mm)
    if prediction.rejected:
        return PictureDone(record, image=image, prediction=prediction)
    drawn = encode_signed_png(draw_overlay(image.pixels, prediction.mask)) if overlay else None
    return PictureDone(record, encode_signed_mask(prediction.mask), drawn, image, prediction)


def _predict_boxes(segmenter: Segmenter, image: Slice, boxes: Sequence[Box]) -> Prediction:
    """Segment what the boxes on a picture mean, as one mask."""
    session = segmenter.point(image)
    return merge_predictions([session.predict(box) for box in boxes], image)
