"""Prompts in requests: a box and clicks on a picture or through a series."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.segment_picture import finish_picture
from tumortrace.inference.batch.volume_batch import describe_all
from tumortrace.inference.predict import Prediction
from tumortrace.inference.prompts.volume import combine_followed, follow_tumour
from tumortrace.inference.results.describe import describe_slice
from tumortrace.inference.results.signed import encode_signed_mask
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.volume_predict import keep_slice
from tumortrace.json_csv import Document
from tumortrace.web.engine import Engine
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.opening import Opened, open_upload
from tumortrace.web.pixels import inflate_exactly
from tumortrace.web.pointed import PointedPicture
from tumortrace.web.segmenting import (
    Event,
    SliceEvent,
    VolumeEvent,
    Wishes,
    describe_extra,
    describe_picture,
    encode_file,
    localise_record,
)
from tumortrace.web.uploads import FILE, PROMPT, Upload, UploadedFile, folder_of

PICTURE = "picture"
"""Name of the field with the hash of a picture that an earlier request pointed at."""

GREY = "grey"
"""Name of the field with the grey values of a slice in place of its file, as a stream has them."""

KEYS = ("box_xyxy", "points_xy", "labels", "slice_index", "item", "size_hw")
"""Keys of a prompt."""

EXAMPLE = '{"box_xyxy": [120, 80, 190, 150]}'


@dataclass(frozen=True)
class Pointed:
    """The prompt of a request, as it came; the session checks its numbers.

    Attributes:
        box_xyxy: Loose box around the tumour.
        points_xy: Pixels that refine it.
        labels: Whether each of them marks tumour.
        slice_index: Number of the slice in a series, from 0; None for a picture.
        item: Number of the picture or series among those of the request; None for the only one.
        size_hw: Height and width of the slice whose grey values came in place of a file.
    """

    box_xyxy: object
    points_xy: object = None
    labels: object = None
    slice_index: object = None
    item: object = None
    size_hw: object = None

    @property
    def numbers(self) -> dict[str, object]:
        """Box, clicks and slice, as ``follow_tumour`` takes them."""
        return {name: value for name, value in vars(self).items() if name not in {"item", "size_hw"}}


def read_pointed(upload: Upload, limits: Limits) -> Pointed | None:
    """Read the prompt of a request; None if it has none, for automatic masks.

    Args:
        upload: The request.
        limits: Limit on clicks.

    Raises:
        RefusalError: The prompt is no JSON object with a box, or has too many clicks; or a picture is named without it.
    """
    if upload.of_part(PROMPT):
        raise RefusalError(400, f"{PROMPT}: came as a file; send it as a plain field, such as {EXAMPLE}")
    text = upload.fields.get(PROMPT)
    if text is None:
        if PICTURE in upload.fields:
            raise RefusalError(400, f"{PICTURE}: without a prompt; send the field '{PROMPT}' too, such as {EXAMPLE}")
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise RefusalError(400, f"{PROMPT}={text[:60]!r}: no JSON; send an object such as {EXAMPLE}") from None
    if not isinstance(document, dict) or "box_xyxy" not in document:
        raise RefusalError(400, f"{PROMPT}={text[:60]!r}: no object with a box_xyxy; send one such as {EXAMPLE}")
    unknown = sorted(document.keys() - set(KEYS))
    if unknown:
        raise RefusalError(400, f"{PROMPT}: unknown key {unknown[0][:40]!r}; it may have {', '.join(KEYS)}")
    points = document.get("points_xy")
    if isinstance(points, list) and len(points) > limits.clicks:
        cause = f"{len(points)} points, more than the limit of {limits.clicks}; outline the tumour by hand"
        raise RefusalError(413, f"{PROMPT}: {cause}", limit="clicks")
    return Pointed(**document)


def find_picture(upload: Upload, engine: Engine) -> PointedPicture | None:
    """Return the picture that a request names by its hash; None if it sends its own file.

    Raises:
        RefusalError: The picture is not kept any more, or a file came with its hash.
    """
    key = upload.fields.get(PICTURE)
    if key is None:
        return None
    if upload.files:
        raise RefusalError(400, f"{PICTURE}: came with a file; send one or the other")
    found = engine.pointed.find(key)
    if found is None:
        raise RefusalError(404, f"{PICTURE}={key[:64]}: not kept any more; send it again as the field 'file'")
    return found


def open_pointed(upload: Upload, pointed: Pointed | None, limits: Limits) -> Opened:
    """Open the pictures and series of a request, or the one that its prompt points at.

    The grey values of a slice may come in place of a file, as a stream with ``pixels=1`` has them: zlib data of
    little-endian uint16, row by row.

    Args:
        upload: The request.
        pointed: Its prompt; None for automatic masks.
        limits: Limits on files, bytes and pixels.

    Raises:
        RefusalError: There is nothing to segment, a limit is exceeded, or the grey values do not fill ``size_hw``.
    """
    sent = upload.of_part(GREY)
    if pointed is None or not sent:
        return open_upload(upload, limits)
    height, width = _read_size(pointed.size_hw, limits)
    numbers = inflate_exactly(sent[0].path.read_bytes(), 2 * height * width)
    if numbers is None:
        raise RefusalError(400, f"{GREY}: no zlib data of {height} x {width} numbers of 16 bits; check size_hw")
    path = upload.folder / folder_of(FILE) / "slice.tif"
    path.parent.mkdir(exist_ok=True)
    pixels = np.frombuffer(numbers, "<u2").reshape(height, width)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE])
    return open_upload(replace(upload, files=(UploadedFile(FILE, path.name, path),)), limits)


def _read_size(size_hw: object, limits: Limits) -> tuple[int, int]:
    if isinstance(size_hw, list) and len(size_hw) == 2 and all(type(side) is int and side > 0 for side in size_hw):
        height, width = size_hw
        if height * width <= limits.pixels:
            return height, width
        raise RefusalError(413, f"{PROMPT}: size_hw exceeds the limit of {limits.pixels:,} pixels", limit="pixels")
    raise RefusalError(400, f"{PROMPT}: size_hw = {str(size_hw)[:40]}; give height and width of the slice in {GREY}")


async def point(
    pointed: Pointed, opened: Opened, known: PointedPicture | None, segmenter: Segmenter, engine: Engine, wishes: Wishes
) -> AsyncGenerator[Event, None]:
    """Segment what a prompt means: one picture, or slice after slice of a series until the tumour ends.

    Args:
        pointed: The prompt.
        opened: The picture or series of the request.
        known: The picture, where an earlier request has sent it.
        segmenter: Segmenter with one thread.
        engine: Threads that decode and segment, and the pictures that are kept.
        wishes: Content of the events.

    Yields:
        An event a slice in the order in which the tumour is followed, and one for the whole series.

    Raises:
        RefusalError: The prompt cannot be used, or there is not exactly one picture or series.
    """
    number = _choose(pointed, opened)
    item = opened.items[number]
    if isinstance(item, VolumeFile):
        async for event in _carry(pointed, item, opened, segmenter, engine, wishes):
            yield replace(event, item=number)
        return
    if pointed.slice_index is not None:
        raise RefusalError(400, f"{PROMPT}: slice_index belongs to a series, and this is a picture; leave it out")
    kept = True
    if known is None:
        known = await engine.run(_open_picture, item, opened, segmenter)
        kept = engine.pointed.keep(known)
    answer = await engine.run(_answer, pointed, known, known.key if kept else None, wishes)
    yield replace(answer, item=opened.items.index(known.item))


def _choose(pointed: Pointed, opened: Opened) -> int:
    """Return the number of the picture or series that a prompt points at."""
    chosen, count = pointed.item, len(opened.items)
    if chosen is None and count == 1:
        return 0
    if isinstance(chosen, int) and not isinstance(chosen, bool) and 0 <= chosen < count:
        return chosen
    given = "no item" if chosen is None else f"item {str(chosen)[:20]!r}"
    raise RefusalError(400, f"{PROMPT}: {given} among {count} pictures and series; give its number, from 0, as item")


def _open_picture(item: PictureFile, opened: Opened, segmenter: Segmenter) -> PointedPicture:
    path = Path(item.path)
    try:
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        return PointedPicture(key, segmenter.point(read_slice(path)), item, opened)
    except DataError as error:
        raise RefusalError(415, opened.localise(str(error))) from None


def _answer(pointed: Pointed, picture: PointedPicture, key: str | None, wishes: Wishes) -> SliceEvent:
    started = time.perf_counter()
    item = picture.item
    path = Path(item.path)
    with picture.lock:
        prediction = _predict(pointed, picture)
    done = finish_picture(item, picture.session.image, prediction)
    done = replace(done, record={**done.record, "seconds": round(time.perf_counter() - started, 4)})
    event = describe_picture(done, picture.opened, wishes=wishes, path=path if path.exists() else None)
    return replace(event, extra={**event.extra, PICTURE: key})


def _predict(pointed: Pointed, picture: PointedPicture) -> Prediction:
    try:
        return picture.session.predict(pointed.box_xyxy, pointed.points_xy, pointed.labels)
    except DataError as error:
        raise RefusalError(400, f"{PROMPT}: {picture.opened.localise(str(error))}") from None


async def _carry(
    pointed: Pointed, item: VolumeFile, opened: Opened, segmenter: Segmenter, engine: Engine, wishes: Wishes
) -> AsyncGenerator[Event, None]:
    """Follow a tumour through a series, a slice at a time, so that other requests have their turn between two."""
    steps = follow_tumour(item.volume, segmenter.point, **pointed.numbers)
    followed: dict[int, Prediction] = {}
    try:
        while (step := await engine.run(next, steps, None)) is not None:
            index, prediction = step
            followed[index] = prediction
            if prediction.rejected and len(followed) == 1:
                cause = f"no mask, the slice was rejected: {'; '.join(prediction.reasons)}"
                raise RefusalError(422, opened.localise(f"{item.file}: {cause}"))
            yield await engine.run(_describe_step, index, prediction, item, opened, wishes)
    except DataError as error:
        raise RefusalError(400, f"{PROMPT}: {opened.localise(str(error))}") from None
    yield await engine.run(_finish, item, followed, opened, segmenter, wishes)


def _describe_step(index: int, prediction: Prediction, item: VolumeFile, opened: Opened, wishes: Wishes) -> SliceEvent:
    result = keep_slice(index, prediction, keep_levels=wishes.probability)
    extra: Document = {}
    if wishes.pixels or wishes.probability:
        extra = describe_extra(item.volume.read(index), result.levels, wishes)
    record = localise_record(describe_slice(result, item, mask=item.mask), opened)
    return SliceEvent(0, index, record, encode_signed_mask(result.mask), extra)


def _finish(
    item: VolumeFile, followed: dict[int, Prediction], opened: Opened, segmenter: Segmenter, wishes: Wishes
) -> VolumeEvent:
    whole = combine_followed(item.volume, followed)
    record, _ = describe_all(item, whole, reasons=whole.reasons)
    data = encode_file(item, whole, segmenter.prompt_model, wishes)
    return VolumeEvent(0, localise_record(record, opened), file=data)
