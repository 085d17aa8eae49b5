"""Replies of the server that hold exactly what a test needs."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

Message = dict[str, Any]
MODEL = {"name": "fast", "sha256": "0" * 64, "threshold": 0.5}


def encode_png(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()


def slice_message(
    mask: NDArray[np.bool_],
    *,
    item: int = 0,
    index: int = 0,
    pixels: NDArray[np.uint16] | None = None,
    levels: NDArray[np.uint8] | None = None,
    **record: object,
) -> Message:
    """The message of one slice; probabilities are 1 in the mask unless given; keywords replace keys of the record."""
    grey = np.zeros(mask.shape, dtype=np.uint16) if pixels is None else pixels
    chances = mask.astype(np.uint8) * np.uint8(255) if levels is None else levels
    plain = {"file": "a.png", "slice_index": index, "status": "ok", "reason": "", "tumour": bool(mask.any())}
    rated = {"confidence": 0.9, "review": False, "area_px": int(mask.sum()), "area_mm2": None, "lesions": []}
    rejected = record.get("status", "ok") != "ok"
    return {
        "type": "slice",
        "item": item,
        "slice_index": index,
        "record": {**plain, **rated, **record},
        "mask_png": None if rejected else encode_png(mask.astype(np.uint8) * np.uint8(255)),
        "probability_png": encode_png(chances),
        "pixels": {
            "data": base64.b64encode(zlib.compress(grey.astype("<u2").tobytes())).decode(),
            "slope": 1.0,
            "intercept": 0.0,
            "window": [128.0, 256.0],
        },
    }


def start_message(size_hw: tuple[int, int], *, slices: Sequence[int] = (1,), **fields: object) -> Message:
    """The first message: an item for each number of slices."""
    items = [
        {
            "item": number,
            "kind": "picture" if count == 1 else "volume",
            "name": f"case {number}",
            "series_uid": None,
            "slices": count,
            "size_hw": list(size_hw),
            "spacing_mm": None,
            "step_mm": None,
            **fields,
        }
        for number, count in enumerate(slices)
    ]
    return {"type": "start", "model": MODEL, "items": items, "skipped": []}


def volume_message(item: int = 0, changed: Sequence[Message] = (), **record: object) -> Message:
    """The message after the last slice of a series."""
    plain = {"file": "a", "series_uid": None, "status": "ok", "reason": "", "review": False}
    return {"type": "volume", "item": item, "record": {**plain, **record}, "changed": list(changed)}


END = {"type": "end", "seconds": 0.1}

Reply = Callable[..., None]


@pytest.fixture
def reply_with() -> Reply:
    """Let the page's next uploads be answered by given messages, whatever the files."""

    def prepare(page: Any, messages: Sequence[Message]) -> None:  # noqa: ANN401
        body = "".join(json.dumps(message) + "\n" for message in [*messages, END])
        page.route(
            "**/api/segment*",
            lambda route: route.fulfill(body=body, headers={"content-type": "application/x-ndjson"}),
        )

    return prepare


def wait_until_drawn(page: Any) -> None:  # noqa: ANN401
    """Wait for the end of an upload, and for what the page draws once a frame."""
    page.wait_for_selector("#progress", state="hidden")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def show(reply_with: Reply) -> Callable[..., None]:
    """Show given messages in the page, as the answer to a chosen file; waits until it is drawn."""

    def show_messages(page: Any, messages: Sequence[Message]) -> None:  # noqa: ANN401
        reply_with(page, messages)
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": b"a"})
        page.wait_for_selector("#work:not([hidden])")
        wait_until_drawn(page)

    return show_messages
