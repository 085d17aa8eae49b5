"""Which files an input means, and what their results are called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.errors import DataError
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.found_files import FoundFile, FoundFiles, PictureFile, PictureFiles
from tumortrace.inference.batch.pictures import refuse_out_among_pictures
from tumortrace.signed_png import sign_png


def touch(folder: Path, *names: str) -> Path:
    """Make empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def find_pictures(inputs: list[str]) -> tuple[list[PictureFile], list[str]]:
    """Find the pictures behind inputs, and what is skipped."""
    found = find_inputs(inputs)
    return list(found.pictures), list(found.skipped)


def test_folder_is_searched_in_natural_order_and_names_are_relative_paths_without_suffix(tmp_path: Path):
    touch(tmp_path, "y10.png", "y9.JPG", "sub/y1.tiff", "sub/deep.er/scan.v2.jpeg")
    pictures, skipped = find_pictures([str(tmp_path)])
    assert pictures == [
        PictureFile(str(tmp_path / "sub/deep.er/scan.v2.jpeg"), "sub/deep.er/scan.v2"),
        PictureFile(str(tmp_path / "sub/y1.tiff"), "sub/y1"),
        PictureFile(str(tmp_path / "y9.JPG"), "y9"),
        PictureFile(str(tmp_path / "y10.png"), "y10"),
    ]
    assert skipped == []


def test_names_that_meet_keep_their_suffix(tmp_path: Path):
    touch(tmp_path, "x.jpg", "x.png", "sub/x.png")
    pictures, _ = find_pictures([str(tmp_path)])
    assert [picture.name for picture in pictures] == ["sub/x", "x.jpg", "x.png"]


def test_names_that_meet_with_suffix_too_are_numbered(tmp_path: Path):
    touch(tmp_path, "a/x.png", "b/x.png", "c/x.png")
    pictures, _ = find_pictures([str(tmp_path / folder / "x.png") for folder in "abc"])
    assert [picture.name for picture in pictures] == ["x.png", "x.png-2", "x.png-3"]


@given(st.lists(st.sampled_from(["x.jpg", "x.png", "x.jpg.png", "x.png-2.jpg", "y.png", "a/x.png"]), max_size=8))
def test_every_file_has_a_name_of_its_own(names: list[str]):
    files = FoundFiles(FoundFile(name, 0) for name in names)
    unique = [one.name for one in PictureFiles(files, files.resolve_names())]
    assert len(set(unique)) == len(names)
    assert all(new.startswith(name.rpartition(".")[0]) for new, name in zip(unique, names, strict=True))


def test_file_is_called_by_its_own_name(tmp_path: Path):
    touch(tmp_path, "far/away/x.png")
    pictures, _ = find_pictures([str(tmp_path / "far/away/x.png")])
    assert pictures == [PictureFile(str(tmp_path / "far/away/x.png"), "x")]


def test_each_file_is_taken_once_however_often_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "scans/x.png", "scans/y.png", "scans/notes.txt")
    monkeypatch.chdir(tmp_path)
    inputs = ["scans/y.png", "scans", str(tmp_path / "scans"), "./scans/*", "scans/x.png"]
    pictures, skipped = find_pictures(inputs)
    assert pictures == [PictureFile("scans/y.png", "y"), PictureFile("scans/x.png", "x")]
    assert skipped == ["scans/notes.txt"]


def test_other_types_are_skipped_and_hidden_files_passed_over(tmp_path: Path):
    touch(tmp_path, "x.png", "notes.txt", "scan.avi", "sub/readme")
    touch(tmp_path, ".DS_Store", "._x.png", ".cache/y.png", "__MACOSX/x.png")
    pictures, skipped = find_pictures([str(tmp_path)])
    assert [picture.path for picture in pictures] == [str(tmp_path / "x.png")]
    assert skipped == [str(tmp_path / "notes.txt"), str(tmp_path / "scan.avi"), str(tmp_path / "sub/readme")]


def test_file_that_is_named_itself_is_taken_whatever_its_suffix(tmp_path: Path):
    touch(tmp_path, "scan.unknown", "x.png")
    inputs = [str(tmp_path), str(tmp_path / "scan.unknown")]
    pictures, skipped = find_pictures(inputs)
    assert [picture.name for picture in pictures] == ["x", "scan"]
    assert skipped == []


def test_links_to_files_and_folders_are_followed(tmp_path: Path):
    touch(tmp_path, "elsewhere/y.png", "scans/x.png")
    (tmp_path / "scans/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scans/z.png").symlink_to(tmp_path / "elsewhere/y.png")
    pictures, _ = find_pictures([str(tmp_path / "scans")])
    assert [picture.name for picture in pictures] == ["linked/y", "x", "z"]


def test_loop_of_links_ends_and_each_folder_is_entered_once(tmp_path: Path):
    touch(tmp_path, "x.png", "sub/y.png")
    (tmp_path / "sub/back").symlink_to(tmp_path)
    (tmp_path / "sub/self").symlink_to(tmp_path / "sub")
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    pictures, _ = find_pictures([str(tmp_path)])
    assert [picture.name for picture in pictures] == ["again/y", "x"]


@pytest.mark.parametrize("text", ["*.png", "lost.png"])
def test_link_that_leads_nowhere_is_left_to_be_reported(tmp_path: Path, text: str):
    (tmp_path / "lost.png").symlink_to(tmp_path / "none.png")
    pictures, _ = find_pictures([str(tmp_path / text)])
    assert pictures == [PictureFile(str(tmp_path / "lost.png"), "lost")]


def test_pattern_is_expanded_in_natural_order(tmp_path: Path):
    touch(tmp_path, "y10.png", "y9.png", "y9.txt", "sub/y1.png", ".y0.png")
    here, skipped = find_pictures([str(tmp_path / "y*")])
    assert [picture.name for picture in here] == ["y9", "y10"]
    assert skipped == [str(tmp_path / "y9.txt")]
    below, _ = find_pictures([str(tmp_path / "**" / "*.png")])
    assert [picture.name for picture in below] == ["y1", "y9", "y10"]


def test_pattern_without_match_is_called_one(tmp_path: Path):
    with pytest.raises(DataError, match=r"\*.tif: no file matches this pattern; check the path"):
        find_inputs([f"{tmp_path}/*.tif"])


def test_pattern_that_matches_a_folder_means_what_is_in_it(tmp_path: Path):
    touch(tmp_path, "patient1/x.png", "patient2/sub/x.png")
    pictures, _ = find_pictures([str(tmp_path / "patient*")])
    assert [picture.name for picture in pictures] == ["x", "sub/x"]


def test_name_with_brackets_is_no_pattern_where_it_exists(tmp_path: Path):
    touch(tmp_path, "scan[1]/x.png", "scan1/y.png")
    pictures, _ = find_pictures([str(tmp_path / "scan[1]")])
    assert [picture.name for picture in pictures] == ["x"]


@pytest.mark.parametrize("name", ["none.png", "none"])
def test_input_that_does_not_exist_stops_the_run(tmp_path: Path, name: str):
    touch(tmp_path, "x.png")
    with pytest.raises(DataError, match=r"none\S*: no such file or folder"):
        find_pictures([str(tmp_path), str(tmp_path / name)])


def test_inputs_without_a_picture_stop_the_run(tmp_path: Path):
    touch(tmp_path, "notes.txt", "sub/scan.avi")
    with pytest.raises(DataError, match=r"no picture there \(JPEG, PNG, .*\); 2 other files$"):
        find_pictures([str(tmp_path)])


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of this name cannot be opened; not even root can open them."""
    scandir = os.scandir

    def refuse_locked(path: str) -> Any:  # noqa: ANN401 - as os.scandir
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)


@pytest.mark.usefixtures("locked")
def test_a_folder_that_cannot_be_opened_is_named_and_the_others_are_searched(tmp_path: Path):
    touch(tmp_path, "locked.png", "locked/y.png", "sub/locked/z.png", "z.png")
    pictures, skipped = find_pictures([str(tmp_path)])
    cause = "cannot be opened (Permission denied); check the folder's permissions"
    assert pictures == [
        PictureFile(str(tmp_path / "locked"), "", f"{tmp_path / 'locked'}: {cause}"),
        PictureFile(str(tmp_path / "locked.png"), "locked"),
        PictureFile(str(tmp_path / "sub/locked"), "", f"{tmp_path / 'sub/locked'}: {cause}"),
        PictureFile(str(tmp_path / "z.png"), "z"),
    ]
    assert skipped == []


@pytest.mark.usefixtures("locked")
def test_an_input_that_cannot_be_opened_goes_beside_others_but_not_alone(tmp_path: Path):
    touch(tmp_path, "locked/y.png", "z.png")
    pictures, _ = find_pictures([str(tmp_path / "locked"), str(tmp_path / "z.png")])
    assert [(picture.name, bool(picture.fault)) for picture in pictures] == [("", True), ("z", False)]
    with pytest.raises(DataError, match=r"locked: cannot be opened \(Permission denied\)"):
        find_pictures([str(tmp_path / "locked")])


def test_a_link_to_itself_is_left_to_be_reported(tmp_path: Path):
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to("b.png")
    assert [picture.name for picture in find_pictures([str(tmp_path)])[0]] == ["a", "b"]
    assert [picture.name for picture in find_pictures([str(tmp_path / "b.png")])[0]] == ["b"]


def test_an_input_whose_name_is_too_long_says_so():
    with pytest.raises(DataError, match=r"x.png: cannot be opened \(File name too long\)"):
        find_pictures(["x" * 300 + ".png"])


def test_names_that_are_no_text_are_names(tmp_path: Path):
    (tmp_path / "\udce9.png").touch()
    (picture,) = find_pictures([str(tmp_path)])[0]
    assert os.fsencode(picture.name) == b"\xe9"


# --- where not to write ---


def test_writing_into_an_input_folder_is_refused(tmp_path: Path):
    touch(tmp_path, "scans/x.png", "other/y.png")
    inputs = [str(tmp_path / "other"), str(tmp_path / "scans")]
    for out in ("scans", "scans/masks", "other/../scans/deep/er"):
        with pytest.raises(DataError, match=r"lies inside the data folder .*scans"):
            refuse_out_among_pictures(tmp_path / out, inputs)
    with pytest.raises(DataError, match=r"lies inside the data folder .*scans"):
        refuse_out_among_pictures(tmp_path / "scans/masks", [str(tmp_path / "sca*")])


def test_writing_into_an_input_folder_through_a_link_is_refused(tmp_path: Path):
    touch(tmp_path, "scans/x.png")
    (tmp_path / "link").symlink_to(tmp_path / "scans")
    with pytest.raises(DataError, match="lies inside the data folder"):
        refuse_out_among_pictures(tmp_path / "link/masks", [str(tmp_path / "scans")])


def test_writing_elsewhere_is_allowed(tmp_path: Path):
    touch(tmp_path, "scans/x.png", "x.png", "train/notes.txt", "images/y.png")
    inputs = [str(tmp_path / "scans"), str(tmp_path / "x.png")]
    for out in ("masks", "scans2", "masks/scans"):
        refuse_out_among_pictures(tmp_path / out, inputs)


@pytest.mark.parametrize("inputs", [["scans/x.png"], ["scans/*.png"], ["elsewhere/y.png"]])
def test_writing_among_pictures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str]):
    touch(tmp_path, "scans/x.png", "elsewhere/y.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"--out scans holds pictures \(x.png\); choose a folder without"):
        refuse_out_among_pictures(Path("scans"), inputs)
    refuse_out_among_pictures(Path("scans/masks"), inputs)


def test_masks_of_ours_are_no_pictures_of_the_user(tmp_path: Path):
    touch(tmp_path, "x.png", "masks/results.json", "images/x.png")
    mask = cv2.imencode(".png", np.zeros((3, 4), np.uint8))[1].tobytes()
    (tmp_path / "masks/x_mask.png").write_bytes(sign_png(mask))
    refuse_out_among_pictures(tmp_path / "masks", [str(tmp_path / "images")])  # images/ and masks/, yet no dataset
    (tmp_path / "masks/x_mask.png").write_bytes(mask)
    with pytest.raises(DataError, match="lies inside the dataset"):
        refuse_out_among_pictures(tmp_path / "masks", [str(tmp_path / "images")])


VIA = '{"x.png1": {"filename": "x.png", "size": 1, "regions": []}}'
VIA_CSV = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"


@pytest.mark.parametrize(
    "files",
    [
        {"TRAIN/x.png": "", "TRAIN/via.json": VIA},
        {"train/x.jpg": "", "train/via_region_data.csv": VIA_CSV},
        {"x.png": "", "annotations.JSON": VIA},
        {"Valid/images/x.png": "", "Valid/masks/x.png": ""},
        {"images/x.png": "", "masks/x.png": ""},
        {"train_images/x.png": "", "train_masks/x.png": ""},
        {"imagesTr/x.png": "", "labelsTr/x.png": ""},
    ],
)
@pytest.mark.parametrize("inside", ["", "TRAIN", "new", "images", "new/deep/er"])
def test_writing_into_a_dataset_is_refused(tmp_path: Path, files: dict[str, str], inside: str):
    for name, content in {**files, "scans/x.png": ""}.items():
        path = tmp_path / "data" / name if name != "scans/x.png" else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with pytest.raises(DataError, match=r"--out .* lies inside the dataset .*data(/TRAIN)?; choose"):
        refuse_out_among_pictures(tmp_path / "data" / inside, [str(tmp_path / "scans")])
    refuse_out_among_pictures(tmp_path / "data-masks", [str(tmp_path / "scans")])
