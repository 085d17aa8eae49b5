"""Boxes and clicks over HTTP: on one picture, on a picture that is kept, and through a series."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import cv2
import httpx
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from tumortrace.data.slice import Slice
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.session import Session
from tumortrace.web import pointed
from tumortrace.web.pointed import PointedPicture, PointedPictures
from tumortrace.web.sample import encode_sample

LINES = "application/x-ndjson"
BOX = [100, 80, 180, 170]

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def ask(make_client: Callable[..., httpx.AsyncClient]) -> Iterator[Ask]:
    """Send a prompt with files or fields to one server, and wait for the reply."""
    client, loop = make_client(), asyncio.new_event_loop()

    def send(
        prompt: object, files: dict[str, bytes], *, accept: str = "", grey: bytes = b"", **fields: str
    ) -> httpx.Response:
        text = prompt if isinstance(prompt, str) else json.dumps(prompt)
        parts = [("file", (name, data)) for name, data in files.items()] + [("grey", ("grey", grey))] * bool(grey)
        plain = [(name, (None, value)) for name, value in {"prompt": text, **fields}.items()]
        headers = {"Accept": accept} if accept else {}
        return loop.run_until_complete(client.post("/api/segment", files=[*parts, *plain], headers=headers))

    yield send
    loop.run_until_complete(client.aclose())
    loop.close()


@pytest.fixture(scope="module")
def bare() -> Segmenter:
    return Segmenter("fast", threads=1)


def decode(data: bytes | str) -> np.ndarray:
    png = base64.b64decode(data) if isinstance(data, str) else data
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_box_and_clicks_give_the_mask_that_a_program_gets(ask: Ask, bare: Segmenter, scan_png: bytes):
    prompt = {"box_xyxy": BOX, "points_xy": [[120, 100], [170, 160]], "labels": [1, 0]}
    document = ask(prompt, {"head.png": scan_png}).json()
    (image,) = document["images"]
    expected = bare.predict(Slice(decode(scan_png), "head.png"), **prompt)
    assert np.array_equal(decode(image["mask_png"]) > 0, expected.mask)
    assert expected.mask.any()
    assert (image["file"], image["mask"], image["area_px"]) == ("head.png", "head_mask.png", int(expected.mask.sum()))
    assert image["prompt"] == [prompt]
    assert document["model"]["name"] == bare.prompt_model.name
    mask = ask(prompt, {"head.png": scan_png}, accept="image/png")
    assert np.array_equal(decode(mask.content) > 0, expected.mask)


def test_a_kept_picture_answers_without_its_file_and_a_click_costs_one_decoder(ask: Ask, scan_png: bytes, monkeypatch):
    (first,) = ask({"box_xyxy": BOX}, {"head.png": scan_png}).json()["images"]
    assert first["picture"] == hashlib.sha256(scan_png).hexdigest()
    runs = []
    run = Session.run_all
    monkeypatch.setattr(Session, "run_all", lambda self, inputs: (runs.append(self.path.name), run(self, inputs))[1])
    prompt = {"box_xyxy": BOX, "points_xy": [[120, 100]], "labels": [0]}
    (second,) = ask(prompt, {}, picture=first["picture"]).json()["images"]
    assert runs == ["box-decoder.onnx"]
    assert (second["file"], second["picture"], second["prompt"]) == ("head.png", first["picture"], [prompt])
    assert not decode(second["mask_png"])[100, 120]


@pytest.mark.parametrize(
    ("prompt", "status", "text"),
    [
        ("no JSON", 400, "no JSON"),
        ("[" * 9000, 400, "no JSON"),
        ("[1, 2]", 400, "no object with a box_xyxy"),
        ({"points_xy": [[1, 2]]}, 400, "no object with a box_xyxy"),
        ({"box_xyxy": BOX, "boxes": []}, 400, "unknown key 'boxes'"),
        ({"box_xyxy": None}, 400, "give four numbers"),
        ({"box_xyxy": [1, 2, 3]}, 400, "give four numbers"),
        ('{"box_xyxy": [NaN, 2, 3, 4]}', 400, "give four numbers"),
        ('{"box_xyxy": [1, 2, 3, 1e999]}', 400, "give four numbers"),
        (f'{{"box_xyxy": [1, 2, 3, 1{"0" * 400}]}}', 400, "give four numbers"),
        ({"box_xyxy": ["1", "2", "3", "4"]}, 400, "give four numbers"),
        ({"box_xyxy": [50, 50, 50, 90]}, 400, "0 x 40 pixels"),
        ({"box_xyxy": [900, 900, 950, 950]}, 400, "outside of the picture of 272 x 320"),
        ({"box_xyxy": BOX, "points_xy": [[120, 500]]}, 400, "outside of the picture"),
        ({"box_xyxy": BOX, "points_xy": [[120, 100]], "labels": [1, 0]}, 400, "1 point and 2 labels"),
        ({"box_xyxy": BOX, "points_xy": [[120, 100]], "labels": [7]}, 400, "label 7"),
        ({"box_xyxy": BOX, "points_xy": [[120, 100]] * 101}, 413, "101 points, more than the limit of 100"),
        ({"box_xyxy": BOX, "points_xy": [[120.123456, 100.1234567]] * 900}, 413, "longer than 16384 bytes"),
        ({"box_xyxy": BOX, "slice_index": 0}, 400, "slice_index belongs to a series"),
    ],
)  # fmt: skip
def test_a_wrong_prompt_is_one_line(ask: Ask, scan_png: bytes, prompt: object, status: int, text: str):
    reply = ask(prompt, {"head.png": scan_png})
    error = reply.json()["error"]
    assert (reply.status_code, text in error, "\n" in error) == (status, True, False), error


def test_corners_come_in_any_order_and_what_lies_outside_is_cut_off(ask: Ask, scan_png: bytes):
    plain = ask({"box_xyxy": [100, 80, 272, 170]}, {"head.png": scan_png}).json()["images"][0]
    turned = ask({"box_xyxy": [400, 170, 100, 80]}, {"head.png": scan_png}).json()["images"][0]
    assert plain["prompt"] == turned["prompt"]
    assert plain["mask_png"] == turned["mask_png"]


def test_a_prompt_points_at_one_thing(ask: Ask, scan_png: bytes):
    reply = ask({"box_xyxy": BOX}, {"a.png": scan_png, "b.png": scan_png})
    assert (reply.status_code, "no item among 2" in reply.json()["error"]) == (400, True)
    for item in (-1, 2, True, "0", 10**30):
        assert ask({"box_xyxy": BOX, "item": item}, {"a.png": scan_png, "b.png": scan_png}).status_code == 400
    (image,) = ask({"box_xyxy": BOX, "item": 1}, {"a.png": scan_png, "b.png": scan_png}).json()["images"]
    assert image["file"] == "b.png"
    lines = ask({"box_xyxy": BOX, "item": 1}, {"a.png": scan_png, "b.png": scan_png}, accept=LINES).text.splitlines()
    start, line, _ = map(json.loads, lines)
    assert ([item["name"] for item in start["items"]], line["item"]) == (["a.png", "b.png"], 1)
    assert ask({"box_xyxy": BOX}, {"a.png": scan_png}, picture="0" * 64).status_code == 400
    gone = ask({"box_xyxy": BOX}, {}, picture="0" * 64)
    assert (gone.status_code, "send it again" in gone.json()["error"]) == (404, True)
    assert ask({"box_xyxy": BOX}, {"broken.png": b"broken"}).status_code == 415


def test_a_picture_without_a_prompt_and_a_prompt_as_a_file_are_refused(post, scan_png: bytes):
    reply = post({"head.png": scan_png}, query={"picture": "0" * 64})
    assert (reply.status_code, reply.json()["error"].partition(":")[0]) == (400, "picture")


def test_grey_values_stand_for_the_file(ask: Ask, bare: Segmenter, scan_png: bytes):
    pixels = decode(scan_png)
    data = zlib.compress(pixels.astype("<u2").tobytes())
    prompt = {"box_xyxy": BOX, "size_hw": list(pixels.shape)}
    reply = ask(prompt, {}, accept="image/png", grey=data)
    assert np.array_equal(decode(reply.content) > 0, bare.predict(Slice(pixels, "x"), box_xyxy=BOX).mask)
    again = ask({**prompt, "points_xy": [[120, 100]]}, {}, accept="image/png", picture=reply.headers["Picture"])
    assert decode(again.content)[100, 120] == 255
    for size_hw, grey in (([320, 271], data), (None, data), ([True, 272], data), ([320, 272], b"damaged")):
        assert ask({**prompt, "size_hw": size_hw}, {}, grey=grey).status_code == 400
    assert ask({**prompt, "size_hw": [10**6, 10**6]}, {}, grey=data).status_code == 413


def test_a_rejected_picture_says_so(ask: Ask):
    blank = cv2.imencode(".png", np.zeros((320, 272), np.uint8))[1].tobytes()
    (image,) = ask({"box_xyxy": BOX}, {"blank.png": blank}).json()["images"]
    assert (image["status"], image["mask_png"]) == ("rejected", None)


@pytest.fixture(scope="module")
def series(bare: Segmenter, tmp_path_factory: pytest.TempPathFactory):
    """The generated sample: its bytes, the slice with the largest automatic mask, and a loose box around that."""
    path = tmp_path_factory.mktemp("series") / "sample.nii.gz"
    path.write_bytes(encode_sample())
    automatic = bare.predict_volume(path)
    index = int(automatic.mask.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(automatic.mask[index])
    box = [int(columns.min()) - 4, int(rows.min()) - 4, int(columns.max()) + 5, int(rows.max()) + 5]
    carried = bare.predict_volume(path, box_xyxy=box, points_xy=[(columns[0], rows[0])], slice_index=index)
    prompt = {
        "box_xyxy": box, "points_xy": [[int(columns[0]), int(rows[0])]], "labels": [1], "slice_index": index,
    }  # fmt: skip
    return SimpleNamespace(data=path.read_bytes(), prompt=prompt, index=index, carried=carried)


def test_a_box_is_carried_through_a_series_slice_by_slice(ask: Ask, series):
    reply = ask(series.prompt, {"sample.nii.gz": series.data}, accept=LINES)
    start, *slices, volume, end = (json.loads(line) for line in reply.text.splitlines())
    assert (start["model"]["name"], start["items"][0]["slices"], end["type"]) == ("box", 24, "end")
    order = [line["slice_index"] for line in slices]
    up = sorted(index for index in order if index >= series.index)
    down = sorted((index for index in order if index < series.index), reverse=True)
    assert order == up + down
    assert len(order) >= 5
    assert {line["item"] for line in (*slices, volume)} == {0}
    for line in slices:
        assert np.array_equal(decode(line["mask_png"]) > 0, series.carried.slices[line["slice_index"]].mask)
        assert len(line["record"]["prompt"]) == 1
    assert volume["record"]["prompt"][0]["points_xy"] == series.prompt["points_xy"]
    assert volume["record"]["slices_with_tumour"] == len(order)


def test_the_document_holds_the_slices_that_were_followed(ask: Ask, series):
    document = ask(series.prompt, {"sample.nii.gz": series.data}).json()
    assert len(document["images"]) == document["volumes"][0]["slices_with_tumour"] < 24
    assert all(image["prompt"] for image in document["images"])
    reply = ask(series.prompt, {"sample.nii.gz": series.data}, accept="application/gzip")
    mask = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(reply.content)).dataobj)
    assert int(mask.sum()) == int(series.carried.mask.sum())


def test_the_segmentation_object_of_a_carried_box_is_semiautomatic(ask: Ask, dicom_series: dict[str, bytes], tmp_path):
    reply = ask({"box_xyxy": [40, 40, 90, 90], "slice_index": 2}, dicom_series, accept="application/dicom")
    assert reply.status_code == 200, reply.text
    (tmp_path / "seg.dcm").write_bytes(reply.content)
    (segment, *_) = dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"


@pytest.mark.parametrize("index", [None, -1, 24, 2.5, "3"])
def test_a_slice_that_is_not_there_is_refused_before_the_stream_begins(ask: Ask, series, index: object):
    reply = ask({**series.prompt, "slice_index": index}, {"sample.nii.gz": series.data}, accept=LINES)
    assert (reply.status_code, "give the slice of the box, 0 to 23" in reply.json()["error"]) == (400, True)


def picture(key: str, size_hw: tuple[int, int] = (300, 300)) -> PointedPicture:
    session = SimpleNamespace(image=SimpleNamespace(size_hw=size_hw))
    return PointedPicture(key, session, None, None)  # type: ignore[arg-type]


def test_only_the_last_pictures_are_kept_and_none_for_ever(monkeypatch):
    now = 0.0
    monkeypatch.setattr(pointed.time, "monotonic", lambda: now)

    async def use() -> None:
        nonlocal now
        kept = PointedPictures()
        for number in range(pointed.MOST_PICTURES):
            assert kept.keep(picture(str(number)))
        assert kept.find("0") is not None
        kept.keep(picture("new"))
        assert kept.find("1") is None  # the one that was longest unused
        assert kept.find("0") is not None
        assert kept.keep(picture("large", (4096, 4000)))
        assert len(kept) == 1 + (pointed.MOST_PIXELS - 4096 * 4000) // 300**2
        assert not kept.keep(picture("larger", (4097, 4096)))
        now = pointed.KEPT_SECONDS - 1
        assert kept.find("0") is not None
        now += 2
        kept.forget_unused()
        assert len(kept) == 1
        now += pointed.KEPT_SECONDS
        kept.forget_unused()
        assert len(kept) == 0

    asyncio.run(use())


def test_a_picture_that_is_sent_again_keeps_no_other_longer(monkeypatch):
    now = 0.0
    monkeypatch.setattr(pointed.time, "monotonic", lambda: now)

    async def use() -> None:
        nonlocal now
        kept = PointedPictures()
        kept.keep(picture("a"))
        kept.keep(picture("b"))
        now = pointed.KEPT_SECONDS / 2
        kept.keep(picture("a"))
        now = pointed.KEPT_SECONDS
        kept.forget_unused()
        assert (kept.find("a") is None, kept.find("b") is None) == (False, True)

    asyncio.run(use())
