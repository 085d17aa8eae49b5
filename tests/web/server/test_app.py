from __future__ import annotations

import asyncio
import base64
import json

import cv2
import httpx
import numpy as np


def post(client, *files: tuple[str, bytes], params=None, accept=None) -> httpx.Response:
    """Send files, as pairs of name and content, and wait for the reply."""

    async def ask() -> httpx.Response:
        async with client:
            headers = {"Accept": accept} if accept else {}
            parts = [("file", file) for file in files]
            return await client.post("/api/segment", files=parts, params=params or {}, headers=headers)

    return asyncio.run(ask())


def get(client, path, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def decode(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_picture_is_answered_with_its_record_and_mask(make_client, scan_png):
    reply = post(make_client(), ("head.png", scan_png))
    assert reply.status_code == 200
    (image,) = reply.json()["images"]
    assert (image["file"], image["mask"], image["status"], image["tumour"]) == ("head.png", "head_mask.png", "ok", True)
    mask = decode(image["mask_png"])
    assert mask.shape == (320, 272)
    assert set(np.unique(mask)) == {0, 255}
    assert image["area_px"] == np.count_nonzero(mask)


def test_the_sample_streams_slice_by_slice(make_client):
    sample = get(make_client(), "/api/sample").content
    reply = post(make_client(), ("sample.nii.gz", sample), accept="application/x-ndjson")
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert [line["type"] for line in lines] == ["start", *["slice"] * 24, "volume", "end"]
    assert [line["slice_index"] for line in lines if line["type"] == "slice"] == list(range(24))
    assert lines[-2]["record"]["slices_with_tumour"] > 0


def test_what_cannot_be_read_is_415_in_one_line(make_client):
    reply = post(make_client(), ("notes.txt", b"no picture"))
    assert reply.status_code == 415
    assert reply.json()["error"].startswith("notes.txt: ")


def test_another_site_is_refused(make_client):
    assert get(make_client(), "/healthz", origin="https://x.test").status_code == 403
    assert get(make_client(), "/healthz", host="x.test").status_code == 403
    assert get(make_client(), "/healthz").status_code == 200
