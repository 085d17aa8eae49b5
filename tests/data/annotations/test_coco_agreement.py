"""Whole COCO files, drawn by pycocotools and by tumortrace."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tumortrace.data.annotations.coco import encode_coco
from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.bitmap import split_lesions
from tumortrace.data.geometry import Polygon, rasterize

coco_api = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within pycocotools

DATA = os.environ.get("TUMORTRACE_DATA")


def draw_with_pycocotools(path: Path) -> dict[str, np.ndarray]:
    """The mask of each image by its name."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_api.COCO(str(path))
    masks = {}
    for image in coco.loadImgs(coco.getImgIds()):
        mask = np.zeros((image["height"], image["width"]), bool)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            if annotation.get("segmentation"):
                mask |= coco.annToMask(annotation).astype(bool)
        masks[image["file_name"]] = mask
    return masks


def test_pycocotools_draws_the_masks_that_were_written(tmp_path: Path):
    random = np.random.default_rng(3)
    masks = {f"{number}.png": random.random((9 + number % 5, 14)) < 0.5 for number in range(20)}
    masks["empty.png"] = np.zeros((3, 4), bool)
    records = [
        ImageAnnotation(name, -1, tuple(split_lesions(mask)), size_hw=mask.shape) for name, mask in masks.items()
    ]
    path = tmp_path / "annotations.json"
    path.write_bytes(encode_coco(records, ["tumour"])["annotations.json"])
    theirs = draw_with_pycocotools(path)
    assert theirs.keys() == masks.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(theirs[name], mask)


def test_pycocotools_draws_outlines_on_pixel_edges_alike(tmp_path: Path):
    points = np.array([(1.5, 0.5), (7.5, 0.5), (7.5, 3.5), (4.5, 3.5), (4.5, 6.5), (1.5, 6.5)])
    records = [ImageAnnotation("a.png", -1, (Polygon(points),), size_hw=(9, 11))]
    path = tmp_path / "annotations.json"
    path.write_bytes(encode_coco(records, ["tumour"])["annotations.json"])
    assert json.loads(path.read_text())["annotations"][0]["segmentation"] == [[2, 1, 8, 1, 8, 4, 5, 4, 5, 7, 2, 7]]
    expected = rasterize([Polygon(points)], (9, 11))
    assert expected.sum() == 6 * 3 + 3 * 3
    np.testing.assert_array_equal(draw_with_pycocotools(path)["a.png"], expected)


@pytest.mark.skipif(not DATA, reason="TUMORTRACE_DATA names no folder with annotations")
@pytest.mark.parametrize("name", ["compressed_rle", "cvat_export_instances", "instances_val", "labelme_export"])
def test_pycocotools_draws_real_files_alike(name: str):
    path = Path(DATA or "") / "annotations" / "coco" / f"{name}.json"
    if not path.is_file():
        pytest.skip("the folder has no annotations/coco")
    theirs = draw_with_pycocotools(path)
    for image in read_annotations(path).images:
        own, other = rasterize(image.regions, image.size_hw), theirs[image.filename]
        outline = sum(len(region.points_xy) for region in image.regions if isinstance(region, Polygon))
        # pycocotools rounds vertices to a fifth of a pixel, and marks pixels near the outline that ours leaves out.
        assert (own != other).sum() <= (0.01 * other.sum() + outline if outline else 0)
