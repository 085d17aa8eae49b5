"""Segment many pictures and volumes; each has a record whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2

from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.inference.bids import DESCRIPTION, describe_dataset, encode_json
from tumortrace.inference.boxes import Boxes
from tumortrace.inference.find_inputs import Inputs
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.pictures import PictureFile, place_of
from tumortrace.inference.results import (
    Record,
    ResultsWriter,
    describe_failure,
    open_results,
    read_masks,
)
from tumortrace.inference.segment_picture import PictureDone, segment_picture
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.signed import is_signed
from tumortrace.inference.tally import Counts, SegmentSummary, Tally
from tumortrace.inference.volume_batch import add_refused, write_volume
from tumortrace.inference.volume_files import VolumeFile, VolumeOptions
from tumortrace.inference.volume_predict import SliceResult, segment_slice
from tumortrace.inference.writing import is_disk_fault
from tumortrace.locks import lock_folder
from tumortrace.progress import track


def segment_all(  # noqa: PLR0913 - the settings of a run
    segmenter: Segmenter,
    inputs: Inputs,
    *,
    out: Path,
    overlay: bool = False,
    workers: int = 1,
    spacing_mm: tuple[float, float] | None = None,
    options: VolumeOptions | None = None,
    boxes: Boxes | None = None,
) -> SegmentSummary:
    """Segment pictures and volumes; one that fails has the reason in its record, and the others go on.

    Writes ``NAME_mask.png`` (0 and 255, the picture's own size) or ``NAME_mask.nii.gz``, ``NAME_overlay.png`` on
    demand, ``results.json`` and ``results.csv``, the last two also when the run is interrupted or the disk is full.
    What is rejected has no mask. Masks and overlays of earlier runs among the pictures are skipped. Few pictures are
    in memory at a time; of a volume, its masks.

    Args:
        segmenter: Segmenter, opened with ``threads=1`` if there are several workers.
        inputs: Pictures and volumes as ``find_inputs`` returns them.
        out: Folder for the results.
        overlay: Whether to draw each mask over its picture, and a contact sheet of each volume.
        workers: Number of pictures or slices that are decoded and segmented at a time.
        spacing_mm: Distance between pixel centres along rows and columns of pictures; None takes what each file says.
        options: Files to write for volumes; None writes their masks.
        boxes: Boxes around the tumours of the pictures; None segments them automatically.

    Raises:
        DataError: Another run writes into ``out``, a file that would be replaced there is not ours, or ``out`` holds
            masks of other pictures; or boxes are given for volumes, or for a picture that is none of the inputs.
        OSError: The disk is full or fails; what was finished is kept.
    """
    if boxes is not None:
        _refuse_boxes(boxes, inputs)
    run = _Run(segmenter, out, overlay=overlay, spacing_mm=spacing_mm, options=options or VolumeOptions(), boxes=boxes)
    objects = tuple(dict.fromkeys(finding.file for finding in inputs.passed))
    passed = [*inputs.skipped, *objects, *inputs.own]
    total = len(inputs.pictures) + sum(len(item.volume) for item in inputs.volumes)
    with lock_folder(out), _one_opencv_thread():
        _refuse_overwriting(inputs, out)
        results_of = map_in_order(run.segment, _list_tasks(inputs), workers=workers)
        with (
            open_results(segmenter.prompt_model if boxes else segmenter.model, passed, out=out) as results,
            closing(track(results_of, "Segmenting", total=total)) as done,
        ):
            run.begin(inputs, results)
            for task, one in zip(_list_tasks(inputs), done, strict=True):
                if one is None:
                    passed.append(task.path)
                else:
                    run.keep(task, one, results)
    own = len(passed) - len(inputs.skipped) - len(objects)
    summary = run.summarise(skipped=len(inputs.skipped), own=own)
    return replace(summary, objects=tuple(f"{each.file}: {each.cause}" for each in inputs.passed))


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
    """Segment pictures alone, as ``segment_all`` does.

    Args:
        segmenter: Segmenter, opened with ``threads=1`` if there are several workers.
        pictures: Pictures as ``find_pictures`` returns them.
        out: Folder for the results.
        skipped: Files that were passed over, for the record.
        overlay: Whether to draw each mask over its picture.
        workers: Number of pictures that are decoded and segmented at a time.
        spacing_mm: Distance between pixel centres along rows and columns; None takes what each file says.

    Raises:
        DataError: As ``segment_all``.
        OSError: As ``segment_all``.
    """
    inputs = Inputs(tuple(pictures), skipped=tuple(skipped))
    return segment_all(segmenter, inputs, out=out, overlay=overlay, workers=workers, spacing_mm=spacing_mm)


@dataclass(frozen=True, slots=True)
class _SliceTask:
    """One slice of a volume, to be segmented."""

    item: VolumeFile
    index: int

    @property
    def path(self) -> str:
        """File that holds it."""
        return str(self.item.volume.sources[self.index].path)


_Task = PictureFile | _SliceTask
"""What is segmented at a time."""


def _list_tasks(inputs: Inputs) -> Iterator[_Task]:
    """Yield all pictures, then all slices of all volumes in their order."""
    yield from inputs.pictures
    for item in inputs.volumes:
        for index in range(len(item.volume)):
            yield _SliceTask(item, index)


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: what it writes, and what became of its inputs so far. ``segment`` alone is called from threads."""

    segmenter: Segmenter
    out: Path
    overlay: bool
    spacing_mm: tuple[float, float] | None
    options: VolumeOptions
    boxes: Boxes | None = None
    pictures: Tally = field(default_factory=Tally)
    volumes: Tally = field(default_factory=Tally)
    slices: list[SliceResult] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)

    def segment(self, task: _Task) -> PictureDone | SliceResult | None:
        """Segment one picture or slice; None for a mask or overlay of an earlier run."""
        if isinstance(task, PictureFile):
            return segment_picture(
                self.segmenter, task, overlay=self.overlay, spacing_mm=self.spacing_mm, boxes=self.boxes
            )
        return segment_slice(
            task.item.volume,
            task.index,
            self.segmenter.predict,
            keep_levels=self.options.seg_fractional,
            keep_tile=self.overlay,
        )

    def begin(self, inputs: Inputs, results: ResultsWriter) -> None:
        """Write what is known before the first slice: the refused scans, and what the folder holds."""
        if self.options.bids and inputs.volumes:
            write_atomically(self.out / DESCRIPTION, encode_json(describe_dataset(self.segmenter.model)))
        for finding in inputs.refused:
            self.volumes.count(add_refused(finding, results).record)

    def keep(self, task: _Task, one: PictureDone | SliceResult, results: ResultsWriter) -> None:
        """Write a picture's files and record; of a volume, when its last slice is there."""
        if isinstance(task, PictureFile) and isinstance(one, PictureDone):
            self.pictures.count(_keep(task, one, results, out=self.out))
        elif isinstance(task, _SliceTask) and isinstance(one, SliceResult):
            self.slices.append(one)
            if len(self.slices) == len(task.item.volume):
                self._keep_volume(task.item, results)

    def _keep_volume(self, item: VolumeFile, results: ResultsWriter) -> None:
        written = write_volume(
            item,
            self.slices,
            results,
            segmenter=self.segmenter,
            out=self.out,
            options=self.options,
            overlay=self.overlay,
        )
        self.volumes.count(written.record, written.problems)
        self.counted.append(len(self.slices))
        self.slices.clear()

    def summarise(self, *, skipped: int, own: int) -> SegmentSummary:
        """Return the counts as they stand."""
        return SegmentSummary(
            **self.pictures.values(),
            out=self.out,
            volumes=Counts(**self.volumes.values()),
            slices=sum(self.counted),
            skipped=skipped,
            own=own,
        )


def _refuse_boxes(boxes: Boxes, inputs: Inputs) -> None:
    """Refuse boxes that fit no picture, before any work."""
    if inputs.volumes:
        raise DataError(
            f"{inputs.volumes[0].file}: --box is for pictures, and this is a volume; "
            "give the box to Segmenter.predict_volume with its slice_index"
        )
    boxes.refuse_unknown(picture.path for picture in inputs.pictures)


def _keep(picture: PictureFile, done: PictureDone, results: ResultsWriter, *, out: Path) -> Record:
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


def _write(picture: PictureFile, done: PictureDone, *, out: Path) -> Record:
    """Write a picture's files; return its record, or that of a failure where its files' names are not possible."""
    try:
        for name, png in zip(picture.files, (done.mask, done.overlay), strict=not picture.fault):
            if png is not None:
                write_atomically(out / name, png)
            elif os.path.lexists(out / name):
                (out / name).unlink()
    except (OSError, DataError) as error:
        if is_disk_fault(error):
            raise
        _remove(picture, out)
        cause = error.strerror if isinstance(error, OSError) else str(error)
        reason = f"{picture.path}: the files for it cannot be written ({cause}); rename the picture"
        return {**describe_failure(reason, file=picture.path), "seconds": done.record["seconds"]}
    return done.record


def _remove(picture: PictureFile, out: Path) -> None:
    for name in picture.files:
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)


def _refuse_overwriting(inputs: Inputs, out: Path) -> None:
    """Refuse to replace what tumortrace did not write, and to leave masks beside results that do not name them."""
    earlier = read_masks(out)
    names = [name for picture in inputs.pictures for name in picture.files]
    names += [name for item in inputs.volumes for name in item.names]
    names += [DESCRIPTION] if any(item.bids for item in inputs.volumes) else []
    for name in names:
        path = out / name
        if os.path.lexists(path) and not is_signed(path):
            raise DataError(f"{path}: tumortrace did not write this file, or it was changed; choose another --out")
    ours = {(place_of(picture.path), name) for picture in inputs.pictures for name in picture.files[:1]}
    ours |= {(place_of(str(source.path)), item.mask) for item in inputs.volumes for source in item.volume.sources}
    others = {mask for file, mask in earlier if (place_of(file), mask) not in ours}
    count = sum(os.path.exists(out / mask) for mask in others)
    if count:
        raise DataError(f"{out}: holds masks of other pictures ({count}); choose another --out, or remove them")


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: its own would wait for those that segment."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
