"""Means and paired gains with their intervals, by hand."""

from __future__ import annotations

import math

import pytest
from studies.means import compare_dices, describe_mean


def test_a_mean_is_written_with_its_interval_over_groups():
    # All groups agree: the interval of a fraction is Wilson's for two of them, and other values have none.
    assert describe_mean([0.5, 0.5, math.nan], ["a", "b", "b"]) == "0.500 (0.095 to 0.905)"
    assert describe_mean([3.0, 3.0], ["a", "b"], digits=1, shares=False) == "3.0 (nan to nan)"


def test_a_gain_is_paired_by_case_and_not_by_place():
    before = {"c": 0.5, "b": 0.6, "a": 0.7}
    compared = compare_dices({"a": 0.9, "b": 0.7, "c": 0.8}, before, {"a": "p", "b": "q", "c": "p"})
    assert (compared["n"], compared["dice"], compared["gain"]) == (3, pytest.approx(0.8), pytest.approx(0.2))
    assert compared["low"] < 0.8 < compared["high"]
    # Group p gains 0.25, group q 0.1: no set of the two gains less or more.
    assert 0.099 < compared["gain_low"] < 0.2 < compared["gain_high"] < 0.251
