from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tumortrace.copies.agreement import Agreement, OutlinePair
from tumortrace.copies.leakage import Leak
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part
from tumortrace.evaluation.evaluate import CaseScore, Evaluation
from tumortrace.evaluation.summary import summary_document
from tumortrace.evaluation.verdict import judge
from tumortrace.metrics.calibration import count_logits
from tumortrace.metrics.lesions import LesionCounts
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.metrics.surface import SurfaceScores

MakeScore = Callable[..., CaseScore]


@pytest.fixture
def evaluation(make_score: MakeScore) -> Evaluation:
    """Dice 2/3, 1, 0 and undefined; the first two are copies of each other, the second of a training slice."""
    copied = Leak("TRAIN/t.png", 0.97, "copy")
    undefined = SurfaceScores(math.nan, math.nan, math.nan)
    scores = (
        make_score("TEST/a.png", PixelCounts(2, 1, 1, 96), group="g1", shape="ellipse"),
        make_score("TEST/b.png", PixelCounts(9, 0, 0, 91), group="g1", clean=False, leak=copied),
        make_score("TEST/c.png", PixelCounts(0, 4, 1, 95), group="g2", lesions=LesionCounts(2, 0, 1, 0)),
        make_score("TEST/d.png", PixelCounts(0, 0, 0, 100), lesions=LesionCounts(0, 0, 0, 0), surface=undefined),
    )
    pair = OutlinePair("x", "y", "g9", "g9", PixelCounts(3, 1, 0, 9), SurfaceScores(0.8, 2.0, 0.5))
    finding = Finding("image-missing", "left out", "gone.png", "no such image", "add it")
    return Evaluation(
        scores,
        (finding,),
        {"name": "m", "sha256": "5ha"},
        threshold=0.45,
        peak_threshold=0.8,
        temperature=1.5,
        agreement=Agreement((pair,), 0),
        card={"seed": 3},
    )


def test_the_summary_holds_the_promised_keys(evaluation: Evaluation):
    document = summary_document(evaluation, folds=[{"fold": "1"}])
    assert {
        "n", "threshold", "dice", "iou", "precision", "recall", "nsd", "hd95", "by", "clean", "baselines", "agreement",
        "false_alarms", "verdict", "data",
    } <= set(document)  # fmt: skip
    assert set(document["dice"]) == {"mean", "median", "min", "max", "p05", "p95", "ci95", "undefined"}
    assert (document["n"], document["groups"], document["threshold"]) == (4, 3, 0.45)
    assert (document["distance_unit"], document["tolerance"]) == ("px", 2.0)
    assert document["folds"] == [{"fold": "1"}]
    assert document["card"] == {"seed": 3}
    assert document["data"]["sha256"] == hash_part({score.file: score.sha256 for score in evaluation.scores})
    assert [finding["file"] for finding in document["findings"]] == ["gone.png"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_verdict_is_kept_and_says_what_is_known_of_the_training(evaluation: Evaluation):
    known = replace(evaluation, training_slices=9, compared_slices=9)
    document = summary_document(known)
    assert document["training"] == {
        "slices": 9,
        "compared_slices": 9,
        "leaked_images": 1,
        "by_patient_alone": 0,
        "chose_epoch": 0,
    }
    assert document["verdict"] == list(judge(document).sentences)
    assert document["verdict"][0].startswith("1 of 4 images shows a slice that was in training as well")


def test_images_that_only_a_patient_ties_to_the_training_are_counted(evaluation: Evaluation):
    *others, last = evaluation.scores
    tied = replace(last, clean=False, leak=Leak("", math.nan, "patient"))
    training = summary_document(replace(evaluation, scores=(*others, tied)))["training"]
    assert (training["leaked_images"], training["by_patient_alone"]) == (2, 1)


def test_means_by_hand(evaluation: Evaluation):
    document = summary_document(evaluation)
    assert document["dice"]["mean"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert document["dice"]["undefined"] == 1
    low, high = document["dice"]["ci95"]
    assert low <= document["dice"]["mean"] <= high
    # Missed and tumour-free slices have no distance: only two have.
    assert (document["hd95"]["mean"], document["hd95"]["undefined"]) == (4.0, 2)
    assert document["nsd"]["mean"] == pytest.approx((0.5 + 0.5 + 0.0) / 3)


def test_clean_images_have_numbers_of_their_own(evaluation: Evaluation):
    clean = summary_document(evaluation)["clean"]
    assert (clean["n"], clean["dice"]["mean"]) == (3, pytest.approx(1 / 3))
    unknown = tuple(replace(score, clean=None) for score in evaluation.scores)
    assert summary_document(replace(evaluation, scores=unknown))["clean"] is None
    leaked = tuple(replace(score, clean=False) for score in evaluation.scores)
    nothing = summary_document(replace(evaluation, scores=leaked))["clean"]
    assert (nothing["n"], nothing["dice"]["mean"], nothing["dice"]["ci95"]) == (0, None, None)


def test_lesions_and_images_found(evaluation: Evaluation):
    document = summary_document(evaluation)
    assert (document["lesions"]["sensitivity"]["value"], document["lesions"]["sensitivity"]["n"]) == (0.5, 4)
    assert (document["lesions"]["precision"]["value"], document["lesions"]["precision"]["n"]) == (2 / 3, 3)
    images = document["images"]
    assert (images["with_tumour"], images["tumour_free"]) == (3, 1)
    assert images["sensitivity"]["value"] == 1.0  # the third is marked, if in the wrong place
    assert (images["specificity"]["value"], images["specificity"]["ci95"]) == (1.0, None)
    assert images["false_positive_px"]["mean"] == 0.0


def test_subgroups(evaluation: Evaluation):
    by = summary_document(evaluation)["by"]
    sizes = {name: scores["n"] for name, scores in by["tumour size"].items()}
    assert sizes == {"medium": 1, "large (> 8%)": 1, "small (< 2%)": 1, "no tumour": 1}
    assert {name: scores["n"] for name, scores in by["lesions"].items()} == {"1": 2, "2 or more": 1, "none": 1}
    assert by["outline"]["ellipse"]["dice"]["mean"] == pytest.approx(2 / 3)
    assert by["source"]["data"]["n"] == 4
    assert by["copies"]["leaked"]["dice"]["mean"] == 1.0


def test_class_and_plane_divide_the_images_and_their_patients(make_score: MakeScore, evaluation: Evaluation):
    stated = {"tumour_class": "glioma", "plane": "axial", "patient": "p"}
    scores = (
        make_score("a.png", PixelCounts(4, 2, 0, 94), **stated),
        make_score("b.png", PixelCounts(0, 0, 6, 94), **stated),
        make_score("c.png", PixelCounts(3, 0, 3, 94), patient="q"),
        make_score("d.png", PixelCounts(0, 0, 0, 100), patient="q"),
    )
    by = summary_document(replace(evaluation, scores=scores))["by"]
    assert {name: each["n"] for name, each in by["tumour class"].items()} == {"glioma": 2, "no tumour": 1, "unnamed": 1}
    assert {name: each["n"] for name, each in by["plane"].items()} == {"axial": 2, "unnamed": 2}
    glioma = by["tumour class"]["glioma"]
    assert glioma["dice"]["mean"] == pytest.approx((0.8 + 0) / 2)
    assert (glioma["pooled"]["patients"], glioma["pooled"]["dice"]["mean"]) == (1, pytest.approx(8 / (8 + 2 + 6)))


def test_model_and_annotators_are_compared_on_the_same_slices(evaluation: Evaluation):
    def pair(first: str, second: str, shared_px: int) -> OutlinePair:
        return OutlinePair(first, second, "g", "g", PixelCounts(shared_px, 1, 1, 9), SurfaceScores(0.8, 2.0, 0.5))

    pairs = (pair("TEST/a.png", "TRAIN/x.png", 3), pair("TEST/a.png", "TEST/b.png", 1), pair("TRAIN/x.png", "y", 9))
    twice = summary_document(replace(evaluation, agreement=Agreement(pairs, 0)))["outlined_twice"]
    # a is in pairs of Dice 3/4 and 1/2, b in the second alone; what is not scored does not count.
    assert (twice["n"], twice["model"]["mean"]) == (2, pytest.approx((2 / 3 + 1) / 2))
    assert twice["annotators"]["mean"] == pytest.approx((0.625 + 0.5) / 2)
    assert (twice["groups"], twice["effective_groups"]) == (1, 1.0)
    assert {name: each["n"] for name, each in twice["by"]["tumour size"].items()} == {"medium": 1, "large (> 8%)": 1}
    assert summary_document(evaluation)["outlined_twice"] is None  # its pair is of slices that are not scored


def test_the_card_to_cite_counts_only_the_images_behind_its_number(evaluation: Evaluation, make_score: MakeScore):
    copied = Leak("TRAIN/t.png", 0.97, "copy")
    healthy = [make_score(f"{n}.png", PixelCounts(0, 0, 0, 100), clean=False, leak=copied) for n in "efg"]
    marked = make_score("h.png", PixelCounts(0, 9, 0, 91), lesions=LesionCounts(0, 0, 1, 0))
    pair = OutlinePair("TEST/a.png", "TEST/b.png", "g1", "g1", PixelCounts(3, 1, 1, 9), SurfaceScores(0.8, 2.0, 0.5))
    scores = (*evaluation.scores, *healthy, marked)
    document = summary_document(replace(evaluation, scores=scores, agreement=Agreement((pair,), 0)))
    card = document["number_card"]
    # The three tumour-free training slices and the leaked slice b, on which the model is perfect, prove nothing.
    assert (document["false_alarms"]["tumour_free_slices"], document["outlined_twice"]["n"]) == (5, 2)
    assert (card["tumour_free_slices"], card["marked_tumour_free"]["share"]) == (2, 0.5)
    assert (card["heads"], card["false_lesions_per_head"]["mean"]) == (4, 0.5)  # a, c, d and h: one each on c and h
    assert (card["n"], card["undefined"], card["groups"]) == (4, 1, 3)  # nothing is marked on d
    assert (card["annotators"]["n"], card["annotators"]["model"]["mean"]) == (1, pytest.approx(2 / 3))
    assert "of 2 tumour-free slices" in card["text"]


def test_baselines_stand_for_all_images_and_for_clean_ones(evaluation: Evaluation):
    background = summary_document(evaluation)["baselines"]["all_background"]
    assert (background["n"], background["clean"]["n"]) == (4, 3)
    assert background["dice"]["mean"] == 0.0
    assert background["precision"]["mean"] is None


def test_agreement_has_its_intervals_and_counts(evaluation: Evaluation):
    agreement = summary_document(evaluation)["agreement"]
    assert (agreement["pairs"], agreement["groups"], agreement["copied"]) == (1, 1, 0)
    assert agreement["dice"]["mean"] == pytest.approx(6 / 7)
    assert agreement["dice"]["ci95"] is None  # one slice says nothing about others
    assert summary_document(replace(evaluation, agreement=None))["agreement"] is None


def test_each_fold_is_uncalibrated_by_its_own_temperature(evaluation: Evaluation, make_score: MakeScore):
    # The network gave 0.8 to two tumours. Divided by 2, its logit of 1.39 is that of 2/3; by 1/2, that of 16/17.
    tumour = np.ones((4, 4), dtype=np.bool_)
    scores = [
        make_score(
            f"{number}.png",
            PixelCounts(16, 0, 0, 0),
            histogram=count_logits(np.full((4, 4), after, dtype=np.float32), tumour, tumour),
            temperature=temperature,
        )
        for number, (temperature, after) in enumerate([(2.0, 2 / 3), (0.5, 16 / 17)])
    ]
    calibration = summary_document(replace(evaluation, scores=tuple(scores)))["calibration"]
    assert calibration["ece_before"] == pytest.approx(0.2, abs=0.0125)  # the bins' centres stand for logits
    assert calibration["ece"] == pytest.approx((1 / 3 + 1 / 17) / 2, abs=0.0125)


def test_calibration_counts_an_empty_mask_of_a_tumour_free_slice_as_right(evaluation: Evaluation):
    calibration = summary_document(evaluation)["calibration"]
    assert (calibration["temperature"], calibration["threshold"]) == (1.5, 0.45)
    assert calibration["peak_threshold"] == 0.8
    assert calibration["risk_coverage"][0]["mean_dice"] == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
    assert sum(each["pixels"] for each in calibration["bins"]) == 12  # three of four pixels are marked or tumour
