"""Corrected masks out of the page, and back into it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
from starlette.responses import Response

from tumortrace.errors import DataError
from tumortrace.inference.acquisition import UNKNOWN
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.model import Model
from tumortrace.inference.results.describe import describe_acquisition, describe_failure
from tumortrace.inference.results.signed import encode_signed_png
from tumortrace.inference.results.unit_record import Record
from tumortrace.json_csv import Document
from tumortrace.web.annotation_files import set_aside
from tumortrace.web.annotations import ReadBack, read_back
from tumortrace.web.answering import answer
from tumortrace.web.corrections import Corrected, read_corrections
from tumortrace.web.downloads import Download, make_download
from tumortrace.web.engine import Engine
from tumortrace.web.lesion_numbers import Labels
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.opening import Opened
from tumortrace.web.replies import EventStream, reply_file
from tumortrace.web.segmenting import Wishes, describe_extra, describe_start, encode_base64
from tumortrace.web.uploads import PROMPT, Upload


async def export(upload: Upload, engine: Engine) -> Response:
    """Reply with the file of corrected masks.

    Args:
        upload: Files, masks and the field ``to`` of the request; see ``read_corrections`` for the names.
        engine: Threads and models.

    Raises:
        RefusalError: The masks do not fit the files, or the format cannot hold them.
        TumortraceError: A file cannot be read.
    """
    model = (await engine.run(engine.segmenter)).model
    made = await engine.run(_make, upload, engine.limits, model)
    return reply_file(made.data, media_type=made.media_type, name=made.name)


async def annotate(upload: Upload, engine: Engine) -> Response:
    """Reply with the masks that were sent together with their pictures and scans, as a stream of lines.

    Documents that annotate nothing, such as the sidecars of a scan, are passed over, and the pictures segmented. With a
    prompt, the reply is that of ``answer`` to the pictures and scans alone.

    Args:
        upload: Pictures, scans, and annotations of them.
        engine: Threads and models.

    Raises:
        RefusalError: There is no picture or scan, or nothing annotates one.
    """
    if PROMPT in upload.fields:
        rest, _ = await engine.run(set_aside, upload, engine.limits)
        return await answer(rest, engine, media_type=EventStream.media_type)
    model = (await engine.run(engine.segmenter)).model
    found = await engine.run(read_back, upload, engine.limits)
    if not found.labels and not found.faults:
        return await answer(found.rest, engine, media_type=EventStream.media_type)
    if not found.labels:
        raise RefusalError(415, "; ".join(found.faults[:3]))
    return EventStream(_list_lines(found, engine, model))


def _make(upload: Upload, limits: Limits, model: Model) -> Download:
    return make_download(read_corrections(upload, limits), upload.fields.get("to", ""), model=model)


async def _list_lines(found: ReadBack, engine: Engine, model: Model) -> AsyncGenerator[Document, None]:
    started = time.perf_counter()
    head = describe_start(found.opened, model)
    yield {**head, "items": [{**item, "annotated": True} for item in head["items"]]}
    for fault in found.faults:
        yield {"type": "error", "item": None, "message": fault}
    for number, item in enumerate(found.opened.items):
        labels = found.of_item(number)
        if not labels:
            yield {"type": "error", "item": number, "message": f"{item.name}: no annotation names it; open it alone"}
            continue
        one = Corrected(item, labels)
        for index in range(1 if isinstance(item, PictureFile) else len(item.volume)):
            yield await engine.run(_describe_slice, number, one, index, found.opened)
        if not isinstance(item, PictureFile):
            yield {"type": "volume", "item": number, "record": None, "changed": []}
    yield {"type": "end", "seconds": round(time.perf_counter() - started, 3)}


def _describe_slice(number: int, one: Corrected, index: int, opened: Opened) -> Document:
    """One line of the stream; a slice that no annotation names has no lesion, and one that is damaged has no mask."""
    head = {"type": "slice", "item": number, "slice_index": index}
    try:
        image = one.read(index)
    except DataError as error:
        record = describe_failure(opened.localise(str(error)), file=one.name)
        place = {"slice_index": None if isinstance(one.item, PictureFile) else index, "seconds": 0.0}
        return {**head, "record": {**record, **place}, "mask_png": None}
    labels = one.labels.get(index, np.zeros(image.size_hw, dtype=np.uint8))
    path = Path(one.item.path) if isinstance(one.item, PictureFile) else None
    return {
        **head,
        "record": _describe(one, index, labels, image.spacing_mm),
        "mask_png": encode_base64(encode_signed_png(labels)),
        **describe_extra(image, None, Wishes(pixels=True), path=path),
    }


def _describe(one: Corrected, index: int, labels: Labels, spacing_mm: tuple[float, float] | None) -> Record:
    """A record as ``results.json`` has it; nothing is known of the confidence in a mask that the model did not draw."""
    lesions = find_lesions(labels > 0, np.ones(labels.shape, dtype=np.float32), spacing_mm=spacing_mm)
    area_px = int((labels > 0).sum())
    picture = isinstance(one.item, PictureFile)
    return {
        "file": one.name,
        "slice_index": None if picture else index,
        "mask": None,
        "status": "ok",
        "reason": "",
        "tumour": area_px > 0,
        "confidence": None,
        "review": False,
        **describe_acquisition(UNKNOWN),
        "area_px": area_px,
        "area_mm2": area_px * spacing_mm[0] * spacing_mm[1] if spacing_mm else None,
        "lesions": [{**vars(lesion), "confidence": None} for lesion in lesions],
        "seconds": 0.0,
    }
