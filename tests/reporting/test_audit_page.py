from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tumortrace.copies.survey import Survey
from tumortrace.reporting import audit_page, shared_slices


def draw_group(size: int, *, linked_share: float = 1.0) -> str:
    files = [f"y{index}.png" for index in range(size)]
    cases = [
        SimpleNamespace(record=SimpleNamespace(case_id=name), thumbnail=np.zeros((4, 4), np.uint8)) for name in files
    ]
    group = {
        "group": "g1", "files": files, "size": size, "parts": {"": size}, "linked_share": linked_share,
        "lowest_similarity": 0.9,
    }  # fmt: skip
    found = cast("Survey", SimpleNamespace(cases=cases))
    return audit_page._groups(found, {"largest_groups": [group]})


def test_a_group_that_is_not_drawn_whole_says_so():
    assert "g1: 25 images (undivided 25); 24 of 25 drawn." in draw_group(25)
    assert " drawn" not in draw_group(24)
    assert "Every member" not in draw_group(24)


def test_only_a_group_with_indirect_copies_mentions_them():
    assert "All of its pairs are direct copies; the least similar direct pair has 0.900." in draw_group(3)
    words = "67 % of its pairs are direct copies, the others through other members; the least similar"
    assert words in draw_group(3, linked_share=0.667)


@pytest.mark.parametrize(
    ("images", "of", "words"),
    [
        (1, 3, "1 of 3</b><span>VAL images shows a slice that is in TRAIN"),
        (2, 3, "2 of 3</b><span>VAL images show a slice"),
        (1, 1, "1 of 1</b><span>VAL image shows a slice"),
    ],
)
def test_what_leaks_is_counted(images: int, of: int, words: str):
    document: dict[str, Any] = {
        "root": str(Path("data")), "n": 1, "groups": 1,
        "shared": [{"part": "VAL", "with": "TRAIN", "images": images, "of": of}],
        "baselines": None, "agreement": None, "patients_across_parts": ["p"],
        "across": [], "datasets": [{"name": "data", "parts": {"VAL": 1}, "n": 1, "groups": 1}],
    }  # fmt: skip
    text = audit_page._summary(document)
    assert words in text
    assert "different slice among 1 image<" in text
    assert "1 patient is in more than one part: p." in text


def test_without_a_likely_pair_there_is_no_empty_chart():
    document = {"same_slice": 0.75, "group_sizes": {"1": 6}, "similarities": {"edges": [0.0, 0.5, 1.0]}}
    for counts, charts in (([0, 0], 1), ([0, 1], 2)):
        document["similarities"] |= {"counts": counts}
        text = audit_page._threshold(document)
        assert text.count("<figure>") == charts
        assert ("picked no pair that might be copies" in text) == (charts == 1)


def test_each_kind_of_shared_slices_says_how_many_groups_its_interval_is_over():
    scores = {"dice": {"mean": 0.8, "ci95": [0.7, 0.9], "median": 0.8}, "below_half": 0.0}
    few = {**scores, "pairs": 9, "independent_groups": 4, "effective_groups": 4.0}
    many = {**scores, "pairs": 90, "independent_groups": 40, "effective_groups": 36.0}
    agreement = {**many, "by": {"class": {"glioma": few}}, "examples": []}
    pair = {"first": "A", "second": "B", "agreement": agreement, "copied": 0}
    text = shared_slices._agreement(cast("Survey", SimpleNamespace(pairs=())), pair)
    assert re.search(r">90</td>\s*<td[^>]*>40</td>\s*<td[^>]*></td>", text)
    assert re.search(r">9</td>\s*<td[^>]*>4</td>\s*<td[^>]*>rough</td>", text)
    assert "rough: over fewer than 10 groups, and mostly too narrow<" in text
