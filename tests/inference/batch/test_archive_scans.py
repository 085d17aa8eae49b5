"""DICOM series and NIfTI files in archives and buckets: the masks and records of a folder, and every fault by name."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.inference.batch.test_archives import pack

from tumortrace.config import Recipe
from tumortrace.inference.batch import archives
from tumortrace.inference.batch.archives import ZipMember, allow_any_order, close_streams, list_members
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.fingerprint import take_fingerprint
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.shards import Shard, segment_shard
from tumortrace.inference.model import Model
from tumortrace.inference.results.volume_files import VolumeOptions
from tumortrace.inference.segmenter import Segmenter
from tumortrace.stored_path import StoredPath

KINDS = ("tar", "tgz", "zip")

SIZE_HW = (20, 24)

WriteSeries = Callable[..., list[Any]]


def draw(count: int, first: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Slices of 20 x 24 pixels with a bright block whose place tells them apart."""
    pixels = np.full((count, *SIZE_HW), 10, dtype=np.int16)
    for number in range(count):
        pixels[number, 2 + first + number : 7 + first + number, 5:12] = 200
    return pixels


@pytest.fixture
def folder(tmp_path: Path, write_series: WriteSeries) -> Path:
    """Two series, one of them at the top and without suffixes; NIfTI files of three kinds; a damaged one, a text."""
    top = tmp_path / "plain" / "scans"
    write_series(top / "deep" / "series", draw(3, 0).astype(np.uint16))
    for path in (source.path for source in write_series(top, draw(4, 5).astype(np.uint16), "coronal")):
        path.rename(path.with_suffix(""))
    for name, first in (("a.nii", 2), ("b.nii.gz", 3), ("deep/pair.hdr", 4)):
        kind = nib.Nifti1Pair if name.endswith(".hdr") else nib.Nifti1Image
        nib.save(kind(np.transpose(draw(3, first), (2, 1, 0)), np.diag([1, 2, 3, 1])), top / name)
    (top / "cut.nii").write_bytes((top / "a.nii").read_bytes()[:400])
    (top / "notes.txt").write_text("none")
    return top


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    return Segmenter(open_hand_model(Recipe(SIZE_HW, threshold=0.55)), threads=1, gate=False)


def read(out: Path, source: Path) -> dict[str, list[str]]:
    """The records of a run, in the order of their files, without times and without the place of their source."""
    text = (out / "results.json").read_text().replace(str(source), "SOURCE")
    document = json.loads(re.sub(r'"seconds": [\d.e-]+', '"seconds": 0', text))
    return {key: sorted(map(json.dumps, document[key])) for key in ("images", "volumes", "skipped")}


@pytest.mark.parametrize("kind", KINDS)
def test_scans_of_an_archive_give_what_their_folder_gives(
    tmp_path: Path, folder: Path, segmenter: Segmenter, kind: str
):
    archive = pack(folder, tmp_path / f"scans.{kind}", backwards=True)
    before = set(tmp_path.iterdir())
    settings = SegmentSettings(options=VolumeOptions(dicom_seg=True))
    for source, out in ((folder, "out"), (archive, "out2")):
        segment_all(segmenter, find_inputs([str(source)]), out=tmp_path / out, settings=settings, workers=2)
    expected = read(tmp_path / "out", folder)
    assert read(tmp_path / "out2", archive) == expected
    assert (len(expected["images"]), len(expected["volumes"])) == (3 + 4 + 3 * 3, 6)
    masks = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*_mask.nii.gz")}
    names = {"scans", "deep/series", "a", "b", "deep/pair"}
    assert masks == {f"{name}_mask.nii.gz" for name in names}
    assert all((tmp_path / "out2" / name).read_bytes() == (tmp_path / "out" / name).read_bytes() for name in masks)
    assert (tmp_path / "out2/deep/series_seg.dcm").exists()
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out", tmp_path / "out2"}


@pytest.mark.parametrize("kind", KINDS)
def test_volumes_of_an_archive_are_taken_over_until_it_changes(
    tmp_path: Path, folder: Path, segmenter: Segmenter, kind: str
):
    archive, out, taken = pack(folder, tmp_path / f"x.{kind}", backwards=True), tmp_path / "out", []
    for _ in range(2):
        summary = segment_shard(segmenter, find_inputs([str(archive)]), Shard(1, 1), out=out)
        taken.append(summary.shard and summary.shard.taken)
    nib.save(nib.Nifti1Image(np.transpose(draw(3, 7), (2, 1, 0)), np.diag([1, 2, 3, 1])), folder / "a.nii")
    pack(folder, archive, backwards=True)
    units = find_inputs([str(archive)])
    summary = segment_shard(segmenter, units, Shard(1, 1), out=out)
    taken.append(summary.shard and summary.shard.taken)
    assert taken == [0, 5, 4 if kind == "zip" else 0]  # a tar has no checksums: any change may be everywhere
    (volume,) = (each for each in units.volumes if each.name == "a")
    again = pickle.loads(pickle.dumps(volume))  # noqa: S301 - as it goes to a worker
    assert again.volume.sources == volume.volume.sources
    assert take_fingerprint(again) == take_fingerprint(volume)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dicom_file_that_is_called_a_picture_is_read_in_an_archive_too(
    tmp_path: Path, write_series: WriteSeries, segmenter: Segmenter, kind: str
):
    (source,) = write_series(tmp_path / "scans", draw(1, 3).astype(np.uint16))
    source.path.rename(source.path.with_suffix(".png"))
    archive = pack(tmp_path / "scans", tmp_path / f"x.{kind}", backwards=False)
    records = []
    for place in (tmp_path / "scans", archive):
        segment_all(segmenter, find_inputs([str(place)]), out=tmp_path / f"out-{place.name}")
        results = json.loads((tmp_path / f"out-{place.name}" / "results.json").read_text())
        records += [{**image, "file": "", "seconds": 0} for image in results["images"]]
    plain, packed = records
    assert plain["status"] == "ok"
    assert packed == plain


def test_a_damaged_member_is_named_with_its_archive(tmp_path: Path, folder: Path, segmenter: Segmenter):
    archive = pack(folder, tmp_path / "x.zip", backwards=True)
    inputs = find_inputs([str(archive)])
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        entry = opened.getinfo("b.nii.gz")
    data[entry.header_offset + 30 + len(entry.filename) + 20] ^= 255
    archive.write_bytes(data)
    close_streams()
    segment_all(segmenter, inputs, out=tmp_path / "out")
    (record,) = (
        one for one in json.loads((tmp_path / "out/results.json").read_text())["volumes"] if "/b." in one["file"]
    )
    assert record["status"] == "error"
    assert record["reason"].startswith(f"{archive}/b.nii.gz")
    assert "a member" in record["reason"]
    refused = {each.file for each in find_inputs([str(archive)]).refused}
    assert refused == {f"{archive}/cut.nii", f"{archive}/b.nii.gz"}


def test_a_compressed_tar_is_unpacked_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.nii").write_bytes(b"x" * 5000)
    archive = pack(tmp_path / "s", tmp_path / "x.tgz", backwards=True)
    (found,) = list_members(str(archive))
    assert found.source is not None
    member = allow_any_order(found.source)
    assert member.read() == b"x" * 5000
    close_streams()
    monkeypatch.setattr(archives, "MOST_UNPACKED_BYTES", 4000)
    path = StoredPath(f"{archive}/a.nii", member)
    with pytest.raises(OSError, match="unpacks to more than the limit of 4,000 bytes") as caught:
        path.read_content()
    assert caught.value.filename == f"{archive}/a.nii"
    close_streams()


def test_a_stored_path_is_a_path(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("d/one.hdr", "header")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        entry = archive.getinfo("d/one.hdr")
    source = ZipMember(str(tmp_path / "x.zip"), entry.header_offset, 6, 6, entry.CRC, deflated=False)
    path = StoredPath("s3://bucket/d/one.hdr", source, {"one.img": source})
    assert (str(path), path.name, str(path.parent)) == ("s3://bucket/d/one.hdr", "one.hdr", "s3://bucket/d")
    assert path.open_content().read() == b"header"
    assert path.stat().st_size == 6
    assert path.is_file()
    assert path.with_name("one.img").is_file()
    assert path.with_suffix(".img").open_content().read() == b"header"
    assert not path.with_name("two.img").is_file()
    with pytest.raises(FileNotFoundError):
        path.with_name("two.img").stat()
    again = pickle.loads(pickle.dumps(path))  # noqa: S301 - as it goes to a worker
    assert (again, str(again), again.source, again.with_name("one.img").source) == (path, str(path), source, source)
    shutil.rmtree(tmp_path)
    with pytest.raises(OSError, match="a member cannot be read"):
        path.open_content()


def test_an_archive_that_was_made_again_is_read_again(tmp_path: Path):
    """Of equal size and in equal places, in one program: a notebook, a worker of a cluster."""
    (tmp_path / "s").mkdir()
    contents = []
    for value in (b"a", b"b"):
        (tmp_path / "s/large.nii").write_bytes(value * 2**20)
        archive = pack(tmp_path / "s", tmp_path / "x.tar")
        (found,) = list_members(str(archive))
        contents.append(StoredPath(found.path, found.source).read_content()[:1])
    assert contents == [b"a", b"b"]


@dataclass(frozen=True)
class CountingSource:
    """A large content; each reading takes a while, and is counted."""

    readings: list[int] = field(default_factory=list, compare=False)

    def read(self) -> bytes:
        self.readings.append(1)
        time.sleep(0.05)
        return b"x" * 2**20

    def stamp(self) -> tuple[int, str]:
        return 2**20, "same"


def test_threads_that_want_one_large_content_read_it_once():
    source = CountingSource()
    path = StoredPath("x.tar/large.nii", source)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: path.read_content(), range(8)))
    assert all(content is found[0] for content in found)
    assert len(source.readings) == 1
