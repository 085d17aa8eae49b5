"""Lists of inputs: which files a line means, what its results are called, and what a million of them cost."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tumortrace.errors import DataError
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.pictures import refuse_out_among_pictures
from tumortrace.phantoms.series import draw_series


def write_list(folder: Path, *lines: str | Path, ending: str = "\n") -> str:
    """Write a list of inputs, and return it as an input."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.txt").write_bytes("".join(f"{line}{ending}" for line in lines).encode())
    return f"@{folder / 'list.txt'}"


def found(text: str) -> list[tuple[str, str]]:
    return [(one.path, one.name) for one in find_inputs([text]).pictures]


def test_paths_are_relative_to_the_list_and_name_their_results(tmp_path: Path):
    """None of the files exists: a picture is known by its suffix."""
    elsewhere = tmp_path / "elsewhere/z.PNG"
    text = write_list(
        tmp_path / "lists", "b/x.png", "", "  ", "./a//x.jpg", elsewhere, "../near.tif", "b/y..png", " .png"
    )
    folder = tmp_path / "lists"
    assert found(text) == [
        (f"{folder}/b/x.png", "b/x"),
        (f"{folder}/a/x.jpg", "a/x"),
        (str(elsewhere), str(elsewhere)[1:-4]),
        (f"{tmp_path}/near.tif", f"{tmp_path}/near"[1:]),
        (f"{folder}/b/y..png", "b/y."),
        (f"{folder}/ .png", " "),
    ]


def test_a_list_here_gives_paths_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_list(Path(), "a/x.png", ending="\r\n")
    assert found("@list.txt") == [("a/x.png", "a/x")]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa/x.png")
    assert found("@list.txt") == [("a/x.png", "a/x")]


@pytest.mark.parametrize("text", ["@./list.txt", "@.//a/.//list.txt"])
def test_a_list_that_is_named_untidily_gives_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.chdir(tmp_path)
    write_list(Path(text[1:]).parent, "x.png", "gone", "gone.nii")
    inputs = find_inputs([text])
    assert [one.name for one in inputs.pictures] == ["x", "gone"]
    assert [Path(each.file).name for each in inputs.refused] == ["gone.nii"]
    with pytest.raises(DataError, match=r"no series 1\.2"):
        find_inputs([text], series_uid="1.2")


def test_quotes_around_a_whole_line_are_no_part_of_the_path(tmp_path: Path):
    text = write_list(tmp_path, '"my scan.png"', "'b.png'", "'c'.png", "./'d'.png", '5".png')
    assert [path for path, _ in found(text)] == [
        f"{tmp_path}/{name}" for name in ("my scan.png", "b.png", "'c'.png", "'d'.png", '5".png')
    ]


def test_a_file_that_comes_twice_is_taken_once_and_names_that_meet_are_told_apart(tmp_path: Path):
    text = write_list(tmp_path, "a.png", "b/../a.png", tmp_path / "a.png", "a.jpg", "c.png", "./a.png")
    assert [name for _, name in found(text)] == ["a.png", "a.jpg", "c"]


def test_a_list_may_name_folders_and_scans(tmp_path: Path):
    pixels = draw_series(seed=0, slices=3, size_hw=(96, 96)).pixels
    for name in ("p1/x.nii.gz", "p2/x.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.transpose(pixels, (2, 1, 0)), np.eye(4)), tmp_path / name)
    (tmp_path / "p2/y.png").touch()
    inputs = find_inputs([write_list(tmp_path, "p1/x.nii.gz", "p2", "gone.nii", "gone", "p1/@x.txt")])
    assert [item.name for item in inputs.volumes] == ["p1/x", "p2/x"]
    assert [one.name for one in inputs.pictures] == ["p2/y", "gone", "p1/@x"]  # which say why when they are read
    assert [Path(each.file).name for each in inputs.refused] == ["gone.nii"]


def test_a_file_whose_name_begins_with_the_mark_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "@x.png").touch()
    assert found("@x.png") == [("@x.png", "@x")]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "list.txt: no such file or folder; check the path"),
        (b"", r"list.txt: no picture there \(JPEG"),
        (b"a.png\n\0\n", "list.txt: line 2 is no path; give UTF-8 text, a path a line"),
        ("a.png\n".encode("utf-16"), "list.txt: line 1 is no path; give UTF-8 text"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path: Path, content: bytes | None, cause: str):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=cause):
        find_inputs([f"@{tmp_path}/list.txt"])


def test_a_pipe_or_folder_is_no_list(tmp_path: Path):
    with pytest.raises(DataError, match="a folder, not a file"):
        find_inputs([f"@{tmp_path}"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a named pipe, not a file"):
        find_inputs([f"@{tmp_path}/pipe"])


def test_results_never_go_into_a_folder_of_the_list(tmp_path: Path):
    (tmp_path / "scans").mkdir()
    with pytest.raises(DataError, match="scans"):
        refuse_out_among_pictures(tmp_path / "scans/masks", [write_list(tmp_path, "scans", "x.png")])
    refuse_out_among_pictures(tmp_path / "masks", [write_list(tmp_path, "scans", "x.png")])


def test_many_paths_take_little_time_and_memory(tmp_path: Path):
    """A million is measured in docs/scale.md: 52 bytes a path, 5 microseconds. The limits here are larger."""
    count = 20_000
    text = write_list(tmp_path, *(f"hospital-{n % 7}/patient-{n // 200}/slice-{n:07}.png" for n in range(count)))
    tracemalloc.start()
    inputs = find_inputs([text])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = time.process_time()
    find_inputs([text])
    assert time.process_time() - started < count * 20e-6
    assert peak < count * 460
    assert len(inputs.pictures) == count
    assert inputs.pictures[-1].name == "hospital-0/patient-99/slice-0019999"
