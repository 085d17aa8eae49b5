"""Reading VIA files: each format and shape by hand, each fault by name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Ellipse, Polygon, Region, rasterize_region
from tumortrace.errors import DataError


def read_via(path: Path) -> tuple[list[ImageAnnotation], list[Finding]]:
    file = read_annotations(path)
    return list(file.images), list(file.findings)


TRIANGLE = {"name": "polygon", "all_points_x": [1, 7, 1], "all_points_y": [0, 4, 4]}
ELLIPSE = {"name": "ellipse", "cx": 30, "cy": 20, "rx": 9.5, "ry": 4, "theta": 0.5}
CIRCLE = {"name": "circle", "cx": 5, "cy": 6, "r": 2.25}


def plain(region: Region) -> tuple[object, ...]:
    """A region as a value that can be compared; arrays cannot."""
    if isinstance(region, Polygon):
        return "polygon", [tuple(point) for point in region.points_xy.tolist()]
    if isinstance(region, Ellipse):
        return "ellipse", region.center_xy, region.radii_xy, region.theta_rad
    return "circle", region.center_xy, region.radius


def plain_records(records: list[ImageAnnotation]) -> list[tuple[str, int, list[tuple[object, ...]]]]:
    return [(record.filename, record.size_bytes, [plain(region) for region in record.regions]) for record in records]


def via_record(filename: str, *shapes: object, size: object = 10) -> dict[str, object]:
    regions = [{"shape_attributes": shape, "region_attributes": {}} for shape in shapes]
    return {"filename": filename, "size": size, "regions": regions, "file_attributes": {}}


def write_json(path: Path, *records: dict[str, object]) -> Path:
    path.write_text(json.dumps({f"record {number}": record for number, record in enumerate(records)}))
    return path


def csv_line(*cells: object) -> str:
    texts = [cell if isinstance(cell, str | int) else json.dumps(cell) for cell in cells]
    return ",".join(str(text) if str(text).isalnum() else '"' + str(text).replace('"', '""') + '"' for text in texts)


def kinds(path: Path) -> list[tuple[str, str, str]]:
    return [(finding.kind, finding.severity, finding.file) for finding in read_via(path)[1]]


# --- the formats ---

COLUMNS = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"


def via_1_json() -> str:
    first = via_record("y0.jpg", TRIANGLE, ELLIPSE, size=19127)
    first["regions"] = {"0": {"shape_attributes": TRIANGLE}, "1": {"shape_attributes": ELLIPSE}}
    second = {"fileref": "", "base64_img_data": "", **via_record("a/ü 2.png", CIRCLE, size=77)}
    second["regions"] = {"0": {"shape_attributes": CIRCLE, "region_attributes": {"kind": "meningioma"}}}
    return json.dumps({"y0.jpg19127": first, "a/ü 2.png77": second})


def via_2_json() -> str:
    records = [via_record("y0.jpg", TRIANGLE, ELLIPSE, size=19127), via_record("a/ü 2.png", CIRCLE, size=77)]
    return json.dumps({f"{record['filename']}{record['size']}": record for record in records}, indent=1)


def via_2_project() -> str:
    return json.dumps(
        {
            "_via_settings": {"project": {"name": "p"}},
            "_via_img_metadata": json.loads(via_2_json()),
            "_via_attributes": {"region": {}, "file": {}},
            "_via_data_format_version": "2.0.10",
        }
    )


def via_csv(header: str) -> str:
    lines = [
        header,
        csv_line("y0.jpg", 19127, {}, 2, 0, TRIANGLE, {}),
        csv_line("y0.jpg", 19127, {}, 2, 1, ELLIPSE, {"note": 'a "b", c'}),
        csv_line("a/ü 2.png", 77, {}, 1, 0, CIRCLE, {}),
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        via_1_json(),
        via_2_json(),
        via_2_project(),
        via_csv("#" + COLUMNS),
        via_csv(COLUMNS),
        via_csv(COLUMNS).replace("\n", "\r\n") + "\r\n",
        "\ufeff" + via_csv(COLUMNS),
        "\ufeff" + via_2_json(),
    ],
    ids=[
        "VIA 1 JSON",
        "VIA 2 JSON",
        "VIA 2 project",
        "CSV 1.0",
        "CSV 2",
        "CSV with CRLF",
        "CSV with BOM",
        "JSON with BOM",
    ],
)
def test_every_format_gives_the_same_records(tmp_path: Path, text: str):
    path = tmp_path / "annotations"
    path.write_bytes(text.encode())
    records, findings = read_via(path)
    assert findings == []
    assert plain_records(records) == [
        ("y0.jpg", 19127, [("polygon", [(1, 0), (7, 4), (1, 4)]), ("ellipse", (30, 20), (9.5, 4), 0.5)]),
        ("a/ü 2.png", 77, [("circle", (5, 6), 2.25)]),
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (TRIANGLE, ("polygon", [(1, 0), (7, 4), (1, 4)])),
        (
            {"name": "polygon", "all_points_x": [1, 7.5, 1, 1], "all_points_y": [0, 4, 4, 0]},
            ("polygon", [(1, 0), (7.5, 4), (1, 4), (1, 0)]),
        ),
        ({"name": "rect", "x": 2, "y": 5, "width": 4, "height": 1}, ("polygon", [(2, 5), (6, 5), (6, 6), (2, 6)])),
        ({"name": "ellipse", "cx": 1, "cy": 2, "rx": 3, "ry": 4}, ("ellipse", (1, 2), (3, 4), 0)),
        ({"name": "ellipse", "cx": -1, "cy": 2, "rx": 3, "ry": 4, "theta": -1.5}, ("ellipse", (-1, 2), (3, 4), -1.5)),
        (CIRCLE, ("circle", (5, 6), 2.25)),
        # Its halves turn opposite ways, so that its shoelace area is zero, and yet they are drawn.
        (
            {"name": "polygon", "all_points_x": [0, 9, 9, 0], "all_points_y": [0, 9, 0, 9]},
            ("polygon", [(0, 0), (9, 9), (9, 0), (0, 9)]),
        ),
    ],
)
def test_every_shape(tmp_path: Path, shape: dict[str, object], expected: tuple[object, ...]):
    (record,), findings = read_via(write_json(tmp_path / "a.json", via_record("y.jpg", shape)))
    assert [plain(region) for region in record.regions] == [expected]
    assert findings == []


def test_a_rectangle_covers_as_many_pixels_as_it_is_wide_and_high(tmp_path: Path):
    shape = {"name": "rect", "x": 2, "y": 5, "width": 4, "height": 3}
    (record,), _ = read_via(write_json(tmp_path / "a.json", via_record("y.jpg", shape)))
    assert rasterize_region(record.regions[0], (20, 20)).sum() == 12


@pytest.mark.parametrize(
    ("size", "expected"), [(10, 10), ("10", 10), (-1, -1), (None, -1), ("big", -1), ([1], -1), ("9" * 5000, -1)]
)
def test_a_size_that_is_no_number_is_unknown(tmp_path: Path, size: object, expected: int):
    (record,), _ = read_via(write_json(tmp_path / "a.json", via_record("y.jpg", CIRCLE, size=size)))
    assert record.size_bytes == expected


def test_no_records_are_no_fault(tmp_path: Path):
    (tmp_path / "a.json").write_text("{}")
    assert read_via(tmp_path / "a.json") == ([], [])


# --- faults that are found ---


@pytest.mark.parametrize(
    ("shape", "kind", "cause"),
    [
        ({"name": "point", "cx": 3, "cy": 4}, "no-area", "a point has no area and is not drawn"),
        ({**TRIANGLE, "name": "polyline"}, "no-area", "a line has no area and is not drawn"),
        ({"name": "spline", "cx": 3}, "unknown-shape", "'spline'"),
        ({"cx": 3}, "unknown-shape", "None"),
        ({"name": ["circle"]}, "unknown-shape", "a list"),
        ({}, "unknown-shape", "None"),
        (None, "empty-region", "no shape_attributes"),
        ("circle", "empty-region", "no shape_attributes"),
        ({**TRIANGLE, "all_points_x": [1, 7]}, "empty-region", "2 x coordinates and 3 y coordinates"),
        ({**TRIANGLE, "all_points_x": [1, 7], "all_points_y": [1, 7]}, "empty-region", "2 points"),
        ({**TRIANGLE, "all_points_x": [], "all_points_y": []}, "empty-region", "0 points"),
        ({**TRIANGLE, "all_points_x": "1,7,1"}, "empty-region", "no list"),
        ({"name": "polygon"}, "empty-region", "no list"),
        ({**TRIANGLE, "all_points_x": [1, "7", 1]}, "empty-region", "all_points_x holds '7'"),
        ({**TRIANGLE, "all_points_y": [0, None, 4]}, "empty-region", "all_points_y holds None"),
        ({**TRIANGLE, "all_points_y": [0, True, 4]}, "empty-region", "all_points_y holds True"),
        ({**TRIANGLE, "all_points_y": [0, math.nan, 4]}, "empty-region", "all_points_y holds nan"),
        ({**TRIANGLE, "all_points_y": [0, math.inf, 4]}, "empty-region", "all_points_y holds inf"),
        ({**TRIANGLE, "all_points_y": [0, 10**400, 4]}, "empty-region", "all_points_y holds 1000"),
        ({**TRIANGLE, "all_points_y": [2, 2, 2]}, "empty-region", "on one line"),
        ({**TRIANGLE, "all_points_x": [0, 1, 3], "all_points_y": [0, 2, 6]}, "empty-region", "on one line"),
        ({**TRIANGLE, "all_points_x": [5, 5, 5], "all_points_y": [6, 6, 6]}, "empty-region", "on one line"),
        ({**CIRCLE, "r": 0}, "empty-region", "r is 0; it must be above 0"),
        ({**CIRCLE, "r": -3}, "empty-region", "r is -3; it must be above 0"),
        ({"name": "circle", "cx": 3, "cy": 4}, "empty-region", "r holds None"),
        ({**ELLIPSE, "ry": 0.0}, "empty-region", "ry is 0"),
        ({**ELLIPSE, "theta": "0.5"}, "empty-region", "theta holds '0.5'"),
        ({**ELLIPSE, "cx": {"x": 1}}, "empty-region", "cx holds a dict"),
        ({"name": "rect", "x": 2, "y": 5, "width": 0, "height": 3}, "empty-region", "width is 0"),
        ({"name": "rect", "x": 2, "y": 5, "width": 4, "height": -1}, "empty-region", "height is -1"),
    ],
)
def test_a_region_that_cannot_be_drawn_is_named_and_the_rest_is_kept(
    tmp_path: Path, shape: object, kind: str, cause: str
):
    records, findings = read_via(write_json(tmp_path / "a.json", via_record("y.jpg", CIRCLE, shape)))
    assert plain_records(records) == [("y.jpg", 10, [("circle", (5, 6), 2.25)])]
    (finding,) = findings
    assert (finding.kind, finding.severity, finding.file) == (kind, "warning", "y.jpg")
    assert finding.cause.startswith("region 2: ")
    assert cause in finding.cause
    assert len(finding.line()) < 200


def test_records_without_a_drawable_region_count_what_was_not_drawn(tmp_path: Path):
    point = {"name": "point", "cx": 3, "cy": 4}
    path = write_json(
        tmp_path / "a.json", via_record("y0.jpg"), via_record("y1.jpg", point), via_record("y2.jpg", CIRCLE, point)
    )
    counts = [(record.filename, len(record.regions), record.undrawn) for record in read_via(path)[0]]
    assert counts == [("y0.jpg", 0, 0), ("y1.jpg", 0, 1), ("y2.jpg", 1, 1)]
    assert kinds(path) == [("no-area", "warning", "y1.jpg"), ("no-area", "warning", "y2.jpg")]


def test_an_image_without_regions_in_a_csv_file_has_a_record(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(
        "\n".join([COLUMNS, csv_line("y0.jpg", 5, {}, 0, 0, {}, {}), csv_line("y1.jpg", 5, {}, 1, 0, CIRCLE, {})])
    )
    assert [(record.filename, len(record.regions)) for record in read_via(path)[0]] == [("y0.jpg", 0), ("y1.jpg", 1)]
    assert kinds(path) == []


def test_a_cell_that_is_no_json_and_a_row_that_is_too_short(tmp_path: Path):
    path = tmp_path / "a.csv"
    rows = [COLUMNS, csv_line("y0.jpg", 5, {}, 2, 0, CIRCLE, {}), 'y0.jpg,5,"{}",2,1,"{""name"":","{}"', "y1.jpg,5"]
    path.write_text("\n".join(rows))
    assert plain_records(read_via(path)[0]) == [("y0.jpg", 5, [("circle", (5, 6), 2.25)]), ("y1.jpg", 5, [])]
    assert kinds(path) == [("empty-region", "warning", "y0.jpg"), ("empty-region", "warning", "y1.jpg")]


def test_a_table_that_was_cut_is_named(tmp_path: Path):
    rows = [COLUMNS, csv_line("y0.jpg", 5, {}, 3, 0, CIRCLE, {}), csv_line("y1.jpg", 5, {}, 1, 0, CIRCLE, {})]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    (finding,) = read_via(tmp_path / "a.csv")[1]
    assert (finding.kind, finding.severity, finding.file) == ("regions-missing", "warning", "y0.jpg")
    assert finding.cause == "only 1 of its 3 regions (region_count) are in the table"


def test_records_of_one_name_are_all_read(tmp_path: Path):
    path = write_json(tmp_path / "a.json", via_record("y.jpg", CIRCLE, size=1), via_record("y.jpg", TRIANGLE))
    assert [(record.filename, record.size_bytes) for record in read_via(path)[0]] == [("y.jpg", 1), ("y.jpg", 10)]


def test_a_key_that_stands_twice_does_not_replace_the_first(tmp_path: Path):
    path = tmp_path / "a.json"
    first, second = json.dumps(via_record("y.jpg", CIRCLE)), json.dumps(via_record("y.jpg", TRIANGLE))
    path.write_text(f'{{"y.jpg10": {first}, "y.jpg10": {second}}}')
    assert [plain(record.regions[0])[0] for record in read_via(path)[0]] == ["circle", "polygon"]


def test_labels_and_patient_are_read(tmp_path: Path):
    record = via_record("p1\\y.jpg", CIRCLE, {"name": "point", "cx": 1, "cy": 1}, TRIANGLE, ELLIPSE)
    attributes = [
        {"label": " tumour ", "note": ""},
        {"label": "lost"},
        {"type": {"edge": True, "core": True, "x": 0}},
        {},
    ]
    for region, value in zip(record["regions"], attributes, strict=True):
        region["region_attributes"] = value
    record["file_attributes"] = {"Subject ID": " s 1 ", "quality": "good"}
    (read,) = read_via(write_json(tmp_path / "a.json", record))[0]
    assert read.filename == "p1/y.jpg"
    assert read.labels == ({"label": "tumour"}, {"type": "core, edge"}, {})
    assert read.patient == "s 1"


@pytest.mark.parametrize(
    ("folder", "expected"), [("./pictures/", "./pictures/"), ("p\\q", "p/q"), ("/home/x/", ""), ("../x", ""), (7, "")]
)
def test_the_folder_of_the_images_that_a_project_names(tmp_path: Path, folder: object, expected: str):
    project = json.loads(via_2_project()) | {"_via_settings": {"core": {"default_filepath": folder}}}
    (tmp_path / "p.json").write_text(json.dumps(project))
    assert read_annotations(tmp_path / "p.json").image_folder == expected


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_of_other_systems(tmp_path: Path, delimiter: str):
    outline = {**TRIANGLE, "all_points_x": [1, 7, 1] * 30_000, "all_points_y": [0, 4, 4] * 30_000}
    header = delimiter.join(f'"{column.upper()}"' for column in COLUMNS.split(","))
    cells = ["y.jpg", "5", "{}", "1", "0", json.dumps(outline), "{}"]
    line = delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)
    (tmp_path / "a.csv").write_text(f"\ufeff{header}\r\n{line}\r\n", encoding="utf-8")
    (record,), findings = read_via(tmp_path / "a.csv")
    assert record.size_bytes == 5
    assert record.regions[0].points_xy.shape == (90_000, 2)
    assert findings == []


@pytest.mark.parametrize(
    "filename",
    [
        "../y.jpg",
        "a/../../y.jpg",
        "C:\\..\\y.jpg",
        "C:\\",
        "\\\\server\\y.jpg",
        "..\\y.jpg",
        "",
        ".",
        "a\nb.jpg",
        "a\u2028b.jpg",
        "\ud800.jpg",
    ],
)
def test_a_filename_that_leads_out_of_the_folder_is_left_out(tmp_path: Path, filename: str):
    path = write_json(tmp_path / "a.json", via_record(filename, CIRCLE), via_record("y.jpg", CIRCLE))
    records, findings = read_via(path)
    assert [record.filename for record in records] == ["y.jpg"]
    assert [(finding.kind, finding.severity) for finding in findings] == [("unsafe-filename", "left out")]
    assert "\n" not in findings[0].line()


@pytest.mark.parametrize("filename", ["y.jpg", "a/y.jpg", "a b/ü..jpg", "..y.jpg", "...", "y.jpg..", "脳 1.png"])
def test_a_filename_inside_the_folder_is_kept_as_it_is(tmp_path: Path, filename: str):
    records, findings = read_via(write_json(tmp_path / "a.json", via_record(filename, CIRCLE)))
    assert [record.filename for record in records] == [filename]
    assert findings == []


def test_an_entry_that_is_no_record_is_named_by_its_key(tmp_path: Path):
    path = tmp_path / "a.json"
    entries = {
        "y0.jpg5": {"size": 5},
        "y1.jpg5": via_record("y1.jpg", CIRCLE),
        "y2.jpg5": {"filename": 7, "regions": []},
    }
    path.write_text(json.dumps(entries))
    assert [record.filename for record in read_via(path)[0]] == ["y1.jpg"]
    missing = [("annotation-missing", "left out", "y0.jpg5"), ("annotation-missing", "left out", "y2.jpg5")]
    assert kinds(path) == missing


# --- files that are refused ---


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "not JSON"),
        (b'{"y.jpg": ', "not JSON"),
        (b"hello", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8"),
        (b"[]", "not annotations of a known format"),
        (b"7", "not annotations of a known format"),
        (b"null", "not annotations of a known format"),
        (b'{"_via_img_metadata": [1]}', "not annotations of a known format"),
        (b'{"a": {"filename": "y.jpg"}}', "not annotations of a known format"),
        (b"filename,label\ny.jpg,1\n", "not a CSV table of VIA"),
        (b"filenames,region_shape_attributes\ny.jpg,{}\n", "not a CSV table of VIA"),
        (COLUMNS.encode() + b'\ny.jpg,5,"{}",1,0,"{"x', "not CSV"),
    ],
)
def test_a_file_that_is_not_via_is_refused_in_one_line(tmp_path: Path, content: bytes, cause: str):
    path = tmp_path / "annotations.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_via(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {cause.split(maxsplit=1)[0]}")
    assert cause in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "columns"), [("name,age\na,3\n", "name, age"), ('"image","mask"\n', "image, mask"), ("", "none")]
)
def test_a_foreign_csv_file_is_told_as_csv_with_the_columns_that_are_wanted(tmp_path: Path, content: str, columns: str):
    path = tmp_path / "patients.csv"
    path.write_text(content)
    wanted = "no filename and region_shape_attributes among its columns"
    with pytest.raises(DataError, match=rf"patients\.csv: not a CSV table of VIA 1 or 2 \({wanted}: {columns}\)"):
        read_via(path)


def test_json_that_is_called_csv_and_quoted_columns_are_read(tmp_path: Path):
    assert read_via(write_json(tmp_path / "a.csv", via_record("y.jpg", CIRCLE)))[0][0].filename == "y.jpg"
    quoted = ",".join(f'"{column}"' for column in COLUMNS.split(","))
    (tmp_path / "b.csv").write_text(via_csv(quoted))
    assert [record.filename for record in read_via(tmp_path / "b.csv")[0]] == ["y0.jpg", "a/ü 2.png"]


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match=r"cannot be read|a folder, not a file"):
            read_via(path)


@pytest.mark.parametrize("filename", ["/data/p1/y.jpg", "C:\\data\\p1\\y.jpg", "\\\\pc\\share\\data\\p1\\y.jpg"])
def test_a_path_of_another_computer_keeps_its_folders_and_its_name(tmp_path: Path, filename: str):
    (record,), findings = read_via(write_json(tmp_path / "a.json", via_record(filename, CIRCLE)))
    assert (record.filename, record.other_names, findings) == ("data/p1/y.jpg", ("y.jpg",), [])
