"""Segmenter: arrays and files, the gate, the mirror image, several at a time, other processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest

from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.data.scans import open_volumes
from tumortrace.data.slice import Slice
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError, ModelError
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.segmenter import Segmenter
from tumortrace.phantoms.slices import draw_phantom

OpenHandModel = Callable[..., Model]

PHANTOM = draw_phantom(np.random.default_rng(0), size_hw=(200, 170), kind="bright").pixels


@pytest.fixture
def segmenter(open_hand_model: OpenHandModel) -> Segmenter:
    return Segmenter(open_hand_model(Recipe((64, 64), pad_to_square=True), gain=1.0))


def test_an_array_a_file_and_a_slice_give_the_same_prediction(segmenter: Segmenter, tmp_path: Path):
    write_png(tmp_path / "x.png", PHANTOM)
    expected = predict(segmenter.model, Slice(PHANTOM, "x"))
    for picture in (PHANTOM, tmp_path / "x.png", str(tmp_path / "x.png"), read_slice(tmp_path / "x.png")):
        prediction = segmenter.predict(picture)
        assert np.array_equal(prediction.probability, expected.probability)
        assert (prediction.rejected, prediction.confidence) == (False, expected.confidence)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_grey_values_of_every_real_type_are_taken(segmenter: Segmenter, dtype: type):
    assert np.array_equal(segmenter.predict(PHANTOM.astype(dtype)).mask, segmenter.predict(PHANTOM).mask)


def test_a_matrix_is_taken_as_an_array(segmenter: Segmenter):
    assert np.array_equal(segmenter.predict(PHANTOM.view(np.matrix)).mask, segmenter.predict(PHANTOM).mask)


def test_three_equal_channels_are_grey_and_a_coloured_picture_is_rejected(segmenter: Segmenter):
    grey = np.repeat(PHANTOM[:, :, None], 3, axis=2)
    assert np.array_equal(segmenter.predict(grey).mask, segmenter.predict(PHANTOM).mask)
    coloured = grey.copy()
    coloured[:, :, 0] //= 3
    prediction = segmenter.predict(coloured)
    assert prediction.rejected
    assert prediction.review
    assert prediction.reasons == ("not a brain MR slice: it is in colour",)
    assert prediction.mask.shape == prediction.probability.shape == (200, 170)
    assert not prediction.mask.any()
    assert (prediction.lesions, prediction.confidence) == ((), 0.0)


@pytest.mark.parametrize("shape", [(200, 170), (200, 170, 3)])
def test_the_order_of_bytes_changes_nothing(segmenter: Segmenter, shape: tuple[int, ...]):
    picture = np.broadcast_to(PHANTOM.reshape(200, 170, *[1] * (len(shape) - 2)).astype(np.uint16) * 257, shape)
    swapped = segmenter.predict(picture.astype(">u2"))
    assert np.array_equal(swapped.probability, segmenter.predict(picture.astype("<u2")).probability)


def test_without_the_gate_every_picture_gets_a_mask(open_hand_model: OpenHandModel):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    model = open_hand_model(Recipe((64, 64)))
    assert Segmenter(model).predict(noise).rejected
    open_to_all = Segmenter(model, gate=False).predict(noise)
    assert not open_to_all.rejected
    assert open_to_all.mask.any()


def test_spacing_gives_areas_and_overrides_that_of_the_slice(segmenter: Segmenter):
    lesion = segmenter.predict(PHANTOM, spacing_mm=(2.0, 0.5)).lesions[0]
    assert lesion.area_mm2 == pytest.approx(lesion.area_px)
    again = segmenter.predict(Slice(PHANTOM, "x", (9.0, 9.0)), spacing_mm=(2.0, 1.0)).lesions[0]
    assert again.area_mm2 == pytest.approx(2 * lesion.area_px)
    assert segmenter.predict(Slice(PHANTOM, "x", (3.0, 1.0))).lesions[0].area_mm2 == pytest.approx(3 * lesion.area_px)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((0, 4)), r"array: an array of shape \(0, 4\)"),
        (np.zeros(7), r"shape \(7,\) and type float64; give grey values"),
        (np.zeros((4, 5, 4), np.uint8), r"shape \(4, 5, 4\)"),
        (np.zeros((4, 5, 3)), "red-green-blue .* of uint8 or uint16"),
        (np.zeros((4, 5), bool), "type bool"),
        (np.zeros((4, 5), complex), "type complex128"),
        (np.full((4, 5), np.nan), "array: holds NaN or infinity"),
        (np.ma.masked_less(np.arange(20).reshape(4, 5), 3), r"array: holds masked pixels; fill them"),
        ("nosuch.png", "nosuch.png: cannot be read"),
        (None, "type NoneType is no picture; give a NumPy array, the path of a file, or a Slice"),
        ([[1, 2], [3, 4]], "type list is no picture"),
        (7, "type int is no picture"),
        (b"x.png", "type bytes is no picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(segmenter: Segmenter, picture: object, message: str):
    with pytest.raises(DataError, match=message) as caught:
        segmenter.predict(picture)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spacing_mm",
    [
        (1.0, 0.0),
        (-1.0, 1.0),
        (1.0,),
        (1.0, float("nan")),
        1.0,
        "12",
        ("1", "2"),
        (1.0, None),
        np.ones((2, 2)),
        np.ones(()),
        {1, 2},
    ],
)
def test_a_spacing_that_is_none_is_refused(segmenter: Segmenter, spacing_mm: Any):  # noqa: ANN401
    for picture in (PHANTOM, Slice(PHANTOM, "x")):
        with pytest.raises(DataError, match=r"spacing_mm .*give two positive numbers"):
            segmenter.predict(picture, spacing_mm=spacing_mm)


@pytest.mark.parametrize("factor", [1e300, 2e36, 1e-300, 1e-40])
@pytest.mark.filterwarnings("error")
def test_huge_and_tiny_values_are_as_good_as_others(segmenter: Segmenter, factor: float):
    expected, found = segmenter.predict(PHANTOM), segmenter.predict(PHANTOM * factor)
    assert not found.rejected
    assert np.array_equal(found.mask, expected.mask)
    huge = segmenter.predict(PHANTOM.astype(np.float32) * np.float32(1e36))
    assert np.array_equal(huge.mask, expected.mask)
    whole = segmenter.predict(PHANTOM.astype(np.int64) * 2**54)
    assert np.array_equal(whole.mask, expected.mask)


@pytest.mark.filterwarnings("error")
def test_values_from_one_end_to_the_other_end_in_an_answer(segmenter: Segmenter):
    ends = np.full((40, 30), np.finfo(np.float64).max)
    ends[10:30, 8:20] *= -1
    assert segmenter.predict(ends).mask.shape == (40, 30)


def test_a_spacing_may_be_an_array(segmenter: Segmenter):
    lesion = segmenter.predict(PHANTOM, spacing_mm=np.array([2, 1], np.float32)).lesions[0]
    assert lesion.area_mm2 == pytest.approx(2 * lesion.area_px)


def test_a_model_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match=r"nosuch.onnx: no such model"):
        Segmenter("nosuch.onnx")


def test_the_mirror_image_is_laid_back_before_the_mean(open_hand_model: OpenHandModel):
    # A model that works pixel by pixel says the same of a flipped picture: averaging must change nothing, and would
    # if an answer were not flipped back.
    model = open_hand_model(Recipe((64, 64), pad_to_square=True), gain=1.0)
    plain, averaged = Segmenter(model).predict(PHANTOM), Segmenter(model, tta=True).predict(PHANTOM)
    assert averaged.probability.dtype == np.float32
    assert np.allclose(plain.probability, averaged.probability, atol=1e-6)


def test_a_recipe_that_averages_needs_no_asking():
    shipped = open_model("default", threads=1)
    averaging, plain = (replace(shipped, recipe=replace(shipped.recipe, average_mirror=wish)) for wish in (True, False))
    by_recipe = Segmenter(averaging).predict(PHANTOM).probability
    assert np.array_equal(by_recipe, Segmenter(plain, tta=True).predict(PHANTOM).probability)
    unasked = predict(plain, Slice(PHANTOM, "x")).probability
    assert np.array_equal(unasked, Segmenter(plain).predict(PHANTOM).probability)
    assert not np.array_equal(unasked, by_recipe)


def test_a_picture_and_its_inverse_give_the_same_mask():
    segmenter = Segmenter("default", threads=1, gate=False)
    assert np.array_equal(segmenter.predict(PHANTOM).mask, segmenter.predict(255 - PHANTOM).mask)


def changed(kind: str, pixels: np.ndarray) -> np.ndarray:  # noqa: PLR0911 - a case a kind
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    beyond = (rows - 100) ** 2 + (columns - 85) ** 2 > 104**2  # of the middle of 200 x 170: the corners
    deep = pixels.astype(np.int32) * 16
    match kind:
        case "inverted":
            return 255 - pixels
        case "inverted 16 bits":
            return (65535 - deep).astype(np.uint16)
        case "offset":
            return (deep + 32768).astype(np.uint16)
        case "hot pixel":
            deep[60, 90] = 65535
            return deep.astype(np.uint16)
        case "dead column":
            deep[:, 40] = -30000
            return deep.astype(np.int16)
        case "dark padding":
            return np.where(beyond, -2000, deep).astype(np.int16)
        case "bright padding":
            return np.where(beyond, 65535, deep).astype(np.uint16)
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    ["inverted", "inverted 16 bits", "offset", "hot pixel", "dead column", "dark padding", "bright padding"],
)
def test_how_grey_values_are_stored_does_not_move_the_mask(kind: str):
    segmenter = Segmenter("default", threads=1)
    expected, found = segmenter.predict(PHANTOM), segmenter.predict(changed(kind, PHANTOM))
    assert not found.rejected
    both = np.count_nonzero(expected.mask & found.mask)
    assert 2 * both >= 0.98 * (expected.mask.sum() + found.mask.sum()) > 0
    assert abs(found.confidence - expected.confidence) < 0.02
    flipped = kind.startswith("inverted")
    light = ("light background: the picture was inverted",) if flipped else ()
    assert found.reasons == (*expected.reasons, *light)


@pytest.mark.parametrize(
    ("widths", "level"), [((12, 12), 255), ((60, 60), 255), ((3, 3), 160), ((200, 170), 0), ((0, 340), 0)], ids=str
)
def test_what_lies_around_a_slice_hardly_moves_the_mask(widths: tuple[int, int], level: int):
    segmenter = Segmenter("default", threads=1)
    rows, columns = widths
    around = np.pad(PHANTOM, ((rows, rows), (columns, columns)), constant_values=level)
    expected, found = segmenter.predict(PHANTOM), segmenter.predict(around)
    assert not found.rejected
    inside = found.mask[rows : rows + 200, columns : columns + 170]
    both = np.count_nonzero(expected.mask & inside)
    assert 2 * both >= 0.9 * (expected.mask.sum() + found.mask.sum()) > 0


def test_thumbnails_are_reviewed_or_rejected_by_their_size():
    segmenter = Segmenter("default", threads=1)
    for side, word in ((48, "small picture (41 x 48 px)"), (24, "too small: 20 x 24 px")):
        scale = side / 200
        small = cv2.resize(PHANTOM, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        prediction = segmenter.predict(small)
        assert prediction.rejected == (side < 32)
        assert any(reason.startswith(word) for reason in prediction.reasons)
    for black in (np.zeros((200, 170), np.uint8), np.full((200, 170), 65535, np.uint16)):
        assert segmenter.predict(black).reasons == ("not a brain MR slice: the picture is blank",)


def test_many_pictures_come_in_order_whatever_they_are(segmenter: Segmenter, tmp_path: Path):
    write_png(tmp_path / "x.png", PHANTOM)
    pictures = [PHANTOM, tmp_path / "x.png", cv2.flip(PHANTOM, 1), np.full((9, 9), 3, np.uint8)]
    predictions = list(segmenter.predict_many(iter(pictures), workers=3))
    assert [prediction.rejected for prediction in predictions] == [False, False, False, True]
    for picture, prediction in zip(pictures, predictions, strict=True):
        assert np.array_equal(prediction.mask, segmenter.predict(picture).mask)


@pytest.mark.parametrize(
    ("single", "named"),
    [
        ("x.png", "'x.png'"),
        (b"x.png", "b'x.png'"),
        (Path("x.png"), "PosixPath"),
        (Slice(PHANTOM, "x"), "a slice"),
        (PHANTOM, r"an array of shape \(200, 170\)"),
        (np.zeros((40, 30, 3), np.uint8), r"an array of shape \(40, 30, 3\)"),
        (np.zeros(7), r"an array of shape \(7,\)"),
    ],
)
def test_one_picture_is_not_several(segmenter: Segmenter, single: Any, named: str):  # noqa: ANN401
    with pytest.raises(DataError, match=rf"predict_many takes several pictures, not {named}.* alone; give a list, or"):
        segmenter.predict_many(single)


def test_a_stack_of_slices_is_several_pictures(segmenter: Segmenter):
    predictions = list(segmenter.predict_many(np.stack([PHANTOM, PHANTOM[:, ::-1]])))
    assert [prediction.mask.shape for prediction in predictions] == [PHANTOM.shape] * 2


@pytest.mark.parametrize("workers", [-1, 1.5, "2", None, True])
def test_workers_that_are_no_number_are_refused_at_once(segmenter: Segmenter, workers: Any):  # noqa: ANN401
    with pytest.raises(DataError, match=r"workers = .*; give a whole number"):
        segmenter.predict_many([PHANTOM], workers=workers)


def test_a_negative_number_of_threads_is_refused():
    with pytest.raises(DataError, match="threads = -1; give a whole number"):
        Segmenter(threads=-1)


# --- other threads and processes ---


def test_a_pickled_segmenter_gives_the_same_prediction(segmenter: Segmenter):
    again = pickle.loads(pickle.dumps(Segmenter(segmenter.model, tta=True, gate=False)))  # noqa: S301 - our own
    expected = Segmenter(segmenter.model, tta=True, gate=False).predict(PHANTOM)
    assert np.array_equal(again.predict(PHANTOM).probability, expected.probability)
    assert again.model.recipe == segmenter.model.recipe
    assert (
        again.model.session.threads == segmenter.model.session.threads == 1
    )  # else a pool of processes takes too many
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    assert not again.predict(noise).rejected


def test_a_pickled_segmenter_knows_its_file_from_any_folder(
    open_hand_model: OpenHandModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = open_hand_model(Recipe((64, 64))).path
    monkeypatch.chdir(path.parent)
    data = pickle.dumps(Segmenter(path.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data).predict(PHANTOM).mask.shape == PHANTOM.shape  # noqa: S301 - our own


def test_a_model_that_changed_after_pickling_is_refused(segmenter: Segmenter):
    data = pickle.dumps(segmenter)
    with segmenter.model.path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(ModelError, match=r"model\.onnx: the file has changed since the model was opened"):
        pickle.loads(data)  # noqa: S301 - our own
    segmenter.model.path.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be read \(No such file or directory\)"):
        pickle.loads(data)  # noqa: S301 - our own


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_other_processes_give_the_same_masks(method: str):
    segmenter = Segmenter("default", threads=2)
    expected = segmenter.predict(PHANTOM)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for mask in pool.map(partial(_predict_mask, segmenter), [PHANTOM] * 3, timeout=120):
            assert np.array_equal(mask, expected.mask)
    assert np.array_equal(segmenter.predict(PHANTOM).mask, expected.mask)


def _predict_mask(segmenter: Segmenter, pixels: np.ndarray) -> np.ndarray:
    return segmenter.predict(pixels).mask


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_that_inherits_a_segmenter_ends_by_itself():
    code = """
import os, sys, numpy as np
from tumortrace import Segmenter
segmenter = Segmenter("default", threads=2, gate=False)
pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
expected = segmenter.predict(pixels).mask
child = os.fork()
if child == 0:
    sys.exit(0 if np.array_equal(segmenter.predict(pixels).mask, expected) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_and_a_late_pickle_know_the_file_from_any_folder(
    open_hand_model: OpenHandModel, tmp_path: Path
):
    path = open_hand_model(Recipe((64, 64))).path
    code = f"""
import os, pickle, sys, numpy as np
from tumortrace import Segmenter
segmenter = Segmenter({path.name!r}, gate=False)
os.chdir({str(tmp_path / "elsewhere")!r})
pickle.loads(pickle.dumps(segmenter))
child = os.fork()
if child == 0:
    segmenter.predict(np.zeros((64, 64), dtype=np.uint8))
    sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=path.parent, timeout=120, check=False).returncode == 0


def test_several_threads_give_the_same_mask(segmenter: Segmenter):
    expected = segmenter.predict(PHANTOM).mask
    with ThreadPoolExecutor(4) as pool:
        for prediction in pool.map(segmenter.predict, [PHANTOM] * 12):
            assert np.array_equal(prediction.mask, expected)


def test_the_shipped_model_finds_the_tumour_of_a_generated_slice():
    phantom = draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright")
    prediction = Segmenter().predict(phantom.pixels)
    assert not prediction.rejected
    (x, y) = prediction.lesions[0].centroid_xy
    assert phantom.pixels[round(y), round(x)] > 1.5 * np.median(phantom.pixels[phantom.pixels > 30])


# --- volumes ---


def test_a_volume_is_segmented_from_its_path_or_opened(tmp_path: Path, open_hand_model: Callable[..., Model]):
    pixels = np.full((12, 8, 3), 10, dtype=np.int16)  # columns, rows, slices
    pixels[6:10, 2:4, 1:] = 200
    nib.save(nib.Nifti1Image(pixels, np.diag([-1.0, -1.0, 5.0, 1.0])), tmp_path / "x.nii")
    segmenter = Segmenter(open_hand_model(Recipe((8, 12), threshold=0.55)), gate=False)
    prediction = segmenter.predict_volume(tmp_path / "x.nii")
    assert prediction.mask.shape == (3, 8, 12)
    assert prediction.slices_with_tumour == 2
    assert repr(prediction) == "<VolumePrediction of 3 slices of 12 x 8 px: 1 lesion on 2 slices>"
    (volume,) = open_volumes(tmp_path / "x.nii").volumes
    assert np.array_equal(segmenter.predict_volume(volume, workers=1).labels, prediction.labels)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "y.nii")
    with pytest.raises(DataError, match=r"2 volumes \(x, y\)"):
        segmenter.predict_volume(tmp_path)
    with pytest.raises(DataError, match="a ndarray is no volume; give the path of a scan"):
        segmenter.predict_volume(pixels)  # type: ignore[arg-type]
    (tmp_path / "z.nii").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"z\.nii"):
        segmenter.predict_volume(tmp_path / "z.nii")
