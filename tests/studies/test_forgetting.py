"""The model that is improved is the one that is given: the shipped ones were trained on the slices."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import forgetting


class OpenedError(Exception):
    """Ends the study where it opens a model."""


def test_the_study_starts_from_the_model_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def open_given(name: str) -> None:
        raise OpenedError(name)

    monkeypatch.setattr(forgetting, "open_model", open_given)
    with pytest.raises(OpenedError, match="runs/fast-twin"):
        forgetting.main(tmp_path, tmp_path, base="runs/fast-twin", out=tmp_path)
