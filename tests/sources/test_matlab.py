"""Arrays of MATLAB 7.3 files: what is refused before it is read."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
from tests.sources.downloads import IMAGE, write_mat

from tumortrace.errors import DataError
from tumortrace.sources.matlab import read_fields


def make_file(write) -> bytes:
    """The bytes of an HDF5 file that a function fills."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


def read(data: bytes, *, most_values: int = 100):
    return read_fields(data, "a.mat", group="cjdata", fields=("image",), most_values=most_values)


def test_rows_are_rows(tmp_path):
    write_mat(tmp_path / "a.mat")
    (image,) = read((tmp_path / "a.mat").read_bytes())
    np.testing.assert_array_equal(image, IMAGE)


def test_a_few_bytes_that_claim_gigabytes_are_refused():
    data = make_file(lambda file: file.create_dataset("cjdata/image", (200_000, 200_000), np.int16, chunks=(8, 8)))
    assert len(data) < 10_000
    with pytest.raises(DataError, match=r"a.mat: /cjdata/image has shape \(200000, 200000\), more than 100 values"):
        read(data)


def test_a_large_chunk_is_refused():
    data = make_file(
        lambda file: file.create_dataset("cjdata/image", (5, 5), "i2", chunks=(4000, 4000), maxshape=(None, None))
    )
    with pytest.raises(DataError, match="more than 100 values"):
        read(data)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.create_dataset("cjdata/image", (5,), "i2", external=[("other.raw", 0, 10)]),
        lambda file: file.create_virtual_dataset("cjdata/image", h5py.VirtualLayout((5,), "i2")),
        lambda file: file.create_dataset("cjdata/image", data=["text"]),
        lambda file: file.create_dataset("cjdata/image", data=np.arange(5), compression="lzf"),
    ],
)
def test_unusual_storage_is_refused(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="stored in an unusual way"):
        read(make_file(write))


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.mat", "/image"), h5py.SoftLink("/elsewhere")])
def test_links_are_not_followed(link):
    def write(file) -> None:
        file.create_group("cjdata")["image"] = link

    with pytest.raises(DataError, match="image is missing"):
        read(make_file(write))


def test_a_damaged_file_is_one_line(tmp_path):
    write_mat(tmp_path / "a.mat")
    data = (tmp_path / "a.mat").read_bytes()
    for end in range(600, len(data), 97):
        with pytest.raises(DataError, match=r"^a\.mat: "):
            read(data[:end])
