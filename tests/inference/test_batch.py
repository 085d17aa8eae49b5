"""Which files an input means, what their results are called, and a record for each whatever happens."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.slice import Slice, write_png
from tumortrace.errors import DataError
from tumortrace.inference import batch
from tumortrace.inference.batch import Picture, find_pictures, refuse_out_in_inputs, segment_pictures
from tumortrace.inference.model import Model
from tumortrace.inference.segmenter import Prediction, predict

BLOCK = np.s_[2:4, 6:10]


@pytest.fixture
def model(open_hand_model: Callable[..., Model]) -> Model:
    """Calls what is bright tumour, on an 8 x 12 grid; a constant picture has none."""
    return open_hand_model(Recipe((8, 12), threshold=0.55))


def touch(folder: Path, *names: str) -> Path:
    """Make empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write_block(path: Path, *, scale: int = 1) -> Path:
    """Write a picture of 8 x 12 (times scale) pixels with a bright block."""
    pixels = np.full((8, 12), 10, dtype=np.uint8)
    pixels[BLOCK] = 200
    write_png(path, pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    return path


def read_stored(path: Path) -> NDArray[Any]:
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored is not None, path
    return stored


def without_seconds(results: dict[str, Any]) -> dict[str, Any]:
    images = [{key: value for key, value in image.items() if key != "seconds"} for image in results["images"]]
    return {**results, "images": images}


# --- which files, and their names ---


def test_folder_is_searched_in_natural_order_and_names_are_relative_paths_without_suffix(tmp_path: Path):
    touch(tmp_path, "y10.png", "y9.JPG", "sub/y1.tiff", "sub/deep.er/scan.v2.jpeg")
    pictures, skipped = find_pictures([str(tmp_path)])
    assert pictures == [
        Picture(tmp_path / "sub/deep.er/scan.v2.jpeg", "sub/deep.er/scan.v2"),
        Picture(tmp_path / "sub/y1.tiff", "sub/y1"),
        Picture(tmp_path / "y9.JPG", "y9"),
        Picture(tmp_path / "y10.png", "y10"),
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
    unique = batch._unique_names([Path(name) for name in names])
    assert len(set(unique)) == len(names)
    assert all(new.startswith(name.rpartition(".")[0]) for new, name in zip(unique, names, strict=True))


def test_file_is_called_by_its_own_name(tmp_path: Path):
    touch(tmp_path, "far/away/x.png")
    pictures, _ = find_pictures([str(tmp_path / "far/away/x.png")])
    assert pictures == [Picture(tmp_path / "far/away/x.png", "x")]


def test_each_file_is_taken_once_however_often_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "scans/x.png", "scans/y.png", "scans/notes.txt")
    monkeypatch.chdir(tmp_path)
    inputs = ["scans/y.png", "scans", str(tmp_path / "scans"), "./scans/*", "scans/x.png"]
    pictures, skipped = find_pictures(inputs)
    assert pictures == [Picture(Path("scans/y.png"), "y"), Picture(Path("scans/x.png"), "x")]
    assert skipped == [Path("scans/notes.txt")]


def test_other_types_are_skipped_and_hidden_files_passed_over(tmp_path: Path):
    touch(tmp_path, "x.png", "notes.txt", "scan.dcm", ".DS_Store", "._x.png", ".cache/y.png", "sub/readme")
    pictures, skipped = find_pictures([str(tmp_path)])
    assert [picture.path for picture in pictures] == [tmp_path / "x.png"]
    assert skipped == [tmp_path / "notes.txt", tmp_path / "scan.dcm", tmp_path / "sub/readme"]


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
    assert pictures == [Picture(tmp_path / "lost.png", "lost")]


def test_pattern_is_expanded_in_natural_order(tmp_path: Path):
    touch(tmp_path, "y10.png", "y9.png", "y9.txt", "sub/y1.png", ".y0.png")
    here, skipped = find_pictures([str(tmp_path / "y*")])
    assert [picture.name for picture in here] == ["y9", "y10"]
    assert skipped == [tmp_path / "y9.txt"]
    below, _ = find_pictures([str(tmp_path / "**" / "*.png")])
    assert [picture.name for picture in below] == ["y1", "y9", "y10"]


def test_pattern_that_matches_a_folder_means_what_is_in_it(tmp_path: Path):
    touch(tmp_path, "patient1/x.png", "patient2/sub/x.png")
    pictures, _ = find_pictures([str(tmp_path / "patient*")])
    assert [picture.name for picture in pictures] == ["x", "sub/x"]


def test_name_with_brackets_is_no_pattern_where_it_exists(tmp_path: Path):
    touch(tmp_path, "scan[1]/x.png", "scan1/y.png")
    pictures, _ = find_pictures([str(tmp_path / "scan[1]")])
    assert [picture.name for picture in pictures] == ["x"]


@pytest.mark.parametrize("name", ["none.png", "none", "none*.png"])
def test_input_that_does_not_exist_stops_the_run(tmp_path: Path, name: str):
    touch(tmp_path, "x.png")
    with pytest.raises(DataError, match=r"none\S*: no such file or folder"):
        find_pictures([str(tmp_path), str(tmp_path / name)])


def test_inputs_without_a_picture_stop_the_run(tmp_path: Path):
    touch(tmp_path, "notes.txt", "sub/scan.dcm")
    with pytest.raises(DataError, match=r"no picture there \(JPEG, PNG or TIFF\); 2 other files"):
        find_pictures([str(tmp_path)])


def test_folder_that_cannot_be_opened_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "x.png", "locked/y.png")
    scandir = os.scandir

    def refuse_locked(path: str) -> Any:  # noqa: ANN401 - as os.scandir
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(DataError, match=r"locked: cannot be opened \(Permission denied\)"):
        find_pictures([str(tmp_path)])


# --- results ---


def test_results_have_exactly_the_keys_of_the_contract(tmp_path: Path, model: Model):
    picture = write_block(tmp_path / "scans/x.png")
    out = tmp_path / "masks"
    results = segment_pictures(model, [Picture(picture, "x")], out=out, skipped=[tmp_path / "notes.txt"])
    assert (out / "results.json").read_text() == json.dumps(results, indent=2) + "\n"
    assert list(results) == ["model", "images", "volumes", "skipped"]
    assert results["model"] == {"name": "bright", "sha256": model.sha256, "threshold": 0.55}
    assert results["volumes"] == []
    assert results["skipped"] == [str(tmp_path / "notes.txt")]
    (image,) = results["images"]
    seconds = image.pop("seconds")
    (lesion,) = image.pop("lesions")
    assert 0 <= seconds < 60
    assert image == {
        "file": str(picture),
        "slice_index": None,
        "mask": "x_mask.png",
        "status": "ok",
        "reason": "",
        "tumour": True,
        "confidence": 1.0,
        "review": False,
        "area_px": 8,
        "area_mm2": None,
    }
    assert lesion == {
        "area_px": 8,
        "area_mm2": None,
        "centroid_xy": pytest.approx((7.5, 2.5)),
        "bbox_xyxy": (6, 2, 10, 4),
        "diameter_px": pytest.approx(20**0.5),
        "diameter_mm": None,
        "confidence": pytest.approx(1.0),
    }


@pytest.mark.parametrize("scale", [1, 2])
def test_mask_is_0_and_255_in_the_pictures_own_size(tmp_path: Path, model: Model, scale: int):
    picture = write_block(tmp_path / "x.png", scale=scale)
    segment_pictures(model, [Picture(picture, "deep/er/x")], out=tmp_path / "masks")
    mask = read_stored(tmp_path / "masks/deep/er/x_mask.png")
    expected = np.zeros((8, 12), dtype=np.uint8)
    expected[BLOCK] = 255
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected.repeat(scale, axis=0).repeat(scale, axis=1))


def test_overlay_is_drawn_on_demand_alone(tmp_path: Path, model: Model):
    pictures = [Picture(write_block(tmp_path / "x.png"), "x")]
    segment_pictures(model, pictures, out=tmp_path / "without")
    segment_pictures(model, pictures, out=tmp_path / "with", overlay=True)
    assert sorted(path.name for path in (tmp_path / "without").iterdir()) == ["results.json", "x_mask.png"]
    assert sorted(path.name for path in (tmp_path / "with").iterdir()) == [
        "results.json",
        "x_mask.png",
        "x_overlay.png",
    ]
    overlay = read_stored(tmp_path / "with/x_overlay.png")
    assert overlay.shape == (8, 12, 3)
    assert overlay[2, 6].tolist() == [0, 176, 255]  # amber, in OpenCV's order of blue, green, red


def test_picture_without_tumour_has_an_empty_mask(tmp_path: Path, model: Model):
    write_png(tmp_path / "x.png", np.full((5, 9), 60, dtype=np.uint8))
    results = segment_pictures(model, [Picture(tmp_path / "x.png", "x")], out=tmp_path / "masks")
    (image,) = results["images"]
    assert (image["status"], image["tumour"], image["area_px"], image["lesions"]) == ("ok", False, 0, [])
    assert read_stored(tmp_path / "masks/x_mask.png").tolist() == [[0] * 9] * 5


def test_areas_are_in_square_millimetres_where_the_picture_has_a_spacing(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
):
    with_block = np.full((8, 12), 10, dtype=np.uint8)
    with_block[BLOCK] = 200
    slices = {"x.png": with_block, "none.png": np.full((8, 12), 10, dtype=np.uint8)}
    monkeypatch.setattr(batch, "read_slice", lambda path: Slice(slices[path.name], path.name, (0.5, 0.25)))
    pictures = [Picture(tmp_path / name, name) for name in slices]
    with_tumour, without = segment_pictures(model, pictures, out=tmp_path / "masks")["images"]
    assert with_tumour["area_mm2"] == with_tumour["lesions"][0]["area_mm2"] == 1.0
    assert without["area_mm2"] == 0.0


def test_broken_file_is_named_and_the_others_are_done(tmp_path: Path, model: Model):
    names = ["a", "broken", "empty", "missing", "z"]
    for name in ("a", "z"):
        write_block(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "empty.png").touch()
    pictures = [Picture(tmp_path / f"{name}.png", name) for name in names]
    images = segment_pictures(model, pictures, out=tmp_path / "masks", overlay=True)["images"]
    assert [image["status"] for image in images] == ["ok", "error", "error", "error", "ok"]
    assert [image["mask"] for image in images] == ["a_mask.png", None, None, None, "z_mask.png"]
    for image, cause in zip(images[1:4], ("truncated", "empty", "cannot be read"), strict=True):
        assert image["file"] in image["reason"]
        assert cause in image["reason"]
        assert list(image) == list(images[0])
        assert (image["tumour"], image["confidence"], image["review"]) == (None, None, True)
        assert (image["area_px"], image["area_mm2"], image["lesions"]) == (None, None, [])
    written = {path.name for path in (tmp_path / "masks").iterdir()}
    assert written == {"a_mask.png", "a_overlay.png", "z_mask.png", "z_overlay.png", "results.json"}


def test_interrupted_run_keeps_what_was_finished(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch):
    pictures = [Picture(write_block(tmp_path / f"{name}.png"), name) for name in "abc"]

    def predict_until_interrupted(model: Model, image: Slice) -> Prediction:
        if image.case_id == "b.png":
            raise KeyboardInterrupt
        return predict(model, image)

    monkeypatch.setattr(batch, "predict", predict_until_interrupted)
    out = tmp_path / "masks"
    with pytest.raises(KeyboardInterrupt):
        segment_pictures(model, pictures, out=out)
    (image,) = json.loads((out / "results.json").read_text())["images"]
    assert (image["file"], image["status"]) == (str(tmp_path / "a.png"), "ok")
    assert sorted(path.name for path in out.iterdir()) == ["a_mask.png", "results.json"]


def test_same_inputs_give_the_same_results(tmp_path: Path, model: Model):
    rng = np.random.default_rng(3)
    for name, size_hw in (("a", (20, 31)), ("b", (7, 5))):
        write_png(tmp_path / f"{name}.png", rng.integers(0, 255, size_hw, dtype=np.uint8))
    pictures = [Picture(tmp_path / f"{name}.png", name) for name in "ab"]
    first, second = (segment_pictures(model, pictures, out=tmp_path / out) for out in ("first", "second"))
    assert without_seconds(first) == without_seconds(second)
    for name in "ab":
        masks = [(tmp_path / out / f"{name}_mask.png").read_bytes() for out in ("first", "second")]
        assert masks[0] == masks[1]


# --- where to write ---


def test_writing_into_an_input_folder_is_refused(tmp_path: Path):
    touch(tmp_path, "scans/x.png", "other/y.png")
    inputs = [str(tmp_path / "other"), str(tmp_path / "scans")]
    for out in ("scans", "scans/masks", "other/../scans/deep/er"):
        with pytest.raises(DataError, match=r"lies inside the data folder .*scans"):
            refuse_out_in_inputs(tmp_path / out, inputs)
    with pytest.raises(DataError, match=r"lies inside the data folder .*scans"):
        refuse_out_in_inputs(tmp_path / "scans/masks", [str(tmp_path / "sca*")])


def test_writing_into_an_input_folder_through_a_link_is_refused(tmp_path: Path):
    touch(tmp_path, "scans/x.png")
    (tmp_path / "link").symlink_to(tmp_path / "scans")
    with pytest.raises(DataError, match="lies inside the data folder"):
        refuse_out_in_inputs(tmp_path / "link/masks", [str(tmp_path / "scans")])


@pytest.mark.parametrize("name", ["x_mask.png", "x_overlay.png"])
def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path, model: Model, name: str):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    (tmp_path / name).write_text("a user's own")
    pictures, _ = find_pictures([str(tmp_path / "x.png")])
    with pytest.raises(DataError, match=rf"{name}: exists, and no results.json"):
        segment_pictures(model, pictures, out=tmp_path)
    assert (tmp_path / name).read_text() == "a user's own"


def test_results_of_an_earlier_run_are_replaced(tmp_path: Path, model: Model):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    pictures, _ = find_pictures([str(tmp_path / "x.png")])
    for _ in range(2):
        segment_pictures(model, pictures, out=tmp_path)
    assert (tmp_path / "x_mask.png").is_file()


def test_a_picture_that_can_no_longer_be_read_leaves_no_old_mask(tmp_path: Path, model: Model):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    pictures, _ = find_pictures([str(tmp_path / "x.png")])
    segment_pictures(model, pictures, out=tmp_path / "out", overlay=True)
    (tmp_path / "x.png").write_text("broken")
    results = segment_pictures(model, pictures, out=tmp_path / "out")
    assert results["images"][0]["status"] == "error"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]


def test_writing_elsewhere_is_allowed(tmp_path: Path):
    touch(tmp_path, "scans/x.png", "x.png")
    inputs = [str(tmp_path / "scans"), str(tmp_path / "x.png")]
    for out in ("masks", "scans2", "masks/scans"):
        refuse_out_in_inputs(tmp_path / out, inputs)
    refuse_out_in_inputs(tmp_path, [str(tmp_path / "scans")])
