"""A mask for each picture, and a record for each whatever happens."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice import Slice
from tumortrace.errors import DataError, ModelError
from tumortrace.files import write_atomically
from tumortrace.inference.batch import segment_picture
from tumortrace.inference.batch.find_inputs import Inputs, find_inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.inputs import segment_inputs
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction
from tumortrace.inference.results import unit_files
from tumortrace.inference.results.describe import describe_failure
from tumortrace.inference.results.results_json import PARTIAL, ResultsWriter, open_results
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.segmenter import Segmenter
from tumortrace.locks import lock_folder

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")

BLOCK = np.s_[2:4, 6:10]


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    """Calls what is bright tumour, on an 8 x 12 grid; a constant picture has none. Turns nothing away."""
    return Segmenter(open_hand_model(Recipe((8, 12), threshold=0.55)), gate=False)


def pictures_of(path: Path) -> Sequence[PictureFile]:
    return find_inputs([str(path)]).pictures


def segment(
    segmenter: Segmenter,
    pictures: Sequence[PictureFile],
    out: Path,
    *,
    workers: int = 1,
    skipped: tuple[str, ...] = (),
    **settings: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Segment, and read what the results say."""
    inputs = Inputs(pictures, skipped=skipped)
    segment_all(segmenter, inputs, out=out, settings=SegmentSettings(**settings), workers=workers)
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


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


RESULT_FILES = {"results.json", "results.csv"}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def without_seconds(results: dict[str, Any]) -> dict[str, Any]:
    images = [{key: value for key, value in image.items() if key != "seconds"} for image in results["images"]]
    return {**results, "images": images}


# --- results ---


def test_results_have_exactly_the_keys_of_the_contract(tmp_path: Path, segmenter: Segmenter):
    picture = write_block(tmp_path / "scans/x.png")
    out = tmp_path / "masks"
    results = segment(segmenter, [PictureFile(str(picture), "x")], out, skipped=(str(tmp_path / "notes.txt"),))
    text = (out / "results.json").read_text()
    assert text.splitlines()[7] == "    " + json.dumps(results["images"][0])  # a line a picture
    assert list(results) == ["model", "images", "volumes", "skipped"]
    assert results["model"] == {"name": "bright", "sha256": segmenter.model.sha256, "threshold": 0.55}
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
        "reason": "small picture (12 x 8 px)",
        "tumour": True,
        "confidence": 1.0,
        "review": True,
        "plane": None,
        "plane_confidence": 0.0,
        "contrast": None,
        "contrast_confidence": 0.0,
        "area_px": 8,
        "area_mm2": None,
        "prompt": None,
    }
    assert lesion == {
        "area_px": 8,
        "area_mm2": None,
        "centroid_xy": pytest.approx((7.5, 2.5)),
        "bbox_xyxy": [6, 2, 10, 4],
        "diameter_px": pytest.approx(20**0.5),
        "diameter_mm": None,
        "confidence": pytest.approx(1.0),
    }


@pytest.mark.parametrize("scale", [1, 2])
def test_mask_is_0_and_255_in_the_pictures_own_size(tmp_path: Path, segmenter: Segmenter, scale: int):
    picture = write_block(tmp_path / "x.png", scale=scale)
    segment(segmenter, [PictureFile(str(picture), "deep/er/x")], tmp_path / "masks")
    mask = read_stored(tmp_path / "masks/deep/er/x_mask.png")
    expected = np.zeros((8, 12), dtype=np.uint8)
    expected[BLOCK] = 255
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected.repeat(scale, axis=0).repeat(scale, axis=1))


def test_overlay_is_drawn_on_demand_alone(tmp_path: Path, segmenter: Segmenter):
    pictures = [PictureFile(str(write_block(tmp_path / "x.png")), "x")]
    segment(segmenter, pictures, tmp_path / "without")
    segment(segmenter, pictures, tmp_path / "with", overlay=True)
    assert names_in(tmp_path / "without") == {*RESULT_FILES, "x_mask.png"}
    assert names_in(tmp_path / "with") == {*RESULT_FILES, "x_mask.png", "x_overlay.png"}
    overlay = read_stored(tmp_path / "with/x_overlay.png")
    assert overlay.shape == (8, 12, 3)
    assert overlay[2, 6].tolist() == [0, 176, 255]  # amber, in OpenCV's order of blue, green, red


def test_picture_without_tumour_has_an_empty_mask(tmp_path: Path, segmenter: Segmenter):
    write_png(tmp_path / "x.png", np.full((5, 9), 60, dtype=np.uint8))
    results = segment(segmenter, [PictureFile(str(tmp_path / "x.png"), "x")], tmp_path / "masks")
    (image,) = results["images"]
    assert (image["status"], image["tumour"], image["area_px"], image["lesions"]) == ("ok", False, 0, [])
    assert read_stored(tmp_path / "masks/x_mask.png").tolist() == [[0] * 9] * 5


def test_a_stated_spacing_gives_sizes_in_millimetres(tmp_path: Path, segmenter: Segmenter):
    """The block is 2 rows of 0.5 mm by 4 columns of 0.25 mm: 1 mm2, and its diagonal is the root of 1 + 1."""
    picture = PictureFile(str(write_block(tmp_path / "x.png")), "x")
    (image,) = segment(segmenter, [picture], tmp_path / "masks", spacing_mm=(0.5, 0.25))["images"]
    (lesion,) = image["lesions"]
    assert (image["area_px"], image["area_mm2"], lesion["area_mm2"]) == (8, 1.0, 1.0)
    assert lesion["diameter_mm"] == pytest.approx(2**0.5)
    assert lesion["diameter_px"] == pytest.approx(20**0.5)
    (image,) = segment(segmenter, [picture], tmp_path / "swapped", spacing_mm=(0.25, 0.5))["images"]
    assert image["lesions"][0]["diameter_mm"] == pytest.approx((0.25 + 4) ** 0.5)
    assert (
        "x.png,x_mask.png,ok,small picture (12 x 8 px),true,1.0,true,8,1.0,1,"
        in (tmp_path / "masks/results.csv").read_text()
    )


@pytest.mark.parametrize(
    ("spacing_mm", "cause"),
    [
        ((0.0, 1.0), "--spacing-mm 0 1; give two positive numbers"),
        (
            (500.0, 500.0),
            "--spacing-mm 500 500: no scan has such pixels; give millimetres, 0.02 to 20",
        ),  # in micrometres
        ((0.0005, 0.0005), "--spacing-mm 0.0005 0.0005: no scan has such pixels"),  # in metres
    ],
)
def test_a_spacing_in_another_unit_is_refused(tmp_path: Path, spacing_mm: tuple[float, float], cause: str):
    with pytest.raises(DataError, match=cause):
        segment_inputs([tmp_path], out=tmp_path / "masks", model="fast", spacing_mm=spacing_mm)


def test_a_spacing_for_volumes_alone_is_refused(tmp_path: Path):
    """They state their own, so the one that is given would be without effect."""
    nib.save(nib.Nifti1Image(np.zeros((24, 20, 3), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    with pytest.raises(DataError, match=r"scan.nii.gz: --spacing-mm is for pictures, and this is a volume; omit it"):
        segment_inputs([tmp_path / "scan.nii.gz"], out=tmp_path / "masks", model="fast", spacing_mm=(0.5, 0.5))
    assert not (tmp_path / "masks").exists()


def test_areas_are_in_square_millimetres_where_the_picture_has_a_spacing(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
):
    with_block = np.full((8, 12), 10, dtype=np.uint8)
    with_block[BLOCK] = 200
    slices = {"x.png": with_block, "none.png": np.full((8, 12), 10, dtype=np.uint8)}
    monkeypatch.setattr(
        segment_picture, "read_slice", lambda path, **_: Slice(slices[Path(path).name], Path(path).name, (0.5, 0.25))
    )
    pictures = [PictureFile(str(write_block(tmp_path / name)), name) for name in slices]
    with_tumour, without = segment(segmenter, pictures, tmp_path / "masks")["images"]
    assert with_tumour["area_mm2"] == with_tumour["lesions"][0]["area_mm2"] == 1.0
    assert without["area_mm2"] == 0.0


def test_broken_file_is_named_and_the_others_are_done(tmp_path: Path, segmenter: Segmenter):
    names = ["a", "broken", "empty", "missing", "z"]
    for name in ("a", "z"):
        write_block(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "empty.png").touch()
    pictures = [PictureFile(str(tmp_path / f"{name}.png"), name) for name in names]
    images = segment(segmenter, pictures, tmp_path / "masks", overlay=True)["images"]
    assert [image["status"] for image in images] == ["ok", "error", "error", "error", "ok"]
    assert [image["mask"] for image in images] == ["a_mask.png", None, None, None, "z_mask.png"]
    for image, cause in zip(images[1:4], ("truncated", "empty", "cannot be read"), strict=True):
        assert image["file"] in image["reason"]
        assert cause in image["reason"]
        assert list(image) == list(images[0])
        assert (image["tumour"], image["confidence"], image["review"]) == (None, None, True)
        assert (image["area_px"], image["area_mm2"], image["lesions"]) == (None, None, [])
    written = {"a_mask.png", "a_overlay.png", "z_mask.png", "z_overlay.png"}
    assert names_in(tmp_path / "masks") == {*RESULT_FILES, *written}


def test_interrupted_run_keeps_what_was_finished(tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch):
    pictures = [PictureFile(str(write_block(tmp_path / f"{name}.png")), name) for name in "abc"]

    def predict_until_interrupted(self: Segmenter, image: Slice) -> Prediction:
        if image.case_id == "b.png":
            raise KeyboardInterrupt
        return predict(self, image)

    predict = Segmenter.predict
    monkeypatch.setattr(Segmenter, "predict", predict_until_interrupted)
    out = tmp_path / "masks"
    with pytest.raises(KeyboardInterrupt):
        segment(segmenter, pictures, out)
    (image,) = json.loads((out / "results.json").read_text())["images"]
    assert (image["file"], image["status"]) == (str(tmp_path / "a.png"), "ok")
    assert names_in(out) == {*RESULT_FILES, "a_mask.png"}


def test_until_the_end_the_old_results_stand_and_each_record_is_on_disk(tmp_path: Path, segmenter: Segmenter):
    (tmp_path / "results.json").write_text("old")
    with open_results(segmenter.model, ["notes.txt"], out=tmp_path) as results:
        for count, name in enumerate("ab", start=1):
            results.add(UnitRecord((describe_failure("broken", file=name),)))
            partial = json.loads(
                (tmp_path / PARTIAL).read_text()
            )  # complete after each record, for when the disk fills
            assert [image["file"] for image in partial["images"]] == ["a", "b"][:count]
        assert (tmp_path / "results.json").read_text() == "old"
    assert [image["file"] for image in json.loads((tmp_path / "results.json").read_text())["images"]] == ["a", "b"]
    assert not (tmp_path / PARTIAL).exists()


def test_a_run_that_has_not_ended_leaves_no_results(tmp_path: Path, segmenter: Segmenter):
    with open_results(segmenter.model, [], out=tmp_path / "masks"):
        assert not (tmp_path / "masks/results.json").exists()


def test_same_inputs_give_the_same_results(tmp_path: Path, segmenter: Segmenter):
    rng = np.random.default_rng(3)
    for name, size_hw in (("a", (20, 31)), ("b", (7, 5))):
        write_png(tmp_path / f"{name}.png", rng.integers(0, 255, size_hw, dtype=np.uint8))
    pictures = [PictureFile(str(tmp_path / f"{name}.png"), name) for name in "ab"]
    first, second = (segment(segmenter, pictures, tmp_path / out) for out in ("first", "second"))
    assert without_seconds(first) == without_seconds(second)
    for name in "ab":
        masks = [(tmp_path / out / f"{name}_mask.png").read_bytes() for out in ("first", "second")]
        assert masks[0] == masks[1]


# --- one picture that cannot be segmented ---


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelError("bright.onnx: gives NaN or infinity"), "b.png: bright.onnx: gives NaN or infinity"),
        (DataError("@: damaged; copy it again"), "b.png: damaged; copy it again"),
        (MemoryError(), "b.png: not enough memory for this picture; reduce its size or free memory"),
        (OSError(5, "Input/output error"), "b.png: cannot be read (Input/output error); check the path and its"),
        (cv2.error("OpenCV(4): oh\n no"), "b.png: cannot be segmented (error: OpenCV(4): oh no); save it again"),
        (ZeroDivisionError("by zero"), "b.png: cannot be segmented (ZeroDivisionError: by zero); save it again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("workers", [1, 3])
def test_whatever_a_picture_does_is_its_own_record_and_the_others_go_on(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, workers: int
):
    read = segment_picture.read_slice

    def read_or_fail(path: Path, **options: Any) -> Slice:  # noqa: ANN401
        if path.name != "b.png":
            return read(path, **options)
        raise DataError(str(error).replace("@", str(path))) if "@" in str(error) else error

    monkeypatch.setattr(segment_picture, "read_slice", read_or_fail)
    pictures = [PictureFile(str(write_block(tmp_path / f"{name}.png")), name) for name in "abc"]
    images = segment(segmenter, pictures, tmp_path / "masks", workers=workers, overlay=True)["images"]
    assert [image["status"] for image in images] == ["ok", "error", "ok"]
    assert images[1]["reason"].startswith(f"{tmp_path}/{reason}")
    assert "\n" not in images[1]["reason"]
    assert 0 <= images[1]["seconds"] < 60
    masks = {f"{name}_{kind}.png" for name in "ac" for kind in ("mask", "overlay")}
    assert names_in(tmp_path / "masks") == {*RESULT_FILES, *masks}


@POSIX
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "scans/a.png")
    os.mkfifo(tmp_path / "scans/pipe.png")  # to read it would wait for ever
    (tmp_path / "scans/self.png").symlink_to("self.png")
    (tmp_path / "scans/zero.png").symlink_to("/dev/zero")  # has no end
    pictures = pictures_of(tmp_path / "scans")
    images = segment(segmenter, pictures, tmp_path / "masks")["images"]
    assert [image["status"] for image in images] == ["ok", "error", "error", "error"]
    assert "pipe.png: a named pipe, not a file" in images[1]["reason"]
    assert "self.png" in images[2]["reason"]
    assert "symbolic link" in images[2]["reason"]
    assert "zero.png: a device, not a file" in images[3]["reason"]


def test_a_reason_names_a_file_once_however_it_is_called(tmp_path: Path, segmenter: Segmenter):
    path = tmp_path / "a\n\udce9.png"
    path.write_text("no picture")
    (image,) = segment(segmenter, [PictureFile(str(path), "a")], tmp_path / "masks")["images"]
    assert image["file"] == str(path)
    assert image["reason"].startswith(rf"{tmp_path}/a\n\udce9.png: not a picture")


def test_a_folder_that_cannot_be_opened_is_a_record_without_files(tmp_path: Path, segmenter: Segmenter):
    picture = write_block(tmp_path / "a.png")
    pictures = [PictureFile("locked", "", "locked: cannot be opened"), PictureFile(str(picture), "a")]
    for _ in range(2):
        locked, a = segment(segmenter, pictures, tmp_path / "masks")["images"]
        assert (locked["file"], locked["status"], locked["reason"]) == ("locked", "error", "locked: cannot be opened")
        assert a["status"] == "ok"
        assert names_in(tmp_path / "masks") == {*RESULT_FILES, "a_mask.png"}


def test_a_name_that_the_file_system_does_not_take_is_the_pictures_own_fault(tmp_path: Path, segmenter: Segmenter):
    """Of 255 bytes ``_mask.png`` takes 9 and ``_overlay.png`` 12."""
    names = ["a", "x" * 243, "x" * 246, "z"]
    pictures = [PictureFile(str(write_block(tmp_path / "a.png")), name) for name in names]
    images = segment(segmenter, pictures, tmp_path / "masks")["images"]
    assert [image["status"] for image in images] == ["ok", "ok", "ok", "ok"]
    images = segment(segmenter, pictures, tmp_path / "overlays", overlay=True)["images"]
    assert [image["status"] for image in images] == ["ok", "ok", "error", "ok"]
    assert "a.png: the files for it cannot be written (File name too long)" in images[2]["reason"]
    masks = {f"{name}_{kind}.png" for name in ("a", "x" * 243, "z") for kind in ("mask", "overlay")}
    assert names_in(tmp_path / "overlays") == {*RESULT_FILES, *masks}


def test_a_mask_that_is_in_the_way_of_a_folder_is_the_pictures_own_fault(tmp_path: Path, segmenter: Segmenter):
    pictures = [PictureFile(str(write_block(tmp_path / "a.png")), name) for name in ("x", "x_mask.png/y", "z")]
    images = segment(segmenter, pictures, tmp_path / "masks")["images"]
    assert [image["status"] for image in images] == ["ok", "error", "ok"]
    assert names_in(tmp_path / "masks") == {*RESULT_FILES, "x_mask.png", "z_mask.png"}


# --- a disk that fills, an interruption ---


@pytest.mark.parametrize("failing", ["b_mask.png", "b_overlay.png", "results.json"])
@pytest.mark.parametrize("earlier_runs", [0, 1])
def test_a_full_disk_leaves_no_new_mask_without_a_record_and_no_earlier_one_is_lost(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, failing: str, earlier_runs: int
):
    pictures = [PictureFile(str(write_block(tmp_path / f"{name}.png")), name) for name in "ab"]
    out = tmp_path / "masks"
    for _ in range(earlier_runs):
        segment(segmenter, pictures, out, overlay=True)

    def fill(path: Path, data: bytes) -> None:
        if path.name == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, data)

    def fill_at_second(self: ResultsWriter, unit: UnitRecord) -> None:
        if failing == "results.json" and self.count == 1:
            raise OSError(errno.ENOSPC, "No space left on device", failing)
        add(self, unit)

    add = ResultsWriter.add
    monkeypatch.setattr(unit_files, "write_atomically", fill)
    monkeypatch.setattr(ResultsWriter, "add", fill_at_second)
    with pytest.raises(OSError, match=failing):
        segment(segmenter, pictures, out, overlay=True)
    (image,) = json.loads((out / "results.json").read_text())["images"]
    assert image["mask"] == "a_mask.png"
    earlier = {"b_mask.png", "b_overlay.png"} if earlier_runs else set()
    assert names_in(out) == {*RESULT_FILES, "a_mask.png", "a_overlay.png", *earlier}


def test_an_interruption_between_a_mask_and_its_record_leaves_neither(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_self: ResultsWriter, _unit: UnitRecord) -> None:
        assert (tmp_path / "masks/a_mask.png").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(ResultsWriter, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        segment(segmenter, [PictureFile(str(write_block(tmp_path / "a.png")), "a")], tmp_path / "masks")
    assert names_in(tmp_path / "masks") == RESULT_FILES
    assert json.loads((tmp_path / "masks/results.json").read_text())["images"] == []


# --- where to write ---


def test_a_second_run_into_one_folder_is_refused(tmp_path: Path, segmenter: Segmenter):
    pictures = [PictureFile(str(write_block(tmp_path / "a.png")), "a")]
    with lock_folder(tmp_path / "masks"), pytest.raises(DataError, match="masks: another run of tumortrace"):
        segment(segmenter, pictures, tmp_path / "masks")
    assert segment(segmenter, pictures, tmp_path / "masks")["images"][0]["status"] == "ok"


@pytest.mark.parametrize("name", ["a_mask.png", "a_overlay.png"])
def test_a_mask_that_somebody_drew_or_corrected_is_never_replaced(tmp_path: Path, segmenter: Segmenter, name: str):
    pictures = [PictureFile(str(write_block(tmp_path / "a.png")), "a")]
    out = tmp_path / "masks"
    segment(segmenter, pictures, out, overlay=True)
    corrected = read_stored(out / name)
    corrected[2, 6] = 0
    write_png(out / name, corrected)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(DataError, match=rf"{name}: tumortrace did not write this file, or it was changed"):
        segment(segmenter, pictures, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("name", ["results.json", "results.csv", PARTIAL])
def test_results_of_another_program_are_never_replaced(tmp_path: Path, segmenter: Segmenter, name: str):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / name).write_text('{"accuracy": 0.9}')
    with pytest.raises(DataError, match=rf"{name}: tumortrace did not write this file"):
        segment(segmenter, [PictureFile(str(write_block(tmp_path / "a.png")), "a")], tmp_path / "masks")
    assert names_in(tmp_path / "masks") == {name}
    assert (tmp_path / "masks" / name).read_text() == '{"accuracy": 0.9}'


@pytest.mark.parametrize("indent", [None, 4])
def test_reindented_results_still_name_their_masks(tmp_path: Path, segmenter: Segmenter, indent: int | None):
    out = tmp_path / "masks"
    before = segment(segmenter, [PictureFile(str(write_block(tmp_path / "a.png")), "a")], out)
    (out / "results.json").write_text(json.dumps(before, indent=indent))
    with pytest.raises(DataError, match=r"holds masks of other pictures \(1\)"):
        segment(segmenter, [PictureFile(str(write_block(tmp_path / "b.png")), "b")], out)


def test_masks_of_an_earlier_run_among_the_scans_are_skipped(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "scans/a.png")
    segment(segmenter, pictures_of(tmp_path / "scans/a.png"), tmp_path / "scans/masks", overlay=True)
    summary = segment_all(segmenter, find_inputs([str(tmp_path / "scans")]), out=tmp_path / "out")
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [image["file"] for image in results["images"]] == [str(tmp_path / "scans/a.png")]
    own = [str(tmp_path / f"scans/masks/a_{kind}.png") for kind in ("mask", "overlay")]
    tables = [str(tmp_path / f"scans/masks/results.{kind}") for kind in ("csv", "json")]
    assert results["skipped"] == [*tables, *own]
    assert (summary.total, summary.skipped, summary.own) == (1, 2, 2)


@pytest.mark.parametrize("name", ["x_mask.png", "x_overlay.png"])
def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path, segmenter: Segmenter, name: str):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    (tmp_path / name).write_text("a user's own")
    pictures = pictures_of(tmp_path / "x.png")
    with pytest.raises(DataError, match=rf"{name}: tumortrace did not write this file"):
        segment(segmenter, pictures, tmp_path)
    assert (tmp_path / name).read_text() == "a user's own"


def test_results_of_an_earlier_run_are_replaced(tmp_path: Path, segmenter: Segmenter):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    pictures = pictures_of(tmp_path / "x.png")
    for _ in range(2):
        segment(segmenter, pictures, tmp_path)
    assert (tmp_path / "x_mask.png").is_file()


def test_masks_of_other_pictures_are_not_orphaned(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "old/a.png")
    write_block(tmp_path / "new/b.png")
    old, new = (pictures_of(tmp_path / name) for name in ("old", "new"))
    out = tmp_path / "masks"
    before = segment(segmenter, old, out)
    with pytest.raises(DataError, match=r"\(1\), such as a_mask.png; choose another --out"):
        segment(segmenter, new, out)
    assert json.loads((out / "results.json").read_text()) == before
    (out / "results.json").rename(out / PARTIAL)  # as a killed run leaves it
    with pytest.raises(DataError, match="holds masks of other pictures"):
        segment(segmenter, new, out)
    assert len(segment(segmenter, [*old, *new], out)["images"]) == 2
    for name in ("a", "b"):
        (out / f"{name}_mask.png").unlink()
    assert len(segment(segmenter, new, out)["images"]) == 1  # nothing is left to orphan


def test_the_same_picture_under_another_name_would_orphan_its_mask(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "scans/deep/a.png")
    segment(segmenter, pictures_of(tmp_path / "scans"), tmp_path / "masks")
    with pytest.raises(DataError, match="holds masks of other pictures"):
        segment(segmenter, pictures_of(tmp_path / "scans/deep"), tmp_path / "masks")


def test_the_same_pictures_are_known_from_another_folder(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
):
    write_block(tmp_path / "scans/a.png")
    segment(segmenter, pictures_of(tmp_path / "scans"), tmp_path / "masks")
    monkeypatch.chdir(tmp_path)
    assert len(segment(segmenter, pictures_of(Path("scans")), Path("masks"))["images"]) == 1


def test_a_killed_run_may_be_done_again(tmp_path: Path, segmenter: Segmenter):
    pictures = pictures_of(write_block(tmp_path / "a.png"))
    segment(segmenter, pictures, tmp_path / "masks")
    text = (tmp_path / "masks/results.json").read_text()
    (tmp_path / "masks/results.json").unlink()
    (tmp_path / "masks" / PARTIAL).write_text(text[: text.index("area_px")])
    segment(segmenter, pictures, tmp_path / "masks")
    assert names_in(tmp_path / "masks") == {*RESULT_FILES, "a_mask.png"}


def test_a_picture_that_can_no_longer_be_read_leaves_no_old_mask(tmp_path: Path, segmenter: Segmenter):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    pictures = pictures_of(tmp_path / "x.png")
    segment(segmenter, pictures, tmp_path / "out", overlay=True)
    (tmp_path / "x.png").write_text("broken")
    results = segment(segmenter, pictures, tmp_path / "out")
    assert results["images"][0]["status"] == "error"
    assert names_in(tmp_path / "out") == RESULT_FILES


# --- what is no brain MR slice, and several at a time ---


def test_a_picture_that_is_no_mr_slice_is_rejected_without_a_mask(tmp_path: Path, open_hand_model):
    write_png(tmp_path / "page.png", np.full((40, 30), 250, np.uint8))
    model, pictures = open_hand_model(Recipe((8, 12))), [PictureFile(str(tmp_path / "page.png"), "page")]
    segment(Segmenter(model, gate=False), pictures, tmp_path / "out", overlay=True)  # which does not reject it
    assert "page_mask.png" in names_in(tmp_path / "out")
    (image,) = segment(Segmenter(model), pictures, tmp_path / "out")["images"]
    assert (image["status"], image["reason"]) == ("rejected", "not a brain MR slice: the picture is blank")
    assert (image["mask"], image["tumour"], image["confidence"], image["review"]) == (None, None, None, True)
    assert names_in(tmp_path / "out") == RESULT_FILES


def test_the_tally_counts_every_picture_once(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "a.png")
    write_png(tmp_path / "b.png", np.full((5, 9), 60, dtype=np.uint8))
    (tmp_path / "c.png").touch()
    tally = segment_all(segmenter, find_inputs([str(tmp_path)]), out=tmp_path / "masks")
    images = json.loads((tmp_path / "masks/results.json").read_text())["images"]
    assert tally.review == sum(image["review"] for image in images) == 3
    assert (tally.ok, tally.tumours, tally.rejected) == (2, 1, 0)
    (failure,) = tally.failures
    assert "c.png: the file is empty" in failure


@pytest.mark.parametrize("workers", [1, 3])
def test_several_workers_give_the_same_results_in_the_same_order(tmp_path: Path, segmenter: Segmenter, workers: int):
    rng = np.random.default_rng(5)
    for number in range(20):
        write_png(tmp_path / f"s/{number}.png", rng.integers(0, 255, (9, 9 + number), dtype=np.uint8))
    pictures = pictures_of(tmp_path / "s")
    alone = segment(segmenter, pictures, tmp_path / "alone")
    together = segment(segmenter, pictures, tmp_path / "together", workers=workers)
    assert [Path(image["file"]).name for image in together["images"]] == [f"{number}.png" for number in range(20)]
    assert without_seconds(together) == without_seconds(alone)


def test_no_picture_gives_an_empty_list(tmp_path: Path, segmenter: Segmenter):
    text = json.dumps({**segment(segmenter, [], tmp_path / "out")}, indent=2) + "\n"
    assert (tmp_path / "out/results.json").read_text() == text
