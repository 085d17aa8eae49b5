"""The boxes of ``segment --box``: numbers, tables, and what becomes of the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tumortrace.cli import app
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError
from tumortrace.inference.batch.inputs import segment_inputs
from tumortrace.inference.prompts.boxes import read_boxes
from tumortrace.phantoms.slices import draw_phantom


def write_table(path: Path, *rows: str, header: str = "file,x0,y0,x1,y1") -> str:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_four_numbers_are_a_box_on_every_picture():
    assert read_boxes("1,2.5,30,40").of("any.png") == ((1.0, 2.5, 30.0, 40.0),)


def test_a_table_holds_boxes_by_file_or_the_end_of_its_path(tmp_path: Path):
    boxes = read_boxes(write_table(tmp_path / "b.csv", "a/x.png,1,2,3,4", "y.png,5,6,7,8", "y.png,9,9,12,12"))
    assert boxes.of("/data/a/x.png") == ((1.0, 2.0, 3.0, 4.0),)
    assert boxes.of("./y.png") == ((5.0, 6.0, 7.0, 8.0), (9.0, 9.0, 12.0, 12.0))
    with pytest.raises(DataError, match=r"bx\.png: no box in .*b\.csv; add a row for it"):
        boxes.of("b/bx.png")


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["x.png,1,2,3,4"], "file,x0,y0,x1", "lacks the column 'y1'; it has file, x0, y0, x1"),
        ([], "file,x0,y0,x1,y1", "no row"),
    ],
)
def test_a_table_with_a_fault_is_refused_in_one_line(tmp_path: Path, rows: list[str], header: str, message: str):
    with pytest.raises(DataError, match=message):
        read_boxes(write_table(tmp_path / "b.csv", *rows, header=header))


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "missing.csv", ""])
def test_neither_numbers_nor_a_file_is_refused(text: str):
    with pytest.raises(DataError, match="neither four numbers X0,Y0,X1,Y1 nor a file"):
        read_boxes(text)


def test_a_bad_row_is_a_fault_of_its_picture_and_of_no_other(tmp_path: Path):
    table = write_table(tmp_path / "b.csv", "x.png,1,2,three,4", "x.png,1,2,3,4", "y.png,1,2,nan,4", "z.png,1,2,3,4")
    boxes, unused = read_boxes(table).match(["a/x.png", "a/y.png", "a/z.png"])
    assert unused == ()
    assert boxes.of("a/z.png") == ((1.0, 2.0, 3.0, 4.0),)
    with pytest.raises(DataError) as refused:
        boxes.of("a/x.png")
    expected = f"a/x.png: {table}: row 1 is 'x.png, 1, 2, three, 4'; give a file and four numbers"
    assert str(refused.value) == expected
    with pytest.raises(DataError, match=r"row 3 is 'y\.png, 1, 2, nan, 4'"):
        boxes.of("a/y.png")


def test_a_row_that_fits_two_pictures_is_a_fault_of_both(tmp_path: Path):
    table = write_table(tmp_path / "b.csv", "x.png,1,2,3,4", "y.png,1,2,3,4")
    boxes, _ = read_boxes(table).match(["a/x.png", "a/y.png", "b/x.png"])
    for path in ("a/x.png", "b/x.png"):
        with pytest.raises(DataError, match=r"x\.png fits a/x\.png and b/x\.png"):
            boxes.of(path)
    assert boxes.of("a/y.png") == ((1.0, 2.0, 3.0, 4.0),)


def test_rows_that_are_no_picture_s_are_counted(tmp_path: Path):
    table = write_table(tmp_path / "b.csv", "ax.png,1,2,3,4", ",1,2,3,4", "y.png,1,2,3,4", "z.png,1")
    _, unused = read_boxes(table).match(["a/x.png", "a/y.png"])
    assert unused == (
        f"{table}: row 2 is ', 1, 2, 3, 4'; give a file and four numbers",
        f"{table}: row 4 is 'z.png, 1, , , '; give a file and four numbers",
        f"{table}: ax.png is not among the pictures; correct the row or add the picture",
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x.png,1,2,three,4", "row 1 is 'x.png, 1, 2, three, 4'"),
        ("z.png,1,2,3,4", "z.png is not among the pictures"),
        ("y.png,1,2,3,4", "y.png fits a/y.png and b/y.png"),
    ],
)
def test_a_table_none_of_whose_rows_can_be_used_is_refused(tmp_path: Path, row: str, message: str):
    with pytest.raises(DataError, match=message):
        read_boxes(write_table(tmp_path / "b.csv", row)).match(["a/x.png", "a/y.png", "b/y.png"])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number, name in enumerate(("x.png", "y.png")):
        drawn = draw_phantom(np.random.default_rng(number), size_hw=(160, 144), kind="bright")
        write_png(tmp_path / "in" / name, drawn.pixels)
    return tmp_path / "in"


def test_pictures_with_boxes_say_so_and_one_without_is_named(tmp_path: Path, pictures: Path, hand_prompt_folder: Path):
    table = write_table(tmp_path / "b.csv", "x.png,40,40,90,90")
    out = tmp_path / "out"
    summary = segment_inputs(pictures, out=out, model=str(hand_prompt_folder), box=table)
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    first, second = document["images"]
    assert document["model"]["name"] == "hand"
    assert first["prompt"] == [{"box_xyxy": [40.0, 40.0, 90.0, 90.0], "points_xy": [], "labels": []}]
    assert read_slice(out / first["mask"]).size_hw == (160, 144)
    assert (second["status"], second["mask"], second["prompt"]) == ("error", None, None)
    assert "no box in" in second["reason"]
    assert summary.failed == 1
    assert '""box_xyxy""' in (out / "results.csv").read_text(encoding="utf-8")


def test_a_bad_row_stops_no_other_picture(tmp_path: Path, pictures: Path, hand_prompt_folder: Path):
    table = write_table(tmp_path / "b.csv", "x.png,40,40,90,ninety", "y.png,40,40,90,90", ",1,2,3,4")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["segment", str(pictures), "--model", str(hand_prompt_folder), "--box", table, "--out", str(out)]
    )
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"{table}: row 3 is ', 1, 2, 3, 4'; give a file and four numbers",
        f"{pictures / 'x.png'}: {table}: row 1 is 'x.png, 40, 40, 90, ninety'; give a file and four numbers",
    ]
    assert "1 of 2 pictures segmented" in done.stdout
    assert "1 row of boxes used for no picture (named above)" in done.stdout
    assert (out / "y_mask.png").is_file()


def test_a_box_outside_of_a_picture_fails_that_picture_alone(tmp_path: Path, pictures: Path, hand_prompt_folder: Path):
    table = write_table(tmp_path / "b.csv", "x.png,400,40,900,90", "y.png,40,40,90,90")
    summary = segment_inputs(pictures, out=tmp_path / "out", model=str(hand_prompt_folder), box=table)
    assert (summary.failed, summary.ok) == (1, 1)
    assert "lies outside of the picture of 144 x 160 pixels" in summary.failures[0]


def test_an_automatic_mask_has_no_prompt(tmp_path: Path, pictures: Path):
    segment_inputs(pictures, out=tmp_path / "out", model="fast")
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [record["prompt"] for record in document["images"]] == [None, None]
