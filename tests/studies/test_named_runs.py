"""Names and folders of a command line, right ones and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies.named_runs import read_named

from tumortrace.errors import DataError


def test_names_and_folders_stay_in_order() -> None:
    assert list(read_named(["3=runs/a", "1=runs/b=c"]).items()) == [("3", Path("runs/a")), ("1", Path("runs/b=c"))]
    assert read_named([]) == {}


@pytest.mark.parametrize("given", ["runs/a", "=runs/a", "3=", ""])
def test_a_missing_name_or_folder_is_named(given: str) -> None:
    with pytest.raises(DataError, match=f"^{given}: write NAME=FOLDER"):
        read_named(["1=runs/b", given])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match="3=runs/b: 3 is given twice, as runs/a too"):
        read_named(["3=runs/a", "3=runs/b"])
