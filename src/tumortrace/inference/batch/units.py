"""Units of work: pictures, volumes and refused scans, in the order of a run."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, overload

from tumortrace.data.findings import Finding
from tumortrace.inference.batch.archives import keep_streams, load_ahead
from tumortrace.inference.batch.find_inputs import Inputs
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.segment_picture import PictureDone, segment_picture
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.volume_batch import describe_refused, finish_volume
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.results.unit_files import UnitDone
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.volume_predict import SliceResult, segment_slice
from tumortrace.progress import track

Unit: TypeAlias = Finding | PictureFile | VolumeFile
"""A scan that cannot be opened, a picture or a volume. It may be pickled."""


@dataclass(frozen=True)
class Units(Sequence[Unit]):
    """All units behind the inputs of a run: refused scans, pictures, volumes.

    The records of all units in this order are the results of the run, however many machines made them.

    Attributes:
        inputs: Inputs as ``find_inputs`` returns them.
    """

    inputs: Inputs

    def __len__(self) -> int:
        """Number of units."""
        return len(self.inputs.refused) + len(self.inputs.pictures) + len(self.inputs.volumes)

    @overload
    def __getitem__(self, number: int) -> Unit: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Unit]: ...
    def __getitem__(self, number: int | slice) -> Unit | Sequence[Unit]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        left = range(len(self))[number]
        for kind in (self.inputs.refused, self.inputs.pictures):
            if left < len(kind):
                return kind[left]
            left -= len(kind)
        return self.inputs.volumes[left]


def count_slices(units: Iterable[Unit]) -> int:
    """Return the number of pictures, and of slices of all volumes."""
    return sum(len(unit.volume) if isinstance(unit, VolumeFile) else 1 for unit in units)


def names_of(unit: Unit) -> tuple[str, ...]:
    """Return the names of all files that a run may write for a unit."""
    if isinstance(unit, Finding):
        return ()
    return unit.files if isinstance(unit, PictureFile) else unit.names


def segment_unit(segmenter: Segmenter, unit: Unit, settings: SegmentSettings) -> UnitDone:
    """Segment one unit; whatever goes wrong is in its record. Nothing is written.

    Args:
        segmenter: The segmenter.
        unit: The unit.
        settings: Settings of the run.
    """
    (done,) = segment_units(segmenter, [unit], settings)
    return done


def segment_units(
    segmenter: Segmenter, units: Iterable[Unit], settings: SegmentSettings, *, workers: int = 1, total: int = 1
) -> Generator[UnitDone, None, None]:
    """Segment units in their order, several pictures or slices at a time. Nothing is written.

    Few pictures are in memory at a time; of a volume, its masks.

    Args:
        segmenter: Segmenter, opened with ``threads=1`` if there are several workers.
        units: Units, drawn as they are needed.
        settings: Settings of the run.
        workers: Number of pictures or slices that are decoded and segmented at a time.
        total: Number of pictures and slices, for the progress bar.

    Yields:
        One for each unit.
    """
    slices: list[SliceResult] = []
    found = map_in_order(partial(_segment, segmenter, settings), _list_tasks(units), workers=workers)
    with keep_streams(), closing(track(found, "Segmenting", total=total)) as results:
        for unit, one in results:
            if isinstance(one, UnitDone):
                yield one
            elif isinstance(unit, VolumeFile):
                slices.append(one)
                if len(slices) == len(unit.volume):
                    yield finish_volume(unit, slices, segmenter, settings)
                    slices.clear()


def _list_tasks(units: Iterable[Unit]) -> Iterator[tuple[Unit, int]]:
    """Yield each unit that is done at once, and each slice of each volume with its index."""
    for one in units:
        unit = replace(one, source=load_ahead(one.source)) if isinstance(one, PictureFile) and one.source else one
        for index in range(len(unit.volume)) if isinstance(unit, VolumeFile) else (0,):
            yield unit, index


def _segment(
    segmenter: Segmenter, settings: SegmentSettings, task: tuple[Unit, int]
) -> tuple[Unit, UnitDone | SliceResult]:
    unit, index = task
    if isinstance(unit, PictureFile):
        return unit, _segment_picture(segmenter, unit, settings)
    if isinstance(unit, Finding):
        return unit, UnitDone(UnitRecord(volume=describe_refused(unit)))
    options = settings.options
    return unit, segment_slice(
        unit.volume, index, segmenter.predict, keep_levels=options.seg_fractional, keep_tile=settings.overlay
    )


def _segment_picture(segmenter: Segmenter, picture: PictureFile, settings: SegmentSettings) -> UnitDone:
    done = segment_picture(
        segmenter, picture, overlay=settings.overlay, spacing_mm=settings.spacing_mm, boxes=settings.boxes
    )
    return UnitDone(UnitRecord(passed=picture.path)) if done is None else _name_files(picture, done)


def _name_files(picture: PictureFile, done: PictureDone) -> UnitDone:
    pngs = zip(picture.files, (done.mask, done.overlay), strict=not picture.fault)
    files = {name: png for name, png in pngs if png is not None}
    return UnitDone(UnitRecord(images=(done.record,)), files, picture.files, done.sha256)
