"""Every layout that published sets have, and every file that no layout uses: each is used or named."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortrace.data.cases import read_case, read_cases
from tumortrace.data.dataset import Dataset, open_any, open_dataset, open_datasets, open_negatives
from tumortrace.data.findings import describe_main_cause, left_out
from tumortrace.data.folders import list_tree
from tumortrace.errors import DataError

SIZE_HW = (8, 10)


def write_slice(path: Path, grey: int = 90) -> None:
    """A picture of three values, as no mask has."""
    pixels = np.full(SIZE_HW, grey, np.uint8)
    pixels[0, :2] = 1, 7
    write(path, pixels)


def write_mask(path: Path, row: int = 2) -> None:
    """A mask with two pixels in a row."""
    mask = np.zeros(SIZE_HW, np.uint8)
    mask[row, 3:5] = 255
    write(path, mask)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    ok, data = cv2.imencode(suffix if suffix in {".png", ".tif", ".jpg", ".bmp"} else ".png", pixels)
    assert ok
    path.write_bytes(data.tobytes())


def via(names: dict[str, int], **fields: object) -> str:
    """A VIA file with a rectangle of 3 x 2 pixels for each name; the number is the size of the file."""
    shape = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 2}
    region = {"shape_attributes": shape, "region_attributes": {}}
    records = {f"{n}{size}": {"filename": n, "size": size, "regions": [region], **fields} for n, size in names.items()}
    return json.dumps(records)


def cases(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    return [(record.case_id, record.part, record.patient) for record in dataset.records]


def named(dataset: Dataset) -> set[tuple[str, str]]:
    return {(finding.kind, finding.file) for finding in dataset.findings}


# --- layouts of published sets ---


def test_lgg_as_it_unzips(tmp_path):
    for patient in ("TCGA_CS_4941_19960909", "TCGA_HT_7690_19960312"):
        for number in (1, 2):
            folder = tmp_path / "kaggle_3m" / patient
            write_slice(folder / f"{patient}_{number}.tif")
            write_mask(folder / f"{patient}_{number}_mask.tif", row=number)
    (tmp_path / "kaggle_3m" / "data.csv").write_text("Patient,RNASeqCluster\nTCGA_CS_4941,2\n")
    (tmp_path / "kaggle_3m" / "README.md").write_text("# LGG")
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [
        (f"kaggle_3m/{patient}/{patient}_{number}.tif", "", patient)
        for patient in ("TCGA_CS_4941_19960909", "TCGA_HT_7690_19960312")
        for number in (1, 2)
    ]
    assert [int(np.flatnonzero(read_case(r)[0].truth.any(axis=1))[0]) for r in dataset.records] == [1, 2, 1, 2]
    assert named(dataset) == {("not-annotations", "kaggle_3m/data.csv")}
    assert dataset.unannotated == ()


def test_br35h_as_it_unzips(tmp_path):
    root = tmp_path / "Br35H-Mask-RCNN"
    for part, names in {"TRAIN": ["y0.jpg", "y1.jpg"], "VAL": ["y2.jpg"], "TEST": ["y3.jpg"]}.items():
        for name in names:
            write_slice(root / part / name)
        (root / part / f"annotations_{part.lower()}.json").write_text(via(dict.fromkeys(names, -1)))
    (root / "annotations_all.json").write_text(via({f"y{number}.jpg": -1 for number in range(4)}))
    for name in ("yes/y0.jpg", "yes/y1.jpg", "no/no0.jpg", "no/no1.jpg", "pred/pred0.jpg"):
        write_slice(tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert dataset.parts() == {"train": 2, "val": 1, "test": 1}
    assert named(dataset) == {
        ("annotations-repeated", "Br35H-Mask-RCNN/annotations_all.json"),
        ("annotation-missing", "yes/"),
        ("annotation-missing", "no/"),
        ("annotation-missing", "pred/pred0.jpg"),
    }
    assert len(dataset.unannotated) == 5


def test_brisc_as_it_unzips(tmp_path):
    for part in ("train", "test"):
        task = tmp_path / "brisc2025" / "segmentation_task" / part
        write_slice(task / "images" / f"brisc2025_{part}_00001_gl_ax_t1.jpg")
        write_mask(task / "masks" / f"brisc2025_{part}_00001_gl_ax_t1.png")
        for name in ("a.jpg", "b.jpg"):
            write_slice(tmp_path / "brisc2025" / "classification_task" / part / "no_tumor" / name)
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [
        (f"brisc2025/segmentation_task/{part}/images/brisc2025_{part}_00001_gl_ax_t1.jpg", part, None)
        for part in ("train", "test")
    ]
    assert named(dataset) == {("annotation-missing", "brisc2025/classification_task/")}
    assert [record.part for record in dataset.unannotated] == ["test", "test", "train", "train"]


@pytest.mark.parametrize(
    ("image", "mask", "part"),
    [
        ("train/images/a.png", "train/masks/a.png", "train"),
        ("Training/imgs/a.png", "Training/labels/a.png", "train"),
        ("valid/Image/a.jpg", "valid/Mask/a.png", "val"),
        ("validation/images/a.png", "validation/masks/a_mask.png", "val"),
        ("TESTING/images/a.png", "TESTING/segmentations/a_seg.png", "test"),
        ("images/train/a.png", "labels/train/a.png", "train"),
        ("set/test_images/a.png", "set/test_masks/a.png", "test"),
        ("imagesTs/c_0000.png", "labelsTs/c.png", "test"),
        ("images/A.PNG", "masks/a.png", ""),
        ("imagesTr/c.png", "labelsTr/c.png", ""),
        ("train_images/c.png", "train_masks/c.png", ""),
        ("Images/a.png", "Ground Truth/a.png", ""),
        ("images/p1/a.png", "masks/a.png", ""),
        ("a.png", "a_mask.png", ""),
        ("a.png", "mask_a.png", ""),
        ("a.png", "a_seg.tif", ""),
        ("image_1.png", "mask_1.png", ""),
        ("deep/er/a.tif", "deep/er/A-Label.png", ""),
    ],
)
def test_images_and_masks_are_found_wherever_they_lie(tmp_path, image, mask, part):
    write_slice(tmp_path / image)
    write_mask(tmp_path / mask, row=5)
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [(image, part, None)]
    assert np.argwhere(read_case(dataset.records[0])[0].truth).tolist() == [[5, 3], [5, 4]]
    assert dataset.findings == ()


def test_parts_of_one_name_in_several_spellings_are_all_opened(tmp_path):
    for folder in ("TRAIN", "train", "val", "Valid", "testing"):
        write_slice(tmp_path / folder / "a.png")
        (tmp_path / folder / "via.JSON").write_text(via({"a.png": -1}))
    dataset = open_dataset(tmp_path)
    assert dataset.parts() == {"train": 2, "val": 2, "test": 1}
    assert dataset.findings == ()


def test_a_table_at_the_top_names_masks_and_patients_of_the_parts(tmp_path):
    for part in ("train", "test"):
        write_slice(tmp_path / part / "images" / "a.jpg")
        write_mask(tmp_path / part / "masks" / "other.png")
    (tmp_path / "pairs.csv").write_text(
        "image,mask,patient,part\ntrain/images/a.jpg,train/masks/other.png,Ann,train\n"
        "test\\images\\a.jpg,test\\masks\\other.png,ann,test\n"
    )
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [("train/images/a.jpg", "train", "Ann"), ("test/images/a.jpg", "test", "Ann")]
    assert dataset.findings == ()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("00.png", "00.png"),
        ("images/00.png", "masks/00.png"),
        ("IMAGES\\00.PNG", ".\\masks\\00.png"),
        ("data/images/00.png", "data/masks/00.png"),
        ("00", "00"),
    ],
)
def test_tables_spell_paths_in_many_ways(tmp_path, image, mask):
    write_slice(tmp_path / "data" / "images" / "00.png")
    write_mask(tmp_path / "data" / "masks" / "00.png")
    (tmp_path / "data" / "Pairs.CSV").write_text(f"image;mask;patient\r\n{image};{mask};p 1\r\n")
    dataset = open_dataset(tmp_path / "data")
    assert cases(dataset) == [("images/00.png", "", "p 1")]
    assert dataset.findings == ()


def test_a_row_never_means_a_picture_of_another_folder(tmp_path):
    write_slice(tmp_path / "images" / "p1" / "s.png")
    write_mask(tmp_path / "masks" / "p1" / "s.png")
    write_slice(tmp_path / "images" / "b.png")
    write_mask(tmp_path / "masks" / "b.png")
    (tmp_path / "pairs.csv").write_text("image,mask\np2/s.png,p2/s.png\nb.png,gone.png\n")
    with pytest.raises(DataError, match="not one usable case"):
        open_dataset(tmp_path)


def test_a_table_without_a_mask_column_names_the_patients(tmp_path):
    write_slice(tmp_path / "images" / "a.png")
    write_mask(tmp_path / "masks" / "a.png")
    (tmp_path / "pairs.csv").write_text("filename,PatientID\na.png,  P  7 \n")
    assert cases(open_dataset(tmp_path)) == [("images/a.png", "", "P 7")]


def test_a_row_without_a_mask_says_so_and_nothing_of_a_mask_of_its_name(tmp_path):
    for name in ("a", "b"):
        write_slice(tmp_path / f"images/{name}.png")
        write_mask(tmp_path / f"masks/{name}.png")
    (tmp_path / "pairs.csv").write_text("image,mask\na.png,a.png\nb.png,\n")
    causes = {finding.file: finding.cause for finding in open_dataset(tmp_path).findings}
    assert causes["images/b.png"] == "its row in pairs.csv names no mask"


@pytest.mark.parametrize("mask", ["mask", "note"])
def test_a_table_names_the_class_and_plane_of_each_case(tmp_path, mask):
    for name in ("a.png", "b.png"):
        write_slice(tmp_path / "images" / name)
        write_mask(tmp_path / "masks" / name)
    (tmp_path / "pairs.csv").write_text(
        f"image,{mask},patient,class,plane\na.png,a.png,p,glioma,axial\nb.png,b.png,p,,\n"
    )
    records = open_dataset(tmp_path).records
    assert [(record.tumour_class, record.plane) for record in records] == [("glioma", "axial"), ("", "")]


def test_of_two_folders_of_masks_the_other_is_named(tmp_path):
    write_slice(tmp_path / "images" / "a.png")
    for folder in ("gt", "masks"):
        write_mask(tmp_path / folder / "a.png")
    dataset = open_dataset(tmp_path)
    assert [record.truth.parent.name for record in dataset.records] == ["gt"]
    (finding,) = dataset.findings
    assert finding.line().startswith("masks/: 1 mask in a further folder of masks; those in gt/ are used (left out)")


@pytest.mark.parametrize("header", ["part", "Split", "subset"])
def test_a_table_names_the_parts(tmp_path, header):
    for name in "abcd":
        write_slice(tmp_path / "images" / f"{name}.png")
        write_mask(tmp_path / "masks" / f"{name}.png")
    rows = f"image;mask;patient;{header}\na;a;p1;TRAIN\nb;b;p2; validation\nc;c;p3;testing\nd;d;p4;7\n"
    (tmp_path / "pairs.csv").write_text(rows)
    dataset = open_dataset(tmp_path)
    assert {record.case_id: record.part for record in dataset.records} == {
        "images/a.png": "train",
        "images/b.png": "val",
        "images/c.png": "test",
    }
    assert named(dataset) == {("outside-parts", "images/d.png")}


def test_a_table_lists_images_and_masks_that_lie_together(tmp_path):
    write_slice(tmp_path / "a.png")
    write_mask(tmp_path / "tumour of a.png")
    (tmp_path / "pairs.csv").write_text("image,mask\na.png,tumour of a.png\n")
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [("a.png", "", None)]
    assert dataset.findings == ()


def test_a_dataset_of_nnu_net_in_pictures_has_its_labels_united_or_chosen_by_value_or_name(tmp_path):
    """Of the second slice, which lacks the label, a warning says that it counts as free of tumour."""
    for number, row in enumerate([2, 4]):
        write_slice(tmp_path / "imagesTr" / f"c_{number:03}_0000.png")
        labels = np.zeros(SIZE_HW, np.uint8)
        labels[row, 3:6] = [1, 1, 2] if number == 0 else 1
        write(tmp_path / "labelsTr" / f"c_{number:03}.png", labels)
    names = {"labels": {"background": 0, "edema": 1, "Core": 2}, "file_ending": ".png", "numTraining": 2}
    (tmp_path / "dataset.json").write_text(json.dumps(names))
    assert open_dataset(tmp_path).findings == ()
    for label, areas, kinds in (
        (None, [3, 3], ["labels-united"]),
        ("2", [1, 0], ["label-absent"]),
        ("core", [1, 0], ["label-absent"]),
        ("1", [2, 3], []),
        ("Edema", [2, 3], []),
    ):
        dataset = open_dataset(tmp_path, label=label)
        read = list(read_cases(dataset.records))
        assert [case.truth.sum() for _, case, _ in read if case] == areas
        findings = [*dataset.findings, *(finding for _, _, found in read for finding in found)]
        assert [finding.kind for finding in findings] == kinds
    assert named(open_dataset(tmp_path, label="necrosis")) == {("labels-missing", "imagesTr/c_000_0000.png")}


def test_one_mask_serves_one_picture_in_a_table_too(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write_slice(tmp_path / "images" / name)
    write_mask(tmp_path / "masks" / "m.png")
    write_mask(tmp_path / "masks" / "c.png")
    (tmp_path / "pairs.csv").write_text("image,mask\na.png,m.png\nb.png,m.png\nc.png,c.png\n")
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [("images/c.png", "", None)]
    assert named(dataset) == {("mask-shared", "images/a.png"), ("mask-shared", "images/b.png")}


# --- annotation files ---


def test_annotations_beside_or_above_their_images(tmp_path):
    for file in ("via.json", "annotations/via.json", "images/via.json"):
        root = tmp_path / file.replace("/", "-")
        write_slice(root / "images" / "p1" / "a.png")
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(via({"a.png": -1}))
        dataset = open_dataset(root)
        assert cases(dataset) == [("images/p1/a.png", "", None)]
        assert dataset.findings == ()


def test_the_folder_that_a_project_names_is_searched_first(tmp_path):
    for folder in ("old", "new"):
        write_slice(tmp_path / folder / "a.png")
    project = {"_via_settings": {"core": {"default_filepath": ".\\new\\"}}, "_via_img_metadata": None}
    (tmp_path / "p.json").write_text(json.dumps(project | {"_via_img_metadata": json.loads(via({"a.png": -1}))}))
    assert cases(open_dataset(tmp_path)) == [("new/a.png", "", None)]


def test_names_match_in_any_letter_case_and_normal_form(tmp_path):
    for name in ("Zo\u00eb.PNG", "b.png"):
        write_slice(tmp_path / name)
    decomposed = unicodedata.normalize("NFD", "zo\u00eb.png")
    (tmp_path / "ANNOTATIONS.JSON").write_bytes(b"\xef\xbb\xbf" + via({decomposed: -1, ".\\b.png": -1}).encode())
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [("Zo\u00eb.PNG", "", None), ("b.png", "", None)]
    assert dataset.findings == ()


def test_of_two_images_of_one_name_the_size_tells_which_is_meant(tmp_path):
    write_slice(tmp_path / "p1" / "a.png")
    write(tmp_path / "p2" / "a.png", np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8))
    size = (tmp_path / "p2" / "a.png").stat().st_size
    (tmp_path / "via.json").write_text(via({"a.png": size}))
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [("p2/a.png", "", "p2")]
    assert named(dataset) == {("annotation-missing", "p1/a.png")}
    (tmp_path / "via.json").write_text(via({"a.png": 7}))
    with pytest.raises(DataError, match=r"2 images have this name \(p1/a.png, p2/a.png\)"):
        open_dataset(tmp_path)


def write_twins(folder: Path, *sizes: int | None) -> int:
    """Records of a.png, the n-th with a rectangle in row n, of the size given or the file's; returns that."""
    write_slice(folder / "a.png")
    actual = (folder / "a.png").stat().st_size
    records = {}
    for row, size in enumerate(sizes):
        shape = {"name": "rect", "x": 0, "y": row, "width": 2, "height": 1}
        record = {
            "filename": "a.png",
            "size": actual if size is None else size,
            "regions": [{"shape_attributes": shape}],
        }
        records[f"{row}"] = record
    (folder / "via.json").write_text(json.dumps(records))
    return actual


def test_of_two_records_the_one_with_the_size_of_the_file_is_used(tmp_path):
    write_twins(tmp_path, 5, None, -1)
    dataset = open_dataset(tmp_path)
    assert np.argwhere(read_case(dataset.records[0])[0].truth).tolist() == [[1, 0], [1, 1]]
    (finding,) = dataset.findings
    assert (finding.kind, finding.severity, finding.file) == ("duplicate-record", "warning", "a.png")
    assert finding.cause == "3 records have this name; the one with the file's size is used"


def test_of_two_records_that_cannot_be_told_apart_neither_is_used(tmp_path):
    actual = write_twins(tmp_path / "a", 5, 6)
    with pytest.raises(
        DataError, match=rf"2 records have this name, and none the file's size of {actual} bytes \(5, 6\)"
    ):
        open_dataset(tmp_path / "a")
    for number, sizes in enumerate([(None, None), (-1, -1)]):
        write_twins(tmp_path / str(number), *sizes)
        with pytest.raises(DataError, match="2 records have this name and size, but different regions"):
            open_dataset(tmp_path / str(number))


def test_json_beside_csv_of_the_same_annotations_counts_once(tmp_path):
    write_slice(tmp_path / "a.png")
    (tmp_path / "via.json").write_text(via({"a.png": 5}))
    shape = '"{""name"":""rect"",""x"":1,""y"":2,""width"":3,""height"":2}"'
    (tmp_path / "via.csv").write_text(f"filename,file_size,region_shape_attributes\na.png,5,{shape}\n")
    dataset = open_dataset(tmp_path)
    assert len(dataset.records) == 1
    assert ("annotations-repeated", "via.csv") in named(dataset)


# --- labels ---


def write_labelled(folder: Path, labels: dict[str, list[str | None]]) -> None:
    """Images with one rectangle of two pixels a label, each in a row of its own."""
    records = {}
    for name, listed in labels.items():
        write_slice(folder / name)
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": 0, "y": row, "width": 2, "height": 1},
                "region_attributes": {} if label is None else {"label": label},
            }
            for row, label in enumerate(listed)
        ]
        records[name] = {"filename": name, "size": -1, "regions": regions}
    (folder / "via.json").write_text(json.dumps(records))


def test_several_labels_are_named_or_one_is_chosen(tmp_path):
    write_labelled(tmp_path, {"a.png": ["Tumour", "skull"], "b.png": ["skull"], "c.png": ["tumour ", None]})
    united = open_dataset(tmp_path)
    assert len(united.records) == 3
    (finding,) = united.findings
    assert (finding.kind, finding.severity, finding.file) == ("labels-united", "warning", "via.json")
    assert "label: skull (2), Tumour (1), tumour (1), no label (1)" in finding.cause

    chosen = open_dataset(tmp_path, label="tumour")
    assert [record.case_id for record in chosen.records] == ["a.png", "c.png"]
    assert [np.argwhere(read_case(r)[0].truth)[:, 0].tolist() for r in chosen.records] == [[0, 0], [0, 0]]
    assert [(f.kind, f.file) for f in chosen.findings] == [("annotation-missing", "b.png")]
    assert "no region of 1 is labelled 'tumour'" in chosen.findings[0].cause
    with pytest.raises(DataError, match=r"no region is labelled 'tumor'; it has label: skull \(2\), Tumour \(1\)"):
        open_datasets([tmp_path], label="tumor")


def test_labels_that_differ_from_part_to_part_are_named_too(tmp_path):
    write_labelled(tmp_path / "TRAIN", {"a.png": ["tumour", "tumour"]})
    write_labelled(tmp_path / "VAL", {"b.png": ["skull"]})
    (finding,) = open_dataset(tmp_path).findings
    assert (finding.kind, finding.file) == ("labels-united", "TRAIN/via.json")
    assert "label: tumour (2), skull (1)" in finding.cause


def test_a_label_says_nothing_of_files_without_labels(tmp_path):
    write_labelled(tmp_path / "one", {"a.png": ["tumour", "skull"]})
    write_labelled(tmp_path / "other", {"a.png": [None, None]})
    dataset = open_datasets([tmp_path / "one", tmp_path / "other"], label="tumour")
    assert [int(case.truth.sum()) for _, case, _ in read_cases(dataset.records) if case] == [2, 4]
    assert [(finding.kind, finding.severity) for finding in dataset.findings] == [("labels-missing", "warning")]
    assert "--label tumour chooses nothing" in dataset.findings[0].cause
    one_label = open_dataset(tmp_path / "other")
    assert one_label.findings == ()


# --- what is hidden, linked, or no file ---


@pytest.mark.parametrize("labelled", ["TRAIN", "VAL"])
def test_a_label_says_nothing_of_a_part_without_labels_whichever_is_opened_first(tmp_path, labelled):
    for part in ("TRAIN", "VAL"):
        write_labelled(tmp_path / part, {"a.png": ["tumour", "skull"] if part == labelled else [None, None]})
    dataset = open_dataset(tmp_path, label="tumour")
    drawn = {case.record.case_id: int(case.truth.sum()) for _, case, _ in read_cases(dataset.records) if case}
    assert drawn == {f"{part}/a.png": 2 if part == labelled else 4 for part in ("TRAIN", "VAL")}


def test_hidden_folders_are_never_data_at_any_depth(tmp_path):
    write_slice(tmp_path / "a.png")
    for hidden in (".Trash-1000/files/t.png", "x/.cache/deep/er/t.png", "__MACOSX/t.png", "x/@eaDir/a.png/THUMB.jpg"):
        write_slice(tmp_path / hidden)
    (tmp_path / ".vscode").mkdir()
    (tmp_path / ".vscode" / "settings.json").write_text("{")
    for dataset in (open_any(tmp_path), open_negatives(tmp_path)):
        assert [record.case_id for record in dataset.records] == ["a.png"]
        assert dataset.findings == ()


def test_links_are_followed_at_any_depth_and_loops_end(tmp_path):
    write_slice(tmp_path / "elsewhere" / "a" / "1.png")
    write_slice(tmp_path / "elsewhere" / "a" / "b" / "2.png")
    pictures = tmp_path / "pictures"
    write_slice(pictures / "x.png")
    (pictures / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (pictures / "again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "a" / "up").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (pictures / "self").symlink_to(pictures, target_is_directory=True)
    assert [record.case_id for record in open_any(pictures).records] == ["again/a/1.png", "again/a/b/2.png", "x.png"]


def test_what_is_no_file_is_named(tmp_path):
    write_slice(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    write_slice(tmp_path / "line\nbreak.png")
    os.link(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xe9.png")
    dataset = open_any(tmp_path)
    assert [record.case_id for record in dataset.records] == ["a.png"]
    assert {(f.kind, f.file, f.cause) for f in dataset.findings} == {
        ("unreadable", "pipe.png", "not a regular file (a pipe, socket or device)"),
        ("unreadable", "dead.png", "a link that leads nowhere"),
        ("unreadable", "self.png", "a link that leads nowhere"),
        ("unsafe-filename", r"line\nbreak.png", "its name holds control characters"),
        ("unsafe-filename", r"\udce9.png", "its name is not UTF-8"),
    }


def test_pictures_of_every_kind_are_read_and_other_kinds_named(tmp_path):
    for name in ("a.bmp", "b.PNG", "c.tif"):
        write_slice(tmp_path / name)
    (tmp_path / "d.nrrd").write_bytes(b"x")
    (tmp_path / "e.nrrd").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "LICENSE").write_text("x")
    (tmp_path / "README.md").write_text("x")
    dataset = open_any(tmp_path)
    assert [record.case_id for record in dataset.records] == ["a.bmp", "b.PNG", "c.tif"]
    assert {(f.kind, f.file, f.cause) for f in dataset.findings} == {
        ("not-read", "d.nrrd", ".nrrd files are not read; there are 2"),
        ("not-read", "notes.txt", ".txt files are not read"),
    }


# --- masks are never slices ---


def test_masks_and_overlays_that_segment_wrote_are_neither_slices_nor_truth(tmp_path):
    for name in ("a.png", "p/b.png", "a_overlay.png", "p/b_overlay.png"):
        write_slice(tmp_path / name)
    for name in ("a_mask.png", "p/b_mask.png"):
        write_mask(tmp_path / name)
    results = {
        "model": {"name": "default", "sha256": "0" * 64, "threshold": 0.5},
        "images": [{"file": "a.png", "mask": "a_mask.png"}, {"file": "p/b.png", "mask": "p/b_mask.png"}],
        "volumes": [],
        "skipped": [],
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    for dataset in (open_any(tmp_path), open_negatives(tmp_path)):
        assert [record.case_id for record in dataset.records] == ["a.png", "p/b.png"]
        kinds = {(f.kind, f.file) for f in dataset.findings}
        assert kinds == {("not-a-slice", f"{stem}_{what}.png") for stem in ("a", "p/b") for what in ("mask", "overlay")}
    with pytest.raises(DataError, match="not one usable case"):
        open_dataset(tmp_path)


def test_label_pictures_are_not_slices_whatever_their_folder_is_called(tmp_path):
    for name in ("c0.png", "c1.png"):
        write_slice(tmp_path / "photos" / name)
        write_mask(tmp_path / "truths" / name)
    dataset = open_any(tmp_path)
    assert [record.case_id for record in dataset.records] == ["photos/c0.png", "photos/c1.png"]
    assert named(dataset) == {("looks-like-masks", "truths/")}
    with pytest.raises(DataError, match=r"masks by the look of it, not slices \(2 pictures of"):
        open_any(tmp_path / "truths")


def test_a_mask_that_is_called_so_alone_is_no_slice(tmp_path):
    for name in ("P1/flair.png", "P1/t1.png"):
        write_slice(tmp_path / name)
    write_mask(tmp_path / "P1" / "seg.png")
    dataset = open_any(tmp_path)
    assert [record.case_id for record in dataset.records] == ["P1/flair.png", "P1/t1.png"]
    assert named(dataset) == {("not-a-slice", "P1/seg.png")}


@pytest.mark.parametrize(("images", "masks"), [("", ""), ("images/", "masks/")])
def test_an_image_with_several_masks_is_not_used_with_the_first_alone(tmp_path, images, masks):
    for name in ("a (1)", "b"):
        write_slice(tmp_path / f"{images}{name}.png")
        write_mask(tmp_path / f"{masks}{name}_mask.png")
    write_mask(tmp_path / f"{masks}a (1)_mask_1.png", row=5)
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == [f"{images}b.png"]
    assert named(dataset) == {("mask-divided", f"{images}a (1).png")}


def test_masks_without_images_are_named(tmp_path):
    write_slice(tmp_path / "a.png")
    write_mask(tmp_path / "labels" / "b.png")
    dataset = open_any(tmp_path)
    assert [record.case_id for record in dataset.records] == ["a.png"]
    assert named(dataset) == {("image-missing", "labels/b.png")}
    assert dataset.findings[0].remedy == "give both one name, in folders images/ and masks/, or list both in pairs.csv"


@pytest.mark.parametrize(("name", "remedy"), [("1.mat", "tumortrace prepare figshare"), ("a.nrrd", "scans as NIfTI")])
def test_what_to_do_with_files_that_are_not_read(tmp_path, name, remedy):
    write_slice(tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"x")
    (finding,) = (finding for finding in open_any(tmp_path).findings if finding.kind == "not-read")
    assert remedy in finding.remedy


# --- messages ---


def test_the_most_frequent_cause_comes_first(tmp_path):
    (tmp_path / "via.json").write_text(via({f"y{number}.jpg": -1 for number in range(5)}))
    write_slice(tmp_path / "a.png")
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: not one usable case; first: y0.jpg: annotated, but there is no such image (5 of 5 faults are of "
        "this kind); add the image or drop its record"
    )


def test_damaged_annotations_are_the_cause_and_not_the_pictures_without_them(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write_slice(tmp_path / name)
    (tmp_path / "via.json").write_text(via({"a.png": -1})[:-9])
    for opener in (open_dataset, open_any):
        with pytest.raises(DataError, match=r"via\.json: not JSON"):
            opener(tmp_path)


def test_a_part_without_annotations_is_named_and_its_pictures_are_kept(tmp_path):
    write_slice(tmp_path / "TRAIN" / "a.png")
    (tmp_path / "TRAIN" / "via.json").write_text(via({"a.png": -1}))
    write_slice(tmp_path / "test" / "t.png")
    write_slice(tmp_path / "Validation" / "v.png")
    (tmp_path / "Validation" / "via.json").write_text("{")
    dataset = open_dataset(tmp_path)
    assert named(dataset) == {("part-unusable", "test"), ("part-unusable", "Validation")}
    assert [(record.case_id, record.part) for record in dataset.unannotated] == [
        ("Validation/v.png", "val"),
        ("test/t.png", "test"),
    ]
    assert "via.json: not JSON" in str(dataset.why_unusable("val"))
    assert dataset.why_unusable("train") is None
    with pytest.raises(DataError, match="no annotations"):
        dataset.select("test")


def test_a_dataset_whose_only_part_is_unusable_is_named(tmp_path):
    write_slice(tmp_path / "TRAIN" / "a.png")
    with pytest.raises(DataError) as without:
        open_dataset(tmp_path)
    assert str(without.value).startswith(f"{tmp_path / 'TRAIN'}: no annotations (VIA")
    (tmp_path / "TRAIN" / "via.json").write_text("{")
    with pytest.raises(DataError) as damaged:
        open_dataset(tmp_path)
    assert str(damaged.value).startswith(f"{tmp_path / 'TRAIN' / 'via.json'}: not JSON")


def test_cases_outside_the_parts_are_named(tmp_path):
    for folder in ("TRAIN", "extra"):
        write_slice(tmp_path / folder / "a.png")
        (tmp_path / folder / "via.json").write_text(via({"a.png": -1}))
    dataset = open_dataset(tmp_path)
    assert cases(dataset) == [("TRAIN/a.png", "train", None)]
    assert named(dataset) == {("outside-parts", "extra/a.png")}


def test_sources_keep_their_unannotated_pictures(tmp_path):
    for source in ("one", "two"):
        write_slice(tmp_path / source / "images" / "a.png")
        write_mask(tmp_path / source / "masks" / "a.png")
        write_slice(tmp_path / source / "images" / "forgotten.png")
    dataset = open_datasets([tmp_path / "one", tmp_path / "two"])
    assert [record.case_id for record in dataset.unannotated] == [
        "one/images/forgotten.png",
        "two/images/forgotten.png",
    ]
    assert all(record.truth is None for record in dataset.unannotated)


# --- nothing is lost ---

folder_names = st.sampled_from(["images", "masks", "TRAIN", "val", "p1", "other", "labelsTr", "imagesTr"])
file_names = st.sampled_from(["a.png", "b.PNG", "a_mask.png", "b-seg.png", "c.bmp", "via.json", "pairs.csv", "x.nii"])
paths = st.lists(folder_names, max_size=3).flatmap(lambda parts: file_names.map(lambda name: "/".join([*parts, name])))


@settings(max_examples=60)
@given(files=st.sets(paths, min_size=1, max_size=12))
def test_every_file_is_used_or_named(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("any")
    for file in files:
        if file.endswith("json"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(via({"a.png": -1, "p1/b.png": -1}))
        elif file.endswith("csv"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("image,mask\na.png,a_mask.png\n")
        else:
            write_slice(root / file)
    try:
        dataset = open_dataset(root)
    except DataError:
        return
    used = {record.case_id for record in dataset.records}
    used |= {record.truth.relative_to(root).as_posix() for record in dataset.records if isinstance(record.truth, Path)}
    findings = " ".join(f"{finding.file} {finding.cause}" for finding in dataset.findings)
    pictures = set(list_tree(root).pictures)
    folders = {finding.file.rstrip("/") for finding in dataset.findings}
    for file in pictures - used:
        above = {parent.as_posix() for parent in Path(file).parents}
        assert file in findings or Path(file).name in findings or folders & above, file
    masks = [record.truth for record in dataset.records if isinstance(record.truth, Path)]
    assert len(set(masks)) == len(masks)


def test_causes_that_differ_in_names_alone_are_one():
    damaged = [
        left_out("unreadable", f"{n}.png", f"its mask masks/{n}.png is cut ({n} bytes)", "copy it") for n in (1, 2)
    ]
    findings = [left_out("unreadable", "0.png", "the file is empty", "copy it"), *damaged]
    assert describe_main_cause(findings) == (
        "first: 1.png: its mask masks/1.png is cut (1 bytes) (2 of 3 faults are of this kind); copy it"
    )
    assert describe_main_cause(findings[:1]) == "first: 0.png: the file is empty; copy it"
    assert describe_main_cause([]) == ""


def test_paths_of_another_computer_are_matched_by_folder_and_by_name(tmp_path):
    for name in ("p1/s.png", "p2/s.png", "alone.png", "q1/twin.png", "q2/twin.png"):
        write_slice(tmp_path / name)
    names = ["C:\\data\\p1\\s.png", "/home/b/set/p2/s.png", "C:\\other\\alone.png", "/home/b/twin.png", "/etc/gone.png"]
    (tmp_path / "v.json").write_text(via(dict.fromkeys(names, -1)))
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["alone.png", "p1/s.png", "p2/s.png"]
    assert named(dataset) >= {("image-ambiguous", "home/b/twin.png"), ("image-missing", "etc/gone.png")}


def test_a_record_of_another_patient_is_not_used_for_the_name_alone(tmp_path):
    write_slice(tmp_path / "p8" / "1.png")
    write_slice(tmp_path / "P7" / "2.png")
    (tmp_path / "v.json").write_text(via({"C:\\data\\p7\\1.png": -1, "C:\\data\\p7\\2.png": -1}))
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == ["P7/2.png"]
    assert ("image-missing", "data/p7/1.png") in named(dataset)
