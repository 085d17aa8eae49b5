"""A slice that a person points at, with a model whose answers can be worked out with a pencil."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.data.geometry import rasterize_region
from tumortrace.data.slice import Slice
from tumortrace.errors import DataError, ModelError
from tumortrace.inference.model import weights_folder
from tumortrace.inference.predict import Prediction, reject
from tumortrace.inference.prompts import model as prompted_models
from tumortrace.inference.prompts.grid import box_of, widen_box
from tumortrace.inference.prompts.model import PromptModel, find_prompt_model, open_prompt_model
from tumortrace.inference.prompts.prompt import Prompt
from tumortrace.inference.prompts.session import (
    EMPTY,
    PromptSession,
    _lower_threshold,
    _reach_clicks,
    fill_box,
    keep_pointed,
    merge_predictions,
)
from tumortrace.inference.segmenter import Segmenter
from tumortrace.metrics.overlap import count_pixels
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.run_folder import BOX_DECODER, BOX_ENCODER

BOX = (20, 20, 44, 40)


def spotted() -> NDArray[np.uint8]:
    """Two bright spots on dark grey: 8 x 6 pixels, and 4 x 4 beside them."""
    pixels = np.full((64, 80), 40, np.uint8)
    pixels[:, :2] = 0
    pixels[26:32, 26:34] = 200
    pixels[26:30, 52:56] = 200
    return pixels


@pytest.fixture
def session(hand_prompt_model: PromptModel) -> PromptSession:
    return PromptSession(hand_prompt_model, Slice(spotted(), "x.png"), gate=False)


def test_the_bright_spot_in_the_box_is_the_mask(session: PromptSession):
    prediction = session.predict(BOX)
    expected = np.zeros((64, 80), np.bool_)
    expected[26:32, 26:34] = True
    assert (prediction.mask ^ expected).sum() <= 14  # the grid is coarser, and 12 % of the box are filled
    assert prediction.confidence == pytest.approx(prediction.probability[prediction.mask].mean())
    assert prediction.prompts[0].box_xyxy == (20.0, 20.0, 44.0, 40.0)
    assert "in a given box" in repr(prediction)


def test_clicks_change_the_pixels_they_fall_on_and_what_is_near(session: PromptSession):
    added = session.predict(BOX, [(40, 36)], [1]).mask
    assert added[36, 40]
    assert added.sum() > session.predict(BOX).mask.sum()
    removed = session.predict(BOX, [(30, 29)], [0]).mask
    assert not removed[29, 30]
    assert removed.sum() < session.predict(BOX).mask.sum()


def test_the_box_alone_gives_the_same_answer_again_after_clicks(session: PromptSession):
    first = session.predict(BOX).mask
    session.predict(BOX, [(40, 36)])
    assert np.array_equal(session.predict(BOX).mask, first)


def test_another_box_in_the_same_square_is_answered_anew(session: PromptSession):
    first, lower = session.predict(BOX), session.predict((20, 22, 44, 38))  # both in a square of 33.6 pixels
    assert np.array_equal(
        lower.mask, PromptSession(session.model, session.image, gate=False).predict((20, 22, 44, 38)).mask
    )
    assert not np.array_equal(lower.probability, first.probability)


def answer_everywhere(session: PromptSession, monkeypatch: pytest.MonkeyPatch, probability: float) -> None:
    logits = np.zeros((1, 2, 32, 32), np.float32)
    logits[:, 1] = np.log(probability / (1 - probability))
    monkeypatch.setattr(session.model.decoder, "run_all", lambda _inputs: [logits])


def test_a_clicked_pixel_is_as_the_click_says_whatever_the_network_answers(session: PromptSession, monkeypatch):
    answer_everywhere(session, monkeypatch, 0.8)
    mask = session.predict(BOX, [(30, 29), (31, 30), (30, 29)], [0, 1, 0]).mask
    expected = np.zeros((64, 80), np.bool_)
    expected[18:42, 18:46] = True  # 2.4 and 2 pixels beyond the box
    expected[29, 30] = False
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(("probability", "reasons"), [(0.74, ("low confidence (0.74)",)), (0.76, ())])
def test_a_mask_is_reviewed_below_three_quarters(session: PromptSession, monkeypatch, probability, reasons):
    answer_everywhere(session, monkeypatch, probability)
    prediction = session.predict(BOX)
    assert (prediction.reasons, prediction.review) == (reasons, bool(reasons))


def test_an_answer_that_is_no_number_is_refused(session: PromptSession, monkeypatch):
    answer_everywhere(session, monkeypatch, np.nan)
    with pytest.raises(ModelError, match=r"hand-box: returns NaN or infinity for x\.png; train it again"):
        session.predict(BOX)


def test_a_click_computes_no_features_and_an_old_answer_nothing(session: PromptSession, monkeypatch):
    runs = {"encoder": 0, "decoder": 0}
    for name in runs:
        network = getattr(session.model, name)

        def counted(inputs: dict[str, object], run=network.run_all, name: str = name) -> list[object]:
            runs[name] += 1
            return run(inputs)

        monkeypatch.setattr(network, "run_all", counted)
    session.predict(BOX)
    session.predict(BOX, [(30, 30)])
    session.predict(BOX, [(30, 30), (31, 31)], [1, 0])
    session.predict(BOX, [(30, 30)])
    assert runs == {"encoder": 1, "decoder": 3}
    session.predict((19, 20, 44, 40))
    assert runs == {"encoder": 2, "decoder": 4}


def test_other_clicks_leave_nothing_in_memory(session: PromptSession):
    for x in range(22, 42):
        session.predict(BOX, [(x, 25), (30, 30)])
    assert len(session._answered) <= 3  # the box alone, the first click, and both


def test_a_click_on_tumour_outside_makes_the_box_reach_it(session: PromptSession):
    assert not session.predict(BOX).mask[:, 48:].any()
    grown = session.predict(BOX, [(53, 28)]).mask
    assert grown[27:29, 53:55].all()


def test_hundreds_of_clicks_give_a_mask(session: PromptSession):
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(20, 44, 300), rng.integers(20, 40, 300)], axis=1)
    labels = rng.integers(0, 2, 300)
    mask = session.predict(BOX, points, labels).mask
    assert mask.shape == (64, 80)
    assert mask[points[-1, 1], points[-1, 0]] == labels[-1]


def test_a_box_without_contrast_is_reviewed_and_a_click_may_empty_it(hand_prompt_model: PromptModel):
    flat = PromptSession(hand_prompt_model, Slice(np.full((64, 80), 90, np.uint8), "flat"), gate=False)
    guessed = flat.predict(BOX)
    assert (guessed.review, guessed.reasons[0]) == (True, "low confidence (0.01)")
    emptied = flat.predict(BOX, [(30, 30)], [0])
    assert not emptied.mask.any()
    assert (emptied.review, emptied.reasons) == (True, (EMPTY,))


def test_a_picture_that_is_no_slice_is_rejected(hand_prompt_model: PromptModel):
    session = PromptSession(hand_prompt_model, Slice(np.zeros((64, 80), np.uint8), "blank"))
    assert session.predict(BOX).rejected


def test_doubtful_pixels_fill_a_box_that_would_be_nearly_empty():
    probability = np.full((40, 60), 0.01, np.float32)
    probability[10:20, 20:30] = 0.3  # a quarter of the box
    assert _lower_threshold(probability, (15, 5, 35, 25), 0.5) == pytest.approx(0.3)
    probability[10:20, 20:23] = 0.9  # 30 of 400 pixels are not enough, 60 are
    assert _lower_threshold(probability, (15, 5, 35, 25), 0.5) == pytest.approx(0.3)
    probability[10:20, 20:26] = 0.9
    assert _lower_threshold(probability, (15, 5, 35, 25), 0.5) == 0.5
    assert _lower_threshold(np.zeros_like(probability), (15, 5, 35, 25), 0.5) == 1e-6


def test_nothing_is_kept_far_from_the_box_or_apart_from_it():
    mask = np.zeros((40, 60), np.bool_)
    mask[10:20, 5:50] = True  # runs through the box 20..40 and far beyond it
    mask[2, 21] = mask[7, 30] = True  # far above it, and apart, two rows beyond it being kept
    mask[8, 21] = mask[7, 20] = True  # of these two, which meet at a corner, one lies in it
    kept = keep_pointed(mask, (20, 8, 40, 22))
    expected = np.zeros_like(mask)
    expected[10:20, 18:42] = True
    expected[8, 21] = expected[7, 20] = True
    assert np.array_equal(kept, expected)


@pytest.mark.parametrize(
    ("click", "label", "grown"),
    [
        ((45, 30), True, BOX),  # its centre at 45.5 lies within 2.4 pixels of the box
        ((46, 30), True, (20, 20, 48.5, 40)),
        ((30, 41), True, BOX),
        ((30, 42), True, (20, 20, 44, 44.5)),
        ((16, 17), True, (14.5, 15.5, 44, 40)),
        ((46, 42), False, BOX),
        ((0, 1), True, (0, 0, 44, 40)),
        ((79, 62), True, (20, 20, 80, 64)),
    ],
)
def test_a_box_grows_to_a_click_on_tumour_that_it_does_not_reach(click, label, grown):
    prompt = Prompt(BOX, (click,), (label,))
    assert _reach_clicks(prompt, (64, 80)) == grown


def test_several_answers_are_joined_by_hand():
    image = Slice(np.zeros((1, 4), np.uint8), "x", spacing_mm=(2.0, 3.0))

    def answer(probability: list[float], confidence: float, *reasons: str) -> Prediction:
        values = np.array([probability], np.float32)
        return Prediction(values, values >= 0.5, (), confidence, review=bool(reasons), reasons=reasons)

    merged = merge_predictions([answer([0.5, 0.2, 0.1, 0.0], 0.9), answer([0.0, 0.1, 0.4, 0.8], 0.6, "a")], image)
    assert merged.probability.tolist() == [[0.5, np.float32(0.2), np.float32(0.4), np.float32(0.8)]]
    assert merged.mask.tolist() == [[True, False, False, True]]
    assert [lesion.area_mm2 for lesion in merged.lesions] == [6.0, 6.0]
    assert (merged.confidence, merged.review, merged.reasons) == (0.6, True, ("a",))
    third = answer([0.0, 0.0, 0.0, 0.9], 0.7, "b", "a")
    assert merge_predictions([merged, third], image).reasons == ("a", "b")
    rejected = reject(image, "no slice")
    assert merge_predictions([rejected, rejected], image) is rejected


def test_several_boxes_make_one_mask(session: PromptSession):
    both = [session.predict(BOX), session.predict((48, 20, 60, 36))]
    merged = merge_predictions(both, session.image)
    assert np.array_equal(merged.mask, both[0].mask | both[1].mask)
    assert len(merged.prompts) == 2
    assert merge_predictions(both[:1], session.image) is both[0]


def test_the_segmenter_takes_a_box_and_refuses_points_alone(hand_prompt_folder: Path):
    segmenter = Segmenter("fast", prompted=hand_prompt_folder, threads=1, gate=False)
    assert segmenter.predict(spotted(), box_xyxy=BOX, points_xy=[(40, 36)], labels=[1]).mask[36, 40]
    with pytest.raises(DataError, match="give box_xyxy too"):
        segmenter.predict(spotted(), points_xy=[(40, 36)])


def test_a_prompted_model_can_be_pickled(hand_prompt_model: PromptModel):
    again = pickle.loads(pickle.dumps(hand_prompt_model))  # noqa: S301 - our own
    assert (again.encoder.threads, again.decoder.threads) == (1, 1)
    prediction = PromptSession(again, Slice(spotted(), "x"), gate=False).predict(BOX)
    assert prediction.mask.any()


def test_a_folder_that_is_named_box_hides_no_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box").mkdir()
    assert find_prompt_model("box") == weights_folder()
    with pytest.raises(ModelError, match="give box, or a run folder"):
        find_prompt_model("./box")


def test_a_folder_without_a_prompted_model_is_refused(tmp_path: Path, hand_prompt_folder: Path):
    with pytest.raises(ModelError, match="give box, or a run folder"):
        find_prompt_model(str(tmp_path))
    (hand_prompt_folder / BOX_DECODER).write_bytes(b"no model")
    with pytest.raises(ModelError, match="not an ONNX model"):
        open_prompt_model(str(hand_prompt_folder))
    (hand_prompt_folder / BOX_DECODER).unlink()
    with pytest.raises(ModelError, match="give box, or a run folder"):
        find_prompt_model(str(hand_prompt_folder))


def test_an_encoder_of_another_training_is_refused(hand_prompt_folder: Path):
    shutil.copy(weights_folder() / BOX_ENCODER, hand_prompt_folder)
    with pytest.raises(
        ModelError, match=r"box-decoder\.onnx: does not belong to box-encoder\.onnx beside it; train both"
    ):
        open_prompt_model(str(hand_prompt_folder))


def test_the_shipped_model_for_boxes_is_the_one_of_its_card(hand_prompt_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompted_models, "weights_folder", lambda: hand_prompt_folder)
    with pytest.raises(ModelError, match="not the model for boxes of this version; install tumortrace again"):
        open_prompt_model("box")
    each = [hashlib.sha256((hand_prompt_folder / name).read_bytes()).hexdigest() for name in (BOX_ENCODER, BOX_DECODER)]
    both = hashlib.sha256("".join(each).encode()).hexdigest()
    (hand_prompt_folder / "box.json").write_text(json.dumps({"sha256": both}))
    assert open_prompt_model("box").sha256 == both


@pytest.mark.parametrize(("seed", "kind"), [(3, "bright"), (4, "ring"), (6, "bright")])
def test_the_shipped_model_outlines_a_generated_tumour_in_a_loose_box(seed: int, kind: str):
    phantom = draw_phantom(np.random.default_rng(seed), size_hw=(256, 224), kind=kind)
    truth = rasterize_region(phantom.regions[0], phantom.pixels.shape)
    box = widen_box(box_of(truth), 0.15)
    prediction = Segmenter(threads=1).predict(phantom.pixels, box_xyxy=box)
    assert count_pixels(prediction.mask, truth).dice > 0.85
    assert not prediction.mask[~fill_box(widen_box(box, 0.1, least_px=2), truth.shape)].any()
