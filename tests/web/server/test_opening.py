from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tests.web.conftest import SIZE_HW, write_dicom

from tumortrace.data.nifti import voxels
from tumortrace.errors import DataError
from tumortrace.web.corrections import Corrected, read_corrections
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.opening import Opened, open_upload
from tumortrace.web.uploads import Upload, UploadedFile

RAMP = np.arange(120, dtype=np.int16).reshape(4, 6, 5)


def upload(folder: Path, files: dict[str, bytes]) -> Upload:
    """Files as they lie when they have been received."""
    received = []
    for name, data in files.items():
        path = folder / "scan" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        received.append(UploadedFile("file", name, path))
    return Upload(folder, tuple(received))


def open_files(folder: Path, files: dict[str, bytes], **limits: int) -> Opened:
    return open_upload(upload(folder, files), Limits(**limits))


def test_compressed_scans_are_unpacked_once_and_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(voxels, "unpack", lambda *_: pytest.fail("unpacked for a slice"))
    data = gzip.compress(nib.Nifti1Image(RAMP, np.eye(4)).to_bytes())
    opened = open_files(tmp_path, {"a/one.nii.gz": data, "two.nii.gz": data})
    assert [item.name for item in opened.items] == ["a/one", "two"]
    assert [opened.localise(item.file) for item in opened.inputs.volumes] == ["a/one.nii.gz", "two.nii.gz"]
    planes = [[item.volume.read(index).pixels for index in range(5)] for item in opened.inputs.volumes]
    np.testing.assert_array_equal(planes[0], planes[1])
    assert sorted(np.ravel(planes[0])) == list(range(120))
    assert {one.name for one in (tmp_path / "scan").rglob("*") if one.is_file()} == {"one.nii.gz", "two.nii.gz"}


def test_the_limit_on_unpacked_bytes_is_one_for_all_scans(tmp_path):
    data = gzip.compress(nib.Nifti1Image(RAMP, np.eye(4)).to_bytes())  # 352 + 240 bytes
    assert open_files(tmp_path / "one", {"a.nii.gz": data}, unpacked_bytes=600).items
    with pytest.raises(RefusalError) as refused:
        open_files(tmp_path / "two", {"a.nii.gz": data, "b.nii.gz": data}, unpacked_bytes=1000)
    assert (refused.value.status, refused.value.limit) == (413, "unpacked_bytes")
    assert {one.name for one in (tmp_path / "two").rglob("*.unpacked")} == set()


@pytest.mark.parametrize("limit", ["unpacked_bytes", "parts"])
def test_the_limits_on_unpacked_files_and_bytes_are_those_of_all_zips(tmp_path, scan_png, make_zip, limit):
    zips = {f"{number}.zip": make_zip({"x.png": scan_png}) for number in range(3)}
    most = 3 * {"unpacked_bytes": len(scan_png), "parts": 1}[limit]
    assert open_files(tmp_path / "one", zips, **{limit: most}).items
    with pytest.raises(RefusalError) as refused:
        open_files(tmp_path / "two", zips, **{limit: most - 1})
    assert (refused.value.status, refused.value.limit) == (413, limit)


@pytest.mark.parametrize("limit", ["voxels", "unpacked_bytes"])
def test_the_limits_on_masks_and_unpacked_bytes_are_those_of_all_groups(tmp_path, scan_png, make_zip, limit):
    one = {"voxels": 320 * 272, "unpacked_bytes": len(scan_png)}[limit]

    def read(folder: Path, most: int) -> tuple[Corrected, ...]:
        sent = upload(folder, {f"{group}/a.zip": make_zip({"x.png": scan_png}) for group in range(2)})
        path = folder / "mask.zlib"
        path.write_bytes(zlib.compress(bytes(320 * 272)))
        masks = tuple(UploadedFile("mask", f"{group}/0/0.zlib", path) for group in range(2))
        return read_corrections(replace(sent, files=sent.files + masks), Limits(**{limit: most}))

    assert len(read(tmp_path / "one", 2 * one)) == 2
    with pytest.raises(RefusalError) as refused:
        read(tmp_path / "two", 2 * one - 1)
    assert (refused.value.status, refused.value.limit) == (413, limit)


def test_a_damaged_compressed_scan_is_refused_by_its_reader(tmp_path):
    data = gzip.compress(nib.Nifti1Image(RAMP, np.eye(4)).to_bytes())[:-20]
    (item,) = open_files(tmp_path, {"a.nii.gz": data}).inputs.volumes
    with pytest.raises(DataError, match=r"a\.nii\.gz: damaged gzip data"):
        item.volume.read(0)
    assert [one.name for one in (tmp_path / "scan").iterdir()] == ["a.nii.gz"]


def test_a_zip_becomes_a_folder_of_its_name_beside_the_other_files(tmp_path, scan_png, make_zip):
    opened = open_files(tmp_path, {"a.zip": make_zip({"x.png": scan_png}), "a/x.png": scan_png, "y.png": scan_png})
    assert sorted(opened.localise(item.path) for item in opened.inputs.pictures) == [
        "a-unpacked/x.png", "a/x.png", "y.png",
    ]  # fmt: skip


def test_sizes_are_those_of_the_upright_picture(tmp_path, scan_png):
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 30)).save(turned, exif=exif)
    files = {"a.png": scan_png, "b.png": b"broken", "c.jpg": turned.read_bytes()}
    assert open_files(tmp_path / "sent", files).sizes_hw == ((320, 272), None, (40, 30))


def test_no_file_or_only_hidden_ones_are_refused(tmp_path):
    with pytest.raises(RefusalError, match="the request has no file"):
        open_upload(Upload(tmp_path, ()), Limits())
    with pytest.raises(RefusalError, match="no picture there") as refused:
        open_files(tmp_path, {".DS_Store": b"x", "__MACOSX/a.png": b"x"})
    assert str(tmp_path) not in str(refused.value)


def test_long_annotation_files_are_not_parsed_for_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("tumortrace.web.opening.MOST_ANNOTATION_BYTES", 10)
    with pytest.raises(RefusalError) as refused:
        open_files(tmp_path, {"a.json": b" " * 100 + b'{"imageData": "AAAA", "more": 1}'})
    assert refused.value.status == 413


def test_files_called_like_pictures_keep_the_limit_on_pixels_whatever_they_are(tmp_path, scan_png):
    packed = {"imagePath": "x.png", "shapes": [], "imageData": base64.b64encode(scan_png).decode()}
    ((_, dicom),) = write_dicom(1)
    files = {"a.png": json.dumps(packed).encode(), "b.png": dicom}
    assert open_files(tmp_path / "all", files).sizes_hw == ((320, 272), SIZE_HW)
    for name, data in files.items():
        with pytest.raises(RefusalError) as refused:
            open_files(tmp_path / name, {name: data}, pixels=100)
        assert (refused.value.status, refused.value.limit) == (413, "pixels")
