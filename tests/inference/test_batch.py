"""A mask for each picture, and a record for each whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.slice import Slice, write_png
from tumortrace.errors import DataError
from tumortrace.inference import batch
from tumortrace.inference.batch import NAMED, Tally, segment_pictures
from tumortrace.inference.model import Model
from tumortrace.inference.pictures import PictureFile, find_pictures
from tumortrace.inference.predict import Prediction
from tumortrace.inference.results import PARTIAL, open_results
from tumortrace.inference.segmenter import Segmenter

BLOCK = np.s_[2:4, 6:10]


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    """Calls what is bright tumour, on an 8 x 12 grid; a constant picture has none. Turns nothing away."""
    return Segmenter(open_hand_model(Recipe((8, 12), threshold=0.55)), gate=False)


def segment(segmenter: Segmenter, pictures: Sequence[PictureFile], out: Path, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Segment, and read what the results say."""
    segment_pictures(segmenter, pictures, out=out, **options)
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


def without_seconds(results: dict[str, Any]) -> dict[str, Any]:
    images = [{key: value for key, value in image.items() if key != "seconds"} for image in results["images"]]
    return {**results, "images": images}


# --- results ---


def test_results_have_exactly_the_keys_of_the_contract(tmp_path: Path, segmenter: Segmenter):
    picture = write_block(tmp_path / "scans/x.png")
    out = tmp_path / "masks"
    results = segment(segmenter, [PictureFile(str(picture), "x")], out, skipped=[str(tmp_path / "notes.txt")])
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
    assert sorted(path.name for path in (tmp_path / "without").iterdir()) == ["results.json", "x_mask.png"]
    assert sorted(path.name for path in (tmp_path / "with").iterdir()) == [
        "results.json",
        "x_mask.png",
        "x_overlay.png",
    ]
    overlay = read_stored(tmp_path / "with/x_overlay.png")
    assert overlay.shape == (8, 12, 3)
    assert overlay[2, 6].tolist() == [0, 176, 255]  # amber, in OpenCV's order of blue, green, red


def test_picture_without_tumour_has_an_empty_mask(tmp_path: Path, segmenter: Segmenter):
    write_png(tmp_path / "x.png", np.full((5, 9), 60, dtype=np.uint8))
    results = segment(segmenter, [PictureFile(str(tmp_path / "x.png"), "x")], tmp_path / "masks")
    (image,) = results["images"]
    assert (image["status"], image["tumour"], image["area_px"], image["lesions"]) == ("ok", False, 0, [])
    assert read_stored(tmp_path / "masks/x_mask.png").tolist() == [[0] * 9] * 5


def test_areas_are_in_square_millimetres_where_the_picture_has_a_spacing(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
):
    with_block = np.full((8, 12), 10, dtype=np.uint8)
    with_block[BLOCK] = 200
    slices = {"x.png": with_block, "none.png": np.full((8, 12), 10, dtype=np.uint8)}
    monkeypatch.setattr(batch, "read_slice", lambda path: Slice(slices[Path(path).name], Path(path).name, (0.5, 0.25)))
    pictures = [PictureFile(str(tmp_path / name), name) for name in slices]
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
    written = {path.name for path in (tmp_path / "masks").iterdir()}
    assert written == {"a_mask.png", "a_overlay.png", "z_mask.png", "z_overlay.png", "results.json"}


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
    assert sorted(path.name for path in out.iterdir()) == ["a_mask.png", "results.json"]


def test_until_the_end_the_old_results_stand_and_each_record_is_on_disk(tmp_path: Path, segmenter: Segmenter):
    (tmp_path / "results.json").write_text("old")
    with open_results(segmenter.model, [], out=tmp_path) as add:
        for name in "ab":
            add({"file": name})
            assert (tmp_path / PARTIAL).read_text().endswith(json.dumps({"file": name}))
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


# --- where to write ---


@pytest.mark.parametrize("name", ["x_mask.png", "x_overlay.png"])
def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path, segmenter: Segmenter, name: str):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    (tmp_path / name).write_text("a user's own")
    pictures, _ = find_pictures([str(tmp_path / "x.png")])
    with pytest.raises(DataError, match=rf"{name}: exists, and no results.json"):
        segment(segmenter, pictures, tmp_path)
    assert (tmp_path / name).read_text() == "a user's own"


def test_results_of_an_earlier_run_are_replaced(tmp_path: Path, segmenter: Segmenter):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    pictures, _ = find_pictures([str(tmp_path / "x.png")])
    for _ in range(2):
        segment(segmenter, pictures, tmp_path)
    assert (tmp_path / "x_mask.png").is_file()


def test_masks_of_other_pictures_are_not_orphaned(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "old/a.png")
    write_block(tmp_path / "new/b.png")
    (old, _), (new, _) = (find_pictures([str(tmp_path / name)]) for name in ("old", "new"))
    out = tmp_path / "masks"
    before = segment(segmenter, old, out)
    with pytest.raises(DataError, match=r"masks: holds masks of other pictures \(1\); choose another --out"):
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
    segment(segmenter, find_pictures([str(tmp_path / "scans")])[0], tmp_path / "masks")
    with pytest.raises(DataError, match="holds masks of other pictures"):
        segment(segmenter, find_pictures([str(tmp_path / "scans/deep")])[0], tmp_path / "masks")


def test_the_same_pictures_are_known_from_another_folder(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
):
    write_block(tmp_path / "scans/a.png")
    segment(segmenter, find_pictures([str(tmp_path / "scans")])[0], tmp_path / "masks")
    monkeypatch.chdir(tmp_path)
    assert len(segment(segmenter, find_pictures(["scans"])[0], Path("masks"))["images"]) == 1


def test_a_killed_run_may_be_done_again(tmp_path: Path, segmenter: Segmenter):
    pictures, _ = find_pictures([str(write_block(tmp_path / "a.png"))])
    segment(segmenter, pictures, tmp_path / "masks")
    text = (tmp_path / "masks/results.json").read_text()
    (tmp_path / "masks/results.json").unlink()
    (tmp_path / "masks" / PARTIAL).write_text(text[: text.index("area_px")])
    segment(segmenter, pictures, tmp_path / "masks")
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a_mask.png", "results.json"]


def test_a_picture_that_can_no_longer_be_read_leaves_no_old_mask(tmp_path: Path, segmenter: Segmenter):
    write_png(tmp_path / "x.png", np.full((4, 5), 9, np.uint8))
    pictures, _ = find_pictures([str(tmp_path / "x.png")])
    segment(segmenter, pictures, tmp_path / "out", overlay=True)
    (tmp_path / "x.png").write_text("broken")
    results = segment(segmenter, pictures, tmp_path / "out")
    assert results["images"][0]["status"] == "error"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]


# --- what is no brain MR slice, and several at a time ---


def test_a_picture_that_is_no_mr_slice_is_rejected_without_a_mask(tmp_path: Path, open_hand_model):
    write_png(tmp_path / "page.png", np.full((40, 30), 250, np.uint8))
    segmenter = Segmenter(open_hand_model(Recipe((8, 12))))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/results.json").write_text("{}")  # of an earlier run, which did not reject it
    (tmp_path / "out/page_mask.png").write_text("old")
    (image,) = segment(segmenter, [PictureFile(str(tmp_path / "page.png"), "page")], tmp_path / "out")["images"]
    assert (image["status"], image["reason"]) == ("rejected", "not a brain MR slice: the picture is blank")
    assert (image["mask"], image["tumour"], image["confidence"], image["review"]) == (None, None, None, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]


def test_the_tally_counts_every_picture_once(tmp_path: Path, segmenter: Segmenter):
    write_block(tmp_path / "a.png")
    write_png(tmp_path / "b.png", np.full((5, 9), 60, dtype=np.uint8))
    (tmp_path / "c.png").touch()
    pictures, _ = find_pictures([str(tmp_path)])
    tally = segment_pictures(segmenter, pictures, out=tmp_path / "masks")
    images = json.loads((tmp_path / "masks/results.json").read_text())["images"]
    assert tally.review == sum(image["review"] for image in images) == 2
    assert (tally.ok, tally.tumours, tally.rejected) == (2, 1, 0)
    (failure,) = tally.failures
    assert "c.png: the file is empty" in failure


def test_a_tally_keeps_rejected_pictures_apart():
    tally = Tally()
    for number in range(NAMED + 2):
        tally.count({"file": f"{number}.png", "status": "rejected", "reason": "x", "review": True})
    assert (tally.ok, tally.rejected, tally.review, tally.failures) == (0, NAMED + 2, NAMED + 2, [])
    assert tally.rejections == [f"{number}.png: x" for number in range(NAMED)]  # not a million lines in memory


@pytest.mark.parametrize("workers", [1, 3])
def test_several_workers_give_the_same_results_in_the_same_order(tmp_path: Path, segmenter: Segmenter, workers: int):
    rng = np.random.default_rng(5)
    for number in range(20):
        write_png(tmp_path / f"s/{number}.png", rng.integers(0, 255, (9, 9 + number), dtype=np.uint8))
    pictures, _ = find_pictures([str(tmp_path / "s")])
    alone = segment(segmenter, pictures, tmp_path / "alone")
    together = segment(segmenter, pictures, tmp_path / "together", workers=workers)
    assert [Path(image["file"]).name for image in together["images"]] == [f"{number}.png" for number in range(20)]
    assert without_seconds(together) == without_seconds(alone)


def test_no_picture_gives_an_empty_list(tmp_path: Path, segmenter: Segmenter):
    text = json.dumps({**segment(segmenter, [], tmp_path / "out")}, indent=2) + "\n"
    assert (tmp_path / "out/results.json").read_text() == text
