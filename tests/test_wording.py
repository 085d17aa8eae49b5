from __future__ import annotations

import pytest

from tumortrace.wording import counted, listed


def test_one_and_many():
    assert [counted(n, "clean image") for n in (0, 1, 2)] == ["0 clean images", "1 clean image", "2 clean images"]


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_in_a_sentence(names: list[str], text: str):
    assert listed(names) == text
