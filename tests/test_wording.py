from __future__ import annotations

from pathlib import Path

import pytest

from tumortrace.wording import command_line, counted, describe_seconds, list_ranges, listed, percent


def test_one_and_many():
    assert [counted(n, "clean image") for n in (0, 1, 2)] == ["0 clean images", "1 clean image", "2 clean images"]


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_in_a_sentence(names: list[str], text: str):
    assert listed(names) == text


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([4], "4"), ([1, 3, 4, 5, 9], "1, 3-5, 9"), ([1, 2], "1-2"), ([2, 4], "2, 4")]
)
def test_neighbouring_numbers_are_a_range(numbers: list[int], text: str):
    assert list_ranges(numbers) == text


def test_a_fraction_in_per_cent():
    assert [percent(0), percent(0.046), percent(1.67), percent(0.0462, 1)] == ["0 %", "5 %", "167 %", "4.6 %"]


def test_a_command_line_can_be_pasted_into_a_shell():
    assert command_line("report", Path("runs/first try"), "--out", "a.html") == (
        "tumortrace report 'runs/first try' --out a.html"
    )


@pytest.mark.parametrize(
    ("seconds", "expected"), [(40.4, "40 s"), (89.4, "89 s"), (720, "12 min"), (5399, "90 min"), (12_600, "3.5 h")]
)
def test_a_duration_has_the_unit_a_person_would_use(seconds: float, expected: str):
    assert describe_seconds(seconds) == expected
