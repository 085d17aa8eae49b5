"""Writing VIA files, reading them again, reading anything at all, and the real annotations."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.annotations.via import write_via
from tumortrace.data.geometry import Circle, Ellipse, Polygon
from tumortrace.data.names import describe_unsafe
from tumortrace.errors import DataError

DATA = os.environ.get("TUMORTRACE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TUMORTRACE_DATA names no folder with the Br35H slices")

HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"


def test_what_is_written_is_via_2(tmp_path: Path):
    path = tmp_path / "out" / "annotations.json"
    triangle = Polygon(np.array([(1.0, 0.0), (7.5, 4.0), (1.0, 4.0)]))
    write_via(
        path,
        [ImageAnnotation("y0.jpg", 19127, (triangle, Ellipse((30.0, 20.0), (9.5, 4.0), 0.5), Circle((5.0, 6.0), 2.0)))],
    )
    text = path.read_text()
    assert json.loads(text) == {
        "y0.jpg19127": {
            "filename": "y0.jpg",
            "size": 19127,
            "regions": [
                {
                    "shape_attributes": {"name": "polygon", "all_points_x": [1, 7.5, 1], "all_points_y": [0, 4, 4]},
                    "region_attributes": {},
                },
                {
                    "shape_attributes": {"name": "ellipse", "cx": 30, "cy": 20, "rx": 9.5, "ry": 4, "theta": 0.5},
                    "region_attributes": {},
                },
                {"shape_attributes": {"name": "circle", "cx": 5, "cy": 6, "r": 2}, "region_attributes": {}},
            ],
            "file_attributes": {},
        }
    }
    assert "[1, 7.5, 1]" in text  # whole numbers without a decimal point


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = tmp_path / "annotations.json"
    write_via(path, [ImageAnnotation("y.jpg", 10, (Circle((5.0, 6.0), 2.25),))])
    old = path.read_bytes()
    circle = Circle((5.0, 6.0), 2.25)
    with pytest.raises(DataError, match="not finite"):
        write_via(path, [ImageAnnotation("y.jpg", 10, (Circle((math.nan, 6.0), 2.25),))])
    # The same name twice; and names and sizes that make one key, "y10", in the file.
    for one, other in (
        (ImageAnnotation("y", 1, (circle,)), ImageAnnotation("y", 10, ())),
        (ImageAnnotation("y1", 0, ()), ImageAnnotation("y", 10, ())),
    ):
        with pytest.raises(DataError, match=r"cannot tell two records apart \('y10'\)"):
            write_via(path, [one, other])
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


coordinates = st.floats(-1e6, 1e6)
points = st.tuples(coordinates, coordinates)
lengths = st.floats(1e-3, 1e6)
regions = st.one_of(
    st.builds(lambda xy, size: Polygon(np.array([xy, (xy[0] + size, xy[1]), (xy[0], xy[1] - size)])), points, lengths),
    st.builds(Ellipse, points, st.tuples(lengths, lengths), st.floats(-7, 7)),
    st.builds(Circle, points, lengths),
)
letters = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="./\\:")
records = st.builds(
    ImageAnnotation,
    st.text(letters, min_size=1, max_size=9),
    st.integers(-1, 10**12),
    st.lists(regions, min_size=1).map(tuple),
)


@given(
    st.lists(
        records,
        max_size=4,
        unique_by=(lambda record: record.filename, lambda record: f"{record.filename}{record.size_bytes}"),
    )
)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, written: list[ImageAnnotation]):
    first, second = (tmp_path_factory.mktemp("loose") / name for name in ("first.json", "second.json"))
    write_via(first, written)
    file = read_annotations(first)
    read, findings = list(file.images), list(file.findings)
    assert findings == []
    assert [(record.filename, record.size_bytes) for record in read] == [(r.filename, r.size_bytes) for r in written]
    write_via(second, read)
    assert second.read_bytes() == first.read_bytes()


# --- anything at all ---

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400))
names = st.sampled_from(["polygon", "polyline", "rect", "ellipse", "circle", "point", "x"])
keys = st.sampled_from(
    ["all_points_x", "all_points_y", "x", "y", "width", "height", "cx", "cy", "rx", "ry", "r", "theta"]
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)
shapes = anything | st.dictionaries(keys, scalars | st.lists(scalars, max_size=4)).flatmap(
    lambda shape: names.map(lambda name: {"name": name, **shape})
)
via_regions = anything | st.fixed_dictionaries({"shape_attributes": shapes})
via_records = anything | st.fixed_dictionaries(
    {
        "filename": st.text(max_size=6) | anything,
        "regions": st.lists(via_regions, max_size=3)
        | st.dictionaries(st.text(max_size=2), via_regions, max_size=3)
        | anything,
    },
    optional={"size": scalars},
)
documents = anything | st.dictionaries(st.text(max_size=4) | st.just("_via_img_metadata"), via_records, max_size=4)


def quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def assert_answered(path: Path) -> None:
    """Either the file is refused with the error for that, or every region has labels and every finding one line."""
    try:
        file = read_annotations(path)
    except DataError:
        return
    assert all(len(record.labels) == len(record.regions) for record in file.images)
    assert all(describe_unsafe(record.filename) is None for record in file.images)
    assert all(len(finding.line().splitlines()) == 1 for finding in file.findings)


@given(documents | documents.map(lambda document: {"_via_img_metadata": document}))
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, document: object):
    path = tmp_path_factory.mktemp("loose") / "any.json"
    path.write_text(json.dumps(document))
    assert_answered(path)


@given(
    rows=st.lists(st.lists(st.text(max_size=9) | shapes.map(json.dumps), max_size=8), max_size=4), quoted=st.booleans()
)
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, *, rows: list[list[str]], quoted: bool):
    path = tmp_path_factory.mktemp("loose") / "any.csv"
    lines = [",".join(quote(cell) if quoted else cell for cell in row) for row in rows]
    path.write_bytes("\n".join([HEADER, *lines]).encode(errors="replace"))
    assert_answered(path)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("loose") / "any"
    path.write_bytes(content)
    assert_answered(path)


# --- the real annotations ---


@needs_data
@pytest.mark.parametrize(
    ("part", "images", "expected"),
    [
        ("train", 500, {"Polygon": 481, "Ellipse": 80, "Circle": 3}),
        ("val", 201, {"Polygon": 128, "Ellipse": 112}),
    ],
)
def test_the_real_annotations_are_read_whole(tmp_path: Path, part: str, images: int, expected: dict[str, int]):
    folder = Path(DATA or "") / "br35h" / part.upper()
    file = read_annotations(folder / f"annotations_{part}.json")
    read, findings = list(file.images), list(file.findings)
    assert findings == []
    assert len(read) == images
    assert Counter(type(region).__name__ for record in read for region in record.regions) == expected
    write_via(tmp_path / "again.json", read)
    original = json.loads((folder / f"annotations_{part}.json").read_text())
    assert json.loads((tmp_path / "again.json").read_text()) == original
