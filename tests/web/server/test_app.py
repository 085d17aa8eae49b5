from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import re
import socket
import zlib
from pathlib import Path

import cv2
import httpx
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.segmenter import Segmenter
from tumortrace.signed_png import is_signed_png
from tumortrace.web.app import make_app
from tumortrace.web.engine import Engine
from tumortrace.web.sample import encode_sample

LINES = "application/x-ndjson"


@pytest.fixture(scope="module")
def sample() -> bytes:
    return encode_sample()


def decode(data: bytes | str) -> np.ndarray:
    png = base64.b64decode(data) if isinstance(data, str) else data
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def without_seconds(document: dict, folder: Path) -> dict:
    """What ``segment`` writes, as the server names it: relative paths, no times."""
    text = json.dumps(document).replace(f"{folder}/", "").replace(str(folder), folder.name)
    read = json.loads(text)
    for image in read["images"]:
        del image["seconds"]
        image.pop("mask_png", None)
    return read


def test_the_document_is_the_one_that_segment_writes(post, tmp_path, scan_png, dicom_series, sample, temporary):
    folder = tmp_path / "scan"  # the name that the server gives to what lies in no folder
    files = {"head.png": scan_png, "study/sample.nii.gz": sample, "notes.txt": b"no picture", "broken.png": b"broken"}
    files |= {f"study/{name}": data for name, data in dicom_series.items()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    segment_all(Segmenter("fast", threads=1), find_inputs([str(folder)]), out=tmp_path / "out")
    written = json.loads((tmp_path / "out/results.json").read_text())
    reply = post(files)
    assert reply.status_code == 200
    assert without_seconds(reply.json(), folder) == without_seconds(written, folder)
    assert not list(temporary.iterdir())


def test_a_picture_is_answered_with_its_record_and_mask(post, scan_png):
    (image,) = post({"head.png": scan_png}).json()["images"]
    assert (image["file"], image["mask"], image["status"], image["tumour"]) == ("head.png", "head_mask.png", "ok", True)
    mask = decode(image["mask_png"])
    assert mask.shape == (320, 272)
    assert set(np.unique(mask)) == {0, 255}
    assert image["area_px"] == np.count_nonzero(mask)


def test_a_series_in_a_zip_is_one_volume(post, dicom_series, make_zip, temporary):
    document = post({"study.zip": make_zip({f"a/{name}": data for name, data in dicom_series.items()})}).json()
    (volume,) = document["volumes"]
    assert (volume["status"], volume["slices"]) == ("ok", 5)
    assert volume["mask"] == "study/a_mask.nii.gz"
    assert [image["slice_index"] for image in document["images"]] == [0, 1, 2, 3, 4]
    assert not list(temporary.iterdir())


def test_a_series_streams_slice_by_slice_and_its_events_add_up_to_the_document(post, sample):
    reply = post({"sample.nii.gz": sample}, accept=LINES)
    assert reply.headers["content-type"] == LINES
    start, *slices, volume, end = (json.loads(line) for line in reply.text.splitlines())
    assert start["items"] == [
        {
            "item": 0,
            "kind": "volume",
            "name": "sample",
            "series_uid": None,
            "slices": 24,
            "size_hw": [256, 216],
            "spacing_mm": pytest.approx([0.742, 0.742], abs=0.001),
            "step_mm": pytest.approx(5.417, abs=0.001),
        }
    ]
    assert [line["slice_index"] for line in slices] == list(range(24))
    assert all(decode(line["mask_png"]).shape == (256, 216) for line in slices)
    assert volume["record"]["slices_with_tumour"] >= 5
    assert end["type"] == "end"
    document = post({"sample.nii.gz": sample}).json()
    masks = {line["slice_index"]: line["mask_png"] for line in [*slices, *volume["changed"]]}
    assert {image["slice_index"]: image["mask_png"] for image in document["images"]} == masks
    assert document["volumes"] == [volume["record"]]


def test_pixels_and_probabilities_come_as_stored(post, dicom_series):
    text = post(dicom_series, accept=LINES, query={"pixels": "1", "probability": "1"}).text
    lines = [json.loads(line) for line in text.splitlines()]
    slices = [line for line in lines if line["type"] == "slice"]
    by_place = sorted((dcmread(io.BytesIO(data)) for data in dicom_series.values()), key=lambda one: one.InstanceNumber)
    for line, image in zip(slices, by_place, strict=True):
        pixels = line["pixels"]
        numbers = np.frombuffer(zlib.decompress(base64.b64decode(pixels["data"])), "<u2").reshape(160, 136)
        grey = numbers * pixels["slope"] + pixels["intercept"]
        stored = np.frombuffer(image.PixelData, np.uint16).reshape(160, 136)
        np.testing.assert_array_equal(grey, stored)
        assert pixels["window"][1] > 0
        probability = decode(line["probability_png"])
        assert (probability.shape, probability.dtype) == ((160, 136), np.uint8)
        assert (probability[decode(line["mask_png"]) > 0] >= int(lines[0]["model"]["threshold"] * 255)).all()


def test_a_coloured_picture_comes_with_its_colours(post, encode_picture):
    pixels = np.zeros((120, 110, 3), np.uint8)
    pixels[20:60, 30:50] = (200, 30, 90)
    (image,) = post({"cat.png": encode_picture(pixels)}, query={"pixels": "1"}).json()["images"]
    assert image["status"] == "rejected"
    assert image["mask_png"] is None
    np.testing.assert_array_equal(decode(image["pixels"]["rgb_png"])[:, :, ::-1], pixels)
    grey = np.frombuffer(zlib.decompress(base64.b64decode(image["pixels"]["data"])), "<u2").reshape(120, 110)
    assert {*grey.ravel().tolist()} == {0, 88}  # luma: 0.299 * 200 + 0.587 * 30 + 0.114 * 90 = 87.7


def test_the_name_of_a_reply_is_kept_and_has_an_ascii_form(post, scan_png):
    disposition = post({"Sch\u00e4del 1';.png": scan_png}, accept="image/png").headers["content-disposition"]
    plain, encoded = disposition.removeprefix("attachment; ").split("; ")
    assert plain == 'filename="Sch_del_1___mask.png"'
    assert encoded == "filename*=UTF-8''Sch%C3%A4del%201%27%3B_mask.png"


def test_one_file_is_answered_where_one_is_accepted(post, scan_png, dicom_series, sample, tmp_path):
    reply = post({"head.png": scan_png}, accept="image/png")
    assert reply.headers["content-disposition"].startswith('attachment; filename="head_mask.png"; ')
    (tmp_path / "mask.png").write_bytes(reply.content)
    assert is_signed_png(tmp_path / "mask.png")
    assert decode(reply.content).shape == (320, 272)
    assert decode(post({"head.png": scan_png}, accept="image/jpeg").content).shape == (320, 272, 3)
    mask = nib.Nifti1Image.from_bytes(gzip.decompress(post({"s.nii.gz": sample}, accept="application/gzip").content))
    assert mask.shape == (216, 256, 24)
    seg = dcmread(io.BytesIO(post(dicom_series, accept="application/dicom").content))
    assert seg.Modality == "SEG"
    assert "CANARY" not in str(seg.PatientID)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 200),
        ("*/*", 200),
        ("text/html, application/json;q=0.5", 200),
        ("image/*", 200),
        ("application/json;q=0", 406),
        ("text/html", 406),
        ("application/dicom", 406),
        ("application/gzip", 406),
        ("application/json;q=x", 406),
    ],
)
def test_the_accepted_type_is_chosen_or_406(post, scan_png, accept, status):
    assert post({"head.png": scan_png}, accept=accept).status_code == status


def test_one_file_for_two_pictures_is_406(post, scan_png):
    reply = post({"a.png": scan_png, "b.png": scan_png}, accept="image/png")
    assert reply.status_code == 406
    assert "2 were sent" in reply.json()["error"]


def test_a_rejected_picture_is_200_with_its_status_and_422_where_a_mask_is_wanted(post, encode_picture):
    blank = encode_picture(np.zeros((120, 110), np.uint8))
    assert [image["status"] for image in post({"blank.png": blank}).json()["images"]] == ["rejected"]
    reply = post({"blank.png": blank}, accept="image/png")
    assert reply.status_code == 422
    assert "blank" in reply.json()["error"]


@pytest.mark.parametrize("accept", ["application/json", LINES, "image/png"])
def test_what_cannot_be_read_is_415_in_one_line_that_names_the_file(post, accept, temporary):
    reply = post({"notes.txt": b"no picture"}, accept=accept)
    assert reply.status_code == 415
    assert reply.json()["error"].startswith("notes.txt: ")
    assert str(temporary) not in reply.text
    assert "\n" not in reply.text


def test_one_bad_file_among_several_is_a_record(post, scan_png):
    images = post({"a.png": scan_png, "b.png": b"broken"}).json()["images"]
    assert [(image["file"], image["status"]) for image in images] == [("a.png", "ok"), ("b.png", "error")]


def test_masks_that_tumortrace_drew_are_passed_over_and_named(post, scan_png):
    mask = post({"head.png": scan_png}, accept="image/png").content
    document = post({"head.png": scan_png, "head_mask.png": mask, "notes.txt": b"text"}).json()
    assert [image["file"] for image in document["images"]] == ["head.png"]
    assert sorted(document["skipped"]) == ["head_mask.png", "notes.txt"]
    assert post({"head_mask.png": mask}).status_code == 415


def test_dicom_objects_that_are_no_slice_of_their_own_are_named(post, dicom_series):
    first = next(iter(dicom_series))
    document = post({**dicom_series, "zz-again.dcm": dicom_series[first]}).json()
    assert len(document["images"]) == len(dicom_series)
    assert document["skipped"] == ["zz-again.dcm"]


def test_the_model_is_chosen_by_name(post, scan_png):
    fast = post({"head.png": scan_png}).json()["model"]
    assert post({"head.png": scan_png}, query={"model": "default"}).json()["model"] == fast  # what the server serves
    reply = post({"head.png": scan_png}, query={"model": "/etc/passwd"})
    assert (reply.status_code, reply.json()["error"].partition(":")[0]) == (400, "model=/etc/passwd")


def test_scans_without_their_library_are_501_and_pictures_go_on(post, scan_png, dicom_series, monkeypatch):
    monkeypatch.setattr("tumortrace.errors.missing_modules", lambda extra: ["pydicom"] if extra == "formats" else [])
    reply = post(dicom_series)
    assert reply.status_code == 501
    assert "pip install 'tumortrace[formats]'" in reply.json()["error"]
    document = post({"head.png": scan_png, **dicom_series}).json()
    assert [image["status"] for image in document["images"]] == ["ok"]
    (refused,) = document["volumes"]
    assert "pip install 'tumortrace[formats]'" in refused["reason"]
    assert sorted([refused["file"], *document["skipped"]]) == sorted(dicom_series)


def test_odd_flags_are_refused(post, scan_png):
    reply = post({"head.png": scan_png}, query={"pixels": "maybe"})
    assert (reply.status_code, reply.json()["error"]) == (400, "pixels=maybe: neither 1 nor 0; give one of them")


def test_the_small_routes_answer(get):
    assert get("/healthz").json()["status"] == "ok"
    assert get("/v2/health/ready").json() == {"ready": True}
    model = get("/api/model").json()
    assert model["threshold"] == pytest.approx(0.4, abs=0.3)
    assert model["models"] == ["default"]  # fast is what this server serves
    assert model["limits"]["parts"] == 2048
    assert model["card"]["intended_use"]
    metadata = get("/v2/models/default").json()
    assert metadata["inputs"][0]["shape"][:2] == [-1, 1]
    assert metadata["platform"] == "onnxruntime_onnx"
    assert get("/v2/models/other").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/v2/health/ready"])
def test_load_balancers_may_ask_for_headers_alone(make_client, path):
    async def ask() -> httpx.Response:
        async with make_client(host="127.0.0.1", base="http://127.0.0.1:8080") as client:
            return await client.head(path)

    assert asyncio.run(ask()).status_code == 200


def test_a_wrong_path_or_method_is_one_line(get):
    assert get("/nowhere").json() == {"error": "GET /nowhere: not found"}
    reply = get("/api/segment")
    assert reply.status_code == 405
    assert reply.json() == {"error": "GET /api/segment: method not allowed"}


def test_no_reply_may_be_kept_and_the_page_is_checked_each_time(get):
    assert get("/healthz").headers["cache-control"] == "no-store"
    assert get("/").headers["cache-control"] == "no-cache"


def test_openapi_describes_every_route_with_examples_and_loads_nothing_from_elsewhere(get):
    document = get("/openapi.json").json()
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert described >= {
        ("post", "/api/segment"),
        ("get", "/api/model"),
        ("get", "/api/sample"),
        ("get", "/healthz"),
        ("get", "/v2/health/ready"),
        ("get", "/v2/models/{name}"),
    }
    replies = document["paths"]["/api/segment"]["post"]["responses"]
    assert set(replies) >= {"200", "400", "403", "406", "408", "413", "415", "422", "503"}
    for reply in replies.values():
        assert reply["content"]["application/json"]["example"]
    assert get("/docs").status_code == 404
    assert get("/redoc").status_code == 404
    assert not re.search(r"https?://", json.dumps(document).replace("https://x.test", ""))


def test_the_example_of_openapi_has_the_keys_of_a_reply(get, post, sample):
    replies = get("/openapi.json").json()["paths"]["/api/segment"]["post"]["responses"]
    example = replies["200"]["content"]["application/json"]["example"]
    document = post({"sample.nii.gz": sample}).json()
    assert example.keys() == document.keys()
    for kind in ("images", "volumes"):
        shown, real = (
            example[kind][0],
            next(one for one in document[kind] if one["lesions"] and one.get("contrast", "is known")),
        )
        assert shown.keys() == {key for key, value in real.items() if value is not None}  # FastAPI drops null
        assert shown["lesions"][0].keys() == real["lesions"][0].keys()
    assert example["model"].keys() == document["model"].keys()


def test_no_telemetry_is_sent_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:9")
    engine = Engine("fast")
    app = make_app(engine, host="127.0.0.1")._app
    engine.shut_down()
    off = {key: app._telemetry[key] for key in ("tracing", "metrics", "logs", "operation_spans", "auto_configure")}
    assert off == dict.fromkeys(off, False)


def test_nothing_is_looked_up_or_connected_to(post, get, scan_png, monkeypatch):
    def refuse(*_: object) -> None:
        pytest.fail("the server went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert post({"head.png": scan_png}).status_code == 200
    assert get("/api/model").status_code == get("/").status_code == 200
