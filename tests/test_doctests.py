"""The examples in docstrings and in docs/ give what they say they give."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import tumortrace

ROOT = Path(__file__).parent.parent
SOURCE = Path(tumortrace.__file__).parent
RUN = re.compile(r"\n        >>> (?!.*# doctest: \+SKIP)")
MODULES = sorted(path for path in SOURCE.rglob("*.py") if RUN.search(path.read_text(encoding="utf-8")))
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "```pycon" in path.read_text(encoding="utf-8"))


def test_there_are_examples():
    assert "segmenter.py" in {path.name for path in MODULES}
    assert "inference.md" in {path.name for path in PAGES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_examples_in_docstrings(path: Path):
    name = ".".join(("tumortrace", *path.relative_to(SOURCE).with_suffix("").parts))
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_the_documentation(page: Path):
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 0
    assert result.failed == 0
