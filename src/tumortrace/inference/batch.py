"""Segment many pictures: a mask for each, and a record for each whatever happens."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import read_slice
from tumortrace.errors import DataError, TumortraceError, printable
from tumortrace.files import write_atomically
from tumortrace.inference.overlay import draw_overlay
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.pictures import PictureFile, place_of
from tumortrace.inference.results import (
    Record,
    ResultsWriter,
    describe,
    describe_failure,
    open_results,
    read_masks,
)
from tumortrace.inference.segmenter import Segmenter
from tumortrace.locks import lock_folder
from tumortrace.progress import track
from tumortrace.signed_png import is_signed_png, sign_png

NAMED = 10
"""Number of pictures of each kind that a summary names; ``results.json`` names all."""

DISK_FAULTS = {
    number
    for number, name in errno.errorcode.items()
    if name in {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EMFILE", "ENFILE"}  # Windows lacks some
}
"""Faults in writing that the next picture would meet too; any other is due to the names of one picture's files."""


@dataclass(frozen=True)
class SegmentSummary:
    """What became of the pictures of one run.

    Attributes:
        out: Folder of the results.
        ok: Number of segmented pictures.
        tumours: Number of these with a tumour.
        review: Number of pictures to review, as in ``results.json``; rejected and failed ones are among them.
        rejected: Number of pictures that are no brain MR slices.
        skipped: Number of files of other types.
        own: Number of masks and overlays of earlier runs that lay among the pictures and were skipped.
        doubtful: First ``NAMED`` segmented pictures to review, each with its reasons.
        rejections: First ``NAMED`` rejected pictures, each with its reason.
        failures: Pictures that could not be segmented, each with its reason.
    """

    out: Path
    ok: int = 0
    tumours: int = 0
    review: int = 0
    rejected: int = 0
    skipped: int = 0
    own: int = 0
    doubtful: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of pictures."""
        return self.ok + self.rejected + len(self.failures)


def segment_pictures(  # noqa: PLR0913 - the settings of a run
    segmenter: Segmenter,
    pictures: Sequence[PictureFile],
    *,
    out: Path,
    skipped: Iterable[str] = (),
    overlay: bool = False,
    workers: int = 1,
    spacing_mm: tuple[float, float] | None = None,
) -> SegmentSummary:
    """Segment pictures; one that fails has the reason in its record, and the others go on.

    Writes ``NAME_mask.png`` (0 and 255, the picture's own size), ``NAME_overlay.png`` on demand, ``results.json`` and
    ``results.csv``, the last two also when the run is interrupted or the disk is full. A rejected picture has no mask.
    Masks and overlays of earlier runs among the pictures are skipped. Few pictures are in memory at a time.

    Args:
        segmenter: Segmenter, opened with ``threads=1`` if there are several workers.
        pictures: Pictures as ``find_pictures`` returns them.
        out: Folder for the results.
        skipped: Files that were passed over, for the record.
        overlay: Whether to draw each mask over its picture.
        workers: Number of pictures that are decoded and segmented at a time.
        spacing_mm: Distance between pixel centres along rows and columns; None takes what each file says.

    Raises:
        DataError: Another run writes into ``out``, a file that would be replaced there is not ours, or ``out`` holds
            masks of other pictures.
        OSError: The disk is full or fails; what was finished is kept.
    """
    tally = _Tally()
    others = list(skipped)
    skipped_count = len(others)
    work = partial(_segment_one, segmenter, overlay=overlay, spacing_mm=spacing_mm)
    with lock_folder(out), _one_opencv_thread():
        _refuse_overwriting(pictures, out)
        results_of = map_in_order(work, pictures, workers=workers)
        with (
            open_results(segmenter.model, others, out=out) as results,
            closing(track(results_of, "Segmenting", total=len(pictures))) as done,
        ):
            for picture, one in zip(pictures, done, strict=True):
                if one is None:
                    others.append(picture.path)
                else:
                    tally.count(_keep(picture, one, results, out=out))
    return tally.summarise(out, skipped=skipped_count, own=len(others) - skipped_count)


@dataclass
class _Tally:
    """What became of the pictures so far."""

    ok: int = 0
    tumours: int = 0
    review: int = 0
    rejected: int = 0
    doubtful: list[str] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, record: Record) -> None:
        """Add one picture."""
        self.review += record["review"]
        line = f"{record['file']}: {record['reason']}"
        if record["status"] == "ok":
            self.ok += 1
            self.tumours += record["tumour"]
            if record["review"] and len(self.doubtful) < NAMED:
                self.doubtful.append(line)
        elif record["status"] == "rejected":
            self.rejected += 1
            if len(self.rejections) < NAMED:
                self.rejections.append(line)
        else:
            self.failures.append(record["reason"])

    def summarise(self, out: Path, *, skipped: int, own: int) -> SegmentSummary:
        """Return the counts as they stand."""
        return SegmentSummary(
            out=out,
            ok=self.ok,
            tumours=self.tumours,
            review=self.review,
            rejected=self.rejected,
            skipped=skipped,
            own=own,
            doubtful=tuple(self.doubtful),
            rejections=tuple(self.rejections),
            failures=tuple(self.failures),
        )


@dataclass(frozen=True, eq=False)
class _Done:
    """A picture's record, and its files as PNG."""

    record: Record
    mask: bytes | None = None
    overlay: bytes | None = None


def _segment_one(
    segmenter: Segmenter, picture: PictureFile, *, overlay: bool, spacing_mm: tuple[float, float] | None
) -> _Done | None:
    """Segment one picture; None for a mask or overlay of an earlier run."""
    started = time.perf_counter()
    try:
        if is_signed_png(Path(picture.path)):
            return None
        done = _predict(segmenter, picture, overlay=overlay, spacing_mm=spacing_mm)
    except Exception as error:  # noqa: BLE001 - whatever a picture does to a decoder or the model, the others go on
        done = _Done(describe_failure(_explain(error, picture.path), file=picture.path))
    return _Done({**done.record, "seconds": round(time.perf_counter() - started, 4)}, done.mask, done.overlay)


def _predict(
    segmenter: Segmenter, picture: PictureFile, *, overlay: bool, spacing_mm: tuple[float, float] | None
) -> _Done:
    if picture.fault:
        raise DataError(picture.fault)
    image = read_slice(picture.path, spacing_mm=spacing_mm)
    prediction = segmenter.predict(image)
    name = None if prediction.rejected else _names(picture)[0]
    record = describe(prediction, file=picture.path, mask=name, spacing_mm=image.spacing_mm)
    if prediction.rejected:
        return _Done(record)
    mask = _encode(prediction.mask.astype(np.uint8) * np.uint8(255))
    return _Done(record, mask, _encode(draw_overlay(image.pixels, prediction.mask)) if overlay else None)


def _explain(error: Exception, path: str) -> str:
    """Say in one line that names the file why it could not be segmented."""
    if isinstance(error, TumortraceError):
        return str(error) if printable(path) in str(error) else f"{path}: {error}"
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory for this picture; reduce its size or free memory"
    if isinstance(error, OSError):
        return f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
    cause = " ".join(str(error).split())
    return f"{path}: cannot be segmented ({type(error).__name__}: {cause}); save it again as PNG"


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a mask (H, W) or a red-green-blue overlay (H, W, 3) as a PNG that says that it is ours."""
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    return sign_png(cv2.imencode(".png", ordered)[1].tobytes())


def _keep(picture: PictureFile, done: _Done, results: ResultsWriter, *, out: Path) -> Record:
    """Write a picture's files and its record, both or neither."""
    count = results.count
    try:
        record = _write(picture, done, out=out)
        results.add(record)
    except BaseException:  # an interruption too leaves no mask that the results do not name
        if results.count == count:
            _remove(picture, out)
        raise
    return record


def _write(picture: PictureFile, done: _Done, *, out: Path) -> Record:
    """Write a picture's files; return its record, or that of a failure where its files' names are not possible."""
    try:
        for name, png in zip(_names(picture), (done.mask, done.overlay), strict=not picture.fault):
            if png is not None:
                write_atomically(out / name, png)
            elif os.path.lexists(out / name):
                (out / name).unlink()
    except (OSError, DataError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            raise
        _remove(picture, out)
        cause = error.strerror if isinstance(error, OSError) else str(error)
        reason = f"{picture.path}: the files for it cannot be written ({cause}); rename the picture"
        return {**describe_failure(reason, file=picture.path), "seconds": done.record["seconds"]}
    return done.record


def _remove(picture: PictureFile, out: Path) -> None:
    for name in _names(picture):
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)


def _refuse_overwriting(pictures: Sequence[PictureFile], out: Path) -> None:
    """Refuse to replace what tumortrace did not write, and to leave masks beside results that do not name them."""
    earlier = read_masks(out)
    for picture in pictures:
        for name in _names(picture):
            path = out / name
            if os.path.lexists(path) and not is_signed_png(path):
                raise DataError(f"{path}: tumortrace did not write this file, or it was changed; choose another --out")
    ours = {(place_of(picture.path), name) for picture in pictures for name in _names(picture)[:1]}
    others = {mask for file, mask in earlier if (place_of(file), mask) not in ours}
    count = sum(os.path.exists(out / mask) for mask in others)
    if count:
        raise DataError(f"{out}: holds masks of other pictures ({count}); choose another --out, or remove them")


def _names(picture: PictureFile) -> tuple[str, ...]:
    """The mask and the overlay of a picture, within the folder of the results; none if there is no picture."""
    return () if picture.fault else (f"{picture.name}_mask.png", f"{picture.name}_overlay.png")


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: its own would wait for those that segment."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
