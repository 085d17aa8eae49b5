"""Preparation of published downloads: what is made, what is named, and what an interruption leaves."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.sources.downloads import (
    IMAGE,
    MASK,
    grey,
    jpeg,
    png,
    write_figshare,
    write_lgg,
    write_mat,
    write_tree,
    zip_folder,
)
from typer.testing import CliRunner

from tumortrace import split
from tumortrace.cli import app
from tumortrace.data.dataset import open_dataset, open_negatives
from tumortrace.data.masks import read_mask
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError
from tumortrace.locks import LOCK
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.sources import prepare
from tumortrace.sources.output import JOURNAL, Record
from tumortrace.sources.prepare import SOURCES, prepare_download

PATIENT = "TCGA_CS_4941_19960909"


def snapshot(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figshare_becomes_pictures_masks_and_patients(tmp_path):
    result = prepare_download("figshare", write_figshare(tmp_path / "article"), tmp_path / "out")
    assert (result.files, result.pairs, result.patients, result.not_used) == (12, 6, 3, 1)
    assert result.findings == ()
    np.testing.assert_array_equal(read_slice(tmp_path / "out" / "images" / "0001.png").pixels, IMAGE)
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "masks" / "0001.png"), MASK.astype(bool))
    first, *_, last = read_table(tmp_path / "out")
    assert first == {
        "image": "0001.png", "mask": "0001.png", "patient": "101", "class": "glioma", "plane": "", "fold": "1",
    }  # fmt: skip
    assert (last["image"], last["patient"], last["class"], last["fold"]) == ("0006.png", "103", "meningioma", "3")


def test_what_is_prepared_opens_without_a_finding(tmp_path):
    prepare_download("figshare", write_figshare(tmp_path / "article"), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.findings == ()
    assert [(record.patient, record.tumour_class) for record in dataset.records][:3] == [
        ("101", "glioma"),
        ("101", "pituitary"),
        ("102", "meningioma"),
    ]


def test_folds_that_cannot_be_read_are_named_once_with_what_they_cost(tmp_path):
    write_mat(tmp_path / "article" / "1.mat")
    write_tree(tmp_path / "article", {"cvind.mat": b"no"})
    (finding,) = prepare_download("figshare", tmp_path / "article", tmp_path / "out").findings
    cause = "not a MATLAB 7.3 file, so the column fold stays empty (left out)"
    assert finding.line() == f"cvind.mat: {cause}; download it again"
    assert read_table(tmp_path / "out")[0]["fold"] == ""


def test_a_zip_of_zips_gives_the_same_folder(tmp_path):
    article = write_figshare(tmp_path / "article")
    packed = zip_folder(article, tmp_path / "1512427.zip")
    prepare_download("figshare", article, tmp_path / "one")
    prepare_download("figshare", packed, tmp_path / "other")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")
    assert not list(tmp_path.glob("tmp*"))


def test_a_split_keeps_the_patients_apart(tmp_path):
    rng = np.random.default_rng(3)
    for number in range(1, 13):
        phantom = draw_phantom(rng, size_hw=(128, 112), kind="bright")
        mask = np.zeros((128, 112), np.uint8)
        mask[40:60, 30:50] = 1
        fields = {"image": phantom.pixels.astype(np.int16).T, "tumorMask": mask.T}
        write_mat(tmp_path / "article" / f"{number}.mat", patient=f"P{number % 4}", **fields)
    prepare_download("figshare", tmp_path / "article", tmp_path / "out")
    patients = {f"images/{row['image']}": row["patient"] for row in read_table(tmp_path / "out")}
    sides = {(patients[case.file], case.side) for case in split(tmp_path / "out", folds=2).split.cases}
    assert {patient for patient, _ in sides} == {"P0", "P1", "P2", "P3"}
    assert {side for _, side in sides} == {"1", "2"}
    assert len(sides) == 4, "a patient is on two sides"


def test_lgg_takes_the_flair_channel_and_the_first_of_two_copies(tmp_path):
    write_lgg(tmp_path / "archive" / "kaggle_3m", PATIENT, 2)
    write_lgg(tmp_path / "archive" / "lgg-mri-segmentation" / "kaggle_3m", PATIENT, 2)
    write_tree(tmp_path / "archive", {"kaggle_3m/data.csv": b"Patient\n"})
    result = prepare_download("lgg", zip_folder(tmp_path / "archive", tmp_path / "archive.zip"), tmp_path / "out")
    assert (result.pairs, result.patients, result.not_used) == (2, 1, 1)
    assert [finding.kind for finding in result.findings] == ["duplicate-record"] * 4
    expected = grey(21)
    expected[0, 0] = 2
    np.testing.assert_array_equal(read_slice(tmp_path / "out" / "images" / f"{PATIENT}_1.png").pixels, expected)
    masks = [read_mask(tmp_path / "out" / "masks" / f"{PATIENT}_{number}.png").sum() for number in (1, 2)]
    assert masks == [3, 0]


def test_brisc_keeps_pictures_and_cuts_masks_at_half(tmp_path):
    soft = np.array([[0, 127, 128, 255, 0, 90]] * 5, np.uint8)
    name = "segmentation_task/{0}/{1}/brisc2025_{0}_0000{2}_{3}_t1.{4}"
    download = write_tree(
        tmp_path / "brisc2025",
        {
            name.format("train", "images", 1, "gl_ax", "jpg"): jpeg(grey(40)),
            name.format("train", "masks", 1, "gl_ax", "png"): png(soft),
            name.format("test", "images", 2, "pi_sa", "jpg"): jpeg(grey(50)),
            name.format("test", "masks", 2, "pi_sa", "png"): png(np.stack([soft] * 3, axis=2)),
            name.format("test", "images", 3, "me_co", "jpg"): jpeg(grey(60)),
            "classification_task/train/glioma/brisc2025_train_00001_gl_ax_t1.jpg": jpeg(grey(40)),
        },
    )
    result = prepare_download("brisc", download, tmp_path / "out")
    assert (result.pairs, result.patients, result.not_used) == (2, 0, 1)
    assert [(f.kind, f.file.rpartition("/")[2]) for f in result.findings] == [
        ("annotation-missing", "brisc2025_test_00003_me_co_t1.jpg")
    ]
    assert [(row["class"], row["plane"], row["part"]) for row in read_table(tmp_path / "out")] == [
        ("pituitary", "sagittal", "test"),
        ("glioma", "axial", "train"),
    ]
    image = tmp_path / "out" / "train" / "images" / "brisc2025_train_00001_gl_ax_t1.jpg"
    assert image.read_bytes() == jpeg(grey(40))
    mask = read_mask(tmp_path / "out" / "train" / "masks" / "brisc2025_train_00001_gl_ax_t1.png")
    np.testing.assert_array_equal(mask, soft > 127)
    assert open_dataset(tmp_path / "out").parts() == {"train": 1, "test": 1}


def test_tumour_free_slices_whose_names_differ_in_case_alone(tmp_path):
    download = tmp_path / "no"
    download.mkdir()
    for number, name in enumerate(("A.jpg", "a.jpg", "b.jpg")):
        (download / name).write_bytes(jpeg(grey(number)))
    result = prepare_download("no_tumour", download, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == ["A.jpg", "b.jpg"]
    assert [(each.file, each.kind) for each in result.findings] == [("a.jpg", "duplicate-record")]


def test_no_tumour_is_one_flat_folder(tmp_path):
    download = write_tree(
        tmp_path / "kaggle",
        {
            "Training/notumor/Tr-no_0010.jpg": jpeg(grey(1)),
            "Testing/notumor/Te-no_0011.jpg": jpeg(grey(2)),
            "Training/notumor/same.jpg": jpeg(grey(3)),
            "Testing/notumor/same.jpg": jpeg(grey(4)),
            "Testing/glioma/Te-gl_0010.jpg": jpeg(grey(5)),
        },
    )
    result = prepare_download("no_tumour", download, tmp_path / "out")
    assert (result.files, result.pairs, result.not_used) == (4, 0, 1)
    pictures = {path.name for path in (tmp_path / "out").glob("*.jpg")}
    assert pictures == {"Tr-no_0010.jpg", "Te-no_0011.jpg", "Training-same.jpg", "Testing-same.jpg"}
    assert len(open_negatives(tmp_path / "out").records) == 4
    result = prepare_download("no_tumour", download / "Testing" / "notumor", tmp_path / "class")
    assert (result.files, result.not_used) == (2, 0)


def test_br35h_is_kept_byte_for_byte(phantom_data, tmp_path):
    packed = zip_folder(phantom_data, tmp_path / "archive.zip")
    result = prepare_download("br35h", packed, tmp_path / "out")
    made = snapshot(tmp_path / "out")
    made.pop("preparation.json")
    assert made == {name: sha for name, sha in snapshot(phantom_data).items() if not name.startswith("no_tumour")}
    assert (result.files, result.not_used) == (len(made), 3)
    assert open_dataset(tmp_path / "out").parts() == {"train": 10, "val": 4, "test": 5}


def test_a_part_of_br35h_without_its_annotations_is_named(phantom_data, tmp_path):
    shutil.copytree(phantom_data, tmp_path / "download")
    for path in (tmp_path / "download" / "TEST").glob("*.json"):
        path.unlink()
    (finding,) = prepare_download("br35h", tmp_path / "download", tmp_path / "out").findings
    pictures = len(list((phantom_data / "TEST").glob("*.jpg")))
    assert finding.line() == f"TEST: {pictures} pictures, but no VIA JSON file (left out); download it again"


def test_the_real_br35h_has_identical_pixels(br35h, tmp_path):
    download = tmp_path / "download"
    for part in ("TRAIN", "VAL", "TEST"):
        (download / part).mkdir(parents=True)
        files = sorted((br35h / part).iterdir())
        for file in [*files[:6], *(each for each in files if each.suffix == ".json")]:
            if not (download / part / file.name).exists():
                (download / part / file.name).symlink_to(file)
    prepare_download("br35h", download, tmp_path / "out")
    for file in (tmp_path / "out").rglob("*.jpg"):
        original = br35h / file.parent.name / file.name
        np.testing.assert_array_equal(read_slice(file).pixels, read_slice(original).pixels)


def test_every_file_has_its_hash_and_its_origin(tmp_path):
    article = write_figshare(tmp_path / "article")
    before = snapshot(article)
    prepare_download("figshare", article, tmp_path / "out")
    assert snapshot(article) == before
    document = json.loads((tmp_path / "out" / "preparation.json").read_text(encoding="utf-8"))
    made = {name: sha for record in document["files"] for name, sha in record["sha256"].items()}
    there = snapshot(tmp_path / "out")
    assert document["pairs_sha256"] == there.pop("pairs.csv")
    there.pop("preparation.json")
    assert made == there
    assert (document["source"], document["rule"]) == ("figshare", SOURCES["figshare"].rule)
    assert document["not_used"] == ["README.txt"]
    mat = hashlib.sha256((tmp_path / "1-3" / "1.mat").read_bytes()).hexdigest()
    origin = {"brainTumorDataPublic_1-3.zip/1.mat": mat, "cvind.mat": before["cvind.mat"]}
    assert document["files"][0]["made_from"] == origin


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"tumorMask": None}, "tumorMask is missing"),
        ({"tumorMask": MASK}, "its mask 6 x 5"),
        ({"tumorMask": np.full((6, 5), 2, np.uint8)}, "other values than 0 and 1"),
        ({"tumorMask": np.zeros((6, 5), np.uint8)}, "is empty"),
        ({"image": -IMAGE.T}, "values from -2900 to 0"),
        ({"image": IMAGE.T.astype(float)}, "expected a grid of whole numbers"),
        ({"label": np.array([[4.0]])}, "expected 1, 2 or 3"),
        ({"PID": np.array([[0]], np.uint16)}, "names no patient"),
    ],
)
def test_one_bad_file_is_named_and_the_rest_is_made(changes, cause, tmp_path):
    write_mat(tmp_path / "article" / "1.mat")
    write_mat(tmp_path / "article" / "2.mat", **changes)
    result = prepare_download("figshare", tmp_path / "article", tmp_path / "out")
    assert [row["image"] for row in read_table(tmp_path / "out")] == ["0001.png"]
    (finding,) = result.findings
    assert finding.file == "2.mat"
    assert cause in finding.line()
    assert not (tmp_path / "out" / "images" / "0002.png").exists()


def test_the_command_says_what_it_made_and_exits_with_1_on_a_bad_file(tmp_path):
    write_mat(tmp_path / "article" / "1.mat")
    write_tree(tmp_path / "article", {"2.mat": b"MATLAB 5.0 MAT-file", "3.mat": b"no", "4.mat": b""})
    done = CliRunner().invoke(app, ["prepare", "figshare", str(tmp_path / "article"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "1 pair of image and mask of 1 patient written to" in done.stdout
    assert "2.mat: a MATLAB 5 file" in done.stderr
    assert "3.mat: not a MATLAB 7.3 file" in done.stderr


def test_an_interrupted_preparation_goes_on(tmp_path, monkeypatch):
    article, whole, out = write_figshare(tmp_path / "article"), tmp_path / "whole", tmp_path / "out"
    prepare_download("figshare", article, whole)
    make, made = prepare._prepare_item, []

    def stop_at_the_fourth(item, download, journal) -> Record:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(item)
        return make(item, download, journal)

    monkeypatch.setattr(prepare, "_prepare_item", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        prepare_download("figshare", article, out)
    assert not out.exists()
    first = tmp_path / "out.partial" / "images" / "0001.png"
    written = first.stat().st_mtime_ns
    (tmp_path / "out.partial" / "masks" / "0002.png").write_bytes(b"damaged")
    with (tmp_path / "out.partial" / ".preparation.jsonl").open("a") as journal:
        journal.write('\n{"sources": {"cut o')
    monkeypatch.setattr(prepare, "_prepare_item", make)
    prepare_download("figshare", article, out)
    assert snapshot(out) == snapshot(whole)
    assert (out / "images" / "0001.png").stat().st_mtime_ns == written
    assert not (tmp_path / "out.partial").exists()


def test_an_empty_journal_is_not_continued(tmp_path):
    write_mat(tmp_path / "article" / "1.mat")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / ".preparation.jsonl").touch()
    with pytest.raises(DataError, match="left behind by another preparation"):
        prepare_download("figshare", tmp_path / "article", tmp_path / "out")


def test_a_slice_that_went_bad_between_two_runs_leaves_no_file(tmp_path, monkeypatch):
    write_mat(tmp_path / "article" / "1.mat")
    write_mat(tmp_path / "article" / "2.mat")
    monkeypatch.setattr(prepare, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_download("figshare", tmp_path / "article", tmp_path / "out")
    monkeypatch.undo()
    (tmp_path / "article" / "2.mat").write_bytes(b"gone")
    prepare_download("figshare", tmp_path / "article", tmp_path / "out")
    assert set(snapshot(tmp_path / "out")) == {"images/0001.png", "masks/0001.png", "pairs.csv", "preparation.json"}


def test_what_a_preparation_left_that_was_killed_at_its_first_write_is_its_own(tmp_path):
    write_mat(tmp_path / "article" / "1.mat")
    write_tree(tmp_path / "out.partial", {f".{JOURNAL}.partial": b'{"progr', LOCK: b""})
    prepare_download("figshare", tmp_path / "article", tmp_path / "out")
    assert set(snapshot(tmp_path / "out")) == {"images/0001.png", "masks/0001.png", "pairs.csv", "preparation.json"}


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    write_mat(tmp_path / "article" / "1.mat")
    write_tree(tmp_path / "out", {"mine.txt": b"mine"})
    write_tree(tmp_path / "other.partial", {"mine.txt": b"mine"})
    with pytest.raises(DataError, match="is there already; choose another --out"):
        prepare_download("figshare", tmp_path / "article", tmp_path / "out")
    with pytest.raises(DataError, match="no preparation wrote it"):
        prepare_download("figshare", tmp_path / "article", tmp_path / "other")
    with pytest.raises(DataError, match="lies inside the data folder"):
        prepare_download("figshare", tmp_path / "article", tmp_path / "article" / "out")
    assert (tmp_path / "out" / "mine.txt").read_bytes() == b"mine"


def test_a_folder_without_a_name_is_not_replaced(tmp_path, monkeypatch):
    write_mat(tmp_path / "article" / "1.mat")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=r"^--out \. has no name of its own; name a new folder, for example figshare$"):
        prepare_download("figshare", tmp_path / "article", Path())


def test_another_download_is_refused_in_one_line(tmp_path):
    write_tree(tmp_path / "download", {"a/b.txt": b"x"})
    for name in SOURCES:
        with pytest.raises(DataError, match=f"not the download of {name}; expected"):
            prepare_download(name, tmp_path / "download", tmp_path / "out")
    with pytest.raises(DataError, match="no such file or folder"):
        prepare_download("lgg", tmp_path / "nosuch.zip", tmp_path / "out")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match="cannot be read as a zip"):
        prepare_download("lgg", tmp_path / "broken.zip", tmp_path / "out")
    os.mkfifo(tmp_path / "pipe.zip")  # to read it would wait for ever
    with pytest.raises(DataError, match="a named pipe, not a file"):
        prepare_download("lgg", tmp_path / "pipe.zip", tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


def test_a_zip_is_read_with_care(tmp_path):
    picture = jpeg(grey(9))
    with zipfile.ZipFile(tmp_path / "kaggle.zip", "w") as archive:
        archive.writestr("Testing/notumor/good.jpg", picture)
        archive.writestr("../notumor/outside.jpg", picture)
        archive.writestr("__MACOSX/notumor/._good.jpg", b"resource")
        archive.writestr("Testing/notumor/empty.jpg", b"")
        archive.writestr("Testing/inner.zip", b"no zip")
    data = bytearray((tmp_path / "kaggle.zip").read_bytes())
    result = prepare_download("no_tumour", tmp_path / "kaggle.zip", tmp_path / "out")
    assert result.files == 1
    causes = {finding.file: finding.cause for finding in result.findings}
    assert causes.keys() == {"../notumor/outside.jpg", "Testing/inner.zip", "Testing/notumor/empty.jpg"}
    data[data.index(picture) + 30] ^= 0xFF  # the checksum of the only good picture no longer fits
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(DataError, match="no file of it could be used"):
        prepare_download("no_tumour", tmp_path / "damaged.zip", tmp_path / "none")


def test_a_file_beyond_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    write_mat(tmp_path / "article" / "1.mat")
    write_mat(tmp_path / "article" / "2.mat", filler=np.zeros((300, 300)))
    packed = zip_folder(tmp_path / "article", tmp_path / "article.zip")
    monkeypatch.setattr(prepare, "MOST_BYTES", (tmp_path / "article" / "1.mat").stat().st_size)
    for download, out in ((tmp_path / "article", "one"), (packed, "other")):
        (finding,) = prepare_download("figshare", download, tmp_path / out).findings
        assert finding.file == "2.mat"
        assert "more than the limit" in finding.cause


def test_a_picture_that_does_not_decode_is_named(phantom_data, tmp_path):
    picture = next((phantom_data / "TRAIN").glob("*.jpg"))
    _, cut = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8))
    download = write_tree(
        tmp_path / "archive",
        {"VAL/good.jpg": picture.read_bytes(), "VAL/cut.jpg": cut.tobytes()[:900], "VAL/via.json": b"{}"},
    )
    write_tree(download, {"TEST/via.json": b"{not json", "TEST/good.jpg": picture.read_bytes()})
    result = prepare_download("br35h", download, tmp_path / "out")
    assert {finding.file for finding in result.findings} == {"VAL/cut.jpg", "TEST/via.json"}
    assert result.files == 3
