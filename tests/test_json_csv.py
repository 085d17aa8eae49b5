"""CSV tables: read back as they were written, whatever the names hold."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tumortrace.json_csv import encode_csv, read_csv, write_csv

NAMES = ["a\rb.png", "a\nb.png", "a\r\nb.png", "\r", " a ", "#a", 'a"b', "a,b", "a\\b"]


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    rows = [{"file": name, "dice": "0.5"} for name in NAMES]
    write_csv(tmp_path / "x.csv", rows, columns=["file", "dice"])
    assert read_csv(tmp_path / "x.csv") == rows


def test_lines_end_with_a_line_feed_and_what_is_undefined_is_empty():
    rows = [{"file": "a\r\n", "dice": float("nan")}, {"file": None}]
    assert encode_csv(rows, columns=["file", "dice"]) == b'file,dice\n"a\r\n",\n,\n'


def test_what_is_no_table_is_a_value_error(tmp_path: Path):
    (tmp_path / "x.csv").write_text("file\n" + "a" * (csv.field_size_limit() + 1) + "\n")
    with pytest.raises(ValueError, match="field larger than field limit"):
        read_csv(tmp_path / "x.csv")
