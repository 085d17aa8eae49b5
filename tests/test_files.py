"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import re
import resource
import signal
import sys
from pathlib import Path

import pytest

from tumortrace.errors import DataError
from tumortrace.files import NewFile, holds_results, refuse_inside, write_atomically, write_in

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


def test_a_file_is_replaced_and_nothing_stands_beside_it(tmp_path: Path):
    for data in (b"one", b"two"):
        write_atomically(tmp_path / "deep/er/x.txt", data)
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["x.txt"]
    assert (tmp_path / "deep/er/x.txt").read_bytes() == b"two"


def test_two_processes_that_write_the_same_file_do_not_meet(tmp_path: Path):
    """What the one is writing is neither cut off nor put in place by the other."""
    place, (one, other) = tmp_path / "out/x.txt", (tmp_path / "work/1", tmp_path / "work/2")
    one.mkdir(parents=True)
    with write_in(one):
        file = NewFile(place)
        file.write(b"one", at=0)
    with write_in(other):
        write_atomically(place, b"other")
    assert place.read_bytes() == b"other"
    file.put_in_place()
    assert place.read_bytes() == b"one"
    assert [*one.iterdir(), *other.iterdir()] == []
    write_atomically(tmp_path / "beside.txt", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside.txt", "out", "work"]


@pytest.mark.parametrize("length", [247, 255])
def test_a_name_may_be_as_long_as_the_file_system_takes_it(tmp_path: Path, length: int):
    path = tmp_path / ("é" * 20 + "x" * (length - 40))
    write_atomically(path, b"data")
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


@POSIX
def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"x\.bin") as caught:
            write_atomically(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["x.bin"]
    assert path.read_bytes() == b"old"


def test_an_interruption_leaves_nothing_beside_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tumortrace.files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x.txt", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path):
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(DataError, match=r"x.txt: is a folder"):
        write_atomically(tmp_path / "x.txt", b"data")


@pytest.mark.parametrize(
    ("name", "result"),
    [
        (".config.toml.partial", False), (".tumortrace.lock", False), (".tumortrace-1-of-2.lock", False),
        ("config.toml", True), ("x.partial", True), (".hidden", True), ("mine.lock", True), (".partial", True),
    ],
)  # fmt: skip
def test_what_a_killed_run_was_writing_is_no_result(tmp_path: Path, name: str, *, result: bool):
    assert not holds_results(tmp_path / "missing")
    assert not holds_results(tmp_path)
    (tmp_path / name).touch()
    assert holds_results(tmp_path) == result


def test_out_inside_the_data_is_refused(tmp_path: Path):
    refuse_inside(tmp_path / "out", tmp_path / "data")
    for inside in (tmp_path / "data", tmp_path / "data" / "runs" / "a", tmp_path / "data" / ".." / "data" / "b"):
        with pytest.raises(DataError, match="lies inside the data folder"):
            refuse_inside(inside, tmp_path / "data")


@pytest.mark.parametrize(
    ("out", "root", "beside"),
    [
        ("tumortrace-masks", ".", str(Path("../tumortrace-masks"))),
        ("scans/runs/a", "scans", "a"),
        ("scans", "scans", "scans-out"),
    ],
)
def test_a_folder_beside_the_data_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out, root, beside):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"choose a folder outside, such as {re.escape(beside)}$"):
        refuse_inside(Path(out), Path(root))
