"""Replies to ``/api/segment``: a document, a stream of lines, or one file."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from starlette.responses import Response

from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.units import count_slices
from tumortrace.inference.model import Model
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.results.describe import describe_model
from tumortrace.json_csv import Document
from tumortrace.web.engine import Engine
from tumortrace.web.limits import RefusalError
from tumortrace.web.opening import Opened
from tumortrace.web.pointing import PICTURE, find_picture, open_pointed, point, read_pointed
from tumortrace.web.replies import EventStream, reply_document, reply_file
from tumortrace.web.segmenting import (
    Event,
    SliceEvent,
    VolumeEvent,
    Wishes,
    describe_refused,
    describe_start,
    encode_base64,
    list_skipped,
    segment_opened,
)
from tumortrace.web.uploads import Upload

JSON = "application/json"
LINES = EventStream.media_type
FILES = {"image/png": "png", "image/jpeg": "jpg", "application/dicom": "dcm", "application/gzip": "nii.gz"}
"""Types of replies that are one file, with its ending."""

MEDIA_TYPES = (JSON, LINES, *FILES)
"""Types of all replies; the first is the default."""


MOST_DOCUMENT_PIXELS = 2**25
"""Pixels of all slices that a document may hold; a stream may hold as many as a request."""


async def answer(upload: Upload, engine: Engine, *, media_type: str) -> Response:
    """Segment an upload.

    Args:
        upload: Files and fields of the request.
        engine: Threads and models.
        media_type: Type of the reply, one of ``MEDIA_TYPES``.

    Raises:
        RefusalError: Nothing can be segmented, or the reply cannot have that type.
    """
    wishes = Wishes(
        pixels=_is_set(upload, "pixels"), probability=_is_set(upload, "probability"), file=FILES.get(media_type, "")
    )
    segmenter = await engine.run(engine.segmenter, upload.fields.get("model", ""))
    pointed = read_pointed(upload, engine.limits)
    known = find_picture(upload, engine) if pointed else None
    opened = known.opened if known else await engine.run(open_pointed, upload, pointed, engine.limits)
    if wishes.file:
        _check_single(opened, media_type)
    if media_type == JSON and (wishes.pixels or wishes.probability):
        _check_fits_document(opened)
    if pointed:
        model: Model | PromptModel = await engine.run(lambda: segmenter.prompt_model)
        events = point(pointed, opened, known, segmenter, engine, wishes)
    else:
        model, events = segmenter.model, segment_opened(opened, segmenter, engine, wishes)
    if media_type == LINES:
        return await _open_stream(events, opened, model, wait=pointed is not None)
    async with aclosing(events):
        kept = [event async for event in events]
    if wishes.file:
        return _reply_file(kept, opened, media_type)
    return await engine.run(_reply_document, kept, opened, model)


def choose_media_type(accept: str) -> str:
    """Choose the type of the reply by an ``Accept`` header.

    Args:
        accept: Value of the header; empty accepts everything.

    Raises:
        RefusalError: None of the accepted types can be made.
    """
    wanted = [_read_range(each) for each in accept.split(",") if each.strip()]
    for media_range, quality in sorted(wanted, key=lambda each: -each[1]):
        for media_type in MEDIA_TYPES:
            if quality > 0 and media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
                return media_type
    if not wanted:
        return JSON
    raise RefusalError(406, f"Accept: {accept[:100]}: no reply of that type; accept one of {', '.join(MEDIA_TYPES)}")


def _read_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0


def _is_set(upload: Upload, name: str) -> bool:
    value = upload.fields.get(name, "0").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise RefusalError(400, f"{name}={value[:40]}: neither 1 nor 0; give one of them")


def _check_fits_document(opened: Opened) -> None:
    """Refuse pixels of a long series in one document, which would be held in memory as a whole."""
    pixels = sum(size_hw[0] * size_hw[1] * slices for _, size_hw, slices in opened.list_sizes())
    if pixels > MOST_DOCUMENT_PIXELS:
        text = f"{pixels:,} pixels are more than the limit of {MOST_DOCUMENT_PIXELS:,} for one document; accept {LINES}"
        raise RefusalError(413, text, limit="voxels")


def _check_single(opened: Opened, media_type: str) -> None:
    """Refuse a reply of one file for what has not one."""
    if len(opened.items) != 1:
        text = f"{media_type} replies to one picture or scan, and {len(opened.items)} were sent; accept {JSON}"
        raise RefusalError(406, text)
    item = opened.items[0]
    kind = "picture" if isinstance(item, PictureFile) else item.volume.kind
    fitting = {"picture": ("png", "jpg"), "dicom": ("dcm", "nii.gz"), "nifti": ("nii.gz",)}[kind]
    if FILES[media_type] not in fitting:
        types = " or ".join(name for name, ending in FILES.items() if ending in fitting)
        raise RefusalError(406, f"{media_type} is no reply to this kind of file ({kind}); accept {types} or {JSON}")


def _reply_file(events: list[Event], opened: Opened, media_type: str) -> Response:
    last = events[-1]
    record = last.record
    data = last.file if isinstance(last, VolumeEvent) else last.overlay if media_type == "image/jpeg" else last.mask
    if record["status"] == "error":
        raise RefusalError(415, record["reason"])
    if data is None:
        raise RefusalError(422, f"{record['file']}: no mask, the picture was rejected: {record['reason']}; see {JSON}")
    (item,) = opened.items
    ending = FILES[media_type]
    kind = {"jpg": "overlay", "dcm": "seg"}.get(ending, "mask")
    reply = reply_file(data, media_type=media_type, name=f"{item.name}_{kind}.{ending}")
    kept = last.extra.get(PICTURE) if isinstance(last, SliceEvent) else None
    if kept:
        reply.headers["Picture"] = kept
    return reply


def _reply_document(events: list[Event], opened: Opened, model: Model | PromptModel) -> Response:
    """Make the document that ``segment`` writes, with the masks in it."""
    slices: dict[tuple[int, int], SliceEvent] = {}
    volumes = describe_refused(opened)
    for event in events:
        if isinstance(event, SliceEvent):
            slices[event.item, event.slice_index] = event
        else:
            volumes.append(event.record)
            for one in event.changed:
                slices[one.item, one.slice_index] = replace(one, extra=slices[one.item, one.slice_index].extra)
    images = [{**one.record, "mask_png": encode_base64(one.mask), **one.extra} for one in slices.values()]
    records = [*images, *volumes]
    if all(record["status"] == "error" for record in records):
        raise RefusalError(415, records[0]["reason"])
    return reply_document(
        {
            "model": describe_model(model),
            "images": images,
            "volumes": volumes,
            "skipped": list_skipped(opened),
        }
    )


async def _open_stream(
    events: AsyncGenerator[Event, None], opened: Opened, model: Model | PromptModel, *, wait: bool
) -> Response:
    """Begin a stream; of a prompt or of one slice once the first answer is there, so that it can fail with a status."""
    first: list[Event] = []
    if not opened.items:
        raise RefusalError(415, describe_refused(opened)[0]["reason"])
    if wait or count_slices(opened.items) == 1:
        first.append(await anext(events))
        if first[0].record["status"] == "error":
            raise RefusalError(415, first[0].record["reason"])
    return EventStream(_list_lines(first, events, opened, model))


async def _list_lines(
    first: list[Event],
    events: AsyncGenerator[Event, None],
    opened: Opened,
    model: Model | PromptModel,
) -> AsyncGenerator[Document, None]:
    started = time.perf_counter()
    yield describe_start(opened, model)
    for record in describe_refused(opened):
        yield {"type": "error", "item": None, "message": record["reason"]}
    for event in first:
        yield event.document()
    async with aclosing(events):
        async for event in events:
            yield event.document()
    yield {"type": "end", "seconds": round(time.perf_counter() - started, 3)}
