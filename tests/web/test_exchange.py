"""Corrected masks downloaded and dropped again: the same pixels, and the same lesions where the format has them."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import cv2
import httpx
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid
from tests.web.conftest import SIZE_HW, Files, draw_head, write_dicom

from tumortrace.data.cases import read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.data.pairs import PAIRS, read_pairs

MakeClient = Callable[..., httpx.AsyncClient]


Client = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def client(make_client: MakeClient) -> Iterator[Client]:
    """Post to a server with the small model and wait for the reply; all in one event loop, as its queue needs."""
    asking, loop = make_client(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)  # this thread's own loop may be that of a browser
    thread.start()
    yield lambda path, **request: asyncio.run_coroutine_threadsafe(asking.post(path, **request), loop).result()
    asyncio.run_coroutine_threadsafe(asking.aclose(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def post(client: Client, path: str, files: Files, masks: Files = (), **params: str) -> httpx.Response:
    parts = [("file", each) for each in files] + [("mask", each) for each in masks]
    return client(path, files=parts, params=params)


def draw_lesions() -> NDArray[np.uint8]:
    """A lesion with a hole, one beside it, one of one pixel at a corner, one along the border, one in two pieces."""
    labels = np.zeros(SIZE_HW, dtype=np.uint8)
    labels[4:11, 5:13] = 1
    labels[6:8, 7:10] = 0
    labels[7, 8] = 4  # in the hole
    labels[4:11, 13:16] = 2  # touches 1
    labels[0, 0] = 3
    labels[18:21, 20:27] = 7
    labels[14, 3] = labels[16, 5] = 5  # corners do not touch
    return labels


def png_of(pixels: NDArray[np.generic]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def export(client, files: Files, masks: Files, to: str) -> tuple[str, bytes]:
    reply = post(client, "/api/export", files, masks, to=to)
    assert reply.status_code == 200, reply.text
    return unquote(reply.headers["content-disposition"].partition("''")[2]), reply.content


def drop(client, files: Files) -> tuple[dict[tuple[int, int], NDArray[np.uint8]], list[dict]]:
    """Masks by item and slice, as a page reads them, and all lines."""
    reply = post(client, "/api/annotations", files)
    assert reply.status_code == 200, reply.text
    lines = [json.loads(line) for line in reply.text.splitlines()]
    masks = {
        (line["item"], line["slice_index"]): cv2.imdecode(
            np.frombuffer(base64.b64decode(line["mask_png"]), np.uint8), cv2.IMREAD_UNCHANGED
        )
        for line in lines
        if line["type"] == "slice" and line["mask_png"]
    }
    return masks, lines


def write_nifti(code: str = "LAS") -> Files:
    """Three slices; the axes are stored in another order than a viewer shows them."""
    stack = np.stack([draw_head(index) for index in range(3)])
    affine = {
        "LAS": np.diag([-0.8, 0.5, 3.0, 1.0]),
        "PSR": np.array([[0, 0, 0.8, 2], [-0.5, 0, 0, 5], [0, 3.0, 0, -7], [0, 0, 0, 1]]),
    }[code]
    voxels = np.transpose(stack, (2, 1, 0)) if code == "LAS" else np.transpose(stack, (1, 0, 2))
    image = nib.Nifti1Image(np.ascontiguousarray(voxels), affine)
    image.header.set_xyzt_units("mm")
    return [("head.nii.gz", gzip.compress(image.to_bytes(), 1))]


def in_group(files: Files, group: int = 0) -> Files:
    return [(f"{group}/{name}", data) for name, data in files]


EMPTY = png_of(np.zeros(SIZE_HW, np.uint8))
COLOUR, DEEP = png_of(np.zeros((*SIZE_HW, 3), np.uint8)), png_of(np.zeros(SIZE_HW, np.uint16))
PICTURE: Files = [("heads/one.png", png_of(draw_head(1)))]


@pytest.mark.parametrize("to", ["via", "coco"])
def test_annotations_of_a_picture_keep_every_lesion(client: Client, to: str) -> None:
    labels = draw_lesions()
    name, data = export(client, in_group(PICTURE), [("0/0/0.png", png_of(labels))], to)
    assert name == f"one_{to}.json"
    masks, lines = drop(client, [*PICTURE, (name, data)])
    np.testing.assert_array_equal(masks[0, 0], labels)
    record = lines[1]["record"]
    assert (record["status"], record["tumour"], record["confidence"]) == ("ok", True, None)
    assert record["area_px"] == np.count_nonzero(labels)


def test_masks_that_began_with_a_box_say_so(client: Client, tmp_path: Path) -> None:
    files = [*in_group(PICTURE), *in_group([("two.png", png_of(draw_head(2)))], 1)]
    masks = [("prompted", ("0/0/0.png", png_of(draw_lesions()))), ("mask", ("1/0/0.png", png_of(draw_lesions())))]

    def export_to(to: str) -> bytes:
        return client("/api/export", files=[*(("file", each) for each in files), *masks], params={"to": to}).content

    via = json.loads(export_to("via"))
    regions = [image["regions"] for image in via.values()]
    assert [{region["region_attributes"].get("prompted") for region in each} for each in regions] == [{"yes"}, {None}]
    coco = json.loads(export_to("coco"))["annotations"]
    assert {(one["image_id"], one["attributes"].get("prompted")) for one in coco} == {
        (coco[0]["image_id"], True), (coco[-1]["image_id"], None),
    }  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(export_to("dataset"))) as archive:
        archive.extractall(tmp_path)
    assert [(pair.image, pair.prompted) for pair in read_pairs(tmp_path / PAIRS).pairs] == [
        ("one.png", True), ("two.png", False),
    ]  # fmt: skip


def test_masks_may_be_sent_without_a_png_around_them(client: Client) -> None:
    labels = draw_lesions()
    _, wanted = export(client, in_group(PICTURE), [("0/0/0.png", png_of(labels))], "via")
    _, found = export(client, in_group(PICTURE), [("0/0/0.zlib", zlib.compress(labels.tobytes()))], "via")
    assert found == wanted
    whole = zlib.compress(labels.tobytes())
    for damaged in (b"", b"no zlib", whole[:-9], zlib.compress(labels.tobytes() + b"1"), zlib.compress(b"12")):
        reply = post(client, "/api/export", in_group(PICTURE), [("0/0/0.zlib", damaged)], to="via")
        assert (reply.status_code, "no zlib data" in reply.json()["error"]) == (415, True)


def test_a_png_mask_of_a_picture_keeps_every_pixel(client: Client) -> None:
    labels = draw_lesions()
    name, data = export(client, in_group(PICTURE), [("0/0/0.png", png_of(labels))], "png")
    assert name == "one_mask.png"
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, (labels > 0) * 255)
    masks, _ = drop(client, [*PICTURE, (name, data)])
    np.testing.assert_array_equal(masks[0, 0], (labels > 0) * 255)  # the page numbers a plain mask


@pytest.mark.parametrize("code", ["LAS", "PSR"])
def test_a_nifti_mask_keeps_lesions_and_axes(client: Client, code: str) -> None:
    source = write_nifti(code)
    volume, lines = _segment(client, source)
    sent = [(f"0/0/{index}.png", png_of(labels)) for index, labels in enumerate(volume)]
    name, data = export(client, in_group(source), sent, "nifti")
    assert name == "head_mask.nii.gz"
    masks, lines = drop(client, [*source, (name, data)])
    for index, labels in enumerate(volume):
        np.testing.assert_array_equal(masks[0, index], labels)
    assert [line["type"] for line in lines] == ["start", "slice", "slice", "slice", "volume", "end"]
    # A program that knows nothing of tumortrace finds each voxel where the scan has it.
    written, image = (nib.Nifti1Image.from_bytes(gzip.decompress(each)) for each in (data, source[0][1]))
    np.testing.assert_allclose(written.affine, image.affine)
    assert written.shape == image.shape


def _segment(client, files: Files) -> tuple[list[NDArray[np.uint8]], dict]:
    """Random labels for each slice as the server turns them, and the item."""

    headers = {"Accept": "application/x-ndjson"}
    reply = client("/api/segment", files=[("file", each) for each in files], headers=headers)
    start = json.loads(reply.text.splitlines()[0])
    (item,) = start["items"]
    height, width = item["size_hw"]
    rng = np.random.default_rng(4)
    kept = rng.random((item["slices"], height, width)) < 0.3
    return [np.where(each, rng.integers(1, 5, each.shape), 0).astype(np.uint8) for each in kept], item


def test_a_dicom_segmentation_keeps_lesions_even_where_a_number_is_missing(client: Client) -> None:
    source = write_dicom()
    labels = [draw_lesions(), np.zeros(SIZE_HW, np.uint8), np.roll(draw_lesions(), 2, axis=1)]  # numbers 1-5 and 7
    sent = [(f"0/0/{index}.png", png_of(each)) for index, each in enumerate(labels)]
    name, data = export(client, in_group(source), sent, "seg")
    assert name.endswith("_seg.dcm")
    masks, _ = drop(client, [*source, (name, data)])
    for index, each in enumerate(labels):
        np.testing.assert_array_equal(masks[0, index], each)


def test_a_plain_mask_is_one_segment(client: Client) -> None:
    """As /api/segment returns masks: 255 is no number of a lesion."""
    source, mask = write_dicom(), (draw_lesions() > 0).astype(np.uint8)
    _, data = export(client, in_group(source), [("0/0/1.png", png_of(mask * np.uint8(255)))], "seg")
    seg = dcmread(io.BytesIO(data))
    assert (len(seg.SegmentSequence), seg.pixel_array.sum()) == (1, mask.sum())


def test_an_empty_dicom_segmentation_stays_empty(client: Client) -> None:
    source = write_dicom()
    sent = [(f"0/0/{index}.png", EMPTY) for index in range(3)]
    name, data = export(client, in_group(source), sent, "seg")
    masks, _ = drop(client, [*source, (name, data)])
    assert not any(each.any() for each in masks.values())


@pytest.mark.parametrize("to", ["via", "coco", "png"])
@pytest.mark.parametrize("write", [write_dicom, write_nifti])
def test_slices_of_a_volume_come_back_to_their_places(client: Client, to: str, write: Callable[[], Files]) -> None:
    source = write()
    volume, _ = _segment(client, source)
    sent = [(f"0/0/{index}.png", png_of(labels)) for index, labels in enumerate(volume)]
    name, data = export(client, in_group(source), sent, to)
    # Unpacked beside the scan: the slices in the zip are pictures of their own, and only the annotations are taken.
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        notes = [(each, archive.read(each)) for each in archive.namelist() if to == "png" or each.endswith(".json")]
    masks, lines = drop(client, [*source, *notes])
    assert not [line for line in lines if line["type"] == "error"]
    for index, labels in enumerate(volume):
        expected = (labels > 0) * 255 if to == "png" else labels
        np.testing.assert_array_equal(masks[0, index], expected)
    if to == "png":
        return
    # The zip alone: its slices are pictures, each with its annotation.
    masks, lines = drop(client, [(name, data)])
    assert [item["kind"] for item in lines[0]["items"]] == ["picture"] * len(volume)
    for index, labels in enumerate(volume):
        np.testing.assert_array_equal(masks[index, 0], labels)


def test_a_dataset_opens_with_the_same_masks_and_one_patient_a_volume(client: Client, tmp_path: Path) -> None:
    pictures: Files = [("a/one.png", png_of(draw_head(1))), ("b/one.png", png_of(draw_head(2)))]
    scan = write_nifti()
    volume, _ = _segment(client, scan)
    sent = [
        ("0/0/0.png", png_of(draw_lesions())), ("1/0/0.png", EMPTY),
        ("2/0/1.png", png_of(volume[1])), ("2/0/2.png", png_of(volume[2])),
    ]  # fmt: skip
    files = [*in_group(pictures[:1]), *in_group(pictures[1:], 1), *in_group(scan, 2)]
    name, data = export(client, files, sent, "dataset")
    assert name == "tumortrace-corrected.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    dataset = open_dataset(tmp_path)
    assert not dataset.findings
    assert [(record.case_id, record.patient) for record in dataset.records] == [
        ("images/head_0002.png", "head"), ("images/head_0003.png", "head"), ("images/one-2.png", None),
        ("images/one.png", None),
    ]  # fmt: skip
    truths = [read_case(record)[0].truth for record in dataset.records]
    for truth, labels in zip(truths, [volume[1], volume[2], np.zeros(SIZE_HW), draw_lesions()], strict=True):
        np.testing.assert_array_equal(truth, labels > 0)
    assert (tmp_path / "images/one.png").read_bytes() == pictures[0][1]  # the picture itself, not a copy of its pixels
    masks, lines = drop(client, [(name, data)])
    assert [item["name"].rpartition("/")[2] for item in lines[0]["items"]] == [
        "head_0002.png", "head_0003.png", "one-2.png", "one.png",
    ]  # fmt: skip
    np.testing.assert_array_equal(masks[3, 0], (draw_lesions() > 0) * 255)


def test_scans_of_one_patient_have_one_patient_in_a_dataset(client: Client, tmp_path: Path) -> None:
    """One folder, or one DICOM patient, never stands on two sides of a split because its scans have several names."""
    (_, scan), slices = write_nifti()[0], write_dicom(1)
    other = dcmread(io.BytesIO(slices[0][1]))
    other.SeriesInstanceUID, other.SOPInstanceUID = generate_uid(), generate_uid()
    with io.BytesIO() as file:
        other.save_as(file, enforce_file_format=True)
        twin = file.getvalue()
    files = ["all/P01/t1.nii.gz", "all/P01/flair.nii.gz", "all/P02/t1.nii.gz", "all/t1.nii.gz"]
    groups: list[Files] = [[(name, scan)] for name in files]
    groups += [[("x/a.dcm", slices[0][1])], [("y/b.dcm", twin)]]
    groups += [[("all/P02/one.png", png_of(draw_head(1)))]]
    sent = [(f"{group}/0/0.png", png_of(draw_lesions())) for group in range(len(groups))]
    named = [file for group, each in enumerate(groups) for file in in_group(each, group)]
    _, data = export(client, named, sent, "dataset")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    patients = [(pair.image, pair.patient) for pair in read_pairs(tmp_path / PAIRS).pairs]
    assert patients == [
        ("t1_0001.png", "P01"), ("flair_0001.png", "P01"), ("t1-2_0001.png", "P02"), ("t1-3_0001.png", "t1-3"),
        ("a_0001.png", "a"), ("b_0001.png", "a"), ("one.png", "P02"),
    ]  # fmt: skip


def test_random_labels_come_back_from_each_format_of_a_picture(client: Client) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        labels = rng.integers(0, 6, SIZE_HW).astype(np.uint8) * (rng.random(SIZE_HW) < 0.5).astype(np.uint8)
        for to in ("via", "coco"):
            name, data = export(client, in_group(PICTURE), [("0/0/0.png", png_of(labels))], to)
            np.testing.assert_array_equal(drop(client, [*PICTURE, (name, data)])[0][0, 0], labels)


@pytest.mark.parametrize(
    ("files", "masks", "to", "status", "error"),
    [
        (in_group(PICTURE), [], "png", 400, "the request has no mask"),
        (PICTURE, [("0/0/0.png", b"")], "png", 400, "heads/one.png: belongs to no group"),
        (in_group(PICTURE), [("0.png", b"")], "png", 400, "0.png: no name of a mask"),
        (in_group(PICTURE), [("0/1/0.png", b"")], "png", 400, "0/1/0.png: the request has no such picture"),
        (in_group(PICTURE), [("0/0/4.png", b"")], "png", 400, "0/0/4.png: a picture has one slice"),
        (in_group(PICTURE), [("0/0/0.png", b"BM")], "png", 415, "0/0/0.png: no PNG file"),
        (in_group(PICTURE), [("0/0/0.png", png_of(np.zeros((3, 4), np.uint8)))], "png", 400, "0/0/0.png: 4 x 3 pixels"),
        (in_group(PICTURE), [("0/0/0.png", COLOUR)], "png", 415, "0/0/0.png: no 8-bit"),
        (in_group(PICTURE), [("0/0/0.png", DEEP)], "png", 415, "0/0/0.png: no 8-bit"),
        (in_group(PICTURE), [("0/0/0.png", EMPTY)], "nifti", 400, "one: NIfTI holds"),
        (in_group(PICTURE), [("0/0/0.png", EMPTY)], "gif", 400, "to=gif: no such format"),
    ],
)  # fmt: skip
def test_wrong_exports_are_refused_in_one_line(client: Client, files, masks, to: str, status: int, error: str) -> None:
    reply = post(client, "/api/export", files, masks, to=to)
    assert reply.status_code == status
    assert reply.json()["error"].startswith(error)


def test_a_nifti_scan_has_no_dicom_segmentation(client: Client) -> None:
    source = write_nifti()
    volume, _ = _segment(client, source)
    reply = post(client, "/api/export", in_group(source), [("0/0/0.png", png_of(volume[0]))], to="seg")
    assert reply.status_code == 400
    assert reply.json()["error"] == "head: a DICOM-SEG belongs to DICOM images, and this is NIfTI; choose nifti"


def test_a_file_that_cannot_hold_a_mask_has_the_name_that_the_client_gave_it(client: Client) -> None:
    source: Files = []
    for name, data in write_dicom():
        image = dcmread(io.BytesIO(data))
        del image.PixelSpacing
        with io.BytesIO() as file:
            image.save_as(file)
            source.append((name, file.getvalue()))
    reply = post(client, "/api/export", in_group(source), [("0/0/0.png", EMPTY)], to="seg")
    cause = "no DICOM-SEG can be made, because the image states no PixelSpacing; use the NIfTI mask"
    assert (reply.status_code, reply.json()) == (415, {"error": f"study/IM000.dcm: {cause}"})


def test_a_damaged_picture_does_not_end_the_others(client: Client) -> None:
    cut, whole = ("heads/a.png", png_of(draw_head(2))[:300]), ("heads/b.png", png_of(draw_head(1)))
    region = {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 4, "height": 3}, "region_attributes": {}}
    document = {
        name: {"filename": f"{name}.png", "size": -1, "regions": [region], "file_attributes": {}} for name in "ab"
    }
    masks, lines = drop(client, [cut, whole, ("heads/via.json", json.dumps(document).encode())])
    assert [line["type"] for line in lines] == ["start", "slice", "slice", "end"]
    record = lines[1]["record"]
    assert (record["status"], record["reason"][:13]) == ("error", "heads/a.png: ")
    assert list(masks) == [(1, 0)]


def test_a_mask_alone_asks_for_its_picture(client: Client) -> None:
    reply = post(client, "/api/annotations", [("one_mask.png", EMPTY)])
    assert reply.json()["error"] == "one_mask.png: an annotation alone; open it together with its picture or scan"


def test_annotations_that_fit_nothing_are_named(client: Client) -> None:
    labels = draw_lesions()
    _, data = export(client, in_group(PICTURE), [("0/0/0.png", png_of(labels))], "via")
    other: Files = [("two.png", png_of(draw_head(2)))]
    reply = post(client, "/api/annotations", [*other, ("one_via.json", data)])
    assert reply.status_code == 415
    assert "one.png: there is no such picture" in reply.json()["error"]
    small = ("two_mask.png", png_of(np.zeros((3, 4), np.uint8)))
    reply = post(client, "/api/annotations", [*other, small])
    assert reply.json()["error"] == "two_mask.png: 4 x 3 pixels, its picture 27 x 21; draw it anew"
    masks, lines = drop(client, [*PICTURE, *other, ("one_via.json", data)])
    assert [line["message"] for line in lines if line["type"] == "error"] == [
        "two: no annotation names it; open it alone"
    ]
    assert list(masks) == [(0, 0)]


def test_documents_that_annotate_nothing_are_passed_over(client: Client) -> None:
    scan = write_nifti()
    sidecar = ("head.json", json.dumps({"EchoTime": 0.01, "Manufacturer": "none"}).encode())
    _, lines = drop(client, [*scan, sidecar])
    assert [line["type"] for line in lines] == ["start", "slice", "slice", "slice", "volume", "end"]
    assert "annotated" not in lines[0]["items"][0]  # segmented as without the document


def test_items_of_a_group_with_annotations_are_numbered_without_them(client: Client) -> None:
    mask = ("a_mask.png", png_of(np.uint8(255) * (draw_lesions() > 0)))  # would be item 0, and sorts before the picture
    pictures: Files = [("a.png", png_of(draw_head(1))), ("b.png", png_of(draw_head(2)))]
    files = in_group([*pictures, mask])
    for named, expected in (("0", "b_mask.png"), ("", "a_mask_mask.png")):
        reply = client(
            "/api/export",
            files=[*(("file", each) for each in files), ("mask", ("0/1/0.png", EMPTY))],
            data={"annotated": named},
            params={"to": "png"},
        )
        assert f'filename="{expected}"' in reply.headers["content-disposition"]


def test_a_prompt_means_an_item_numbered_without_the_annotations(client: Client) -> None:
    affine = np.diag([-0.8, -0.5, 3.0, 1.0])
    affine[:3, 3] = 9, 4, 0
    mask = nib.Nifti1Image(np.ones((*SIZE_HW[::-1], 3), np.uint8), affine)
    files = [*write_dicom(), ("study_mask.nii.gz", gzip.compress(mask.to_bytes()))]  # would be item 0
    _, lines = drop(client, files)
    assert [item["name"] for item in lines[0]["items"]] == ["study"]
    prompt = json.dumps({"box_xyxy": [3, 3, 15, 15], "slice_index": 1, "item": 0})
    reply = client("/api/annotations", files=[("file", each) for each in files], data={"prompt": prompt})
    assert reply.json()["error"].startswith("study: no mask, the slice was rejected")  # it is noise


def test_annotations_of_other_tools_are_numbered_in_their_order(client: Client) -> None:
    regions = [
        {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 4, "height": 3}, "region_attributes": {}},
        {"shape_attributes": {"name": "rect", "x": 3, "y": 2, "width": 6, "height": 3}, "region_attributes": {}},
    ]
    document = {"one.png-1": {"filename": "one.png", "size": -1, "regions": regions, "file_attributes": {}}}
    masks, _ = drop(client, [*PICTURE, ("via.json", json.dumps(document).encode())])
    expected = np.zeros(SIZE_HW, np.uint8)
    expected[2:5, 3:9] = 2
    expected[2:5, 1:5] = 1  # the first region of a pixel keeps it
    np.testing.assert_array_equal(masks[0, 0], expected)


def test_all_parts_of_a_coco_annotation_have_the_number_of_its_lesion(client: Client) -> None:
    squares = [[[x, 2, x + 4, 2, x + 4, 5, x, 5] for x in xs] for xs in ((1, 8), (14,))]
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1, "segmentation": parts, "attributes": {"lesion": lesion}}
        for number, (parts, lesion) in enumerate(zip(squares, (7, 2), strict=True))
    ]
    images = [{"id": 1, "file_name": "one.png", "height": SIZE_HW[0], "width": SIZE_HW[1]}]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "tumour"}]}
    masks, _ = drop(client, [*PICTURE, ("coco.json", json.dumps(document).encode())])
    expected = np.zeros(SIZE_HW, np.uint8)
    expected[2:5, 1:5] = expected[2:5, 8:12] = 7
    expected[2:5, 14:18] = 2
    np.testing.assert_array_equal(masks[0, 0], expected)


@pytest.mark.parametrize("orientation", [3, 6, 8, 5])
@pytest.mark.parametrize("to", ["png", "via", "coco", "dataset"])
def test_pictures_that_exif_turns_keep_their_masks_upright(
    client: Client, tmp_path: Path, orientation: int, to: str
) -> None:
    stored = Image.fromarray(draw_head(5))
    exif = Image.Exif()
    exif[0x0112] = orientation
    with io.BytesIO() as file:
        stored.save(file, "JPEG", exif=exif)
        turned: Files = [("turned.jpg", file.getvalue())]
    (upright,), item = _segment(client, turned)
    assert list(upright.shape) == (list(SIZE_HW) if orientation == 3 else list(SIZE_HW[::-1])) == item["size_hw"]
    name, data = export(client, in_group(turned), [("0/0/0.png", png_of(upright))], to)
    if to == "dataset":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(tmp_path)
        (record,) = open_dataset(tmp_path).records
        np.testing.assert_array_equal(read_case(record)[0].truth, upright > 0)
        return
    masks, _ = drop(client, [*turned, (name, data)])
    np.testing.assert_array_equal(masks[0, 0] > 0, upright > 0)
