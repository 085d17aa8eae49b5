"""Segment what a user names: files, folders and patterns, or a generated slice."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.png_writing import write_png
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError, require_extra
from tumortrace.inference.batch.find_inputs import Inputs, find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.pictures import refuse_out_among_pictures
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.shards import Shard, read_shard, segment_shard
from tumortrace.inference.batch.units import Units
from tumortrace.inference.model import SHIPPED
from tumortrace.inference.prompts.boxes import Boxes, read_boxes
from tumortrace.inference.results.tally import SegmentSummary
from tumortrace.inference.results.volume_files import VolumeFile, VolumeOptions
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import usable_cores
from tumortrace.progress import track

_FINEST_MM, _COARSEST_MM = 0.02, 20
"""Smallest and largest distance of pixels that is taken for one in millimetres; scans have 0.1 to 7."""

FilePath = str | PathLike[str]


class Engine(Protocol):
    """What segments all inputs of a run in another way than here, with the same results."""

    def __call__(
        self, segmenter: Segmenter, inputs: Inputs, /, *, out: Path, settings: SegmentSettings
    ) -> SegmentSummary:
        """Do as ``batch.segment_all``."""


ONE_A_CORE = 4
"""Number of pictures and slices from which each core takes one of its own; fewer are segmented one by one."""

SAMPLE = "sample"
"""Name of the generated slice."""


def segment_inputs(  # noqa: PLR0913 - the settings of a run
    inputs: FilePath | Sequence[FilePath],
    *,
    out: FilePath,
    model: str = "default",
    overlay: bool = False,
    tta: bool = False,
    gate: bool = True,
    spacing_mm: tuple[float, float] | None = None,
    series_uid: str | None = None,
    options: VolumeOptions | None = None,
    send: str | None = None,
    box: str | None = None,
    shard: str | None = None,
    engine: Engine | None = None,
) -> SegmentSummary:
    """Segment files, folders and glob patterns, and fill a folder with masks and ``results.json``.

    Args:
        inputs: Files, folders and patterns; or one of them.
        out: Folder for the results.
        model: ``"default"``, a run folder or an ``.onnx`` file; with a box, ``"default"`` or the run folder of a
            prompted model.
        overlay: Whether to draw each mask over its picture, and all slices of a volume on one sheet.
        tta: Whether to average over the slice and its mirror image.
        gate: Whether to reject pictures that are no brain MR slices.
        spacing_mm: Distance between pixel centres along rows and columns of pictures; None takes what each file says.
            Volumes have spacings of their own.
        series_uid: SeriesInstanceUID of the only DICOM series to segment; None takes everything.
        options: Files to write for volumes; None writes their masks.
        send: Address of a DICOMweb service to which the DICOM-SEGs are sent when all are written; None sends nothing.
        box: Box around the tumour as ``boxes.read_boxes`` takes it; None segments automatically.
        shard: Part of the inputs, ``"I/N"``: every N-th picture and volume, the same folder for all shards. The shard
            that ends last writes ``results.json``; one that was killed is run again and goes on. None takes all.
        engine: Function that segments all inputs elsewhere, for example on a cluster; None segments them here.

    Raises:
        DataError: An input does not exist, there is no picture, the box cannot be read or is no picture's, a spacing
            is given for volumes alone, ``out`` is no place for these results, or ``send`` is no address.
        ModelError: There is no such model.
    """
    if send is not None:
        _check_archive(send)
    named = [os.fspath(each) for each in ([inputs] if isinstance(inputs, str | PathLike) else inputs)]
    if not os.fspath(out).strip():
        raise DataError("out is empty; name a folder for the results")
    _check_spacing(spacing_mm)
    boxes = None if box is None else _read_boxes(box, model)
    part = None if shard is None else read_shard(shard)
    refuse_out_among_pictures(Path(out), named)
    options = options or VolumeOptions()
    found = find_inputs(named, series_uid=series_uid, bids=options.bids)
    if spacing_mm and found.volumes and not found.pictures:
        raise DataError(f"{found.volumes[0].file}: --spacing-mm is for pictures, and this is a volume; omit it")
    if send is not None and not any(item.volume.kind == "dicom" for item in found.volumes):
        raise DataError(f"{' '.join(named)}: no DICOM series, so there is nothing to send to {send}; omit --send")
    boxes, unused = (None, ()) if boxes is None else _match_boxes(boxes, found)
    workers = _choose_workers(found)
    models = {"model": model} if boxes is None or model in SHIPPED else {"prompted": model}
    segmenter = Segmenter(**models, threads=1 if workers > 1 or engine else 0, tta=tta, gate=gate)
    settings = SegmentSettings(overlay, spacing_mm, options, boxes)
    if engine is not None:
        summary = engine(segmenter, found, out=Path(out), settings=settings)
    elif part is None:
        summary = segment_all(segmenter, found, out=Path(out), settings=settings, workers=workers)
    else:
        summary = segment_shard(segmenter, found, part, out=Path(out), settings=settings, workers=workers)
    summary = replace(summary, unused_rows=unused)
    return summary if send is None else _send(summary, _list_segs(found, part, Path(out)), send)


def _check_archive(url: str) -> None:
    """Refuse a wrong address before any work, and what cannot write what is sent."""
    require_extra("formats", purpose="write DICOM-SEGs")
    from tumortrace.inference.batch.dicomweb import check_url

    check_url(url)


def _read_boxes(box: str, model: str) -> Boxes:
    boxes = read_boxes(box)
    if model == "fast":
        raise DataError("fast is no model for boxes; omit --model, or give the run folder of a prompted model")
    return boxes


def _choose_workers(inputs: Inputs) -> int:
    """Choose how many pictures or slices are segmented at a time.

    Many are fastest with one a core and one more, for when one waits for the interpreter; a few are fastest with all
    cores on each.
    """
    count = len(inputs.pictures) + sum(len(item.volume) for item in inputs.volumes)
    return usable_cores() + 1 if count >= ONE_A_CORE else 1


def _match_boxes(boxes: Boxes, inputs: Inputs) -> tuple[Boxes, tuple[str, ...]]:
    """Find the pictures of the boxes, before any work; see ``Boxes.match``."""
    if inputs.volumes:
        raise DataError(
            f"{inputs.volumes[0].file}: --box is for pictures, and this is a volume; "
            "give the box to Segmenter.predict_volume with its slice_index"
        )
    return boxes.match(picture.path for picture in inputs.pictures)


def _list_segs(found: Inputs, part: Shard | None, out: Path) -> list[Path]:
    """Paths of the DICOM-SEGs of all volumes, or of those of a shard."""
    units = Units(found)
    mine = units if part is None else units[part.index - 1 :: part.count]
    return [out / unit.seg for unit in mine if isinstance(unit, VolumeFile)]


def _send(summary: SegmentSummary, files: Sequence[Path], url: str) -> SegmentSummary:
    """Send the DICOM-SEGs that were written; one that is not stored is a failure, and the others go on."""
    from tumortrace.inference.batch.dicomweb import send_seg

    written = [path for path in files if path.is_file()]
    failures = []
    for path in track(written, "Sending", total=len(written)):
        try:
            send_seg(path, url)
        except DataError as error:
            failures.append(str(error))
    volumes = replace(summary.volumes, failures=(*summary.volumes.failures, *failures))
    return replace(summary, volumes=volumes, sent=len(written) - len(failures))


def segment_sample(
    *,
    out: Path,
    model: str = "default",
    tta: bool = False,
    gate: bool = True,
    spacing_mm: tuple[float, float] | None = None,
) -> SegmentSummary:
    """Draw a slice with a tumour and segment it, with mask and overlay beside it.

    Args:
        out: Folder for the slice and the results.
        model: ``"default"``, a run folder or an ``.onnx`` file.
        tta: Whether to average over the slice and its mirror image.
        gate: Whether to reject the slice if it seems no brain MR slice.
        spacing_mm: Distance between pixel centres along rows and columns; None if unknown.

    Raises:
        DataError: Another picture has the name of the slice, or ``out`` is no place for these results.
        ModelError: There is no such model.
    """
    from tumortrace.phantoms.slices import draw_phantom

    _check_spacing(spacing_mm)
    segmenter = Segmenter(model, tta=tta, gate=gate)
    path = out / f"{SAMPLE}.png"
    pixels = draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels
    if not path.exists():
        write_png(path, pixels)
    elif not _shows(path, pixels):
        raise DataError(f"{path}: exists, and is not the generated slice; choose another --out")
    inputs = Inputs((PictureFile(str(path), SAMPLE),))
    return segment_all(segmenter, inputs, out=out, settings=SegmentSettings(overlay=True, spacing_mm=spacing_mm))


def _shows(path: Path, pixels: NDArray[np.uint8]) -> bool:
    try:
        return np.array_equal(read_slice(path).pixels, pixels)
    except DataError:
        return False


def _check_spacing(spacing_mm: tuple[float, float] | None) -> None:
    """Refuse a wrong spacing once, before each picture does."""
    if spacing_mm is None or all(_FINEST_MM <= step <= _COARSEST_MM for step in spacing_mm):
        return
    given = f"--spacing-mm {' '.join(f'{step:g}' for step in spacing_mm)}"
    if not all(0 < step < math.inf for step in spacing_mm):
        raise DataError(f"{given}; give two positive numbers, for rows and columns")
    raise DataError(f"{given}: no scan has such pixels; give millimetres, {_FINEST_MM} to {_COARSEST_MM}")
