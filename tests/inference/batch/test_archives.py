"""Pictures in archives: the same results as from a folder, and what is unsafe is refused by name."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.inference.batch import archives
from tumortrace.inference.batch.archives import list_members
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.shards import Shard, segment_shard
from tumortrace.inference.model import Model
from tumortrace.inference.segmenter import Segmenter

KINDS = ("x.tar", "x.tar.gz", "x.tgz", "x.zip")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, a broken one, a scan, and files of other kinds."""
    for number, name in enumerate(("a/1.png", "b/1.png", "2.png")):
        pixels = np.full((8, 12), 10, dtype=np.uint8)
        pixels[2:4, 1 + number : 6] = 200
        write_png(tmp_path / "s" / name, pixels)
    (tmp_path / "s/broken.png").write_bytes(b"no picture")
    (tmp_path / "s/notes.txt").write_text("none")
    (tmp_path / "s/scan.nii.gz").write_bytes(b"a scan")
    (tmp_path / "s/.hidden.png").touch()
    return tmp_path / "s"


def pack(folder: Path, path: Path, *, backwards: bool = False) -> Path:
    """Pack a folder into a zip or tar; with ``backwards``, its files in reverse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = sorted((each for each in folder.rglob("*") if each.is_file()), reverse=backwards)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for each in files:
                archive.write(each, each.relative_to(folder))
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for each in files:
                archive.add(each, each.relative_to(folder))
    return path


def run(segmenter: Segmenter, source: Path, out: Path, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    segment_all(segmenter, find_inputs([str(source)]), out=out, **options)
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    return Segmenter(open_hand_model(Recipe((8, 12), threshold=0.55)), threads=1, gate=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 3])
def test_an_archive_gives_what_its_folder_gives(
    tmp_path: Path, folder: Path, segmenter: Segmenter, kind: str, workers: int
):
    archive = pack(folder, tmp_path / kind)
    before = set(tmp_path.iterdir())
    expected = run(segmenter, folder, tmp_path / "out")
    results = run(segmenter, archive, tmp_path / "out2", workers=workers)
    text = json.dumps(sorted(results["images"], key=lambda one: one["file"])).replace(str(archive), str(folder))
    again = json.dumps(sorted(expected["images"], key=lambda one: one["file"]))
    assert re.sub(r'"seconds": [\d.e-]+', "", text) == re.sub(r'"seconds": [\d.e-]+', "", again)
    masks = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert {path.as_posix() for path in masks} == {"a/1_mask.png", "b/1_mask.png", "2_mask.png"}
    assert {path: (tmp_path / "out2" / path).read_bytes() for path in masks} == masks
    (volume,) = results["volumes"]
    assert volume["reason"] == f"{archive}/scan.nii.gz: not NIfTI; give a NIfTI-1 or NIfTI-2 file"
    assert results["skipped"] == [f"{archive}/notes.txt"]
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out", tmp_path / "out2"}


@pytest.mark.parametrize("kind", KINDS)
def test_shards_of_an_archive_go_on(tmp_path: Path, folder: Path, segmenter: Segmenter, kind: str):
    inputs = find_inputs([str(pack(folder, tmp_path / kind))])
    for index in (1, 2, 1):
        summary = segment_shard(segmenter, inputs, Shard(index, 2), out=tmp_path / "out")
    assert summary.shard is not None
    assert summary.shard.taken == 1  # beside the refused scan and the broken picture
    segment_all(segmenter, inputs, out=tmp_path / "single")
    results = [(tmp_path / name / "results.json").read_text() for name in ("out", "single")]
    assert len({re.sub(r'"seconds": [\d.e-]+', "", text) for text in results}) == 1


def test_a_member_as_tar_names_those_of_a_folder_meets_no_other_picture(tmp_path: Path, folder: Path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder, ".")
    inputs = find_inputs([str(tmp_path / "x.tar"), str(folder / "2.png")])
    assert [(one.path.removeprefix(f"{tmp_path}/"), one.name) for one in inputs.pictures if "2.png" in one.path] == [
        ("x.tar/2.png", "2.png"),
        ("s/2.png", "2.png-2"),
    ]
    assert f"{tmp_path}/x.tar/notes.txt" in inputs.skipped


def faults(path: Path) -> dict[str, str]:
    return {one.relative: one.fault.removeprefix(f"{path}/{one.relative}: ") for one in list_members(str(path))}


def test_unsafe_members_of_a_tar_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 100)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind, size in (
            ("../up.png", tarfile.REGTYPE, 1),
            ("/root.png", tarfile.REGTYPE, 1),
            ("link.png", tarfile.SYMTYPE, 0),
            ("hard.png", tarfile.LNKTYPE, 0),
            ("pipe.png", tarfile.FIFOTYPE, 0),
            ("large.png", tarfile.REGTYPE, 101),
            ("ok.png", tarfile.REGTYPE, 100),
            ("ok.png", tarfile.REGTYPE, 1),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, size, "/etc/passwd"
            archive.addfile(member, io.BytesIO(b"x" * size))
    found = [(one.relative, one.fault) for one in list_members(str(tmp_path / "x.tar"))]
    causes = ["unsafe name", "unsafe name", "a link", "a link", "a link", "101 bytes, more than", "", "comes twice"]
    assert len(found) == len(causes)
    assert all(cause in fault and bool(cause) == bool(fault) for cause, (_, fault) in zip(causes, found, strict=True))


def test_unsafe_members_of_a_zip_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 100)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../up.png", "C:/x.png", "ok.png", "secret.png"):
            archive.writestr(name, "x")
        archive.writestr("bomb.png", b"\0" * 101, zipfile.ZIP_DEFLATED)
        archive.writestr("rare.png", b"x" * 50, zipfile.ZIP_BZIP2)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    data = bytearray(path.read_bytes())
    at = data.rfind(b"secret.png") - 46  # its entry in the list
    data[at + 8] |= 1
    path.write_bytes(data)
    found = faults(path)
    assert found.pop("ok.png") == ""
    assert {name: fault.partition(";")[0] for name, fault in found.items()} == {
        "../up.png": "an unsafe name",
        "C:/x.png": "an unsafe name",
        "secret.png": "encrypted",
        "bomb.png": "101 bytes, more than the limit of 100",
        "rare.png": "packed by a rare method",
        "link.png": "a link or device",
    }


def test_names_in_a_zip_are_utf_8_where_they_can_be(tmp_path: Path):
    """macOS and Info-ZIP do not set the flag of UTF-8; names of old programs are cp437."""
    path = tmp_path / "x.zip"
    stored = {b"K\xc3\xb6pfe/1.png": "K\u00f6pfe/1.png", b"old \x84.png": "old \u00e4.png", b"\xe6\x97\xa5": "\u65e5"}
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(stored):
            archive.writestr(str(number).rjust(len(name), "_"), b"content")
        archive.writestr("flagged \u00e4", b"content")
    data = path.read_bytes()
    for number, name in enumerate(stored):
        data = data.replace(str(number).rjust(len(name), "_").encode(), name)
    path.write_bytes(data)
    found = {one.path[one.start :]: one.source.read() for one in list_members(str(path)) if one.source}
    assert found == dict.fromkeys([*stored.values(), "flagged \u00e4"], b"content")


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path: Path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.png", b"\0" * 100_000)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"x.png") - 46
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    (member,) = list_members(str(path))
    assert member.source is not None
    with pytest.raises(archives.DataError, match="a member is truncated"):
        member.source.read()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_is_named_and_its_whole_members_are_done(
    tmp_path: Path, folder: Path, segmenter: Segmenter, kind: str
):
    path = pack(folder, tmp_path / kind)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])
    write_png(tmp_path / "other.png", np.full((8, 12), 10, dtype=np.uint8))
    inputs = find_inputs([str(path), str(tmp_path / "other.png")])
    summary = segment_all(segmenter, inputs, out=tmp_path / "out")
    assert summary.ok >= 1
    assert any(str(path) in reason for reason in summary.all_failures)


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path: Path):
    header = tarfile.TarInfo("./PaxHeaders/x")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    (tmp_path / "x.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + b"0" * 2**21)
    (found,) = list_members(str(tmp_path / "x.tar"))
    assert "cannot be read to its end" in found.fault
