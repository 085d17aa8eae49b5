"""Many pictures, several at a time: a mask for each, and a record for each whatever happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import read_slice, write_png
from tumortrace.errors import DataError
from tumortrace.inference.overlay import draw_overlay
from tumortrace.inference.parallel import map_ahead
from tumortrace.inference.pictures import PictureFile, place_of
from tumortrace.inference.results import Record, describe, describe_failure, has_results, open_results, read_masks
from tumortrace.inference.segmenter import Segmenter
from tumortrace.progress import track

NAMED = 10
"""So many rejected pictures are kept by name for the terminal; ``results.json`` has all."""


@dataclass
class Tally:
    """What became of the pictures.

    Attributes:
        ok: How many were segmented.
        tumours: In how many of them is a tumour.
        review: How many a person should look at, as in ``results.json``: the rejected and failed ones are among them.
        rejected: How many are no brain MR slices.
        rejections: The first ``NAMED`` of these, each file with its reason.
        failures: Why the others could not be segmented, one line each that names the file.
    """

    ok: int = 0
    tumours: int = 0
    review: int = 0
    rejected: int = 0
    rejections: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, record: Record) -> None:
        """Take in one picture."""
        self.review += record["review"]
        if record["status"] == "ok":
            self.ok += 1
            self.tumours += record["tumour"]
        elif record["status"] == "rejected":
            self.rejected += 1
            if self.rejected <= NAMED:
                self.rejections.append(f"{record['file']}: {record['reason']}")
        else:
            self.failures.append(record["reason"])


@dataclass(frozen=True, eq=False)
class _Done:
    """A picture's record, and the files that go with it; what has none is removed, if an earlier run left it."""

    record: Record
    mask: NDArray[np.uint8] | None = None
    overlay: NDArray[np.uint8] | None = None


def segment_pictures(
    segmenter: Segmenter,
    pictures: Sequence[PictureFile],
    *,
    out: Path,
    skipped: Iterable[str] = (),
    overlay: bool = False,
    workers: int = 1,
) -> Tally:
    """Segment pictures; a file that fails is named in the results and the rest go on.

    Writes ``NAME_mask.png`` (0 and 255, the picture's own size), ``NAME_overlay.png`` on demand, and ``results.json``,
    the last also when the run is interrupted. A rejected picture has no mask. Few pictures are in memory at a time.

    Args:
        segmenter: Opened with ``threads=1`` if there are several workers.
        pictures: From ``find_pictures``.
        out: The folder to write to.
        skipped: Files that were passed over, for the record.
        overlay: Whether to draw each mask over its picture.
        workers: Pictures that are decoded and segmented at a time.

    Raises:
        DataError: A file that is not from an earlier run stands where a mask or overlay should go, or ``out`` holds
            masks of other pictures.
        ModelError: The model answers with NaN or infinity.
    """
    _refuse_overwriting(pictures, out)
    tally = Tally()
    work = partial(_segment_one, segmenter, overlay=overlay)
    with open_results(segmenter.model, skipped, out=out) as add:
        # Files are written here, in order, so that no interruption leaves a mask that the results do not name.
        done = track(map_ahead(work, pictures, workers=workers), "Segmenting", total=len(pictures))
        for picture, one in zip(pictures, done, strict=True):
            _write(picture, one, out=out)
            add(one.record)
            tally.count(one.record)
    return tally


def _segment_one(segmenter: Segmenter, picture: PictureFile, *, overlay: bool) -> _Done:
    started = time.perf_counter()
    try:
        image = read_slice(picture.path)
    except DataError as error:
        failure = describe_failure(str(error), file=picture.path)
        return _Done({**failure, "seconds": _since(started)})
    prediction = segmenter.predict(image)
    name = None if prediction.rejected else _names(picture)[0]
    record = describe(prediction, file=picture.path, mask=name, spacing_mm=image.spacing_mm)
    if prediction.rejected:
        return _Done({**record, "seconds": _since(started)})
    drawn = draw_overlay(image.pixels, prediction.mask) if overlay else None
    mask = prediction.mask.astype(np.uint8) * np.uint8(255)
    return _Done({**record, "seconds": _since(started)}, mask, drawn)


def _write(picture: PictureFile, done: _Done, *, out: Path) -> None:
    for name, pixels in zip(_names(picture), (done.mask, done.overlay), strict=True):
        if pixels is not None:
            write_png(out / name, pixels)
        else:
            (out / name).unlink(missing_ok=True)


def _refuse_overwriting(pictures: Sequence[PictureFile], out: Path) -> None:
    if not out.is_dir():
        return
    if has_results(out):
        _refuse_other_masks(pictures, out)
        return  # what stands there is from an earlier run, and may be replaced
    for picture in pictures:
        for name in _names(picture):
            if (out / name).exists():
                raise DataError(
                    f"{out / name}: exists, and no results.json beside it says that it is ours; choose another --out"
                )


def _refuse_other_masks(pictures: Sequence[PictureFile], out: Path) -> None:
    """Masks of other pictures would stay beside results that do not name them."""
    ours = {(place_of(picture.path), _names(picture)[0]) for picture in pictures}
    earlier = {mask for file, mask in read_masks(out) if (place_of(file), mask) not in ours}
    others = sum((out / mask).is_file() for mask in earlier)
    if others:
        raise DataError(f"{out}: holds masks of other pictures ({others}); choose another --out, or remove them")


def _names(picture: PictureFile) -> tuple[str, str]:
    """The mask and the overlay of a picture, within the folder of the results."""
    return f"{picture.name}_mask.png", f"{picture.name}_overlay.png"


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 4)
