"""The judgement on summaries made by hand: which number a reader is given, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from tumortrace.reporting.verdict import judge

UNKNOWN = "Not a number to believe: it is unknown which images are clean"


def dice(mean: float | None) -> dict[str, Any]:
    return {"dice": {"mean": mean, "ci95": None}}


def summary(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """24 images, 20 of them clean; the model beats one baseline on the clean ones, and not on all."""
    plain: dict[str, Any] = {
        "n": 24,
        **dice(0.8),
        "clean": {"n": 20, **dice(0.6)},
        "baselines": {
            "all_background": {**dice(0.0), "clean": dice(0.0)},
            "mean_mask": {**dice(0.9), "clean": dice(0.5)},
        },
        "agreement": None,
        "card": {},
        "data": {"sha256": "d"},
    }
    return {**plain, **fields}


def test_the_clean_images_are_judged_beside_baselines_on_the_same():
    verdict = judge(summary())
    assert (verdict.heading, verdict.images) == ("The number to believe", "20 clean images")
    assert verdict.scores["dice"]["mean"] == 0.6
    assert {name: each["mean"] for name, each in verdict.baselines.items()} == {"all_background": 0.0, "mean_mask": 0.5}
    leaked, beside = verdict.sentences
    assert leaked.startswith("4 of 24 images show a slice that was in training as well")
    assert leaked.endswith("over all 24 the mean is 0.800.")
    assert (
        beside == "On 20 clean images the model's 0.600 beats the best prediction without a network (mean mask: 0.500)."
    )


@pytest.mark.parametrize(
    ("fields", "heading", "images"),
    [
        ({"clean": None}, UNKNOWN, "all 24 images"),
        ({"clean": {"n": 0, **dice(None)}}, "Not a number to believe: no image is clean", "all 24 images"),
        (
            {"clean": {"n": 3, **dice(None)}},
            "Not a number to believe: no clean image has a Dice",
            "all 24 images",
        ),
        ({"card": {"remembered": False, "began_from": "other"}}, UNKNOWN, "20 clean images"),
        ({"card": {"selected_on": "d"}}, "Not a number to believe: these images chose the model", "20 clean images"),
    ],
)
def test_a_number_that_cannot_be_believed_says_so_first(fields: dict[str, Any], heading: str, images: str):
    verdict = judge(summary(**fields))
    assert (verdict.heading, verdict.images) == (heading, images)
    assert verdict.sentences[0].startswith("Not a number to believe: ")
    assert verdict.baselines["mean_mask"]["mean"] == (0.9 if images == "all 24 images" else 0.5)
    assert f"On {images} the model's" in verdict.sentences[-1]


def test_without_any_dice_there_is_no_number():
    verdict = judge(summary(**dice(None), clean=None, n=1, baselines={}))
    assert verdict.heading == "Not a number to believe: no image has a Dice"
    assert verdict.images == "all 1 image"
    assert len(verdict.sentences) == 1


@pytest.mark.parametrize(("mean", "verb"), [(0.6, "beats"), (0.5001, "is no better than"), (0.4, "is below")])
def test_the_best_baseline_is_what_a_model_has_to_beat(mean: float, verb: str):
    clean = {"n": 24, **dice(mean)}
    (sentence,) = judge(summary(clean=clean)).sentences
    assert f"{mean:.3f} {verb} the best prediction without a network (mean mask: 0.500)" in sentence


@pytest.mark.parametrize(("n", "words"), [(1, "Only 1 image is clean"), (19, "Only 19 images are clean"), (20, "")])
def test_few_clean_images_tell_little(n: int, words: str):
    sentences = judge(summary(n=n, clean={"n": n, **dice(0.6)})).sentences
    assert sentences[0].startswith(words)
    assert len(sentences) == 1 + bool(words)


def test_the_annotators_are_the_ceiling():
    agreement = {"pairs": 13, "groups": 13, **dice(0.94)}
    last = judge(summary(agreement=agreement)).sentences[-1]
    assert last.startswith("Two annotators' outlines of one slice agree at 0.940")
    assert len(judge(summary(agreement={**agreement, **dice(None)})).sentences) == 2
