"""The command line in unusual environments: no locale, no home, no streams, optimised bytecode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tumortrace.data.png_writing import write_png
from tumortrace.phantoms.slices import draw_phantom

PLAIN = {"LC_ALL": "C", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale without any character beyond ASCII, which Python does not replace."""


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as POSIX shells do")
@pytest.mark.parametrize(
    ("environment", "flags", "redirection"),
    [
        (PLAIN, "", ""),
        ({"HOME": "/nonexistent"}, "", ""),
        ({"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"}, "", ""),
        ({}, "-O", ""),
        ({}, "", "<&- >&- 2>&-"),
    ],
    ids=["no locale", "no home", "narrow terminal", "optimised", "closed streams"],
)
def test_a_picture_is_segmented_in_any_environment(
    environment: dict[str, str], flags: str, redirection: str, tmp_path: Path
):
    folder = tmp_path / "Schädel 頭"
    pixels = draw_phantom(np.random.default_rng(0), size_hw=(96, 104), kind="bright").pixels
    write_png(folder / "a b.png", pixels)
    command = f'"{sys.executable}" {flags} -m tumortrace segment "{folder}" --out "{tmp_path}/Maß" {redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={**os.environ, **environment}, capture_output=True, check=False
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    (image,) = json.loads((tmp_path / "Maß" / "results.json").read_text(encoding="utf-8"))["images"]
    assert (image["status"], image["mask"]) == ("ok", "a b_mask.png")
    assert (tmp_path / "Maß" / "a b_mask.png").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
@pytest.mark.parametrize("words", ["segment --sample --out", "segment --sample --json --out"])
def test_a_reader_that_ends_early_changes_neither_work_nor_status(words: str, tmp_path: Path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tumortrace", *words.split(), str(tmp_path / "out")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "results.json").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as POSIX shells do")
def test_json_for_a_closed_stdout_is_no_fault(tmp_path: Path):
    command = f'"{sys.executable}" -m tumortrace segment --sample --json --out "{tmp_path}/out" >&-'
    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc is where even root can make no folder")
def test_a_home_that_cannot_be_written_is_no_word_to_the_user(phantom_data: Path, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    command = [sys.executable, "-m", "tumortrace", "audit", str(phantom_data / "TRAIN"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, env={**environment, "HOME": "/proc/none"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
