"""Annotations to masks and back: nothing is lost on the way, and what cannot be carried over is said."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumortrace.data import convert
from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.cases import read_cases
from tumortrace.data.convert import convert_to_annotations, convert_to_masks
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Ellipse, rasterize
from tumortrace.data.masks import read_mask
from tumortrace.data.pairs import Pair, read_pairs
from tumortrace.data.png_writing import encode_mask, write_png
from tumortrace.errors import DataError
from tumortrace.locks import lock_folder


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def dot(row: int, column: int) -> np.ndarray:
    """A mask of 4 x 6 pixels with one of them set."""
    mask = np.zeros((4, 6), np.uint8)
    mask[row, column] = 255
    return mask


def write_via_folder(folder: Path, rows: dict[str, int]) -> None:
    """Pictures of 4 x 6 pixels, each annotated with a rectangle of 2 x 1 pixels at column 0 of its row."""
    document = {}
    for name, row in rows.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((4, 6), 10, np.uint8))
        shape = {"name": "rect", "x": 0, "y": row, "width": 2, "height": 1}
        document[f"{name}-1"] = {"filename": name, "size": -1, "regions": [{"shape_attributes": shape}]}
    (folder / "v.json").write_text(json.dumps(document))


def read_outlines(path: Path) -> dict[str, list[list[int]]]:
    """The pixels (row, column) within the regions of each picture of 4 x 6 pixels."""
    return {r.filename: np.argwhere(rasterize(r.regions, (4, 6))).tolist() for r in read_annotations(path).images}


def test_masks_are_the_truth_at_the_images_own_size(phantom_data, tmp_path):
    result = convert_to_masks(phantom_data, tmp_path / "masks")
    assert (result.count, result.failed) == (19, 0)
    for record, case, _ in read_cases(open_dataset(phantom_data).records):
        path = tmp_path / "masks" / record.part.upper() / f"{record.image_path.stem}_mask.png"
        stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(stored)) == {0, 255}
        np.testing.assert_array_equal(stored > 0, case.truth)


def test_there_and_back_is_exact_and_keeps_the_images_names(phantom_data, tmp_path):
    convert_to_masks(phantom_data, tmp_path / "masks")
    result = convert_to_annotations(tmp_path / "masks", tmp_path / "via")
    assert (result.count, result.findings) == (19, ())
    dataset = open_dataset(phantom_data)
    for part in ("TRAIN", "VAL", "TEST"):
        file = read_annotations(tmp_path / "via" / part / "annotations.json")
        records, findings = list(file.images), list(file.findings)
        assert findings == []
        regions = {record.filename: record.regions for record in records}
        for record, case, _ in read_cases(dataset.select(part.lower())):
            name = record.image_path.name
            np.testing.assert_array_equal(rasterize(regions[name], case.slice.size_hw), case.truth)


def test_real_annotations_survive_the_round_trip(br35h, tmp_path):
    convert_to_masks(br35h, tmp_path / "masks")
    convert_to_annotations(tmp_path / "masks", tmp_path / "via")
    regions = {r.filename: r.regions for r in read_annotations(tmp_path / "via" / "VAL" / "annotations.json").images}
    scores = [
        iou(rasterize(regions[record.image_path.name], case.slice.size_hw), case.truth)
        for record, case, _ in read_cases(open_dataset(br35h).select("val"))
        if case is not None
    ]
    assert len(scores) == 201
    assert min(scores) >= 0.98


def test_annotations_to_annotations_keep_their_shapes(phantom_data, tmp_path):
    convert_to_annotations(phantom_data, tmp_path / "via")
    drawn = {record.image_path.name: record.truth for record in open_dataset(phantom_data).select("train")}
    kept = {r.filename: r.regions for r in read_annotations(tmp_path / "via" / "TRAIN" / "annotations.json").images}
    assert kept.keys() == drawn.keys()
    assert any(isinstance(region, Ellipse) for regions in drawn.values() for region in regions)
    for name, regions in drawn.items():
        assert [type(region) for region in kept[name]] == [type(region) for region in regions]


def test_masks_dataset_with_several_lesions_a_hole_and_none(tmp_path):
    holed = np.zeros((9, 14), np.uint8)
    holed[1:6, 1:7] = 255
    holed[3, 3:5] = 0
    holed[7:9, 10:14] = 255
    for name, mask in {"two": holed, "none": np.zeros((9, 14), np.uint8)}.items():
        write_png(tmp_path / "data" / "images" / f"{name}.png", np.full((9, 14), 50, np.uint8))
        write_png(tmp_path / "data" / "masks" / f"{name}.png", mask)
    result = convert_to_annotations(tmp_path / "data", tmp_path / "via")
    assert result.findings == ()
    file = read_annotations(tmp_path / "via" / "annotations.json")
    records = [record for record in file.images if record.regions]
    assert [record.filename for record in records] == ["two.png"]
    assert len(records[0].regions) == 2
    np.testing.assert_array_equal(rasterize(records[0].regions, (9, 14)), holed > 0)


def test_masks_that_segment_wrote_name_their_images(tmp_path):
    write_png(tmp_path / "scans" / "x.png", np.zeros((4, 5), np.uint8))
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 2] = 255
    write_png(tmp_path / "out" / "x_mask.png", mask)
    records = {
        "images": [{"file": str(tmp_path / "scans" / "x.png"), "mask": "x_mask.png"}, {"file": "y", "mask": None}]
    }
    (tmp_path / "out" / "results.json").write_text(json.dumps(records))
    result = convert_to_annotations(tmp_path / "out", tmp_path / "via")
    (record,) = read_annotations(tmp_path / "via" / "annotations.json").images
    assert (record.filename, result.findings) == ("x.png", ())
    assert record.size_bytes == (tmp_path / "scans" / "x.png").stat().st_size


def test_masks_of_unknown_images_are_reported_and_a_broken_one_does_not_stop_the_rest(tmp_path):
    write_png(tmp_path / "out" / "a_mask.png", np.full((2, 3), 255, np.uint8))
    (tmp_path / "out" / "b_mask.png").write_text("no picture")
    result = convert_to_annotations(tmp_path / "out", tmp_path / "via")
    assert (result.count, result.failed) == (1, 1)
    assert [(finding.kind, finding.file) for finding in result.findings] == [
        ("image-unknown", "a_mask.png"),
        ("unreadable", "b_mask.png"),
    ]


def test_masks_in_subfolders_stay_apart_both_ways(tmp_path):
    write_via_folder(tmp_path / "data" / "TRAIN", {"p1/a.png": 0, "p2/a.png": 2})
    assert convert_to_masks(tmp_path / "data", tmp_path / "masks").count == 2
    assert np.argwhere(read_mask(tmp_path / "masks" / "TRAIN" / "p1" / "a_mask.png"))[0].tolist() == [0, 0]
    assert np.argwhere(read_mask(tmp_path / "masks" / "TRAIN" / "p2" / "a_mask.png"))[0].tolist() == [2, 0]
    size_bytes = (tmp_path / "data" / "TRAIN" / "p1" / "a.png").stat().st_size
    assert read_pairs(tmp_path / "masks" / "TRAIN" / "pairs.csv").pairs == (
        Pair("p1/a.png", "p1/a_mask.png", "p1", size_bytes),
        Pair("p2/a.png", "p2/a_mask.png", "p2", size_bytes),
    )
    expected = {"p1/a.png": [[0, 0], [0, 1]], "p2/a.png": [[2, 0], [2, 1]]}
    for source in ("masks", "data"):
        result = convert_to_annotations(tmp_path / source, tmp_path / f"via-{source}")
        assert (result.count, result.findings) == (2, ())
        assert read_outlines(tmp_path / f"via-{source}" / "TRAIN" / "annotations.json") == expected


def test_masks_dataset_keeps_patients_and_drops_the_images_folder_from_names(tmp_path):
    for name, patient_mask in {"p1/a": dot(1, 2), "b": dot(0, 5)}.items():
        write_png(tmp_path / "data" / "images" / f"{name}.png", np.full((4, 6), 50, np.uint8))
        write_png(tmp_path / "data" / "masks" / f"{name}.png", patient_mask)
    (tmp_path / "data" / "pairs.csv").write_text("image,mask,patient\np1/a.png,p1/a.png,Ann\nb.png,b.png,\n")
    convert_to_masks(tmp_path / "data", tmp_path / "masks")
    header, *rows = (tmp_path / "masks" / "pairs.csv").read_text().splitlines()
    size_bytes = (tmp_path / "data" / "images" / "b.png").stat().st_size
    assert header == "image,mask,patient,size_bytes"
    assert rows == [f"b.png,b_mask.png,,{size_bytes}", f"p1/a.png,p1/a_mask.png,Ann,{size_bytes}"]
    convert_to_annotations(tmp_path / "data", tmp_path / "via")
    assert read_outlines(tmp_path / "via" / "annotations.json") == {"b.png": [[0, 5]], "p1/a.png": [[1, 2]]}


def test_nested_masks_that_segment_wrote_are_found_and_hidden_ones_are_not(tmp_path):
    out = tmp_path / "out"
    images = []
    for name, mask in {"p1/a": dot(0, 1), "p2/a": dot(3, 4), "TEST/a": dot(2, 2)}.items():
        write_png(out / f"{name}_mask.png", mask)
        images.append({"file": f"scans/{name}.jpg", "mask": f"{name}_mask.png"})
    for name in ("._x_mask.png", ".trash/x_mask.png", "p1/._a_mask.png"):
        write_png(out / name, dot(0, 0))
    (out / "results.json").write_text(json.dumps({"images": images}))
    result = convert_to_annotations(out, tmp_path / "via")
    assert (result.count, result.failed, result.findings) == (3, 0, ())
    assert read_outlines(tmp_path / "via" / "annotations.json") == {"p1/a.jpg": [[0, 1]], "p2/a.jpg": [[3, 4]]}
    assert read_outlines(tmp_path / "via" / "TEST" / "annotations.json") == {"a.jpg": [[2, 2]]}


def test_two_masks_of_one_image_keep_a_record_each(tmp_path):
    images = []
    for file, mask, column in (("a/x.png", "x.png_mask.png", 1), ("b/x.png", "x.png-2_mask.png", 4)):
        write_png(tmp_path / "out" / mask, dot(0, column))
        images.append({"file": file, "mask": mask})
    (tmp_path / "out" / "results.json").write_text(json.dumps({"images": images}))
    result = convert_to_annotations(tmp_path / "out", tmp_path / "via")
    assert read_outlines(tmp_path / "via" / "annotations.json") == {"x.png": [[0, 1]], "x.png-2_mask.png": [[0, 4]]}
    assert [(finding.kind, finding.file) for finding in result.findings] == [
        ("duplicate-record", "x.png"),
        ("image-unknown", "x.png-2_mask.png"),
    ]


def test_a_stray_mask_does_not_hide_a_dataset(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 1, "b.png": 2})
    write_png(tmp_path / "data" / "old_mask.png", dot(0, 0))
    result = convert_to_annotations(tmp_path / "data", tmp_path / "via")
    assert result.count == 2
    assert read_outlines(tmp_path / "via" / "annotations.json").keys() == {"a.png", "b.png"}
    assert [(finding.kind, finding.file) for finding in result.findings] == [("looks-like-masks", "old_mask.png")]


def test_neither_dataset_nor_masks(tmp_path):
    with pytest.raises(DataError, match=r"is this the data\?"):
        convert_to_annotations(tmp_path, tmp_path.parent / "via")
    with pytest.raises(DataError, match="no such folder"):
        convert_to_annotations(tmp_path / "nowhere", tmp_path / "via")


def test_an_interrupted_conversion_keeps_what_is_finished(phantom_data, tmp_path, monkeypatch):
    writes = itertools.count()

    def encode_three(mask: np.ndarray) -> bytes:
        if next(writes) == 3:
            raise KeyboardInterrupt
        return encode_mask(mask)

    monkeypatch.setattr(convert, "encode_mask", encode_three)
    with pytest.raises(KeyboardInterrupt):
        convert_to_masks(phantom_data, tmp_path / "masks")
    assert len(read_pairs(tmp_path / "masks" / "TRAIN" / "pairs.csv").pairs) == 3
    result = convert_to_annotations(tmp_path / "masks", tmp_path / "via")
    assert (result.count, result.findings) == (3, ())


def test_an_interrupted_tracing_keeps_what_is_finished(tmp_path, monkeypatch):
    write_png(tmp_path / "out" / "a_mask.png", dot(1, 1))
    write_png(tmp_path / "out" / "b_mask.png", dot(1, 2))

    def read_one(path: Path) -> np.ndarray:
        if path.name.startswith("b"):
            raise KeyboardInterrupt
        return read_mask(path)

    monkeypatch.setattr(convert, "read_mask", read_one)
    with pytest.raises(KeyboardInterrupt):
        convert_to_annotations(tmp_path / "out", tmp_path / "via")
    assert read_outlines(tmp_path / "via" / "annotations.json") == {"a_mask.png": [[1, 1]]}
    (finding,) = json.loads((tmp_path / "via" / "findings.json").read_text())
    assert (finding["kind"], finding["file"]) == ("image-unknown", "a_mask.png")


def test_findings_are_kept_in_a_file_and_go_with_their_faults(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 1})
    (tmp_path / "data" / "b.png").write_bytes((tmp_path / "data" / "a.png").read_bytes())
    for convert_to, folder in ((convert_to_masks, tmp_path / "masks"), (convert_to_annotations, tmp_path / "via")):
        (finding,) = convert_to(tmp_path / "data", folder).findings
        assert json.loads((folder / "findings.json").read_text()) == [
            {
                "kind": "annotation-missing",
                "severity": "left out",
                "file": "b.png",
                "cause": finding.cause,
                "remedy": finding.remedy,
            }
        ]
    (tmp_path / "data" / "b.png").unlink()
    convert_to_masks(tmp_path / "data", tmp_path / "masks")
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        "a_mask.png",
        "conversion.json",
        "pairs.csv",
    ]


def test_images_whose_stems_meet_keep_their_masks(tmp_path):
    rows = {"a.png": 0, "a.tiff": 1, "a.png.tif": 2, "b.png": 3}
    write_via_folder(tmp_path / "data", rows)
    assert convert_to_masks(tmp_path / "data", tmp_path / "masks").count == 4
    names = {"a.png": "a.png_mask.png", "a.tiff": "a.tiff_mask.png", "a.png.tif": "a.png.tif_mask.png"}
    for image, mask in (names | {"b.png": "b_mask.png"}).items():
        assert np.argwhere(read_mask(tmp_path / "masks" / mask))[0].tolist() == [rows[image], 0]


def test_nothing_is_written_into_the_source(phantom_data):
    for convert_to in (convert_to_masks, convert_to_annotations):
        with pytest.raises(DataError, match="lies inside the data folder"):
            convert_to(phantom_data, phantom_data / "masks")


# --- nothing of the user's is replaced ---


def test_a_file_that_no_conversion_wrote_is_never_replaced(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 1, "b.png": 2})
    (tmp_path / "data" / "c.png").write_bytes((tmp_path / "data" / "a.png").read_bytes())
    for convert_to, names in (
        (convert_to_masks, ("a_mask.png", "pairs.csv", "findings.json", "conversion.json")),
        (convert_to_annotations, ("annotations.json", "findings.json", "conversion.json")),
    ):
        for name in names:
            out = tmp_path / f"{convert_to.__name__} {name}"
            out.mkdir()
            (out / name).write_text('{"drawn": "by hand"}')
            with pytest.raises(DataError, match=rf"{name}: .*choose another folder, or move the file"):
                convert_to(tmp_path / "data", out)
            assert {path.name: path.read_text() for path in out.iterdir()} == {name: '{"drawn": "by hand"}'}


def test_a_conversion_replaces_its_own_files_unless_they_were_changed(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 1, "b.png": 2})
    convert_to_masks(tmp_path / "data", tmp_path / "masks")
    write_via_folder(tmp_path / "data", {"a.png": 3, "b.png": 2})
    convert_to_masks(tmp_path / "data", tmp_path / "masks")
    assert np.argwhere(read_mask(tmp_path / "masks" / "a_mask.png"))[0].tolist() == [3, 0]
    write_png(tmp_path / "masks" / "a_mask.png", dot(0, 1))
    with pytest.raises(DataError, match=r"a_mask\.png: is there already, .* or it was changed since"):
        convert_to_masks(tmp_path / "data", tmp_path / "masks")
    assert np.argwhere(read_mask(tmp_path / "masks" / "a_mask.png")).tolist() == [[0, 1]]


@pytest.mark.parametrize("to", ["masks", "labelme", "yolo"])
def test_nothing_stays_of_an_image_that_can_no_longer_be_read(tmp_path, to):
    write_via_folder(tmp_path / "data", {"a.png": 1, "b.png": 2})
    written = {"masks": "a_mask.png", "labelme": "a.json", "yolo": "a.txt"}[to]
    for failed in (0, 1):
        if to == "masks":
            result = convert_to_masks(tmp_path / "data", tmp_path / "out")
        else:
            result = convert_to_annotations(tmp_path / "data", tmp_path / "out", to)
        assert (result.failed, (tmp_path / "out" / written).exists()) == (failed, not failed)
        listed = json.loads((tmp_path / "out" / "conversion.json").read_text())["files"]
        assert (written in listed) == (not failed)
        (tmp_path / "data" / "a.png").write_bytes(b"no picture")


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from tumortrace.data import convert, own_files
writes, append_whole = itertools.count(), own_files.append_whole
def write_two(path, data):
    if next(writes) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    append_whole(path, data)
own_files.append_whole = write_two
convert.convert_to_masks(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_conversion_is_done_again_in_its_own_folder(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 0, "b.png": 1, "c.png": 2})
    data, out = tmp_path / "data", tmp_path / "masks"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(data), str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in out.glob("[!.]*")) == ["a_mask.png", "b_mask.png"]
    drawn = out / "c_mask.png"
    write_png(drawn, dot(0, 0))
    with pytest.raises(DataError, match=r"c_mask\.png: is there already"):
        convert_to_masks(data, out)
    drawn.unlink()
    assert convert_to_masks(data, out).count == 3
    left = ["a_mask.png", "b_mask.png", "c_mask.png", "conversion.json", "pairs.csv"]
    assert sorted(path.name for path in out.iterdir()) == left


def test_the_manifest_lists_what_was_written(tmp_path):
    write_via_folder(tmp_path / "data" / "TRAIN", {"p1/a.png": 0})
    convert_to_masks(tmp_path / "data", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert list(manifest["files"]) == ["TRAIN/p1/a_mask.png", "TRAIN/pairs.csv"]
    mask = (tmp_path / "out" / "TRAIN" / "p1" / "a_mask.png").read_bytes()
    assert manifest["files"]["TRAIN/p1/a_mask.png"] == hashlib.sha256(mask).hexdigest()


def test_images_of_one_name_in_two_folders_of_a_part_stay_apart(tmp_path):
    for folder, row in {"val": 0, "valid": 3}.items():
        write_via_folder(tmp_path / "data" / folder, {"a.png": row})
    assert convert_to_masks(tmp_path / "data", tmp_path / "out").count == 2
    for folder, row in {"val": 0, "valid": 3}.items():
        assert np.argwhere(read_mask(tmp_path / "out" / "VAL" / folder / "a_mask.png"))[0].tolist() == [row, 0]


def test_a_label_chooses_among_the_regions(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 1})
    document = json.loads((tmp_path / "data" / "v.json").read_text())
    shape = {"name": "rect", "x": 0, "y": 2, "width": 5, "height": 1}
    record = document["a.png-1"]
    record["regions"][0]["region_attributes"] = {"label": "tumour"}
    record["regions"].append({"shape_attributes": shape, "region_attributes": {"label": "skull"}})
    (tmp_path / "data" / "v.json").write_text(json.dumps(document))
    result = convert_to_masks(tmp_path / "data", tmp_path / "both")
    assert [finding.kind for finding in result.findings] == ["labels-united"]
    assert read_mask(tmp_path / "both" / "a_mask.png").sum() == 7
    assert convert_to_masks(tmp_path / "data", tmp_path / "one", label="tumour").findings == ()
    assert read_mask(tmp_path / "one" / "a_mask.png").sum() == 2
    convert_to_annotations(tmp_path / "data", tmp_path / "via", label="tumour")
    assert read_outlines(tmp_path / "via" / "annotations.json") == {"a.png": [[1, 0], [1, 1]]}


def test_a_second_conversion_into_one_folder_is_refused_while_the_first_writes(tmp_path):
    write_via_folder(tmp_path / "data", {"a.png": 1})
    with lock_folder(tmp_path / "out"), pytest.raises(DataError, match="another run of tumortrace is writing there"):
        convert_to_masks(tmp_path / "data", tmp_path / "out")
    assert convert_to_masks(tmp_path / "data", tmp_path / "out").count == 1
