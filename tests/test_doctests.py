"""The examples in docstrings give what they say they give; tests/test_docs_run.py runs those of docs/."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import tumortrace

SOURCE = Path(tumortrace.__file__).parent
RUN = re.compile(r"\n        >>> (?!.*# doctest: \+SKIP)")
MODULES = sorted(path for path in SOURCE.rglob("*.py") if RUN.search(path.read_text(encoding="utf-8")))


def test_there_are_examples():
    assert "segmenter.py" in {path.name for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_examples_in_docstrings(path: Path):
    name = ".".join(("tumortrace", *path.relative_to(SOURCE).with_suffix("").parts))
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
