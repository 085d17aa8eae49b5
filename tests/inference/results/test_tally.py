"""Counts of what became of pictures and volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumortrace.inference.results.tally import NAMED, Counts, SegmentSummary, Tally


@pytest.mark.parametrize(("status", "named"), [("rejected", "rejections"), ("ok", "doubtful")])
def test_the_first_pictures_to_review_are_named(status: str, named: str):
    tally = Tally()
    for number in range(NAMED + 2):
        tally.count({"file": f"{number}.png", "status": status, "reason": "x", "review": True, "lesions": []})
    tally.count({"file": "sure.png", "status": "ok", "reason": "", "review": False, "lesions": [{}]})
    counts = Counts(**tally.values())
    assert (counts.review, counts.total, counts.tumours) == (NAMED + 2, NAMED + 3, 1)
    assert getattr(counts, named) == tuple(f"{number}.png: x" for number in range(NAMED))  # not a million lines
    assert (counts.failures, counts.failed) == ((), 0)


def test_a_problem_of_a_segmented_volume_is_a_failure_and_the_volume_counts_as_segmented():
    tally = Tally()
    tally.count({"file": "a", "status": "ok", "reason": "x", "review": True, "lesions": []}, ["a/3.dcm: broken"])
    tally.count({"file": "b", "status": "error", "reason": "b: broken", "review": True, "lesions": []})
    volumes = Counts(**tally.values())
    assert (volumes.ok, volumes.failed, volumes.total) == (1, 1, 2)
    summary = SegmentSummary(out=Path("out"), failures=("c.png: broken",), volumes=volumes)
    assert summary.all_failures == ("c.png: broken", "a/3.dcm: broken", "b: broken")
