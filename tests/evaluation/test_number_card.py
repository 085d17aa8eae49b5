"""The number card of summaries made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tumortrace.evaluation.number_card import make_number_card
from tumortrace.evaluation.verdict import judge


def dice(mean: float | None, ci95: tuple[float, float] | None = None, *, undefined: int = 0) -> dict[str, Any]:
    return {"mean": mean, "median": 0.0, "ci95": ci95, "undefined": undefined}


def summary(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    plain: dict[str, Any] = {
        "n": 24,
        "dice": dice(0.8, (0.7, 0.85)),
        "clean": {"n": 20, "dice": dice(0.6, (0.5, 0.66))},
        "baselines": {
            "all_background": {"dice": dice(0.0), "clean": {"dice": dice(0.0)}},
            "mean_mask": {"dice": dice(0.9), "clean": {"dice": dice(0.25, (0.2, 0.3))}},
        },
        "agreement": None,
        "outlined_twice": None,
        "false_alarms": {
            "tumour_free_slices": 0,
            "painted": {"share": None, "ci95": None},
            "heads": 4,
            "false_lesions_per_head": {"mean": 0.5, "ci95": (0.1, 1.25)},
        },
        "training": {"slices": 50, "compared_slices": 50, "leaked_images": 4},
        "folds": [],
        "card": {"selected_on": ""},
        "data": {"sha256": "d"},
    }
    return {**plain, **fields}


def card_of(document: dict[str, Any], groups: Sequence[str] = "aabbccddeeffgghhiijj") -> dict[str, Any]:
    return make_number_card(document, judge(document), list(groups))


def test_the_clean_images_and_all_that_belongs_beside_them():
    card = card_of(summary())
    assert (card["believable"], card["n"], card["scored"], card["clean"]) == (True, 20, 24, 20)
    assert (card["groups"], card["effective_groups"]) == (10, 10.0)
    assert card["dice"] == {"mean": 0.6, "ci95": [0.5, 0.66]}
    assert card["best_baseline"] == {"name": "mean_mask", "dice": {"mean": 0.25, "ci95": [0.2, 0.3]}}
    assert card["text"] == (
        "Mean Dice 0.600 (95 % CI 0.500 to 0.660) on 20 clean images in 10 groups of copies and patients "
        "(24 scored, 20 clean). "
        "The groups are few (10), so the intervals are slightly too narrow. "
        "The best prediction without a network (mean mask) reaches 0.250 (95 % CI 0.200 to 0.300). "
        "False lesions per head: 0.50 (95 % CI 0.100 to 1.250) over 4 heads "
        "(patients, or groups of copies where no patient is named). "
        "No epoch was chosen by scores."
    )


def test_images_without_a_dice_are_not_behind_it():
    clean = {"n": 20, "dice": dice(0.6, (0.5, 0.66), undefined=16)}
    card = card_of(summary(clean=clean), groups="aabc")
    assert (card["n"], card["undefined"], card["groups"]) == (20, 16, 3)
    assert card["text"].startswith(
        "Mean Dice 0.600 (95 % CI 0.500 to 0.660) on 4 of 20 clean images in 3 groups of copies and patients; "
        "16 without tumour were left empty and have no Dice (24 scored, 20 clean)."
    )


def test_unequal_groups_are_named():
    # Sizes 16, 1, 1, 1, 1: 20^2 / (256 + 4) = 1.54.
    card = card_of(summary(), "a" * 16 + "bcde")
    assert card["effective_groups"] == 1.5
    assert "The groups are unequal (5 count as 2 equal ones), so the intervals are too narrow." in card["text"]


def test_few_groups_are_named():
    words = "The groups are few (4), so the intervals are rough and mostly too narrow."
    assert words in card_of(summary(), "aabbccdd")["text"]
    words = "The groups are few (10), so the intervals are slightly too narrow."
    assert words in card_of(summary(), "aabbccddeeffgghhiijj")["text"]
    assert "too narrow" not in card_of(summary(), [f"g{number}" for number in range(30)])["text"]
    assert "too narrow" not in card_of(summary(), "a")["text"]  # there is no interval


def test_annotators_on_the_same_images_and_false_alarms():
    twice = {"n": 7, "groups": 30, "effective_groups": 30.0, "model": dice(0.55), "annotators": dice(0.81, (0.7, 0.9))}
    alarms = {
        "tumour_free_slices": 30,
        "painted": {"share": 0.1, "ci95": (0.02, 0.25)},
        "heads": 1,
        "false_lesions_per_head": {"mean": 2.0, "ci95": None},
    }
    text = card_of(summary(outlined_twice=twice, false_alarms=alarms))["text"]
    assert "On the 7 images outlined twice, two outlines agree at mean Dice 0.810 (95 % CI 0.700 to 0.900)" in text
    assert "and the model reaches 0.550." in text
    marked = "marks more than 0.1 % of the frame on 3 of 30 tumour-free slices: 10.0 % (95 % CI 2.0 to 25.0 %)."
    assert f"The model {marked}" in text
    assert "False lesions per head: 2.00 over 1 head (patients, or groups" in text


def test_intervals_over_few_slices_outlined_twice_are_named():
    sides = {"model": dice(0.936, (0.936, 0.936)), "annotators": dice(0.923, (0.889, 0.957))}
    text = card_of(summary(outlined_twice={"n": 4, "groups": 2, "effective_groups": 2.0, **sides}))["text"]
    words = "the groups are few (2), so the intervals are rough and mostly too narrow."
    assert f"reaches 0.936 (95 % CI 0.936 to 0.936); {words}" in text


def test_tumour_free_images_that_count_as_0_are_counted():
    alarms = summary()["false_alarms"] | {"tumour_free_slices": 6, "painted": {"share": 0.5, "ci95": None}}
    clean = {"n": 20, "dice": dice(0.6, undefined=1)}
    text = card_of(summary(clean=clean, false_alarms=alarms))["text"]
    assert "; 1 without tumour was left empty and has no Dice; 5 without tumour were marked, Dice 0 (24 scored" in text


@pytest.mark.parametrize(
    ("fields", "chosen_on"),
    [
        ({"card": {"selected_on": ""}}, "nothing"),
        ({"card": {"selected_on": "d"}}, "these images"),
        ({"card": {"selected_on": "e"}}, "other images"),
        (
            {"card": {"selected_on": "e"}, "training": {"leaked_images": 4, "chose_epoch": 5}},
            "some of these images",
        ),
        ({"card": {}}, "unknown"),
        ({"card": {}, "folds": [{"fold": "1"}]}, "nothing"),
    ],
)
def test_what_the_epoch_was_chosen_on(fields: dict[str, Any], chosen_on: str):
    assert card_of(summary(**fields))["chosen_on"] == chosen_on


def test_a_number_that_cannot_be_believed_is_marked():
    card = card_of(summary(clean={"n": 0, "dice": dice(None)}))
    assert not card["believable"]
    assert card["text"].startswith("Mean Dice 0.800 (95 % CI 0.700 to 0.850) on all 24 images")
    assert "(24 scored, 0 clean). Not a number to believe: no image is clean. The groups are few" in card["text"]


def test_no_dice_at_all():
    nothing = {"all_background": {"dice": dice(None), "clean": {"dice": dice(None)}}}
    card = card_of(summary(dice=dice(None, undefined=24), clean=None, baselines=nothing), groups="")
    assert card["best_baseline"] is None
    assert (card["groups"], card["effective_groups"]) == (0, 0.0)
    assert card["text"].startswith("Mean Dice undefined on all 24 images (24 scored")
    assert "(24 scored, unknown how many clean)" in card["text"]
