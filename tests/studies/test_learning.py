"""The orders in which slices are corrected."""

from __future__ import annotations

from pathlib import Path

from studies.learning import draw, order_by_confidence, order_randomly

from tumortrace.data.cases import CaseRecord


def records(count: int) -> list[CaseRecord]:
    return [CaseRecord(f"s{index:02d}", "", Path(f"s{index}.png"), ()) for index in range(count)]


def names(ordered: list[CaseRecord]) -> list[str]:
    return [record.case_id for record in ordered]


def test_every_fourth_slice_is_drawn_at_random_and_the_others_are_the_least_confident():
    slices = records(40)
    confidences = {record.case_id: 1 - index / 100 for index, record in enumerate(slices)}  # the last is the least sure
    ordered = names(order_by_confidence(slices, confidences, seed=0))
    at_random = names(order_randomly(slices, seed=0))
    assert sorted(ordered) == names(slices)
    assert ordered[:3] == ["s39", "s38", "s37"]
    assert ordered[3] == next(name for name in at_random if name not in ordered[:3])
    assert ordered[4:7] == [name for name in reversed(names(slices)) if name not in ordered[:4]][:3]


def test_the_random_order_does_not_depend_on_the_order_given():
    slices = records(9)
    assert names(order_randomly(slices, seed=1)) == names(order_randomly(slices[::-1], seed=1)) != names(slices)


def test_the_chart_has_a_curve_an_order():
    row = {"dice": "0.5", "low": "0.4", "high": "0.6"}
    rows = [row | {"order": "", "slices": "0"}]
    rows += [
        row | {"order": order, "slices": count} for order in ("random", "least confident") for count in ("10", "40")
    ]
    (axes,) = draw(rows).axes
    assert axes.get_legend_handles_labels()[1][0] == "base, nothing corrected"
    assert len(axes.containers) == 2
