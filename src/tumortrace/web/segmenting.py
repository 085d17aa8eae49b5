"""The slices of a request, segmented one by one: the events of a reply."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.inference.batch.folder import list_skipped as list_skipped_files
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.segment_picture import PictureDone, segment_picture
from tumortrace.inference.batch.volume_batch import describe_all
from tumortrace.inference.batch.volume_batch import describe_refused as describe_refused_scan
from tumortrace.inference.model import Model
from tumortrace.inference.overlay import draw_overlay
from tumortrace.inference.predict import Prediction
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.results.describe import describe_model, describe_slice
from tumortrace.inference.results.signed import encode_signed_mask
from tumortrace.inference.results.unit_record import Record
from tumortrace.inference.results.volume_files import VolumeFile, VolumeOptions, encode_volume_seg
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.volume_predict import SliceResult, VolumePrediction, combine_slices, segment_slice, to_levels
from tumortrace.json_csv import Document
from tumortrace.web.engine import Engine
from tumortrace.web.opening import Opened
from tumortrace.web.pixels import describe_colours, describe_pixels, encode_levels


@dataclass(frozen=True)
class Wishes:
    """What a reply holds beside records and masks.

    Attributes:
        pixels: Whether to send the grey values of each slice.
        probability: Whether to send the probabilities of each slice.
        file: Ending of the only file that is wanted: ``jpg``, ``dcm`` or ``nii.gz``; empty for none.
    """

    pixels: bool = False
    probability: bool = False
    file: str = ""


@dataclass(frozen=True)
class SliceEvent:
    """A slice that is ready.

    Attributes:
        item: Number of its picture or volume.
        slice_index: Number of the slice, from 0.
        record: Record of the slice, before neighbours vote.
        mask: Mask as PNG; None if the slice was rejected or failed.
        extra: Pixels and probabilities, as far as they are wanted.
        overlay: Mask drawn over the picture, as JPEG, where it is wanted.
    """

    item: int
    slice_index: int
    record: Record
    mask: bytes | None = None
    extra: Document = field(default_factory=dict)
    overlay: bytes | None = None

    def document(self) -> Document:
        """Return the line of the stream."""
        head = {"type": "slice", "item": self.item, "slice_index": self.slice_index, "record": self.record}
        return {**head, "mask_png": encode_base64(self.mask), **self.extra}


@dataclass(frozen=True)
class VolumeEvent:
    """A volume whose slices are all there, after neighbours voted.

    Attributes:
        item: Number of the volume.
        record: Record of the volume.
        changed: Slices whose record or mask the vote changed.
        file: The file that is wanted; None if there is none.
    """

    item: int
    record: Record
    changed: tuple[SliceEvent, ...] = ()
    file: bytes | None = None

    def document(self) -> Document:
        """Return the line of the stream."""
        changed = [
            {"slice_index": one.slice_index, "record": one.record, "mask_png": encode_base64(one.mask)}
            for one in self.changed
        ]
        return {"type": "volume", "item": self.item, "record": self.record, "changed": changed}


Event = SliceEvent | VolumeEvent


def encode_base64(data: bytes | None) -> str | None:
    """Return bytes as base64 text; None for None."""
    return None if data is None else base64.b64encode(data).decode()


def describe_start(opened: Opened, model: Model | PromptModel) -> Document:
    """Describe what a reply will hold: model, items and skipped files.

    Args:
        opened: Pictures and volumes of the request.
        model: Model that segments them.
    """
    items = []
    for number, item in enumerate(opened.items):
        if isinstance(item, PictureFile):
            size_hw = opened.sizes_hw[number]
            fields: Document = {"kind": "picture", "name": opened.localise(item.path), "series_uid": None, "slices": 1}
            place: Document = {"size_hw": size_hw, "spacing_mm": None, "step_mm": None}
        else:
            volume = item.volume
            fields = {"kind": "volume", "name": item.name, "series_uid": volume.series_uid, "slices": len(volume)}
            place = {"size_hw": volume.size_hw, "spacing_mm": volume.spacing_mm, "step_mm": volume.step_mm}
        items.append({"item": number, **fields, **place})
    return {"type": "start", "model": describe_model(model), "items": items, "skipped": list_skipped(opened)}


def list_skipped(opened: Opened) -> list[str]:
    """Return the files that are passed over, as the client named them."""
    return list(map(opened.localise, list_skipped_files(opened.inputs)))


def describe_refused(opened: Opened) -> list[Record]:
    """Return the records of scans that cannot be opened."""
    return [localise_record(describe_refused_scan(each), opened) for each in opened.inputs.refused]


async def segment_opened(
    opened: Opened, segmenter: Segmenter, engine: Engine, wishes: Wishes
) -> AsyncGenerator[Event, None]:
    """Segment all slices of a request in their order, a few ahead of the reader.

    A reader that stops leaves at most the slices that are being segmented at that moment.

    Args:
        opened: Pictures and volumes of the request.
        segmenter: Segmenter with one thread.
        engine: Threads that decode and segment.
        wishes: Content of the events.

    Yields:
        An event a slice, and one a volume after its slices.
    """
    results: list[SliceResult] = []
    async with aclosing(_run_ahead(_list_tasks(opened, segmenter, wishes), engine)) as steps:
        async for step in steps:
            yield step.event
            if step.volume is None or step.result is None:
                continue
            results.append(step.result)
            if len(results) == len(step.volume.volume):
                whole, results = results, []
                number = step.event.item
                yield await engine.run(
                    finish_volume, step.volume, whole, opened, segmenter, item_number=number, wishes=wishes
                )


@dataclass(frozen=True)
class _Step:
    """A slice that a thread has segmented; of a volume, with all that the vote needs."""

    event: SliceEvent
    volume: VolumeFile | None = None
    result: SliceResult | None = None


async def _run_ahead(tasks: Iterator[Callable[[], _Step]], engine: Engine) -> AsyncGenerator[_Step, None]:
    """Run tasks in threads, as many ahead of the reader as there are; yield what they return, in their order."""
    running: deque[asyncio.Future[_Step]] = deque()
    try:
        for task in tasks:
            running.append(engine.start(task))
            if len(running) > engine.workers:
                yield await running[0]
                running.popleft()
        while running:
            yield await running[0]
            running.popleft()
    finally:
        for future in running:
            future.cancel()


def _list_tasks(opened: Opened, segmenter: Segmenter, wishes: Wishes) -> Iterator[Callable[[], _Step]]:
    for number, item in enumerate(opened.items):
        if isinstance(item, PictureFile):
            yield partial(_segment_picture, opened, item, segmenter, item_number=number, wishes=wishes)
        else:
            for index in range(len(item.volume)):
                yield partial(_segment_slice, opened, item, segmenter, at=(number, index), wishes=wishes)


def _segment_picture(
    opened: Opened, picture: PictureFile, segmenter: Segmenter, *, item_number: int, wishes: Wishes
) -> _Step:
    done = segment_picture(segmenter, picture, keep=True)
    assert done is not None  # noqa: S101 - masks that tumortrace drew were passed over when the upload was opened
    return _Step(describe_picture(done, opened, wishes=wishes, item_number=item_number, path=Path(picture.path)))


def describe_picture(
    done: PictureDone, opened: Opened, *, wishes: Wishes, item_number: int = 0, path: Path | None = None
) -> SliceEvent:
    """Describe a picture that is segmented.

    Args:
        done: The picture with its record, its mask and, if it could be read, its prediction.
        opened: Pictures and volumes of the request.
        wishes: Content of the event.
        item_number: Number of the picture in the reply.
        path: Its file, for its colours; None where that is gone.
    """
    extra: Document = {}
    overlay = None
    if done.image is not None and done.prediction is not None:
        levels = to_levels(done.prediction.probability)
        extra = describe_extra(done.image, levels, wishes, path=path)
        if wishes.file == "jpg" and done.mask is not None:
            drawn = draw_overlay(done.image.pixels, done.prediction.mask)
            overlay = cv2.imencode(".jpg", drawn[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    return SliceEvent(item_number, 0, localise_record(done.record, opened), done.mask, extra, overlay)


def _segment_slice(
    opened: Opened, item: VolumeFile, segmenter: Segmenter, *, at: tuple[int, int], wishes: Wishes
) -> _Step:
    number, index = at
    kept: list[Slice] = []

    def predict(image: Slice) -> Prediction:
        kept.append(image)
        return segmenter.predict(image)

    result = segment_slice(item.volume, index, predict, keep_levels=wishes.probability)
    extra = describe_extra(kept[0], result.levels, wishes) if kept else {}
    record = localise_record(describe_slice(result, item, mask=item.mask), opened)
    mask = encode_signed_mask(result.mask) if result.judged else None
    return _Step(SliceEvent(number, index, record, mask, extra), item, replace(result, levels=None))


def finish_volume(
    item: VolumeFile,
    results: list[SliceResult],
    opened: Opened,
    segmenter: Segmenter,
    *,
    item_number: int,
    wishes: Wishes,
) -> VolumeEvent:
    """Let neighbouring slices vote, and describe the volume.

    Args:
        item: The volume.
        results: A result for each slice, in order.
        opened: Pictures and volumes of the request.
        segmenter: Segmenter that made the results.
        item_number: Number of the volume in the reply.
        wishes: Content of the events.

    Raises:
        DataError: The file that is wanted cannot be made.
    """
    prediction = combine_slices(item.volume, results, gate=segmenter.gate)
    whole = not (prediction.rejected or prediction.failed)
    data = encode_file(item, prediction, segmenter.model, wishes) if whole else None
    record, records = describe_all(item, prediction, reasons=prediction.reasons)
    changed = []
    for before, after, described in zip(results, prediction.slices, records, strict=True):
        if describe_slice(before, item, mask=item.mask) != described:
            mask = encode_signed_mask(after.mask) if whole and after.judged else None
            changed.append(SliceEvent(item_number, after.index, localise_record(described, opened), mask))
    return VolumeEvent(item_number, localise_record(record, opened), tuple(changed), data)


def encode_file(
    item: VolumeFile, prediction: VolumePrediction, model: Model | PromptModel, wishes: Wishes
) -> bytes | None:
    """Make the only file that a reply on a volume is to hold; None if none is wanted.

    Args:
        item: The volume.
        prediction: Prediction for it, neither rejected nor failed.
        model: Model that made it.
        wishes: Content of the reply.

    Raises:
        DataError: The file cannot be made.
    """
    if wishes.file == "nii.gz":
        from tumortrace.inference.results.nifti_mask import encode_nifti

        return encode_nifti(prediction.mask, item.volume)
    if wishes.file == "dcm":
        return encode_volume_seg(item, prediction, model=model, options=VolumeOptions(dicom_seg=True))
    return None


def describe_extra(
    image: Slice, levels: NDArray[np.uint8] | None, wishes: Wishes, *, path: Path | None = None
) -> Document:
    """Describe pixels and probabilities of a slice, as far as they are wanted.

    Args:
        image: The slice.
        levels: Probabilities in 255ths, shape (H, W); None where there are none.
        wishes: Content of the reply.
        path: File of a picture, for its colours.
    """
    extra: Document = {}
    if wishes.probability:
        extra["probability_png"] = None if levels is None else encode_base64(encode_levels(levels))
    if wishes.pixels:
        extra["pixels"] = describe_pixels(image)
        if path is not None and image.colour_share > 0:
            extra["pixels"] |= describe_colours(path)
    return extra


def localise_record(record: Record, opened: Opened) -> Record:
    """Return a record that names files as the client did, in place of those in the folder of the request."""
    return {key: opened.localise(value) if isinstance(value, str) else value for key, value in record.items()}
