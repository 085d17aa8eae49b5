"""A folder becomes cases, and every planted fault is found in one pass, with its file, cause and remedy."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tumortrace.data.cases import read_case, read_cases
from tumortrace.data.dataset import exclude, open_any, open_dataset, open_datasets
from tumortrace.data.folders import list_tree
from tumortrace.data.names import natural_key
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError

SQUARE = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 2}


def write_image(path: Path, size_hw: tuple[int, int] = (8, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(size_hw, 90, np.uint8))


def write_annotations(path: Path, shapes: dict[str, list[dict[str, object]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = {
        f"{name}-1": {
            "filename": name,
            "size": -1,
            "regions": [{"shape_attributes": shape, "region_attributes": {}} for shape in listed],
            "file_attributes": {},
        }
        for name, listed in shapes.items()
    }
    path.write_text(json.dumps(records))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_br35h_layout(tmp_path):
    for part, names in {"TRAIN": ["y10.png", "y9.png"], "TEST": ["y11.png"]}.items():
        for name in names:
            write_image(tmp_path / part / name)
        write_annotations(tmp_path / part / "a.json", {name: [SQUARE] for name in names})
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["TRAIN/y9.png", "TRAIN/y10.png", "TEST/y11.png"]
    assert dataset.parts() == {"train": 2, "test": 1}
    assert dataset.findings == ()
    assert [record.case_id for record in dataset.select("test")] == ["TEST/y11.png"]
    assert dataset.select("all") == dataset.records
    with pytest.raises(DataError, match=r"no part 'val' here; it has: train \(2\), test \(1\)"):
        dataset.select("val")


def test_single_folder_and_its_truth(tmp_path):
    write_image(tmp_path / "a.png")
    write_annotations(tmp_path / "a.json", {"a.png": [SQUARE]})
    dataset = open_dataset(tmp_path)
    assert dataset.parts() == {"": 1}
    case, findings = read_case(dataset.records[0])
    expected = np.zeros((8, 10), bool)
    expected[2:4, 1:4] = True
    np.testing.assert_array_equal(case.truth, expected)
    assert findings == []


def test_every_planted_fault_is_found_in_one_pass(tmp_path):
    for name in ("good.png", "forgotten.png", "outside.png", "partly.png", "pointed.png", "odd.png", "twice.png"):
        write_image(tmp_path / name)
    (tmp_path / "broken.png").write_text("no picture")
    write_annotations(
        tmp_path / "via.json",
        {
            "good.png": [SQUARE],
            "gone.png": [SQUARE],
            "broken.png": [SQUARE],
            "outside.png": [{"name": "circle", "cx": 50, "cy": 50, "r": 3}],
            "partly.png": [{"name": "circle", "cx": 0, "cy": 4, "r": 3}],
            "pointed.png": [SQUARE, {"name": "point", "cx": 1, "cy": 1}],
            "odd.png": [{"name": "spiral"}],
            "flat.png": [{"name": "circle", "cx": 1, "cy": 1, "r": 0}],
        },
    )
    document = json.loads((tmp_path / "via.json").read_text())
    document["twice-1"] = {**document["good.png-1"], "filename": "twice.png"}
    document["twice-2"] = {**document["good.png-1"], "filename": "twice.png"}
    (tmp_path / "via.json").write_text(json.dumps(document))
    before = snapshot(tmp_path)

    dataset = open_dataset(tmp_path)
    findings = list(dataset.findings)
    read = {}
    for record, case, faults in read_cases(dataset.records):
        findings += faults
        read[record.case_id] = case is not None

    assert {(finding.file, finding.kind, finding.severity) for finding in findings} == {
        ("gone.png", "image-missing", "left out"),
        ("forgotten.png", "annotation-missing", "left out"),
        ("broken.png", "unreadable", "left out"),
        ("outside.png", "unreadable", "left out"),
        ("partly.png", "region-outside", "warning"),
        ("pointed.png", "no-area", "warning"),
        ("odd.png", "unknown-shape", "warning"),
        ("odd.png", "annotation-missing", "left out"),
        ("flat.png", "empty-region", "warning"),
        ("flat.png", "image-missing", "left out"),
        ("twice.png", "duplicate-record", "warning"),
    }
    assert read == {
        "broken.png": False,
        "good.png": True,
        "outside.png": False,
        "partly.png": True,
        "pointed.png": True,
        "twice.png": True,
    }
    assert all(finding.cause and finding.remedy for finding in findings)
    assert snapshot(tmp_path) == before


def test_images_and_masks_with_pairs(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / "images" / name)
    mask = np.zeros((8, 10), np.uint8)
    (tmp_path / "masks").mkdir()
    assert cv2.imwrite(str(tmp_path / "masks" / "other.png"), mask)
    mask[3, 4] = 255
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), mask)
    (tmp_path / "pairs.csv").write_text(
        "image,mask,patient\na.png,a.png,p1\nb.png,other.png,p2\ngone.png,a.png,p2\nc.png,lost.png,\n"
    )
    write_image(tmp_path / "images" / "unnamed.png")
    dataset = open_dataset(tmp_path)
    assert [(record.case_id, record.patient) for record in dataset.records] == [
        ("images/a.png", "p1"),
        ("images/b.png", "p2"),
    ]
    assert [(finding.file, finding.kind) for finding in dataset.findings] == [
        ("images/c.png", "annotation-missing"),
        ("images/gone.png", "image-missing"),
        ("images/unnamed.png", "annotation-missing"),
    ]
    case, _ = read_case(dataset.records[0])
    assert np.argwhere(case.truth).tolist() == [[3, 4]]
    tumour_free, _ = read_case(dataset.records[1])
    assert not tumour_free.truth.any()


def test_images_and_masks_paired_by_name(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(tmp_path / "images" / name)
    for name in ("a.png", "b_mask.png"):
        write_image(tmp_path / "masks" / name)
    dataset = open_dataset(tmp_path)
    assert [(record.image_path.name, record.truth.name) for record in dataset.records] == [
        ("a.jpg", "a.png"),
        ("b.jpg", "b_mask.png"),
    ]
    assert [finding.file for finding in dataset.findings] == ["images/c.jpg"]


def test_a_mask_without_an_image_is_named(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    for name in ("a.png", "lonely.png"):
        write_image(tmp_path / "masks" / name)
    for pairs in (None, "image,mask\na.jpg,a.png\n"):
        if pairs:
            (tmp_path / "pairs.csv").write_text(pairs)
        dataset = open_dataset(tmp_path)
        assert [record.case_id for record in dataset.records] == ["images/a.jpg"]
        assert [(f.file, f.kind, f.severity) for f in dataset.findings] == [
            ("masks/lonely.png", "image-missing", "left out")
        ]


def test_two_masks_of_one_image_are_named_and_the_one_of_its_name_is_used(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    for name in ("a_mask.png", "a.png"):
        write_image(tmp_path / "masks" / name)
    dataset = open_dataset(tmp_path)
    assert [record.truth.name for record in dataset.records] == ["a.png"]
    assert [(f.file, f.kind, f.severity) for f in dataset.findings] == [("images/a.jpg", "duplicate-record", "warning")]
    assert "(a.png, a_mask.png); a.png is used" in dataset.findings[0].cause


def test_an_image_called_like_a_mask_has_its_own(tmp_path):
    for name in ("a.png", "a_mask.png"):
        write_image(tmp_path / "images" / name)
        write_image(tmp_path / "masks" / name)
    dataset = open_dataset(tmp_path)
    assert [(record.image_path.name, record.truth.name) for record in dataset.records] == [
        ("a.png", "a.png"),
        ("a_mask.png", "a_mask.png"),
    ]
    assert dataset.findings == ()


def test_an_image_listed_twice_in_pairs_is_one_case(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    for name in ("one.png", "two.png"):
        write_image(tmp_path / "masks" / name)
    (tmp_path / "pairs.csv").write_text("image,mask,patient\na.png,one.png,p1\n./a.png,two.png,p2\n")
    dataset = open_dataset(tmp_path)
    assert [(r.case_id, r.truth.name, r.patient) for r in dataset.records] == [("images/a.png", "one.png", "p1")]
    assert [(f.file, f.kind, f.severity) for f in dataset.findings] == [("images/a.png", "duplicate-record", "warning")]


def test_names_in_pairs_that_lead_out_of_the_folder_are_left_out(tmp_path):
    data = tmp_path / "data"
    write_image(data / "images" / "a.png")
    write_image(data / "masks" / "a.png")
    write_image(tmp_path / "evil.png")
    outside = tmp_path / "evil.png"
    (data / "pairs.csv").write_text(
        f"image,mask\na.png,a.png\n../../evil.png,a.png\nb.png,../../evil.png\n{outside},a.png\n"
    )
    dataset = open_dataset(data)
    assert [record.case_id for record in dataset.records] == ["images/a.png"]
    assert {(f.file, f.kind, f.severity) for f in dataset.findings} == {
        ("images/../../evil.png", "unsafe-filename", "left out"),
        ("images/b.png", "unsafe-filename", "left out"),
        (f"images/{outside}", "unsafe-filename", "left out"),
    }


def test_two_spellings_of_one_path_are_one_case(tmp_path):
    write_image(tmp_path / "a.png")
    write_annotations(tmp_path / "via.json", {"a.png": [SQUARE], "./a.png": [SQUARE]})
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["a.png"]
    assert [(finding.file, finding.kind) for finding in dataset.findings] == [("a.png", "duplicate-record")]


def test_hidden_files_are_passed_over(tmp_path):
    write_image(tmp_path / "y1.jpg")
    write_annotations(tmp_path / "x.json", {"y1.jpg": [SQUARE]})
    (tmp_path / "._y1.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "._x.json").write_bytes(b"\0\5\x16\7")
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["y1.jpg"]
    assert dataset.findings == ()
    assert list_tree(tmp_path).files == ("x.json", "y1.jpg")


def test_mask_of_another_size_is_named(tmp_path):
    write_image(tmp_path / "images" / "a.png", (8, 10))
    write_image(tmp_path / "masks" / "a.png", (10, 8))
    ((record, case, findings),) = read_cases(open_dataset(tmp_path).records)
    assert case is None
    assert record.case_id == findings[0].file
    assert "the image is (8, 10) pixels (height, width) and its mask masks/a.png is (10, 8)" in findings[0].cause


def test_a_table_with_other_columns_is_named_and_names_pair_the_files(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "masks" / "a.png")
    (tmp_path / "pairs.csv").write_text("photo,truth\na.png,a.png\n")
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["images/a.png"]
    assert [(f.file, f.kind, f.severity) for f in dataset.findings] == [("pairs.csv", "pairs-columns", "warning")]
    assert "its columns: photo, truth" in dataset.findings[0].cause


def test_one_broken_part_does_not_take_the_others_down(tmp_path):
    write_image(tmp_path / "TRAIN" / "a.png")
    write_annotations(tmp_path / "TRAIN" / "a.json", {"a.png": [SQUARE]})
    write_image(tmp_path / "VAL" / "b.png")
    (tmp_path / "VAL" / "b.json").write_text("[1, 2]")
    dataset = open_dataset(tmp_path)
    assert dataset.parts() == {"train": 1}
    assert [(finding.file, finding.kind) for finding in dataset.findings] == [("VAL", "part-unusable")]
    with pytest.raises(DataError, match=r"VAL.*b.json"):
        dataset.select("val")


def test_only_an_unusable_part_is_the_reason_for_its_absence(tmp_path):
    for name in ("a.png", "test1.png"):
        write_image(tmp_path / name)
    write_annotations(tmp_path / "via.json", {"a.png": [SQUARE]})
    dataset = open_dataset(tmp_path)
    assert [finding.file for finding in dataset.findings] == ["test1.png"]
    with pytest.raises(DataError, match=r"is not divided into parts, so there is no 'test'; .* with --part all"):
        dataset.select("test")


def test_other_json_beside_the_annotations_is_named(tmp_path):
    write_image(tmp_path / "a.png")
    write_annotations(tmp_path / "via.json", {"a.png": [SQUARE]})
    (tmp_path / "notes.json").write_text('{"hello": 1}')
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["a.png"]
    assert [(finding.file, finding.kind) for finding in dataset.findings] == [("notes.json", "not-annotations")]


def test_two_annotation_files_are_refused(tmp_path):
    write_image(tmp_path / "a.png")
    write_annotations(tmp_path / "one.json", {"a.png": [SQUARE]})
    write_annotations(tmp_path / "two.json", {"a.png": [{**SQUARE, "x": 2}]})
    with pytest.raises(
        DataError,
        match=r"several annotation files \(one.json, two.json\), .* differ on a.png; leave the one that counts",
    ):
        open_dataset(tmp_path)


def test_folder_that_is_missing_or_empty_or_foreign(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; check the path$"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "scan.dcm").touch()
    with pytest.raises(DataError, match=r"scan.dcm: a file; give the folder"):
        open_dataset(tmp_path / "scan.dcm")
    (tmp_path / "scan.dcm").unlink()
    with pytest.raises(DataError, match=r"no annotations .* is this the data\?"):
        open_dataset(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"not one usable case|a.json"):
        open_dataset(tmp_path)


def test_links_are_followed(tmp_path):
    write_image(tmp_path / "elsewhere" / "a.png")
    write_annotations(tmp_path / "elsewhere" / "a.json", {"a.png": [SQUARE]})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "TRAIN").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert open_dataset(tmp_path / "data").parts() == {"train": 1}


def test_natural_order():
    names = ["y10.jpg", "y9.jpg", "y1a.jpg", "y1.jpg", "x.jpg"]
    assert sorted(names, key=natural_key) == ["x.jpg", "y1.jpg", "y1a.jpg", "y9.jpg", "y10.jpg"]


@given(
    before=st.text(max_size=4).filter(lambda text: not text[-1:].isdecimal()),
    numbers=st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
    after=st.text(max_size=4).filter(lambda text: not text[:1].isdecimal()),
)
def test_numbers_within_equal_text_are_ordered_by_value(before, numbers, after):
    first, second = (natural_key(f"{before}{number}{after}") for number in numbers)
    assert (first < second) == (numbers[0] < numbers[1])


@given(st.sets(st.text("01a\u0663") | st.text(max_size=4), max_size=8))
@example({"y1", "y01"})
@example({"y\u0663", "y3"})
def test_names_that_differ_never_tie_and_any_can_be_compared(names):
    keys = sorted(natural_key(name) for name in names)
    assert all(first < second for first, second in itertools.pairwise(keys))


OUTSIDE = {"TRAIN/y362.jpg", "TRAIN/y475.jpg", "VAL/y689.jpg"}
"""Slices of Br35H with an outline that leaves the image, read by eye in its annotation files."""


def test_br35h_as_it_is(br35h):
    dataset = open_dataset(br35h)
    assert dataset.parts() == {"train": 500, "val": 201, "test": 100}
    assert dataset.findings == ()
    named = [record for record in dataset.records if record.case_id in OUTSIDE or record.case_id.endswith("0.jpg")]
    findings = [finding for _, _, faults in read_cases(named) for finding in faults]
    assert {finding.file for finding in findings} == OUTSIDE
    assert {finding.kind for finding in findings} == {"region-outside"}


def test_lgg_knows_its_patients_and_its_tumour_free_slices(lgg):
    dataset = open_dataset(lgg)
    assert dataset.findings == ()
    assert all(record.patient and record.patient in record.case_id for record in dataset.records)
    some = dataset.records[::20]
    empty = [not case.truth.any() for _, case, _ in read_cases(some) if case is not None]
    assert len(empty) == len(some)
    assert 0.3 < sum(empty) / len(empty) < 0.7  # half of the slices hold no tumour


# --- several datasets ---


def test_several_datasets_open_as_one(phantom_data: Path, tmp_path: Path):
    for name in ("one", "two"):
        for folder in ("images", "masks"):
            picture = np.zeros((4, 6), dtype=np.uint8)
            picture[1, 2] = 255
            write_png(tmp_path / name / "data" / folder / "a.png", picture)
        (tmp_path / name / "data" / "pairs.csv").write_text("image,mask,patient\na.png,a.png,p1\n")
    both = open_datasets([tmp_path / "one" / "data", tmp_path / "two" / "data"])
    assert [record.case_id for record in both.records] == ["data/images/a.png", "data-2/images/a.png"]
    assert [record.patient for record in both.records] == ["data/p1", "data-2/p1"]
    assert [record.source for record in both.records] == ["data", "data-2"]
    assert both.parts() == {"": 2}

    one, two = tmp_path / "one" / "data", tmp_path / "two" / "data"
    with pytest.raises(DataError) as undivided:
        both.select("val")
    assert str(undivided.value).startswith(f"{one} {two}: is not divided into parts")
    mixed = open_datasets([phantom_data, tmp_path / "one" / "data"])
    assert mixed.parts() == {"train": 11, "val": 4, "test": 5}  # what is not divided is to be learnt from
    alone = open_datasets([phantom_data])
    assert [record.case_id for record in alone.records] == [r.case_id for r in open_dataset(phantom_data).records]
    assert {record.source for record in alone.records} == {"data"}
    with pytest.raises(DataError, match="name at least one folder"):
        open_datasets([])


def test_a_record_without_truth_is_no_case(tmp_path: Path):
    write_png(tmp_path / "a.png", np.zeros((4, 6), dtype=np.uint8))
    (record,) = open_any(tmp_path).records
    with pytest.raises(DataError, match=r"a\.png: is not annotated"):
        read_case(record)


def test_negatives_are_a_source_of_cases_without_tumour(phantom_data: Path, tmp_path: Path):
    free = tmp_path / "healthy"
    (free / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        cv2.imwrite(str(free / name), np.full((5, 7), 9, dtype=np.uint8))
    dataset = open_datasets([phantom_data], negatives=free)
    records = [record for record in dataset.records if record.source == "healthy"]
    assert [(record.case_id, record.part, record.truth) for record in records] == [
        ("healthy/a.png", "train", ()),
        ("healthy/more/b.png", "train", ()),
    ]
    case, findings = read_case(records[0])
    assert case.truth.shape == (5, 7)
    assert not case.truth.any()
    assert not findings


def test_a_folder_of_negatives_without_pictures_is_refused(phantom_data: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no picture there"):
        open_datasets([phantom_data], negatives=tmp_path)


def test_a_folder_of_damaged_dicom_says_so(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "IM1").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(DataError, match="no picture that can be read; first: deep/IM1: "):
        open_any(tmp_path)


def test_a_folder_whose_pictures_have_unusable_names_says_so(tmp_path: Path):
    (tmp_path / os.fsdecode(b"\xe9.png")).write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture that can be read; first: .*its name is not UTF-8; rename it"):
        open_any(tmp_path)


def test_cases_of_the_data_are_no_negatives(tmp_path: Path):
    """Alone, the folder of images of a mask dataset holds pictures without annotation."""
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "images" / name, np.arange(96, dtype=np.uint8).reshape(8, 12))
    write_png(tmp_path / "masks" / "a.png", np.eye(8, 12, dtype=np.uint8))
    (tmp_path / "linked").symlink_to(tmp_path / "images")
    for folder in ("images", "linked"):
        with pytest.raises(DataError, match=r"holds 1 case of the data \(first: a.png\); give"):
            open_datasets([tmp_path], negatives=tmp_path / folder)
    (tmp_path / "free").mkdir()
    (tmp_path / "images" / "b.png").rename(tmp_path / "free" / "b.png")
    assert len(open_datasets([tmp_path], negatives=tmp_path / "free").records) == 2


def test_an_annotated_folder_is_no_folder_of_negatives(phantom_data: Path):
    with pytest.raises(DataError, match=r"[0-9]+ of its images are annotated, so it is not known to be tumour-free"):
        open_datasets([phantom_data / "TRAIN"], negatives=phantom_data)


def test_a_folder_given_twice_is_refused(phantom_data: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(phantom_data, target_is_directory=True)
    for again in (phantom_data, phantom_data / "TRAIN" / "..", tmp_path / "link"):
        with pytest.raises(DataError, match="is given twice; name each folder once"):
            open_datasets([phantom_data, again])


@settings(max_examples=40)
@given(names=st.lists(st.sampled_from(["a", "a-2", "a-2-2", "a-3", "b"]), min_size=2, max_size=6))
@example(names=["a", "a-2", "a"])
@example(names=["a", "a", "a-2"])
def test_no_two_cases_share_an_id_whatever_the_folders_are_called(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("sources")
    for number, name in enumerate(names):
        for folder in ("images", "masks"):
            write_image(root / str(number) / name / folder / "p.png")
    records = open_datasets([root / str(number) / name for number, name in enumerate(names)]).records
    assert len({record.case_id for record in records}) == len({record.source for record in records}) == len(names)


def divided(root: Path):
    for part, names in {"TRAIN": ["a1.png", "1.png", "2.png"], "VAL": ["1.png", "3.png"]}.items():
        for name in names:
            write_image(root / part / name)
        write_annotations(root / part / "a.json", {name: [SQUARE] for name in names})
    return open_dataset(root)


def test_named_images_are_not_learnt_from_and_counted(tmp_path: Path):
    dataset = divided(tmp_path / "data")
    (tmp_path / "names.txt").write_text("1.png\n\n  TRAIN/2.png \n")
    left = exclude(dataset, tmp_path / "names.txt")
    # a1.png only ends alike; VAL's 1.png and 3.png still measure.
    assert [record.case_id for record in left.records] == ["TRAIN/a1.png", "VAL/1.png", "VAL/3.png"]
    assert [(f.kind, f.file, f.cause) for f in left.findings] == [
        ("excluded", "TRAIN/1.png", "named in names.txt"),
        ("excluded", "TRAIN/2.png", "named in names.txt"),
    ]
    (tmp_path / "names.txt").write_text("3.png\nTRAIN/2.png\nVAL/1.png\n")
    idle = exclude(dataset, tmp_path / "names.txt")
    assert len(idle.records) == 4
    assert [(f.kind, f.severity, f.file) for f in idle.findings] == [
        ("excluded", "left out", "TRAIN/2.png"),
        ("not-excluded", "warning", "VAL/1.png"),
        ("not-excluded", "warning", "VAL/3.png"),
    ]
    assert "VAL is not trained on" in idle.findings[1].cause
    (tmp_path / "names.txt").write_text("\n")
    assert exclude(dataset, tmp_path / "names.txt").records == dataset.records


def test_every_case_is_excluded_by_its_id_alone(tmp_path: Path):
    for name in (" 1", "1", "#2", "e\\f", "'3"):
        write_image(tmp_path / f"flat/{name}.png")
        write_image(tmp_path / f"flat/{name}_mask.png")
    odd = ("a\nb", " c", "d\udce9")  # names of folders; an image of such a name is left out when it is opened
    for name in odd:
        for folder in ("images", "masks"):
            write_image(tmp_path / "plain" / folder / "p.png")  # OpenCV cannot write to a folder of such a name
        (tmp_path / "plain").rename(tmp_path / name)
    alone = open_dataset(tmp_path / "flat")
    joined = open_datasets([tmp_path / name for name in ("flat", *odd)])
    assert (len(alone.records), len(joined.records)) == (5, 8)
    for dataset in (alone, joined):
        for case_id in [record.case_id for record in dataset.records]:
            (tmp_path / "names.txt").write_text(f"{case_id}\n", encoding="utf-8")
            left = exclude(dataset, tmp_path / "names.txt").records
            assert {record.case_id for record in dataset.records} - {record.case_id for record in left} == {case_id}


def test_a_name_of_no_image_and_a_file_that_is_no_text_are_refused(tmp_path: Path):
    dataset = divided(tmp_path / "data")
    (tmp_path / "names.txt").write_text("1.png\n.png\n9.png\n")
    with pytest.raises(DataError, match=r"2 of 3 names fit no image of .*data \(first: '\.png', '9\.png'\)"):
        exclude(dataset, tmp_path / "names.txt")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"names.txt: not UTF-8 text"):
        exclude(dataset, tmp_path / "names.txt")
    with pytest.raises(DataError, match=r"nothing.txt: cannot be read \(No such file or directory\); check the path"):
        exclude(dataset, tmp_path / "nothing.txt")
