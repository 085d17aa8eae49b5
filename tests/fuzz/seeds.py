"""Valid files of every format, from which each fuzzed file differs by one lie."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import onnx.helper as oh
import pydicom.data
import tifffile
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.data.dicom.conftest import make_dataset, save
from tests.data.dicom.test_segmentation import LABELS, write_seg, write_series

from tumortrace.config import Recipe
from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.bitmap import to_bitmap
from tumortrace.data.convert import WRITERS
from tumortrace.data.geometry import Circle, Ellipse, Polygon
from tumortrace.inference.onnx_file import seal
from tumortrace.inference.recipe import recipe_to_json

GREY = np.random.default_rng(0).integers(0, 256, (24, 20)).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 200
SQUARE = np.random.default_rng(2).integers(0, 4096, (40, 40)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 20, 3)).astype(np.uint8)

Seeds = tuple[bytes, ...]


@cache
def seeds_of(kind: str) -> Seeds:
    """Return the valid files of a kind."""
    return MAKERS[kind]()


def _encode(pixels: np.ndarray, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


def _make_png() -> Seeds:
    exif = Image.Exif()
    exif[0x0112] = 6
    return (
        _encode(GREY, "PNG"), _encode(DEEP, "PNG"), _encode(COLOUR, "PNG", exif=exif), _encode(GREY > 99, "PNG"),
        _encode(np.dstack([COLOUR, GREY]), "PNG"), _encode(GREY, "PNG", transparency=7), _palette("PNG"),
    )  # fmt: skip


def _palette(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(COLOUR).quantize(16).save(file, kind)
    return file.getvalue()


def _make_jpeg() -> Seeds:
    exif = Image.Exif()
    exif[0x0112] = 3
    cmyk = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(cmyk, "JPEG")
    return (
        _encode(GREY, "JPEG"), _encode(COLOUR, "JPEG", exif=exif), _encode(COLOUR, "JPEG", progressive=True),
        _encode(COLOUR, "JPEG", subsampling="4:1:1"), cmyk.getvalue(),
    )  # fmt: skip


def _tiff(pixels: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **settings)
    return file.getvalue()


def _make_tiff() -> Seeds:
    return (
        _tiff(GREY), _tiff(DEEP, compression="zlib"), _encode(COLOUR, "TIFF", compression="tiff_lzw"),
        _tiff(GREY, bigtiff=True), _tiff(GREY, tile=(16, 16)), _tiff(DEEP, byteorder=">"),
        _tiff(GREY.astype(np.float32)), _palette("TIFF"), _tiff(COLOUR, planarconfig="separate"),
        _tiff(np.stack([GREY, GREY])), _tiff(DEEP, photometric="miniswhite"),
    )  # fmt: skip


def _make_others() -> Seeds:
    frames = [Image.fromarray(np.roll(GREY, step)) for step in range(2)]
    film = io.BytesIO()
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    return (
        _encode(GREY, "BMP"), _encode(COLOUR, "BMP"), _encode(GREY > 99, "BMP"), _palette("BMP"), _encode(GREY, "GIF"),
        _palette("GIF"), film.getvalue(), _encode(COLOUR, "WEBP"), _encode(COLOUR, "WEBP", lossless=True),
        _encode(np.dstack([COLOUR, GREY]), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    )  # fmt: skip


def _make_dicom() -> Seeds:
    syntaxes = (
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
        RLELossless, JPEG2000Lossless, JPEGLSLossless,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        made = [save(make_dataset(SQUARE), path, syntax).read_bytes() for syntax in syntaxes]
        several = make_dataset(np.stack([SQUARE, SQUARE]), NumberOfFrames=2)
        made.append(save(several, Path(folder) / "a.dcm").read_bytes())
    return tuple(made)


def _make_theirs() -> Seeds:
    """pydicom's own test files, those of up to 80 kB."""
    root = Path(pydicom.data.__file__).parent / "test_files"
    files = sorted(path for path in root.glob("*.dcm") if path.stat().st_size < 80_000)
    return tuple(path.read_bytes() for path in files)


def _make_segmentations() -> Seeds:
    made = []
    with tempfile.TemporaryDirectory() as folder:
        images = write_series(Path(folder))
        for kind, pixels in (("BINARY", LABELS), ("LABELMAP", LABELS), ("FRACTIONAL", (LABELS > 0).astype(np.float32))):
            write_seg(Path(folder) / "seg", images, pixels, kind)
            made.append((Path(folder) / "seg").read_bytes())
    return tuple(made)


def _make_nifti() -> Seeds:
    voxels = np.random.default_rng(0).integers(0, 300, (7, 6, 5))
    made = []
    for image in (nib.Nifti1Image, nib.Nifti2Image):
        for kind in (np.int16, np.float32, np.uint8):
            whole = image(voxels.astype(kind), np.diag([1.5, 2, 3, 1]))
            whole.header.set_xyzt_units("mm")
            made.append(whole.to_bytes())
    made.append(nib.Nifti1Image(np.zeros((4, 4, 3, 2), np.int16), np.eye(4)).to_bytes())
    colour = np.zeros((4, 4, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    made.append(nib.Nifti1Image(colour, np.eye(4)).to_bytes())
    return tuple(made)


def _make_packed() -> Seeds:
    return tuple(gzip.compress(data) for data in _make_nifti())


def _records() -> list[ImageAnnotation]:
    mask = np.zeros((24, 20), np.bool_)
    mask[3:9, 4:12] = True
    mask[5, 6] = False
    regions = (
        Polygon(np.array([[1.0, 1.0], [9.0, 1.5], [5.0, 9.0]])), Ellipse((8.0, 9.0), (3.0, 2.0), 0.3),
        Circle((12.0, 12.0), 4.0), to_bitmap(mask),
    )  # fmt: skip
    return [ImageAnnotation("a.png", 900, regions, ({"label": "tumour"},) * 4, size_hw=(24, 20))]


def _make_annotations(to: str) -> Callable[[], Seeds]:
    return lambda: tuple(WRITERS[to].encode(_records(), ["tumour"]).values())


def _make_supervisely() -> Seeds:
    ring = {"exterior": [[1, 1], [9, 1], [5, 9]], "interior": [[[4, 2], [6, 2], [5, 4]]]}
    bitmap = base64.b64encode(zlib.compress(_encode(GREY[:6, :5] > 99, "PNG"))).decode()
    shapes = (
        {"geometryType": "polygon", "points": ring},
        {"geometryType": "rectangle", "points": {"exterior": [[2, 3], [8, 9]], "interior": []}},
        {"geometryType": "bitmap", "bitmap": {"origin": [3, 4], "data": bitmap}},
    )
    size = {"height": 24, "width": 20}
    objects = [{"classTitle": "t", **shape} for shape in shapes]
    return tuple(json.dumps({"size": size, "tags": [], "objects": [each]}).encode() for each in objects)


def _make_via3() -> Seeds:
    document = {
        "project": {"pid": "p", "vid_list": ["1"]}, "config": {},
        "attribute": {"1": {"aname": "t", "options": {"a": "b"}}},
        "file": {"1": {"fid": "1", "fname": "a.png", "type": 2, "loc": 1, "src": ""}},
        "view": {"1": {"fid_list": ["1"]}},
        "metadata": {
            "x": {"vid": "1", "flg": 0, "z": [], "xy": [7, 1, 1, 9, 1, 5, 9], "av": {"1": "a"}},
            "y": {"vid": "1", "z": [], "xy": [2, 1, 1, 5, 5], "av": {}},
            "z": {"vid": "1", "z": [], "xy": [4, 9, 9, 3, 2], "av": {}},
        },
    }  # fmt: skip
    return (json.dumps(document).encode(),)


def _make_voc() -> Seeds:
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    size = "<size><width>20</width><height>24</height></size>"
    text = f"<annotation><filename>a.png</filename>{size}<object><name>t</name>{box}</object></annotation>"
    tracks = (
        '<annotations><meta/><track id="0" label="t"><box frame="0" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"/>'
        '<box frame="6" outside="1" xtl="3" ytl="3" xbr="9" ybr="9"/></track>'
        '<track id="1" label="t"><polygon frame="0" outside="0" points="1,1;9,1;9,9"/>'
        '<polygon frame="4" outside="1" points="1,1;9,1;9,9"/></track></annotations>'
    )
    return text.encode(), tracks.encode()


def _make_yolo() -> Seeds:
    return b"0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.5 0.2 0.2\n", b""


def _make_tables() -> Seeds:
    via = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    shape = '"{""name"":""polygon"",""all_points_x"":[1,9,5],""all_points_y"":[1,1,9]}"'
    return (
        b"image,mask,patient,class,plane\na.png,m.png,p1,glioma,axial\n", b"sep=;\nimage;mask\na.png;m.png\n",
        "\ufeffImage\tPatient ID\na.png\tp1\n".encode(),
        f'{via}a.png,900,{{}},1,0,{shape},"{{""label"":""t""}}"\n'.encode(),
    )  # fmt: skip


def _make_splits() -> Seeds:
    case = {"file": "a.png", "sha256": "0" * 64, "side": "0", "group": "a"}
    document = {
        "format": "tumortrace-split-1",
        "by": "folds",
        "cases": [case],
        "left_out": [{"file": "b", "reason": "c"}],
    }
    return (json.dumps(document).encode(),)


def _make_results() -> Seeds:
    image = {"file": "a.png", "mask": "a_mask.png", "status": "ok", "lesions": []}
    document = {
        "model": {"name": "x", "sha256": "0", "threshold": 0.5},
        "images": [image],
        "volumes": [],
        "skipped": [],
    }
    return (json.dumps(document).encode(),)


def _make_masks() -> Seeds:
    square = np.zeros((24, 20), np.uint8)
    square[3:9, 4:12] = 1
    red = np.dstack([square * 128, square * 0, square * 0])
    return (
        _encode(square * 255, "PNG"), _encode(square, "PNG"), _encode(square.astype(np.uint16) * 700, "PNG"),
        _encode(square > 0, "PNG"), _encode(red, "PNG"), _encode(np.dstack([red, square * 255]), "PNG"),
        _palette("PNG"), _encode(square + (GREY > 250), "PNG"),
    )  # fmt: skip


def _make_scan_masks() -> Seeds:
    labels = np.zeros((7, 6, 5))
    labels[2:5, 1:4, 1:3] = 1
    labels[5, 5, 4] = 2
    images = [nib.Nifti1Image(labels.astype(kind), np.eye(4)) for kind in (np.uint8, np.int16, np.float32)]
    return tuple(image.to_bytes() for image in images)


def _make_onnx() -> Seeds:
    values = [oh.make_tensor_value_info(n, 1, ["N", c, "H", "W"]) for n, c in (("images", 1), ("logits", 2))]
    nodes = [
        oh.make_node("Mul", ["images", "gain"], ["tumour"]), oh.make_node("Neg", ["tumour"], ["background"]),
        oh.make_node("Concat", ["background", "tumour"], ["logits"], axis=1),
    ]  # fmt: skip
    graph = oh.make_graph(nodes, "g", values[:1], values[1:], [oh.make_tensor("gain", 1, [], [50.0])])
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=10)
    oh.set_model_props(
        model, {"tumortrace.recipe": recipe_to_json(Recipe((32, 32))), "tumortrace.card": '{"name": "x"}'}
    )
    data = model.SerializeToString()
    return data, seal(data), onnx.ModelProto(ir_version=8).SerializeToString() + struct.pack("<4s", b"\x08\x01\x08\x02")


MAKERS: dict[str, Callable[[], Seeds]] = {
    "png": _make_png, "jpeg": _make_jpeg, "tiff": _make_tiff, "other": _make_others, "dicom": _make_dicom,
    "pydicom": _make_theirs, "seg": _make_segmentations, "nifti": _make_nifti, "nifti_gz": _make_packed,
    **{to: _make_annotations(to) for to in ("via", "coco", "labelme", "cvat", "labelstudio")},
    "supervisely": _make_supervisely, "via3": _make_via3, "xml": _make_voc, "yolo": _make_yolo, "table": _make_tables,
    "split": _make_splits, "results": _make_results, "onnx": _make_onnx,
    "mask": _make_masks, "voc_mask": _make_masks, "scan_mask": _make_scan_masks,
}  # fmt: skip
"""How the valid files of each kind are made."""
