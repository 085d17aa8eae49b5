"""From boxes on slices to a better model: masks of boxes, exported as the page does, are what ``improve`` trains on."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import httpx
import numpy as np

import tumortrace
from tumortrace.data.cases import read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import rasterize
from tumortrace.inference.folder_default import write_folder_default
from tumortrace.inference.prompts.grid import box_of, widen_box
from tumortrace.metrics.overlap import count_pixels
from tumortrace.phantoms.slices import draw_phantom

COUNT = 6
SHORT = ("training.threads=1", "training.epochs=1", "training.epoch_slices=4")


def test_masks_of_boxes_become_a_training(
    make_client: Callable[..., httpx.AsyncClient], tiny_run: Path, tmp_path: Path
):
    phantoms = [draw_phantom(np.random.default_rng(40 + n), size_hw=(256, 224), kind="bright") for n in range(COUNT)]
    truths = [rasterize(each.regions, each.pixels.shape) for each in phantoms]

    async def point_and_export() -> bytes:
        client = make_client()
        parts = []
        for number, (phantom, truth) in enumerate(zip(phantoms, truths, strict=True)):
            data = cv2.imencode(".png", phantom.pixels)[1].tobytes()
            prompt = json.dumps({"box_xyxy": widen_box(box_of(truth), 0.15)})
            asked = [("file", (f"{number}.png", data)), ("prompt", (None, prompt))]
            reply = (await client.post("/api/segment", files=asked)).json()
            mask = base64.b64decode(reply["images"][0]["mask_png"])
            numbered = cv2.imencode(".png", (cv2.imdecode(np.frombuffer(mask, np.uint8), 0) > 0).astype(np.uint8))[1]
            parts.append(("file", (f"{number}/head_{number}.png", data)))
            parts.append(("prompted", (f"{number}/0/0.png", numbered.tobytes())))
        return (await client.post("/api/export", files=parts, params={"to": "dataset"})).content

    with zipfile.ZipFile(io.BytesIO(asyncio.run(point_and_export()))) as archive:
        archive.extractall(tmp_path / "corrected")
    records = open_dataset(tmp_path / "corrected").records
    dices = [count_pixels(read_case(one)[0].truth, truth).dice for one, truth in zip(records, truths, strict=True)]
    assert min(dices) > 0.7
    shutil.copytree(tiny_run, tmp_path / "runs/base")
    write_folder_default(tmp_path / "runs/base", reason="the first one")
    result = tumortrace.improve(tmp_path / "corrected", out=tmp_path / "runs/mine", overrides=SHORT)
    assert result.improvement.train_count + len(result.improvement.held_out) == COUNT
