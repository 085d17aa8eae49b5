from __future__ import annotations

import pytest

from tumortrace.reporting import cells


@pytest.mark.parametrize(
    ("count", "effective", "words"),
    [
        (1, 1.0, "1 independent group"),
        (2, 2.0, "2 independent groups: rough and mostly too narrow"),
        (9, 6.0, "9 independent groups: rough and mostly too narrow"),
        (10, 7.0, "10 independent groups: slightly too narrow"),
        (29, 29.0, "29 independent groups: slightly too narrow"),
        (30, 30.0, "30 independent groups"),
        (9, 2.9, "9 independent groups, which count as 3 equal ones: too narrow"),
    ],
)
def test_an_interval_over_unequal_or_few_groups_is_called_too_narrow(count: int, effective: float, words: str):
    assert cells.independent_groups({"independent_groups": count, "effective_groups": effective}) == words


@pytest.mark.parametrize(
    ("count", "effective", "word"),
    [(1, 1.0, ""), (2, 2.0, "rough"), (10, 7.0, "narrow"), (30, 30.0, ""), (30, 19.9, "unequal")],
)
def test_a_table_has_one_word_for_an_interval_that_is_too_narrow(count: int, effective: float, word: str):
    assert cells.groups({"independent_groups": count, "effective_groups": effective}) == [str(count), word]


def test_words_for_intervals_are_explained_once():
    assert cells.explain_widths(["", "unequal", "rough", "unequal"]) == (
        "rough: over fewer than 10 groups, and mostly too narrow; "
        "unequal: over groups of which a few hold most pairs, and too narrow"
    )
    assert not cells.explain_widths([""])
