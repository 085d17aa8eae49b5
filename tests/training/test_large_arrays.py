from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tumortrace.errors import RunFailedError
from tumortrace.progress import show_progress
from tumortrace.training import large_arrays
from tumortrace.training.large_arrays import reserve

ROW = 5 * 4  # bytes of five float32


@pytest.fixture
def memory_of_four_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose memory may have an array of one row."""
    monkeypatch.setattr(large_arrays, "memory_bytes", lambda: 4 * ROW)


@pytest.mark.usefixtures("memory_of_four_rows")
def test_an_array_too_large_for_the_memory_lies_in_a_file_without_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with show_progress():
        array = reserve((3, 5), np.float32, near=tmp_path / "runs" / "mine", content="3 slices")
    assert isinstance(array, np.memmap)
    assert (array.shape, array.dtype) == ((3, 5), np.float32)
    array[:] = np.arange(15).reshape(3, 5)
    assert torch.from_numpy(array)[2, 1].item() == 11
    assert list(tmp_path.iterdir()) == []
    assert (
        f"3 slices: 0.0 GB, too much for a memory of 0.0 GB, so a file in {tmp_path} holds" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("memory_of_four_rows")
@pytest.mark.parametrize(("rows", "near"), [(1, Path()), (0, Path()), (3, None)])
def test_it_lies_in_memory_if_it_fits_or_no_disk_is_given(rows: int, near: Path | None):
    array = reserve((rows, 5), np.float32, near=near, content="slices")
    assert type(array) is np.ndarray
    assert array.shape == (rows, 5)


def test_it_lies_in_memory_if_the_system_does_not_say_how_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(large_arrays, "memory_bytes", lambda: None)
    assert type(reserve((3, 5), np.float32, near=tmp_path, content="slices")) is np.ndarray


@pytest.mark.usefixtures("memory_of_four_rows")
def test_a_full_disk_is_told_before_anything_is_written_to_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_file: int, _start: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(RunFailedError, match=r"no room for 3 slices: .*No space left on device.*; free disk space"):
        reserve((3, 5), np.float32, near=tmp_path, content="3 slices")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take room on a disk")
def test_the_room_is_taken_from_the_disk_at_once(tmp_path: Path):
    with (tmp_path / "file").open("wb") as file:
        large_arrays._allocate(file.fileno(), 1 << 20)
        status = os.fstat(file.fileno())
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 >= 1 << 20


@pytest.mark.usefixtures("memory_of_four_rows")
def test_a_system_that_cannot_take_room_makes_the_file_long_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # macOS
    array = reserve((3, 5), np.float32, near=tmp_path, content="3 slices")
    assert isinstance(array, np.memmap)
    assert array.tolist() == [[0] * 5] * 3
