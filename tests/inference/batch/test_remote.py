"""Pictures in a bucket, on a server of this machine: read, segmented, and every fault in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError
from tumortrace.inference.batch import remote
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.remote import is_remote
from tumortrace.inference.batch.shards import Shard, segment_shard
from tumortrace.inference.model import Model
from tumortrace.inference.segmenter import Segmenter

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
moto = pytest.importorskip("moto.server", reason="moto is not installed")
fs = pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket with two pictures, a scan, a text and a hidden object; yields its server."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="scans")
    pixels = np.full((8, 12), 10, dtype=np.uint8)
    pixels[2:4, 6:10] = 200
    write_png(tmp_path / "x.png", pixels)
    for name in ("p/a/1.png", "p/2.png"):
        client.put_object(Bucket="scans", Key=name, Body=(tmp_path / "x.png").read_bytes())
    for name in ("p/scan.nii", "p/notes.txt", "p/.hidden.png", "q/3.png"):
        client.put_object(Bucket="scans", Key=name, Body=b"none")
    yield server
    client.close()
    server.stop()


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    return Segmenter(open_hand_model(Recipe((8, 12), threshold=0.55)), threads=1, gate=False)


@pytest.mark.usefixtures("bucket")
def test_pictures_of_a_bucket_are_segmented_and_taken_over(tmp_path: Path, segmenter: Segmenter):
    inputs = find_inputs(["s3://scans/p"])
    segment_all(segmenter, inputs, out=tmp_path / "out")
    results = json.loads((tmp_path / "out/results.json").read_text())
    masks = [(one["file"], one["mask"], one["status"]) for one in results["images"]]
    assert masks == [("s3://scans/p/2.png", "2_mask.png", "ok"), ("s3://scans/p/a/1.png", "a/1_mask.png", "ok")]
    assert [one["file"] for one in results["volumes"]] == ["s3://scans/p/scan.nii"]
    assert results["skipped"] == ["s3://scans/p/notes.txt"]
    for _ in range(2):
        summary = segment_shard(segmenter, inputs, Shard(1, 1), out=tmp_path / "shards")
    assert summary.shard is not None
    assert summary.shard.taken == 2


@pytest.mark.usefixtures("bucket")
def test_a_name_may_hold_what_means_something_in_an_address():
    client = boto3.client("s3")
    for name in ("a#1.png", "b?c=1.png", "d e%20.png"):
        client.put_object(Bucket="scans", Key=f"r/{name}", Body=name.encode())
    client.close()
    for source in ("s3://scans/r", "s3://scans/r/"):
        pictures = find_inputs([source]).pictures
        assert [(one.path, one.name) for one in pictures] == [
            ("s3://scans/r/a#1.png", "a#1"), ("s3://scans/r/b?c=1.png", "b?c=1"), ("s3://scans/r/d e%20.png", "d e%20"),
        ]  # fmt: skip
        assert [one.read() for one in pictures] == [b"a#1.png", b"b?c=1.png", b"d e%20.png"]
    (one,) = find_inputs(["s3://scans/r/a#1.png"]).pictures
    assert (one.name, one.read()) == ("a#1", b"a#1.png")


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(("source", "fault"), [("s3://scans/r", "s3://scans/r"), ("s3://scans", "s3://scans/r")])
def test_a_name_with_an_empty_part_stops_nothing_and_is_named(
    tmp_path: Path, segmenter: Segmenter, source: str, fault: str
):
    client = boto3.client("s3")
    for name in ("r//1.png", "r/2.png"):
        client.put_object(Bucket="scans", Key=name, Body=(tmp_path / "x.png").read_bytes())
    client.close()
    summary = segment_all(segmenter, find_inputs([source]), out=tmp_path / "out")
    assert summary.ok == (1 if source.endswith("r") else 3)
    assert f"{fault}: names with an empty part (//) are not read; rename them" in summary.failures


@pytest.mark.parametrize("end", ["", "/"])
def test_objects_are_opened_by_the_address_that_names_their_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
):
    """``container@account.host/folder`` is ``container/folder`` in the store, which leads back to no account."""
    (tmp_path / "container/folder/a b").mkdir(parents=True)
    (tmp_path / "container/folder/a b/1.png").write_bytes(b"picture")
    given = f"abfs://container@account.dfs.core.windows.net/folder{end}"
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(remote, "_open", {given: (store, "container/folder")}.__getitem__)
    (one,) = find_inputs([given]).pictures
    assert (one.path, one.name) == (f"{given.rstrip('/')}/a b/1.png", "a b/1")
    assert one.read() == b"picture"
    assert one.source is not None
    assert one.source.stamp()[0] == len(b"picture")


@pytest.mark.usefixtures("bucket")
def test_scans_of_a_bucket_give_what_their_folder_gives(
    tmp_path: Path, segmenter: Segmenter, write_series: Callable[..., list[Any]]
):
    pixels = np.full((3, 8, 12), 10, dtype=np.int16)
    pixels[:, 2:4, 6:10] = 200
    folder = tmp_path / "scans"
    write_series(folder / "series", pixels.astype(np.uint16))
    (folder / "series/001.dcm").rename(folder / "series/IM0001")
    nib.save(nib.Nifti1Image(np.transpose(pixels, (2, 1, 0)), np.diag([1, 2, 3, 1])), folder / "a.nii.gz")
    client = boto3.client("s3")
    for path in (each for each in folder.rglob("*") if each.is_file()):
        client.put_object(Bucket="scans", Key=f"r/{path.relative_to(folder)}", Body=path.read_bytes())
    client.close()
    for source, out in ((str(folder), "out"), ("s3://scans/r", "out2")):
        segment_all(segmenter, find_inputs([source]), out=tmp_path / out)
    results = [json.loads((tmp_path / out / "results.json").read_text())["volumes"] for out in ("out", "out2")]
    assert [one["file"] for one in results[1]] == ["s3://scans/r/a.nii.gz", "s3://scans/r/series"]
    for one in (*results[0], *results[1]):
        del one["file"]
    assert results[0] == results[1]
    for name in ("a_mask.nii.gz", "series_mask.nii.gz"):
        assert (tmp_path / "out2" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_list_names_objects_and_a_lost_connection_is_each_ones_record(
    tmp_path: Path,
    segmenter: Segmenter,
    bucket: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("tumortrace.inference.batch.remote._ATTEMPTS", 1)
    (tmp_path / "list.txt").write_text("s3://scans/p/2.png\ns3://scans/p/gone.png\n")
    inputs = find_inputs([f"@{tmp_path}/list.txt"])
    assert [one.name for one in inputs.pictures] == ["scans/p/2", "scans/p/gone"]
    summary = segment_all(segmenter, inputs, out=tmp_path / "out")
    assert summary.ok == 1
    assert summary.failures[0].startswith("s3://scans/p/gone.png: cannot be read (")
    bucket.stop()
    summary = segment_all(segmenter, inputs, out=tmp_path / "out2")
    assert summary.failed == 2
    assert all("\n" not in reason and reason.startswith("s3://scans/p/") for reason in summary.failures)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("address", ["s3://gone/p", "s3://scans/none"])
def test_an_address_that_leads_nowhere_is_refused_in_one_line(address: str):
    with pytest.raises(DataError, match=f"{address}: nothing there; check the bucket and the prefix"):
        find_inputs([address])


def test_only_addresses_are_remote():
    assert is_remote("s3://bucket/x")
    assert not any(map(is_remote, ["s3:/bucket", "scans/s3://x", "C://x", "file:///x", "https://x/y"]))
