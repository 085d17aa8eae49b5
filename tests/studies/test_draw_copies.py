"""The pictures of docs/trust.md are written where the page shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studies import draw_copies

TRUST = Path(__file__).parents[2] / "docs" / "trust.md"


def test_the_pictures_are_those_that_the_page_shows(monkeypatch: pytest.MonkeyPatch):
    written: list[Path] = []
    monkeypatch.setattr(draw_copies, "save_figure", lambda _figure, path: written.append(path))
    draw_copies.main()
    shown = [TRUST.parent / name for name in re.findall(r"!\[.*?\]\((images/[\w-]+\.png)\)", TRUST.read_text())]
    assert sorted(written) == sorted(shown)
