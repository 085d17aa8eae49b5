"""The judgement on summaries made by hand: which number a reader is given, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from tumortrace.evaluation.verdict import judge


def dice(
    mean: float | None, *, ci95: tuple[float, float] | None = None, undefined: int = 0
) -> dict[str, dict[str, Any]]:
    return {"dice": {"mean": mean, "ci95": ci95, "undefined": undefined}}


def summary(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """24 images, 20 of them clean; the model is above both baselines on the clean ones, and not on all."""
    plain: dict[str, Any] = {
        "n": 24,
        **dice(0.8),
        "clean": {"n": 20, **dice(0.6)},
        "baselines": {
            "all_background": {**dice(0.0), "clean": dice(0.0)},
            "mean_mask": {**dice(0.9), "clean": dice(0.5)},
        },
        "agreement": None,
        "training": {"slices": 50, "compared_slices": 50, "leaked_images": 4},
        "card": {},
        "data": {"sha256": "d"},
        "folds": [],
    }
    return {**plain, **fields}


def test_the_clean_images_are_judged_beside_baselines_on_the_same():
    verdict = judge(summary())
    assert (verdict.heading, verdict.images) == ("The number to believe", "20 clean images")
    assert (verdict.believable, verdict.of_clean) == (True, True)
    assert verdict.scores["dice"]["mean"] == 0.6
    assert {name: each["mean"] for name, each in verdict.baselines.items()} == {"all_background": 0.0, "mean_mask": 0.5}
    leaked, beside = verdict.sentences
    best = "the best prediction without a network (mean mask: 0.500)"
    assert leaked.startswith("4 of 24 images show a slice that was in training as well")
    assert leaked.endswith("over all 24 the mean Dice is 0.800.")
    assert beside == f"On 20 clean images the model's mean Dice of 0.600 is above {best}."


@pytest.mark.parametrize(
    ("fields", "heading", "images"),
    [
        ({"clean": {"n": 0, **dice(None)}}, "Not a number to believe: no image is clean", "all 24 images"),
        (
            {"clean": {"n": 3, **dice(None)}},
            "Not a number to believe: no clean image has a Dice",
            "all 24 images",
        ),
        ({"card": {"selected_on": "d"}}, "Not a number to believe: these images chose the model", "20 clean images"),
        (
            {"training": {"slices": 50, "compared_slices": 50, "leaked_images": 4, "chose_epoch": 5}},
            "Not a number to believe: some images chose the model",
            "20 clean images",
        ),
        (
            {"training": {"slices": 50, "compared_slices": 50, "leaked_images": 4, "chose_epoch": 20}},
            "Not a number to believe: these images chose the model",
            "20 clean images",
        ),
    ],
)
def test_a_number_that_cannot_be_believed_says_so_first(fields: dict[str, Any], heading: str, images: str):
    verdict = judge(summary(**fields))
    assert (verdict.heading, verdict.images) == (heading, images)
    assert (verdict.believable, verdict.of_clean) == (False, images == "20 clean images")
    assert verdict.sentences[0].startswith("Not a number to believe: ")
    assert verdict.baselines["mean_mask"]["mean"] == (0.9 if images == "all 24 images" else 0.5)
    assert f"On {images} the model's" in verdict.sentences[-1]


@pytest.mark.parametrize(
    ("training", "card", "heading", "words"),
    [
        (
            {"slices": None, "compared_slices": 0, "leaked_images": 0},
            {},
            "it is unknown which images are clean",
            (
                "cannot check for training copies: training.npz is missing beside the model, so its training slices "
                "are unknown. Evaluate a run folder."
            ),
        ),
        (
            {"slices": 900, "compared_slices": 0, "leaked_images": 0},
            {},
            "it is unknown which images are clean",
            (
                "cannot check for training copies: the model comes without its training slices, and none of these 900 "
                "are in this data. All of them are published, so slices that were never published are no copies."
            ),
        ),
        (
            {"slices": 900, "compared_slices": 500, "leaked_images": 22},
            {},
            "22 of 24 images were in training",
            (
                "22 of 24 images are in the model's training data, as the same slice, a copy, or another slice of the "
                "patient. The other 2 cannot be checked: the model comes without its training slices, and 500 of these "
                "900 are in this data. All of them are published, so slices that were never published are no copies."
            ),
        ),
        (
            {"slices": None, "compared_slices": 30, "leaked_images": 1},
            {"remembered": False, "began_from": "other"},
            "1 of 24 images was in training",
            (
                "1 of 24 images is in the model's training data, as the same slice, a copy, or another slice of the "
                "patient. The other 23 cannot be checked: the model was trained from other, whose training slices are "
                "unknown."
            ),
        ),
    ],
)
def test_where_clean_images_are_unknown_the_reason_is_given(
    training: dict[str, Any], card: dict[str, Any], heading: str, words: str
):
    verdict = judge(summary(clean=None, training=training, card=card))
    assert (verdict.heading, verdict.images) == (f"Not a number to believe: {heading}", "all 24 images")
    assert verdict.sentences[0] == f"Not a number to believe: {words}"
    assert verdict.baselines["mean_mask"]["mean"] == 0.9


@pytest.mark.parametrize("clean", [20, 0])
def test_patients_of_equal_names_may_be_others(clean: int):
    training = {"slices": 50, "compared_slices": 50, "leaked_images": 24 - clean, "by_patient_alone": 24 - clean}
    counts = {"n": clean, **dice(0.6 if clean else None)}
    first = judge(summary(clean=counts, training=training)).sentences[0]
    assert "of a patient whose name is in training too, and none of them is a copy of a training slice. If" in first
    assert first.startswith("4 of 24 images are" if clean else "Not a number to believe: every image is")
    training["by_patient_alone"] -= 1
    assert "whose name" not in judge(summary(clean=counts, training=training)).sentences[0]


def test_images_that_chose_the_model_are_named_beside_another_doubt():
    training = {"slices": None, "compared_slices": 0, "leaked_images": 0}
    sentences = judge(summary(clean=None, training=training, card={"selected_on": "d"})).sentences
    assert sentences[1] == "The kept epoch was chosen on these images, so the score is likely too high."


def test_it_is_said_how_many_images_chose_the_model():
    training = {"slices": 50, "compared_slices": 50, "leaked_images": 4, "chose_epoch": 5}
    first = judge(summary(training=training)).sentences[0]
    words = "the kept epoch was chosen on 5 of these 20 images, so the score is likely too high."
    assert first == f"Not a number to believe: {words}"


def test_without_any_dice_there_is_no_number():
    verdict = judge(summary(**dice(None), clean=None, n=1, baselines={}))
    assert verdict.heading == "Not a number to believe: no image has a Dice"
    assert verdict.images == "all 1 image"
    assert len(verdict.sentences) == 1


@pytest.mark.parametrize(("mean", "verb"), [(0.6, "is above"), (0.5001, "equals"), (0.4, "is below")])
def test_the_best_baseline_stands_beside_the_model(mean: float, verb: str):
    clean = {"n": 24, **dice(mean)}
    (sentence,) = judge(summary(clean=clean)).sentences
    assert f"mean Dice of {mean:.3f} {verb} the best prediction without a network (mean mask: 0.500)" in sentence


@pytest.mark.parametrize(("n", "words"), [(1, "Only 1 image is clean"), (19, "Only 19 images are clean"), (20, "")])
def test_few_clean_images_tell_little(n: int, words: str):
    sentences = judge(summary(n=n, clean={"n": n, **dice(0.6)})).sentences
    assert sentences[0].startswith(words)
    assert len(sentences) == 1 + bool(words)


@pytest.mark.parametrize(("bounds", "overlap"), [((0.55, 0.66), True), ((0.56, 0.66), False), (None, False)])
def test_intervals_that_overlap_are_named(bounds: tuple[float, float] | None, overlap: bool):  # noqa: FBT001 - a parameter
    baselines = {"mean_mask": {**dice(0.9), "clean": dice(0.5, ci95=(0.4, 0.55))}}
    sentence = judge(summary(clean={"n": 24, **dice(0.6, ci95=bounds)}, baselines=baselines)).sentences[-1]
    assert sentence.endswith("(mean mask: 0.500); their 95 % intervals overlap.") == overlap


def test_means_over_different_images_are_told_apart():
    # The model left 9 of 24 images empty, rightly; the mask of the baseline is never empty.
    sentence = judge(summary(clean={"n": 24, **dice(0.6, undefined=9)})).sentences[-1]
    assert "(mean mask: 0.500). These means are over 15 and 24 images: a tumour-free image counts as 0 if" in sentence


def test_clean_images_without_a_dice_say_nothing_of_the_mean():
    verdict = judge(summary(n=24, clean={"n": 24, **dice(0.9, undefined=23)}))
    assert verdict.heading == "The number to believe, from few images"
    assert verdict.sentences[0].startswith("Only 1 of 24 clean images has a Dice, too few to say much")


def test_a_cross_validation_of_few_images_is_not_told_to_be_one():
    remark = judge(summary(clean={"n": 19, **dice(0.6)}, folds=[{"fold": "1"}, {"fold": "2"}])).sentences[1]
    assert remark == "Only 19 images are clean, too few to say much; annotate more slices."


def test_more_slices_are_asked_for_where_all_are_clean():
    """A cross-validation would train on the few slices that there are."""
    remark = judge(summary(n=19, clean={"n": 19, **dice(0.6)})).sentences[0]
    assert remark == "Only 19 images are clean, too few to say much; annotate more slices."


def test_the_annotators_are_the_yardstick():
    agreement = {"pairs": 13, "groups": 13, **dice(0.94)}
    last = judge(summary(agreement=agreement)).sentences[-1]
    assert last == (
        "Two outlines of one slice agree at mean Dice 0.940 (13 pairs, also of other images of this data). A model "
        "midway between two outlines is above that; one far above may imitate one annotator, or know the slices."
    )
    assert len(judge(summary(agreement={**agreement, **dice(None)})).sentences) == 2
